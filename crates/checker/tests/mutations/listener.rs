//! Ways to break a history of jobs that have a listener.

use crate::history::{Dice, LAST};
use crate::listened::listened;
use crate::{P5, P10, P12, P17, SEEDS, invalid};
use flockwork_checker::trace::{About, Call, Fact, Fire, Line, Mark, Part, Stage, StageChange};
use flockwork_checker::{Verdict, judge, p22_listener};

const P22: &str = p22_listener::NAME;

/// Where the parts of one fire stand.
#[derive(Clone)]
struct Found {
    fire: Fire,
    begins: Vec<usize>,
    returns: Vec<usize>,
    opened: Option<usize>,
    starts: Vec<usize>,
    ends: Vec<usize>,
    claims: Vec<usize>,
    afters: Vec<usize>,
    over: Vec<usize>,
    closed: Option<usize>,
}

impl Found {
    fn in_trace(trace: &[Line], job: &str, fire: &Fire) -> Self {
        let of = |wanted: &dyn Fn(&Fact) -> bool| {
            let lines = trace.iter().enumerate().filter(|(_, line)| wanted(&line.fact));
            lines.map(|(at, _)| at).collect::<Vec<usize>>()
        };
        let is = |call: &Call, part| call.job == job && call.fire == *fire && call.part == part;
        let running = |change: &StageChange| {
            change.job == job && change.stage.as_ref().and_then(Stage::running) == Some(fire)
        };
        let opened = of(&|fact| matches!(fact, Fact::Stage(change) if running(change)));
        let closed = of(&|fact| matches!(fact, Fact::Stage(change) if change.job == job));
        let last = opened.last().copied();
        Self {
            fire: fire.clone(),
            begins: of(&|fact| matches!(fact, Fact::CallBegins(call) if is(call, Part::Before))),
            returns: of(&|f| matches!(f, Fact::CallEnds { call, .. } if is(call, Part::Before))),
            opened: opened.first().copied(),
            starts: of(&|f| matches!(f, Fact::Start(p) if p.job == job && p.fire == *fire)),
            ends: of(
                &|f| matches!(f, Fact::End { probe: p, .. } if p.job == job && p.fire == *fire),
            ),
            claims: of(&|fact| match fact {
                Fact::Record(change) => {
                    let claim = change.new.as_ref().and_then(|new| new.claim.as_ref());
                    change.job == job && claim.is_some_and(|claim| claim.fire == *fire)
                }
                _ => false,
            }),
            afters: of(&|fact| matches!(fact, Fact::CallBegins(call) if is(call, Part::After))),
            over: of(&|f| matches!(f, Fact::CallEnds { call, .. } if is(call, Part::After))),
            closed: last.and_then(|last| closed.into_iter().find(|at| *at > last)),
        }
    }
}

/// The fires of a job, in their order.
fn fires(trace: &[Line], job: &str) -> Vec<Found> {
    let mut fires: Vec<&Fire> = trace
        .iter()
        .filter_map(|line| match &line.fact {
            Fact::CallBegins(call) if call.job == job => Some(&call.fire),
            _ => None,
        })
        .collect();
    fires.dedup();
    fires.into_iter().map(|fire| Found::in_trace(trace, job, fire)).collect()
}

fn pick(trace: &[Line], dice: &mut Dice, wanted: fn(&Found) -> bool) -> Option<Found> {
    let mut found = fires(trace, "kept");
    found.retain(wanted);
    let at = usize::try_from(dice.roll(found.len().max(1) as u64)).unwrap();
    (at < found.len()).then(|| found.swap_remove(at))
}

fn plain(found: &Found) -> bool {
    found.begins.len() == 1 && found.starts.len() == 2 && found.afters.len() == 1
}

/// Moves a line to stand right before another, with that one's time.
fn move_before(trace: &mut Vec<Line>, from: usize, to: usize) {
    let mut line = trace.remove(from);
    let to = if from < to { to - 1 } else { to };
    line.at = trace[to].at;
    trace.insert(to, line);
}

fn insert(trace: &mut Vec<Line>, at: usize, fact: Fact) {
    let line = Line { at: trace[at - 1].at, fact };
    trace.insert(at, line);
}

fn call_at(trace: &mut [Line], at: usize) -> &mut Call {
    match &mut trace[at].fact {
        Fact::CallBegins(call) | Fact::CallEnds { call, .. } => call,
        other => panic!("no call: {other:?}"),
    }
}

