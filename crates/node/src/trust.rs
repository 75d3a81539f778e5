//! The session, as far as this node can prove it: nothing starts on hope.

use flockwork_core::time::{Mono, Now};
use flockwork_registry::SessionId;

/// The node's knowledge of its session.
#[derive(Debug, Default)]
pub(crate) struct Trust {
    session: Option<SessionId>,
    until: Mono,
    is_suspended: bool,
}

/// The meaning of a session's renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// The session is another one than before, or the first.
    Fresh,
    /// The session is the same one, and could not be proven for a while.
    Restored,
    /// The session is the same one, and was proven all along.
    Kept,
}

impl Trust {
    /// Returns the session that owns this node's entries, if there is one.
    pub(crate) fn session(&self) -> Option<SessionId> {
        self.session
    }

    /// Returns whether there is a session that nothing speaks against, apart from the clock.
    pub(crate) fn is_hoped_for(&self) -> bool {
        self.session.is_some() && !self.is_suspended
    }

    /// Returns the time until which the session can be proven, whatever stands in the way now.
    pub(crate) fn until(&self) -> Mono {
        self.until
    }

    /// Returns whether the session is proven, so that something new may start.
    pub(crate) fn is_proven(&self, now: Now) -> bool {
        self.session.is_some() && !self.is_suspended && now.mono < self.until
    }

    pub(crate) fn renew(&mut self, now: Now, session: SessionId, until: Mono) -> Renewal {
        let renewal = match self.session {
            Some(known) if known != session => Renewal::Fresh,
            None => Renewal::Fresh,
            Some(_) if self.is_proven(now) => Renewal::Kept,
            Some(_) => Renewal::Restored,
        };
        *self = Self { session: Some(session), until, is_suspended: false };
        renewal
    }

    pub(crate) fn suspend(&mut self) {
        self.is_suspended = true;
    }

    pub(crate) fn end(&mut self) {
        self.session = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(mono: u64) -> Now {
        Now { mono: Mono::from_millis(mono), ..Now::default() }
    }

    #[test]
    fn trust_ends_by_the_clock_whatever_is_heard() {
        let mut trust = Trust::default();
        assert!(!trust.is_proven(at(0)));
        let until = Mono::from_millis(100);
        assert_eq!(trust.renew(at(0), SessionId(1), until), Renewal::Fresh);
        assert!(trust.is_proven(at(99)));
        assert!(!trust.is_proven(at(100)));
        assert_eq!(trust.renew(at(100), SessionId(1), Mono::from_millis(200)), Renewal::Restored);
        assert_eq!(trust.renew(at(150), SessionId(1), Mono::from_millis(250)), Renewal::Kept);
        trust.suspend();
        assert!(!trust.is_proven(at(160)));
        assert_eq!(trust.renew(at(170), SessionId(2), Mono::from_millis(300)), Renewal::Fresh);
    }
}
