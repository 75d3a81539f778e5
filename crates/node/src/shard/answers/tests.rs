use super::*;
use crate::Report;
use crate::outbox::Purpose;
use crate::rig::{ME, OTHER, SESSION, at, instance};
use crate::shard::ask::Ask;
use crate::shard::scene::{CLAIMED, DUE, Scene, failed, shard, stage_of};
use flockwork_core::account::{Fate, Note, Reason, Span};
use flockwork_core::time::Mono;
use flockwork_registry::{Op, Why};
use std::time::Duration;

/// A shard whose claim was sent.
fn claiming(scene: &mut Scene) -> Shard {
    shard(State::Claiming(scene.first(DUE).unwrap()))
}

/// A shard of whose run's end the registry is being told.
fn ending(scene: &mut Scene) -> Shard {
    let claiming = scene.first(DUE).unwrap();
    let ended = scene.ends(claiming, failed());
    shard(State::Ending(scene.tells(ended)))
}

/// A shard whose claim is being given back.
fn giving_back(scene: &mut Scene) -> Shard {
    let mut shard = shard(State::Free);
    let standing = scene.standing(DUE);
    scene.act(|turn, _, _| shard.take_back(turn, standing));
    shard
}

/// A shard of which two fires are being accounted as skipped.
fn accounting(scene: &mut Scene) -> Shard {
    let keys = scene.keys();
    let span = Span { first: at(10_000), last: at(11_000), fires: 2 };
    let note = Note { fate: Fate::Skipped, reason: Reason::Disabled, span };
    let accounting = scene.act(|turn, _, mirror| {
        let stored = mirror.stored(0).unwrap();
        Accounting::of_fires(turn, (&keys, 0), mirror, stored, vec![note]).unwrap()
    });
    shard(State::Accounting(accounting))
}

/// The one change that was sent is answered.
fn answer(scene: &mut Scene, shard: &mut Shard, verdict: &Verdict) -> Option<News> {
    let change = scene.sent_one();
    let Purpose::Shard(_, 0, what) = change.purpose else { panic!("{change:?}") };
    scene.act(|turn, facts, mirror| shard.answered(turn, facts, mirror, (what, change, verdict)))
}

fn refused(facet: Facet) -> Verdict {
    Verdict::Refused(Why::Changed, Some(facet))
}

/// The stamp of the record as it is known.
fn record_stamp(scene: &Scene) -> Stamp {
    scene.mirror.record(0).and_then(|record| record.held()).unwrap().stamp
}

/// After how long a shard is looked at again.
fn looks_in(scene: &Scene, shard: &Shard) -> Option<Duration> {
    shard.reconsider_at.map(|at| at.since(scene.rig.now.mono))
}

#[test]
fn a_claim_stands_is_in_doubt_or_gives_its_place_back_by_its_answer() {
    let interval = Some(Duration::from_secs(60));
    let record = Facet::Record(0);
    let mark = Facet::Running(0);
    // The answer; the stage, what is read, and when the shard is looked at again.
    let table = [
        (Verdict::Done(CLAIMED), "Standing", vec![], None),
        (Verdict::Unknown, "Doubted", vec![record.clone()], None),
        (refused(mark.clone()), "Blocked", vec![record.clone(), mark], interval),
        (refused(Facet::Owner(0)), "Free", vec![Facet::Owner(0)], interval),
        (refused(Facet::Plan), "Free", vec![Facet::Plan], interval),
        (refused(record.clone()), "Free", vec![record.clone()], interval),
        (Verdict::Refused(Why::NoParent, None), "Free", vec![record], interval),
        (Verdict::TooLarge, "Free", vec![], None),
        (Verdict::SessionEnded(SESSION), "Free", vec![], Some(PAUSE)),
        (Verdict::NotTaken, "Free", vec![], Some(PAUSE)),
    ];
    for (verdict, rig, asked, looks) in table {
        let mut scene = Scene::new();
        let mut shard = claiming(&mut scene);
        assert_eq!(answer(&mut scene, &mut shard, &verdict), None);
        assert_eq!(stage_of(&shard), rig, "{verdict:?}");
        assert_eq!(scene.rig.asked(), asked, "{verdict:?}");
        assert_eq!(looks_in(&scene, &shard), looks, "{verdict:?}");
        let is_over = ["Free", "Blocked"].contains(&rig);
        assert_eq!(scene.rig.capacity.running() == 0, is_over, "{verdict:?}");
    }
}

