//! Claims that are not this node's own: runs elsewhere, runs whose instance is gone, and attempts
//! that were released to be tried again.
//!
//! Each shard has a keeper, its owner or, if that is gone, one that all agree on: it looks after the
//! record. An instance counts as gone when it is known not to be registered; the commit checks that
//! once more, so a belief that is out of date changes nothing.

use crate::Report;
use crate::ending::closed;
use crate::job::{Job, Shard};
use crate::link::{Aim, Member};
use crate::runs::{LocalRun, Stage};
use crate::turn::Turn;
use flockwork_core::account::{Claim, ClaimState, Hold, Reason};
use flockwork_core::config::{JobConfig, MAX_CLAIM_AHEAD, RetryOn};
use flockwork_core::execution::{RunId, Source};
use flockwork_core::id::{InstanceId, ShardIndex};
use flockwork_core::time::Timestamp;
use flockwork_layout::keys::Facet;
use flockwork_layout::record::Stored;
use flockwork_registry::{Answer, Op, Request, Scope};
use std::sync::Arc;
use std::time::Duration;

impl Job {
    /// A shard's record was read.
    pub(crate) fn record_read(&mut self, turn: &mut Turn<'_>, shard: ShardIndex) {
        let job = &mut *self;
        let Some(state) = job.shards.get(shard as usize) else { return };
        let Some(known) = state.record.known().map(|held| held.cloned()) else { return };
        let Some(id) = state.run else { return self.consider(turn, shard) };
        let me = turn.settings.instance.clone();
        let Some(run) = turn.runs.get(&id) else { return };
        let nonce = run.claim().nonce;
        let is_held = known.as_ref().is_some_and(|held| held.value.record.is_held_by(&me, nonce));
        match run.stage {
            Stage::Doubted => match known {
                Some(held) if is_held => self.claimed(turn, id, held.stamp),
                _ => {
                    self.give_up(turn, id, known.as_ref().map(|held| &*held.value));
                    self.consider(turn, shard);
                }
            },
            Stage::EndDoubted if is_held => {
                if let Some(run) = turn.runs.get_mut(&id) {
                    run.stage = Stage::Ended;
                }
                self.end(turn, id);
            }
            Stage::EndDoubted => match known {
                Some(held) if ended_by(&held.value, &me, nonce) => {
                    if let Some(run) = turn.runs.get_mut(&id) {
                        run.ended = Some(held.value.clone());
                    }
                    self.end_known(turn, id, held.stamp);
                }
                _ => self.superseded(turn, id),
            },
            Stage::TakingBack if is_held => self.take_back(turn, id),
            Stage::TakingBack => {
                self.give_up(turn, id, known.as_ref().map(|held| &*held.value));
                self.consider(turn, shard);
            }
            Stage::Claiming | Stage::Ahead | Stage::Running | Stage::Ended | Stage::Ending => {}
        }
    }

    /// A shard's record is none that this release can read, and so none that a run of this node has
    /// left: whatever was in doubt there is over. It is not watched, so it is read again by and by.
    pub(crate) fn record_not_understood(&mut self, turn: &mut Turn<'_>, shard: ShardIndex) {
        self.no_longer_waits(turn, shard);
        let again = turn.settings.reconcile_interval;
        self.look_later(turn, shard, again);
        let Some(id) = self.shard(shard).and_then(|shard| shard.run) else { return };
        match turn.runs.get(&id).map(|run| run.stage) {
            Some(Stage::Doubted | Stage::TakingBack) => self.give_up(turn, id, None),
            Some(Stage::EndDoubted) => self.superseded(turn, id),
            _ => {}
        }
    }

    /// A claim is no longer held that was to be taken back, or of which nothing was known. If it
    /// had been made, whoever took it over has answered the request it was made for.
    fn give_up(&mut self, turn: &mut Turn<'_>, id: RunId, found: Option<&Stored>) {
        let Some(run) = turn.runs.get(&id) else { return };
        let is_answered = found.is_some_and(|stored| was_made_meanwhile(run, stored));
        let Some(shard) = self.abandon(turn, id) else { return };
        if is_answered && let Some(state) = self.shard(shard) {
            state.is_triggered = false;
            turn.tend();
        }
    }

