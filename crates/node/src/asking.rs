//! Requests of this process to run a job now. [`flockwork_layout::trigger`] says which questions such a
//! request asks the registry. This file sends them, one after the other, and tells the process the outcome.
//!
//! A request may be about a job that this node does not serve, so it is no duty of a job.

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
        let why = format!("no answer within {} s", PATIENCE.as_secs());
        self.give_up(means, &why, |open| open.until <= now);
        self.watch_time(means);
    }

    /// The node has left everything in order. It tells of no request afterwards.
    pub(crate) fn node_stops(&mut self, means: &mut Means<'_>) {
        self.give_up(means, "this node stops", |_| true);
    }

    /// Gives up the requests of a kind. A commit that still waits to be sent is taken back, so that it does
    /// not run the job after the process was told that nobody was asked.
    fn give_up(&mut self, means: &mut Means<'_>, why: &str, is_one: impl Fn(&Open) -> bool) {
        let given_up: Vec<_> = self.open.extract_if(.., |_, open| is_one(open)).collect();
        for (id, open) in given_up {
            let told = match means.outbox.withdraw(Purpose::Trigger(id)) {
                true => open.trigger.withdrawn(why),
                false => open.trigger.give_up(why),
            };
            tell(means, id, told);
        }
    }

    /// The requests that wait for an answer.
    pub(crate) fn open(&self) -> impl Iterator<Item = TriggerId> {
        self.open.keys().copied()
    }

    fn go_on(&mut self, means: &mut Means<'_>, id: TriggerId, next: Next) {
        match next {
            Next::Ask(Request::Commit(ops)) => {
                // Refusals are usual here, and would put off what shares the commit.
                means.outbox.gather(Change::new(Purpose::Trigger(id), ops).alone());
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
