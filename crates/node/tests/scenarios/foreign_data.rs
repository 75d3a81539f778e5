//! What else may stand in the registry, by accident or by somebody's will: the catalogue's rows 109 to 122.
//! Whatever it is, the job beside goes on.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

use crate::world::{World, namespace};
use crate::{job, quick};
use flockwork_core::id::{InstanceId, JobName};
use flockwork_layout::keys::Facet;
use flockwork_node::Report;
use flockwork_registry::{Answer, Key, Op};
use std::path::Path;

/// How a row is tried.
enum Tried {
    Here(fn()),
    /// By a test in another file, below the folder of all crates.
    By(&'static str, &'static str),
    /// Not at all, and why.
    Not(&'static str),
}

use Tried::{By, Here, Not};

const ROWS: [(u32, &str, Tried); 14] = [
    (109, "a definition that is none", Here(definitions_that_are_none)),
    (110, "a definition with a wrong value", Here(definitions_with_a_wrong_value)),
    (111, "a definition of a newer release", Here(definitions_of_a_newer_release)),
    (
        112,
        "a definition that is deleted while its job runs",
        By(
            "cli/tests/nodes/main.rs",
            "runs_of_a_removed_job_are_told_as_cancelled_and_its_name_starts_anew",
        ),
    ),
    (113, "entries of instances that are none", Here(instances_that_are_none)),
    (114, "a leader that is none", Here(leaders_that_are_none)),
    (115, "shards of owners that are none", Here(owners_that_are_none)),
    (116, "a mark of a run whose session is gone", Here(a_mark_without_a_run)),
    (117, "marks of shards that are not there", Here(marks_of_no_shard)),
    (118, "a record that makes no sense", Here(records_that_make_no_sense)),
    (119, "a server that is neither on nor off", Here(a_server_neither_on_nor_off)),
    (120, "very many entries beside the jobs", Here(a_crowd_beside_the_jobs)),
    (
        121,
        "the root of another product",
        Not("the tree is ElasticJob's, whose root says nothing of whose it is"),
    ),
    (122, "what ElasticJob keeps and we do not", Here(what_elastic_job_keeps)),
];

#[test]
fn whatever_stands_in_the_registry_the_job_beside_goes_on() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for (at, (row, what, tried)) in (109..).zip(ROWS) {
        assert_eq!(row, at, "each row once, in its order");
        println!("{row}: {what}");
        match tried {
            Here(test) => test(),
            By(file, test) => {
                let text = std::fs::read_to_string(crates.join(file)).unwrap();
                assert!(text.contains(&format!("fn {test}(")), "{file} has no {test}");
            }
            Not(why) => println!("  not tried: {why}"),
        }
    }
}

fn key(facet: &Facet) -> Key {
    namespace().key(&JobName::new("j").unwrap(), facet)
}

/// A node with the job `j` of two shards and the job `k` beside it, both due each second, after two fires.
fn two_jobs() -> World {
    let mut world = World::new(quick);
    world.add(100);
    world.define(0, &job("j", 2));
    world.define(0, &job("k", 1));
    world.run_for(2_500);
    assert_eq!((ran(&world, "j"), ran(&world, "k")), (4, 2));
    world
}

fn ran(world: &World, name: &str) -> usize {
    (0..2).map(|shard| world.starts_of(name, shard).len()).sum()
}

fn done(world: &mut World, ops: Vec<Op>) {
    let answer = world.commit(ops);
    assert!(matches!(answer, Answer::Committed(_)), "{answer:?}");
}

/// Three more fires are due: how many runs of `j` they had. Those of `k` had theirs.
fn of_three_fires(world: &mut World) -> usize {
    let before = (ran(world, "j"), ran(world, "k"));
    world.run_for(3_000);
    assert_eq!(ran(world, "k") - before.1, 3, "the job beside goes on");
    ran(world, "j") - before.0
}

/// What was told of `j` under a code, or as a refusal.
fn told(world: &World, code: &str) -> usize {
    let is_it = |report: &Report| match report {
        Report::Refused { job, code: told, .. } => job.as_str() == "j" && *told == code,
        Report::Trouble { job: Some(job), code: told, .. } => job.as_str() == "j" && *told == code,
        _ => false,
    };
    world.reports.iter().filter(|(_, _, report)| is_it(report)).count()
}

