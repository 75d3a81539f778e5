use super::*;
use crate::Report;
use crate::mirror::Unreadable;
use crate::outbox::{Purpose, ShardChange};
use crate::rig::{ME, OTHER, at, entry, instance, stamp};
use crate::shard::ask::Ask;
use crate::shard::scene::{
    CLAIMED, DUE, Scene, failed, fire, holding, released_to, shard, stage_of, theirs,
};
use flockwork_core::account::{Claim, Record};
use flockwork_core::execution::Source;
use flockwork_core::time::Mono;
use flockwork_registry::Failure;
use std::time::Duration;

/// An instance that is gone.
const GONE: &str = "10.0.0.9@-@1-z";

/// A stage that is in doubt, and the record as it would be if its last change was made.
type InDoubt = fn(&mut Scene) -> (Shard, Record);

/// A claim whose answer was lost.
fn doubted(scene: &mut Scene) -> (Shard, Record) {
    of_fire(scene, Source::Schedule)
}

fn of_fire(scene: &mut Scene, source: Source) -> (Shard, Record) {
    let claiming = scene.first(fire(10_000, source)).unwrap();
    scene.rig.sent();
    let record = claiming.claim().after().record.clone();
    (shard(State::Doubted(claiming)), record)
}

/// A claim that is given back, if the registry knows of it yet.
fn giving_back(scene: &mut Scene) -> (Shard, Record) {
    let standing = scene.standing(DUE);
    let record = standing.claim().after().record.clone();
    (shard(State::TakingBack(standing.take_back())), record)
}

/// A run's end whose answer was lost, and the record from before.
fn end_doubted(scene: &mut Scene) -> (Shard, Record) {
    let claiming = scene.first(DUE).unwrap();
    let held = claiming.claim().after().record.clone();
    let ended = scene.ends(claiming, failed());
    let ending = scene.tells(ended);
    scene.rig.sent();
    (shard(State::EndDoubted(ending)), held)
}

/// The record is read as this.
fn reads(scene: &mut Scene, shard: &mut Shard, record: Option<Record>) {
    match record {
        Some(record) => drop(scene.stores(record)),
        None => scene.mirror.holds(Facet::Record(0), None),
    }
    scene.act(|turn, facts, mirror| shard.record_read(turn, facts, mirror));
}

/// The record is one that this release cannot read.
fn reads_nonsense(scene: &mut Scene) {
    let answer = Answer::Entry(Some(entry("{}", 77)));
    let found = scene.act(|turn, _, mirror| mirror.answered(turn, &Facet::Record(0), answer));
    assert!(matches!(found, Err(Unreadable::NotUnderstood { .. })));
}

#[test]
fn what_a_lost_answer_meant_is_what_the_record_holds() {
    let theirs = || Some(holding(Some(theirs())));
    let table: [(InDoubt, &str, &str, &str); 3] = [
        (doubted, "Standing", "Free", "Free"),
        (giving_back, "TakingBack", "Free", "Free"),
        (end_doubted, "Ending", "Free", "Free"),
    ];
    for (in_doubt, held, others, absent) in table {
        let mut scene = Scene::new();
        let (mut shard, record) = in_doubt(&mut scene);
        reads(&mut scene, &mut shard, Some(record));
        assert_eq!(stage_of(&shard), held);
        for (record, rig) in [(theirs(), others), (None, absent)] {
            let mut scene = Scene::new();
            let (mut shard, _) = in_doubt(&mut scene);
            reads(&mut scene, &mut shard, record);
            assert_eq!(stage_of(&shard), rig);
            assert_eq!(scene.rig.capacity.running(), 0);
        }
    }
}

#[test]
fn a_claim_of_another_nonce_is_not_the_one_in_doubt() {
    let mut scene = Scene::new();
    let (mut shard, mut record) = doubted(&mut scene);
    record.claim.as_mut().unwrap().nonce += 1;
    reads(&mut scene, &mut shard, Some(record));
    assert_eq!(stage_of(&shard), "Free");
    assert_eq!(scene.rig.marked(), [0]);
}

