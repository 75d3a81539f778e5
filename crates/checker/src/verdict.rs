//! What a judgement can be.

use crate::trace::{Fact, Line, Unseen};
use std::fmt;

/// How many lines a witness shows before and after the one that breaks the rule.
const AROUND: usize = 6;

/// One invariant's verdict on one trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Valid,
    /// It does not, and where.
    Invalid(Witness),
    /// The trace does not say.
    Unknown(String),
}

/// Where an invariant broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// What is wrong.
    pub what: String,
    /// The line, from 0.
    pub line: usize,
    /// The lines around it that concern the same shard, as JSON, with their numbers.
    pub around: Vec<(usize, String)>,
}

impl Verdict {
    /// A breach at a line of the trace.
    #[must_use]
    pub fn breach(trace: &[Line], line: usize, what: impl Into<String>) -> Self {
        let about = trace.get(line).and_then(concerns);
        let same = |at: &usize| match about {
            Some(about) => concerns(&trace[*at]).is_some_and(|other| is_same(about, other)),
            None => true,
        };
        let before = (0..line).rev().filter(same).take(AROUND);
        let after = (line..trace.len()).filter(same).take(AROUND);
        let mut shown: Vec<usize> = before.chain(after).collect();
        shown.sort_unstable();
        let json = |at: usize| serde_json::to_string(&trace[at]).unwrap_or_default();
        let around = shown.into_iter().map(|at| (at, json(at))).collect();
        Self::Invalid(Witness { what: what.into(), line, around })
    }

    /// What is left of a verdict that rests on what the trace does not show: a breach is one all
    /// the same, the rest is not known.
    #[must_use]
    pub fn as_far_as_seen(self, lacking: &[Unseen]) -> Self {
        if !self.is_valid() || lacking.is_empty() {
            return self;
        }
        let lacking: Vec<&str> = lacking.iter().map(|what| what.words()).collect();
        Self::Unknown(format!(
            "the trace does not show {}; what it shows is in order",
            lacking.join(", nor ")
        ))
    }

    /// Whether it does not hold.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        matches!(self, Self::Invalid(_))
    }

    /// Whether it holds.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        *self == Self::Valid
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Valid => f.write_str("valid"),
            Self::Unknown(why) => write!(f, "unknown: {why}"),
            Self::Invalid(witness) => {
                write!(f, "invalid at line {}: {}", witness.line, witness.what)?;
                for (at, line) in &witness.around {
                    write!(f, "\n  {} {at} {line}", if *at == witness.line { '>' } else { ' ' })?;
                }
                Ok(())
            }
        }
    }
}

/// The job and the shard a line is about; no shard if it is about the job as a whole.
fn concerns(line: &Line) -> Option<(&str, Option<u32>)> {
    match &line.fact {
        Fact::Record(change) => Some((&change.job, Some(change.shard))),
        Fact::Start(probe) | Fact::End { probe, .. } => Some((&probe.job, Some(probe.shard))),
        Fact::Stage(change) => Some((&change.job, None)),
        Fact::CallBegins(call) | Fact::CallStopped(call) | Fact::CallEnds { call, .. } => {
            Some((&call.job, None))
        }
        _ => None,
    }
}

/// What is about a whole job concerns each of its shards.
fn is_same(one: (&str, Option<u32>), other: (&str, Option<u32>)) -> bool {
    let shards = one.1.zip(other.1);
    one.0 == other.0 && shards.is_none_or(|(one, other)| one == other)
}

/// Why a trace proves nothing, if it does not.
pub(crate) fn cannot_be_judged(trace: &[Line]) -> Option<String> {
    let has = |wanted: fn(&Fact) -> bool| trace.iter().any(|line| wanted(&line.fact));
    if !matches!(trace.last(), Some(Line { fact: Fact::Over { .. }, .. })) {
        return Some("the trace has no end".to_owned());
    }
    if !has(|fact| matches!(fact, Fact::Plan(_))) {
        return Some("no job was ever served".to_owned());
    }
    if !has(|fact| matches!(fact, Fact::Start(_))) {
        return Some("no user code ever ran".to_owned());
    }
    let ordered = trace.windows(2).all(|pair| pair[0].at <= pair[1].at);
    (!ordered).then(|| "its lines are not in the order of time".to_owned())
}
