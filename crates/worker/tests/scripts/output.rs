//! What scripts write: kept up to a cap, never held up, its end and its progress told.

use crate::Test;
use crate::rig::{LONG, Rig, wait_for};
use flockwork_core::execution::{Ending, OUTPUT_TAIL_BYTES};
use flockwork_worker::Progress;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

pub(crate) const TESTS: &[Test] = &[
    ("a_flood_of_output_is_capped_and_holds_nobody_up", a_flood_of_output),
    ("output_is_kept_in_a_file_that_only_the_node_may_read", output_is_kept),
    ("a_script_that_closes_its_output_runs_on", a_script_that_closes_its_output_runs_on),
    ("the_last_progress_line_counts_without_a_newline", the_last_line_without_a_newline),
    ("progress_lines_are_seen_live_and_summed", progress_lines_are_seen_live_and_summed),
];

fn a_flood_of_output() {
    let mut rig = Rig::new();
    rig.settings.scripts.output_cap = 1000;
    // 64 MiB without a line end, then many short lines.
    let outcome = rig
        .sh("head -c 67108864 /dev/zero; yes line | head -n 500000; printf '\\033[0mlast'; exit 4");
    assert_eq!(outcome.ending, Ending::Exited(4));
    assert!(outcome.output_tail.ends_with("line\n\\x1b[0mlast"), "{:?}", outcome.output_tail);
    assert!(outcome.output_tail.len() <= OUTPUT_TAIL_BYTES);
    let file = rig.dir.path().join("output/job/2-2026-01-01T00:00:00Z-3.log");
    let kept = fs::read(file).unwrap();
    let note = String::from_utf8_lossy(&kept[1000..]).into_owned();
    let all = 67_108_864 + 500_000 * 5 + 8;
    assert_eq!(note, format!("\n[truncated at 1000 bytes of {all}]\n"));
}

fn output_is_kept() {
    let rig = Rig::new();
    let outcome = rig.sh("echo out; echo err >&2");
    assert_eq!(outcome.output_tail, "out\nerr\n");
    let file = rig.dir.path().join("output/job/2-2026-01-01T00:00:00Z-3.log");
    assert_eq!(fs::read_to_string(&file).unwrap(), "out\nerr\n");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let job = file.parent().unwrap();
    assert_eq!(fs::metadata(job).unwrap().permissions().mode() & 0o777, 0o700);
}

fn a_script_that_closes_its_output_runs_on() {
    let rig = Rig::new();
    let outcome = rig.sh("exec >&- 2>&-; sleep 0.3; exit 5");
    assert_eq!(outcome.ending, Ending::Exited(5));
}

fn progress_lines_are_seen_live_and_summed() {
    let rig = Rig::new();
    let start = rig.start_sh(
        "echo 'flockwork: processed rows=10 bytes=2048'
         while ! [ -e go ]; do sleep 0.05; done
         echo 'flockwork: processed rows=5'",
    );
    let first = Progress { rows: 10, bytes: 2048 };
    wait_for("live progress", LONG, || (start.handle.progress() == first).then_some(()));
    fs::write(rig.dir.path().join("go"), "").unwrap();
    let outcome = start.outcome();
    assert_eq!((outcome.ending, outcome.rows, outcome.bytes), (Ending::Succeeded, 15, 2048));
}

fn the_last_line_without_a_newline() {
    let rig = Rig::new();
    for (end, ending, rows) in [
        ("", Ending::Succeeded, 5),
        ("; exit 3", Ending::Exited(3), 5),
        // What a signal ended may have been about to write `rows=50`.
        ("; kill -9 $$", Ending::Signalled(9), 0),
    ] {
        let outcome = rig.sh(&format!("printf 'flockwork: processed rows=5'{end}"));
        assert_eq!((outcome.ending, outcome.rows), (ending, rows));
    }
}
