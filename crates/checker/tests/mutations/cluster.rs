//! Ways to break what a cluster as a whole has to keep.

use crate::history::{CLIENT, Dice, LAST};
use crate::{Found, claims, from_then_on, pick, ran_plainly, record};
use flockwork_checker::trace::{About, Claim, Config, Fact, Fault, Job, Line, Mark};

fn starts_after(trace: &[Line], found: &Found, second: u64) -> bool {
    trace[found.made].at > second * 1_000
}

pub(crate) fn clock_is_behind(trace: &mut Vec<Line>, _: &mut Dice) -> bool {
    let fact = Fact::Clock { node: 1, offset: -5_000, drift: 0 };
    trace.insert(0, Line { at: 0, fact });
    true
}

/// All from one claim on happens later.
pub(crate) fn start_late(trace: &mut Vec<Line>, dice: &mut Dice) -> bool {
    let from = LAST - 10 + dice.roll(5);
    let all = claims(trace, ran_plainly);
    let Some(first) = all.iter().filter(|c| starts_after(trace, c, from)).map(|c| c.made).min()
    else {
        return false;
    };
    for line in &mut trace[first..] {
        line.at += 2_500;
    }
    if let Some(Line { at, fact: Fact::Over { wall } }) = trace.last_mut() {
        (*at, *wall) = (*at, *wall + 2_500);
    }
    true
}

/// The last run of a shard is cut off by its node's death, and nobody sees to it.
pub(crate) fn leave_the_dead(trace: &mut Vec<Line>, dice: &mut Dice) -> bool {
    let Some(found) = pick(trace, dice, |c| c.triggered && c.is_last) else { return false };
    let Fact::Start(probe) = trace[found.starts[0]].fact.clone() else { return false };
    if probe.node == 2 {
        return false; // That one is told to stop.
    }
    let at = trace[found.starts[0]].at;
    trace.remove(found.closed.unwrap());
    trace.remove(found.ended.unwrap());
    let crash = Fault::Crash { node: probe.node, instance: probe.instance, runs: 1 };
    trace.insert(found.starts[0] + 1, Line { at, fact: Fact::Fault(crash) });
    true
}

/// The same, and another node closes it as crashed, though its job takes over.
pub(crate) fn give_up_the_dead(trace: &mut Vec<Line>, dice: &mut Dice) -> bool {
    let fitting = (0..200).find_map(|_| {
        let found = pick(trace, dice, |c| ran_plainly(c) && c.is_last)?;
        let Fact::Start(probe) = trace[found.starts[0]].fact.clone() else { return None };
        let succeeded = record(&mut trace[found.closed?]).new.as_ref()?.last.as_ref()?.code == "OK";
        (succeeded && probe.node != 2 && !dies(trace, &probe.instance)).then_some((found, probe))
    });
    let Some((found, probe)) = fitting else { return false };
    let (start, end) = (found.starts[0], found.closed.unwrap());
    let own = record(&mut trace[end]).session;
    let other = session_of_another(trace, own);
    let closing = record(&mut trace[end]);
    closing.session = other;
    let job = closing.job.clone();
    let new = closing.new.as_mut().unwrap();
    new.last.as_mut().unwrap().code = "CRASHED".to_owned();
    (new.counts.ok, new.counts.failed) = (new.counts.ok - 1, new.counts.failed + 1);
    new.counts.crashed += 1;
    let about = About::Instance(probe.instance.clone());
    let index = closing.index;
    for line in trace.iter_mut() {
        if let Fact::Job(given) = &mut line.fact {
            given.failover |= given.job == job;
        }
    }
    let gone = Mark { job, index, session: own, about, value: None, lives_with: None };
    // Its shards are its own for ever: only that the run was given up is wrong.
    let back = Mark { value: Some(String::new()), lives_with: Some(own), ..gone.clone() };
    let (at, late) = (trace[start].at, trace[end].at);
    trace.insert(end + 1, Line { at: late, fact: Fact::Mark(back) });
    trace.insert(end, Line { at: late, fact: Fact::Mark(gone) });
    trace.remove(found.ended.unwrap());
    let crash = Fault::Crash { node: probe.node, instance: probe.instance, runs: 1 };
    trace.insert(start + 1, Line { at, fact: Fact::Fault(crash) });
    true
}

