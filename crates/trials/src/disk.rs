//! A disk that is slow for a while: each sync of a server that runs is held up before it begins, by
//! `strace`.

use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// How long beyond the time that a round takes a server that is kept from running may begin a sync.
const PATIENCE: Duration = Duration::from_secs(30);

/// A process whose syncs are held up until this is mended or dropped.
#[derive(Debug)]
pub struct SlowDisk {
    tracer: Child,
    /// Where each sync is written down once it is over.
    seen: TempDir,
    delay: Duration,
}

impl SlowDisk {
    /// Each sync that begins from now on takes at least so long.
    pub fn under(process: u32, delay: Duration) -> Self {
        let seen = tempfile::tempdir().expect("there is room");
        let injected = format!("inject=fsync,fdatasync:delay_enter={}", delay.as_micros());
        let mut command = Command::new("strace");
        command.args(["-f", "-T", "-e", "trace=fsync,fdatasync", "-e", &injected, "-o"]);
        command.arg(seen.path().join("syncs")).args(["-p", &process.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let spawned = command.spawn();
        let mut tracer = spawned.expect("strace is installed: run `cargo xtask setup`");
        let mut told = BufReader::new(tracer.stderr.take().expect("it is piped"));
        let mut line = String::new();
        told.read_line(&mut line).expect("it is text");
        assert!(line.contains("attached"), "{line}");
        // Threads that are born later are told of as well, and a full pipe would stop it.
        std::thread::spawn(move || std::io::copy(&mut told, &mut std::io::sink()));
        Self { tracer, seen, delay }
    }

    /// Lets it be so for so long, and until some sync has really taken as long as it should.
    pub async fn last(&self, long: Duration) {
        let until = Instant::now() + long + PATIENCE;
        sleep(long).await;
        while self.held_up() == 0 && Instant::now() < until {
            sleep(self.delay / 10).await;
        }
    }

    /// Makes it as fast as it was. Says how many syncs really took as long as they should.
    pub fn mend(mut self) -> usize {
        self.detach();
        self.held_up()
    }

    fn held_up(&self) -> usize {
        let seen = std::fs::read_to_string(self.seen.path().join("syncs")).expect("it was made");
        seen.lines().filter(|line| took(line).is_some_and(|took| took >= self.delay)).count()
    }

    fn detach(&mut self) {
        if let Ok(None) = self.tracer.try_wait() {
            // It lives, or has ended and was not waited for: its id is its own.
            kill_process(Pid::from_child(&self.tracer), Signal::TERM).expect("it is ours");
        }
        self.tracer.wait().expect("it is ours");
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        self.detach();
    }
}

/// How long a call took by the kernel's clock: `71  fdatasync(3) = 0 (DELAYED) <0.203788>`. One that
/// was cut short by the end of tracing has no time.
fn took(line: &str) -> Option<Duration> {
    let (_, rest) = line.split_once("(DELAYED) <")?;
    Some(Duration::from_secs_f64(rest.strip_suffix('>')?.parse().ok()?))
}
