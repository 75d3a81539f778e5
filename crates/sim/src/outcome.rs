//! What is told of a seed: the verdicts, a hash of the trace, and what was reached.

use crate::queue::HostAt;
use crate::scenario::Scenario;
use crate::world::{Ended, Stopped, World};
use crate::{reached, trace_hash};
use flockwork_checker::story::Stories;
use flockwork_checker::trace::Line;
use flockwork_checker::{Verdict, judge_story};
use flockwork_node::Report;
use std::collections::BTreeMap;

/// A report of a node: when, which host, and what.
pub type Said = (u64, usize, String);

/// What happened how often.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Seeds whose nodes talked to ZooKeeper's servers in their protocol.
    pub on_the_wire: u64,
    /// User code started.
    pub runs: u64,
    /// User code ended.
    pub completed: u64,
    /// Faults that took effect.
    pub faults: u64,
    /// Lost answers to claims that were committed.
    pub lost_and_claimed: u64,
    /// Lost answers to claims that were not.
    pub lost_and_not_claimed: u64,
    /// Claims committed.
    pub claims: u64,
    /// Claims taken from an instance that was gone.
    pub takeovers: u64,
    /// Named states, and how often each was reached.
    pub reached: BTreeMap<&'static str, u64>,
}

impl Counts {
    /// A named state was reached.
    pub(crate) fn reach(&mut self, state: &'static str) {
        *self.reached.entry(state).or_default() += 1;
    }

    pub(crate) fn reach_if(&mut self, state: &'static str, is_so: bool) {
        if is_so {
            self.reach(state);
        }
    }

    pub(crate) fn lost_answer(&mut self, is_claim: bool, happened: bool) {
        if is_claim {
            self.lost_and_claimed += u64::from(happened);
            self.lost_and_not_claimed += u64::from(!happened);
        }
    }

    /// Counts what nodes say of states that leave no trace, and keeps it for people if asked to.
    pub(crate) fn report(
        &mut self,
        report: &Report,
        said: &mut Option<Vec<Said>>,
        (now, at): (u64, HostAt),
    ) {
        match report {
            Report::Superseded { .. } => self.reach("an end was superseded"),
            Report::Leading(_) => self.reach("a leader was elected"),
            Report::Overdue(_) => self.reach("a run did not stop when told to"),
            Report::Triggered { refused: Some(_), .. } => self.reach("a request was refused"),
            Report::SessionSuspended(_) => self.reach("a node was suspended"),
            Report::Serving { applied: true, .. } => self.reach("a definition was replaced"),
            _ => {}
        }
        if let Some(said) = said {
            said.push((now, at, format!("{report:?}")));
        }
    }

    /// Adds another seed's.
    pub fn add(&mut self, other: &Self) {
        self.on_the_wire += other.on_the_wire;
        self.runs += other.runs;
        self.completed += other.completed;
        self.faults += other.faults;
        self.lost_and_claimed += other.lost_and_claimed;
        self.lost_and_not_claimed += other.lost_and_not_claimed;
        self.claims += other.claims;
        self.takeovers += other.takeovers;
        for (state, times) in &other.reached {
            *self.reached.entry(state).or_default() += times;
        }
    }
}

/// What became of a seed.
#[derive(Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Each invariant's verdict.
    pub verdicts: Vec<(&'static str, Verdict)>,
    /// What happened how often.
    pub counts: Counts,
    /// The trace.
    pub trace: Vec<Line>,
    /// What nodes reported, if that was asked for.
    pub said: Vec<Said>,
}

impl Outcome {
    /// A hash of the whole trace.
    #[must_use]
    pub fn hash(&self) -> u64 {
        trace_hash(&self.trace)
    }

    /// Whether every invariant holds.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.verdicts.iter().all(|(_, verdict)| verdict.is_valid())
    }
}

/// Simulates one seed and judges it.
#[must_use]
pub fn run(seed: u64) -> Outcome {
    simulate(seed, false)
}

/// Simulates one seed, and keeps what nodes reported for people.
#[must_use]
pub fn replay(seed: u64) -> Outcome {
    simulate(seed, true)
}

fn simulate(seed: u64, keep_reports: bool) -> Outcome {
    run_scenario(seed, Scenario::draw(seed), keep_reports)
}

/// Simulates a scenario under a seed.
#[must_use]
pub fn run_scenario(seed: u64, scenario: Scenario, keep_reports: bool) -> Outcome {
    let on_the_wire = u64::from(scenario.wire.is_some());
    let world = World::new(seed, scenario, keep_reports);
    match world.run() {
        Ok(Ended { trace, mut counts, said }) => {
            let stories = Stories::read(&trace);
            counts.on_the_wire = on_the_wire;
            reached::count(&trace, &stories, &mut counts);
            let verdicts = judge_story(&trace, &stories);
            drop(stories);
            Outcome { seed, verdicts, counts, trace, said }
        }
        Err(stopped) => {
            let verdicts = vec![match stopped {
                Stopped::Runaway { at } => {
                    let why = format!("no end in sight at {at} ms: a node is spinning");
                    ("an end", Verdict::Unknown(why))
                }
                Stopped::Broken { at, why } => {
                    let why = format!("at {at} ms, {why}");
                    ("what holds between a node's parts", Verdict::Unknown(why))
                }
            }];
            let counts = Counts::default();
            Outcome { seed, verdicts, counts, trace: Vec::new(), said: Vec::new() }
        }
    }
}
