//! The command as people and scripts meet it: what it prints, where, and what it exits with.
#![allow(clippy::unwrap_used, reason = "a process that cannot be started is a failed test")]

use std::ffi::OsStr;
use std::fs::Permissions;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

fn flockwork() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flockwork"));
    command.env_clear().env("TZ", "nonsense").env("LC_ALL", "C").stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> Output {
    flockwork().args(args).output().unwrap()
}

fn asked(args: &[&str], input: &str) -> Output {
    let mut command = flockwork();
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn out(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn err(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

#[test]
fn the_version_names_the_commit() {
    let output = run(&["--version"]);
    assert!(out(&output).starts_with("flockwork 0."), "{}", out(&output));
    assert!(out(&output).contains("(commit "));
}

#[test]
fn wrong_usage_is_refused_with_a_suggestion_on_stderr_alone() {
    for (args, code, said) in [
        (&["descibe"][..], "USAGE", "describe"),
        (&["ps", "--outptu", "json"], "USAGE", "--output"),
        (&["ps", "-o", "xml"], "USAGE", "json"),
        (&["run"], "USAGE", "FILE"),
        (&["next", "* * * * * ?", "-n", "0"], "USAGE", "1..=10000"),
        (&["enable"], "USAGE", "Usage"),
        (&["enable", "--shard", "1"], "USAGE", "Usage"),
        (&["run", "x.yaml", "--data", "a", "--data", "b"], "USAGE", "multiple times"),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert_eq!(out(&output), "", "{args:?}");
        assert!(err(&output).starts_with(&format!("error[{code}]: ")), "{}", err(&output));
        assert!(err(&output).contains(said), "{}", err(&output));
    }
}

#[test]
fn an_argument_that_is_not_utf_8_is_shown_in_hex() {
    let output = flockwork().arg(OsStr::from_bytes(b"a\xff\x1b")).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(err(&output), "error[ARG_NOT_UTF8]: not UTF-8: a\\xff\\x1b\n");
}

#[test]
fn next_prints_one_instant_a_line() {
    let args = ["next", "0 0 12 ? * 6L", "--after", "2026-01-01T00:00:00Z", "-n", "2"];
    let output = run(&args);
    assert_eq!(out(&output), "2026-01-30T12:00:00Z\n2026-02-27T12:00:00Z\n");
    assert_eq!((output.status.code(), err(&output)), (Some(0), ""));
    let args =
        ["next", "0 30 2 * * ?", "--tz", "America/New_York", "--after", "2026-03-07T12:00:00Z"];
    let output = run(&[&args[..], &["-n", "2", "--dst", "sane"]].concat());
    assert_eq!(out(&output), "2026-03-08T03:00:00-04:00\n2026-03-09T02:30:00-04:00\n");
}

#[test]
fn expressions_that_are_not_are_refused_by_code() {
    for (expression, code) in [
        ("", "CRON_EMPTY"),
        ("0 12 * * ?", "CRON_FIELDS"),
        ("60 * * * * ?", "CRON_RANGE"),
        ("0 0/0 * * * ?", "CRON_STEP"),
        ("0 0 0 30 2 ?", "CRON_NEVER"),
        ("0 0 12 1 * 2", "CRON_DOM_DOW"),
    ] {
        let output = run(&["next", expression, "--after", "2026-01-01T00:00:00Z"]);
        assert_eq!(output.status.code(), Some(3), "{expression}");
        assert!(err(&output).contains(&format!("error[{code}]")), "{expression}: {}", err(&output));
    }
    let output = run(&["next", "* * * * * ?", "--tz", "UTC+8"]);
    assert!(err(&output).starts_with("error[TZ_UNKNOWN]"), "{}", err(&output));
    let output = run(&["next", "* * * * * ?", "--after", "yesterday"]);
    assert!(err(&output).starts_with("error[TIMESTAMP]"), "{}", err(&output));
}

#[test]
fn each_expression_on_stdin_gets_its_block() {
    let input = "0 0 12 * * ?\nnonsense\n0 0 13 * * ?";
    let output = asked(&["next", "-", "-n", "1", "--after", "2026-01-01T00:00:00Z"], input);
    let blocks: Vec<&str> = out(&output).split_terminator("\n\n").collect();
    assert_eq!(blocks.len(), 3, "{}", out(&output));
    assert_eq!((blocks[0], blocks[2]), ("2026-01-01T12:00:00Z", "2026-01-01T13:00:00Z"));
    assert!(blocks[1].starts_with("error["), "{}", blocks[1]);
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn a_closed_stdout_is_no_panic() {
    let mut command = flockwork();
    command.args(["next", "* * * * * ?", "-n", "10000"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(err(&output), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn an_answer_that_cannot_be_written_is_a_failure() {
    let hello = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/hello.yaml");
    for args in [
        &["next", "0 0 12 * * ?"][..],
        &["schema"],
        &["settings"],
        &["settings", "-o", "json"],
        &["settings", "--reference"],
        &["validate", hello],
        &["--version"],
        &["--help"],
    ] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = flockwork().args(args).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}", err(&output));
        assert!(err(&output).contains("OUTPUT"), "{args:?}: {}", err(&output));
        assert!(err(&output).contains("No space left"), "{args:?}: {}", err(&output));
    }
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut child =
        flockwork().args(["next", "-"]).stdin(Stdio::piped()).stdout(full).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"0 0 12 * * ?\n").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn every_problem_of_a_file_is_told_with_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("jobs.yaml");
    std::fs::write(&file, "jobs:\n  a:\n    every: 5s\n    shards: 0\n    retris: 1\n").unwrap();
    let file = file.to_str().unwrap();
    let output = run(&["validate", file]);
    assert_eq!(output.status.code(), Some(3), "{}", err(&output));
    assert!(err(&output).contains(&format!("error[SHARDS_RANGE]: {file}:4:")), "{}", err(&output));
    assert!(err(&output).contains("error[UNKNOWN_KEY]"), "{}", err(&output));
    assert!(err(&output).contains("retry"), "{}", err(&output));
}

#[test]
fn what_a_node_would_not_run_is_no_valid_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("jobs.yaml");
    let allowed = "node:\n  scripts:\n    allow: [./a.sh]\n";
    let job = "jobs:\n  a:\n    every: 5s\n    script: [./a.sh]\n";
    let each: String = (0..20).map(|i| format!("      {i}: {}\n", "x".repeat(30_000))).collect();
    let long = format!("{allowed}{job}    shards: 20\n    parameters:\n{each}");
    let table = [
        (job.to_owned(), "error[CONFLICT]: job a runs a script, and no file allows any"),
        (long, "error[TOO_LARGE]: the definition of job a has 600"),
        ("jobs:\n  a:\n    every: 5s\n".to_owned(), "error[NO_SCRIPT]: job a names no script"),
        (format!("{allowed}{job}    listener: {{}}\n"), "error[NO_LISTENER]: job a has a listener"),
    ];
    for (text, expected) in table {
        std::fs::write(&file, &text).unwrap();
        let output = run(&["validate", file.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(3), "{}", err(&output));
        assert!(err(&output).starts_with(expected), "{}", err(&output));
    }
    std::fs::write(&file, format!("{allowed}{job}")).unwrap();
    assert_eq!(run(&["validate", file.to_str().unwrap()]).status.code(), Some(0));
}

/// Scripts of all kinds beside a job file that allows them.
fn scripts() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    for folder in ["sub", "sub/folder"] {
        std::fs::create_dir(at.join(folder)).unwrap();
        std::fs::set_permissions(at.join(folder), Permissions::from_mode(0o755)).unwrap();
    }
    for (name, text, mode) in [
        ("j.sh", "#!/bin/sh\n", 0o755),
        ("sub/ok.sh", "#!/bin/sh\n", 0o755),
        ("sub/plain.sh", "#!/bin/sh\n", 0o644),
        ("sub/open.sh", "#!/bin/sh\n", 0o777),
        ("sub/no-line.sh", "echo\n", 0o755),
        ("sub/dos.sh", "#!/bin/sh\r\n", 0o755),
        ("sub/folder.sh", "#!/bin\n", 0o755),
    ] {
        std::fs::write(at.join(name), text).unwrap();
        std::fs::set_permissions(at.join(name), Permissions::from_mode(mode)).unwrap();
    }
    std::os::unix::fs::symlink("../j.sh", at.join("sub/link.sh")).unwrap();
    directory
}

#[test]
fn what_would_not_start_on_this_host_is_told_with_its_place() {
    let directory = scripts();
    let file = directory.path().join("jobs.yaml");
    let head = "node: {scripts: {allow: [./sub]}}\njobs:\n  a:\n    every: 5s\n    script: ";
    let long = "<".repeat(30_000);
    let each = format!("[./sub/ok.sh]\n    shards: 2\n    parameters: {{1: \"{long}\"}}");
    let table = [
        (
            "[./sub/../j.sh]",
            3,
            "error[SCRIPT_NOT_ALLOWED]",
            "5:13: jobs.a.script: ",
            "scripts.allow",
        ),
        (
            "[./sub/link.sh]",
            0,
            "warning[SCRIPT_NOT_ALLOWED]",
            "5:13: jobs.a.script: ",
            "scripts.allow",
        ),
        ("[./sub/gone.sh]", 0, "warning[PROGRAM_MISSING]", "5:13: jobs.a.script: ", "gone.sh"),
        ("[./sub/folder]", 0, "warning[PROGRAM_IS_DIRECTORY]", "5:13: jobs.a.script: ", "folder"),
        ("[./sub/plain.sh]", 0, "warning[NOT_EXECUTABLE]", "5:13: jobs.a.script: ", "chmod +x"),
        ("[./sub/open.sh]", 0, "warning[SCRIPT_WRITABLE]", "5:13: jobs.a.script: ", "chmod go-w"),
        ("[./sub/no-line.sh]", 0, "warning[EXEC_FORMAT]", "5:13: jobs.a.script: ", "#!/bin/sh"),
        ("[./sub/dos.sh]", 0, "warning[INTERPRETER_MISSING]", "5:13: jobs.a.script: ", "Windows"),
        ("[./sub/folder.sh]", 0, "warning[NOT_EXECUTABLE]", "5:13: jobs.a.script: ", "/bin"),
        (
            &each,
            0,
            "warning[ARGUMENT_TOO_LONG]",
            "7:17: jobs.a.parameters: ",
            "kernel takes 131071",
        ),
    ];
    for (script, code, said, place, what) in table {
        std::fs::write(&file, format!("{head}{script}\n")).unwrap();
        let output = run(&["validate", file.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(code), "{script}: {}", err(&output));
        let begins = format!("{said}: {}:{place}", file.display());
        assert!(err(&output).starts_with(&begins), "{begins}: {}", err(&output));
        assert!(err(&output).contains(what), "{script}: {}", err(&output));
        assert!(!out(&output).contains("nothing wrong"), "{script}: {}", out(&output));
    }
    std::fs::write(&file, format!("{head}[./sub/ok.sh]\n")).unwrap();
    let output = run(&["validate", file.to_str().unwrap()]);
    assert_eq!((out(&output).lines().last(), err(&output)), (Some("1 jobs, nothing wrong"), ""));
}

#[test]
fn paths_that_are_no_files_are_refused_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    rustix::fs::mkfifoat(rustix::fs::CWD, at.join("fifo"), rustix::fs::Mode::RUSR).unwrap();
    std::fs::File::create(at.join("huge")).unwrap().set_len(5 << 30).unwrap();
    let inside = |name: &str| at.join(name).to_str().unwrap().to_owned();
    for path in [inside("fifo"), inside("absent"), inside("huge"), inside(""), "/dev/zero".into()] {
        let output = run(&["validate", &path]);
        assert_eq!(output.status.code(), Some(3), "{path}");
        assert!(err(&output).starts_with("error[CONFIG_READ]"), "{path}: {}", err(&output));
    }
}

#[test]
fn asking_makes_no_registry() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("nowhere");
    let output = run(&["ps", "--data", data.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(4));
    assert!(err(&output).starts_with("error[REGISTRY_NOT_FOUND]"), "{}", err(&output));
    assert!(!data.exists());
    let output = run(&["ps", "-o", "json", "--data", data.to_str().unwrap()]);
    assert!(err(&output).starts_with("{\"code\":\"REGISTRY_NOT_FOUND\""), "{}", err(&output));
}

#[test]
fn addresses_others_could_reach_and_registries_that_are_none_are_refused() {
    let hello = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/hello.yaml");
    for (flag, value, code) in [
        ("--listen", "0.0.0.0:8087", "LISTEN_ADDR"),
        ("--listen", "127.0.0.1:65536", "PORT_RANGE"),
        ("--registry", "localhost:2181", "REGISTRY_ADDR"),
        ("--registry", "etcd://localhost", "REGISTRY_ADDR"),
        ("--registry", "etcd://ana:word@localhost:2379", "SECRET_LITERAL"),
        ("--registry", "zookeeper://localhost", "REGISTRY_ADDR"),
        ("--registry", "zookeeper://localhost:2181?session_timeout=1s", "REGISTRY_ADDR"),
        ("--registry", "zookeeper://ana:word@localhost:2181", "SECRET_LITERAL"),
        ("--namespace", "a//b", "NAMESPACE"),
        ("--drain-timeout", "10", "DURATION"),
    ] {
        let output = run(&["run", hello, flag, value]);
        assert_eq!(output.status.code(), Some(3), "{flag} {value}: {}", err(&output));
        assert!(err(&output).contains(&format!("error[{code}]")), "{flag}: {}", err(&output));
        assert_eq!(out(&output), "", "nothing was started");
    }
}

type Variables<'a> = &'a [(&'a str, &'a str)];

#[test]
fn a_secret_that_is_none_is_refused_and_not_repeated() {
    const ZOOKEEPER: &str = "zookeeper://127.0.0.1:1";
    const ETCD: &str = "etcd://127.0.0.1:1";
    let table: [(&str, Variables<'_>, &str); 5] = [
        (ZOOKEEPER, &[("FLOCKWORK_REGISTRY_DIGEST", "hunter2")], "error[REGISTRY_DIGEST]"),
        (
            ZOOKEEPER,
            &[("FLOCKWORK_REGISTRY_DIGEST_FILE", "/nowhere/at/all")],
            "error[REGISTRY_DIGEST]",
        ),
        (ETCD, &[("FLOCKWORK_REGISTRY_USER", "hunter2")], "error[REGISTRY_USER]"),
        (ETCD, &[("FLOCKWORK_REGISTRY_USER_FILE", "/nowhere/at/all")], "error[REGISTRY_USER]"),
        (
            ZOOKEEPER,
            &[
                ("FLOCKWORK_REGISTRY_DIGEST", "a:hunter2"),
                ("FLOCKWORK_REGISTRY_DIGEST_FILE", "/nowhere/at/all"),
            ],
            "error[CONFLICT]",
        ),
    ];
    for (registry, variables, expected) in table {
        let mut command = flockwork();
        command.args(["ps", "--registry", registry]);
        let output = command.envs(variables.iter().copied()).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{}", err(&output));
        assert!(err(&output).starts_with(expected), "{}", err(&output));
        assert!(!err(&output).contains("hunter2"), "{}", err(&output));
    }
}

#[test]
fn the_settings_in_force_name_their_source() {
    let mut command = flockwork();
    command.args(["settings", "--namespace", "b"]).env("FLOCKWORK_NAMESPACE", "a");
    let output = command.output().unwrap();
    let line = out(&output).lines().find(|line| line.starts_with("namespace")).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words, ["namespace", "b", "flag", "environment", "a"]);
}
