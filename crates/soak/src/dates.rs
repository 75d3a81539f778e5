//! When commits happened, of which is known only between which instants.
//!
//! What is proven comes first: commits happened in their order; and a commit had happened before code
//! started under it, as the code knows its number, which nobody can know sooner. What is left open
//! is decided for the nodes: a commit that closes a run is put after what the run wrote, if it can
//! have been there. So no date makes a breach that was none. What it may hide is as short as the
//! bounds are close; where they are not, it is said, and what rests on it is not known.

use crate::history::{Committed, History};
use crate::probes::Wrote;
use flockwork_checker::Verdict;
use flockwork_checker::p01_one_holder;
use flockwork_core::account::{Claim, ClaimState};
use flockwork_layout::keys::{Facet, Namespace};
use flockwork_layout::record;
use flockwork_registry::{Entry, Key};
use std::collections::BTreeMap;
use std::fmt;

/// By how many milliseconds a commit may be put later than it can have been at the earliest without
/// its being said: a node that closes a claim while its code runs errs by as long as that runs.
pub const CLOSE: i64 = 100;

/// How well commits are dated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dated {
    /// For how long each can have happened, in ascending order: milliseconds.
    widths: Vec<i64>,
    /// How many stand beside code in whose favour that was decided.
    pub decided: usize,
    /// Those of them that were moved too far to be sure, in words.
    pub doubtful: Vec<String>,
}

impl fmt::Display for Dated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.widths.len().saturating_sub(1);
        let at = |hundredths: usize| self.widths.get(last * hundredths / 100).unwrap_or(&0);
        write!(
            f,
            "{} commits, dated within {} ms (half of them), {} ms (99 of 100), {} ms (all); {} put after \
             what code wrote, {} of them by more than {CLOSE} ms",
            self.widths.len(),
            at(50),
            at(99),
            at(100),
            self.decided,
            self.doubtful.len()
        )
    }
}

impl Dated {
    /// What is left of verdicts that rest on the order of commits and code: a breach is one all the
    /// same.
    pub fn weigh(&self, verdicts: &mut [(&'static str, Verdict)]) {
        let Some(first) = self.doubtful.first() else { return };
        for (name, verdict) in verdicts {
            if *name != p01_one_holder::NAME || verdict.is_invalid() {
                continue;
            }
            let why = format!("{} commits cannot be dated: {first}", self.doubtful.len());
            *verdict = Verdict::Unknown(match verdict {
                Verdict::Unknown(before) => format!("{before}; {why}"),
                Verdict::Valid | Verdict::Invalid(_) => why,
            });
        }
    }
}

/// One run of code, by what it wrote.
type Run<'a> = (&'a str, u32, u64);

/// Decides when each commit happened, by what code wrote.
pub fn settle(history: &mut History, wrote: &[Wrote], namespace: &Namespace) -> Dated {
    bound(&mut history.commits, wrote);
    let mut written: BTreeMap<Run<'_>, Vec<i64>> = BTreeMap::new();
    for Wrote { at, ran, end } in wrote {
        // In the same millisecond ends stand before commits, and starts after them.
        let passed = at + i64::from(end.is_none());
        written.entry((&ran.job, ran.shard, ran.epoch)).or_default().push(passed);
    }
    let (mut claims, mut dated, mut last) = (Claims::new(namespace), Dated::default(), i64::MIN);
    for committed in &mut history.commits {
        let open = |from, until| open(from, until, &history.still);
        dated.widths.push(open(committed.at, committed.until));
        let least = last.max(committed.at);
        let closed = claims.take(committed);
        let within = least..=committed.until;
        let runs = closed.iter().filter_map(|(job, shard, epoch)| {
            let times = written.get(&(job.as_str(), *shard, *epoch))?;
            times.iter().copied().filter(|at| within.contains(at)).max()
        });
        let passed = runs.max().filter(|passed| *passed > least);
        if let Some(passed) = passed {
            dated.decided += 1;
            let moved = open(committed.at, passed);
            if moved > CLOSE {
                let of = committed.index;
                dated.doubtful.push(format!("commit {of} may have been {moved} ms earlier"));
            }
        }
        committed.at = passed.unwrap_or(least);
        last = committed.at;
    }
    dated.widths.sort_unstable();
    dated
}

/// Draws the bounds as close as order and numbers prove them.
fn bound(commits: &mut [Committed], wrote: &[Wrote]) {
    let mut first = BTreeMap::new();
    for Wrote { at, ran, .. } in wrote {
        let known = first.entry(ran.epoch).or_insert(*at);
        *known = (*known).min(*at);
    }
    let mut least = i64::MIN;
    for committed in commits.iter_mut() {
        least = least.max(committed.at);
        committed.at = least;
        // The clock may be set by some milliseconds.
        committed.until = committed.until.max(least);
    }
    let mut most = i64::MAX;
    for committed in commits.iter_mut().rev() {
        // Code that knew a number before there can have been one is no proof but a breach.
        let known = first.get(&committed.index).filter(|known| **known >= committed.at);
        most = most.min(committed.until).min(known.copied().unwrap_or(i64::MAX));
        committed.until = most;
    }
}

/// How much of a span the registry can have committed in.
fn open(from: i64, until: i64, still: &[(i64, i64)]) -> i64 {
    let overlap = |(since, again): &(i64, i64)| (until.min(*again) - from.max(*since)).max(0);
    (until - from - still.iter().map(overlap).sum::<i64>()).max(0)
}

/// The claims that are held, as commits pass.
struct Claims<'a> {
    namespace: &'a Namespace,
    /// The commit that made each, by what it is on and what it is: one that is taken and given back
    /// is the same as before.
    made: BTreeMap<Key, Vec<(Claim, u64)>>,
}

impl<'a> Claims<'a> {
    fn new(namespace: &'a Namespace) -> Self {
        Self { namespace, made: BTreeMap::new() }
    }

    /// The runs whose claims a commit ends, by job, shard and the commit that made the claim.
    fn take(&mut self, committed: &Committed) -> Vec<(String, u32, u64)> {
        let mut closed = Vec::new();
        for change in &committed.changes {
            let Some((job, Facet::Record(shard))) = self.namespace.parse(&change.key) else {
                continue;
            };
            let (was, is) = (held(change.old.as_ref()), held(change.new.as_ref()));
            if was == is {
                continue;
            }
            let made = self.made.entry(change.key.clone()).or_default();
            let by = |claim: &Claim| made.iter().rev().find(|(of, _)| of == claim).map(|it| it.1);
            closed.extend(was.as_ref().and_then(by).map(|epoch| (job.to_string(), shard, epoch)));
            if let Some(is) = is.filter(|is| by(is).is_none()) {
                made.push((is, committed.index));
            }
        }
        closed
    }
}

fn held(entry: Option<&Entry>) -> Option<Claim> {
    let stored = record::decode(&entry?.value).ok()?;
    stored.record.claim.filter(|claim| claim.state == ClaimState::Held)
}

#[cfg(test)]
mod tests;
