//! How scripts end, or do not start: each cause by its own name.

use crate::Test;
use crate::rig::{LONG, Rig, chmod, run_of, wait_for};
use flockwork_core::execution::{CancelReason, Ending, Outcome};
use flockwork_worker::{Allowlist, Trust};
use rustix::fs::Mode;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

pub(crate) const TESTS: &[Test] = &[
    ("every_exit_code_and_signal_is_told_as_it_is", every_exit_code_and_signal_is_told_as_it_is),
    ("a_script_gets_its_arguments_the_context_and_nothing_else", a_script_gets_its_arguments),
    ("its_environment_and_descriptors_hold_nothing_of_the_node", nothing_of_the_node),
    ("a_script_has_the_mode_mask_of_whoever_started_the_node", the_mode_mask_is_the_callers),
    ("each_cause_of_not_starting_has_its_code", each_cause_of_not_starting_has_its_code),
    ("what_the_node_does_not_permit_is_not_run", what_the_node_does_not_permit_is_not_run),
    ("a_cancel_reaches_every_process_by_sigterm_first", a_cancel_reaches_every_process),
    ("a_script_that_ignores_sigterm_is_killed_after_the_grace", ignores_sigterm),
    ("a_stopped_script_is_cancelled_too", a_stopped_script_is_cancelled_too),
    ("what_a_script_leaves_behind_ends_with_it", what_a_script_leaves_behind_ends_with_it),
    ("a_cancel_before_the_start_starts_nothing", a_cancel_before_the_start_starts_nothing),
    ("a_start_held_up_for_longer_than_the_lease_starts_nothing", a_start_held_up_starts_nothing),
    ("a_node_that_does_not_stand_behind_a_run_starts_nothing", an_untrusted_start_starts_nothing),
];

fn not_started(outcome: Outcome) -> String {
    match outcome.ending {
        Ending::NotStarted(text) => text,
        other => panic!("not refused: {other:?}"),
    }
}

fn every_exit_code_and_signal_is_told_as_it_is() {
    let rig = Rig::new();
    assert_eq!(rig.sh("exit 0").ending, Ending::Succeeded);
    for code in [1, 2, 126, 127, 128, 255] {
        assert_eq!(rig.sh(&format!("exit {code}")).ending, Ending::Exited(code));
    }
    for signal in [1, 2, 9, 11, 15] {
        assert_eq!(rig.sh(&format!("kill -{signal} $$")).ending, Ending::Signalled(signal));
    }
}

fn a_script_gets_its_arguments() {
    let rig = Rig::new();
    let text = "#!/bin/sh\nfor argument; do printf '[%s]\\n' \"$argument\"; done\n";
    let path = rig.script("arguments.sh", text);
    let path = path.to_str().unwrap();
    let odd = ["", "; id", "$(id)", "`id`", "-rf", "two words", "\"quoted\"", "new\nline", "中文"];
    let outcome = rig.run(&[&[path], &odd[..]].concat());
    let mut expected: String = odd.iter().map(|argument| format!("[{argument}]\n")).collect();
    expected.push_str(concat!(
        r#"[{"jobName":"job","taskId":"job@-@2@-@READY@-@10.0.0.1@-@4711-9f3c","#,
        r#""shardingTotalCount":4,"jobParameter":"a\u003db","shardingItem":2,"#,
        r#""shardingParameter":"Bei\u0027jing"}]"#,
        "\n"
    ));
    assert_eq!(outcome.output_tail, expected);
}

fn nothing_of_the_node() {
    let rig = Rig::new();
    // As a careless library's would be, this descriptor stays open across an exec.
    let open = fs::File::open("/dev/null").unwrap();
    rustix::io::fcntl_setfd(&open, rustix::io::FdFlags::empty()).unwrap();
    let outcome = rig.sh("env | sort; echo fds; ls /proc/self/fd; pwd; cat");
    let tail = outcome.output_tail;
    let names: Vec<&str> = tail
        .lines()
        .take_while(|line| !line.starts_with("fds"))
        .map(|line| line.split('=').next().unwrap())
        .filter(|name| {
            !matches!(*name, "HOME" | "TZ" | "TMPDIR" | "PWD" | "_" | "SHLVL" | "OLDPWD")
        })
        .collect();
    let expected = [
        "FLOCKWORK_ATTEMPT",
        "FLOCKWORK_EPOCH",
        "FLOCKWORK_FIRE",
        "FLOCKWORK_JOB",
        "FLOCKWORK_RUN",
        "FLOCKWORK_SHARD",
        "LANG",
        "PATH",
    ];
    assert_eq!(names, expected, "{tail}");
    for line in [
        "FLOCKWORK_FIRE=2026-01-01T00:00:00Z",
        "FLOCKWORK_EPOCH=77",
        "FLOCKWORK_ATTEMPT=3",
        "FLOCKWORK_SHARD=2",
        rig.dir.path().to_str().unwrap(),
    ] {
        assert!(tail.lines().any(|found| found == line), "{line} is missing in {tail}");
    }
    // The last is the listed directory itself.
    assert!(tail.contains("fds\n0\n1\n2\n3\n/"), "{tail}");
}