fn dies(trace: &[Line], who: &str) -> bool {
    trace.iter().any(|line| match &line.fact {
        Fact::Fault(Fault::Crash { instance, .. }) => instance == who,
        _ => false,
    })
}

fn session_of_another(trace: &[Line], own: u64) -> u64 {
    let other = trace.iter().find_map(|line| match &line.fact {
        Fact::Trust { session, .. } if *session != own => Some(*session),
        _ => None,
    });
    other.expect("several nodes live")
}

/// An attempt follows a record that holds no released claim any more.
pub(crate) fn retry_what_is_over(trace: &mut Vec<Line>, dice: &mut Dice) -> bool {
    let released = |c: &Found| c.attempt == 2 && c.released_before;
    let Some(found) = pick(trace, dice, released) else { return false };
    let change = record(&mut trace[found.made]);
    change.old.as_mut().unwrap().claim = None;
    let (job, shard) = (change.job.clone(), change.shard);
    let before = trace[..found.made].iter_mut().rev().find_map(|line| match &mut line.fact {
        Fact::Record(change) if change.job == job && change.shard == shard => Some(change),
        _ => None,
    });
    before.unwrap().new.as_mut().unwrap().claim = None;
    true
}

fn owner(fact: &Fact) -> bool {
    matches!(fact, Fact::Mark(Mark { about: About::Owner(_), .. }))
}

pub(crate) fn lose_the_owner(trace: &mut Vec<Line>, dice: &mut Dice) -> bool {
    let owners: Vec<usize> = (0..trace.len()).filter(|at| owner(&trace[*at].fact)).collect();
    // The last time that all shards were dealt.
    let at = owners[owners.len() - 1 - usize::try_from(dice.roll(4)).unwrap()];
    let Fact::Mark(mark) = &mut trace[at].fact else { return false };
    mark.value = None;
    true
}

pub(crate) fn give_to_the_gone(trace: &mut Vec<Line>, dice: &mut Dice) -> bool {
    let owners: Vec<usize> = (0..trace.len()).filter(|at| owner(&trace[*at].fact)).collect();
    let at = owners[owners.len() - 1 - usize::try_from(dice.roll(4)).unwrap()];
    let Fact::Mark(mark) = &mut trace[at].fact else { return false };
    mark.value = Some("10.0.0.9@-@9".to_owned());
    true
}

fn mark(trace: &mut Vec<Line>, second: u64, about: About) {
    let at = trace.iter().position(|line| line.at >= second * 1_000).unwrap();
    let (job, index) = ("asked".to_owned(), 1_000_000);
    let value = Some(String::new());
    let mark = Mark { job, index, session: CLIENT, about, value, lives_with: None };
    let line = Line { at: trace[at].at, fact: Fact::Mark(mark) };
    trace.insert(at, line);
}

pub(crate) fn deal_for_ever(trace: &mut Vec<Line>, dice: &mut Dice) -> bool {
    mark(trace, 90 + dice.roll(20), About::Necessary);
    true
}

/// An owner says that it waits to leave, and nobody takes its shard.
pub(crate) fn keep_the_leaving(trace: &mut Vec<Line>, dice: &mut Dice) -> bool {
    let owned = trace.iter().rev().find_map(|line| match &line.fact {
        Fact::Mark(mark) if mark.job == "asked" && owner(&line.fact) => mark.value.clone(),
        _ => None,
    });
    let Some(owner) = owned else { return false };
    mark(trace, 90 + dice.roll(20), About::Leaver(owner));
    true
}

/// One that neither runs nor owns anything of a job waits to leave it, for ever.
pub(crate) fn wait_for_nothing(trace: &mut Vec<Line>, dice: &mut Dice) -> bool {
    let instance = trace.iter().rev().find_map(|line| match &line.fact {
        Fact::Node { node: 1, instance, .. } => Some(instance.clone()),
        _ => None,
    });
    mark(trace, 90 + dice.roll(20), About::Leaver(instance.expect("there are three")));
    true
}

fn insert(trace: &mut Vec<Line>, second: u64, fact: Fact) {
    let at = trace.iter().position(|line| line.at >= second * 1_000).unwrap();
    trace.insert(at, Line { at: trace[at].at, fact });
}

