//! A registry that is not the one that was opened any more: nobody hears of what this node does.

use crate::job;
use crate::world::World;
use flockwork_core::config::{JobConfig, OnSessionLoss};
use flockwork_core::execution::{CancelReason, Ending, Run};
use flockwork_node::{Event, Report};
use flockwork_registry::Event as Registry;

fn a_while(_: &Run) -> (u64, Ending) {
    (3_000, Ending::Succeeded)
}

fn replaced() -> Event {
    Event::Registry(Registry::Replaced("it was deleted".to_owned()))
}

#[test]
fn what_runs_is_ended_as_with_its_session_and_nothing_is_started() {
    let mut world = World::new(a_while);
    world.add(100);
    world.define(0, &JobConfig { on_session_loss: OnSessionLoss::Stop, ..job("stop", 1) });
    world.define(0, &JobConfig { on_session_loss: OnSessionLoss::Finish, ..job("finish", 1) });
    world.run_for(1_500);
    assert_eq!(world.hosts[0].running.len(), 2);

    // What is claimed by then is in a registry that nobody knows.
    world.run_for(495);
    world.now_ms += 5;
    let _claims = world.step_held(0, Event::Wake);
    world.step(0, replaced());
    world.is_replaced = true;
    world.run_for(10_000);
    assert_eq!(world.starts.len(), 2);
    let endings: Vec<_> =
        world.ends.iter().map(|(_, _, run, ending)| (run.job.as_str(), ending)).collect();
    let lost = Ending::Cancelled(CancelReason::SessionLost);
    assert_eq!(endings, [("stop", &lost), ("finish", &Ending::Succeeded)]);
    let told = world.reports.iter().filter_map(|(_, _, report)| match report {
        Report::Trouble { code: "REGISTRY_REPLACED", text, .. } => Some(text.as_str()),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), ["it was deleted"]);
    let is_told_to_join =
        |(_, _, report): &(u64, usize, Report)| matches!(report, Report::SessionEnded(_));
    assert!(!world.reports.iter().any(is_told_to_join), "no session follows");
}
