//! Whether someone asked for a run of a shard.

/// What became of such a request so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Nobody asked, or it was answered.
    #[default]
    None,
    /// A run is to be claimed for it.
    Open,
    /// It came while a claim was under way, and is done with if that comes to stand.
    Claimed,
}

impl Ask {
    pub(crate) fn is_open(self) -> bool {
        self != Self::None
    }

    /// A run that was to answer it was not started.
    pub(crate) fn reopen(&mut self) {
        *self = Self::Open;
    }

    /// It is answered, or nobody is left to answer it.
    pub(crate) fn is_answered(&mut self) {
        *self = Self::None;
    }

    /// A claim came to nothing: what it would have answered is open.
    pub(crate) fn claim_is_gone(&mut self) {
        if *self == Self::Claimed {
            *self = Self::Open;
        }
    }

    /// A run starts, for a request or not. Says whether that answers it.
    pub(crate) fn run_starts(&mut self, is_for_request: bool) -> bool {
        let answers = is_for_request || *self == Self::Claimed;
        if answers {
            *self = Self::None;
        }
        answers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_during_a_claim_is_answered_by_its_run_or_stays_open() {
        let mut ask = Ask::Claimed;
        assert!(ask.run_starts(false));
        assert_eq!(ask, Ask::None);

        let mut ask = Ask::Claimed;
        ask.claim_is_gone();
        assert_eq!(ask, Ask::Open);
        assert!(!ask.run_starts(false), "a run that nobody asked for answers nothing");
        assert!(ask.run_starts(true));
        assert!(!ask.is_open());
    }
}
