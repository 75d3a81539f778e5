//! What one seed holds: which jobs, which faults, how often.

use crate::dice::Dice;
use crate::listening::{Listening, has_one};
use crate::manners::Manners;
use crate::mutants::Mutant;
use crate::scripts;
use flockwork_core::config::{
    CatchUp, JobConfig, Kept, OnSessionLoss, Overlap, Retry, RetryOn, Strategy,
};
use flockwork_core::execution::Work;
use flockwork_core::id::JobName;
use flockwork_core::schedule::{Cron, DstPolicy, Every, Schedule, Zone};
use flockwork_core::time::Timestamp;
use flockwork_layout::document;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// 2026-03-01T00:00:00Z: the wall clock starts within two months of it.
const EARLIEST: i64 = 1_772_323_200_000;
const TWO_MONTHS: u64 = 60 * 24 * 3_600_000;

/// How long everything is well before the end: milliseconds. Enough for sessions to end, back-offs
/// to pass, queues to drain, and a fire of each job.
const QUIET: u64 = 400_000;
/// The shortest life of a world: an hour.
const HOUR: u64 = 3_600_000;
/// How many runs a seed aims at, were nothing to go wrong.
const RUNS: u64 = 3_300;

/// All that a seed says before the first event.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// How many nodes.
    pub nodes: usize,
    /// The wall clock at the beginning.
    pub wall: i64,
    /// How far each node's wall clock is off at first, in milliseconds.
    pub skew: Vec<i64>,
    /// By how much each node's clocks run fast, in millionths.
    pub drift: Vec<i64>,
    /// Which nodes are of a newer release: they write fields that the others do not know.
    pub newer: Vec<bool>,
    /// The sessions' time-out.
    pub timeout: u64,
    /// How late the registry notices that a session is over.
    pub expiry_lag: u64,
    /// Whether the registry compares versions alone, which start again with a key made anew, as
    /// ZooKeeper does; otherwise whole stamps.
    pub versions_restart: bool,
    /// The longest ordinary delay of a message.
    pub latency: u64,
    /// How many runs a node has at a time.
    pub max_running: usize,
    /// The jobs.
    pub jobs: Vec<Workload>,
    /// How often what goes wrong.
    pub rates: Rates,
    /// ZooKeeper's servers, where the nodes talk to those in their own protocol.
    pub wire: Option<OnTheWire>,
    /// When all is healed.
    pub heal_at: u64,
    /// When it is over.
    pub over_at: u64,
    /// The mistake that is made on purpose, if any.
    pub mutant: Option<Mutant>,
    /// How many of its faults happen, the first ones; for finding the few that matter.
    pub most_strikes: usize,
}

/// How the servers are, in a seed whose nodes talk to ZooKeeper's.
#[derive(Clone, Debug)]
pub struct OnTheWire {
    /// How many.
    pub servers: usize,
    /// Their tick, in milliseconds.
    pub tick: u64,
    /// What keys lie below; empty or `/a/b`.
    pub root: String,
    /// To whom all nodes belong, if not to everybody.
    pub digest: Option<String>,
    /// Whether their events name the transaction, as of 3.9.
    pub tells_zxid: bool,
    /// When they are set up anew, before there is any job.
    pub resets_at: Option<u64>,
}

impl OnTheWire {
    /// Every fifth seed has them: bytes cost twice what messages do.
    fn draw(seed: u64, timeout: u64) -> Option<Self> {
        let mut dice = Dice::new(seed).split("wire", 0);
        (seed % 5 == 3).then(|| Self {
            servers: *dice.pick(&[1, 3, 3, 3]),
            tick: timeout / *dice.pick(&[2, 3, 5]),
            root: (*dice.pick(&["", "/apps", "/apps/of/one"])).to_owned(),
            digest: dice.chance(500).then(|| "flock:work".to_owned()),
            tells_zxid: dice.chance(500),
            resets_at: dice.chance(200).then(|| dice.between(8_000, 60_000)),
        })
    }
}

/// Chances of faults, drawn for each seed: some seeds have none of a kind, some have many.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rates {
    /// Mean milliseconds between crashes; 0 for none.
    pub crash: u64,
    /// ... orderly restarts.
    pub restart: u64,
    /// ... pauses.
    pub pause: u64,
    /// ... cuts of a link.
    pub cut: u64,
    /// ... slow phases of a link.
    pub slow: u64,
    /// ... what an operator does.
    pub operator: u64,
    /// ... jobs added, changed and removed.
    pub jobs: u64,
    /// ... clocks stepped.
    pub clock: u64,
    /// ... the registry going away.
    pub registry: u64,
    /// ... the registry's disk being full.
    pub full: u64,
    /// ... all nodes restarted one after the other.
    pub rolling: u64,
    /// ... changes told late, twice and in another order.
    pub jumble: u64,
    /// ... spells in which a host cannot start the script of a job.
    pub scripts: u64,
    /// Lost answers, in a thousand.
    pub lost_answer: u64,
}

