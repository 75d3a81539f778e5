//! Nodes: real processes of the `flockwork` command, and what they print.

use crate::clock::wall_millis;
use crate::process::{Process, Signal};
use anyhow::{Context, Result, ensure};
use flockwork_core::time::Timestamp;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

/// How long a node may take to print something: far more than it does on a loaded host.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How a process is started as a node.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// The command.
    pub flockwork: PathBuf,
    /// The job file.
    pub jobs: PathBuf,
    /// Where its data and output go.
    pub directory: PathBuf,
    /// How to reach the registry, and whatever else is to be said.
    pub flags: Vec<String>,
}

/// One process.
#[derive(Debug)]
pub struct Node {
    number: u32,
    instance: String,
    began: i64,
    output: PathBuf,
    log: PathBuf,
    process: Process,
}

impl Node {
    /// Starts the `turn`-th process of a node, and waits for its name.
    ///
    /// # Errors
    /// If it cannot be started, or ends at once.
    pub fn start(recipe: &Recipe, number: u32, turn: u32) -> Result<Self> {
        let name = |end: &str| recipe.directory.join(format!("node{number}-{turn}.{end}"));
        let (output, log) = (name("out"), name("log"));
        let mut command = Command::new(&recipe.flockwork);
        command.arg("run").arg(&recipe.jobs).args(&recipe.flags);
        command.args(["--listen", "127.0.0.1:0", "--log", "info", "--log-format", "json"]);
        command.args(["--ip", &format!("10.1.0.{number}"), "--cancel-grace", "1s"]);
        command.args(["--drain-timeout", "10s"]);
        command.arg("--data").arg(recipe.directory.join(format!("node{number}")));
        command.current_dir(&recipe.directory).env_clear().stdin(std::process::Stdio::null());
        command.stdout(File::create(&output)?).stderr(File::create(&log)?);
        let began = wall_millis();
        let process = Process::spawn(command)?;
        let mut node = Self { number, instance: String::new(), began, output, log, process };
        let line = node.await_line(|line| line.starts_with("instance "))?;
        node.instance = line.split_whitespace().nth(1).context("it has no name")?.to_owned();
        Ok(node)
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Its name in the registry.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// When it was started: milliseconds since 1970.
    #[must_use]
    pub fn began(&self) -> i64 {
        self.began
    }

    /// The process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The process, to be ended, and where it logged.
    #[must_use]
    pub fn into_process(self) -> (Process, PathBuf) {
        (self.process, self.log)
    }

    /// Where it logs.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// What it has printed so far, whole lines.
    ///
    /// # Errors
    /// If that cannot be read.
    pub fn printed(&self) -> Result<String> {
        let mut text = std::fs::read_to_string(&self.output)?;
        text.truncate(text.rfind('\n').map_or(0, |at| at + 1));
        Ok(text)
    }

    /// The first line that is wanted among all it prints.
    ///
    /// # Errors
    /// If it prints none in time, with what it did print.
    pub fn await_line(&mut self, wanted: impl Fn(&str) -> bool) -> Result<String> {
        self.await_lines(1, wanted)
    }

    /// The `count`-th line that is wanted among all it prints.
    ///
    /// # Errors
    /// If it prints fewer in time, with what it did print.
    pub fn await_lines(&mut self, count: usize, wanted: impl Fn(&str) -> bool) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ended = self.process.ended_within(Duration::ZERO)?;
            let printed = self.printed()?;
            let found = printed.lines().filter(|line| wanted(line)).nth(count - 1);
            if let Some(line) = found {
                return Ok(line.to_owned());
            }
            let why = || {
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                let end = log.len().saturating_sub(2_000);
                format!("node {} ({ended:?}) printed {printed}\n{}", self.number, &log[end..])
            };
            ensure!(ended.is_none() && Instant::now() < deadline, "{}", why());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Tells it to stop, and waits for its end.
    ///
    /// # Errors
    /// If it does not end.
    pub fn drain(&mut self) -> Result<ExitStatus> {
        self.process.signal(Signal::TERM)?;
        let status = self.process.ended_within(PATIENCE)?;
        status.with_context(|| format!("node {} does not stop", self.number))
    }
}

/// What a node's log says of its session and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Its session is not proven any more, or has ended.
    Distrust,
    /// Its session is proven, again or for the first time.
    Proven,
    /// It was told to stop.
    Stop,
}

/// Reads that off a log, with the times.
///
/// # Errors
/// If the log cannot be read.
pub fn heard(log: &Path) -> Result<Vec<(i64, Heard)>> {
    let text = std::fs::read_to_string(log)?;
    let mut all = Vec::new();
    for line in text.lines() {
        // A line that a kill cut off is none.
        let Ok(line) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        let message = line["message"].as_str().unwrap_or_default();
        let heard = match message {
            _ if message.starts_with("nothing new starts: session not proven") => Heard::Distrust,
            _ if message.starts_with("session ended") => Heard::Distrust,
            "session lives" => Heard::Proven,
            _ if message.starts_with("draining;") => Heard::Stop,
            _ => continue,
        };
        let at = line["timestamp"].as_str().context("a log line without a time")?;
        let at: Timestamp = at.parse().map_err(|why| anyhow::anyhow!("{at}: {why}"))?;
        all.push((at.as_millis(), heard));
    }
    Ok(all)
}
