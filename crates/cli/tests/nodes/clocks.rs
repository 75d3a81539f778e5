//! A node whose clock is wrong, on a registry that tells its own.

use crate::is_start;
use crate::process::{FLOCKWORK, Node, PATIENCE, asked, flockwork, get, scene};
use flockwork_core::time::Timestamp;
use flockwork_soak::registry::Which;
use flockwork_trials::clock::with_clock;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

/// Until the answer has it.
fn await_answer(what: &str, ask: impl Fn() -> String) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = ask();
        if answer.contains(what) {
            return answer;
        }
        assert!(Instant::now() < deadline, "no {what} in {answer}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_node_whose_clock_is_wrong_takes_nothing_up_says_so_and_goes_on_when_it_is_right() {
    let directory = scene("1s", "true");
    let at = directory.path().canonicalize().unwrap();
    let registry = Which::ZooKeeper.make(&at, 1, Duration::from_secs(4)).unwrap();
    let url = registry.flags(1).remove(1);
    let jobs = std::fs::read_to_string(at.join("jobs.yaml")).unwrap();
    std::fs::write(at.join("jobs.yaml"), format!("{jobs}    max_time_difference: 5s\n")).unwrap();
    let file = at.join("clock");
    std::fs::write(&file, "-60").unwrap();

    let mut command = with_clock(FLOCKWORK, &file);
    command.current_dir(&at).stdin(Stdio::null()).env("FLOCKWORK_REGISTRY", &url);
    let mut node = Node::run(command);
    let page = node.page();
    let line = node.await_line(|line| line.contains("CLOCK_DIFFERS"));
    assert!(line.contains("behind the registry's") && line.contains("is 5000 ms"), "{line}");
    let describe = || asked(&at, &["describe", "work", "--registry", &url]).1;
    let told = await_answer("CLOCK_DIFFERS", describe);
    assert!(told.contains("the limit is 5000 ms"), "{told}");
    await_answer("CLOCK_DIFFERS", || get(&page, "/jobs/work", &page));
    await_answer("clock differs", || get(&page, "/", &page));
    std::thread::sleep(Duration::from_secs(3));
    assert!(!node.seen().iter().any(|line| is_start(line)), "{:#?}", node.seen());

    std::fs::write(&file, "+0").unwrap();
    node.await_line(|line| line.contains("work goes on"));
    node.await_line(is_start);
    let told = node.seen().iter().filter(|line| line.contains("CLOCK_DIFFERS"));
    assert_eq!(told.filter(|line| line.contains("warning")).count(), 1);
    let again = describe();
    assert!(!again.contains("warning[CLOCK_DIFFERS]"), "{again}");
}

#[test]
fn a_registry_that_tells_no_time_is_named_and_the_job_runs() {
    let directory = scene("1s", "true");
    let at = directory.path().canonicalize().unwrap();
    let registry = Which::Etcd.make(&at, 1, Duration::from_secs(4)).unwrap();
    let jobs = std::fs::read_to_string(at.join("jobs.yaml")).unwrap();
    std::fs::write(at.join("jobs.yaml"), format!("{jobs}    max_time_difference: 5s\n")).unwrap();
    let mut command = flockwork(&at);
    command.env("FLOCKWORK_REGISTRY", registry.flags(1).remove(1));
    let mut node = Node::run(command);
    node.await_line(|line| line.contains("warning[CLOCK_NOT_TOLD]"));
    node.await_line(is_start);
}

/// On an embedded registry, where all nodes share the clock of their host.
#[test]
fn a_clock_that_was_ahead_is_told_and_the_job_goes_on_as_soon_as_it_is_right() {
    for (ahead, at_start) in [("+3600", false), ("+34560000", true)] {
        let directory = scene("1s", "true");
        let at = directory.path().canonicalize().unwrap();
        let file = at.join("clock");
        std::fs::write(&file, if at_start { ahead } else { "+0" }).unwrap();
        let mut command = with_clock(FLOCKWORK, &file);
        command.current_dir(&at).stdin(Stdio::null());
        let mut node = Node::run(command);
        node.await_line(is_start);
        if !at_start {
            std::fs::write(&file, ahead).unwrap();
            node.await_line(|line| line.contains("CLOCK_STEP"));
            node.await_line(is_start);
        }
        std::fs::write(&file, "+0").unwrap();
        let told = node.await_line(|line| line.contains("CLOCK_WAS_AHEAD"));
        assert!(told.contains("none that ran runs again"), "{told}");
        node.await_line(is_start);
        let next = asked(&at, &["ps"]).1;
        assert!(next.contains(&this_year()), "{ahead}: {next}");
    }
}

/// By the host's clock, in UTC.
fn this_year() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let now = Timestamp::from_millis(i64::try_from(now.as_millis()).unwrap());
    now.to_string()[..4].to_owned()
}
