use super::*;
use crate::script::Allowlist;
use flockwork_core::config::{Draft, Level, check};
use flockwork_core::time::Timestamp;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};

/// Longer than any machine takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Long enough for many rounds.
const A_WHILE: Duration = Duration::from_millis(300);

/// A directory with a script in it that may be run, and a lookout that allows what is in it.
struct Scene {
    directory: tempfile::TempDir,
    lookout: Lookout,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        chmod(directory.path(), 0o755);
        let allow = Allowlist::new(vec![directory.path().to_owned()]);
        let scripts = Scripts { allow, cwd: directory.path().into(), ..Scripts::default() };
        let lookout = Lookout::every(Duration::from_millis(20), scripts);
        let scene = Self { directory, lookout };
        scene.write("a.sh");
        scene
    }

    /// Writes a script as a deployment does: beside its name first, then in its place.
    fn write(&self, name: &str) {
        let (new, path) = (self.directory.path().join("new"), self.directory.path().join(name));
        std::fs::write(&new, "#!/bin/sh\n").unwrap();
        chmod(&new, 0o755);
        std::fs::rename(new, path).unwrap();
    }

    fn watch(&self, job: &str, argv: &[&str], parameter: &str) -> Receiver<Found> {
        let (told, tells) = channel();
        let tell = move |found| drop(told.send(found));
        let job = definition(job, argv, parameter);
        self.lookout.watch(job.name.clone(), job, Box::new(tell));
        tells
    }
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn definition(name: &str, argv: &[&str], parameter: &str) -> Arc<JobConfig> {
    let draft = Draft {
        cron: Some("* * * * * ?".to_owned()),
        script: Some(argv.iter().map(|argument| (*argument).to_owned()).collect()),
        ..Draft::native(name)
    };
    let config = check(&draft, Level::Strict, Timestamp::default()).config.unwrap();
    Arc::new(JobConfig { job_parameter: parameter.to_owned(), ..config })
}

fn next(tells: &Receiver<Found>) -> &'static str {
    match tells.recv_timeout(PATIENCE).unwrap() {
        Ok(()) => "OK",
        Err(why) => why.code(),
    }
}

#[test]
fn each_change_of_a_file_is_told_once() {
    let scene = Scene::new();
    let path = scene.directory.path().join("a.sh");
    let tells = scene.watch("j", &["./a.sh"], "");
    assert_eq!(next(&tells), "OK");
    chmod(&path, 0o644);
    assert_eq!(next(&tells), "NOT_EXECUTABLE");
    chmod(&path, 0o757);
    assert_eq!(next(&tells), "SCRIPT_WRITABLE");
    std::fs::remove_file(&path).unwrap();
    assert_eq!(next(&tells), "PROGRAM_MISSING");
    scene.write("a.sh");
    assert_eq!(next(&tells), "OK");
    assert_eq!(tells.recv_timeout(A_WHILE), Err(RecvTimeoutError::Timeout), "nothing has changed");
}

#[test]
fn a_file_that_is_put_in_the_place_of_another_is_there_all_the_time() {
    let scene = Scene::new();
    let tells = scene.watch("j", &["./a.sh"], "");
    assert_eq!(next(&tells), "OK");
    let until = Instant::now() + A_WHILE;
    while Instant::now() < until {
        scene.write("a.sh");
    }
    assert_eq!(tells.try_iter().count(), 0);
}

#[test]
fn each_job_is_told_of_its_own_script_and_of_what_it_is_given() {
    let scene = Scene::new();
    let long = "x".repeat(200_000);
    for (job, argv, parameter, found) in [
        ("a", &["./a.sh"][..], "", "OK"),
        ("b", &["./a.sh", "--fast"], "", "OK"),
        ("c", &["./a.sh"], &long, "ARGUMENT_TOO_LONG"),
        ("d", &["./gone.sh"], "", "PROGRAM_MISSING"),
        ("e", &["/bin/sh"], "", "SCRIPT_NOT_ALLOWED"),
    ] {
        assert_eq!(next(&scene.watch(job, argv, parameter)), found, "{job}");
    }
}

#[test]
fn another_definition_of_a_job_takes_the_place_of_the_one_before() {
    let scene = Scene::new();
    let first = scene.watch("j", &["./a.sh"], "");
    assert_eq!(next(&first), "OK");
    let second = scene.watch("j", &["./b.sh"], "");
    assert_eq!(next(&second), "PROGRAM_MISSING");
    assert_eq!(first.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected));
    scene.lookout.forget(&JobName::new("j").unwrap());
    assert_eq!(second.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected));
}

#[test]
fn the_thread_ends_with_its_lookout() {
    let scene = Scene::new();
    let tells = scene.watch("j", &["./a.sh"], "");
    assert_eq!(next(&tells), "OK");
    drop(scene);
    assert_eq!(tells.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected));
}