/// A job and how its runs behave.
#[derive(Clone, Debug)]
pub struct Workload {
    /// The definition all nodes start with.
    pub config: Arc<JobConfig>,
    /// That definition as the registry holds it.
    pub document: Arc<str>,
    /// How often it is due, about.
    pub period: u64,
    /// Whether nodes that start offer to serve it.
    pub is_offered: bool,
    /// How its runs behave.
    pub manners: Manners,
    /// Its listener, where its definition says that it has one.
    pub listening: Listening,
}

impl Workload {
    /// How many runs it has in an hour, were nothing to go wrong.
    fn runs_an_hour(&self) -> u64 {
        let (schedule, shards) = (&self.config.schedule, u64::from(self.config.shards));
        let from = Timestamp::from_millis(EARLIEST);
        let next = |last: &Timestamp| schedule.next_after(*last, from);
        let due = std::iter::successors(next(&from), next).take(12);
        let Some(last) = due.last() else { return 0 };
        let period = last.since(from).as_millis().max(1) as u64 / 12;
        let mean = u64::midpoint(self.manners.shortest, self.manners.longest);
        HOUR * shards / period.max(mean)
    }

    /// Gives it another definition.
    pub(crate) fn redefine(&mut self, config: JobConfig) {
        self.document = document::encode(&config).into();
        self.config = Arc::new(config);
    }
}

impl Scenario {
    /// What a seed holds.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let root = Dice::new(seed);
        let mut dice = root.split("scenario", 0);
        // Most clusters are small: they cost less, and most of what can go wrong takes few.
        let nodes = *dice.pick(&[3, 3, 3, 4, 4, 5, 6, 7]);
        let jobs = match dice.below(6) {
            0..=2 => dice.between(5, 8),
            3 | 4 => dice.between(9, 14),
            _ => dice.between(15, 30),
        };
        let over_at = HOUR + dice.below(200_000);
        let skewed = dice.chance(300);
        let two_releases = dice.chance(300);
        let wall = EARLIEST + small(dice.below(TWO_MONTHS));
        let scripts = scripts::rate(&mut root.split("scripts", 0));
        let scenario = Self {
            nodes,
            wall,
            skew: drawn(&mut dice, nodes, |d| if skewed { small(d.below(400)) - 200 } else { 0 }),
            drift: drawn(&mut dice, nodes, |d| if skewed { small(d.below(600)) - 300 } else { 0 }),
            newer: drawn(&mut dice, nodes, |d| two_releases && d.chance(500)),
            timeout: *dice.pick(&[6_000, 10_000, 15_000, 30_000]),
            wire: None,
            expiry_lag: dice.below(500),
            versions_restart: root.split("versions", 0).chance(500),
            latency: *dice.pick(&[2, 5, 20, 80]),
            max_running: usize::try_from(dice.between(10, 40)).unwrap_or(10),
            jobs: workloads(&root, jobs, wall, scripts > 0),
            rates: Rates { scripts, ..rates(&mut root.split("rates", 0)) },
            heal_at: over_at - QUIET,
            over_at,
            mutant: None,
            most_strikes: usize::MAX,
        };
        Self { wire: OnTheWire::draw(seed, scenario.timeout), ..scenario }
    }
}

fn drawn<T>(dice: &mut Dice, count: usize, draw: impl Fn(&mut Dice) -> T) -> Vec<T> {
    (0..count).map(|_| draw(dice)).collect()
}

/// Jobs that together have about [`RUNS`] runs in an hour: the first makes up for what the others
/// lack.
fn workloads(root: &Dice, jobs: u64, wall: i64, has_scripts: bool) -> Vec<Workload> {
    let shards: Vec<u32> = (0..jobs).map(|at| shards(&mut root.split("shards", at))).collect();
    let period = HOUR * shards.iter().map(|n| u64::from(*n)).sum::<u64>() / RUNS;
    let drawn = |at: u64, shards: u32, period: u64| {
        let mut dice = root.split("job", at);
        let mut drawn = workload(&mut dice, at, shards, period.max(1_000), wall);
        if has_scripts {
            let mut config = (*drawn.config).clone();
            scripts::put_on(&mut config, &mut root.split("script", at), at);
            drawn.redefine(config);
        }
        drawn
    };
    let others = (1..).zip(&shards[1..]).map(|(at, shards)| {
        let tenths = *root.split("period", at).pick(&[8, 10, 12, 16]);
        drawn(at, *shards, period * tenths / 10)
    });
    let mut all: Vec<Workload> = others.collect();
    let of_others: u64 = all.iter().map(Workload::runs_an_hour).sum();
    let missing = RUNS.saturating_sub(of_others).max(RUNS / 4);
    let first = shards[0].max(2);
    all.insert(0, drawn(0, first, HOUR * u64::from(first) / missing));
    all
}

