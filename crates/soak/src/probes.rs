//! What the jobs themselves wrote down: the script that writes, and the one who reads it while they
//! run, as only then can be seen when a process went that wrote no end.

use crate::clock::wall_millis;
use crate::process::Stat;
use anyhow::{Context, Result, ensure};
use flockwork_core::time::Timestamp;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// The script.
const SCRIPT: &str = include_str!("probe.sh");

/// How often the processes are looked at. An end that nobody wrote is told too early by as much.
const LOOKS_EVERY: Duration = Duration::from_millis(10);

/// How an end is called that nobody wrote: the process was killed.
pub const KILLED: &str = "KILLED";

/// One run, as its code knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// The process.
    pub pid: u32,
    /// The instance it was started by.
    pub instance: String,
    /// The job.
    pub job: String,
    /// The shard.
    pub shard: u32,
    /// When it was due.
    pub due: i64,
    /// Its fencing token.
    pub epoch: u64,
    /// Which run of its fire.
    pub attempt: u32,
}

/// A line that code wrote, or that was written for one that could not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrote {
    /// When: milliseconds since 1970. A start is when its process began, which on a busy host its
    /// first line may follow late; where the process was gone before it was looked at, that line.
    pub at: i64,
    /// The run.
    pub ran: Ran,
    /// How it ended; none if this is its start.
    pub end: Option<String>,
}

