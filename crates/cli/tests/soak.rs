//! The whole node, as processes, on real registries: the example in three of them, and a short soak
//! that the checker judges. `cargo xtask soak` runs the long ones.
#![allow(clippy::unwrap_used, reason = "a process that cannot be started is a failed test")]

use flockwork_checker::story::{How, Stories};
use flockwork_checker::trace::{Fact, Line};
use flockwork_checker::{Verdict, judge, p03_every_fire_accounted, p09_nothing_waits};
use flockwork_soak::fleet::Fleet;
use flockwork_soak::nodes::PATIENCE;
use flockwork_soak::registry::{Trouble, Which};
use flockwork_soak::soak::{Plan, run};
use flockwork_soak::{figures, jobs};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const FLOCKWORK: &str = env!("CARGO_BIN_EXE_flockwork");
const SESSION: Duration = Duration::from_secs(4);

/// Three nodes that serve the example, and what is asked of them.
struct Scene {
    fleet: Fleet,
    _directory: tempfile::TempDir,
}

impl Scene {
    fn on(which: Which) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().canonicalize().unwrap();
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
        for file in ["hello.yaml", "hello.sh"] {
            std::fs::copy(examples.join(file), at.join(file)).unwrap();
        }
        let jobs = jobs::read(&at.join("hello.yaml")).unwrap();
        let registry = which.make(&at, 3, SESSION).unwrap();
        let fleet = Fleet::new(registry, (Path::new(FLOCKWORK), &at), jobs, (3, SESSION));
        Self { fleet, _directory: directory }
    }

    /// Who owns each shard, as any of us may ask.
    fn owners(&self) -> Vec<String> {
        let flags = self.fleet.registry.flags(1);
        let mut command = Command::new(FLOCKWORK);
        command.args(["describe", "hello", "-o", "json"]).args(&flags[..2]).env_clear();
        let text = command.output().unwrap().stdout;
        let job: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
        let shards = job["shards"].as_array().cloned().unwrap_or_default();
        shards.iter().map(|shard| shard["owner"].as_str().unwrap_or_default().to_owned()).collect()
    }

    fn await_owners(&self, number: usize) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let owners = self.owners();
            let distinct: BTreeSet<&String> = owners.iter().filter(|o| !o.is_empty()).collect();
            if owners.len() == 4 && distinct.len() == number {
                return owners;
            }
            assert!(Instant::now() < deadline, "{number} should share the shards: {owners:?}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// The shards that start on these nodes from now on, until all four have.
    fn await_all_shards(&mut self, nodes: &[u32]) {
        let lines = |fleet: &mut Fleet, node| {
            let printed = fleet.node(node).unwrap().printed().unwrap();
            printed.lines().map(str::to_owned).collect::<Vec<_>>()
        };
        let before: Vec<usize> =
            nodes.iter().map(|node| lines(&mut self.fleet, *node).len()).collect();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut started = BTreeSet::new();
            for (node, before) in nodes.iter().zip(&before) {
                let fresh = lines(&mut self.fleet, *node).split_off(*before);
                let starts = fresh.iter().filter(|line| line.contains(" started "));
                started.extend(
                    starts.filter_map(|line| Some(line.split_whitespace().nth(2)?.to_owned())),
                );
            }
            if started.len() == 4 {
                return;
            }
            assert!(Instant::now() < deadline, "only {started:?} started on {nodes:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn the_example_is_shared_taken_over_and_left_in_order(which: Which) {
    let mut scene = Scene::on(which);
    scene.fleet.start_all().unwrap();
    let owners = scene.await_owners(3);
    scene.await_all_shards(&[1, 2, 3]);

    let killed = scene.fleet.node(2).unwrap().instance().to_owned();
    assert!(owners.contains(&killed), "{owners:?}");
    scene.fleet.kill(2).unwrap();
    let owners = scene.await_owners(2);
    assert!(!owners.contains(&killed), "{owners:?}");
    scene.await_all_shards(&[1, 3]);

    let troubles = scene.fleet.registry.troubles();
    let outage = if troubles.contains(&Trouble::Killed) { Trouble::Killed } else { Trouble::Still };
    scene.fleet.trouble(outage, 1, Duration::from_millis(1_500)).unwrap();
    scene.await_all_shards(&[1, 3]);

    scene.fleet.drain(3).unwrap();
    let last = scene.fleet.node(1).unwrap().instance().to_owned();
    assert_eq!(scene.await_owners(1), vec![last; 4]);
    scene.await_all_shards(&[1]);
    scene.fleet.drain(1).unwrap();
    assert_eq!(scene.fleet.diary.exits.len(), 2, "{:?}", scene.fleet.diary.complaints);
    assert_eq!(scene.fleet.diary.complaints, [""; 0]);
    assert_eq!(scene.fleet.registry.mortal_keys().unwrap(), 0, "something is still registered");
}

#[test]
fn on_zookeeper_the_example_is_shared_taken_over_and_left_in_order() {
    the_example_is_shared_taken_over_and_left_in_order(Which::ZooKeeper);
}

#[test]
fn on_etcd_the_example_is_shared_taken_over_and_left_in_order() {
    the_example_is_shared_taken_over_and_left_in_order(Which::Etcd);
}

#[test]
fn on_the_embedded_registry_the_example_is_shared_taken_over_and_left_in_order() {
    the_example_is_shared_taken_over_and_left_in_order(Which::Embedded);
}

/// How many fires are lost, doubled and stuck, and which invariants do not hold.
fn told(trace: &[Line]) -> (u64, u64, u64, Vec<&'static str>) {
    let verdicts = judge(trace);
    let figures = figures::count(trace, &verdicts);
    let broken = verdicts.into_iter().filter(|(_, verdict)| verdict.is_invalid());
    (figures.lost, figures.doubled, figures.stuck, broken.map(|(name, _)| name).collect())
}

#[test]
fn a_short_soak_loses_doubles_and_blocks_nothing_and_a_lie_in_its_trace_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let plan = Plan {
        registry: Which::ZooKeeper,
        faulty: Duration::from_secs(36),
        every: Duration::from_secs(8),
        calm: Duration::from_secs(30),
        session: SESSION,
        seed: 4,
        least_runs: 150,
        flockwork: FLOCKWORK.into(),
        directory: directory.path().to_owned(),
    };
    let outcome = run(&plan, &mut |_| ()).unwrap();
    assert!(outcome.is_well(), "{}\n{}", outcome.timeline(), outcome.report());
    let unseen = outcome.verdicts.iter().filter(|(_, v)| matches!(v, Verdict::Unknown(_)));
    let unknown: Vec<&str> = unseen.map(|(name, _)| *name).collect();
    // Its calm is too short to prove that one; the count of what is stuck does with less. And on a
    // busy host a run may time out before its code has written anything.
    let may_be = [p03_every_fire_accounted::NAME, p09_nothing_waits::NAME];
    assert!(unknown.iter().all(|name| may_be.contains(name)), "{unknown:?}");
    assert_eq!(told(&outcome.trace), (0, 0, 0, vec![]));

    for (what, lie, is_found) in LIES {
        let mut trace = outcome.trace.clone();
        assert!(lie(&mut trace), "{what}: there is nothing to lie about");
        let (lost, doubled, stuck, broken) = told(&trace);
        let found = is_found((lost, doubled, stuck));
        assert!(found && !broken.is_empty(), "{what}: {lost} {doubled} {stuck} {broken:?}");
    }
}

/// What is planted, how, and whether the counts of lost, doubled and stuck show it.
type Lie = (&'static str, fn(&mut Vec<Line>) -> bool, fn((u64, u64, u64)) -> bool);

const LIES: [Lie; 4] = [
    ("a job wrote nothing down", drop_a_run, |(lost, ..)| lost > 0),
    ("another instance ran the same", double_a_start, |(_, doubled, _)| doubled > 0),
    ("a shard's last fires are not accounted", stop_accounting, |(lost, ..)| lost > 0),
    ("a shard does not go on after the heal", stop_running, |(.., stuck)| stuck > 0),
];

/// The lines of a run that ended well, in the middle of the trace.
fn a_run(trace: &[Line]) -> Option<(usize, u64)> {
    let stories = Stories::read(trace);
    let mut claims = stories.shards.values().flat_map(|story| &story.claims);
    let claimed = claims.find(|claimed| {
        let is_ok = claimed.ended.is_some_and(|(_, code)| code == "OK");
        is_ok && claimed.closed.is_some_and(|closing| closing.how == How::Ended)
    })?;
    Some((*claimed.starts.first()?, claimed.epoch))
}

fn drop_a_run(trace: &mut Vec<Line>) -> bool {
    let Some((_, run)) = a_run(trace) else { return false };
    trace.retain(|line| match &line.fact {
        Fact::Start(probe) | Fact::End { probe, .. } => probe.epoch != run,
        _ => true,
    });
    true
}

fn double_a_start(trace: &mut Vec<Line>) -> bool {
    let Some((at, _)) = a_run(trace) else { return false };
    let mut line = trace[at].clone();
    let Fact::Start(probe) = &mut line.fact else { return false };
    probe.instance = "10.9.9.9@-@1-x".to_owned();
    trace.insert(at + 1, line);
    true
}

/// Takes a shard's changes from an instant on away, and what ran under them.
fn forget_from(trace: &mut Vec<Line>, from: u64) -> bool {
    let before = trace.len();
    trace.retain(|line| match &line.fact {
        _ if line.at < from => true,
        Fact::Record(change) => change.job != "steady" || change.shard != 0,
        Fact::Start(probe) | Fact::End { probe, .. } => probe.job != "steady" || probe.shard != 0,
        _ => true,
    });
    trace.len() < before
}

fn stop_accounting(trace: &mut Vec<Line>) -> bool {
    let over = trace.last().map_or(0, |line| line.at);
    forget_from(trace, over - 15_000)
}

fn stop_running(trace: &mut Vec<Line>) -> bool {
    let healed = trace.iter().find(|line| line.fact == Fact::Healed).map(|line| line.at);
    healed.is_some_and(|healed| forget_from(trace, healed))
}
