//! What the registry holds of a job's listener.

use super::Commit;
use crate::trace::{Fact, Fire, Listener, Stage, StageChange};
use flockwork_core::config::{ListenerRules, OnBeforeFailure};
use flockwork_core::execution;
use flockwork_core::id::JobName;
use flockwork_core::time::Timestamp;
use flockwork_layout::document::{self, Reading};
use flockwork_layout::guarantee;
use flockwork_registry::Entry;
use std::time::Duration;

/// How a definition says that the listener is called.
pub(super) fn rules(rules: &ListenerRules) -> Listener {
    let millis = |long: Duration| u64::try_from(long.as_millis()).unwrap_or(u64::MAX);
    Listener {
        before_timeout: millis(rules.before_timeout),
        after_timeout: millis(rules.after_timeout),
        runs_on_failure: rules.on_failure == OnBeforeFailure::Run,
    }
}

/// The same, of a stored definition.
pub(super) fn defined(name: &JobName, document: &[u8]) -> Option<Listener> {
    // The implementation is another key's, and says nothing of the listener; nor does what time it is.
    let reading =
        Reading { name, implementation: "-", default_zone: None, now: Timestamp::default() };
    document::decode(document, reading).config?.listener.as_ref().map(rules)
}

/// How far a job's fire has come, by a commit.
pub(super) fn stage(job: String, commit: Commit, guard: Option<u64>, new: Option<&Entry>) -> Fact {
    let Commit { index, session } = commit;
    let now = new.and_then(|entry| guarantee::decode(&entry.value).ok());
    let stage = now.as_ref().map(|now| plain(&now.stage));
    let now = now.unwrap_or_default();
    let (through, asked, answered) = (now.through.as_millis(), now.asked, now.answered);
    Fact::Stage(Box::new(StageChange {
        job,
        index,
        session,
        guard,
        through,
        asked,
        answered,
        stage,
    }))
}

fn plain(stage: &guarantee::Stage) -> Stage {
    match stage {
        guarantee::Stage::Closed => Stage::Closed,
        guarantee::Stage::Repeated { fire, attempt } => {
            Stage::Repeated { fire: plain_fire(*fire), attempt: *attempt }
        }
        guarantee::Stage::Open { fire, shards } => {
            Stage::Open { fire: plain_fire(*fire), shards: *shards }
        }
        guarantee::Stage::Closing { fire, .. } => Stage::Closing { fire: plain_fire(*fire) },
        guarantee::Stage::Passed(passed) => Stage::Passed {
            first: passed.first.as_millis(),
            through: passed.through.as_millis(),
            fate: passed.fate.as_str().to_owned(),
            reason: passed.reason.code().to_owned(),
        },
    }
}

fn plain_fire(fire: execution::Fire) -> Fire {
    Fire { due: fire.due.as_millis(), source: fire.source.as_str().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flockwork_core::config::{Draft, Level, ListenerDraft, check};
    use flockwork_layout::document::encode;

    #[test]
    fn a_stored_definition_says_how_its_listener_is_called() {
        let some = |text: &str| Some(text.to_owned());
        let listener = ListenerDraft {
            before_timeout: some("300ms"),
            after_timeout: some("2s"),
            on_failure: some("run"),
        };
        let draft = |listener| Draft { listener, ..Draft::native("j") };
        let stored = |listener| {
            let checked = check(&draft(listener), Level::Strict, Timestamp::default());
            encode(&checked.config.expect("a plain job"))
        };
        let name = JobName::new("j").expect("a letter");
        let read = |text: String| defined(&name, text.as_bytes());
        let expected =
            Listener { before_timeout: 300, after_timeout: 2_000, runs_on_failure: true };
        assert_eq!(read(stored(Some(listener))), Some(expected));
        assert_eq!(read(stored(None)), None);
        assert_eq!(read("no: definition".to_owned()), None);
    }
}
