use super::*;
use flockwork_core::config::{Overlap, Severity, Strategy};
use flockwork_core::execution::Work;
use std::time::Duration;

const HELLO: &str = r#"
node:
  listen: 127.0.0.1:8099
  max_running: 64
  scripts:
    allow: [./hello.sh, /opt/jobs]
jobs:
  hello:
    cron: "0/5 * * * * ?"
    time_zone: Asia/Shanghai
    dst: sane
    shards: 4
    parameters: {0: Beijing, 1: "a,b"}
    parameter: 08:30
    script: [./hello.sh, --flag, 5]
    misfire: true
    overlap: queue
    catch_up: latest
    failover: true
    retry: {times: 2, backoff: 1s, on: other}
    timeout: 30s
    on_session_loss: finish
    strategy: round-robin
    props: {email.port: 25}
  tick:
    every: 10s
  legacy:
    format: elasticjob
    implementation: com.acme.Legacy
    cron: "0 0 2 * * ?"
    shardingTotalCount: 3
    misfire: yes
"#;

fn reading<'a>() -> Reading<'a> {
    let environment = &|name: &str| (name == "SHARDS").then(|| "4".to_owned());
    Reading {
        source: "hello.yaml",
        now: Timestamp::from_millis(1_795_305_600_000),
        default_zone: None,
        environment,
    }
}

fn read_text(text: &str) -> File {
    read(text.as_bytes(), reading())
}

fn told(text: &str) -> Vec<(&'static str, String, String)> {
    let file = read_text(text);
    let place = |p: &Problem| p.position.map_or(String::new(), |position| position.to_string());
    file.problems.iter().map(|p| (p.code.as_str(), p.place.clone(), place(p))).collect()
}

#[test]
fn a_file_is_read_with_all_its_fields() {
    let file = read_text(HELLO);
    assert_eq!(file.report(), "");
    assert_eq!(file.node.scripts_allow, ["./hello.sh", "/opt/jobs"]);
    assert_eq!(file.node.texts["max_running"].0, "64");
    let [hello, tick, legacy] = file.jobs.as_slice() else { panic!("{:?}", file.jobs) };
    assert_eq!((hello.shards, hello.job_parameter.as_str()), (4, "08:30"));
    assert_eq!(hello.shard_parameters[&1], "a,b");
    assert_eq!((hello.overlap, hello.strategy), (Overlap::Queue, Strategy::RoundRobin));
    assert_eq!((hello.retry.times, hello.timeout), (2, Some(Duration::from_secs(30))));
    let Work::Script(script) = hello.work.as_ref() else { panic!() };
    assert_eq!(script.argv, ["./hello.sh", "--flag", "5"]);
    assert_eq!(hello.kept.props["email.port"], "25");
    assert_eq!(tick.work.as_ref(), &Work::Function);
    assert_eq!((legacy.implementation.as_str(), legacy.misfire), ("com.acme.Legacy", true));
    assert!(!legacy.monitor_execution);
}

#[test]
fn an_elasticjob_document_is_a_job_file() {
    let file =
        read_text("jobName: old\nshardingTotalCount: 2\nprops: {script.command.line: ./a.sh}\n");
    assert_eq!(file.report(), "");
    assert_eq!(
        (file.jobs[0].name.as_str(), file.jobs[0].implementation.as_str()),
        ("old", "SCRIPT")
    );
}

#[test]
fn five_mistakes_are_five_problems_in_their_order() {
    let text = "jobs:\n  a:\n    shardss: 3\n    cron: x\n    shards: 0\n  b:\n    timeout: 5\n    misfire: yes\n";
    assert_eq!(
        told(text),
        [
            ("UNKNOWN_KEY", "jobs.a.shardss".to_owned(), "3:5".to_owned()),
            ("CRON_FIELDS", "jobs.a.cron".to_owned(), "4:11".to_owned()),
            ("SHARDS_RANGE", "jobs.a.shards".to_owned(), "5:13".to_owned()),
            ("DURATION", "jobs.b.timeout".to_owned(), "7:14".to_owned()),
            ("TYPE", "jobs.b.misfire".to_owned(), "8:14".to_owned()),
        ]
    );
    let file = read_text(text);
    assert!(file.is_refused() && file.jobs.is_empty());
    assert_eq!(file.problems[0].hint.as_deref(), Some("did you mean shards?"));
    assert!(file.report().starts_with("hello.yaml: error[UNKNOWN_KEY]: jobs.a.shardss (3:5): "));
}

#[test]
fn variables_are_replaced_and_their_values_not_told() {
    let job = |text: &str| format!("jobs:\n  a:\n    {text}\n");
    assert_eq!(read_text(&job("shards: ${SHARDS}")).jobs[0].shards, 4);
    assert_eq!(read_text(&job("parameter: $${SHARDS}")).jobs[0].job_parameter, "${SHARDS}");
    assert_eq!(told(&job("parameter: ${NOBODY}"))[0].0, "ENV_MISSING");
    let secret = Reading { environment: &|_| Some("hunter2".to_owned()), ..reading() };
    for field in
        ["timeout", "cron", "time_zone: ${SECRET}\n    cron", "strategy", "overlap", "parameters"]
    {
        let file = read(job(&format!("{field}: ${{SECRET}}")).as_bytes(), secret);
        assert!(file.is_refused());
        assert!(!file.report().contains("hunter2"), "{}", file.report());
    }
}

#[test]
fn an_empty_file_is_told_and_taken() {
    for text in ["", "# nothing\n", "node: {}\n", "jobs:\n"] {
        let file = read_text(text);
        assert!(!file.is_refused(), "{text:?} {}", file.report());
        assert_eq!(
            file.problems.iter().map(|p| p.severity).collect::<Vec<_>>(),
            [Severity::Warning]
        );
    }
}

#[test]
fn names_are_kept_in_one_form() {
    let file = read_text("jobs:\n  caf\u{e9}: {}\n");
    assert_eq!(file.jobs[0].name.as_str(), "caf\u{e9}");
    let file = read_text("jobs:\n  cafe\u{301}: {}\n");
    assert_eq!(file.jobs[0].name.as_str(), "caf\u{e9}");
    assert_eq!(told("jobs:\n  caf\u{e9}: {}\n  cafe\u{301}: {}\n")[0].0, "NAME_CONFUSABLE");
}

#[test]
fn what_belongs_to_native_keys_is_no_property() {
    let text = "jobs:\n  a:\n    props: {flockwork.overlap: skip, script.command.line: rm}\n";
    assert_eq!(told(text).iter().map(|(code, ..)| *code).collect::<Vec<_>>(), ["UNKNOWN_KEY"; 2]);
}