#[test]
fn a_claim_refused_as_an_instance_is_gone_is_news_if_it_is_this_one() {
    for (gone, news) in [(ME, Some(News::ThisInstanceIsGone)), (OTHER, None)] {
        let verdict = refused(Facet::Instance(instance(gone)));
        let mut scene = Scene::new();
        let mut shard = claiming(&mut scene);
        assert_eq!(answer(&mut scene, &mut shard, &verdict), news);
        assert_eq!(scene.rig.asked(), [Facet::Instances, Facet::Record(0)]);
        let mut scene = Scene::new();
        let mut shard = accounting(&mut scene);
        assert_eq!(answer(&mut scene, &mut shard, &verdict), news);
        assert_eq!(scene.rig.asked(), [Facet::Record(0), Facet::Instances]);
    }
}

#[test]
fn a_claim_that_stands_is_what_the_record_holds_and_is_looked_at() {
    let mut scene = Scene::new();
    let mut shard = claiming(&mut scene);
    let run = shard.run_id().unwrap();
    answer(&mut scene, &mut shard, &Verdict::Done(CLAIMED));
    assert!(scene.mirror.stored(0).unwrap().record.is_held_by(&instance(ME), run.0));
    assert_eq!(record_stamp(&scene).modified, CLAIMED);
    assert_eq!(scene.rig.marked(), [0]);
}

#[test]
fn a_shard_refused_because_of_a_mark_is_blocked_until_that_is_gone() {
    let mut scene = Scene::new();
    let mut shard = claiming(&mut scene);
    answer(&mut scene, &mut shard, &refused(Facet::Running(0)));
    assert!(shard.is_busy() && shard.run_id().is_none());
    let gone = flockwork_registry::Answer::Entry(None);
    scene.act(|turn, _, mirror| shard.mark_read(turn, mirror, &gone));
    assert!(!shard.is_busy());
}

#[test]
fn a_request_that_a_claim_would_have_answered_is_open_if_that_comes_to_nothing() {
    for (verdict, ask) in [(Verdict::NotTaken, Ask::Open), (Verdict::Unknown, Ask::Claimed)] {
        let mut scene = Scene::new();
        let mut shard = Shard { ask: Ask::Claimed, ..claiming(&mut scene) };
        answer(&mut scene, &mut shard, &verdict);
        assert_eq!(shard.ask, ask, "{verdict:?}");
    }
}

#[test]
fn a_job_that_is_left_is_looked_at_once_a_run_of_it_is_over() {
    for goes in [true, false] {
        let mut scene = Scene::new();
        let mut shard = ending(&mut scene);
        let change = scene.sent_one();
        let verdict = Verdict::Done(Index(200));
        scene.act(|turn, facts, mirror| {
            let facts = Facts { goes, ..*facts };
            shard.end_answered(turn, &facts, mirror, (change, &verdict));
        });
        assert_eq!(scene.rig.is_job_marked(), goes);
    }
}

#[test]
fn an_answer_about_a_run_that_is_over_changes_nothing() {
    let run = RunId(999);
    for what in [ShardChange::Claim(run), ShardChange::End(run), ShardChange::Undo(run)] {
        let mut scene = Scene::new();
        let mut shard = claiming(&mut scene);
        let change = scene.sent_one();
        let verdict = Verdict::Unknown;
        scene.act(|turn, facts, mirror| {
            shard.answered(turn, facts, mirror, (what, change, &verdict))
        });
        assert_eq!((stage_of(&shard).as_str(), scene.rig.asked()), ("Claiming", vec![]));
    }
}

