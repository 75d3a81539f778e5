//! A server for a measurement: on a loopback port of its own, its data below `target`, ended by its
//! pid when it goes out of scope.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const STARTS_WITHIN: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(2);

/// A server that runs.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// The distribution's ZooKeeper.
    pub(crate) fn zookeeper(root: &Path) -> Result<Self, String> {
        let (dir, address) = (data(root, "zookeeper")?, free_address()?);
        let config = dir.join("zoo.cfg");
        let text = format!(
            "tickTime=500\ndataDir={}\nclientPort={}\nclientPortAddress=127.0.0.1\n\
             admin.enableServer=false\nmaxClientCnxns=0\n4lw.commands.whitelist=srvr\n",
            dir.display(),
            address.port()
        );
        fs::write(&config, text).map_err(|why| format!("{}: {why}", config.display()))?;
        let mut command = Command::new("java");
        command.args(["-Xmx512m", "-cp", "/usr/share/java/zookeeper.jar"]);
        command.arg("org.apache.zookeeper.server.quorum.QuorumPeerMain").arg(config);
        Self::start(command, address, "srvr", "Mode: ")
    }

    /// The distribution's etcd.
    pub(crate) fn etcd(root: &Path) -> Result<Self, String> {
        let (dir, address) = (data(root, "etcd")?, free_address()?);
        let (clients, peers) = (format!("http://{address}"), format!("http://{}", free_address()?));
        let mut command = Command::new("etcd");
        command.args(["--name", "alone", "--log-level", "error", "--logger", "zap", "--data-dir"]);
        command.arg(dir);
        command.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
        command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
        command.args(["--initial-cluster", &format!("alone={peers}")]);
        let question = "GET /health HTTP/1.0\r\n\r\n";
        Self::start(command, address, question, "\"true\"")
    }

    fn start(
        mut command: Command,
        address: SocketAddr,
        question: &str,
        answer: &str,
    ) -> Result<Self, String> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let program = command.get_program().to_string_lossy().into_owned();
        let started = command.spawn();
        let child = started.map_err(|why| format!("{program}: {why}; run `cargo xtask setup`"))?;
        let server = Self { child, address };
        let deadline = Instant::now() + STARTS_WITHIN;
        while !asked(address, question).is_ok_and(|told| told.contains(answer)) {
            if Instant::now() > deadline {
                return Err(format!("{program} does not answer at {address}"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }
}

fn asked(address: SocketAddr, question: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(question.as_bytes())?;
    let mut told = String::new();
    stream.read_to_string(&mut told)?;
    Ok(told)
}

/// An empty directory on the disk that the project is on.
fn data(root: &Path, name: &str) -> Result<std::path::PathBuf, String> {
    let dir = root.join("target/bench").join(name);
    let failed = |why| format!("{}: {why}", dir.display());
    if dir.exists() {
        fs::remove_dir_all(&dir).map_err(failed)?;
    }
    fs::create_dir_all(&dir).map_err(failed)?;
    Ok(dir)
}

fn free_address() -> Result<SocketAddr, String> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|it| it.local_addr());
    bound.map_err(|why| format!("no port is free: {why}"))
}
