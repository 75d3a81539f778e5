//! The request for a run of a shard, if there is one.

/// The state of a request for a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ask {
    /// There is no request, or it was answered.
    #[default]
    None,
    /// A run is to be claimed for the request.
    Open,
    /// The request came while a claim was under way, and is done with if the claim comes to stand.
    Claimed,
}

impl Ask {
    pub(crate) fn is_open(self) -> bool {
        self != Self::None
    }

    /// Reopens a request whose run was not started.
    pub(crate) fn reopen(&mut self) {
        *self = Self::Open;
    }

    /// Drops the request: it is answered, or no instance is left to answer it.
    pub(crate) fn is_answered(&mut self) {
        *self = Self::None;
    }

    /// Notes that a claim came to nothing: the request that it would have answered is open.
    pub(crate) fn claim_is_gone(&mut self) {
        if *self == Self::Claimed {
            *self = Self::Open;
        }
    }

    /// Notes that a run starts, for a request or not. Returns whether the run answers the request.
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
