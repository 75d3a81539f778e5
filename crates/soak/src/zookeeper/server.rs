//! One real server on this host, with a directory and a free port of its own, ended by its pid.

use crate::process::{self, Process};
use anyhow::{Context, Result, ensure};
use flockwork_trials::ports::free_port;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The distribution's server; its manifest names the libraries it needs.
const JAR: &str = "/usr/share/java/zookeeper.jar";

/// The shortest time it counts in: a session's end is noticed within one.
const TICK: u32 = 200;

const STARTS_WITHIN: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Server {
    at: PathBuf,
    port: u16,
    process: Option<Process>,
}

impl Server {
    /// A server of its own, ready.
    pub(crate) fn start(at: &Path) -> Result<Self> {
        ensure!(Path::new(JAR).is_file(), "{JAR} is missing: run `cargo xtask setup`");
        let mut server = Self { at: at.to_owned(), port: free_port()?, process: None };
        let data = at.join("data");
        std::fs::create_dir_all(&data)?;
        let text = format!(
            "tickTime={TICK}\ninitLimit=25\nsyncLimit=10\ndataDir={}\nclientPort={}\n\
             clientPortAddress=127.0.0.1\nadmin.enableServer=false\nmaxClientCnxns=0\n\
             maxSessionTimeout=60000\n4lw.commands.whitelist=*\n",
            data.display(),
            server.port,
        );
        std::fs::write(at.join("zoo.cfg"), text)?;
        server.run()?;
        Ok(server)
    }

    /// Starts it (again) and waits until it serves.
    pub(crate) fn run(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "the server runs already");
        let mut command = Command::new("java");
        command
            .args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", JAR])
            .arg("org.apache.zookeeper.server.quorum.QuorumPeerMain")
            .arg(self.at.join("zoo.cfg"));
        let started = Process::start(command, &self.at.join("log"));
        self.process = Some(started.context("java: run `cargo xtask setup`")?);
        let deadline = Instant::now() + STARTS_WITHIN;
        while !self.says("srvr").contains("Mode: ") {
            // What answers there could be another's.
            let ended =
                self.process.as_mut().map(|p| p.ended_within(Duration::ZERO)).transpose()?;
            ensure!(ended.flatten().is_none(), "the server at {} ended: see its log", self.port);
            ensure!(Instant::now() < deadline, "no server at {}: see its log", self.port);
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    pub(crate) fn log_directory(&self) -> PathBuf {
        self.at.join("data/version-2")
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

    fn process(&self) -> Result<&Process> {
        self.process.as_ref().context("the server does not run")
    }

    /// `kill -9`; gives back what was seen of it.
    pub(crate) fn kill(&mut self) -> Result<String> {
        let process = self.process.take().context("the server does not run")?;
        let status = process.kill()?;
        Ok(format!("the server: {status}"))
    }

    pub(crate) fn stop(&self) -> Result<String> {
        self.process()?.stop()
    }

    pub(crate) fn go_on(&self) -> Result<()> {
        self.process()?.signal(process::Signal::CONT)
    }
}
