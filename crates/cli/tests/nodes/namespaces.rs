//! Scripts in PID namespaces of their own, where whoever runs the tests may make them.

use crate::process::{FLOCKWORK, Node, scene};
use flockwork_worker::runner::may_make_namespaces;
use std::path::Path;
use std::process::{Command, Stdio};

/// A directory whose file asks for namespaces.
fn with_namespaces(body: &str) -> tempfile::TempDir {
    let directory = scene("1s", body);
    let path = directory.path().join("jobs.yaml");
    let jobs = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, jobs.replace("]}}", "], pid_namespace: true}}")).unwrap();
    directory
}

fn without_the_right(at: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-sys_admin", "--inh-caps=-sys_admin", FLOCKWORK]);
    command.current_dir(at).env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
    command
}

#[test]
fn a_script_has_a_pid_namespace_of_its_own_if_the_file_says_so() {
    if !may_make_namespaces() {
        println!("no CAP_SYS_ADMIN: that it is refused by name is shown by the other test");
        return;
    }
    let directory = with_namespaces("echo $$ > number.new; mv number.new number");
    let mut node = Node::start(directory.path());
    node.await_line(|line| line.contains(" work ") && line.contains(" OK "));
    let number = std::fs::read_to_string(directory.path().join("number")).unwrap();
    assert!(
        number.trim().parse::<u32>().unwrap() < 10,
        "the namespace has few processes: {number}"
    );
}

#[test]
fn a_node_that_may_not_make_namespaces_says_so_at_its_start() {
    let directory = with_namespaces("true");
    let run = ["run", "jobs.yaml", "--listen", "127.0.0.1:0"];
    let output = match may_make_namespaces() {
        true => without_the_right(directory.path()).args(run).output().unwrap(),
        false => crate::process::flockwork(directory.path()).args(run).output().unwrap(),
    };
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{complaint}");
    assert!(complaint.contains("error[PID_NAMESPACE]"), "{complaint}");
    assert!(complaint.contains("CAP_SYS_ADMIN"), "{complaint}");
}