#[test]
fn an_end_is_known_superseded_in_doubt_or_told_again_by_its_answer() {
    let (record, mark) = (Facet::Record(0), Facet::Running(0));
    // The answer, whether another session has come by then; the stage, what is read, changes sent again.
    let table = [
        (Verdict::Done(Index(200)), false, "Free", vec![], 0),
        (refused(record.clone()), false, "Free", vec![record.clone(), mark.clone()], 0),
        (Verdict::TooLarge, false, "Free", vec![record.clone(), mark], 0),
        (Verdict::Unknown, false, "EndDoubted", vec![record], 0),
        (Verdict::SessionEnded(SESSION), false, "Ended", vec![], 0),
        (Verdict::SessionEnded(SESSION), true, "Ending", vec![], 1),
        (Verdict::NotTaken, false, "Ending", vec![], 1),
    ];
    for (verdict, is_another, rig, asked, sent) in table {
        let mut scene = Scene::new();
        let mut shard = ending(&mut scene);
        let run = shard.run_id().unwrap();
        if is_another {
            scene.another_session();
        }
        answer(&mut scene, &mut shard, &verdict);
        assert_eq!(stage_of(&shard), rig, "{verdict:?}");
        assert_eq!(scene.rig.asked(), asked, "{verdict:?}");
        let again = vec![Purpose::Shard(crate::names::JobIx(0), 0, ShardChange::End(run)); sent];
        assert_eq!(scene.rig.purposes(), again, "{verdict:?}");
        assert_eq!(scene.rig.capacity.whose(run).is_none(), rig == "Free", "{verdict:?}");
    }
}

#[test]
fn a_run_whose_shard_was_taken_meanwhile_is_reported_as_superseded() {
    let is_ended = |report: &Report| matches!(report, Report::Ended { .. });
    let is_superseded = |report: &Report| matches!(report, Report::Superseded { .. });
    for (verdict, ended, superseded) in [
        (Verdict::Done(Index(200)), 1, 0),
        (refused(Facet::Record(0)), 0, 1),
        (Verdict::Unknown, 0, 0),
    ] {
        let mut scene = Scene::new();
        let mut shard = ending(&mut scene);
        answer(&mut scene, &mut shard, &verdict);
        let reports = scene.rig.reports();
        assert_eq!(reports.iter().filter(|it| is_ended(it)).count(), ended, "{verdict:?}");
        assert_eq!(reports.iter().filter(|it| is_superseded(it)).count(), superseded);
    }
}

#[test]
fn an_end_that_was_made_is_what_the_record_holds() {
    let mut scene = Scene::new();
    let mut shard = ending(&mut scene);
    answer(&mut scene, &mut shard, &Verdict::Done(Index(200)));
    assert_eq!(record_stamp(&scene).modified, Index(200));
    let record = &scene.mirror.stored(0).unwrap().record;
    assert_eq!((record.claim.as_ref(), record.counts.failed), (None, 1));
    assert_eq!(shard.hold.map(|hold| hold.reason), Some(Reason::Overlap));
}

#[test]
fn a_claim_is_given_back_for_certain_before_the_shard_is_free() {
    let (record, mark) = (Facet::Record(0), Facet::Running(0));
    // The answer, whether another session has come by then; the stage, whether an answer is waited for,
    // what is read.
    let table = [
        (Verdict::Done(Index(200)), false, "Free", false, vec![]),
        (refused(record.clone()), false, "TakingBack", false, vec![record.clone()]),
        (Verdict::Unknown, false, "TakingBack", false, vec![record.clone()]),
        (Verdict::TooLarge, false, "Free", false, vec![record, mark]),
        (Verdict::SessionEnded(SESSION), false, "TakingBack", false, vec![]),
        (Verdict::SessionEnded(SESSION), true, "TakingBack", true, vec![]),
        (Verdict::NotTaken, false, "TakingBack", true, vec![]),
    ];
    for (verdict, is_another, rig, awaits, asked) in table {
        let mut scene = Scene::new();
        let mut shard = giving_back(&mut scene);
        if is_another {
            scene.another_session();
        }
        answer(&mut scene, &mut shard, &verdict);
        assert_eq!(stage_of(&shard), rig, "{verdict:?}");
        assert_eq!(scene.rig.asked(), asked, "{verdict:?}");
        assert_eq!(shard.awaited().is_some(), awaits, "{verdict:?}");
        assert_eq!(scene.rig.sent().len(), usize::from(awaits), "{verdict:?}");
        assert_eq!(scene.rig.capacity.running() == 0, rig == "Free", "{verdict:?}");
    }
}

