//! Requests of this process to run a job now. How one is made is said by [`flockwork_layout::trigger`];
//! here its questions are sent, each to the end of the last, and its answer is told.
//!
//! It may be about a job that this node does not serve, so this is no duty of a job.

use crate::alarms::{Alarm, Alarms};
use crate::effect::{Effect, NotAsked};
use crate::event::TriggerId;
use crate::outbox::{Change, Outbox, Purpose};
use flockwork_core::time::Mono;
use flockwork_layout::trigger::{Next, NotTriggered, Served, Trigger, Triggered};
use flockwork_registry::{Answer, Request};
use std::collections::BTreeMap;
use std::time::Duration;

/// Requests under way at a time: each sends one question at a time, and the node's own commits must find
/// room.
const MOST: usize = 16;

/// How long one is waited for: a few round trips, beyond any pause but that of a registry which denies.
/// Whoever asks the engine waits two seconds more, and so hears what is known by then.
const PATIENCE: Duration = Duration::from_secs(8);

/// All requests under way.
#[derive(Debug, Default)]
pub(crate) struct Asking {
    open: BTreeMap<TriggerId, Open>,
    /// Whether an alarm is set for the first of them to be given up.
    is_timed: bool,
}

#[derive(Debug)]
struct Open {
    trigger: Trigger,
    until: Mono,
}

/// What such a request may touch.
pub(crate) struct Means<'a> {
    pub(crate) now: Mono,
    pub(crate) outbox: &'a mut Outbox,
    pub(crate) alarms: &'a mut Alarms,
    pub(crate) effects: &'a mut Vec<Effect>,
}

impl Asking {
    /// Begins one, with what this node knows of who serves the job.
    pub(crate) fn begin(
        &mut self,
        means: &mut Means<'_>,
        id: TriggerId,
        mut trigger: Trigger,
        served: Option<Served>,
    ) {
        if self.open.len() >= MOST {
            let too_many = NotAsked::TooMany(self.open.len());
            return means.effects.push(Effect::Triggered(id, Err(too_many)));
        }
        let next = trigger.begin(served);
        let until = means.now.plus(PATIENCE);
        self.open.insert(id, Open { trigger, until });
        self.go_on(means, id, next);
        self.watch_time(means);
    }

    /// What one of them has asked was answered, or its commit was made, refused or has failed.
    pub(crate) fn answered(&mut self, means: &mut Means<'_>, id: TriggerId, answer: Answer) {
        // One that was given up is gone.
        if let Some(open) = self.open.get_mut(&id) {
            let next = open.trigger.answered(answer);
            self.go_on(means, id, next);
        }
    }

    /// Gives up those that have waited for long enough.
    pub(crate) fn time_has_passed(&mut self, means: &mut Means<'_>) {
        self.is_timed = false;
        let now = means.now;
        let overdue = self.open.extract_if(.., |_, open| open.until <= now);
        let why = format!("no answer within {} s", PATIENCE.as_secs());
        for (id, open) in overdue {
            tell(means, id, open.trigger.give_up(&why));
        }
        self.watch_time(means);
    }

    /// The requests that wait for an answer.
    pub(crate) fn open(&self) -> impl Iterator<Item = TriggerId> {
        self.open.keys().copied()
    }

    fn go_on(&mut self, means: &mut Means<'_>, id: TriggerId, next: Next) {
        match next {
            Next::Ask(Request::Commit(ops)) => {
                means.outbox.gather(Change::new(Purpose::Trigger(id), ops));
            }
            Next::Ask(request) => means.outbox.ask_for(id, request),
            Next::Over(told) => {
                self.open.remove(&id);
                tell(means, id, told);
            }
        }
    }

    /// One alarm for all: it is set for the one that began first.
    fn watch_time(&mut self, means: &mut Means<'_>) {
        let first = self.open.values().map(|open| open.until).min();
        if let Some(until) = first
            && !std::mem::replace(&mut self.is_timed, true)
        {
            means.alarms.add(until, Alarm::Asking);
        }
    }
}

fn tell(means: &mut Means<'_>, id: TriggerId, told: Result<Triggered, NotTriggered>) {
    means.effects.push(Effect::Triggered(id, told.map_err(NotAsked::Because)));
}
