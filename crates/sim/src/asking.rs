//! Requests of a program to run a job now, made through its own node, which tells what became of each: once,
//! and before long.

use crate::dice::Dice;
use crate::queue::{HostAt, Within};
use crate::world::World;
use flockwork_core::id::JobName;
use flockwork_layout::trigger::Triggered;
use flockwork_node::{Event, NotAsked, TriggerId};

/// How long a node may take to tell: far longer than it waits for the registry.
const TOLD_WITHIN: u64 = 60_000;

impl World {
    /// Lets the program of a host ask for runs of a job.
    pub(crate) fn ask_through_a_node(&mut self, job: &JobName, dice: &mut Dice) {
        let at = usize::try_from(dice.below(self.hosts.len() as u64)).unwrap_or(0);
        let host = &mut self.hosts[at];
        if !host.is_up() || host.is_draining {
            return;
        }
        self.asked += 1;
        let id = TriggerId(self.asked);
        host.asked.insert(id);
        self.push_within(at, self.now, Within::Told(Event::Trigger(id, job.clone())));
        self.push_within(at, self.now + TOLD_WITHIN, Within::AskedBy(id));
    }

    pub(crate) fn told_what_was_asked(
        &mut self,
        at: HostAt,
        id: TriggerId,
        told: &Result<Triggered, NotAsked>,
    ) {
        if !self.hosts[at].asked.remove(&id) {
            return self
                .breaks(at, format!("{id:?} is told of twice, or by another node: {told:?}"));
        }
        match told {
            Ok(told) if !told.unknown.is_empty() => {
                self.counts.reach("a request through a node had an answer that was lost");
            }
            Ok(_) => self.counts.reach("a request through a node was made"),
            Err(_) => self.counts.reach("a request through a node was not made"),
        }
    }

    /// A node must have told by now. One that has stopped owes nothing.
    pub(crate) fn must_have_told(&mut self, at: HostAt, id: TriggerId) {
        if self.hosts[at].asked.contains(&id) {
            self.breaks(at, format!("{id:?} was not told of within {TOLD_WITHIN} ms"));
        }
    }
}