/// How many shards a job has; the first, which carries much of the load, has several.
fn shards(dice: &mut Dice) -> u32 {
    u32::try_from(*dice.pick(&[1, 1, 2, 2, 3, 4, 6])).unwrap_or(1)
}

/// A job that is added while the others run.
pub(crate) fn another(dice: &mut Dice, number: u64, wall: i64) -> Workload {
    let shards = shards(dice);
    let period = 1_000 * dice.between(20, 200);
    workload(dice, number, shards, period, wall)
}

fn small(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(0)
}

/// A mean interval for each kind: of some there are none, of some many.
fn rates(dice: &mut Dice) -> Rates {
    let mut every = |often: u64| match dice.below(4) {
        0 => 0,
        1 => often / 2,
        2 => often,
        _ => often * 2,
    };
    let rates = Rates {
        crash: every(240_000),
        restart: every(400_000),
        pause: every(240_000),
        cut: every(180_000),
        slow: every(300_000),
        operator: every(150_000),
        jobs: every(200_000),
        clock: every(400_000),
        registry: every(600_000),
        full: every(800_000),
        rolling: every(1_500_000),
        jumble: every(300_000),
        scripts: 0,
        lost_answer: 0,
    };
    // There is no seed in which nearly nothing goes wrong.
    let cut = if rates.crash == 0 || rates.cut == 0 { 90_000 } else { rates.cut };
    Rates { lost_answer: *dice.pick(&[0, 2, 10, 40]), cut, ..rates }
}

fn workload(dice: &mut Dice, number: u64, shards: u32, period: u64, wall: i64) -> Workload {
    // The first job has as much to do as several, so that no seed has too little.
    let is_steady = number == 0;
    let schedule = if is_steady { every(dice, period, wall) } else { schedule(dice, period, wall) };
    let overlap = match is_steady {
        true => Overlap::RunOnceAfter,
        false => *dice.pick(&[Overlap::RunOnceAfter, Overlap::Skip, Overlap::Queue]),
    };
    let longest = match overlap {
        // A queue that grows for ever never drains.
        Overlap::Queue => period / 2,
        _ if is_steady => period / 10,
        _ => *dice.pick(&[50, period / 4, period, period * 2]),
    };
    let timeout = dice.chance(500).then(|| Duration::from_millis(period * dice.between(1, 4)));
    let mut config = config(dice, number, schedule, overlap, timeout);
    config.shards = shards;
    // Drawn apart, so that what else a seed holds is the same with and without listeners.
    let mut apart = dice.split("listener", number);
    let has_listener = has_one(&mut apart, number);
    let listening = Listening::draw(&mut apart, period, overlap);
    if has_listener {
        listening.put_on(&mut config);
    }
    Workload {
        document: document::encode(&config).into(),
        config: Arc::new(config),
        period,
        is_offered: true,
        manners: Manners {
            shortest: 1 + longest / 10,
            longest: longest.clamp(20, 60_000),
            fails: *dice.pick(&[0, 0, 50, 300]),
            hangs: if timeout.is_some() && overlap != Overlap::Queue { dice.below(40) } else { 0 },
            stubborn: *dice.pick(&[0, 0, 300]),
        },
        listening,
    }
}