#[test]
fn what_is_held_after_all_is_done_again() {
    let mut scene = Scene::new();
    let (mut shard, record) = giving_back(&mut scene);
    let run = shard.run_id().unwrap();
    reads(&mut scene, &mut shard, Some(record));
    let purpose = |what| Purpose::Shard(crate::names::JobIx(0), 0, what);
    assert_eq!(scene.rig.purposes(), [purpose(ShardChange::Undo(run))]);

    let mut scene = Scene::new();
    let (mut shard, record) = end_doubted(&mut scene);
    let run = shard.run_id().unwrap();
    reads(&mut scene, &mut shard, Some(record));
    assert_eq!(scene.rig.purposes(), [purpose(ShardChange::End(run))]);
}

#[test]
fn an_end_in_doubt_was_told_only_if_the_record_tells_of_this_very_run() {
    let is_ended = |report: &Report| matches!(report, Report::Ended { .. });
    // Whose run the record tells of, and its number relative to this one's; whether it was told.
    for (id, more, was_told) in [(ME, 0, true), (ME, 1, false), (OTHER, 0, false)] {
        let mut scene = Scene::new();
        let (mut shard, held) = end_doubted(&mut scene);
        let claim = held.claim.unwrap();
        let claim = Claim { instance: instance(id), nonce: claim.nonce + more, ..claim };
        let mut record = holding(None);
        record.last = Some(crate::shard::last::last(claim, "EXIT", "", at(10_000)).into());
        reads(&mut scene, &mut shard, Some(record));
        assert_eq!(stage_of(&shard), "Free");
        let reports = scene.rig.reports();
        assert_eq!(reports.len(), 1);
        assert_eq!(is_ended(&reports[0]), was_told, "{id} {more}");
        let asked = if was_told { vec![] } else { vec![Facet::Record(0), Facet::Running(0)] };
        assert_eq!(scene.rig.asked(), asked, "{id} {more}");
    }
}

#[test]
fn nothing_is_concluded_from_a_record_that_is_not_known() {
    let in_doubt: [(InDoubt, &str); 3] =
        [(doubted, "Doubted"), (giving_back, "TakingBack"), (end_doubted, "EndDoubted")];
    for (in_doubt, rig) in in_doubt {
        let mut scene = Scene::new();
        let (mut shard, _) = in_doubt(&mut scene);
        scene.doubts(Facet::Record(0));
        scene.act(|turn, facts, mirror| shard.record_read(turn, facts, mirror));
        assert_eq!(stage_of(&shard), rig);
    }
}

#[test]
fn a_run_goes_by_what_this_node_writes_and_a_free_shard_by_what_it_reads() {
    let mut scene = Scene::new();
    let claiming = scene.first(DUE).unwrap();
    let mut running = shard(State::Running(scene.runs(claiming)));
    reads(&mut scene, &mut running, Some(holding(Some(theirs()))));
    assert_eq!((stage_of(&running).as_str(), scene.rig.marked()), ("Running", vec![]));
    reads(&mut scene, &mut shard(State::Free), Some(holding(Some(theirs()))));
    assert_eq!(scene.rig.marked(), [0]);
}

#[test]
fn a_request_is_answered_if_its_claim_stood_and_open_if_it_never_did() {
    // How many triggers the record counts by then.
    for (triggered, ask, is_told) in [(1, Ask::None, true), (0, Ask::Open, false)] {
        let mut scene = Scene::new();
        let (shard, _) = of_fire(&mut scene, Source::Trigger);
        let mut shard = Shard { ask: Ask::Open, ..shard };
        let mut record = holding(None);
        record.counts.triggered = triggered;
        reads(&mut scene, &mut shard, Some(record));
        assert_eq!((stage_of(&shard).as_str(), shard.ask), ("Free", ask), "{triggered}");
        assert_eq!(scene.rig.is_job_marked(), is_told, "{triggered}");
    }
}

#[test]
fn what_was_in_doubt_in_a_record_that_makes_no_sense_is_over() {
    let free: InDoubt = |_| (shard(State::Free), Record::default());
    let standing: InDoubt = |scene| (shard(State::Standing(scene.standing(DUE))), holding(None));
    let table: [(InDoubt, &str); 5] = [
        (doubted, "Free"),
        (giving_back, "Free"),
        (end_doubted, "Free"),
        (free, "Free"),
        (standing, "Standing"),
    ];
    for (rig, wanted) in table {
        let mut scene = Scene::new();
        let (mut shard, _) = rig(&mut scene);
        let before = stage_of(&shard);
        scene.act(|turn, _, _| shard.place.wait(turn, 0, DUE));
        scene.act(|turn, facts, mirror| shard.record_not_understood(turn, facts, mirror));
        assert_eq!(stage_of(&shard), wanted, "{before}");
        assert_eq!(scene.rig.capacity.waiting(), 0, "{before}");
        let interval = scene.rig.now.mono.plus(Duration::from_secs(60));
        assert_eq!(shard.reconsider_at, Some(interval), "{before}");
        let is_superseded = |it: &Report| matches!(it, Report::Superseded { .. });
        let superseded = scene.rig.reports().iter().filter(|it| is_superseded(it)).count();
        assert_eq!(superseded, usize::from(before == "EndDoubted"), "{before}");
    }
}