/// A whole call more, at a line.
fn call_again(trace: &mut Vec<Line>, like: usize, at: usize) {
    let call = call_at(trace, like).clone();
    let call = Call { attempt: call.attempt + 1, ..call };
    insert(trace, at, Fact::CallBegins(call.clone()));
    insert(trace, at + 1, Fact::CallEnds { call, code: "OK".into() });
}

fn drop_lines(trace: &mut Vec<Line>, mut lines: Vec<usize>) {
    lines.sort_unstable();
    for line in lines.into_iter().rev() {
        trace.remove(line);
    }
}

/// Breaks a history at one fire; none if there is no such fire.
type Mutation = fn(&mut Vec<Line>, &mut Dice) -> Option<()>;

/// Each with what the invariant says of it.
const MUTATIONS: [(&str, Mutation, &str); 18] = [
    ("a shard starts before before has ended", start_early, "had ended"),
    ("before is not called", never_called, "had ended"),
    ("before fails and shards run", run_failed, "had ended"),
    ("a fire is claimed before it is open", claim_unopened, "is not open"),
    ("after is called while a shard runs", after_too_early, "which shard"),
    ("a shard starts after after was called", start_after_after, "which shard"),
    ("a retry starts after after was called", forget_retry, "which shard"),
    ("a shard is run while its fire is being closed", run_when_closing, "after its after"),
    ("two calls go on at once", call_beside, "still goes on"),
    ("another than the leader calls", call_as_another, "leads"),
    ("a token goes back", old_token, "follows token"),
    ("before is called for an open fire", before_when_open, "is open"),
    ("before is called for a fire that is over", before_when_over, "was opened or passed"),
    ("after is called when that was written down", after_when_closed, "after was called for"),
    ("a call of before is counted as the one before it", same_attempt, "follows call"),
    ("before is called without end", fifth_attempt, "follows call"),
    ("after is never called", never_after, "After"),
    ("a call that ended is never written down", never_written, "Written"),
];

#[test]
fn a_correct_history_of_listeners_is_valid() {
    for seed in 0..SEEDS {
        for (name, verdict) in judge(&listened(seed)) {
            assert!(verdict.is_valid(), "seed {seed}, {name}: {verdict}");
        }
    }
}

#[test]
fn what_breaks_a_listeners_order_is_caught_by_its_invariant_and_by_no_other() {
    for (name, mutate, expected) in MUTATIONS {
        let mut applied = 0;
        for seed in 0..SEEDS {
            let mut trace = listened(seed);
            if mutate(&mut trace, &mut Dice(seed)).is_none() {
                continue;
            }
            applied += 1;
            assert_eq!(invalid(&trace), [P22], "{name}, seed {seed}");
            let said = judge(&trace).into_iter().find(|(of, _)| *of == P22).unwrap().1;
            let Verdict::Invalid(witness) = said else { panic!("{name}") };
            assert!(witness.what.contains(expected), "{name}, seed {seed}: {}", witness.what);
        }
        assert!(applied >= SEEDS / 2, "{name}: applied {applied} times of {SEEDS}");
    }
}

fn start_early(trace: &mut Vec<Line>, dice: &mut Dice) -> Option<()> {
    let found = pick(trace, dice, plain)?;
    let mut line = trace.remove(found.returns[0]);
    line.at = trace[found.starts[0] - 1].at;
    trace.insert(found.starts[0], line);
    Some(())
}

fn never_called(trace: &mut Vec<Line>, dice: &mut Dice) -> Option<()> {
    let found = pick(trace, dice, plain)?;
    drop_lines(trace, vec![found.begins[0], found.returns[0]]);
    Some(())
}

fn run_failed(trace: &mut Vec<Line>, dice: &mut Dice) -> Option<()> {
    let found = pick(trace, dice, plain)?;
    let Fact::CallEnds { code, .. } = &mut trace[found.returns[0]].fact else { return None };
    *code = "ERROR".to_owned();
    Some(())
}

/// Not even the leader, which may claim as it opens a fire, can know so early that it will.
fn claim_unopened(trace: &mut Vec<Line>, dice: &mut Dice) -> Option<()> {
    let found = pick(trace, dice, plain)?;
    move_before(trace, found.opened?, found.claims[0] + 1);
    move_before(trace, found.returns[0], found.claims[0]);
    Some(())
}

