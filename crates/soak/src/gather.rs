//! One trace of all that was seen: what the registry committed, what the code wrote, what passed on
//! the wire, what was done, in the order in which it happened.
//!
//! All is dated by one wall clock, in milliseconds; within one, ends stand before commits and commits
//! before starts, as nothing starts sooner than the answer to its claim, and no end is committed
//! before it happened.

use crate::fleet::{Diary, unsigned};
use crate::history::History;
use crate::nodes::{Heard, heard};
use crate::probes::Wrote;
use anyhow::{Context, Result};
use flockwork_checker::Fact;
use flockwork_checker::trace::{About, Fault, Fire, Line, Probe, Unseen};
use flockwork_layout::keys::Namespace;
use std::collections::BTreeMap;

/// How long after its node has decided a script may take to write its first line, on a host that has
/// other things to do: milliseconds. By as much later is told what forbids a start.
pub const SPAWN: i64 = 1_000;

/// All that was seen of a run; instants are milliseconds since 1970.
#[derive(Debug)]
pub struct Seen<'a> {
    /// What was done.
    pub diary: &'a Diary,
    /// What the registry committed.
    pub history: &'a History,
    /// What the code wrote.
    pub wrote: &'a [Wrote],
    /// Under which name the jobs stand in the registry.
    pub namespace: &'a Namespace,
    /// When nothing went wrong any more, and when all was over.
    pub healed: i64,
    /// The end; what came after it is left out.
    pub over: i64,
}

/// The place of a fact among those of the same millisecond.
fn rank(fact: &Fact) -> u8 {
    match fact {
        Fact::Unseen(_) => 0,
        Fact::Node { .. } => 1,
        Fact::Job(_) | Fact::Script { .. } | Fact::Withdraw { .. } => 2,
        Fact::End { .. } | Fact::CallEnds { .. } => 3,
        Fact::Trust { .. } | Fact::Distrust { .. } | Fact::Drain { .. } => 4,
        Fact::Config(_) | Fact::Plan(_) | Fact::Stage(_) | Fact::Record(_) | Fact::Mark(_) => 5,
        Fact::Start(_) | Fact::CallBegins(_) | Fact::CallStopped(_) => 6,
        Fact::Fault(_) | Fact::Clock { .. } | Fact::Exit { .. } | Fact::Healed => 7,
        Fact::Over { .. } => 8,
    }
}

/// Puts all into one order.
///
/// # Errors
/// If something cannot be placed: code of a process that nobody started, a log that is gone.
pub fn gather(seen: &Seen<'_>) -> Result<Vec<Line>> {
    let mut facts = seen.history.facts(seen.namespace);
    facts.extend(trust(seen, &facts)?);
    facts.extend(code(seen, &facts)?);
    facts.extend(seen.diary.facts.iter().cloned());
    count_runs(&mut facts);
    facts.extend(stops(seen)?);
    facts.push((seen.healed, Fact::Healed));
    let begin = facts.iter().map(|(at, _)| *at).min().context("nothing happened")?;
    let unseen = seen.history.unseen.iter().chain([&Unseen::Beginnings]);
    facts.extend(unseen.map(|what| (begin, Fact::Unseen(*what))));
    facts.retain(|(at, _)| *at <= seen.over);
    facts.push((seen.over, Fact::Over { wall: seen.over }));
    facts.sort_by_key(|(at, fact)| (*at, rank(fact)));
    let line = |(at, fact)| Line { at: unsigned(at - begin), fact: rebased(fact, begin) };
    Ok(facts.into_iter().map(line).collect())
}

/// Instants within facts, on the trace's own clock.
fn rebased(mut fact: Fact, begin: i64) -> Fact {
    let instant = match &mut fact {
        Fact::Trust { until, .. } => Some(until),
        Fact::Fault(fault) => match fault {
            Fault::Pause { until, .. }
            | Fault::Cut { until, .. }
            | Fault::OneWay { until, .. }
            | Fault::RegistryAway { until, .. }
            | Fault::Full { until }
            | Fault::Jumbled { until, .. }
            | Fault::Slow { until, .. } => Some(until),
            Fault::Crash { .. } | Fault::LostAnswer { .. } => None,
        },
        _ => None,
    };
    if let Some(until) = instant {
        *until = until.saturating_sub(unsigned(begin));
    }
    fact
}