/// Puts the script into a directory; gives back its path.
///
/// # Errors
/// If it cannot be written.
pub fn write_script(directory: &Path) -> Result<PathBuf> {
    let path = directory.join("probe.sh");
    std::fs::write(&path, SCRIPT)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

/// Reads what is written, until it is ended.
#[derive(Debug)]
pub struct Watch {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Vec<Wrote>>>>,
    starts: Arc<AtomicU64>,
}

impl Watch {
    /// Reads a file that scripts write to, from its beginning.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn begin(file: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).read(true).open(file)?;
        let is_over = Arc::new(AtomicBool::new(false));
        let starts = Arc::new(AtomicU64::new(0));
        let (over, count) = (Arc::clone(&is_over), Arc::clone(&starts));
        let thread = std::thread::spawn(move || {
            let mut reading = Reading { file, ..Reading::new()? };
            while !over.load(Ordering::Relaxed) {
                reading.look()?;
                count.store(reading.starts, Ordering::Relaxed);
                std::thread::sleep(LOOKS_EVERY);
            }
            reading.look()?;
            Ok(reading.wrote)
        });
        Ok(Self { is_over, thread: Some(thread), starts })
    }

    /// How many starts were read so far.
    #[must_use]
    pub fn starts(&self) -> u64 {
        self.starts.load(Ordering::Relaxed)
    }

    /// All that was written.
    ///
    /// # Errors
    /// If something was that no run writes.
    pub fn end(mut self) -> Result<Vec<Wrote>> {
        self.is_over.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("it is ended once")?;
        thread.join().map_err(|_| anyhow::anyhow!("the reader of probes panicked"))?
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// One who runs: when its process began, and when it was last seen to be alive.
#[derive(Debug)]
struct Alive {
    ran: Ran,
    began: u64,
    seen: i64,
}

#[derive(Debug)]
struct Reading {
    file: File,
    rest: Vec<u8>,
    wrote: Vec<Wrote>,
    alive: BTreeMap<u32, Alive>,
    starts: u64,
}

impl Reading {
    fn new() -> Result<Self> {
        let (rest, wrote, alive) = (Vec::new(), Vec::new(), BTreeMap::new());
        Ok(Self { file: File::open("/dev/null")?, rest, wrote, alive, starts: 0 })
    }

    fn look(&mut self) -> Result<()> {
        // Before the lines are read: whoever is gone now has written all it ever will.
        let mut gone = Vec::new();
        for (pid, alive) in &mut self.alive {
            match Stat::of(*pid).filter(|stat| stat.began == alive.began && stat.is_alive()) {
                Some(_) => alive.seen = wall_millis(),
                None => gone.push(*pid),
            }
        }
        self.read_lines()?;
        for pid in gone {
            if let Some(Alive { ran, seen, .. }) = self.alive.remove(&pid) {
                self.wrote.push(Wrote { at: seen, ran, end: Some(KILLED.to_owned()) });
            }
        }
        Ok(())
    }

    fn read_lines(&mut self) -> Result<()> {
        self.file.read_to_end(&mut self.rest)?;
        let whole = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let rest = self.rest.split_off(whole);
        let lines = std::mem::replace(&mut self.rest, rest);
        for line in String::from_utf8(lines)?.lines() {
            let mut wrote = read(line).with_context(|| format!("a probe wrote {line:?}"))?;
            match wrote.end {
                None => {
                    self.starts += 1;
                    let written = wrote.at;
                    // One that is gone already has ended by what it wrote, or at its start.
                    let stat = Stat::of(wrote.ran.pid);
                    let began = stat.map_or(0, |stat| stat.began);
                    wrote.at = stat.map_or(wrote.at, |stat| wrote.at.min(stat.began_by()));
                    let alive = Alive { ran: wrote.ran.clone(), began, seen: written };
                    self.alive.insert(wrote.ran.pid, alive);
                }
                Some(_) => drop(self.alive.remove(&wrote.ran.pid)),
            }
            self.wrote.push(wrote);
        }
        Ok(())
    }
}

/// Reads a line.
fn read(line: &str) -> Result<Wrote> {
    let mut words = line.splitn(9, ' ');
    let mut word = || words.next().context("too few words");
    let (what, nanos, pid) = (word()?, word()?, word()?);
    let (job, shard, fire) = (word()?, word()?, word()?);
    let (epoch, attempt, context) = (word()?, word()?, word()?);
    let fire: Timestamp = fire.parse().map_err(|why| anyhow::anyhow!("{fire}: {why}"))?;
    let ran = Ran {
        pid: pid.parse()?,
        instance: instance(context)?,
        job: job.to_owned(),
        shard: shard.parse()?,
        due: fire.as_millis(),
        epoch: epoch.parse()?,
        attempt: attempt.parse()?,
    };
    let at = nanos.parse::<i64>()? / 1_000_000;
    Ok(Wrote { at, ran, end: (what != "START").then(|| what.to_owned()) })
}

/// The context names the task: job, shards, a constant, address and process, joined by `@-@`.
fn instance(context: &str) -> Result<String> {
    let context: serde_json::Value = serde_json::from_str(context)?;
    let task = context["taskId"].as_str().context("the context has no task")?;
    let parts: Vec<&str> = task.split("@-@").collect();
    ensure!(parts.len() == 5, "the task reads {task}");
    Ok(format!("{}@-@{}", parts[3], parts[4]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn run(script: &Path, file: &Path, seconds: &str, fails: &str) -> Command {
        let mut command = Command::new(script);
        command.args([file.to_str().unwrap(), seconds, fails]);
        command.arg(r#"{"taskId":"a@-@0,1@-@READY@-@10.0.0.1@-@77-x"}"#);
        let variables = [
            ("FLOCKWORK_JOB", "a"),
            ("FLOCKWORK_SHARD", "1"),
            ("FLOCKWORK_FIRE", "1970-01-01T00:00:05Z"),
            ("FLOCKWORK_EPOCH", "12"),
            ("FLOCKWORK_ATTEMPT", "2"),
        ];
        command.envs(variables);
        command
    }

    fn ends(wrote: &[Wrote]) -> Vec<Option<&str>> {
        wrote.iter().map(|wrote| wrote.end.as_deref()).collect()
    }

    #[test]
    fn what_the_script_writes_is_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let (script, file) = (write_script(directory.path()).unwrap(), directory.path().join("p"));
        let watch = Watch::begin(&file).unwrap();
        assert!(run(&script, &file, "0", "0").status().unwrap().success());
        assert_eq!(run(&script, &file, "0", "12").status().unwrap().code(), Some(3));
        let wrote = watch.end().unwrap();
        assert_eq!(ends(&wrote), [None, Some("OK"), None, Some("FAILED")]);
        let Ran { pid, instance, job, shard, due, epoch, attempt } = wrote[0].ran.clone();
        assert!(pid > 0 && (wall_millis() - wrote[0].at).abs() < 60_000);
        assert_eq!((instance.as_str(), job.as_str(), shard), ("10.0.0.1@-@77-x", "a", 1));
        assert_eq!((due, epoch, attempt), (5_000, 12, 2));
    }

    #[test]
    fn a_start_is_when_its_process_began_however_late_its_first_line_is() {
        let directory = tempfile::tempdir().unwrap();
        let (script, file) = (write_script(directory.path()).unwrap(), directory.path().join("p"));
        let watch = Watch::begin(&file).unwrap();
        let wanted = run(&script, &file, "1", "0");
        let mut late = Command::new("sh");
        late.args(["-c", "sleep 0.5; exec \"$@\"", "sh"]).arg(&script).args(wanted.get_args());
        late.envs(wanted.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let before = wall_millis();
        let mut process = late.spawn().unwrap();
        let after = wall_millis();
        assert!(process.wait().unwrap().success());
        let wrote = watch.end().unwrap();
        let at = wrote[0].at;
        assert!((before..=after + 10).contains(&at), "{before}, {after}: {at}");
        assert!(wrote[1].at >= at + 1_500, "its end is when it wrote that");
    }

    #[test]
    fn a_cancelled_run_says_so_and_a_killed_one_is_found_gone() {
        let directory = tempfile::tempdir().unwrap();
        let (script, file) = (write_script(directory.path()).unwrap(), directory.path().join("p"));
        for (signal, end) in
            [(crate::process::Signal::TERM, "CANCELLED"), (crate::process::Signal::KILL, KILLED)]
        {
            let watch = Watch::begin(&file).unwrap();
            let before = watch.starts();
            let process = crate::process::Process::spawn(run(&script, &file, "2", "0")).unwrap();
            let deadline = std::time::Instant::now() + Duration::from_secs(20);
            while watch.starts() == before && std::time::Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(5));
            }
            std::thread::sleep(Duration::from_millis(50));
            process.signal(signal).unwrap();
            std::thread::sleep(Duration::from_millis(500));
            let wrote = watch.end().unwrap();
            assert_eq!(wrote.last().and_then(|wrote| wrote.end.as_deref()), Some(end));
            drop(process);
            std::fs::remove_file(&file).unwrap();
        }
    }

    #[test]
    fn what_no_run_writes_is_an_error_and_no_guess() {
        for line in ["", "START 1 2", "START x 1 a 0 1970-01-01T00:00:00Z 1 1 {}"] {
            assert!(read(line).is_err(), "{line:?}");
        }
    }
}
