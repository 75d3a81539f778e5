//! Nodes that may not run what others may: they are dealt nothing, and say why.

use crate::process::{Node, PATIENCE, asked, flockwork, scene};
use crate::{is_assigned, is_start};
use serde_json::Value;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Another directory with the same job and script, whose node shares the registry of the first. Its file does
/// not allow the script unless `allow` says so.
fn beside(at: &Path, allow: &str) -> PathBuf {
    let other = at.join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::set_permissions(&other, Permissions::from_mode(0o755)).unwrap();
    std::fs::copy(at.join("work.sh"), other.join("work.sh")).unwrap();
    let jobs = std::fs::read_to_string(at.join("jobs.yaml")).unwrap();
    let allowed = "node: {scripts: {allow: [./work.sh]}}\n";
    assert!(jobs.contains(allowed));
    std::fs::write(other.join("jobs.yaml"), jobs.replace(allowed, allow)).unwrap();
    other
}

fn start_at(at: &Path, data: &Path) -> Node {
    let mut command = flockwork(at);
    command.env("FLOCKWORK_DATA", data);
    Node::run(command)
}

fn described(at: &Path) -> Value {
    let (code, text, complaint) = asked(at, &["describe", "work", "-o", "json"]);
    assert_eq!(code, Some(0), "{complaint}");
    serde_json::from_str(&text).unwrap()
}

/// Until the job is as it is wanted.
fn await_job(at: &Path, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let job = described(at);
        if wanted(&job) {
            return job;
        }
        assert!(Instant::now() < deadline, "{job}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_node_that_does_not_allow_the_script_runs_none_of_it_and_all_fires_succeed() {
    let directory = scene("1s", "true");
    let at = directory.path();
    let other = beside(at, "");
    let data = at.join("flockwork-data");
    let mut one = Node::start(at);
    one.await_line(is_assigned(1));
    let mut two = start_at(&other, &data);
    let second = two.id();
    let line = two.await_line(|line| line.contains("SCRIPT_NOT_ALLOWED"));
    assert!(line.contains("work") && line.contains("scripts.allow"), "{line}");
    let ran = |job: &Value| {
        job["shards"].as_array().unwrap().iter().all(|shard| shard["runs"]["ok"].as_u64() > Some(4))
    };
    let job = await_job(at, ran);
    for shard in job["shards"].as_array().unwrap() {
        assert_eq!((&shard["runs"]["failed"], &shard["fires"]["misfired"]), (&0.into(), &0.into()));
    }
    assert_eq!(job["status"], "OK");
    assert_eq!(job["ineligible"].as_array().unwrap().len(), 1, "{job}");
    assert_eq!(job["ineligible"][0]["instance"], second.as_str());
    assert_eq!(job["ineligible"][0]["reasons"][0]["code"], "SCRIPT_NOT_ALLOWED");
    let (_, text, _) = asked(at, &["describe", "work"]);
    let named = format!("warning[SCRIPT_NOT_ALLOWED]: {second} may not serve this job");
    assert!(text.contains(&named), "{text}");
    assert!(!two.seen().iter().any(|line| is_start(line)), "{:#?}", two.seen());
    drop(two);
    await_job(at, |job| job["ineligible"] == Value::Array(Vec::new()));
}

#[test]
fn a_job_that_nobody_may_run_waits_by_name_and_runs_once_its_script_is_put_right() {
    let directory = scene("1s", "true");
    let at = directory.path();
    let script = at.join("work.sh");
    std::fs::set_permissions(&script, Permissions::from_mode(0o644)).unwrap();
    let mut node = Node::start(at);
    node.await_line(|line| line.contains("NOT_EXECUTABLE"));
    await_job(at, |job| job["status"] == "WAITING");
    let (_, text, _) = asked(at, &["ps"]);
    assert!(text.contains("WAITING: NOT_EXECUTABLE"), "{text}");
    let (_, text, _) = asked(at, &["ps", "-o", "json"]);
    let jobs: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&jobs[0]["status"], &jobs[0]["reasons"][0]),
        (&"WAITING".into(), &"NOT_EXECUTABLE".into())
    );

    std::fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    node.await_line(is_start);
    await_job(at, |job| job["status"] == "OK");

    std::fs::remove_file(&script).unwrap();
    node.await_line(|line| line.contains("not served") && line.contains("PROGRAM_MISSING"));
    await_job(at, |job| job["status"] == "WAITING");
}