/// Sets the mask of this whole process; tests run one after the other.
fn the_mode_mask_is_the_callers() {
    let before = rustix::process::umask(Mode::empty());
    for (mask, made) in [(0o022, 0o644), (0o002, 0o664), (0o000, 0o666), (0o077, 0o600)] {
        let rig = Rig::new();
        rustix::process::umask(Mode::from_bits_retain(mask));
        let outcome = rig.sh("umask; : > made");
        assert_eq!(outcome.output_tail, format!("{mask:04o}\n"));
        let mode = |name: &str| {
            fs::metadata(rig.dir.path().join(name)).unwrap().permissions().mode() & 0o777
        };
        assert_eq!(mode("made"), made, "under {mask:o}");
        let node_s = ["output/job/2-2026-01-01T00:00:00Z-3.log", "output/job", "output"].map(mode);
        assert_eq!(node_s, [0o600, 0o700, 0o700], "the node's own, under {mask:o}");
    }
    rustix::process::umask(before);
}

fn each_cause_of_not_starting_has_its_code() {
    let rig = Rig::new();
    let at = rig.dir.path().to_owned();
    let path = |name: &str| at.join(name).to_str().unwrap().to_owned();
    fs::create_dir(at.join("directory")).unwrap();
    rig.script("noise", "\x01\x02\x03\x04 no program");
    rig.script("no-interpreter", "#!/no/such/interpreter\n");
    rig.script("plain", "#!/bin/sh\n");
    chmod(&at.join("plain"), 0o644);
    rig.script("ok", "#!/bin/sh\n");
    let long = "x".repeat(200_000);
    let cases: [(&[&str], &str); 8] = [
        (&[&path("gone")], "PROGRAM_MISSING"),
        (&[&path("directory")], "PROGRAM_IS_DIRECTORY"),
        (&[&path("plain")], "NOT_EXECUTABLE"),
        (&[&path("noise")], "EXEC_FORMAT"),
        (&[&path("no-interpreter")], "INTERPRETER_MISSING"),
        (&[&path("ok"), &long], "ARGUMENT_TOO_LONG"),
        (&[&path("ok"), "a\0b"], "ARGUMENT_CHAR"),
        (&[], "COMMAND_EMPTY"),
    ];
    for (argv, code) in cases {
        let text = not_started(rig.run(argv));
        assert!(text.starts_with(code), "{text}");
    }
    let mut run = run_of("job", &[&path("ok")]);
    run.job_parameter = long.clone();
    assert!(not_started(rig.start_run(run).outcome()).starts_with("ARGUMENT_TOO_LONG"));
    let mut moved = Rig::new();
    moved.settings.scripts.cwd = at.join("never-made");
    let text = not_started(moved.run(&[moved.script("ok", "#!/bin/sh\n").to_str().unwrap()]));
    assert!(text.starts_with("CWD_GONE"), "{text}");
}

fn what_the_node_does_not_permit_is_not_run() {
    let mut rig = Rig::new();
    let witness = rig.dir.path().join("witness");
    let text = format!("touch {}", witness.display());
    rig.settings.scripts.allow = Allowlist::default();
    let refusal = not_started(rig.sh(&text));
    assert!(
        refusal.starts_with("SCRIPT_NOT_ALLOWED") && refusal.contains("script.sh"),
        "{refusal}"
    );
    let shell = not_started(rig.run(&["/bin/sh", "-c", &text]));
    assert!(shell.starts_with("SCRIPT_NOT_ALLOWED"), "{shell}");
    rig.settings.scripts.allow = Allowlist::new(vec![rig.dir.path().to_owned()]);
    chmod(&rig.script("open.sh", &format!("#!/bin/sh\n{text}\n")), 0o777);
    assert!(not_started(rig.run(&["./open.sh"])).starts_with("SCRIPT_WRITABLE"));
    assert!(!witness.exists());
    chmod(&rig.dir.path().join("open.sh"), 0o755);
    assert_eq!(rig.run(&["./open.sh"]).ending, Ending::Succeeded);
    assert!(witness.exists());
}

