//! Kills a process together with its group, which no member can fork away from.
//!
//! A group or session that began outside this PID namespace has the number 0 in it, as for a
//! container started from a terminal: a number that names nobody, and that `kill` would take for
//! the caller's own group.

use nix::unistd::{getpgid, getpgrp, getsid};
use rustix::process::{Pid, Signal};

/// What this process belongs to, and so must not be signalled as a whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spared {
    group: i32,
    session: Option<i32>,
}

impl Spared {
    /// This process's group.
    pub(super) fn own_group() -> Self {
        Self { group: getpgrp().as_raw(), session: None }
    }

    /// Every group of this process's session: a script has a session of its own, so who shares
    /// this one is no script's.
    pub(super) fn own_session() -> Self {
        let session = getsid(None).ok().map(nix::unistd::Pid::as_raw);
        Self { session, ..Self::own_group() }
    }

    /// Kills a process, and first its group unless it is spared. One that is gone needs no signal.
    pub(super) fn kill_with_group(self, pid: Pid) {
        if let Some(group) = self.group_of(pid) {
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }

    fn group_of(self, pid: Pid) -> Option<Pid> {
        let pid = Some(nix::unistd::Pid::from_raw(pid.as_raw_pid()));
        if self.session.is_some() && getsid(pid).ok().map(nix::unistd::Pid::as_raw) == self.session
        {
            return None;
        }
        let group = getpgid(pid).ok()?.as_raw();
        // To signal group 1 is to signal all there is, so its members are killed one by one.
        Pid::from_raw(group).filter(|_| group > 1 && group != self.group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt as _;
    use std::process::Command;

    #[test]
    fn only_a_group_of_another_is_signalled() {
        let mut beside = Command::new("/bin/sleep").arg("30").spawn().unwrap();
        let mut apart = Command::new("/bin/sleep").arg("30").process_group(0).spawn().unwrap();
        let pid = |child: &std::process::Child| Pid::from_raw(child.id() as i32).unwrap();
        assert_eq!(Spared::own_group().group_of(pid(&beside)), None);
        assert_eq!(Spared::own_group().group_of(pid(&apart)), Some(pid(&apart)));
        assert_eq!(Spared::own_session().group_of(pid(&apart)), None, "of this session");
        for child in [&mut beside, &mut apart] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}