    /// A shard's assignment was read, or written by this node.
    pub(crate) fn owner_read(&mut self, turn: &mut Turn<'_>, shard: ShardIndex) {
        let me = turn.settings.instance.clone();
        let job = &mut *self;
        let Some(state) = job.shard(shard) else { return };
        let Some(owner) = state.owner.known() else { return };
        let is_mine = owner.is_some_and(|held| held.value == me);
        let was_mine = std::mem::replace(&mut state.was_mine, is_mine);
        if !is_mine {
            return self.no_longer_waits(turn, shard);
        }
        if was_mine {
            return;
        }
        state.hold = Some(Hold { until: turn.now.wall, reason: Reason::Resharding });
        if state.run.is_none() && !state.is_accounting() {
            self.look(turn, Facet::Record(shard));
        }
    }

    /// Who serves the job was read: the records that the gone may have held are looked at.
    pub(crate) fn instances_read(&mut self, turn: &mut Turn<'_>) {
        let me = turn.settings.instance.clone();
        let is_registered = self.is_registered(turn);
        let job = &mut *self;
        let Some(live) = job.view.instances.value().cloned() else { return };
        job.is_unlisted = is_registered && !live.contains(&me);
        if job.is_unlisted {
            // By an operator, or with the whole job: its definition tells, read after this.
            self.look(turn, Facet::Config);
        }
        let job = &mut *self;
        let is_anyone_gone = job.seen.difference(&live).next().is_some();
        job.seen = live;
        if !is_anyone_gone {
            return;
        }
        let kept: Vec<ShardIndex> = (0..)
            .take(job.count())
            .filter(|shard| job.keeper(*shard).as_ref() == Some(&me))
            .filter(|shard| {
                let state = &job.shards[*shard as usize];
                state.run.is_none() && !state.is_accounting()
            })
            .collect();
        for shard in kept {
            self.look(turn, Facet::Record(shard));
        }
    }

    /// Attempts were released, perhaps for this node.
    pub(crate) fn retries_read(&mut self, turn: &mut Turn<'_>) {
        let job = &mut *self;
        let Some(retries) = job.view.retries.value() else { return };
        // One that was released and is not any more has been taken: its end is to be followed.
        let is_released = |shard: &Shard| {
            let claim = shard.record.value().and_then(|stored| stored.record.claim.as_ref());
            claim.is_some_and(|claim| claim.state != ClaimState::Held)
        };
        let changed: Vec<ShardIndex> = (0..)
            .zip(&job.shards)
            .filter(|(at, shard)| retries.contains(at) || is_released(shard))
            .filter(|(_, shard)| shard.run.is_none() && !shard.is_accounting())
            .map(|(at, _)| at)
            .collect();
        for shard in changed {
            self.look(turn, Facet::Record(shard));
        }
    }

    /// Looks at a claim that is not a run of this node.
    pub(crate) fn consider_claim(
        &mut self,
        turn: &mut Turn<'_>,
        shard: ShardIndex,
        stored: &Arc<Stored>,
    ) {
        let Some(claim) = stored.record.claim.clone() else { return };
        match &claim.state {
            ClaimState::Released { .. } => self.consider_released(turn, shard, stored, &claim),
            ClaimState::Held => self.consider_held(turn, shard, stored, &claim),
        }
    }

    fn is_keeper(&mut self, turn: &mut Turn<'_>, shard: ShardIndex) -> bool {
        let me = turn.settings.instance.clone();
        self.keeper(shard) == Some(me)
    }

    /// Whether an instance is known to be registered, or known not to be.
    fn is_live(&mut self, instance: &InstanceId) -> Option<bool> {
        Some(self.view.instances.value()?.contains(instance))
    }

