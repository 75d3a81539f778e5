//! What the tests stand on: a directory with scripts, a worker that may run them, and a way to see
//! processes.

use flockwork_core::execution::{Fire, Outcome, Part, Run, RunId, Script, Source, Work};
use flockwork_core::id::{Epoch, InstanceId, JobName};
use flockwork_core::time::Timestamp;
use flockwork_worker::{Allowlist, Handle, Scripts, Settings, Worker};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Ample for anything that takes a moment, on a machine that does much else.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Tells a process of this executable which part it plays: one of `process_one`'s, or that of a
/// node, by the directory of its scripts.
pub(crate) const NODE: &str = "FLOCKWORK_TEST_NODE";

pub(crate) fn role() -> Option<String> {
    std::env::var(NODE).ok()
}

pub(crate) struct Rig {
    pub(crate) dir: TempDir,
    runtime: tokio::runtime::Runtime,
    pub(crate) settings: Settings,
}

/// A run under way.
pub(crate) struct Started {
    pub(crate) handle: Handle,
    told: mpsc::Receiver<Outcome>,
}

impl Started {
    pub(crate) fn outcome(self) -> Outcome {
        let outcome = self.told.recv_timeout(LONG).expect("an outcome in time");
        assert!(self.told.recv_timeout(LONG).is_err(), "told twice");
        outcome
    }
}

impl Rig {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        chmod(dir.path(), 0o755);
        let settings = settings(dir.path());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        Self { dir, runtime, settings }
    }

    /// An executable file with this text.
    pub(crate) fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        chmod(&path, 0o755);
        path
    }

    /// Runs what `text` says after `#!/bin/sh`, and gives its outcome.
    pub(crate) fn sh(&self, text: &str) -> Outcome {
        self.start_sh(text).outcome()
    }

    pub(crate) fn start_sh(&self, text: &str) -> Started {
        let path = self.script("script.sh", &format!("#!/bin/sh\n{text}\n"));
        self.start(&[path.to_str().unwrap()])
    }

    pub(crate) fn run(&self, argv: &[&str]) -> Outcome {
        self.start(argv).outcome()
    }

    pub(crate) fn start(&self, argv: &[&str]) -> Started {
        self.start_run(run_of("job", argv))
    }

    pub(crate) fn start_run(&self, run: Run) -> Started {
        let worker = self.worker();
        let (tell, told) = mpsc::channel();
        let handle = worker.start(Arc::new(run), move |outcome| drop(tell.send(outcome)));
        Started { handle, told }
    }

    pub(crate) fn worker(&self) -> Worker {
        Worker::new(self.settings.clone(), self.runtime.handle().clone())
    }
}

pub(crate) fn settings(dir: &Path) -> Settings {
    let dir = dir.canonicalize().unwrap();
    let scripts = Scripts {
        allow: Allowlist::new(vec![dir.clone()]),
        output: Some(dir.join("output")),
        cwd: dir,
        ..Scripts::default()
    };
    Settings { scripts, grace: Duration::from_millis(500), ..Settings::default() }
}

pub(crate) fn run_of(job: &str, argv: &[&str]) -> Run {
    Run {
        id: RunId(1),
        job: JobName::new(job).unwrap(),
        part: Part::Shard,
        shard: 2,
        shards: 4,
        fire: Fire { due: Timestamp::from_millis(1_767_225_600_000), source: Source::Schedule },
        attempt: 3,
        epoch: Epoch(77),
        instance: InstanceId::new("10.0.0.1@-@4711-9f3c").unwrap(),
        shard_parameter: Some("Bei'jing".to_owned()),
        job_parameter: "a=b".to_owned(),
        timeout: None,
        work: Arc::new(Work::Script(Script {
            argv: argv.iter().map(|argument| (*argument).to_owned()).collect(),
        })),
    }
}

pub(crate) fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A job name that no other process on this host carries.
pub(crate) fn unique_job() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("probe-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The living processes of a job's scripts: by their environment, or, where they dropped it, by
/// the job's name among their arguments.
pub(crate) fn alive(job: &str) -> Vec<i32> {
    look(job, |_| ())
}

/// The same, and does something to each as soon as it is seen.
pub(crate) fn look(job: &str, each: impl Fn(i32)) -> Vec<i32> {
    let variable = format!("FLOCKWORK_JOB={job}");
    let argument = format!("{job}-argument");
    let carries = |pid: &i32, file: &str, word: &str| {
        let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        bytes.split(|byte| *byte == 0).any(|part| part == word.as_bytes())
    };
    let all = fs::read_dir("/proc").unwrap();
    let mut pids: Vec<i32> =
        all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    // The newest first: the end of a chain of short-lived processes would else be gone by then.
    pids.sort_unstable_by(|a, b| b.cmp(a));
    pids.retain(|pid| {
        let carries = carries(pid, "environ", &variable) || carries(pid, "cmdline", &argument);
        if carries {
            each(*pid);
        }
        carries
    });
    pids
}

/// The children of a process, as the kernel lists them.
pub(crate) fn children(pid: i32) -> Vec<i32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists =
        threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok());
    lists
        .flat_map(|l| l.split_whitespace().map(|n| n.parse().unwrap()).collect::<Vec<_>>())
        .collect()
}

pub(crate) fn wait_for<T>(what: &str, bound: Duration, look: impl Fn() -> Option<T>) -> T {
    let until = Instant::now() + bound;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "{what}: not within {bound:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