#[test]
fn the_record_is_what_it_was_once_a_claim_was_given_back() {
    let mut scene = Scene::new();
    let before = scene.mirror.stored(0).unwrap();
    let mut shard = giving_back(&mut scene);
    let claimed = record_stamp(&scene);
    answer(&mut scene, &mut shard, &Verdict::Done(Index(200)));
    assert_eq!(scene.mirror.stored(0), Some(before));
    let written = Stamp { modified: Index(200), version: claimed.version + 1, ..claimed };
    assert_eq!((record_stamp(&scene), scene.rig.marked()), (written, vec![0]));
}

#[test]
fn an_account_that_was_not_made_reads_what_it_was_made_on() {
    let record = Facet::Record(0);
    let table = [
        (Verdict::TooLarge, vec![]),
        (refused(Facet::Plan), vec![record.clone(), Facet::Plan]),
        (refused(record.clone()), vec![record.clone()]),
        (Verdict::Unknown, vec![record.clone()]),
        (Verdict::SessionEnded(SESSION), vec![record.clone()]),
        (Verdict::NotTaken, vec![record]),
    ];
    for (verdict, asked) in table {
        let mut scene = Scene::new();
        let mut shard = accounting(&mut scene);
        assert_eq!(answer(&mut scene, &mut shard, &verdict), None);
        assert_eq!(stage_of(&shard), "Free", "{verdict:?}");
        assert_eq!(scene.rig.asked(), asked, "{verdict:?}");
        assert!(scene.rig.reports().is_empty(), "{verdict:?}");
    }
}

#[test]
fn an_account_that_was_made_is_told_and_ends_what_held_the_shard_up() {
    let mut scene = Scene::new();
    let mut shard = accounting(&mut scene);
    shard.held_up(at(10_000), Reason::Disabled);
    answer(&mut scene, &mut shard, &Verdict::Done(Index(200)));
    assert_eq!((stage_of(&shard).as_str(), shard.hold), ("Free", None));
    assert_eq!(record_stamp(&scene).modified, Index(200));
    assert_eq!(scene.mirror.stored(0).unwrap().record.watermark, at(11_000));
    assert!(matches!(&scene.rig.reports()[..], [Report::Accounted(it)] if it.fires == 2));
    assert_eq!((scene.rig.marked(), scene.rig.is_job_marked()), (vec![0], true));
}

#[test]
fn a_mark_that_was_taken_away_leaves_the_record_and_the_hold() {
    let mut scene = Scene::new();
    let before = record_stamp(&scene);
    let accounting = scene.act(|turn, _, mirror| {
        let op = Op::Delete(turn.key(&Facet::Running(0)), None);
        Accounting::of_mark(turn, 0, mirror.stored(0).unwrap(), op)
    });
    let mut shard = shard(State::Accounting(accounting));
    shard.held_up(at(10_000), Reason::Resharding);
    answer(&mut scene, &mut shard, &Verdict::Done(Index(200)));
    assert_eq!(record_stamp(&scene), before);
    assert_eq!(shard.hold.map(|hold| hold.reason), Some(Reason::Resharding));
    assert_eq!(scene.rig.marked(), [0]);
    assert_eq!(scene.rig.alarms.pop(Mono::from_millis(u64::MAX)), None);
}