#[test]
fn a_shard_that_became_this_nodes_was_held_up_by_that_and_reads_its_record() {
    let record = Facet::Record(0);
    // Whether it was this node's, whose it is now (none if unknown); what is read, whether it waits on.
    let table = [
        (false, Some(ME), vec![record], true),
        (true, Some(ME), vec![], true),
        (true, Some(OTHER), vec![], false),
        (false, Some(OTHER), vec![], false),
        (true, None, vec![], true),
    ];
    for (was_mine, owner, asked, waits) in table {
        let mut scene = Scene::new();
        match owner {
            Some(owner) => scene.mirror.holds(Facet::Owner(0), Some(entry(owner, 2))),
            None => scene.doubts(Facet::Owner(0)),
        }
        let mut shard = Shard { was_mine, ..shard(State::Free) };
        scene.act(|turn, _, mirror| {
            shard.place.wait(turn, 0, DUE);
            shard.owner_read(turn, mirror);
        });
        assert_eq!(shard.hold.is_some(), !asked.is_empty(), "{was_mine} {owner:?}");
        assert_eq!(scene.rig.asked(), asked, "{was_mine} {owner:?}");
        assert_eq!(shard.waits_since().is_some(), waits, "{was_mine} {owner:?}");
        assert_eq!(shard.was_mine, owner.map_or(was_mine, |owner| owner == ME));
    }
}

#[test]
fn a_mark_that_is_gone_frees_a_blocked_shard_and_its_record_is_read() {
    let gone = Answer::Entry(None);
    let mut scene = Scene::new();
    for (mut shard, rig, asked) in [
        (shard(State::Blocked), "Free", vec![Facet::Record(0)]),
        (shard(State::Standing(scene.standing(DUE))), "Standing", vec![]),
    ] {
        scene.act(|turn, _, mirror| shard.mark_read(turn, mirror, &gone));
        assert_eq!((stage_of(&shard).as_str(), scene.rig.asked()), (rig, asked));
    }
}

#[test]
fn a_mark_whose_read_gave_no_answer_is_read_again_soon() {
    let mut scene = Scene::new();
    let mut shard = shard(State::Blocked);
    let lost = Answer::Failed(Failure::Unknown(String::new()));
    scene.act(|turn, _, mirror| shard.mark_read(turn, mirror, &lost));
    assert_eq!(stage_of(&shard), "Blocked");
    assert_eq!(shard.reconsider_at, Some(Mono::from_millis(10_500)));
}

#[test]
fn a_mark_left_behind_is_taken_away_by_whoever_made_it_or_keeps_the_shard() {
    // Whose mark it is, whose claim the record holds, who owns the shard; whether it is taken away.
    let table = [
        (ME, None, ME, true),
        (ME, None, OTHER, true),
        (ME, Some(theirs()), ME, true),
        (GONE, None, ME, true),
        (GONE, None, OTHER, false),
        (GONE, Some(theirs()), ME, false),
        (OTHER, None, ME, false),
        ("nobody", None, ME, false),
    ];
    for (marked, claim, owner, is_removed) in table {
        for state in [State::Free, State::Blocked] {
            let mut scene = Scene::new();
            scene.stores(holding(claim.clone()));
            scene.mirror.holds(Facet::Owner(0), Some(entry(owner, 2)));
            let (mut shard, mark) = (shard(state), Answer::Entry(Some(entry(marked, 6))));
            let before = stage_of(&shard);
            scene.act(|turn, _, mirror| shard.mark_read(turn, mirror, &mark));
            let row = format!("{marked} {claim:?} {owner} {before}");
            if !is_removed {
                assert_eq!(stage_of(&shard), before, "{row}");
                assert_eq!(scene.rig.asked(), [Facet::Running(0), Facet::Running(0)], "{row}");
                assert!(shard.reconsider_at.is_some() && scene.rig.sent().is_empty(), "{row}");
                continue;
            }
            assert_eq!(stage_of(&shard), "Accounting", "{row}");
            let delete = Op::Delete(scene.keys().running, Some(stamp(6)));
            assert_eq!(scene.sent_one().ops, [delete], "{row}");
        }
    }
}

