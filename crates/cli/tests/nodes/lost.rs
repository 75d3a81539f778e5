//! A registry whose server is killed and comes back without its data.

use crate::is_start;
use crate::process::{Node, asked, flockwork, get, scene};
use flockwork_soak::registry::{Trouble, Which};
use rustix::process::Signal;
use std::time::Duration;

#[test]
fn a_node_makes_its_jobs_anew_when_its_servers_come_back_empty_and_names_what_is_gone() {
    let directory = scene("1s", "true");
    let at = directory.path().canonicalize().unwrap();
    let mut registry = Which::ZooKeeper.make(&at, 1, Duration::from_secs(4)).unwrap();
    let url = registry.flags(1).remove(1);
    let start = || {
        let mut command = flockwork(&at);
        command.env("FLOCKWORK_REGISTRY", &url);
        Node::run(command)
    };
    // A job that only the registry knows in the end.
    let jobs = std::fs::read_to_string(at.join("jobs.yaml")).unwrap();
    std::fs::write(at.join("jobs.yaml"), jobs.replace("  work:", "  stranger:")).unwrap();
    let mut before = start();
    before.await_line(|line| line.contains("stranger is served here"));
    before.signal(Signal::TERM);
    assert_eq!(before.child.wait().unwrap().code(), Some(0));
    std::fs::write(at.join("jobs.yaml"), jobs).unwrap();

    let mut node = start();
    let page = node.page();
    node.await_line(is_start);
    node.await_line(|line| line.contains("in none of these files: stranger;"));
    registry.trouble(Trouble::Killed, 1).unwrap();
    std::fs::remove_dir_all(at.join("zookeeper/data")).unwrap();
    std::fs::create_dir(at.join("zookeeper/data")).unwrap();
    registry.relieve(Trouble::Killed, 1).unwrap();

    let lost = |line: &str| line.contains("warning[REGISTRY_LOST_DATA]");
    node.await_line(|line| lost(line) && line.contains("the servers have lost what they knew"));
    node.await_line(|line| lost(line) && line.contains("own definitions: work;"));
    node.await_line(is_start);
    node.await_line(|line| line.contains("no node that runs defines them: stranger"));
    assert!(get(&page, "/healthz", &page).ends_with("{\"live\":true,\"ready\":true}\n"));
    let told = node.seen().iter().filter(|line| lost(line)).count();
    assert_eq!(told, 2, "each once: {:#?}", node.seen());

    // Now the data are whole: what an operator removes stays removed.
    assert_eq!(asked(&at, &["remove", "work", "--yes", "--registry", &url]).0, Some(0));
    node.await_line(|line| line.contains("work left: it was removed from the registry"));
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(asked(&at, &["ps", "--registry", &url]).1, "no jobs\n");
}