fn after_too_early(trace: &mut Vec<Line>, dice: &mut Dice) -> Option<()> {
    let found = pick(trace, dice, plain)?;
    move_before(trace, found.afters[0], found.ends[1]);
    Some(())
}

/// Between two shards of a fire.
fn start_after_after(trace: &mut Vec<Line>, dice: &mut Dice) -> Option<()> {
    let found = pick(trace, dice, plain)?;
    move_before(trace, found.afters[0], *found.claims.get(1)? + 1);
    Some(())
}

fn forget_retry(trace: &mut Vec<Line>, dice: &mut Dice) -> Option<()> {
    let found = pick(trace, dice, |it| it.starts.len() == 3)?;
    // The claim is released when the first run has ended.
    move_before(trace, found.afters[0], found.claims[1] + 1);
    Some(())
}

fn run_when_closing(trace: &mut Vec<Line>, dice: &mut Dice) -> Option<()> {
    let found = pick(trace, dice, plain)?;
    let second = found.claims[1];
    move_before(trace, found.afters[0], second);
    Some(())
}

fn call_beside(trace: &mut Vec<Line>, dice: &mut Dice) -> Option<()> {
    let found = pick(trace, dice, plain)?;
    call_again(trace, found.afters[0], found.afters[0] + 1);
    Some(())
}

fn call_as_another(trace: &mut Vec<Line>, dice: &mut Dice) -> Option<()> {
    let found = pick(trace, dice, plain)?;
    for line in [found.afters[0], found.over[0]] {
        call_at(trace, line).instance.push('0');
    }
    Some(())
}

fn old_token(trace: &mut Vec<Line>, dice: &mut Dice) -> Option<()> {
    let found = pick(trace, dice, plain)?;
    for line in [found.afters[0], found.over[0]] {
        call_at(trace, line).epoch = 1;
    }
    Some(())
}

fn before_when_open(trace: &mut Vec<Line>, dice: &mut Dice) -> Option<()> {
    let found = pick(trace, dice, plain)?;
    call_again(trace, found.begins[0], found.opened? + 1);
    Some(())
}

fn before_when_over(trace: &mut Vec<Line>, dice: &mut Dice) -> Option<()> {
    let found = pick(trace, dice, plain)?;
    call_again(trace, found.begins[0], found.closed? + 1);
    Some(())
}

fn after_when_closed(trace: &mut Vec<Line>, dice: &mut Dice) -> Option<()> {
    let found = pick(trace, dice, plain)?;
    call_again(trace, found.afters[0], found.closed? + 1);
    Some(())
}

fn same_attempt(trace: &mut Vec<Line>, dice: &mut Dice) -> Option<()> {
    let found = pick(trace, dice, |it| it.begins.len() == 2)?;
    for line in [found.begins[1], found.returns[0]] {
        call_at(trace, line).attempt = 1;
    }
    Some(())
}

fn fifth_attempt(trace: &mut Vec<Line>, dice: &mut Dice) -> Option<()> {
    let found = pick(trace, dice, plain)?;
    for line in [found.begins[0], found.returns[0]] {
        call_at(trace, line).attempt = 5;
    }
    Some(())
}

/// The last request's fire.
fn last(trace: &[Line]) -> Found {
    fires(trace, "called").pop().expect("something was asked for")
}

fn never_after(trace: &mut Vec<Line>, _: &mut Dice) -> Option<()> {
    let found = last(trace);
    drop_lines(trace, vec![found.afters[0], found.over[0], found.closed?]);
    Some(())
}

fn never_written(trace: &mut Vec<Line>, _: &mut Dice) -> Option<()> {
    let found = last(trace);
    drop_lines(trace, vec![found.closed?]);
    Some(())
}

/// All lines of the last request's fire from one on.
fn drop_from(trace: &mut Vec<Line>, from: usize) {
    let found = last(trace);
    let until = found.closed.unwrap();
    trace.drain(from..=until);
}

#[test]
fn what_waits_for_ever_is_found() {
    for seed in 0..SEEDS {
        let found = last(&listened(seed));
        let table = [
            (found.begins[0], "Request", "nobody opens it"),
            (found.begins[0] + 1, "not told to stop", "a call does not end"),
            (found.returns[0] + 1, "Written", "what a call ended as is not written"),
        ];
        for (from, expected, name) in table {
            let mut trace = listened(seed);
            drop_from(&mut trace, from);
            // Where it runs on the process that is told to stop, that leaves while it does.
            let broken: Vec<_> = invalid(&trace).into_iter().filter(|of| *of != P17).collect();
            assert_eq!(broken, [P22], "{name}, seed {seed}");
            let said = judge(&trace).into_iter().find(|(of, _)| *of == P22).unwrap().1;
            assert!(said.to_string().contains(expected), "{name}, seed {seed}: {said}");
        }
    }
}

