//! Real servers on loopback, each with a directory and free ports of its own, ended by their pid.

use flockwork_trials::ports::free_port;
use flockwork_trials::server::{self, Running, Server as _, await_leader};
use std::io::{Read, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// One server, running or not.
#[derive(Debug)]
pub(crate) struct Server {
    /// Before its directory: the process ends first.
    process: Running,
    dir: TempDir,
    name: String,
    port: u16,
    peers: u16,
    cluster: String,
    more: Vec<String>,
    /// For clients.
    scheme: &'static str,
}

impl Server {
    /// A server of its own, ready.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// One with more options.
    pub(crate) fn start_with(more: &[&str]) -> Self {
        let mut server = Self::new("alone", more);
        server.cluster = server.member();
        server.run();
        server.await_service();
        server
    }

    fn new(name: &str, more: &[&str]) -> Self {
        Self {
            dir: directory(),
            name: name.to_owned(),
            port: free_port().expect("ports are left"),
            peers: free_port().expect("ports are left"),
            cluster: String::new(),
            more: more.iter().map(|&more| more.to_owned()).collect(),
            scheme: "http",
            process: Running::default(),
        }
    }

    /// One that is asked under TLS; it may be that it does not answer yet.
    pub(crate) fn start_under_tls(more: impl FnOnce(&Path) -> Vec<String>) -> Self {
        let mut server = Self::new("alone", &[]);
        (server.scheme, server.cluster) = ("https", server.member());
        server.more = more(server.dir.path());
        server.run();
        server
    }

    fn member(&self) -> String {
        format!("{}=http://127.0.0.1:{}", self.name, self.peers)
    }

    /// Whether it can commit.
    fn is_healthy(&self) -> bool {
        let asked = || -> std::io::Result<String> {
            let patience = Duration::from_secs(2);
            let mut stream = TcpStream::connect_timeout(&self.address(), patience)?;
            stream.set_read_timeout(Some(patience))?;
            stream.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text)
        };
        asked().unwrap_or_default().contains("\"health\":\"true\"")
    }

    /// What etcd's own client says to this; nothing if it fails.
    pub(crate) fn ctl(&self, arguments: &[&str]) -> Option<String> {
        etcdctl(self.address(), arguments)
    }

    /// Takes all it knows away.
    pub(crate) fn forget(&self) {
        std::fs::remove_dir_all(self.dir.path().join("data")).expect("it is there");
    }
}

impl Server {
    /// Takes a backup.
    pub(crate) fn save(&self) {
        let backup = self.dir.path().join("backup");
        let saved = self.ctl(&["snapshot", "save", backup.to_str().expect("it is text")]);
        saved.expect("it answers");
    }

    /// Replaces all it knows by the last backup; it must not run.
    pub(crate) fn restore(&self) {
        self.forget();
        let peers = format!("http://127.0.0.1:{}", self.peers);
        let restored = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["snapshot", "restore"])
            .arg(self.dir.path().join("backup"))
            .arg("--data-dir")
            .arg(self.dir.path().join("data"))
            .args(["--name", &self.name, "--initial-cluster", &self.cluster])
            .args(["--initial-advertise-peer-urls", &peers])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(restored.expect(CLIENT).success(), "it is a backup");
    }
}

impl server::Server for Server {
    fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    fn command(&self) -> Command {
        let (clients, peers) = (
            format!("{}://{}", self.scheme, self.address()),
            format!("http://127.0.0.1:{}", self.peers),
        );
        let mut command = Command::new("etcd");
        command
            .args(["--name", &self.name, "--log-level", "warn", "--logger", "zap"])
            .arg("--data-dir")
            .arg(self.dir.path().join("data"))
            .args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients])
            .args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers])
            .args(["--initial-cluster", &self.cluster])
            .args(&self.more);
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
        self.is_healthy()
    }

    fn leads(&self) -> bool {
        let status = self.ctl(&["endpoint", "status"]).unwrap_or_default();
        // Endpoint, id, version, size, whether it leads.
        status.split(", ").nth(4) == Some("true")
    }
}

/// Asks a server by etcd's own client.
pub(crate) fn etcdctl(server: SocketAddr, arguments: &[&str]) -> Option<String> {
    let output = client(server, arguments).output().expect(CLIENT);
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The newest revision.
pub(crate) fn revision(server: SocketAddr) -> String {
    let status = etcdctl(server, &["endpoint", "status", "-w", "json"]).expect("it answers");
    let (_, rest) = status.split_once("\"revision\":").expect("a header");
    rest.chars().take_while(char::is_ascii_digit).collect()
}

/// Puts a value that is too large for an argument; says whether the server has taken it.
pub(crate) fn put(server: SocketAddr, key: &str, value: &[u8]) -> bool {
    let mut putting = client(server, &["put", key])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect(CLIENT);
    let written = putting.stdin.take().expect("it is piped").write_all(value);
    let ended = putting.wait().expect("it is ours");
    written.is_ok() && ended.success()
}

const CLIENT: &str = "etcdctl is installed: run `cargo xtask setup`";

fn client(server: SocketAddr, arguments: &[&str]) -> Command {
    let mut command = Command::new("etcdctl");
    command
        .env("ETCDCTL_API", "3")
        .args(["--dial-timeout=1s", "--command-timeout=10s"])
        .arg(format!("--endpoints=http://{server}"))
        .args(arguments);
    command
}

/// Three servers that elect a leader.
pub(crate) fn ensemble() -> Vec<Server> {
    let mut servers: Vec<Server> =
        ["one", "two", "three"].iter().map(|name| Server::new(name, &[])).collect();
    let cluster = servers.iter().map(Server::member).collect::<Vec<_>>().join(",");
    for server in &mut servers {
        server.cluster.clone_from(&cluster);
        server.run();
    }
    await_leader(&servers);
    servers
}

/// In memory where there is a place for it: an etcd that waits for a slow disk loses its leader.
fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("there is room")
}
