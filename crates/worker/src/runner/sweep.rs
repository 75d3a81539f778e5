//! Finds processes of scripts by the mark in their environment: the last resort, for what outlived
//! both its guard and its runner.

use super::control::boot_now;
use super::group::Spared;
use rustix::io::Errno;
use rustix::process::Pid;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::time::Duration;

/// The variable every process of a script inherits, unless it drops it.
pub(crate) const MARK: &str = "FLOCKWORK_RUN";

/// How many looks in a row must find nothing where nothing was found yet.
const FIRST_LOOKS: u32 = 2;

/// How many where something was: a chain of processes that fork and end can be overlooked between
/// two of its links, or while one of them executes, but not so often.
const QUIET_LOOKS: u32 = 40;

/// Which runs' marks are looked for.
#[derive(Debug)]
pub(crate) enum Marks<'a> {
    /// One run's.
    Of(&'a str),
    /// Those of nodes of this host (and PID namespace) that are no more.
    OfDeadNodes,
}

/// This node's part of its runs' marks: PID namespace, process number, and when it started, so
/// that no later process is taken for it. Nothing where `/proc` is not there, or tells of another
/// namespace, whose numbers must not be signalled from here.
///
/// # Errors
/// It could not be read now, which tells nothing of whether it is there.
pub(crate) fn this_node() -> io::Result<Option<String>> {
    let pid = std::process::id();
    let shown = if_there(std::fs::read_link("/proc/self"))?;
    if shown.as_deref().and_then(Path::to_str) != Some(&*pid.to_string()) {
        return Ok(None);
    }
    let (Some(namespace), Some(start)) = (pid_namespace()?, start_of(pid)?) else {
        return Ok(None);
    };
    Ok(Some(format!("{namespace}-{pid}-{start}")))
}

fn if_there<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        // The second is what a read of a process says that has gone since it was opened.
        Err(error)
            if error.kind() == io::ErrorKind::NotFound
                || error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Kills what carries such a mark until nothing does, or `bound` is over. Gives back how many
/// were killed, and which are left.
pub(crate) fn sweep(marks: &Marks<'_>, bound: Duration) -> (usize, Vec<i32>) {
    let until = boot_now() + bound;
    let mut killed = BTreeSet::new();
    let mut quiet = 0;
    loop {
        let found = kill_marked(marks);
        quiet = if found.is_empty() { quiet + 1 } else { 0 };
        killed.extend(found.iter().copied());
        if quiet >= if killed.is_empty() { FIRST_LOOKS } else { QUIET_LOOKS } {
            return (killed.len(), Vec::new());
        }
        if boot_now() >= until {
            return (killed.len(), found);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The newest first, each killed as soon as it is seen: the next link of a chain would be another
/// process by the end of a look. Another user's processes cannot be read, and are none of ours; a
/// zombie has no environment any more.
fn kill_marked(marks: &Marks<'_>) -> Vec<i32> {
    let Ok(all) = std::fs::read_dir("/proc") else { return Vec::new() };
    let mut pids: Vec<i32> =
        all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable_by(|a, b| b.cmp(a));
    let spared = Spared::own_session();
    pids.retain(|pid| {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).ok();
        let ours = environ.as_deref().and_then(mark_in).is_some_and(|mark| marks.include(mark));
        if ours && let Some(pid) = Pid::from_raw(*pid) {
            spared.kill_with_group(pid);
        }
        ours
    });
    pids
}

fn mark_in(environ: &[u8]) -> Option<&str> {
    environ
        .split(|byte| *byte == 0)
        .filter_map(|variable| std::str::from_utf8(variable).ok())
        .find_map(|variable| variable.strip_prefix(MARK)?.strip_prefix('='))
}

impl Marks<'_> {
    fn include(&self, mark: &str) -> bool {
        match self {
            Self::Of(run) => mark == *run,
            Self::OfDeadNodes => node_is_dead(mark) == Some(true),
        }
    }
}

/// Nothing is known of a node in another PID namespace, or if its process cannot be looked at, so it
/// counts as alive.
fn node_is_dead(mark: &str) -> Option<bool> {
    let mut parts = mark.split('-');
    let (namespace, pid, start) = (parts.next()?, parts.next()?, parts.next()?);
    if pid_namespace().ok()?? != namespace {
        return None;
    }
    let pid = pid.parse().ok()?;
    Some(start_of(pid).ok()?.is_none_or(|now| now != start))
}

fn pid_namespace() -> io::Result<Option<String>> {
    let link = if_there(std::fs::read_link("/proc/self/ns/pid"))?;
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect();
    Ok(link.as_deref().and_then(Path::to_str).map(digits))
}

/// When a process started, in the kernel's ticks since boot: the 20th word after its name.
/// Nothing for a process that is gone, or a zombie, which runs no more.
fn start_of(pid: u32) -> io::Result<Option<String>> {
    let stat = if_there(std::fs::read(format!("/proc/{pid}/stat")))?;
    Ok(stat.as_deref().and_then(start_in))
}

fn start_in(stat: &[u8]) -> Option<String> {
    let after = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let words: Vec<&str> =
        std::str::from_utf8(&stat[after..]).ok()?.split_ascii_whitespace().collect();
    let zombie = matches!(words.first(), Some(&"Z" | &"X"));
    words.get(19).filter(|_| !zombie).map(|start| (*start).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_lives_is_not_taken_for_dead() {
        let here = this_node().unwrap().unwrap();
        assert_eq!(node_is_dead(&format!("{here}-17")), Some(false));
        let namespace = pid_namespace().unwrap().unwrap();
        let pid = std::process::id();
        assert_eq!(node_is_dead(&format!("{namespace}-{pid}-1-17")), Some(true), "a forerunner");
        assert_eq!(node_is_dead(&format!("1{namespace}-{pid}-1-17")), None, "elsewhere");
        assert_eq!(node_is_dead("nonsense"), None);
    }

    #[test]
    fn the_mark_is_found_among_other_variables() {
        assert_eq!(mark_in(b"PATH=/bin\0FLOCKWORK_RUN=1-2-3-4\0X=\xff\0"), Some("1-2-3-4"));
        assert_eq!(mark_in(b"XFLOCKWORK_RUN=1\0FLOCKWORK_RUNNER=1\0"), None);
    }
}