#[test]
fn a_fire_that_is_due_and_that_nobody_calls_for_is_found() {
    let mut trace = listened(1);
    let found = fires(&trace, "kept").into_iter().find(|it| trace[it.begins[0]].at > 70_000);
    let begin = trace[found.unwrap().begins[0]].at;
    let is_later = |line: &Line| line.at >= begin && line.at < LAST * 1_000;
    trace.retain(|line| !is_later(line));
    let said = judge(&trace).into_iter().find(|(of, _)| *of == P22).unwrap().1;
    assert!(said.is_invalid() && said.to_string().contains("Fire("), "{said}");
}

#[test]
fn others_know_a_listeners_calls() {
    for seed in 0..SEEDS {
        let found = fires(&listened(seed), "kept").into_iter().rfind(plain).unwrap();
        let begun = found.begins[0];
        let changed = |change: &dyn Fn(&mut Vec<Line>)| {
            let mut trace = listened(seed);
            change(&mut trace);
            invalid(&trace)
        };
        let node = call_at(&mut listened(seed), begun).node;
        let distrusts = |trace: &mut Vec<Line>| insert(trace, begun, Fact::Distrust { node });
        assert_eq!(changed(&distrusts), [P10], "seed {seed}");
        let is_behind = |trace: &mut Vec<Line>| {
            let clock = |node| Fact::Clock { node, offset: -5_000, drift: 0 };
            (0..3).for_each(|node| trace.insert(0, Line { at: 0, fact: clock(node) }));
        };
        assert_eq!(changed(&is_behind), [P5], "seed {seed}");
        let stops = |trace: &mut Vec<Line>| {
            let drain = Fact::Drain { node };
            insert(trace, found.returns[0], drain);
            // It goes on when it was told to stop.
            for line in found.starts.iter().chain(&found.ends) {
                if let Fact::Start(probe) | Fact::End { probe, .. } = &mut trace[line + 1].fact {
                    probe.node = (node + 1) % 3;
                }
            }
        };
        assert_eq!(changed(&stops), [P17], "seed {seed}");
    }
}

#[test]
fn a_request_is_noted_for_the_whole_job_and_each_shard_runs_it() {
    for seed in 0..SEEDS {
        let mut trace = listened(seed);
        let found = last(&trace);
        // One shard has run it as if it had been another fire's turn.
        let other = Fire { due: found.fire.due + 1, source: "trigger".into() };
        for at in [found.claims[1], found.starts[1], found.ends[1], found.ends[1] + 1] {
            rename(&mut trace[at].fact, &found.fire, &other);
        }
        assert!(invalid(&trace).contains(&P12), "seed {seed}");
    }
}

fn rename(fact: &mut Fact, from: &Fire, to: &Fire) {
    let swap = |fire: &mut Fire| {
        if fire == from {
            *fire = to.clone();
        }
    };
    match fact {
        Fact::Start(probe) | Fact::End { probe, .. } => swap(&mut probe.fire),
        Fact::Record(change) => {
            for record in change.old.iter_mut().chain(change.new.iter_mut()) {
                record.claim.iter_mut().for_each(|claim| swap(&mut claim.fire));
                record.last.iter_mut().for_each(|last| swap(&mut last.fire));
            }
        }
        _ => {}
    }
}

#[test]
fn who_takes_a_request_away_has_noted_it() {
    for seed in 0..SEEDS {
        let mut trace = listened(seed);
        let asks = |line: &Line| match &line.fact {
            Fact::Mark(Mark { about: About::Trigger(id), value: Some(_), .. }) => Some(id.clone()),
            _ => None,
        };
        let owner = trace.iter().rev().find_map(|line| match &line.fact {
            Fact::Mark(Mark { about: About::Owner(_), value, .. }) => value.clone(),
            _ => None,
        });
        let Some(at) = trace.iter().rposition(|line| asks(line) == owner) else { continue };
        for line in &mut trace[at..] {
            if let Fact::Stage(change) = &mut line.fact {
                change.asked = 0;
            }
        }
        assert!(invalid(&trace).contains(&P12), "seed {seed}");
    }
}