/// Which node an instance is a process of.
fn nodes(diary: &Diary) -> BTreeMap<&str, u32> {
    diary.processes.iter().map(|(number, instance, ..)| (instance.as_str(), *number)).collect()
}

/// How much later than its node a proxy may come to note what it has passed on: milliseconds.
const NOTED: i64 = 250;

/// What each node can have been told of its session at the most, and that it was told otherwise.
fn trust(seen: &Seen<'_>, committed: &[(i64, Fact)]) -> Result<Vec<(i64, Fact)>> {
    let nodes = nodes(seen.diary);
    let registered = committed.iter().filter_map(|(_, fact)| match fact {
        Fact::Mark(mark) => match &mark.about {
            About::Instance(instance) => Some((mark.lives_with?, *nodes.get(instance.as_str())?)),
            _ => None,
        },
        _ => None,
    });
    let sessions: BTreeMap<u64, u32> = registered.collect();
    let mut told: Vec<(i64, u32, Fact)> = Vec::new();
    for proof in &seen.history.proofs {
        let Some(node) = sessions.get(&proof.session).copied() else { continue };
        let (session, until) = (proof.session, unsigned(proof.until + SPAWN));
        told.push((proof.at, node, Fact::Trust { node, session, until }));
    }
    for (number, _, _, log) in &seen.diary.processes {
        let heard = heard(log)?;
        for (place, (at, _)) in
            heard.iter().enumerate().filter(|(_, (_, heard))| *heard == Heard::Distrust)
        {
            let next = heard[place..].iter().find(|(_, heard)| *heard == Heard::Proven);
            let again = next.map_or(i64::MAX, |(again, _)| *again);
            if again <= at + SPAWN {
                continue;
            }
            told.push((at + SPAWN, *number, Fact::Distrust { node: *number }));
            // A proof is made before it is told: then, and not before, it counts again.
            let earlier = told.iter().filter(|(proof, node, fact)| {
                let is_told = *proof <= again.saturating_add(NOTED);
                matches!(fact, Fact::Trust { .. }) && node == number && is_told
            });
            let latest = earlier.max_by_key(|(proof, ..)| *proof).map(|(_, _, fact)| fact.clone());
            told.extend(latest.filter(|_| next.is_some()).map(|fact| (again, *number, fact)));
        }
    }
    Ok(told.into_iter().map(|(at, _, fact)| (at, fact)).collect())
}

/// What code wrote. It is not told why its fire was due; that is what its claim says.
fn code(seen: &Seen<'_>, committed: &[(i64, Fact)]) -> Result<Vec<(i64, Fact)>> {
    let nodes = nodes(seen.diary);
    let claims = committed.iter().filter_map(|(_, fact)| match fact {
        Fact::Record(change) => {
            let source = &change.new.as_ref()?.claim.as_ref()?.fire.source;
            Some(((change.job.as_str(), change.shard, change.index), source.as_str()))
        }
        _ => None,
    });
    let sources: BTreeMap<(&str, u32, u64), &str> = claims.collect();
    let mut facts = Vec::new();
    for Wrote { at, ran, end } in seen.wrote {
        let node = *nodes
            .get(ran.instance.as_str())
            .with_context(|| format!("{} ran code, and is none of the processes", ran.instance))?;
        let source = sources.get(&(ran.job.as_str(), ran.shard, ran.epoch)).copied();
        let probe = Probe {
            node,
            instance: ran.instance.clone(),
            job: ran.job.clone(),
            shard: ran.shard,
            fire: Fire { due: ran.due, source: source.unwrap_or("schedule").to_owned() },
            attempt: ran.attempt,
            epoch: ran.epoch,
        };
        let fact = match end {
            None => Fact::Start(probe),
            Some(code) => Fact::End { probe, code: code.clone() },
        };
        facts.push((*at, fact));
    }
    Ok(facts)
}

