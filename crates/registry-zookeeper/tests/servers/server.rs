//! Real servers on loopback, each with a directory and free ports of its own, ended by their pid.

use crate::disk::SlowDisk;
use rustix::process::{Pid, Signal, kill_process};
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A session time-out is 2 to 20 ticks, unless more is allowed.
const TICK: u32 = 200;

const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    /// The distribution's, 3.8.
    Debian,
    /// 3.9, from Maven Central.
    Maven,
}

impl Release {
    fn class_path(self) -> String {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let (jar, path) = match self {
            Self::Debian => {
                let java = "/usr/share/java";
                let jar = PathBuf::from(format!("{java}/zookeeper.jar"));
                // Its manifest names the rest, but for what TLS needs.
                let netty = ["codec", "resolver", "transport-native-unix-common"]
                    .map(|part| format!(":{java}/netty-{part}.jar"));
                (jar, format!("{java}/zookeeper.jar{}", netty.concat()))
            }
            Self::Maven => {
                let folder = root.join("target/oracles/zookeeper");
                (folder.join("zookeeper-3.9.3.jar"), format!("{}/*", folder.display()))
            }
        };
        assert!(jar.is_file(), "{} is missing: run `cargo xtask setup`", jar.display());
        path
    }
}

/// One server, running or not.
#[derive(Debug)]
pub(crate) struct Server {
    release: Release,
    dir: TempDir,
    port: u16,
    child: Option<Child>,
}

impl Server {
    /// A server of its own, ready.
    pub(crate) fn start(release: Release) -> Self {
        Self::start_with(release, |_| String::new())
    }

    /// One with more lines of configuration, which may name files in its directory.
    pub(crate) fn start_with(release: Release, more: impl FnOnce(&Path) -> String) -> Self {
        let port = free_port();
        let mut server = Self { release, dir: directory(), port, child: None };
        server.configure(&more(server.dir.path()));
        server.run();
        server.await_mode("standalone");
        server
    }

    fn configure(&self, more: &str) {
        let data = self.dir.path().join("data");
        std::fs::create_dir_all(&data).expect("there is room");
        let text = format!(
            "tickTime={TICK}\ninitLimit=25\nsyncLimit=10\ndataDir={}\nclientPort={}\n\
             clientPortAddress=127.0.0.1\nadmin.enableServer=false\nmaxClientCnxns=0\n\
             maxSessionTimeout=60000\n4lw.commands.whitelist=*\n{more}",
            data.display(),
            self.port,
        );
        std::fs::write(self.config(), text).expect("there is room");
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("zoo.cfg")
    }

    /// Starts it (again).
    pub(crate) fn run(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let log = std::fs::File::create(self.dir.path().join("log")).expect("there is room");
        let child = Command::new("java")
            .args([
                "-Xmx256m",
                "-XX:TieredStopAtLevel=1",
                "-Dznode.container.checkIntervalMs=500",
                "-cp",
                &self.release.class_path(),
            ])
            .arg("org.apache.zookeeper.server.quorum.QuorumPeerMain")
            .arg(self.config())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.child = Some(child.expect("java is installed: run `cargo xtask setup`"));
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// What it says of itself; empty if it says nothing.
    pub(crate) fn says(&self, word: &str) -> String {
        let asked = || -> std::io::Result<String> {
            let patience = Duration::from_secs(1);
            let mut stream = TcpStream::connect_timeout(&self.address(), patience)?;
            stream.set_read_timeout(Some(patience))?;
            stream.write_all(word.as_bytes())?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text)
        };
        asked().unwrap_or_default()
    }

    pub(crate) fn is(&self, mode: &str) -> bool {
        self.says("srvr").contains(&format!("Mode: {mode}"))
    }

    pub(crate) fn await_mode(&self, mode: &str) {
        let deadline = Instant::now() + STARTS_WITHIN;
        while !self.is(mode) {
            let log = || std::fs::read_to_string(self.dir.path().join("log"));
            assert!(Instant::now() < deadline, "no {mode} at {}: {:?}", self.port, log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it runs");
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a pid");
        kill_process(pid, signal).expect("it is ours");
    }

    /// Each of its syncs takes at least so long, until that is mended.
    pub(crate) fn slow_disk(&self, delay: Duration) -> SlowDisk {
        SlowDisk::under(self.child.as_ref().expect("it runs").id(), delay)
    }

    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it is ours");
            child.wait().expect("it is ours");
        }
    }

    /// Takes all it knows away.
    pub(crate) fn forget(&self) {
        std::fs::remove_dir_all(self.dir.path().join("data")).expect("it is there");
        std::fs::create_dir_all(self.dir.path().join("data")).expect("there is room");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Three servers that elect a leader.
pub(crate) fn ensemble(release: Release) -> Vec<Server> {
    let make = |_| Server { release, dir: directory(), port: free_port(), child: None };
    let mut servers: Vec<Server> = (0..3).map(make).collect();
    let members = (1..=3).fold(String::new(), |mut text, id| {
        let (quorum, election) = (free_port(), free_port());
        let _ = writeln!(text, "server.{id}=127.0.0.1:{quorum}:{election}");
        text
    });
    for (id, server) in (1..).zip(&mut servers) {
        server.configure(&members);
        let myid = server.dir.path().join("data/myid");
        std::fs::write(myid, format!("{id}\n")).expect("there is room");
        server.run();
    }
    await_leader(&servers);
    servers
}

/// Which of them leads, once all that run serve.
pub(crate) fn await_leader(servers: &[Server]) -> usize {
    let deadline = Instant::now() + STARTS_WITHIN;
    loop {
        let running: Vec<&Server> =
            servers.iter().filter(|server| server.child.is_some()).collect();
        let serving = running.iter().all(|server| server.is("leader") || server.is("follower"));
        let leader =
            servers.iter().position(|server| server.child.is_some() && server.is("leader"));
        if let (true, Some(leader)) = (serving, leader) {
            return leader;
        }
        assert!(Instant::now() < deadline, "they elect no leader");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("there is room")
}

/// A port nobody listens on at the moment, below those the system gives to outgoing connections:
/// a server that comes back must find its port free.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..PORTS {
        let turn =
            std::process::id().wrapping_mul(61).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(FIRST_PORT + turn % PORTS).expect("below 65536");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("all ports are taken");
}

const FIRST_PORT: u32 = 12_000;
const PORTS: u32 = 18_000;