fn refusals(world: &World) -> usize {
    let is_it = |report: &Report| matches!(report, Report::Refused { .. });
    world.reports.iter().filter(|(_, _, report)| is_it(report)).count()
}

/// Nothing of the job starts, it is told once, and nobody writes over what stands there. With the old
/// definition it goes on.
fn is_refused(value: &[u8]) {
    let shown = String::from_utf8_lossy(&value[..value.len().min(60)]).into_owned();
    let mut world = two_jobs();
    let at = key(&Facet::Config);
    let old = world.store.get(&at).unwrap().value.clone();
    done(&mut world, vec![Op::Set(at.clone(), value.to_vec().into(), None)]);
    assert_eq!(of_three_fires(&mut world), 0, "{shown:?}: the last good one is not used");
    assert_eq!(refusals(&world), 1, "{shown:?}");
    assert_eq!(world.store.get(&at).unwrap().value, value, "{shown:?}");
    done(&mut world, vec![Op::Set(at, old, None)]);
    assert_eq!(of_three_fires(&mut world), 6, "{shown:?}: put right");
}

fn definitions_that_are_none() {
    let gzip = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xab, 0xff];
    let large = vec![b'x'; 500_000];
    let values: [&[u8]; 10] = [
        b"",
        b" \n",
        b"null",
        b"[]",
        b"\"x\"",
        b"jobName: j\nshardingTotalCou",
        b"\x00\x01\xfe\x80",
        b"jobName: \"\xff\"",
        &gzip,
        &large,
    ];
    values.iter().for_each(|value| is_refused(value));
}

fn definitions_with_a_wrong_value() {
    for lines in [
        "cron: 61 * * * * ?\nshardingTotalCount: 2",
        "cron: '* * * * * ?'\nshardingTotalCount: -1",
        "cron: '* * * * * ?'\nshardingTotalCount: 2\nprops: {flockwork.timeout: soon}",
    ] {
        is_refused(format!("jobName: j\nmonitorExecution: true\n{lines}\n").as_bytes());
    }
}

fn definitions_of_a_newer_release() {
    for property in ["flockwork.schema: 99", "flockwork.overlap: backwards"] {
        let text = format!(
            "jobName: j\ncron: '* * * * * ?'\nshardingTotalCount: 2\nmonitorExecution: true\n\
             props: {{{property}}}\n"
        );
        is_refused(text.as_bytes());
    }
}

fn instances_that_are_none() {
    let mut world = two_jobs();
    let list = key(&Facet::Instances);
    for name in ["x", "@-@", "a@-@b@-@c", "999.1.1.1@-@1", "10.0.0.77@-@4711-9f3c"] {
        let at = Key::new(&format!("{list}/{name}")).unwrap();
        done(&mut world, vec![Op::create(at.clone(), "{\"kind\": 7}")]);
        done(&mut world, vec![Op::create(Key::new(&format!("{at}/below")).unwrap(), "")]);
    }
    assert_eq!(of_three_fires(&mut world), 6, "nothing is dealt to them");
}

/// A leader's entry lives with its session: one that does not is nobody's.
fn leaders_that_are_none() {
    let me = InstanceId::new("10.0.0.0@-@0-x").unwrap();
    for value in ["", "x", "\u{0}\u{1}", "10.0.0.9@-@9-gone", me.as_str()] {
        let mut world = two_jobs();
        let at = key(&Facet::Leader);
        done(
            &mut world,
            vec![Op::Delete(at.clone(), None), Op::create(at.clone(), value.to_owned())],
        );
        // A shard without an owner is dealt only if somebody leads.
        done(&mut world, vec![Op::Delete(key(&Facet::Owner(0)), None)]);
        assert_eq!(of_three_fires(&mut world), 6, "{value:?}");
        let leader = world.store.get(&at).unwrap();
        assert_eq!(
            (leader.value.as_ref(), leader.session.is_some()),
            (me.as_str().as_bytes(), true)
        );
        assert_eq!(told(&world, "LEADER_LASTS"), 1, "{value:?}");
    }
}