fn a_cancel_reaches_every_process() {
    let rig = Rig::new();
    let start = rig.start_sh(
        "sh -c 'trap \"echo child heard; exit\" TERM; echo ready > r1; while :; do sleep 0.05; done' &
         trap 'echo parent heard; wait; exit 3' TERM
         echo ready > r2
         while :; do sleep 0.05; done",
    );
    for file in ["r1", "r2"] {
        wait_for(file, LONG, || rig.dir.path().join(file).exists().then_some(()));
    }
    start.handle.cancel(CancelReason::TimedOut);
    let outcome = start.outcome();
    assert_eq!(outcome.ending, Ending::Cancelled(CancelReason::TimedOut));
    // The shells tell of their sleeps too.
    let heard = |line: &&str| line.ends_with("heard");
    let mut lines: Vec<&str> = outcome.output_tail.lines().filter(heard).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["child heard", "parent heard"]);
}

fn ignores_sigterm() {
    let rig = Rig::new();
    let start = rig.start_sh("trap '' TERM; echo ready > ready; while :; do sleep 1; done");
    wait_for("ready", LONG, || rig.dir.path().join("ready").exists().then_some(()));
    let asked = Instant::now();
    start.handle.cancel(CancelReason::Shutdown);
    assert_eq!(start.outcome().ending, Ending::Cancelled(CancelReason::Shutdown));
    assert!(asked.elapsed() >= Duration::from_millis(450), "no grace: {:?}", asked.elapsed());
}

fn a_stopped_script_is_cancelled_too() {
    let rig = Rig::new();
    let start = rig.start_sh("echo ready > ready; kill -STOP $$; sleep 1000");
    wait_for("ready", LONG, || rig.dir.path().join("ready").exists().then_some(()));
    start.handle.cancel(CancelReason::Removed);
    assert_eq!(start.outcome().ending, Ending::Cancelled(CancelReason::Removed));
}

fn what_a_script_leaves_behind_ends_with_it() {
    let rig = Rig::new();
    let begun = Instant::now();
    let outcome = rig.sh("setsid sleep 1000 & sleep 1000 & (sleep 1000 &) ; echo done");
    assert_eq!((outcome.ending, outcome.output_tail.as_str()), (Ending::Succeeded, "done\n"));
    assert!(begun.elapsed() < LONG);
}

fn a_cancel_before_the_start_starts_nothing() {
    let mut rig = Rig::new();
    rig.settings.max_threads = 1;
    let worker = rig.worker();
    let witness = rig.dir.path().join("witness");
    let slow = rig.script("slow.sh", "#!/bin/sh\nsleep 0.3\n");
    let touch = rig.script("touch.sh", &format!("#!/bin/sh\ntouch {}\n", witness.display()));
    let (tell, told) = std::sync::mpsc::channel();
    let mut handles = Vec::new();
    for path in [&slow, &touch] {
        let tell = tell.clone();
        let run = std::sync::Arc::new(run_of("job", &[path.to_str().unwrap()]));
        handles.push(worker.start(run, move |outcome| tell.send(outcome.ending).unwrap()));
    }
    handles[1].cancel(CancelReason::Shutdown);
    assert_eq!(told.recv_timeout(LONG).unwrap(), Ending::Succeeded);
    assert_eq!(told.recv_timeout(LONG).unwrap(), Ending::Cancelled(CancelReason::Shutdown));
    assert!(!witness.exists());
}

/// A node that is stopped between its decision and the start, and goes on when its shard is
/// another's: held up here where it asks whether it may start.
fn a_start_held_up_starts_nothing() {
    let mut rig = Rig::new();
    let lease = Duration::from_millis(300);
    rig.settings.scripts.lease = lease;
    rig.settings.scripts.trust = Trust::new(move |_| {
        std::thread::sleep(lease + Duration::from_millis(50));
        true
    });
    let witness = rig.dir.path().join("witness");
    let outcome = rig.sh(&format!("touch {}", witness.display()));
    assert_eq!(outcome.ending, Ending::Cancelled(CancelReason::SessionLost));
    assert!(!witness.exists());
}

fn an_untrusted_start_starts_nothing() {
    let mut rig = Rig::new();
    rig.settings.scripts.trust = Trust::new(|_| false);
    let witness = rig.dir.path().join("witness");
    let outcome = rig.sh(&format!("touch {}", witness.display()));
    assert_eq!(outcome.ending, Ending::Cancelled(CancelReason::SessionLost));
    assert!(!witness.exists());
}
