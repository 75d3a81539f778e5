//! One soak, from the first node to the verdict.

use crate::clock::{Steadiness, wall_millis};
use crate::dates::{self, Dated};
use crate::figures::{self, Figures};
use crate::fleet::Fleet;
use crate::gather::{Seen, gather};
use crate::registry::Which;
use crate::strikes::Strikes;
use crate::{jobs, probes};
use anyhow::{Context, Result, ensure};
use flockwork_checker::trace::Line;
use flockwork_checker::{Verdict, judge, timeline};
use flockwork_layout::keys::Namespace;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How many nodes there are.
const NODES: u32 = 3;

/// How many runs there must be before the first fault: all serve.
const WARM: u64 = 30;

/// How long that may take.
const WARMS_WITHIN: Duration = Duration::from_secs(90);

/// By how many milliseconds the wall clock may be set in a run: all is dated by it.
const STEADY: i64 = 20;

/// The jobs' namespace, which is what nodes take if nothing else is said.
const NAMESPACE: &str = "flockwork";

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// On which registry.
    pub registry: Which,
    /// How long faults go on.
    pub faulty: Duration,
    /// How often there is one.
    pub every: Duration,
    /// How long all is left alone after them.
    pub calm: Duration,
    /// After how long without a sign of life a node counts as gone.
    pub session: Duration,
    /// Decides which faults, when.
    pub seed: u64,
    /// The fewest runs that prove anything.
    pub least_runs: u64,
    /// The `flockwork` command.
    pub flockwork: PathBuf,
    /// Where everything is written.
    pub directory: PathBuf,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// All that was seen.
    pub trace: Vec<Line>,
    /// What the checker says.
    pub verdicts: Vec<(&'static str, Verdict)>,
    /// How well its commits are dated.
    pub dated: Dated,
    /// What it comes to.
    pub figures: Figures,
    /// What was done, with its proofs.
    pub strikes: Vec<String>,
    /// What should not have been, beside what the checker says.
    pub complaints: Vec<String>,
}

impl Outcome {
    /// Whether everything is as it should be.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.figures.is_well() && self.complaints.is_empty()
    }

    /// The verdicts, a line each, what is to be complained of, and the figures.
    #[must_use]
    pub fn report(&self) -> String {
        let mut text = String::new();
        for (name, verdict) in &self.verdicts {
            let _ = writeln!(text, "{name:<24} {verdict}");
        }
        for complaint in &self.complaints {
            let _ = writeln!(text, "complaint: {complaint}");
        }
        let _ = writeln!(text, "dates: {}", self.dated);
        let _ = write!(text, "{}", self.figures);
        text
    }

    /// Everything in order, for people.
    #[must_use]
    pub fn timeline(&self) -> String {
        let mut text = self.strikes.join("\n");
        text.push('\n');
        for (number, line) in self.trace.iter().enumerate() {
            if let Some(told) = timeline::told(line, None) {
                let _ = writeln!(
                    text,
                    "{number:>7} {:>7}.{:03} {told}",
                    line.at / 1_000,
                    line.at % 1_000
                );
            }
        }
        text
    }
}

/// Runs it, telling each fault as it is made.
///
/// # Errors
/// If it cannot be run to its end. What a run shows is no error, but its [`Outcome`].
pub fn run(plan: &Plan, tell: &mut dyn FnMut(&str)) -> Result<Outcome> {
    let least = plan.session + Duration::from_millis(figures::LEAST_CALM);
    ensure!(plan.calm >= least, "a calm of {:?} shows nothing, {least:?} do", plan.calm);
    std::fs::create_dir_all(&plan.directory)?;
    let directory = plan.directory.canonicalize()?;
    let script = probes::write_script(&directory)?;
    let written = directory.join("probes");
    let jobs = jobs::write(&directory, &script, &written)?;
    let registry = plan.registry.make(&directory, NODES, plan.session)?;
    let steady = Steadiness::now();
    let watch = probes::Watch::begin(&written)?;
    let places = (plan.flockwork.as_path(), directory.as_path());
    let mut fleet = Fleet::new(registry, places, jobs, (NODES, plan.session));
    fleet.start_all()?;
    warm(&watch)?;
    strike(plan, &mut fleet, tell)?;
    let healed = wall_millis();
    tell("healed");
    std::thread::sleep(plan.calm);
    let over = wall_millis();
    fleet.drain_all()?;
    let moved = steady.moved();
    ensure!(
        moved <= STEADY,
        "the wall clock was set by {moved} ms meanwhile; nothing can be dated"
    );
    let wrote = watch.end()?;
    let mut history = fleet.registry.history()?;
    let namespace = Namespace::new(NAMESPACE)?;
    let dated = dates::settle(&mut history, &wrote, &namespace);
    let diary = &fleet.diary;
    let seen =
        Seen { diary, history: &history, wrote: &wrote, namespace: &namespace, healed, over };
    let trace = gather(&seen)?;
    let mut verdicts = judge(&trace);
    dated.weigh(&mut verdicts);
    let mut figures = figures::count(&trace, &verdicts);
    figures.registry = fleet.registry.name().to_owned();
    figures.least_runs = plan.least_runs;
    figures.least_faults = faults(plan);
    let mut complaints = diary.complaints.clone();
    for (number, _, _, log) in &diary.processes {
        complaints.extend(alarming(log)?.map(|line| format!("node {number}: {line}")));
    }
    let strikes = diary.strikes.clone();
    Ok(Outcome { trace, verdicts, dated, figures, strikes, complaints })
}

fn warm(watch: &probes::Watch) -> Result<()> {
    let deadline = Instant::now() + WARMS_WITHIN;
    while watch.starts() < WARM {
        let starts = watch.starts();
        ensure!(Instant::now() < deadline, "only {starts} runs in {WARMS_WITHIN:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// How many faults there are to be: those that begin in time. One may take longer than the time
/// between two.
fn faults(plan: &Plan) -> u64 {
    let all = plan.faulty.as_millis() / plan.every.as_millis().max(1);
    u64::try_from(all * 2 / 3).unwrap_or(u64::MAX)
}

/// Makes faults, one each time it is due, until it is time to heal.
fn strike(plan: &Plan, fleet: &mut Fleet, tell: &mut dyn FnMut(&str)) -> Result<()> {
    let troubles = fleet.registry.troubles();
    let mut strikes = Strikes::new(plan.seed, troubles, plan.session, plan.every);
    let began = Instant::now();
    let mut next = began;
    while next < began + plan.faulty {
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        let strike = strikes.draw();
        let made = strikes.make(strike, fleet).with_context(|| format!("{strike:?}"))?;
        let line = format!("{:>5} s {strike:?}: {made}", next.duration_since(began).as_secs());
        tell(&line);
        fleet.diary.strikes.push(line);
        next = (next + plan.every).max(Instant::now());
    }
    Ok(())
}

/// What no log of a node may have, whatever is done to it: a panic, or an error by its own words.
fn alarming(log: &Path) -> Result<Option<String>> {
    let text = std::fs::read_to_string(log)?;
    let is_alarming =
        |line: &&str| line.contains("panicked at") || line.contains("\"level\":\"ERROR\"");
    Ok(text.lines().find(is_alarming).map(str::to_owned))
}
