//! What must hold between the parts of a node after each event, whatever has happened. Each part keeps its
//! own state whole; this is about what two of them say of the same thing.

use crate::alarms::Alarms;
use crate::capacity::Capacity;
use crate::dirty::Dirty;
use crate::job::Job;
use crate::names::JobIx;
use crate::outbox::{Outbox, Purpose};

/// The parts.
pub(crate) struct Parts<'a> {
    pub(crate) jobs: &'a [Job],
    pub(crate) capacity: &'a Capacity,
    pub(crate) outbox: &'a Outbox,
    pub(crate) alarms: &'a Alarms,
    pub(crate) dirty: &'a Dirty,
}

impl Parts<'_> {
    /// Finds what does not hold.
    ///
    /// # Errors
    /// What, for people.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.check_places()?;
        self.check_answers()?;
        self.check_turns()
    }

    /// Each run has a place under its own number, and nobody else has one; so has each fire that waits.
    fn check_places(&self) -> Result<(), String> {
        let (mut runs, mut waiting) = (0, 0);
        for (ix, job) in self.each() {
            for (shard, run, waits_since) in job.places() {
                let whose = (ix, shard);
                if let Some(run) = run {
                    runs += 1;
                    if self.capacity.whose(run) != Some(whose) {
                        return Err(format!("{run:?} of shard {whose:?} has no place"));
                    }
                }
                if let Some(due) = waits_since {
                    waiting += 1;
                    if !self.capacity.waits(due, whose) {
                        return Err(format!("shard {whose:?} waits, and nobody knows"));
                    }
                }
            }
        }
        let counted = (self.capacity.running(), self.capacity.waiting());
        match counted == (runs, waiting) {
            true => Ok(()),
            false => {
                Err(format!("places: {counted:?}; runs and fires that wait: {:?}", (runs, waiting)))
            }
        }
    }

    /// Whoever waits for an answer to a change will get one: the change is under way.
    fn check_answers(&self) -> Result<(), String> {
        let under_way: Vec<Purpose> = self.outbox.purposes().collect();
        for (ix, job) in self.each() {
            let mut forgotten = None;
            job.awaited(ix, &mut |purpose| {
                if !under_way.contains(&purpose) {
                    forgotten = Some(purpose);
                }
            });
            if let Some(purpose) = forgotten {
                return Err(format!("{purpose:?} is waited for, and is not under way"));
            }
        }
        Ok(())
    }

    /// Between two events nothing is left of a turn, and what waits for its instant will be woken.
    fn check_turns(&self) -> Result<(), String> {
        if !self.dirty.has_no_shard() {
            return Err("a shard was marked and not looked at".to_owned());
        }
        for (ix, job) in self.each() {
            if let Some(shard) = job.unsettled() {
                return Err(format!("shard {shard} of {ix:?} has a claim that nobody begins"));
            }
            if job.waits_for_an_instant() && !self.alarms.has_starts() {
                return Err(format!("{ix:?} waits for an instant, and no alarm is set"));
            }
            if !job.is_whole() {
                return Err(format!("{ix:?} has shards without keys, or keys without shards"));
            }
        }
        Ok(())
    }

    fn each(&self) -> impl Iterator<Item = (JobIx, &Job)> {
        self.jobs.iter().enumerate().map(|(at, job)| (JobIx::at(at), job))
    }
}