#[test]
fn a_mark_is_not_taken_away_while_the_record_is_not_known_or_a_run_is_under_way() {
    let mark = Answer::Entry(Some(entry(ME, 6)));
    let mut scene = Scene::new();
    let mut running = shard(State::Standing(scene.standing(DUE)));
    scene.act(|turn, _, mirror| running.mark_read(turn, mirror, &mark));
    assert_eq!((stage_of(&running).as_str(), scene.rig.sent().len()), ("Standing", 0));
    let mut free = shard(State::Free);
    scene.doubts(Facet::Record(0));
    scene.act(|turn, _, mirror| free.mark_read(turn, mirror, &mark));
    assert_eq!((stage_of(&free).as_str(), scene.rig.sent().len()), ("Free", 0));
    assert!(free.reconsider_at.is_some());
}

#[test]
fn a_look_reads_what_nobody_tells_of() {
    let (record, mark) = (Facet::Record(0), Facet::Running(0));
    // Whether the shard is blocked, what its record holds; what is read.
    let table = [
        (false, None, vec![]),
        (false, Some(theirs()), vec![record.clone()]),
        (false, Some(released_to(OTHER)), vec![record.clone()]),
        (false, Some(released_to(ME)), vec![]),
        (true, None, vec![mark.clone()]),
        (true, Some(theirs()), vec![record.clone(), mark]),
    ];
    for (is_blocked, claim, asked) in table {
        let mut scene = Scene::new();
        scene.stores(holding(claim.clone()));
        let mut shard = shard(if is_blocked { State::Blocked } else { State::Free });
        shard.reconsider_at = Some(scene.rig.now.mono);
        scene.act(|turn, _, mirror| shard.reconsider(turn, mirror));
        assert_eq!(scene.rig.asked(), asked, "{is_blocked} {claim:?}");
        assert_eq!(scene.rig.marked(), [0]);
    }
    let mut scene = Scene::new();
    let mut shard = shard(State::Free);
    reads_nonsense(&mut scene);
    shard.reconsider_at = Some(scene.rig.now.mono);
    scene.act(|turn, _, mirror| shard.reconsider(turn, mirror));
    assert_eq!(scene.rig.asked(), [record], "it is not watched");
}

#[test]
fn a_look_that_was_put_off_or_has_been_had_is_none() {
    let mut scene = Scene::new();
    let mut shard = shard(State::Blocked);
    shard.reconsider_at = Some(Mono::from_millis(10_001));
    for (passed, marked) in [(0, vec![]), (1, vec![0]), (1, vec![])] {
        scene.rig.pass(passed);
        scene.act(|turn, _, mirror| shard.reconsider(turn, mirror));
        assert_eq!(scene.rig.marked(), marked, "{passed}");
    }
}

#[test]
fn an_attempt_may_be_released_unseen_where_the_list_or_the_record_says_so() {
    // The shards that are listed, what the record holds.
    let table: [(&[&str], _, _); 5] = [
        (&[], None, false),
        (&["1"], None, false),
        (&["0", "1"], None, true),
        (&[], Some(released_to(OTHER)), true),
        (&[], Some(theirs()), false),
    ];
    for (listed, claim, wanted) in table {
        let mut scene = Scene::new();
        scene.mirror.lists(Facet::Retries, listed);
        scene.stores(holding(claim.clone()));
        let found = shard(State::Free).is_or_was_released(&scene.mirror);
        assert_eq!(found, wanted, "{listed:?} {claim:?}");
    }
}

#[test]
fn a_claim_that_stands_after_all_stands_under_the_records_stamp() {
    let mut scene = Scene::new();
    let (mut shard, record) = doubted(&mut scene);
    reads(&mut scene, &mut shard, Some(record));
    let held = scene.mirror.record(0).and_then(Slot::held).unwrap().stamp;
    assert_ne!(held.modified, CLAIMED);
    let State::Standing(standing) = shard.state else { panic!("{shard:?}") };
    assert_eq!(standing.into_parts().1, held);
    assert_eq!(scene.rig.marked(), [0]);
}
