//! What one seed holds: which jobs, which faults, how often.

use crate::dice::Dice;
use flockwork_core::config::{
    CatchUp, JobConfig, Kept, OnSessionLoss, Overlap, Retry, RetryOn, Strategy,
};
use flockwork_core::execution::Work;
use flockwork_core::id::JobName;
use flockwork_core::schedule::{Cron, DstPolicy, Every, Schedule, Zone};
use flockwork_core::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// 2026-03-01T00:00:00Z: the wall clock starts within two months of it.
const EARLIEST: i64 = 1_772_323_200_000;
const TWO_MONTHS: u64 = 60 * 24 * 3_600_000;

/// How long everything is well before the end: milliseconds. Enough for sessions to end, back-offs
/// to pass, queues to drain, and a fire of each job.
const QUIET: u64 = 200_000;

/// All that a seed says before the first event.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// How many nodes.
    pub nodes: usize,
    /// The wall clock at the beginning.
    pub wall: i64,
    /// How far each node's wall clock is off, in milliseconds.
    pub skew: Vec<i64>,
    /// The sessions' time-out.
    pub timeout: u64,
    /// How late the registry notices that a session is over.
    pub expiry_lag: u64,
    /// The longest ordinary delay of a message.
    pub latency: u64,
    /// How many runs a node has at a time.
    pub max_running: usize,
    /// The jobs.
    pub jobs: Vec<Workload>,
    /// How often what goes wrong.
    pub rates: Rates,
    /// When all is healed.
    pub heal_at: u64,
    /// When it is over.
    pub over_at: u64,
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
    /// Lost answers, in a thousand.
    pub lost_answer: u64,
}

/// A job and how its runs behave.
#[derive(Clone, Debug)]
pub struct Workload {
    /// The definition all nodes start with.
    pub config: Arc<JobConfig>,
    /// The shortest run.
    pub shortest: u64,
    /// The longest run.
    pub longest: u64,
    /// Runs that fail, in a thousand.
    pub fails: u64,
    /// Runs that do not end by themselves, in a thousand.
    pub hangs: u64,
    /// Runs that do not stop when told to, in a thousand.
    pub stubborn: u64,
}

impl Scenario {
    /// What a seed holds.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let root = Dice::new(seed);
        let mut dice = root.split("scenario", 0);
        let nodes = 3;
        let jobs = dice.between(1, 8);
        let heal_at = dice.between(180, 600) * 1_000;
        let skewed = dice.chance(300);
        let wall = EARLIEST + i64::try_from(dice.below(TWO_MONTHS)).unwrap_or(0);
        Self {
            nodes,
            wall,
            skew: (0..nodes)
                .map(|_| if skewed { small(dice.below(400)) - 200 } else { 0 })
                .collect(),
            timeout: *dice.pick(&[3_000, 4_000, 10_000, 20_000]),
            expiry_lag: dice.below(500),
            latency: *dice.pick(&[2, 5, 20, 80]),
            max_running: usize::try_from(dice.between(2, 40)).unwrap_or(2),
            jobs: (0..jobs).map(|at| workload(&mut root.split("job", at), at, wall)).collect(),
            rates: rates(&mut root.split("rates", 0)),
            heal_at,
            over_at: heal_at + QUIET,
        }
    }
}

fn small(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(0)
}

fn rates(dice: &mut Dice) -> Rates {
    let mut every = |often: u64| match dice.below(4) {
        0 => 0,
        1 => often / 2,
        2 => often,
        _ => often * 3,
    };
    let rates = Rates {
        crash: every(60_000),
        restart: every(120_000),
        pause: every(60_000),
        cut: every(50_000),
        slow: every(60_000),
        operator: every(40_000),
        lost_answer: 0,
    };
    Rates { lost_answer: *dice.pick(&[0, 2, 10, 50]), ..rates }
}

fn workload(dice: &mut Dice, number: u64, wall: i64) -> Workload {
    let schedule = schedule(dice, wall);
    let period = match &schedule {
        Schedule::Every(every) => every.period_ms,
        _ => 10_000,
    };
    let overlap = *dice.pick(&[Overlap::RunOnceAfter, Overlap::Skip, Overlap::Queue]);
    let longest = match overlap {
        // A queue that grows for ever never drains.
        Overlap::Queue => period,
        _ => *dice.pick(&[50, period / 2, period * 2, period * 4]),
    };
    let timeout = dice.chance(500).then(|| Duration::from_millis(period * dice.between(1, 4)));
    let config = config(dice, number, schedule, overlap, timeout);
    Workload {
        config: Arc::new(config),
        shortest: 1 + longest / 10,
        longest: longest.clamp(20, 120_000),
        fails: *dice.pick(&[0, 0, 50, 300]),
        hangs: if timeout.is_some() && overlap != Overlap::Queue { dice.below(40) } else { 0 },
        stubborn: *dice.pick(&[0, 0, 300]),
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
        shards: u32::try_from(dice.between(1, 6)).unwrap_or(1),
        shard_parameters: BTreeMap::new(),
        job_parameter: String::new(),
        misfire,
        overlap,
        catch_up,
        failover,
        retry: Retry { times, backoff, on },
        timeout,
        on_session_loss,
        strategy: *dice.pick(&[Strategy::Sticky, Strategy::Sticky, Strategy::Average]),
        static_sharding: false,
        monitor_execution: true,
        max_time_difference: None,
        reconcile_interval: Some(Duration::from_secs(60)),
        disabled: false,
        overwrite: false,
        description: String::new(),
        label: None,
        kept: Kept::default(),
    }
}

/// A fixed rate, a cron expression or none.
pub(crate) fn schedule(dice: &mut Dice, wall: i64) -> Schedule {
    match dice.below(10) {
        0 => Schedule::OnTrigger,
        1..=3 => {
            let expression = *dice.pick(&[
                "0/2 * * * * ?",
                "0/10 * * * * ?",
                "3,7,40 * * * * ?",
                "0 * * * * ?",
                "*/15 0/2 * * * ?",
            ]);
            let zone = *dice.pick(&["UTC", "America/New_York", "Asia/Beirut"]);
            let zone = Zone::parse(zone).expect("a zone that the database has");
            let cron = Cron::parse(expression, &zone, DstPolicy::Quartz);
            Schedule::Cron(Arc::new(cron.expect("an expression that reads")))
        }
        _ => {
            let period_ms = *dice.pick(&[1_000, 2_000, 5_000, 7_300, 20_000, 60_000]);
            let anchor = Timestamp::from_millis(wall - small(dice.below(period_ms)));
            Schedule::Every(Every { period_ms, anchor })
        }
    }
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
    fn seeds_hold_jobs_of_every_shape() {
        let jobs: Vec<_> = (0..100).flat_map(|seed| Scenario::draw(seed).jobs).collect();
        let some = |wanted: fn(&JobConfig) -> bool| jobs.iter().any(|job| wanted(&job.config));
        assert!(some(|job| job.failover && job.retry.times == 0));
        assert!(some(|job| job.retry.times > 0 && job.retry.on == RetryOn::Other));
        assert!(some(|job| job.overlap == Overlap::Queue && job.catch_up == CatchUp::All));
        assert!(some(|job| matches!(job.schedule, Schedule::Cron(_)) && !job.misfire));
        assert!(some(|job| job.on_session_loss == OnSessionLoss::Stop));
        assert!(jobs.iter().any(|job| job.hangs > 0 && job.stubborn > 0));
    }
}
