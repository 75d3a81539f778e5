//! The registry's messages to a job: what its keys hold, and what has become of its changes.

use super::Job;
use super::definition::Found;
use crate::mirror::{RecordIs, Unreadable};
use crate::outbox::{Change, JobChange, ShardChange, Verdict};
use crate::phase::Phase;
use crate::shard::News;
use crate::turn::Turn;
use flockwork_core::execution::CancelReason;
use flockwork_core::id::ShardIndex;
use flockwork_layout::keys::Facet;
use flockwork_registry::Answer;

impl Job {
    /// Reads a key of the job that has changed, or may have. A record under a run of this node is known from
    /// what this node writes, whoever follows it.
    pub(crate) fn changed(&mut self, turn: &mut Turn<'_>, facet: Facet) {
        if let Facet::Record(shard) = facet
            && let Some(shard) = self.shards.get(shard as usize)
            && shard.record_is() == RecordIs::Ours
        {
            return;
        }
        if facet == Facet::Sharding && self.leadership.has_rest() {
            // It changes with each part of what this instance deals, and is read after the last one.
            return self.mirror.doubt_sharding();
        }
        self.mirror.read(turn, facet);
    }

    /// Handles the answer to a read.
    pub(crate) fn read(&mut self, turn: &mut Turn<'_>, facet: &Facet, answer: Answer) {
        match facet {
            Facet::Running(shard) => return self.mark_read(turn, *shard, &answer),
            Facet::Instance(_) => {
                let stands = self.membership.own_node_read(turn, &mut self.mirror, &answer);
                return self.registered(turn, stands);
            }
            _ => {}
        }
        match self.mirror.answered(turn, facet, answer) {
            Ok(()) => self.learned(turn, facet),
            Err(Unreadable::NotAnswered) => self.reading.reread_soon(turn),
            Err(Unreadable::NotUnderstood { text, is_new }) => {
                if is_new {
                    turn.trouble("NOT_READABLE", format!("{facet:?}: {text}"));
                }
                if let Facet::Record(shard) = facet {
                    self.at(turn, *shard, |shard, turn, facts, mirror| {
                        shard.record_not_understood(turn, facts, mirror);
                    });
                }
            }
        }
    }

    /// Handles what was learned about a facet of the job.
    pub(super) fn learned(&mut self, turn: &mut Turn<'_>, facet: &Facet) {
        match facet {
            Facet::Record(shard) => {
                self.at(turn, *shard, |shard, turn, facts, mirror| {
                    shard.record_read(turn, facts, mirror);
                });
                // Only a listener is called for the job as a whole.
                return self.heard(turn, *shard);
            }
            Facet::Config => self.definition_read(turn),
            Facet::Owner(shard) => self.owner_read(turn, *shard),
            Facet::Instances if self.membership.instances_read(turn, &mut self.mirror) => {
                self.someone_is_gone(turn);
            }
            Facet::Retries => self.retries_read(turn),
            _ => {}
        }
        turn.mark_job();
    }

    pub(super) fn mark_read(&mut self, turn: &mut Turn<'_>, shard: ShardIndex, answer: &Answer) {
        if let Some(shard) = self.shards.get_mut(shard as usize) {
            shard.mark_read(turn, &mut self.mirror, answer);
        }
    }

    pub(super) fn owner_read(&mut self, turn: &mut Turn<'_>, shard: ShardIndex) {
        if let Some(shard) = self.shards.get_mut(shard as usize) {
            shard.owner_read(turn, &mut self.mirror);
        }
    }

    /// Handles a definition that was read. A definition that was made anew came with entries that no instance
    /// watches, and what was read of those entries may be older. (A read of them that is under way is not
    /// older: it was sent after this one.)
    pub(super) fn definition_read(&mut self, turn: &mut Turn<'_>) {
        let was_lost = self.definition.is_outlived(turn.history);
        match self.definition.read(&self.mirror, turn.history) {
            Found::Same => return,
            Found::First => {}
            Found::MadeAnew => self.made_anew(turn, was_lost),
        }
        if !self.mirror.implementation().is_being_read() {
            self.mirror.read(turn, Facet::Job);
        }
        if !self.mirror.own_tree().is_being_read() {
            self.mirror.read(turn, Facet::OwnJob);
        }
    }

