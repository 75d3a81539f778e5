//! How the job's listener is called.

use super::{MAX_TIMEOUT, Report};
use crate::config::field::{Field, ON_FAILURE_WORDS};
use crate::config::problem::Code;
use crate::config::{ListenerDraft, ListenerRules, OnBeforeFailure};
use std::time::Duration;

/// The longest time-out of a listener's `before`: for so long every shard of a fire waits.
pub const MAX_BEFORE_TIMEOUT: Duration = Duration::from_secs(3600);
/// The shortest time-out of a call. What must end sooner is cancelled before it has begun.
const LEAST: Duration = Duration::from_millis(1);

impl OnBeforeFailure {
    /// Its word in native files.
    #[must_use]
    pub fn native_name(self) -> &'static str {
        match self {
            Self::Skip => ON_FAILURE_WORDS[0],
            Self::Run => ON_FAILURE_WORDS[1],
        }
    }
}

/// Returns the rules of the listener, if the job has one; `None` if they are refused.
pub(super) fn listener(
    report: &mut Report<'_>,
    claim_ahead: Option<Duration>,
) -> Option<Option<ListenerRules>> {
    let Some(draft) = report.draft.listener.as_ref() else { return Some(None) };
    let usual = ListenerRules::default();
    let ListenerDraft { before_timeout, after_timeout, on_failure } = draft;
    let mut duration = |field, text: &Option<String>, most, usual| match text {
        None => Some(usual),
        Some(text) => report.duration(field, text, LEAST, most),
    };
    let before = (Field::BeforeTimeout, MAX_BEFORE_TIMEOUT, usual.before_timeout);
    let after = (Field::AfterTimeout, MAX_TIMEOUT, usual.after_timeout);
    let before_timeout = duration(before.0, before_timeout, before.1, before.2);
    let after_timeout = duration(after.0, after_timeout, after.1, after.2);
    let words = [OnBeforeFailure::Skip, OnBeforeFailure::Run].map(|it| (it.native_name(), it));
    let on_failure =
        report.word(Field::OnFailure, on_failure.as_ref(), &words, OnBeforeFailure::Skip);
    if claim_ahead.is_some_and(|ahead| !ahead.is_zero()) {
        let message = "claim_ahead and a listener contradict: nothing is claimed before the listener was called";
        let problem = report.problem(Field::ClaimAhead, Code::Conflict, message);
        report.refuse(problem.with_hint("leave claim_ahead out"));
        return None;
    }
    Some(Some(ListenerRules {
        before_timeout: before_timeout?,
        after_timeout: after_timeout?,
        on_failure: on_failure?,
    }))
}

#[cfg(test)]
mod tests {
    use crate::config::{Draft, Level, ListenerDraft, ListenerRules, OnBeforeFailure, check};
    use crate::time::Timestamp;
    use std::time::Duration;

    fn checked(listener: ListenerDraft, ahead: Option<&str>) -> crate::config::Checked {
        let (listener, claim_ahead) = (Some(listener), ahead.map(str::to_owned));
        let draft = Draft { listener, claim_ahead, ..Draft::native("settle") };
        check(&draft, Level::Strict, Timestamp::default())
    }

    #[test]
    fn a_listener_has_the_usual_rules_unless_others_are_written() {
        let usual = checked(ListenerDraft::default(), Some("0s")).config.unwrap();
        assert_eq!(usual.listener, Some(ListenerRules::default()));
        let some = |text: &str| Some(text.to_owned());
        let written = ListenerDraft {
            before_timeout: some("1h"),
            after_timeout: some("5ms"),
            on_failure: some("run"),
        };
        let rules = checked(written, None).config.unwrap().listener.unwrap();
        assert_eq!(rules.before_timeout, Duration::from_hours(1));
        assert_eq!(rules.after_timeout, Duration::from_millis(5));
        assert_eq!(rules.on_failure, OnBeforeFailure::Run);
    }

    #[test]
    fn what_no_listener_can_have_is_refused_by_its_place() {
        let some = |text: &str| Some(text.to_owned());
        let wrong = ListenerDraft {
            before_timeout: some("2h"),
            after_timeout: some("0s"),
            on_failure: some("stop"),
        };
        let checked = checked(wrong, Some("100ms"));
        let places: Vec<_> = checked.problems.iter().map(|it| it.place.as_str()).collect();
        let place = |field: &str| format!("jobs.settle.{field}");
        assert_eq!(
            places,
            [
                place("listener.before_timeout"),
                place("listener.after_timeout"),
                place("listener.on_failure"),
                place("claim_ahead")
            ]
        );
        assert!(checked.config.is_none());
    }
}
