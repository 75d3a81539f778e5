//! Mistakes in what decides, as changes of its source; each with the invariant that finds it.
//!
//! The letters name planted bugs of the field that a mistake stands for: a lost watch, a forgotten
//! owner check, and the like.

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
    /// The invariant that must find it, by its number.
    pub(crate) caught_by: &'static str,
}

const fn mutant(
    what: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
    caught_by: &'static str,
) -> SourceMutant {
    SourceMutant { what, file, from, to, caught_by }
}

const SLOT: &str = "crates/node/src/slot.rs";
const LINK: &str = "crates/node/src/link.rs";
const TRUST: &str = "crates/node/src/trust.rs";
const RUNS: &str = "crates/node/src/runs.rs";
const RECOVER: &str = "crates/node/src/recover.rs";
const ENDING: &str = "crates/node/src/ending.rs";
const TEND: &str = "crates/node/src/tend.rs";
const TRIGGER: &str = "crates/node/src/trigger.rs";
const SESSION: &str = "crates/node/src/session.rs";
const SETTLE: &str = "crates/core/src/account/settle.rs";
const ASSIGNMENT: &str = "crates/core/src/assignment.rs";

/// All of them: what a node believes, how it batches, when it trusts its session, what it claims,
/// takes over and ends, and what the core decides of it.
pub(crate) const LIST: &[SourceMutant] = &[
    mutant(
        "mirror: a change is told, and what was read before still believed (B16)",
        SLOT,
        "        self.is_fresh = false;\n        self.is_changed_since = self.is_reading;",
        "        self.is_changed_since = self.is_reading;",
        "P?",
    ),
    mutant(
        "mirror: a change told during a read is forgotten (B17)",
        SLOT,
        "        self.is_fresh = !again;\n        self.is_reading = again;\n        again",
        "        (self.is_fresh, self.is_reading) = (true, false);\n        again && false",
        "P?",
    ),
    mutant(
        "mirror: what a node wrote covers a change told since",
        SLOT,
        "self.is_fresh = !self.is_reading;",
        "self.is_fresh = true;",
        "P?",
    ),
    mutant(
        "batching: a refused member takes the others with it",
        LINK,
        "for member in members.into_iter().rev() {",
        "for member in members.into_iter().rev().take(0) {",
        "P?",
    ),
    mutant(
        "batching: the first member is blamed for what another did",
        LINK,
        "let faulty = members.remove(faulty.unwrap_or(0));",
        "let faulty = members.remove(faulty.map_or(0, |_| 0));",
        "P?",
    ),
    mutant(
        "session: trusted beyond what was proven (B18)",
        TRUST,
        "self.session.is_some() && !self.is_suspended && now.mono < self.until",
        "self.session.is_some() && !self.is_suspended && now.mono < Mono::from_millis(u64::MAX)",
        "P?",
    ),
    mutant(
        "claim: the owner is not looked at again when the claim stands (B9)",
        RUNS,
        "if !(may_start && is_same_session && is_based && is_planned) {",
        "if !(may_start && is_same_session && is_planned) {",
        "P?",
    ),
    mutant(
        "claim: what the session may do is not asked again when the claim stands",
        RUNS,
        "if !(may_start && is_same_session && is_based && is_planned) {",
        "if !(is_based && is_planned) {",
        "P?",
    ),
    mutant(
        "claim: one that is taken back leaves its fires accounted (B11)",
        RUNS,
        "let (before, stamp) = (run.before.clone(), run.claimed_stamp);",
        "let (mut before, stamp) = (run.before.clone(), run.claimed_stamp);\n        \
         Arc::make_mut(&mut before).record.through = run.claimed.record.through;",
        "P?",
    ),
    mutant(
        "take-over: whether the instance lives is not asked (B3)",
        RECOVER,
        "let is_live = self.is_live(ix, &claim.instance);\n        if is_live.is_none()",
        "let is_live = self.is_live(ix, &claim.instance).map(|_| false);\n        \
         if is_live.is_none()",
        "P?",
    ),
    mutant(
        "take-over: none is made",
        RECOVER,
        "if may_take_over || may_retry {",
        "if may_retry && !may_take_over {",
        "P?",
    ),
    mutant(
        "ending: the mark of a run that ended stays (B13)",
        RUNS,
        "let mark_stands = run.claim().mark_lasts || is_same_session;",
        "let mark_stands = run.claim().mark_lasts && !is_same_session;",
        "P?",
    ),
    mutant(
        "ending: one attempt more than allowed",
        ENDING,
        "|| failures > config.retry.times",
        "|| failures > config.retry.times + 1",
        "P?",
    ),
    mutant(
        "session: after its end a job is left as if an operator had said so (B8)",
        TEND,
        "if self.job(ix).registered != session {",
        "if self.job(ix).registered.is_none() && session.is_none() {",
        "P?",
    ),
    mutant(
        "trigger: dropped while the shard runs (B10)",
        TRIGGER,
        "} else if shard.run.is_some() && config.overlap == Overlap::Skip {",
        "} else if shard.run.is_some() {",
        "P?",
    ),
    mutant(
        "session: what was missed is not read again (B16)",
        SESSION,
        "            if self.job(ix).is_watched {\n                self.reread(ix);",
        "            if self.job(ix).is_watched && ix.0 > 1_000 {\n                self.reread(ix);",
        "P?",
    ),
    mutant(
        "core: a fire that a run held up is forgotten",
        SETTLE,
        "let made_up = match reason {\n",
        "let made_up = false && match reason {\n",
        "P?",
    ),
    mutant(
        "core: fires nobody was there for are not noted",
        SETTLE,
        "settled.notes.extend(note(Fate::Missed, Reason::NoNode, missed));",
        "settled.notes.extend(note(Fate::Missed, Reason::NoNode, &missed[..missed.len() / 2]));",
        "P?",
    ),
    mutant(
        "core: shards are dealt to who is gone, too",
        ASSIGNMENT,
        "let is_dealt =\n        deal.held.iter().all(|held| held.as_ref().is_some_and(|h| deal.live.contains(h)));\n    \
         if deal.live.is_empty() || (turns && is_dealt) {",
        "let is_dealt = deal.held.iter().all(Option::is_some);\n    \
         if deal.live.is_empty() || is_dealt && turns | true {",
        "P?",
    ),
];