    fn consider_released(
        &mut self,
        turn: &mut Turn<'_>,
        shard: ShardIndex,
        stored: &Arc<Stored>,
        claim: &Claim,
    ) {
        let ClaimState::Released { to, not_before, .. } = &claim.state else { return };
        let me = turn.settings.instance.clone();
        let is_gone = self.is_live(to) == Some(false);
        let is_for_me = *to == me || (is_gone && self.is_keeper(turn, shard));
        if !is_for_me {
            if self.is_keeper(turn, shard) {
                let again = turn.settings.reconcile_interval;
                self.look_later(turn, shard, again);
            }
            return;
        }
        let wait = self.back_off_left(turn, shard, claim.attempt, *not_before);
        if !wait.is_zero() {
            return self.look_later(turn, shard, wait);
        }
        let Some(config) = self.config.clone() else { return };
        let failed_here = claim.instance == me && !config.failover;
        if *to != me && failed_here && config.retry.on == RetryOn::Other {
            let text = "no other instance is left to try it again";
            return self.close(turn, shard, stored, ("NO_OTHER_INSTANCE", text));
        }
        self.claim_again(turn, shard, stored, claim);
    }

    /// How long a released attempt is still to wait: until its instant, and never longer than the
    /// whole back-off since it was first seen here, as the clock that named the instant may have
    /// been hours ahead.
    fn back_off_left(
        &mut self,
        turn: &mut Turn<'_>,
        shard: ShardIndex,
        attempt: u32,
        not_before: Timestamp,
    ) -> Duration {
        let by_wall = not_before.since(turn.now.wall);
        let job = &mut *self;
        let longest = job.config.as_ref().map(|config| config.retry.delay_after(attempt));
        let (Some(longest), Some(state)) = (longest, job.shard(shard)) else { return by_wall };
        let Some(commit) = state.record.held().map(|held| held.stamp.modified) else {
            return by_wall;
        };
        let known = state.released.filter(|(seen, _)| *seen == commit);
        let (_, since) = *state.released.insert(known.unwrap_or((commit, turn.now.mono)));
        by_wall.min(since.plus(longest).since(turn.now.mono))
    }

    fn consider_held(
        &mut self,
        turn: &mut Turn<'_>,
        shard: ShardIndex,
        stored: &Arc<Stored>,
        claim: &Claim,
    ) {
        let me = turn.settings.instance.clone();
        let is_forgotten = claim.instance == me;
        let is_live = self.is_live(&claim.instance);
        if is_live.is_none() || (!is_forgotten && !self.is_keeper(turn, shard)) {
            return;
        }
        if is_live == Some(true) && !is_forgotten {
            self.follow_mark(turn, shard);
            let again = turn.settings.reconcile_interval;
            return self.look_later(turn, shard, again);
        }
        let Some(config) = self.config.clone() else { return };
        let may_take_over = config.failover && claim.crashes < JobConfig::MAX_TAKEOVERS;
        let may_retry = claim.attempt - claim.crashes <= config.retry.times;
        if may_take_over || may_retry {
            return self.claim_again(turn, shard, stored, claim);
        }
        self.close(turn, shard, stored, ("CRASHED", "its instance is gone"));
    }