/// Another process starts, is given a job, and does nothing.
pub(crate) fn never_join(trace: &mut Vec<Line>, dice: &mut Dice) -> bool {
    let given = trace.iter().find_map(|line| match &line.fact {
        Fact::Job(job) => Some(Fact::Job(Job { node: Some(9), ..job.clone() })),
        _ => None,
    });
    let start = Fact::Node { node: 9, instance: "x@-@9".to_owned(), slots: 10, timeout: 6_000 };
    let second = 70 + dice.roll(20);
    insert(trace, second, given.unwrap());
    insert(trace, second, start);
    true
}

/// The host of one that runs nothing of a job cannot start its script, and the node does not leave it.
pub(crate) fn serve_without_a_script(trace: &mut Vec<Line>, dice: &mut Dice) -> bool {
    insert(
        trace,
        62 + dice.roll(20),
        Fact::Script { node: 1, job: "asked".to_owned(), can: false },
    );
    true
}

/// One says that it may not serve a job, and goes on to run it.
pub(crate) fn run_what_it_says_it_may_not(trace: &mut Vec<Line>, dice: &mut Dice) -> bool {
    let from = (62 + dice.roll(10)) * 1_000;
    let first = trace.iter().find_map(|line| match &line.fact {
        Fact::Start(probe) if line.at >= from => Some((line.at, probe.clone())),
        _ => None,
    });
    let Some((at, probe)) = first else { return false };
    let about = About::Ineligible(probe.instance);
    let value = Some(String::new());
    let mark =
        Mark { job: probe.job, index: 1_000_000, session: CLIENT, about, value, lives_with: None };
    let before = trace.iter().position(|line| line.at >= at).unwrap();
    trace.insert(before, Line { at, fact: Fact::Mark(mark) });
    true
}

pub(crate) fn forget_a_request(trace: &mut Vec<Line>, dice: &mut Dice) -> bool {
    let living = trace.iter().rev().find_map(|line| match &line.fact {
        Fact::Trust { node: 1, .. } => Some(()),
        _ => None,
    });
    let instance = trace.iter().rev().find_map(|line| match &line.fact {
        Fact::Node { node: 1, instance, .. } => Some(instance.clone()),
        _ => None,
    });
    mark(trace, 62 + dice.roll(20), About::Trigger(instance.unwrap()));
    living.is_some()
}

pub(crate) fn release_for_ever(trace: &mut Vec<Line>, dice: &mut Dice) -> bool {
    let Some(found) = pick(trace, dice, |c| c.triggered && c.is_last) else { return false };
    let closing = record(&mut trace[found.closed.unwrap()]);
    let claim = closing.old.as_ref().unwrap().claim.clone().unwrap();
    let to = Some(claim.instance.clone());
    closing.new.as_mut().unwrap().claim = Some(Claim { released: to, ..claim });
    true
}

fn second_config(trace: &mut [Line]) -> Option<&mut Config> {
    trace.iter_mut().find_map(|line| match &mut line.fact {
        Fact::Config(config) if config.guard.is_some() => Some(config),
        _ => None,
    })
}

pub(crate) fn overwrite_blindly(trace: &mut Vec<Line>, _: &mut Dice) -> bool {
    second_config(trace).is_some_and(|config| config.guard.take().is_some())
}

pub(crate) fn overwrite_unasked(trace: &mut Vec<Line>, _: &mut Dice) -> bool {
    let (at, session) = trace
        .iter()
        .enumerate()
        .find_map(|(at, line)| match &line.fact {
            Fact::Trust { session, .. } => Some((at, *session)),
            _ => None,
        })
        .unwrap();
    let config = second_config(trace).unwrap().clone();
    let guard = Some(config.index);
    let config = Config { session, guard, index: config.index + 1, ..config };
    trace.insert(at + 1, Line { at: 0, fact: Fact::Config(config) });
    true
}

