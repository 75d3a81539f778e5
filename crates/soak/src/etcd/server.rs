//! One real server on this host, with a directory and free ports of its own, ended by its pid.

use super::revisions::{self, Event};
use crate::process::{self, Process};
use anyhow::{Context, Result, ensure};
use flockwork_trials::ports::free_port;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// How long `etcdctl` may take for an answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct Server {
    at: PathBuf,
    port: u16,
    peers: u16,
    process: Option<Process>,
}

impl Server {
    /// A server of its own, ready.
    pub(crate) fn start(at: &Path) -> Result<Self> {
        std::fs::create_dir_all(at)?;
        let (port, peers) = (free_port()?, free_port()?);
        let mut server = Self { at: at.to_owned(), port, peers, process: None };
        server.run()?;
        Ok(server)
    }

    /// Starts it (again) and waits until it serves.
    pub(crate) fn run(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "the server runs already");
        let (clients, peers) =
            (format!("http://{}", self.address()), format!("http://127.0.0.1:{}", self.peers));
        let mut command = Command::new("etcd");
        command.args(["--name", "alone", "--logger", "zap", "--log-level", "warn"]);
        command.args(["--log-outputs", "stderr"]).arg("--data-dir").arg(self.at.join("data"));
        command.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
        command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
        command.args(["--initial-cluster", &format!("alone={peers}")]);
        let started = Process::start(command, &self.log());
        self.process = Some(started.context("etcd: run `cargo xtask setup`")?);
        let deadline = Instant::now() + STARTS_WITHIN;
        while !self.health().contains("\"health\":\"true\"") {
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

    /// Where it logs.
    fn log(&self) -> PathBuf {
        self.at.join("log")
    }

    /// What it says of its health; empty if it says nothing.
    fn health(&self) -> String {
        let asked = || -> std::io::Result<String> {
            let patience = Duration::from_secs(1);
            let mut stream = TcpStream::connect_timeout(&self.address(), patience)?;
            stream.set_read_timeout(Some(patience))?;
            stream.write_all(b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text)
        };
        asked().unwrap_or_default()
    }

    fn etcdctl(&self, args: &[&str]) -> Command {
        let mut command = Command::new("etcdctl");
        command
            .env_clear()
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.address().to_string()]);
        command.arg(format!("--command-timeout={}s", ANSWERS_WITHIN.as_secs()));
        command.args(["-w", "json"]).args(args);
        command
    }

    /// What `etcdctl` is answered.
    pub(crate) fn ask(&self, args: &[&str]) -> Result<serde_json::Value> {
        let output = self.etcdctl(args).stdin(Stdio::null()).output().context("etcdctl")?;
        let why = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "etcdctl {args:?}: {why}");
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// All that was changed from the first revision up to this one.
    pub(crate) fn changes(&self, newest: u64) -> Result<Vec<Event>> {
        let mut command = self.etcdctl(&["watch", "", "--prefix", "--rev", "1"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut watching = command.spawn().context("etcdctl")?;
        let output = BufReader::new(watching.stdout.take().context("its output is piped")?);
        let (sender, messages) = channel();
        let reader = std::thread::spawn(move || {
            // Whoever has read enough hangs up.
            output.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok())
        });
        let read = read_until(&messages, newest);
        // Nothing ends a watch but this.
        watching.kill()?;
        watching.wait()?;
        drop(messages);
        reader.join().map_err(|_| anyhow::anyhow!("who reads the watch panicked"))?;
        read
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

/// Reads a watch's messages until one has told of this revision. The first revision, 1, is empty.
fn read_until(messages: &Receiver<String>, newest: u64) -> Result<Vec<Event>> {
    let mut all: Vec<Event> = Vec::new();
    while all.last().map_or(1, |event| event.revision) < newest {
        let message = messages.recv_timeout(ANSWERS_WITHIN);
        let message = message.with_context(|| {
            let last = all.last().map_or(1, |event| event.revision);
            format!("etcd tells of {last} revisions, and has {newest}")
        })?;
        all.extend(revisions::events(&serde_json::from_str(&message)?)?);
    }
    Ok(all)
}