    /// Runs a fire again whose run failed or crashed, under a new claim.
    fn claim_again(
        &mut self,
        turn: &mut Turn<'_>,
        shard: ShardIndex,
        stored: &Arc<Stored>,
        old: &Claim,
    ) {
        if Self::can_be_taken_later(turn, old) {
            let again = old.fire.due.since(turn.now.wall).min(MAX_CLAIM_AHEAD);
            return self.look_later(turn, shard, again);
        }
        if !Self::has_room(turn) {
            return self.wait(turn, shard, old.fire);
        }
        let has_crashed = old.state == ClaimState::Held;
        let lasts = self.config.as_ref().is_some_and(|config| config.failover);
        let mark_lasts = lasts || (has_crashed && old.mark_lasts);
        // A crash that only a retry makes up for counts as a failure.
        let is_taken_over = has_crashed && lasts && old.crashes < JobConfig::MAX_TAKEOVERS;
        let crashes = old.crashes + u32::from(is_taken_over);
        let mut claimed = Stored::clone(stored);
        claimed.record.counts.crashed += u64::from(has_crashed);
        claimed.record.claim =
            Some(self.new_claim(turn, old.fire, old.attempt + 1, crashes, mark_lasts));
        let mut ops = vec![self.is_on(turn, shard)];
        ops.extend(self.still_gone(turn, old));
        ops.push(self.write_record(turn, shard, &claimed));
        if has_crashed && old.mark_lasts {
            let key = self.keys(turn, shard).running.clone();
            ops.push(Op::Set(key, turn.me.clone(), None));
        } else {
            ops.push(self.mark(turn, shard, mark_lasts));
        }
        if has_crashed {
            let key = self.key(turn, &Facet::Failover(shard));
            ops.push(Op::create_for_session(key, turn.me.clone()));
            self.report_crashed(turn, shard, old, true);
        }
        if matches!(old.state, ClaimState::Released { is_signalled: true, .. }) {
            ops.push(Op::Delete(self.key(turn, &Facet::Retry(shard)), None));
        }
        self.send_claim(turn, shard, stored.clone(), claimed, ops);
        let run = turn.runs.get_mut(&RunId(*turn.last_run)).expect("it was just put there");
        run.is_taken_over = has_crashed;
    }

    /// The condition that the instance which held a claim is gone.
    fn still_gone(&mut self, turn: &mut Turn<'_>, claim: &Claim) -> Vec<Op> {
        let is_other = claim.instance != turn.settings.instance;
        if claim.state != ClaimState::Held || !is_other {
            return Vec::new();
        }
        vec![Op::CheckAbsent(self.key(turn, &Facet::Instance(claim.instance.clone())))]
    }

    /// Writes down that a fire is over though it was not done.
    fn close(
        &mut self,
        turn: &mut Turn<'_>,
        shard: ShardIndex,
        stored: &Arc<Stored>,
        (code, text): (&str, &str),
    ) {
        let Some(old) = stored.record.claim.clone() else { return };
        let has_crashed = old.state == ClaimState::Held;
        let mut record = closed(&stored.record, code, text, turn.now.wall);
        record.counts.crashed += u64::from(has_crashed);
        record.counts.failed += u64::from(has_crashed);
        let ended = Stored { record, unknown: stored.unknown.clone() };
        let mut ops = self.still_gone(turn, &old);
        ops.push(self.write_record(turn, shard, &ended));
        if has_crashed && old.mark_lasts {
            ops.push(Op::Delete(self.keys(turn, shard).running.clone(), None));
        }
        if matches!(old.state, ClaimState::Released { is_signalled: true, .. }) {
            ops.push(Op::Delete(self.key(turn, &Facet::Retry(shard)), None));
        }
        if has_crashed {
            self.report_crashed(turn, shard, &old, false);
        }
        let Some(state) = self.shard(shard) else { return };
        state.hold = Some(Hold { until: turn.now.wall, reason: Reason::Overlap });
        state.accounting = Some((Arc::new(ended), Vec::new()));
        turn.link.gather(Member::new(Aim::Account(turn.ix, shard), ops));
    }

    fn report_crashed(
        &mut self,
        turn: &mut Turn<'_>,
        shard: ShardIndex,
        claim: &Claim,
        taken: bool,
    ) {
        let job = self.name.clone();
        let instance = claim.instance.clone();
        turn.report(Report::FoundCrashed { job, shard, instance, taken });
    }