/// How many runs died with each process.
fn count_runs(facts: &mut [(i64, Fact)]) {
    let counted = |at: i64, of: &str| {
        let mine = |probe: &Probe| usize::from(probe.instance == of);
        let open = facts.iter().filter(|(when, _)| *when <= at).map(|(_, fact)| match fact {
            Fact::Start(probe) => (mine(probe), 0),
            Fact::End { probe, .. } => (0, mine(probe)),
            _ => (0, 0),
        });
        let (began, ended) = open.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        u32::try_from(began.saturating_sub(ended)).unwrap_or(u32::MAX)
    };
    let deaths: Vec<(usize, u32)> = (0..facts.len())
        .filter_map(|place| match &facts[place] {
            (at, Fact::Fault(Fault::Crash { instance, .. })) => {
                Some((place, counted(*at, instance)))
            }
            _ => None,
        })
        .collect();
    for (place, died) in deaths {
        if let Fact::Fault(Fault::Crash { runs, .. }) = &mut facts[place].1 {
            *runs = died;
        }
    }
}

/// Who was told to stop, and left. What was decided before may still start within [`SPAWN`].
fn stops(seen: &Seen<'_>) -> Result<Vec<(i64, Fact)>> {
    let mut facts = Vec::new();
    for (number, instance, _, log) in &seen.diary.processes {
        let left = seen.diary.exits.iter().find(|(_, _, who)| who == instance).map(|exit| exit.0);
        let told = heard(log)?.into_iter().find(|(_, heard)| *heard == Heard::Stop);
        if let Some((at, _)) = told {
            let at = left.map_or(at + SPAWN, |left| left.min(at + SPAWN));
            facts.push((at, Fact::Drain { node: *number }));
        }
        if let Some(at) = left {
            facts.push((at, Fact::Exit { node: *number, instance: instance.clone() }));
        }
    }
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Proof;
    use crate::probes::Ran;
    use std::path::Path;

    const ONE: &str = "10.1.0.1@-@7-x";

    fn wrote(at: i64, epoch: u64, end: Option<&str>) -> Wrote {
        let (instance, job) = (ONE.to_owned(), "a".to_owned());
        let ran = Ran { pid: 1, instance, job, shard: 0, due: 1_000, epoch, attempt: 1 };
        Wrote { at, ran, end: end.map(str::to_owned) }
    }

    fn registered(session: u64) -> crate::history::Committed {
        use flockwork_layout::keys::Facet;
        use flockwork_registry::{Entry, SessionId, Stamp};
        let job = flockwork_core::id::JobName::new("a").unwrap();
        let facet = Facet::Instance(flockwork_core::id::InstanceId::new(ONE).unwrap());
        let key = Namespace::new("n").unwrap().key(&job, &facet);
        let (value, stamp) = ("{}".into(), Stamp::default());
        let new = Some(Entry { value, stamp, session: Some(SessionId(session)) });
        let change = crate::history::KeyChange { key, guard: None, old: None, new };
        crate::history::Committed {
            at: 2_000,
            until: 2_000,
            index: 5,
            session,
            changes: vec![change],
        }
    }

    fn gathered(log: &str, exits: Vec<(i64, u32, String)>, wrote: &[Wrote]) -> Vec<(u64, String)> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        std::fs::write(&path, log).unwrap();
        let node = Fact::Node { node: 1, instance: ONE.to_owned(), slots: 1, timeout: 4_000 };
        let diary = Diary {
            facts: vec![(1_000, node)],
            processes: vec![(1, ONE.to_owned(), 1_000, Path::new(&path).to_owned())],
            exits,
            ..Diary::default()
        };
        let proofs = vec![Proof { at: 1_500, session: 9, until: 5_500 }];
        let history = History { commits: vec![registered(9)], proofs, ..History::default() };
        let namespace = Namespace::new("n").unwrap();
        let (diary, history, namespace) = (&diary, &history, &namespace);
        let seen = Seen { diary, history, wrote, namespace, healed: 8_000, over: 9_000 };
        let trace = gather(&seen).unwrap();
        trace
            .iter()
            .map(|line| {
                let json = serde_json::to_value(line).unwrap();
                let until = json["until"].as_u64().map(|until| format!(" {until}"));
                let kind = json["k"].as_str().unwrap().to_owned();
                (line.at, kind + &until.unwrap_or_default())
            })
            .collect()
    }

    fn line(at: &str, message: &str) -> String {
        format!("{{\"timestamp\":\"1970-01-01T00:00:0{at}Z\",\"message\":\"{message}\"}}\n")
    }

    #[test]
    fn within_a_millisecond_ends_stand_before_commits_and_commits_before_starts() {
        let wrote = [wrote(2_000, 5, None), wrote(2_000, 4, Some("OK")), wrote(9_500, 5, None)];
        let told = gathered("", vec![], &wrote);
        let expected = [
            (0, "unseen"),
            (0, "node"),
            (500, "trust 5500"),
            (1_000, "end"),
            (1_000, "mark"),
            (1_000, "start"),
            (7_000, "healed"),
            (8_000, "over"),
        ];
        assert_eq!(told, expected.map(|(at, kind)| (at, kind.to_owned())));
    }

    #[test]
    fn what_forbids_a_start_holds_once_a_script_can_no_longer_be_on_its_way() {
        let log = line("3.0", "nothing new starts: session not proven: why")
            + &line("4.0", "draining; a second signal stops at once");
        let kinds = |told: &[(u64, String)]| -> Vec<(u64, String)> {
            let of = |kind: &str| matches!(kind, "distrust" | "drain" | "exit");
            told.iter().filter(|(_, kind)| of(kind)).cloned().collect()
        };
        let left = |at| vec![(at, 1, ONE.to_owned())];
        let late = kinds(&gathered(&log, left(6_500), &[]));
        let expected = [(3_000, "distrust"), (4_000, "drain"), (5_500, "exit")];
        assert_eq!(late, expected.map(|(at, kind)| (at, kind.to_owned())));
        // Who has left has nothing on its way.
        let soon = kinds(&gathered(&log, left(4_200), &[]));
        assert_eq!(soon[1..], [(3_200, "drain".to_owned()), (3_200, "exit".to_owned())]);
    }

    #[test]
    fn a_session_counts_as_proven_again_when_its_node_is_told() {
        let of = |again: &str| {
            let log = line("1.4", "nothing new starts: session not proven: why")
                + &line(again, "session lives");
            let told = gathered(&log, vec![], &[]).into_iter();
            told.filter(|(_, kind)| kind.contains("trust")).collect::<Vec<_>>()
        };
        let proof = (500, "trust 5500".to_owned());
        // Soon enough that a script may have been on its way all the while.
        assert_eq!(of("2.0"), std::slice::from_ref(&proof));
        let (forbidden, again) = ((1_400, "distrust".to_owned()), (4_000, "trust 5500".to_owned()));
        assert_eq!(of("5.0"), [proof, forbidden, again]);
    }

    #[test]
    fn code_of_a_process_that_nobody_started_cannot_be_placed() {
        let mut stray = wrote(2_000, 5, None);
        stray.ran.instance = "10.9.9.9@-@1-x".to_owned();
        let seen = |wrote: &[Wrote]| {
            let (diary, history) = (Diary::default(), History::default());
            let namespace = Namespace::new("n").unwrap();
            let (diary, history, namespace) = (&diary, &history, &namespace);
            gather(&Seen { diary, history, wrote, namespace, healed: 1, over: 2 }).is_err()
        };
        assert!(seen(&[stray]));
    }
}
