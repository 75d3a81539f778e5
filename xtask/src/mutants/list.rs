//! Mistakes in what decides, as changes of its source; each with the invariant, or the named test, that
//! finds it.
//!
//! B1 to B18 are bugs that schedulers of the field had. What they are here: B1 is `LossIsAbsence`, B14
//! `StuckWatermark` and B16 `NoChanges` of the simulation's own list, those below name theirs. The
//! others cannot be made or do no harm:
//! * B2, B5, B7: nothing is deleted and then made, waited for in a loop, or written in steps. Each is
//!   one commit.
//! * B3, a take-over of a run whose instance lives: the commit itself demands that the instance is
//!   gone (`UncheckedTakeover` leaves that out, too, and is found).
//! * B4, B13, marks of runs taken away or left: nodes go by the record; the mark is for ElasticJob.
//! * B6, a lost request to deal anew: the leader deals by who is there, whether it is asked or not.
//! * B8, a job left for good as its node's entries went with the session: while others serve it nothing
//!   is seen from outside. `a_node_whose_session_ended_joins_again` holds it.
//! * B9, an owner not looked at again: the claim demands the owner's state, too. The second look is
//!   for a key deleted and made anew where registries compare versions alone.
//! * B12: fires are accounted shard by shard. B15: there are no pages yet.
//! * B17, a change told during a read is forgotten, or a node's own write covers one: answers come in
//!   the order of what was asked and what was told, so what is read later knows of it. Kept for
//!   registries that promise less; a unit test finds it.

/// One mistake.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SourceMutant {
    /// What is wrong then.
    pub(crate) what: &'static str,
    /// The file.
    pub(crate) file: &'static str,
    /// What stands there, exactly once.
    pub(crate) from: &'static str,
    /// What stands there instead.
    pub(crate) to: &'static str,
    /// What must find it.
    pub(crate) caught_by: CaughtBy,
}

/// What finds a mistake.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CaughtBy {
    /// An invariant, by its number, in simulated clusters.
    Invariant(&'static str),
    /// A test of one crate, by its name.
    Test {
        /// The crate.
        package: &'static str,
        /// The test's name, without its module.
        test: &'static str,
    },
}

const fn mutant(
    what: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
    invariant: &'static str,
) -> SourceMutant {
    SourceMutant { what, file, from, to, caught_by: CaughtBy::Invariant(invariant) }
}

const fn embedded(
    what: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
    test: &'static str,
) -> SourceMutant {
    let caught_by = CaughtBy::Test { package: "flockwork-registry-embedded", test };
    SourceMutant { what, file, from, to, caught_by }
}

/// One that a unit test or a scenario of the node finds.
pub(super) const fn node(
    what: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
    test: &'static str,
) -> SourceMutant {
    let caught_by = CaughtBy::Test { package: "flockwork-node", test };
    SourceMutant { what, file, from, to, caught_by }
}

const SLOT: &str = "crates/node/src/mirror/slot.rs";
const OUTBOX: &str = "crates/node/src/outbox.rs";
const TRUST: &str = "crates/node/src/trust.rs";
const JOB: &str = "crates/node/src/job.rs";
const READING: &str = "crates/node/src/job/reading.rs";
const LEARNED: &str = "crates/node/src/job/answers.rs";
const LEADERSHIP: &str = "crates/node/src/job/leadership.rs";
const LEAVE: &str = "crates/node/src/job/leave.rs";
const SHARD: &str = "crates/node/src/shard.rs";
const AHEAD: &str = "crates/node/src/shard/ahead.rs";
const BEGIN: &str = "crates/node/src/shard/begin.rs";
const BACK: &str = "crates/node/src/shard/back.rs";
const FOREIGN: &str = "crates/node/src/shard/foreign.rs";
const ENDING: &str = "crates/node/src/shard/ending.rs";
const SETTLE: &str = "crates/core/src/account/settle.rs";
const ASSIGNMENT: &str = "crates/core/src/assignment.rs";
const ZOOKEEPER: &str = "crates/zookeeper/src/session.rs";
const LINE: &str = "crates/zookeeper/src/session/line.rs";
const ROUND: &str = "crates/registry-embedded/src/round.rs";
const WRITER: &str = "crates/registry-embedded/src/writer.rs";

