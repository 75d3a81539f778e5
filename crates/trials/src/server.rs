//! Real servers on this host, ended by their pid.

use crate::disk::SlowDisk;
use rustix::process::{Pid, Signal, kill_process};
use std::fmt::Debug;
use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to serve, or several to elect a leader.
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// A server's process, while it has one. Dropped, it is killed.
#[derive(Debug, Default)]
pub struct Running(Option<Child>);

impl Running {
    /// Whether there is one; it may stand still.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.0.is_some()
    }

    fn start(&mut self, mut command: Command, log: &Path) {
        assert!(self.0.is_none(), "it runs");
        let log = File::create(log).expect("there is room");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let spawned = command.spawn();
        let program = command.get_program().to_string_lossy().into_owned();
        let hint = |why| panic!("{program}: {why}; run `cargo xtask setup`");
        self.0 = Some(spawned.unwrap_or_else(hint));
    }

    fn child(&self) -> &Child {
        self.0.as_ref().expect("it runs")
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.child()), signal).expect("it is ours");
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.0.take() {
            child.kill().expect("it is ours");
            child.wait().expect("it is ours");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// One server, running or not.
pub trait Server: Debug {
    /// Where clients reach it.
    fn address(&self) -> SocketAddr;

    /// How it is started, again and again.
    fn command(&self) -> Command;

    /// Where it logs.
    fn directory(&self) -> &Path;

    /// Its process.
    fn process(&self) -> &Running;

    /// Its process.
    fn process_mut(&mut self) -> &mut Running;

    /// Whether it says that it can commit.
    fn serves(&self) -> bool;

    /// Whether it says that it leads others.
    fn leads(&self) -> bool;

    /// Starts it (again).
    fn run(&mut self) {
        let (command, log) = (self.command(), self.directory().join("log"));
        self.process_mut().start(command, &log);
    }

    /// Waits until it serves.
    fn await_service(&self) {
        let deadline = Instant::now() + STARTS_WITHIN;
        while !self.serves() {
            let log = || std::fs::read_to_string(self.directory().join("log"));
            assert!(Instant::now() < deadline, "{} does not serve: {:?}", self.address(), log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Lets it stand still.
    fn stop(&self) {
        self.process().signal(Signal::STOP);
    }

    /// Lets it go on.
    fn go_on(&self) {
        self.process().signal(Signal::CONT);
    }

    /// `kill -9`.
    fn kill(&mut self) {
        self.process_mut().kill();
    }

    /// Each of its syncs takes at least so long, until that is mended.
    fn slow_disk(&self, delay: Duration) -> SlowDisk {
        SlowDisk::under(self.process().child().id(), delay)
    }
}

/// Which of several leads, once all that run serve.
pub fn await_leader<S: Server>(servers: &[S]) -> usize {
    let deadline = Instant::now() + STARTS_WITHIN;
    let runs = |server: &&S| server.process().is_there();
    loop {
        let serving = servers.iter().filter(runs).all(Server::serves);
        if serving && let Some(leader) = servers.iter().position(|one| runs(&one) && one.leads()) {
            return leader;
        }
        assert!(Instant::now() < deadline, "they elect no leader");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Where clients reach them.
pub fn addresses<S: Server>(servers: &[S]) -> Vec<SocketAddr> {
    servers.iter().map(Server::address).collect()
}
