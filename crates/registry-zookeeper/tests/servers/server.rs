//! Real servers on loopback, each with a directory and free ports of its own, ended by their pid.

use flockwork_trials::ports::free_port;
use flockwork_trials::server;
use flockwork_trials::server::{Running, Server as _, await_leader};
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// A session time-out is 2 to 20 ticks, unless more is allowed.
const TICK: u32 = 200;

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
    /// Before its directory: the process ends first.
    process: Running,
    release: Release,
    dir: TempDir,
    port: u16,
}

impl Server {
    /// A server of its own, ready.
    pub(crate) fn start(release: Release) -> Self {
        Self::start_with(release, |_| String::new())
    }

    /// One with more lines of configuration, which may name files in its directory.
    pub(crate) fn start_with(release: Release, more: impl FnOnce(&Path) -> String) -> Self {
        let mut server = Self::new(release);
        server.configure(&more(server.dir.path()));
        server.run();
        server.await_service();
        server
    }

    fn new(release: Release) -> Self {
        let dir = tempfile::tempdir().expect("there is room");
        let port = free_port().expect("ports are left");
        Self { release, dir, port, process: Running::default() }
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

    /// Takes all it knows away.
    pub(crate) fn forget(&self) {
        std::fs::remove_dir_all(self.dir.path().join("data")).expect("it is there");
        std::fs::create_dir_all(self.dir.path().join("data")).expect("there is room");
    }
}

impl server::Server for Server {
    fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    fn command(&self) -> Command {
        let mut command = Command::new("java");
        command
            .args([
                "-Xmx256m",
                "-XX:TieredStopAtLevel=1",
                "-Dznode.container.checkIntervalMs=500",
                "-cp",
                &self.release.class_path(),
            ])
            .arg("org.apache.zookeeper.server.quorum.QuorumPeerMain")
            .arg(self.config());
        command
    }

    fn directory(&self) -> &Path {
        self.dir.path()
    }

    fn process(&self) -> &Running {
        &self.process
    }

    fn process_mut(&mut self) -> &mut Running {
        &mut self.process
    }

    fn serves(&self) -> bool {
        self.says("srvr").contains("Mode: ")
    }

    fn leads(&self) -> bool {
        self.is("leader")
    }
}

/// Three servers that elect a leader.
pub(crate) fn ensemble(release: Release) -> Vec<Server> {
    let mut servers: Vec<Server> = (0..3).map(|_| Server::new(release)).collect();
    let members = (1..=3).fold(String::new(), |mut text, id| {
        let [quorum, election] = [(); 2].map(|()| free_port().expect("ports are left"));
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
