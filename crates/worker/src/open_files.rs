//! How many files this process may have open, and how many scripts at once that holds.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a script takes of its node in the moment of its start: an event, and both ends of two pipes. Three
/// of them stay while it runs. A test counts them.
const A_SCRIPT: u64 = 5;

/// What all else of a node may take: 288 connections of the status page, and 64 for registry, runtime,
/// log and outputs, of which a node on an embedded registry was seen to use 25.
const ALL_ELSE: u64 = 352;

/// The limit of open files of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFiles {
    /// The soft limit that whoever started this process gave it; scripts should have that one, as
    /// programs with `select` break beyond 1,024. None for no limit.
    pub callers: Option<u64>,
    /// The soft limit now. None for no limit.
    pub limit: Option<u64>,
}

impl OpenFiles {
    /// Raises the soft limit of this process to the hard one, as far as the system permits, and tells both.
    /// For a node's start; a program that has jobs in it decides for itself.
    #[must_use]
    pub fn raise() -> Self {
        let Rlimit { current: callers, maximum } = getrlimit(Resource::Nofile);
        // Refused where the hard limit is beyond what the system holds by now (fs.nr_open).
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
        Self { callers, limit: getrlimit(Resource::Nofile).current }
    }

    /// How many scripts a node may have under way at once without running out of files: one at least. Of a
    /// small limit half is for scripts.
    #[must_use]
    pub fn scripts(self) -> usize {
        let Some(limit) = self.limit else { return usize::MAX };
        let room = limit - ALL_ELSE.min(limit / 2);
        usize::try_from(room / A_SCRIPT).unwrap_or(usize::MAX).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_holds_so_many_scripts() {
        for (limit, scripts) in
            [(0, 1), (8, 1), (64, 6), (704, 70), (1024, 134), (1 << 30, 214_748_294)]
        {
            let files = OpenFiles { callers: None, limit: Some(limit) };
            assert_eq!(files.scripts(), scripts, "{limit}");
        }
        assert_eq!(OpenFiles { callers: None, limit: None }.scripts(), usize::MAX);
    }
}
