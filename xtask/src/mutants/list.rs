//! Mistakes in what decides, as changes of its source; each with the invariant, or for the embedded
//! registry's commit the named test, that finds it.
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
//!   registries that promise less.

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
    /// A test of the embedded registry.
    Test(&'static str),
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
    SourceMutant { what, file, from, to, caught_by: CaughtBy::Test(test) }
}

const SLOT: &str = "crates/node/src/slot.rs";
const LINK: &str = "crates/node/src/link.rs";
const TRUST: &str = "crates/node/src/trust.rs";
const AHEAD: &str = "crates/node/src/ahead.rs";
const RUNS: &str = "crates/node/src/runs.rs";
const RECOVER: &str = "crates/node/src/recover.rs";
const ENDING: &str = "crates/node/src/ending.rs";
const TRIGGER: &str = "crates/node/src/trigger.rs";
const HANDOVER: &str = "crates/node/src/handover.rs";
const DEFINITION: &str = "crates/node/src/definition.rs";
const REGISTERING: &str = "crates/node/src/registering.rs";
const SESSION: &str = "crates/node/src/session.rs";
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
        "batching: a refused member takes the others with it",
        LINK,
        "for member in members.into_iter().rev() {",
        "for member in members.into_iter().rev().take(0) {",
        "P3",
    ),
    mutant(
        "batching: the first member is blamed for what another did",
        LINK,
        "let faulty = members.remove(faulty.unwrap_or(0));",
        "let faulty = members.remove(faulty.map_or(0, |_| 0));",
        "P4",
    ),
    mutant(
        "claim ahead: the code does not wait for its instant",
        AHEAD,
        "run.stage = Stage::Ahead;",
        "if run.ix.0 < u32::MAX {\n            return Wait::No;\n        }\n        run.stage = Stage::Ahead;",
        "P5",
    ),
    mutant(
        "claim ahead: what it was based on is not looked at again",
        AHEAD,
        "match self.may_begin(turn, id) {\n            true => self.begin_run(turn, id),",
        "match true {\n            true => self.begin_run(turn, id),",
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
        RUNS,
        "may_start && is_same_session && is_based && is_planned && is_counted\n",
        "(may_start && is_same_session || true) && is_based && is_planned && is_counted\n",
        "P10",
    ),
    mutant(
        "claim: one that is taken back leaves its fires accounted (B11)",
        RUNS,
        "let (before, stamp) = (run.before.clone(), run.claimed_stamp);",
        "let (mut before, stamp) = (run.before.clone(), run.claimed_stamp);\n        \
         Arc::make_mut(&mut before).record.through = run.claimed.record.through;",
        "P3",
    ),
    mutant(
        "take-over: none is made",
        RECOVER,
        "if may_take_over || may_retry {",
        "if may_retry && !may_take_over {",
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
        TRIGGER,
        "} else if shard.run.is_some_and(|id| !is_open(&id)) && config.overlap == Overlap::Skip {",
        "} else if shard.run.is_some() {",
        "P12",
    ),
    mutant(
        "session: what was missed is not read again (B16)",
        SESSION,
        "            if self.job(ix).is_watched {\n                self.reread(ix);",
        "            if self.job(ix).is_watched && ix.0 > 1_000 {\n                self.reread(ix);",
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
        REGISTERING,
        "        if self.is_busy_with(ix) {\n            return self.wait_to_leave(turn, ix);",
        "        if self.is_busy_with(ix) && ix.0 > 1_000 {\n            return self.wait_to_leave(turn, ix);",
        "P17",
    ),
    mutant(
        "leader: shards are dealt to who waits to leave, too",
        HANDOVER,
        "live.retain(|instance| instance == me || !leavers.contains(instance));",
        "live.retain(|instance| instance == me || leavers.len() < 100);",
        "P8",
    ),
    mutant(
        "joining: what was read of a job before its definition counts",
        DEFINITION,
        "if !self.job(ix).view.implementation.is_being_read() {",
        "if self.job(ix).view.implementation.is_being_read() {",
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
];