    /// Watches the mark of a run elsewhere, to learn at once when it is over.
    fn follow_mark(&mut self, turn: &mut Turn<'_>, shard: ShardIndex) {
        let Some(state) = self.shard(shard) else { return };
        if !std::mem::replace(&mut state.is_mark_watched, true) {
            let key = self.keys(turn, shard).running.clone();
            turn.link.watch(Request::Watch(key, Scope::Value));
            // It may have gone before the watch was set.
            self.look(turn, Facet::Running(shard));
        }
    }

    /// The mark of a run elsewhere was read: is it over, or left behind?
    pub(crate) fn mark_read(&mut self, turn: &mut Turn<'_>, shard: ShardIndex, answer: &Answer) {
        let Some(state) = self.shard(shard) else { return };
        let Answer::Entry(entry) = answer else {
            return self.look_later(turn, shard, std::time::Duration::from_millis(500));
        };
        let is_free = state.run.is_none() && !state.is_accounting();
        let Some(entry) = entry else {
            state.is_mark_in_the_way = false;
            if std::mem::take(&mut state.is_mark_watched) {
                self.unfollow(turn, &Facet::Running(shard));
            }
            if is_free {
                self.look(turn, Facet::Record(shard));
            }
            return;
        };
        let is_orphan = is_free && state.record.value().is_some_and(|s| s.record.claim.is_none());
        let stamp = entry.stamp;
        let runner = InstanceId::new(&String::from_utf8_lossy(&entry.value)).ok();
        let is_own = is_free && runner.as_ref() == Some(&turn.settings.instance);
        let is_gone = runner.is_some_and(|runner| self.is_live(&runner) == Some(false));
        if is_own || (is_orphan && is_gone && self.is_keeper(turn, shard)) {
            let op = Op::Delete(self.keys(turn, shard).running.clone(), Some(stamp));
            let Some(stored) = self.record_of(shard) else {
                let again = turn.settings.reconcile_interval;
                return self.look_later(turn, shard, again);
            };
            if let Some(state) = self.shard(shard) {
                state.accounting = Some((stored, Vec::new()));
                state.is_mark_in_the_way = false;
            }
            return turn.link.gather(Member::new(Aim::Account(turn.ix, shard), vec![op]));
        }
        self.follow_mark(turn, shard);
        let again = turn.settings.reconcile_interval;
        self.look_later(turn, shard, again);
    }

    /// Whether a shard only waits for the instant at which this node tries it again.
    pub(crate) fn is_own_retry(&mut self, turn: &mut Turn<'_>, shard: ShardIndex) -> bool {
        let me = turn.settings.instance.clone();
        let record = self.shard(shard).and_then(|shard| shard.record.value());
        record.is_some_and(|stored| is_released_to(stored, &me))
    }

    /// Whether it did when its record was last seen: whoever owns it by now leaves it to this node.
    pub(crate) fn was_own_retry(&mut self, turn: &mut Turn<'_>, shard: ShardIndex) -> bool {
        let me = turn.settings.instance.clone();
        let record = self.shard(shard).and_then(|shard| shard.record.last_seen());
        record.is_some_and(|stored| is_released_to(stored, &me))
    }
}

fn is_released_to(stored: &Stored, me: &InstanceId) -> bool {
    let claim = stored.record.claim.as_ref();
    claim.is_some_and(|claim| matches!(&claim.state, ClaimState::Released { to, .. } if to == me))
}

/// Whether a claim for a trigger, which is no longer held, stood and was not undone. Only the
/// shard's owner counts triggers.
fn was_made_meanwhile(run: &LocalRun, stored: &Stored) -> bool {
    let before = run.before.record.counts.triggered;
    run.claim().fire.source == Source::Trigger && stored.record.counts.triggered > before
}

/// Whether a record tells of the end of a claim of this instance.
fn ended_by(stored: &Stored, me: &InstanceId, nonce: u64) -> bool {
    let was_last =
        stored.record.last.as_ref().is_some_and(|last| last.instance == *me && last.nonce == nonce);
    was_last && !stored.record.is_held_by(me, nonce)
}