fn config(
    dice: &mut Dice,
    number: u64,
    schedule: Schedule,
    overlap: Overlap,
    timeout: Option<Duration>,
) -> JobConfig {
    let misfire = dice.chance(600);
    // What is caught up comes due at once; who skips what overlaps cannot ask for all of it.
    let skips = overlap == Overlap::Skip || !misfire;
    let catch_up = match *dice.pick(&[CatchUp::None, CatchUp::Latest, CatchUp::All]) {
        CatchUp::All if skips => CatchUp::Latest,
        catch_up => catch_up,
    };
    let failover = dice.chance(500);
    let times = *dice.pick(&[0, 0, 1, 3]);
    let backoff = Duration::from_millis(*dice.pick(&[10, 500, 3_000]));
    let on = *dice.pick(&[RetryOn::PreferOther, RetryOn::Other, RetryOn::Same]);
    let on_session_loss = match failover || times > 0 || dice.chance(200) {
        true if dice.chance(800) => OnSessionLoss::Stop,
        _ => OnSessionLoss::Finish,
    };
    JobConfig {
        name: JobName::new(&format!("job-{number}")).expect("letters and digits"),
        implementation: "SIMULATED".to_owned(),
        work: Arc::new(Work::Function),
        schedule,
        shards: 1,
        shard_parameters: BTreeMap::new(),
        job_parameter: String::new(),
        misfire,
        overlap,
        catch_up,
        failover,
        retry: Retry { times, backoff, on },
        timeout,
        claim_ahead: Duration::from_millis([0, 0, 300, 0, 2_000][number as usize % 5]),
        listener: None,
        on_session_loss,
        strategy: *dice.pick(&[
            Strategy::Sticky,
            Strategy::Sticky,
            Strategy::Average,
            Strategy::RoundRobin,
        ]),
        static_sharding: dice.chance(150),
        monitor_execution: true,
        // Beyond what clocks are set to here: nothing is held up, but notes are written and lost.
        max_time_difference: (number % 3 == 1).then_some(Duration::from_hours(48)),
        reconcile_interval: dice.chance(100).then_some(Duration::from_mins(5)),
        disabled: false,
        overwrite: false,
        description: String::new(),
        label: None,
        kept: Kept::default(),
    }
}

/// Cron expressions, and about how often they are due: milliseconds.
const CRON: [(&str, u64); 7] = [
    ("0/10 * * * * ?", 10_000),
    ("3,7,40 * * * * ?", 20_000),
    ("*/15 0/2 * * * ?", 30_000),
    ("0 * * * * ?", 60_000),
    ("30 1/2 * * * ?", 120_000),
    ("0 0/5 * * * ?", 300_000),
    ("0 0/20 * * * ?", 1_200_000),
];

/// A fixed rate, a cron expression or none; due about once in `period`.
pub(crate) fn schedule(dice: &mut Dice, period: u64, wall: i64) -> Schedule {
    match dice.below(10) {
        0 => Schedule::OnTrigger,
        1..=3 => {
            let fits = |(_, often): &&(&str, u64)| *often >= period * 2 / 3;
            let (expression, _) = CRON.iter().find(fits).unwrap_or(&CRON[6]);
            let zone = *dice.pick(&["UTC", "America/New_York", "Asia/Beirut"]);
            let zone = Zone::parse(zone).expect("a zone that the database has");
            let cron = Cron::parse(expression, &zone, DstPolicy::Quartz);
            Schedule::Cron(Arc::new(cron.expect("an expression that reads")))
        }
        _ => every(dice, period, wall),
    }
}

fn every(dice: &mut Dice, period: u64, wall: i64) -> Schedule {
    let anchor = Timestamp::from_millis(wall - small(dice.below(period)));
    Schedule::Every(Every { period_ms: period, anchor })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_says_the_same_each_time() {
        let shown = |seed| format!("{:?}", Scenario::draw(seed));
        assert_eq!(shown(5), shown(5));
        assert_ne!(shown(5), shown(6));
    }

    #[test]
    fn every_fifth_seed_is_on_the_wire_and_some_of_those_begin_with_a_reset() {
        let wires = (0..200).filter_map(|seed| Scenario::draw(seed).wire);
        let wires: Vec<_> = wires.collect();
        assert_eq!(wires.len(), 40);
        let some = |wanted: fn(&OnTheWire) -> bool| wires.iter().any(wanted);
        assert!(some(|wire| wire.resets_at.is_some()) && some(|wire| wire.resets_at.is_none()));
        assert!(some(|wire| wire.servers == 1) && some(|wire| wire.servers == 3));
        assert!(some(|wire| wire.digest.is_some() && !wire.root.is_empty()));
    }

    #[test]
    fn seeds_hold_jobs_of_every_shape() {
        let jobs: Vec<_> = (0..100).flat_map(|seed| Scenario::draw(seed).jobs).collect();
        let some = |wanted: fn(&JobConfig) -> bool| jobs.iter().any(|job| wanted(&job.config));
        assert!(some(|job| job.failover && job.retry.times == 0));
        assert!(some(|job| job.retry.times > 0 && job.retry.on == RetryOn::Other));
        assert!(some(|job| job.overlap == Overlap::Queue && job.catch_up == CatchUp::All));
        assert!(some(|job| matches!(job.schedule, Schedule::Cron(_)) && !job.misfire));
        assert!(some(|job| job.claim_ahead.is_zero()) && some(|job| !job.claim_ahead.is_zero()));
        assert!(some(|job| job.listener.is_some()));
        assert!(!some(|job| job.listener.is_some() && !job.claim_ahead.is_zero()));
        assert!(some(|job| job.on_session_loss == OnSessionLoss::Stop));
        assert!(jobs.iter().any(|job| job.manners.hangs > 0 && job.manners.stubborn > 0));
    }
}
