//! Processes of a run: started, signalled and ended by their pid, and gone when what holds them is.

use crate::clock::{boot_millis, wall_millis};
use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, kill_process};
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

pub use rustix::process::Signal;

/// What the kernel's table counts in, on every Linux (`USER_HZ`): milliseconds.
const TICK: i64 = 10;

/// How long the kernel may take to stop a process.
const STOPS_WITHIN: Duration = Duration::from_secs(5);

/// A process of ours. Dropped, it is killed.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts one whose output goes to the end of a file.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(mut command: Command, log: &Path) -> Result<Self> {
        let log = File::options().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Self::spawn(command)
    }

    /// Starts one whose output goes where the command says.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn spawn(mut command: Command) -> Result<Self> {
        let child = command.spawn().with_context(|| format!("{:?}", command.get_program()))?;
        Ok(Self { child })
    }

    /// Its pid.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// If it is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// Stops it, and waits until the kernel says that it stands still.
    ///
    /// # Errors
    /// If it is gone, or does not stop.
    pub fn stop(&self) -> Result<String> {
        self.signal(Signal::STOP)?;
        let deadline = Instant::now() + STOPS_WITHIN;
        loop {
            let state = Stat::of(self.id()).map(|stat| stat.state);
            if state == Some('T') {
                return Ok(format!("pid {} is in state T", self.id()));
            }
            ensure!(Instant::now() < deadline, "pid {} is in state {state:?}", self.id());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// `kill -9`, and its end.
    ///
    /// # Errors
    /// If it cannot be waited for.
    pub fn kill(mut self) -> Result<ExitStatus> {
        self.child.kill()?;
        Ok(self.child.wait()?)
    }

    /// How it ended, if it did within this time.
    ///
    /// # Errors
    /// If it cannot be waited for.
    pub fn ended_within(&mut self, patience: Duration) -> Result<Option<ExitStatus>> {
        let deadline = Instant::now() + patience;
        loop {
            let status = self.child.try_wait()?;
            if status.is_some() || Instant::now() >= deadline {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the kernel's table says of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// `T` if it is stopped, `Z` if it has ended and nobody asked yet.
    pub state: char,
    /// When it began, in ticks: tells it from another that got its number.
    pub began: u64,
}

impl Stat {
    /// Of a process; none if there is none of this number.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // Its name stands in brackets, and may hold anything.
        let mut fields = text.rsplit_once(") ")?.1.split(' ');
        let state = fields.next()?.chars().next()?;
        let began = fields.nth(18)?.parse().ok()?;
        Some(Self { state, began })
    }

    /// The last instant at which it can have begun, by the wall clock: milliseconds since 1970.
    #[must_use]
    pub fn began_by(self) -> i64 {
        let boot = i64::try_from(self.began + 1).unwrap_or(i64::MAX).saturating_mul(TICK);
        boot.saturating_add(wall_millis() - boot_millis())
    }

    /// Whether it still runs, or stands still.
    #[must_use]
    pub fn is_alive(self) -> bool {
        !matches!(self.state, 'Z' | 'X')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper() -> Process {
        let mut command = Command::new("sleep");
        Process::spawn({
            command.arg("60");
            command
        })
        .unwrap()
    }

    #[test]
    fn a_stopped_process_is_seen_to_be_stopped_and_a_killed_one_to_be_gone() {
        let process = sleeper();
        let began = Stat::of(process.id()).unwrap().began;
        assert!(began > 0 && process.stop().unwrap().ends_with("state T"));
        process.signal(Signal::CONT).unwrap();
        let id = process.id();
        assert!(!process.kill().unwrap().success());
        assert!(Stat::of(id).is_none_or(|stat| stat.began != began));
    }

    #[test]
    fn a_process_goes_with_what_holds_it() {
        let process = sleeper();
        let (id, stat) = (process.id(), Stat::of(process.id()).unwrap());
        drop(process);
        assert!(Stat::of(id).is_none_or(|now| now.began != stat.began));
    }
}
