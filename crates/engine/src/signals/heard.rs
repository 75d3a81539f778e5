//! What the signals that were heard so far come to.

use super::{Meaning, SAME_REQUEST};
use tokio::time::Instant;

/// What is to be done about a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Drain,
    Tell,
    GoOn,
    /// The process is to end at once.
    End,
}

/// The requests to stop that were heard.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Since when the node was asked to stop by who may ask once more.
    stop: Option<Instant>,
}

impl Heard {
    pub(super) fn step(&mut self, meaning: Meaning, now: Instant) -> Step {
        match (meaning, self.stop) {
            (Meaning::Nothing, _) => Step::GoOn,
            (Meaning::Tell, _) => Step::Tell,
            (Meaning::HangUp, _) => Step::Drain,
            (Meaning::Stop, None) => {
                self.stop = Some(now);
                Step::Drain
            }
            (Meaning::Stop, Some(first)) if now.duration_since(first) < SAME_REQUEST => Step::GoOn,
            (Meaning::Stop, Some(_)) => Step::End,
        }
    }
}

/// Whether this process ignores a signal, as far as the kernel tells.
pub(super) fn ignores(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignored(&status).is_some_and(|mask| mask & (1 << (signal - 1)) != 0)
}

/// The mask of ignored signals in what the kernel tells of a process.
fn ignored(status: &str) -> Option<u64> {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// What comes of signals that are heard so many milliseconds after the first.
    fn steps(signals: &[(u64, Meaning)]) -> Vec<Step> {
        let (mut heard, begin) = (Heard::default(), Instant::now());
        let at = |ms| begin + Duration::from_millis(ms);
        signals.iter().map(|(ms, meaning)| heard.step(*meaning, at(*ms))).collect()
    }

    #[test]
    fn the_second_request_to_stop_ends_at_once_and_nothing_else_does() {
        use Meaning::{HangUp, Nothing, Stop, Tell};
        assert_eq!(steps(&[(0, Stop), (499, Stop)]), [Step::Drain, Step::GoOn], "one request");
        assert_eq!(steps(&[(0, Stop), (500, Stop)]), [Step::Drain, Step::End]);
        let closing = [(0, HangUp), (900, HangUp), (1_800, Stop), (2_000, HangUp), (2_400, Stop)];
        let drains = [Step::Drain, Step::Drain, Step::Drain, Step::Drain, Step::End];
        assert_eq!(steps(&closing), drains, "whatever a terminal sends as it closes");
        let others = [(0, Nothing), (900, Tell), (1_800, Tell), (2_700, Nothing)];
        assert_eq!(steps(&others), [Step::GoOn, Step::Tell, Step::Tell, Step::GoOn]);
    }

    #[test]
    fn the_kernels_mask_is_read() {
        let status = "Name:\tx\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n";
        assert_eq!(ignored(status), Some(0x1001), "SIGHUP and SIGPIPE");
        assert_eq!(ignored("Name:\tx\n"), None);
        assert!(ignores(nix::libc::SIGPIPE), "as every Rust program does");
        assert!(!ignores(nix::libc::SIGUSR2));
    }
}