pub(crate) fn answer_without_running(trace: &mut Vec<Line>, _: &mut Dice) -> bool {
    let owners = |trace: &[Line], before: usize| {
        trace[..before].iter().rev().find_map(|line| match &line.fact {
            Fact::Mark(mark) if mark.job == "asked" && owner(&line.fact) => mark.value.clone(),
            _ => None,
        })
    };
    let answer = (0..trace.len()).find(|at| match &trace[*at].fact {
        Fact::Mark(Mark { about: About::Trigger(id), value: None, .. }) => {
            owners(trace, *at).as_ref() == Some(id)
        }
        _ => false,
    });
    let Some(answer) = answer else { return false };
    let asked = (0..answer).rev().find(|at| match &trace[*at].fact {
        Fact::Mark(mark) => matches!(mark.about, About::Trigger(_)),
        _ => false,
    });
    let mut line = trace.remove(answer);
    line.at = trace[asked.unwrap()].at;
    trace.insert(asked.unwrap() + 1, line);
    true
}

pub(crate) fn start_after_stop(trace: &mut Vec<Line>, dice: &mut Dice) -> bool {
    let Some(found) = stopped(trace, dice) else { return false };
    let drain = trace.iter().position(|line| matches!(line.fact, Fact::Drain { .. })).unwrap();
    let mut line = trace.remove(drain);
    line.at = trace[found.made].at;
    trace.insert(found.made, line);
    true
}

/// A late run on the process that is told to stop.
fn stopped(trace: &[Line], dice: &mut Dice) -> Option<Found> {
    let mut late = claims(trace, ran_plainly);
    late.retain(|found| {
        let Fact::Start(probe) = &trace[found.starts[0]].fact else { return false };
        probe.node == 2 && starts_after(trace, found, LAST - 20)
    });
    let at = usize::try_from(dice.roll(late.len().max(1) as u64)).unwrap();
    (at < late.len()).then(|| late.swap_remove(at))
}

pub(crate) fn leave_while_running(trace: &mut Vec<Line>, dice: &mut Dice) -> bool {
    let Some(found) = stopped(trace, dice) else { return false };
    let exit = trace.iter().position(|line| matches!(line.fact, Fact::Exit { .. })).unwrap();
    let mut line = trace.remove(exit);
    line.at = trace[found.starts[0]].at;
    trace.insert(found.starts[0] + 1, line);
    true
}

/// Between the start and the end of a run its node goes from the job, and comes back.
pub(crate) fn leave_a_job_while_running(trace: &mut Vec<Line>, dice: &mut Dice) -> bool {
    let Some(found) = pick(trace, dice, ran_plainly) else { return false };
    let (start, end) = (found.starts[0], found.ended.unwrap());
    let Fact::Start(probe) = trace[start].fact.clone() else { return false };
    let made = record(&mut trace[found.made]);
    let (job, session, index) = (made.job.clone(), made.session, made.index);
    let about = About::Instance(probe.instance);
    let gone = Mark { job, index, session, about, value: None, lives_with: None };
    let back = Mark { value: Some(String::new()), lives_with: Some(session), ..gone.clone() };
    for (line, mark) in [(end + 1, back), (start + 1, gone)] {
        let at = trace[line - 1].at;
        trace.insert(line, Line { at, fact: Fact::Mark(mark) });
    }
    true
}

pub(crate) fn lose_a_field(trace: &mut Vec<Line>, dice: &mut Dice) -> bool {
    let Some(found) = pick(trace, dice, |c| ran_plainly(c) && c.is_of_newer) else { return false };
    from_then_on(trace, found.closed.unwrap(), |record| record.unknown.clear());
    let closing = record(&mut trace[found.closed.unwrap()]);
    closing.old.as_mut().unwrap().unknown = vec!["later".to_owned()];
    true
}

pub(crate) fn run_a_newer_definition(trace: &mut Vec<Line>, dice: &mut Dice) -> bool {
    let guard = trace.iter().rev().find_map(|line| match &line.fact {
        Fact::Config(config) if config.job == "often" => Some(config.clone()),
        _ => None,
    });
    let old = guard.unwrap();
    let at = trace.iter().position(|line| line.at >= (90 + dice.roll(20)) * 1_000).unwrap();
    let (guard, index) = (Some(old.index), 1_000_000);
    let config = Config { guard, index, is_newer: true, ..old };
    trace.insert(at, Line { at: trace[at].at, fact: Fact::Config(config) });
    true
}
