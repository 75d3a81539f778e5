//! Ends every process that descends from this one.
//!
//! This process is a child sub-reaper (or the first of a PID namespace), so a descendant that
//! loses its parent becomes its child: killing all children again and again reaches everything.
//! The race is against processes that fork as fast as they are killed. Two things win it: a whole
//! process group is signalled at once, atomically against forks within it; and a chain that forks,
//! leaves its group and exits comes to the front of this process's own list of children, which
//! takes microseconds to read and kill, less than one of its steps.

use super::control::boot_now;
use super::group::Spared;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use std::collections::BTreeSet;
use std::time::Duration;

/// What has been reaped of this process's children.
#[derive(Debug)]
pub(super) struct Reaper {
    main: Option<Pid>,
    /// The end of the one that is waited for.
    pub(super) main_status: Option<WaitStatus>,
    /// How many others have ended.
    pub(super) others: u32,
}

impl Reaper {
    pub(super) fn new(main: Option<Pid>) -> Self {
        Self { main, main_status: None, others: 0 }
    }

    /// Reaps all that have ended. False when no child is left.
    pub(super) fn reap(&mut self) -> bool {
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if Some(pid) == self.main => {
                    self.main_status = Some(status)
                }
                Ok(Some(_)) => self.others = self.others.saturating_add(1),
                Ok(None) => return true,
                Err(Errno::INTR) => {}
                Err(_) => return false,
            }
        }
    }
}

/// Sends `signal` once to every descendant, and wakes those that stand still so that they see it.
pub(super) fn signal_all(signal: Signal) {
    if owns_namespace() {
        signal_namespace(signal);
        return signal_namespace(Signal::CONT);
    }
    for pid in descendants() {
        // A process that is gone by now needs no signal.
        let _ = rustix::process::kill_process(pid, signal);
        let _ = rustix::process::kill_process(pid, Signal::CONT);
    }
}

/// Kills and reaps until nothing is left or `bound` is over; gives back what is left then.
pub(super) fn kill_all(reaper: &mut Reaper, bound: Duration) -> Vec<i32> {
    let until = boot_now() + bound;
    let spared = Spared::own_group();
    loop {
        if owns_namespace() {
            signal_namespace(Signal::KILL);
        }
        // Near ones first and fast, many times; then the whole tree once.
        for _ in 0..64 {
            for pid in children_of_this() {
                spared.kill_with_group(pid);
            }
            if !reaper.reap() {
                return Vec::new();
            }
        }
        let all = descendants();
        for pid in &all {
            spared.kill_with_group(*pid);
        }
        if boot_now() >= until {
            return all.into_iter().map(Pid::as_raw_pid).collect();
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether this process is the first of a PID namespace: then its descent is all there is in it.
/// The numbers that `/proc` shows are those of another namespace then, and of no use here.
fn owns_namespace() -> bool {
    std::process::id() == 1
}

/// The kernel signals all processes of the namespace at once, but its first.
fn signal_namespace(signal: Signal) {
    let _ = rustix::process::kill_process_group(Pid::INIT, signal);
}

/// Every descendant, nearest first. Some may be gone, and some new ones missing.
fn descendants() -> Vec<Pid> {
    let mut found = children_of_this();
    let mut seen: BTreeSet<i32> = found.iter().map(|pid| pid.as_raw_pid()).collect();
    let mut at = 0;
    while let Some(pid) = found.get(at) {
        for child in children_of(&pid.as_raw_pid().to_string()) {
            if seen.insert(child.as_raw_pid()) {
                found.push(child);
            }
        }
        at += 1;
    }
    found
}

fn children_of_this() -> Vec<Pid> {
    children_of("self")
}

/// The kernel lists children by the thread that has them, if it was built to.
fn children_of(process: &str) -> Vec<Pid> {
    if owns_namespace() {
        return Vec::new();
    }
    if !std::path::Path::new("/proc/thread-self/children").exists() {
        return children_by_parent(process);
    }
    let Ok(threads) = std::fs::read_dir(format!("/proc/{process}/task")) else {
        return Vec::new();
    };
    threads
        .filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("children")).ok())
        .flat_map(|list| list.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
        .collect()
}

/// The slow way, for kernels without that list: who says that this is its parent.
fn children_by_parent(process: &str) -> Vec<Pid> {
    let parent = match process {
        "self" => std::process::id().to_string(),
        other => other.to_owned(),
    };
    let Ok(all) = std::fs::read_dir("/proc") else { return Vec::new() };
    all.filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| {
            Some((name.parse().ok()?, std::fs::read(format!("/proc/{name}/stat")).ok()?))
        })
        .filter(|(_, stat)| parent_in(stat) == Some(parent.as_str()))
        .filter_map(|(pid, _)| Pid::from_raw(pid))
        .collect()
}

/// The parent in a line of `/proc/PID/stat`: the second word after the name, which stands in
/// parentheses and may hold any byte.
fn parent_in(stat: &[u8]) -> Option<&str> {
    let after = stat.iter().rposition(|byte| *byte == b')')? + 1;
    std::str::from_utf8(stat.get(after..)?).ok()?.split_ascii_whitespace().nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_listing_children_find_the_same() {
        let mut child = std::process::Command::new("/bin/sleep").arg("30").spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        assert!(children_of_this().contains(&pid));
        assert!(children_by_parent("self").contains(&pid));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!children_of_this().contains(&pid));
    }

    #[test]
    fn a_name_with_parentheses_hides_no_parent() {
        assert_eq!(parent_in(b"12 (a) b (c)) S 34 12 12 0"), Some("34"));
        assert_eq!(parent_in(b"12"), None);
    }
}
