//! Servers that have lost what they knew, and jobs that somebody removed: told apart.

use crate::world::{START, World, namespace};
use crate::{job, quick};
use flockwork_core::id::JobName;
use flockwork_layout::keys::Facet;
use flockwork_node::{Event, Report};
use flockwork_registry::{Event as Registry, Key, Op};

/// How a node comes to know.
#[derive(Clone, Copy, Debug)]
enum Told {
    ByTheRegistry,
    ByTheRoot,
}

/// The store is another one, and each node's session ends; what the nodes are told of that.
fn set_up_anew(world: &mut World, told: Told) {
    let seen = world.store.index();
    world.set_up_anew();
    if matches!(told, Told::ByTheRoot) {
        // Others have used it since: its indices are beyond what the nodes saw.
        while world.store.index() <= seen {
            world.commit(vec![Op::Set(Key::root(), "".into(), None)]);
        }
    }
    for n in 0..world.hosts.len() {
        if matches!(told, Told::ByTheRegistry) {
            world.step(n, Event::Registry(Registry::SetBack("they are behind".to_owned())));
        }
        world.begin_session(n);
    }
}

fn troubles(world: &World, n: usize) -> Vec<&str> {
    let trouble = |(_, of, report): &'_ (u64, usize, Report)| match report {
        Report::Trouble { code: "REGISTRY_LOST_DATA", .. } => *of == n,
        _ => false,
    };
    let told = world.reports.iter().filter(|report| trouble(report));
    told.map(|(_, _, report)| match report {
        Report::Trouble { text, .. } => text.as_str(),
        _ => "",
    })
    .collect()
}

#[test]
fn jobs_that_went_with_the_registrys_data_are_made_anew_and_told_by_name() {
    for told in [Told::ByTheRegistry, Told::ByTheRoot] {
        let mut world = World::new(quick);
        for n in 0..2 {
            world.add(100);
            world.define(n, &job("a", 2));
            world.define(n, &job("b", 1));
        }
        world.run_for(5_300);
        let before = world.starts.len();
        let lost_at = START + i64::try_from(world.now_ms).unwrap();
        set_up_anew(&mut world, told);
        world.run_for(7_000);
        assert!(world.starts.len() >= before + 3 * 5, "{told:?}: it goes on: {:?}", world.reports);
        for (name, shard) in [("a", 0), ("a", 1), ("b", 0)] {
            let mut dues: Vec<_> =
                world.starts_of(name, shard).iter().map(|run| run.fire.due).collect();
            let all = dues.len();
            dues.dedup();
            assert_eq!(dues.len(), all, "{told:?}: {name} {shard} runs each fire once");
            let record = world.record(name, shard).unwrap().record;
            let since = dues.iter().filter(|due| due.as_millis() > lost_at).count();
            let counts = record.counts;
            assert_eq!(
                (counts.ran, counts.missed, counts.misfired),
                (since as u64, 0, 0),
                "{told:?}"
            );
        }
        let all = [troubles(&world, 0), troubles(&world, 1)].concat();
        let losses = all.iter().filter(|text| text.contains("those that the registry alone knew"));
        assert_eq!(losses.count(), 2, "{told:?}: each node says so once: {all:#?}");
        let made: Vec<_> = all.iter().filter(|text| text.starts_with("made anew from")).collect();
        let named = |name: &str| {
            let names = |text: &&&str| {
                let (_, rest) = text.split_once(": ").unwrap();
                rest.split(';').next().unwrap().split(", ").any(|of| of == name)
            };
            made.iter().filter(|text| names(text)).count()
        };
        assert_eq!((named("a"), named("b")), (1, 1), "{told:?}: by whoever made it: {made:#?}");
        let left = |(_, _, report): &(u64, usize, Report)| matches!(report, Report::Left { .. });
        assert!(!world.reports.iter().any(left), "{told:?}: nobody removed anything");
    }
}

#[test]
fn a_job_that_is_removed_stays_removed_also_after_a_loss_and_under_a_new_session() {
    for loses in [false, true] {
        let mut world = World::new(quick);
        world.add(100);
        world.define(0, &job("a", 1));
        world.define(0, &job("b", 1));
        world.run_for(2_300);
        if loses {
            set_up_anew(&mut world, Told::ByTheRegistry);
            world.run_for(3_000);
        }
        let root = namespace().key(&JobName::new("a").unwrap(), &Facet::Job);
        // The node sees it under its next session at the earliest.
        world.sweep_unseen(0, &root);
        world.begin_session(0);
        let before = world.starts_of("a", 0).len();
        world.run_for(5_000);
        assert_eq!(world.starts_of("a", 0).len(), before, "loses {loses}");
        assert!(!world.store.entries().any(|(key, _)| key.as_str().starts_with(root.as_str())));
        assert!(world.starts_of("b", 0).len() >= 5);
    }
}

/// Somebody deletes all there is under the eyes of the nodes, whose sessions live on: no removal of a job
/// does that.
#[test]
fn a_namespace_that_is_deleted_as_a_whole_is_made_anew_and_a_removed_job_is_not() {
    let mut world = World::new(quick);
    for n in 0..2 {
        world.add(100);
        world.define(n, &job("a", 1));
        world.define(n, &job("b", 1));
    }
    world.run_for(2_300);
    world.sweep(&namespace().key(&JobName::new("a").unwrap(), &Facet::Job));
    world.run_for(3_000);
    assert_eq!(world.starts_of("a", 0).len(), 2, "it stays removed");
    assert!(troubles(&world, 0).is_empty());
    for root in [namespace().root(), namespace().own_root()] {
        world.sweep(&root);
    }
    let before = world.starts_of("b", 0).len();
    world.run_for(10_000);
    assert_eq!(world.starts_of("a", 0).len(), 2, "it was removed before");
    let since = world.starts_of("b", 0).len() - before;
    assert!(since >= 8, "{since}: {:?}", world.reports);
    let all = [troubles(&world, 0), troubles(&world, 1)].concat();
    assert!(all.iter().any(|text| text.contains("definitions: b;")), "{all:#?}");
}

/// A backup that knows one job and not the other.
#[test]
fn from_an_older_copy_only_what_it_lacks_is_made_anew() {
    let mut world = World::new(quick);
    world.add(100);
    world.define(0, &job("a", 1));
    world.run_for(2_300);
    let copy = world.copy();
    world.define(0, &job("b", 1));
    world.run_for(3_000);
    world.set_up_anew();
    world.restore(copy);
    world.step(0, Event::Registry(Registry::SetBack("they are behind".to_owned())));
    world.begin_session(0);
    world.run_for(7_000);
    let made = troubles(&world, 0);
    assert_eq!(made.len(), 2, "{made:#?}");
    assert!(made[1].contains("definitions: b; "), "{made:#?}");
    let last = |name: &str| world.starts_of(name, 0).last().unwrap().fire.due.as_millis() - START;
    assert_eq!((last("a"), last("b")), (12_000, 12_000));
}
