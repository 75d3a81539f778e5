//! The whole node, as processes, on real registries: the example in three of them. What is judged
//! runs longer: `cargo xtask soak`.
#![allow(clippy::unwrap_used, reason = "a process that cannot be started is a failed test")]

use flockwork_soak::fleet::Fleet;
use flockwork_soak::jobs;
use flockwork_soak::nodes::PATIENCE;
use flockwork_soak::registry::{Trouble, Which};
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
