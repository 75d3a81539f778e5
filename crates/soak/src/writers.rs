//! In whose name records were written, as far as their content tells: for registries that do not
//! say.

use crate::history::{Committed, KeyChange};
use flockwork_core::account::{Claim, ClaimState};
use flockwork_core::id::InstanceId;
use flockwork_layout::record;
use flockwork_registry::Entry;
use std::collections::BTreeMap;

/// The sessions of instances, as they registered.
#[derive(Debug, Default)]
pub(crate) struct Writers {
    sessions: BTreeMap<String, u64>,
}

impl Writers {
    /// Gives each commit the session that its content speaks of: that of a key that lives with it,
    /// or of the instance that claims, or that says how its own claim ended. Commits that speak of
    /// none keep session 0, which is nobody's.
    pub(crate) fn name(&mut self, commits: &mut [Committed]) {
        for committed in commits {
            let mortal = |change: &KeyChange| Some(change.new.as_ref()?.session?.0);
            let session = committed.changes.iter().find_map(mortal);
            if let Some(session) = session {
                self.register(session, &committed.changes);
            }
            let spoken = || committed.changes.iter().find_map(spoken_of);
            let by_content = || self.sessions.get(spoken()?.as_str()).copied();
            committed.session = by_content().or(session).unwrap_or_default();
        }
    }

    fn register(&mut self, session: u64, changes: &[KeyChange]) {
        for change in changes.iter().filter(|change| change.new.is_some()) {
            // An instance's own key ends with its name; no other name of a key is one.
            if change.new.as_ref().is_some_and(|new| new.session.is_some())
                && let Ok(instance) = InstanceId::new(change.key.name())
            {
                self.sessions.insert(instance.to_string(), session);
            }
        }
    }
}

/// The instance that a record's change speaks of as its writer.
fn spoken_of(change: &KeyChange) -> Option<InstanceId> {
    let read = |entry: &Entry| record::decode(&entry.value).ok().map(|stored| stored.record);
    let new = read(change.new.as_ref()?)?;
    let old = change.old.as_ref().and_then(read).unwrap_or_default();
    let held = |claim: &&Claim| claim.state == ClaimState::Held;
    let (was, is) = (old.claim.as_ref().filter(held), new.claim.as_ref().filter(held));
    if let Some(claim) = is.filter(|is| was != Some(*is)) {
        return Some(claim.instance.clone());
    }
    let was = was.filter(|_| is.is_none())?;
    // Found crashed: by someone, and not by its holder.
    let is_crash = new.counts.crashed > old.counts.crashed;
    let is_own = new.last.as_ref().is_some_and(|last| {
        last.nonce == was.nonce && last.instance == was.instance && last.code != "CRASHED"
    });
    (is_own || !is_crash).then(|| was.instance.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use flockwork_core::account::{Counts, Last, Record};
    use flockwork_layout::record::{Stored, encode};
    use flockwork_registry::{Key, Stamp};

    const A: &str = "10.0.0.1@-@1-a";
    const B: &str = "10.0.0.2@-@2-b";

    fn claim(by: &str, nonce: u64) -> Claim {
        Claim {
            fire: flockwork_core::execution::Fire {
                due: flockwork_core::time::Timestamp::from_millis(0),
                source: flockwork_core::execution::Source::Schedule,
            },
            attempt: 1,
            crashes: 0,
            instance: InstanceId::new(by).unwrap(),
            nonce,
            at: flockwork_core::time::Timestamp::from_millis(0),
            mark_lasts: true,
            state: ClaimState::Held,
        }
    }

    fn last(by: &str, nonce: u64, code: &str) -> Last {
        let Claim { fire, attempt, instance, at, .. } = claim(by, nonce);
        let (text, output_tail) = (String::new(), String::new());
        let (started, ended, code) = (at, at, code.to_owned());
        Last {
            fire,
            attempt,
            instance,
            nonce,
            started,
            ended,
            code,
            text,
            output_tail,
            rows: 0,
            bytes: 0,
        }
    }

    fn change(old: Record, new: Record) -> KeyChange {
        let entry = |record| Entry {
            value: encode(&Stored { record, ..Stored::default() }),
            stamp: Stamp::default(),
            session: None,
        };
        let key = Key::new("/r").unwrap();
        KeyChange { key, guard: None, old: Some(entry(old)), new: Some(entry(new)) }
    }

    #[test]
    fn who_claims_and_who_ends_its_own_claim_is_named_and_who_finds_another_crashed_is_not() {
        let free = Record::default;
        let held = |by| Record { claim: Some(claim(by, 7)), ..free() };
        let ended = |code| Record { last: Some(last(A, 7, code).into()), ..free() };
        let crashed = Counts { crashed: 1, ..Counts::default() };
        let found = Record { counts: crashed, ..ended("CRASHED") };
        let table = [
            ("claims", free(), held(A), Some(A)),
            ("ends it", held(A), ended("OK"), Some(A)),
            ("takes it back", held(A), free(), Some(A)),
            ("takes it over", held(A), held(B), Some(B)),
            ("finds it crashed", held(A), found, None),
            ("accounts a fire", free(), ended("OK"), None),
        ];
        for (what, old, new, expected) in table {
            let spoken = spoken_of(&change(old, new));
            assert_eq!(spoken.as_ref().map(InstanceId::as_str), expected, "{what}");
        }
    }
}