    pub(super) fn made_anew(&mut self, turn: &mut Turn<'_>, was_lost: bool) {
        self.membership.made_anew();
        match self.membership.phase() {
            _ if self.membership.is_to_leave() => {
                self.cancel_runs(turn, CancelReason::Removed, |_| true);
            }
            Phase::Joining | Phase::Serving | Phase::Refused if was_lost => {
                self.lost(turn);
            }
            Phase::Joining | Phase::Serving | Phase::Refused => self.removed(turn),
            Phase::Leaving | Phase::Left | Phase::Removed => {}
        }
    }

    /// Reads the records that an instance which is gone may have held.
    pub(super) fn someone_is_gone(&mut self, turn: &mut Turn<'_>) {
        let kept: Vec<ShardIndex> = (0..self.definition.shards())
            .filter(|shard| self.mirror.keeper(*shard).as_ref() == Some(turn.instance()))
            .collect();
        for shard in kept {
            self.shards[shard as usize].read_record_if_free(turn, &mut self.mirror);
        }
    }

    /// Handles the list of released attempts: some may be for this node. An attempt that is no longer
    /// released has been taken: its end is to be followed.
    pub(super) fn retries_read(&mut self, turn: &mut Turn<'_>) {
        if self.mirror.retries().value().is_none() {
            return;
        }
        for shard in &self.shards {
            if shard.is_or_was_released(&self.mirror) {
                shard.read_record_if_free(turn, &mut self.mirror);
            }
        }
    }

    /// Handles the verdict on a change of the job.
    pub(crate) fn answered(
        &mut self,
        turn: &mut Turn<'_>,
        what: JobChange,
        change: Change,
        verdict: &Verdict,
    ) {
        let mirror = &mut self.mirror;
        match what {
            JobChange::Tree => self.definition.tree_answered(turn, mirror, change, verdict),
            JobChange::Config => self.definition.answered(turn, mirror, change, verdict),
            JobChange::Register => {
                let stands = self.membership.register_answered(turn, mirror, change, verdict);
                self.registered(turn, stands);
            }
            JobChange::Leave => self.leave_answered(turn, change, verdict),
            JobChange::Elect => self.leadership.elect_answered(turn, mirror, change, verdict),
            JobChange::Assign => {
                for shard in self.leadership.assign_answered(turn, mirror, change, verdict) {
                    self.owner_read(turn, shard);
                }
            }
            JobChange::Trigger => self.trigger.answered(turn, mirror, change, verdict),
            JobChange::Once => self.once.answered(turn, mirror, change, verdict),
            JobChange::Handover => self.handover.answered(turn, change, verdict),
            JobChange::Ineligible => self.ineligible_note.answered(turn, change, verdict),
            JobChange::ClockNote => {
                let is_registered = self.membership.was_registered(turn.session());
                self.clock_note.answered(turn, change, verdict, is_registered);
            }
        }
    }

    /// Handles the verdict on a change of a shard.
    pub(crate) fn shard_answered(
        &mut self,
        turn: &mut Turn<'_>,
        shard: ShardIndex,
        (what, change, verdict): (ShardChange, Change, &Verdict),
    ) {
        let mut news = None;
        self.at(turn, shard, |shard, turn, facts, mirror| {
            news = shard.answered(turn, facts, mirror, (what, change, verdict));
        });
        if news == Some(News::ThisInstanceIsGone) {
            self.membership.is_off();
        }
        self.heard(turn, shard);
    }

    /// Tells the listener of a shard's record, which was read or written.
    fn heard(&mut self, turn: &mut Turn<'_>, shard: ShardIndex) {
        let config = self.definition.config().map(|config| &**config);
        self.listener.heard(turn, &self.mirror, config, shard);
    }
}