/// All of them: what a node believes, how it batches, when it trusts its session, what it claims,
/// takes over and ends, and what the core decides of it.
pub(crate) const LIST: &[SourceMutant] = &[
    mutant(
        "mirror: a change is told, and what was read before still believed (B16)",
        SLOT,
        "        self.is_fresh = false;\n        self.is_changed_since = self.is_reading;",
        "        self.is_changed_since = self.is_reading;",
        "P6",
    ),
    mutant(
        "batching: a refused change takes the others with it",
        OUTBOX,
        "for change in changes.into_iter().rev() {\n                    self.changes.insert(0",
        "for change in changes.into_iter().rev().take(0) {\n                    self.changes.insert(0",
        "P3",
    ),
    mutant(
        "batching: the first change is blamed for what another did",
        OUTBOX,
        "let faulty = changes.remove(faulty.unwrap_or(0));",
        "let faulty = changes.remove(faulty.map_or(0, |_| 0));",
        "P4",
    ),
    mutant(
        "claim ahead: the code does not wait for its instant",
        AHEAD,
        "false => Wait::Until(fire.due),",
        "false if ahead.is_zero() => Wait::Until(fire.due),\n            false => Wait::No,",
        "P5",
    ),
    mutant(
        "claim ahead: what it was based on is not looked at again",
        BEGIN,
        "if !(is_allowed && stands) {",
        "let has_come = super::ahead::is_ahead(standing.claim().claim())\n            \
         && standing.wait(turn.now.wall) == Wait::No;\n        \
         if !(is_allowed && stands || has_come) {",
        "P10",
    ),
    mutant(
        "session: trusted beyond what was proven (B18)",
        TRUST,
        "self.session.is_some() && !self.is_suspended && now.mono < self.until",
        "self.session.is_some() && !self.is_suspended && now.mono < Mono::from_millis(u64::MAX)",
        "P10",
    ),
    mutant(
        "claim: what the session may do is not asked again when the claim stands",
        JOB,
        "let is_allowed = begins == Begins::IfAllowed\n                    \
         && self.membership.may_run(turn)\n                    && self.clock_agrees(turn);",
        "let is_allowed = begins == Begins::IfAllowed;",
        "P10",
    ),
    mutant(
        "claim: one that is taken back leaves its fires accounted (B11)",
        BACK,
        "let value = record::encode(self.claim.before());",
        "let mut before = record::Stored::clone(self.claim.before());\n        \
         before.record.through = self.claim.after().record.through;\n        \
         let value = record::encode(&before);",
        "P3",
    ),
    mutant(
        "take-over: none is made",
        FOREIGN,
        "match may_take_over || may_retry {",
        "match may_retry && !may_take_over {",
        "P6",
    ),
    mutant(
        "ending: one attempt more than allowed",
        ENDING,
        "|| failures > config.retry.times",
        "|| failures > config.retry.times + 1",
        "P4",
    ),
    mutant(
        "trigger: dropped while the shard runs (B10)",
        SHARD,
        "if runs && !self.state.may_come_to_nothing() && overlap == Overlap::Skip {",
        "if runs {",
        "P12",
    ),
    mutant(
        "session: what was missed is not read again (B16)",
        READING,
        "if self.is_watched {\n            mirror.reread(turn, record_is);",
        "if self.is_watched && turn.job.0 > 1_000 {\n            mirror.reread(turn, record_is);",
        "P12",
    ),
    mutant(
        "core: fires nobody was there for are not noted",
        SETTLE,
        "settled.notes.extend(note(Fate::Missed, Reason::NoNode, missed));",
        "settled.notes.extend(note(Fate::Missed, Reason::NoNode, &missed[..missed.len() / 2]));",
        "P3",
    ),
    mutant(
        "core: shards are dealt to who is gone, too",
        ASSIGNMENT,
        "let is_dealt =\n        deal.held.iter().all(|held| held.as_ref().is_some_and(|h| deal.live.contains(h)));\n    \
         if deal.live.is_empty() || (turns && is_dealt) {",
        "let is_dealt = deal.held.iter().all(Option::is_some);\n    \
         if deal.live.is_empty() || is_dealt && turns | true {",
        "P8",
    ),
    mutant(
        "refused: its node is taken off a job of which it still runs something",
        LEAVE,
        "if self.is_busy() {\n            return self.wait_to_leave(turn);\n        }\n        \
         if self.membership.can_be_deregistered()",
        "if self.is_busy() && turn.job.0 > 1_000 {\n            \
         return self.wait_to_leave(turn);\n        }\n        \
         if self.membership.can_be_deregistered()",
        "P17",
    ),
    mutant(
        "leader: shards are dealt to who waits to leave, too",
        LEADERSHIP,
        "live.retain(|instance| instance == turn.instance() || !leavers.contains(instance));",
        "live.retain(|instance| instance == turn.instance() || leavers.len() < 100);",
        "P8",
    ),
    mutant(
        "joining: what was read of a job before its definition counts",
        LEARNED,
        "if !self.mirror.implementation().is_being_read() {",
        "if self.mirror.implementation().is_being_read() {",
        "P21",
    ),
    mutant(
        "zookeeper: what was under way when a connection broke counts as not done",
        LINE,
        "Event::Failed { ticket, why: Lost::Unknown(why.to_owned()) }",
        "Event::Failed { ticket, why: Lost::NotSent(why.to_owned()) }",
        "P4",
    ),
    mutant(
        "zookeeper: watches are not set again on the next connection",
        ZOOKEEPER,
        "let first = Line::open(self.config.digest.as_deref(), self.seen, &self.watches);",
        "let first = Line::open(self.config.digest.as_deref(), self.seen, &BTreeSet::new());",
        "P8",
    ),
    embedded(
        "embedded commit: what was meant for an ended session is made in the next one",
        ROUND,
        "(Some(meant), Some(session)) if meant == session => Ok(session),",
        "(Some(_), Some(session)) => Ok(session),",
        "a_commit_meant_for_an_ended_session_is_not_made_in_the_next_one",
    ),
    embedded(
        "embedded commit: a change is not logged for the other processes",
        ROUND,
        "self.store.log_add(self.state.last_index, bytes)?;",
        "self.store.log_add(self.state.last_index, &bytes[..0])?;",
        "the_embedded_registry_keeps_the_contract",
    ),
    embedded(
        "embedded commit: nobody is told that there is something new",
        WRITER,
        "        if outcome.has_changes {\n            self.tools.bell.ring();",
        "        if outcome.has_changes && outcome.last_index == u64::MAX {\n            \
         self.tools.bell.ring();",
        "changes_are_told_long_before_anybody_looks_for_them",
    ),
    node(
        "mirror: a change that is told during a read is forgotten (B17)",
        SLOT,
        "self.is_changed_since = self.is_reading;",
        "self.is_changed_since = false;",
        "a_change_during_a_read_is_read_again",
    ),
];