fn owners_that_are_none() {
    for value in ["", "x", "10.0.0.9@-@9-gone", "999.1.1.1@-@1"] {
        let mut world = two_jobs();
        done(&mut world, vec![Op::Set(key(&Facet::Owner(0)), value.to_owned().into(), None)]);
        let far = key(&Facet::Shard(70));
        done(
            &mut world,
            vec![Op::create(far, ""), Op::create(key(&Facet::Owner(70)), value.to_owned())],
        );
        assert_eq!(of_three_fires(&mut world), 6, "{value:?}");
        assert_eq!(told(&world, "NOT_READABLE"), usize::from(value.len() < 2), "{value:?}");
    }
}

/// A mark of an instance that is gone is taken away. Of one that names no instance nobody knows whose run it
/// tells of: its shard waits until it goes.
fn a_mark_without_a_run() {
    let marked = |value: &str| {
        let mut world = two_jobs();
        world.run_for(300);
        done(&mut world, vec![Op::create(key(&Facet::Running(0)), value.to_owned())]);
        world
    };
    assert!(of_three_fires(&mut marked("10.0.0.9@-@9-gone")) >= 5);
    let mut world = marked("x");
    assert_eq!(of_three_fires(&mut world), 3, "the other shard");
    done(&mut world, vec![Op::Delete(key(&Facet::Running(0)), None)]);
    world.run_for(6_000);
    assert_eq!(of_three_fires(&mut world), 6, "it has gone");
}

fn marks_of_no_shard() {
    let mut world = two_jobs();
    for shard in 100..400 {
        done(&mut world, vec![Op::create(key(&Facet::Shard(shard)), "")]);
        done(&mut world, vec![Op::create(key(&Facet::Disabled(shard)), "")]);
    }
    let me = InstanceId::new("10.0.0.9@-@9-gone").unwrap();
    done(&mut world, vec![Op::create(key(&Facet::Trigger(me)), "")]);
    assert_eq!(of_three_fires(&mut world), 6);
}

fn records_that_make_no_sense() {
    for value in ["", "x", "{\"claim\": {\"epoch\": -1}}", "[9223372036854775808]"] {
        let mut world = two_jobs();
        world.run_for(300);
        let at = key(&Facet::Record(0));
        let old = world.store.get(&at).unwrap().value.clone();
        done(&mut world, vec![Op::Set(at.clone(), value.to_owned().into(), None)]);
        world.run_for(1_000);
        assert_eq!(of_three_fires(&mut world), 3, "{value:?}: the other shard");
        assert_eq!(world.store.get(&at).unwrap().value, value, "nobody writes over it");
        assert_eq!(told(&world, "NOT_READABLE"), 1, "{value:?}");
        done(&mut world, vec![Op::Set(at, old, None)]);
        world.run_for(6_000);
        assert_eq!(of_three_fires(&mut world), 6, "{value:?}: put right");
    }
}

fn a_server_neither_on_nor_off() {
    let mut world = two_jobs();
    let at = key(&Facet::Server("10.0.0.0".to_owned()));
    done(&mut world, vec![Op::Set(at.clone(), "ENABLD".into(), None)]);
    assert_eq!(of_three_fires(&mut world), 0);
    done(&mut world, vec![Op::Set(at, "ENABLED".into(), None)]);
    assert_eq!(of_three_fires(&mut world), 6);
}

fn a_crowd_beside_the_jobs() {
    let mut world = World::new(quick);
    world.add(100);
    world.define(0, &job("j", 2));
    world.run_for(500);
    let root = key(&Facet::Job).parent().unwrap();
    for number in 0..20_000 {
        done(
            &mut world,
            vec![Op::create(Key::new(&format!("{root}/other-{number}")).unwrap(), "x")],
        );
    }
    world.define(0, &job("k", 1));
    world.run_for(2_000);
    assert_eq!(of_three_fires(&mut world), 6);
}

fn what_elastic_job_keeps() {
    let mut world = two_jobs();
    let root = key(&Facet::Job);
    for path in [
        "systemTime",
        "systemTime/current",
        "leader/failover",
        "leader/failover/latch",
        "leader/failover/items",
        "leader/failover/items/0",
        "leader/sharding/processing",
        "sharding/0/failovering",
        "sharding/0/misfire",
        "guarantee/started",
        "guarantee/started/0",
    ] {
        // Some of them are there already.
        world.commit(vec![Op::create(Key::new(&format!("{root}/{path}")).unwrap(), "")]);
    }
    assert_eq!(of_three_fires(&mut world), 6);
}
