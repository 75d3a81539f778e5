//! In whose name records were written, as far as their content tells.

use crate::history::{Committed, KeyChange};
use flockwork_core::account::{Claim, ClaimState};
use flockwork_core::id::InstanceId;
use flockwork_layout::record;
use flockwork_registry::Entry;
use std::collections::BTreeMap;

/// The sessions of instances, as they registered.
#[derive(Debug, Default)]
pub(super) struct Writers {
    sessions: BTreeMap<String, u64>,
}

impl Writers {
    /// Gives each commit the session that its content speaks of: that of a key that lives with it,
    /// or of the instance that claims, or that says how its own claim ended. Commits that speak of
    /// none keep session 0, which is nobody's.
    pub(super) fn name(&mut self, commits: &mut [Committed]) {
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
