//! P23: only who may serve a job runs it.
//!
//! * Whoever says why it may not serve a job runs nothing of it while it says so. It may go on saying so for a
//!   moment after it may again: what began within it is looked at [`SETTLED`] and the sessions' time-out later,
//!   if nothing went wrong meanwhile.
//! * No run of a job starts on a node whose host has not been able to start the job's script for that long. That
//!   time begins anew with whatever goes wrong meanwhile.
//!
//! That such a node serves nothing of the job, and says why, is judged by P21.

use crate::story::Stories;
use crate::trace::{About, Call, Fact, Line, Probe};
use crate::verdict::Verdict;
use std::collections::{BTreeMap, VecDeque};

/// The invariant's name.
pub const NAME: &str = "P23 who may";

/// How long beyond the time-out it may take until what a host can do is known and told: milliseconds.
pub const SETTLED: u64 = 20_000;

/// Code that began while its instance said that it may not run it.
struct Began<'a> {
    at: u64,
    line: usize,
    of: (&'a str, &'a str),
}

/// Judges a trace.
#[must_use]
pub fn judge(trace: &[Line], stories: &Stories<'_>) -> Verdict {
    let weather = &stories.weather;
    let settled = weather.timeout + SETTLED;
    let mut says: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    let mut cannot: BTreeMap<(u32, &str), u64> = BTreeMap::new();
    let mut began: VecDeque<Began<'_>> = VecDeque::new();
    for (at, line) in trace.iter().enumerate() {
        while let Some(Began { at: then, line: of_it, of }) =
            began.pop_front_if(|began| began.at + settled < line.at)
        {
            let still_says = says.get(&of).is_some_and(|since| *since <= then);
            if still_says && weather.is_calm(then, then + settled) {
                return Verdict::breach(trace, of_it, "its instance says that it may not run it");
            }
        }
        match &line.fact {
            Fact::Mark(mark) => {
                let About::Ineligible(instance) = &mark.about else { continue };
                let of = (&*mark.job, &**instance);
                match &mark.value {
                    Some(_) => drop(says.entry(of).or_insert(line.at)),
                    None => drop(says.remove(&of)),
                }
            }
            Fact::Script { node, job, can } => {
                match can {
                    true => cannot.remove(&(*node, &**job)),
                    false => cannot.insert((*node, job), line.at),
                };
            }
            Fact::Start(Probe { node, job, instance, .. })
            | Fact::CallBegins(Call { node, job, instance, .. }) => {
                let since = cannot.get(&(*node, &**job));
                if since.is_some_and(|since| weather.calm_for(*since, settled) < line.at) {
                    return Verdict::breach(trace, at, "its host cannot start the job's script");
                }
                if says.contains_key(&(&**job, &**instance)) {
                    began.push_back(Began { at: line.at, line: at, of: (job, instance) });
                }
            }
            _ => {}
        }
    }
    Verdict::Valid
}
