use super::*;
use crate::names::JobIx;
use crate::outbox::Purpose;
use crate::rig::{ME, OTHER, Rig, at, entry, instance, stamp};
use crate::shard::scene::{DUE, Scene, fire, holding, released_to, shard, stage_of, theirs};
use flockwork_core::account::{Fate, Passed, Record};
use flockwork_layout::keys::Facet;
use flockwork_layout::plan::Plan;
use flockwork_registry::{Answer, Failure};

/// An instance that is gone.
const GONE: &str = "10.0.0.9@-@1-z";

/// What changes, by its name.
type Change = (&'static str, fn(&mut Scene));

fn consider(scene: &mut Scene, shard: &mut Shard) {
    scene.act(|turn, facts, mirror| shard.consider(turn, facts, mirror));
}

/// A record of which all fires before this instant are accounted.
fn accounted_before(due: i64) -> Record {
    Record { watermark: at(due - 1), ..Record::default() }
}

/// So many places are taken by runs of other shards.
fn runs_elsewhere(scene: &mut Scene, runs: usize) {
    for _ in 0..runs {
        let run = scene.rig.capacity.name_run();
        scene.rig.capacity.take(run, (JobIx(1), Some(0)));
    }
}

/// The claim that was sent, by what it claims.
fn claimed(shard: &Shard) -> Option<Fire> {
    shard.state.claim().map(|own| own.claim().fire)
}

fn server_of_this_instance() -> Facet {
    Facet::Server(instance(ME).server().to_owned())
}

/// The record was read in vain.
fn reads_in_vain(scene: &mut Scene) {
    let failed = Answer::Failed(Failure::Unknown(String::new()));
    let found = scene.act(|turn, _, mirror| mirror.answered(turn, &Facet::Record(0), failed));
    assert!(found.is_err());
}

#[test]
fn a_fire_that_is_due_is_claimed_once_all_is_known() {
    let table: [Change; 7] = [
        ("owner", |scene| scene.mirror.holds(Facet::Owner(0), Some(entry(OTHER, 2)))),
        ("owner unknown", |scene| scene.doubts(Facet::Owner(0))),
        ("plan unknown", |scene| scene.doubts(Facet::Plan)),
        ("switch unknown", |scene| scene.doubts(Facet::Disabled(0))),
        ("record unknown", |scene| scene.doubts(Facet::Record(0))),
        ("server unknown", |scene| scene.doubts(server_of_this_instance())),
        ("server off", |scene| {
            scene.mirror.holds(server_of_this_instance(), Some(entry("DISABLED", 2)));
        }),
    ];
    for (what, change) in table {
        let (mut scene, mut shard) = (Scene::new(), shard(State::Free));
        change(&mut scene);
        consider(&mut scene, &mut shard);
        assert_eq!(stage_of(&shard), "Free", "{what}");
        assert!(scene.rig.sent().is_empty(), "{what}");
    }
    let (mut scene, mut shard) = (Scene::new(), shard(State::Free));
    consider(&mut scene, &mut shard);
    let run = shard.run_id().unwrap();
    assert_eq!(scene.rig.purposes(), [Purpose::Shard(JobIx(0), 0, ShardChange::Claim(run))]);
    assert_eq!(claimed(&shard), Some(DUE));
}

#[test]
fn nothing_is_claimed_where_others_do_not_see_this_instance() {
    let (mut scene, mut shard) = (Scene::new(), shard(State::Free));
    scene.act(|turn, facts, mirror| {
        shard.consider(turn, &Facts { is_registered: false, ..*facts }, mirror);
    });
    assert!(!shard.is_busy());
}

#[test]
fn nothing_is_claimed_before_it_is_due() {
    let (mut scene, mut shard) = (Scene::new(), shard(State::Free));
    scene.stores(accounted_before(10_001));
    consider(&mut scene, &mut shard);
    assert!(!shard.is_busy() && scene.rig.sent().is_empty());
}

#[test]
fn an_unread_record_is_read_by_the_owner_and_by_whom_an_attempt_was_released_to() {
    // Whose the shard is, what the record held when last seen; whether it is read.
    let table = [
        (ME, None, true),
        (OTHER, None, false),
        (OTHER, Some(released_to(ME)), true),
        (OTHER, Some(released_to(OTHER)), false),
    ];
    for (owner, claim, is_read) in table {
        let (mut scene, mut shard) = (Scene::new(), shard(State::Free));
        scene.stores(holding(claim.clone()));
        scene.mirror.holds(Facet::Owner(0), Some(entry(owner, 2)));
        reads_in_vain(&mut scene);
        consider(&mut scene, &mut shard);
        assert_eq!(!scene.rig.asked().is_empty(), is_read, "{owner} {claim:?}");
    }
}

#[test]
fn what_comes_due_while_a_shard_is_off_is_skipped() {
    let (mut scene, mut shard) = (Scene::new(), shard(State::Free));
    shard.ask = Ask::Open;
    scene.mirror.holds(Facet::Disabled(0), Some(entry("", 1)));
    consider(&mut scene, &mut shard);
    let State::Accounting(accounting) = shard.leave_stage() else { panic!("{shard:?}") };
    let (stored, notes) = accounting.into_parts();
    assert_eq!((stored.record.counts.skipped, stored.record.watermark), (1, at(10_000)));
    assert_eq!(notes.iter().map(|note| note.reason).collect::<Vec<_>>(), [Reason::Disabled]);
    let hold = Hold { until: at(10_001), reason: Reason::Disabled };
    assert_eq!(shard.hold, Some(hold));
    // Nothing is due any more, and a request waits.
    scene.stores(accounted_before(10_001));
    consider(&mut scene, &mut shard);
    assert!(!shard.is_busy(), "it is not run while the shard is off");
}

#[test]
fn a_fire_waits_for_a_place_until_it_has_one_or_is_due_no_more() {
    let (mut scene, mut shard) = (Scene::new(), shard(State::Free));
    runs_elsewhere(&mut scene, 8);
    consider(&mut scene, &mut shard);
    assert_eq!((shard.waits_since(), shard.is_busy()), (Some(at(10_000)), false));
    assert_eq!(shard.status(&scene.mirror).waiting, Some(DUE));
    scene.stores(accounted_before(10_001));
    consider(&mut scene, &mut shard);
    assert_eq!((shard.waits_since(), scene.rig.capacity.waiting()), (None, 0));
}

#[test]
fn a_fire_lets_one_go_first_that_was_due_earlier() {
    let (mut scene, mut shard) = (Scene::new(), shard(State::Free));
    scene.rig.capacity.wait(at(9_000), (JobIx(1), 0));
    consider(&mut scene, &mut shard);
    assert_eq!(shard.waits_since(), Some(at(10_000)));
    scene.rig.capacity.wait_no_more(at(9_000), (JobIx(1), 0));
    assert_eq!(scene.rig.capacity.admit(), Some((JobIx(0), 0)));
    scene.act(|turn, _, _| shard.admitted(turn));
    assert_eq!((shard.waits_since(), scene.rig.marked()), (None, vec![0]));
    consider(&mut scene, &mut shard);
    assert_eq!((claimed(&shard), shard.waits_since()), (Some(DUE), None));
}

#[test]
fn a_request_is_a_fire_of_its_own_after_all_others_of_the_shard() {
    // When the last run was due; when the request is.
    for (last, due) in [(None, 10_000), (Some(8_000), 10_000), (Some(10_400), 10_401)] {
        let (mut scene, mut shard) = (Scene::new(), shard(State::Free));
        let mut record = accounted_before(10_001);
        record.last = last.map(|due| {
            let claim = Claim { fire: fire(due, Source::Trigger), ..theirs() };
            Arc::new(last::last(claim, "OK", "", at(due)))
        });
        scene.stores(record);
        shard.ask = Ask::Open;
        consider(&mut scene, &mut shard);
        assert_eq!(claimed(&shard), Some(fire(due, Source::Trigger)), "{last:?}");
        assert_eq!(shard.ask, Ask::Open, "it is answered as its run begins");
    }
}

#[test]
fn a_due_fire_goes_before_a_request() {
    let (mut scene, mut shard) = (Scene::new(), shard(State::Free));
    shard.ask = Ask::Open;
    consider(&mut scene, &mut shard);
    assert_eq!(claimed(&shard), Some(DUE));
}

#[test]
fn a_claim_in_the_record_comes_before_what_is_due() {
    // Whose claim it is; the stage then, and whether the run that crashed is taken.
    let table = [
        (theirs(), "Free", None),
        (Claim { instance: instance(GONE), ..theirs() }, "Claiming", Some(true)),
        (
            Claim { instance: instance(GONE), attempt: 9, crashes: 8, ..theirs() },
            "Accounting",
            Some(false),
        ),
        (released_to(ME), "Claiming", None),
    ];
    for (claim, rig, taken) in table {
        let mut scene = Scene::of(|config| config.failover = true);
        let mut shard = shard(State::Free);
        scene.stores(holding(Some(claim.clone())));
        consider(&mut scene, &mut shard);
        assert_eq!(stage_of(&shard), rig, "{claim:?}");
        let reports = scene.rig.reports();
        let found = reports.iter().find_map(|report| match report {
            Report::FoundCrashed { taken, instance, .. } => Some((*taken, instance.clone())),
            _ => None,
        });
        assert_eq!(found, taken.map(|taken| (taken, instance(GONE))), "{claim:?}");
        let closes = rig == "Accounting";
        assert_eq!(shard.hold.map(|hold| hold.reason), closes.then_some(Reason::Overlap));
    }
}

#[test]
fn the_mark_of_a_run_elsewhere_is_followed_and_looked_at_now_and_then() {
    let (mut scene, mut shard) = (Scene::new(), shard(State::Free));
    scene.stores(holding(Some(theirs())));
    consider(&mut scene, &mut shard);
    assert_eq!(scene.rig.asked(), [Facet::Running(0), Facet::Running(0)]);
    assert_eq!(shard.reconsider_at, Some(Mono::from_millis(70_000)));
}

#[test]
fn a_run_again_waits_for_a_place_and_one_that_is_to_come_for_room_to_spare() {
    let gone = |due, claimed| Claim {
        fire: fire(due, Source::Schedule),
        at: at(claimed),
        instance: instance(GONE),
        ..theirs()
    };
    // The claim, places that are taken of eight; the stage, since when it waits, when it is looked at.
    let table = [
        (gone(10_000, 10_000), 7, "Claiming", None, None),
        (gone(10_000, 10_000), 8, "Free", Some(at(10_000)), None),
        (gone(15_000, 9_000), 3, "Claiming", None, None),
        (gone(15_000, 9_000), 4, "Free", None, Some(15_000)),
        (gone(90_000, 9_000), 4, "Free", None, Some(20_000)),
        (gone(10_000, 9_000), 4, "Claiming", None, None),
    ];
    for (claim, running, rig, waits, looks) in table {
        let mut scene = Scene::of(|config| config.failover = true);
        let mut shard = shard(State::Free);
        scene.stores(holding(Some(claim.clone())));
        runs_elsewhere(&mut scene, running);
        consider(&mut scene, &mut shard);
        assert_eq!(stage_of(&shard), rig, "{claim:?} {running}");
        assert_eq!(shard.waits_since(), waits, "{claim:?} {running}");
        assert_eq!(shard.reconsider_at, looks.map(Mono::from_millis), "{claim:?} {running}");
    }
}

#[test]
fn a_fire_is_claimed_ahead_if_it_is_all_there_is_to_do() {
    // All before this is accounted, the fire; whether it is claimed at 10,000 ms.
    let table = [(10_001, 11_000, true), (10_001, 12_000, false), (10_000, 11_000, false)];
    for (before, due, is_claimed) in table {
        let (mut scene, mut shard) = (Scene::new(), shard(State::Free));
        scene.stores(accounted_before(before));
        scene.act(|turn, facts, mirror| shard.consider_ahead(turn, facts, mirror, at(due)));
        let wanted = is_claimed.then_some(fire(due, Source::Schedule));
        assert_eq!(claimed(&shard), wanted, "{before} {due}");
    }
}

#[test]
fn a_shard_may_be_claimed_ahead_where_nothing_else_wants_it_or_its_place() {
    let table: [Change; 6] = [
        ("another's", |scene| scene.mirror.holds(Facet::Owner(0), Some(entry(OTHER, 2)))),
        ("off", |scene| scene.mirror.holds(Facet::Disabled(0), Some(entry("", 1)))),
        ("switch unknown", |scene| scene.doubts(Facet::Disabled(0))),
        ("record unknown", |scene| scene.doubts(Facet::Record(0))),
        ("claimed", |scene| drop(scene.stores(holding(Some(theirs()))))),
        ("little room", |scene| runs_elsewhere(scene, 4)),
    ];
    let may = |scene: &mut Scene, shard: &Shard| {
        scene.act(|turn, facts, mirror| shard.may_be_claimed_ahead(turn, facts, mirror))
    };
    for (what, change) in table {
        let mut scene = Scene::new();
        assert!(may(&mut scene, &shard(State::Free)));
        change(&mut scene);
        assert!(!may(&mut scene, &shard(State::Free)), "{what}");
    }
    let mut scene = Scene::new();
    assert!(!may(&mut scene, &shard(State::Blocked)));
    assert!(!may(&mut scene, &Shard { ask: Ask::Open, ..shard(State::Free) }));
}

#[test]
fn a_request_is_refused_or_becomes_one_run_whatever_their_number() {
    let claiming = |scene: &mut Scene| State::Claiming(scene.first(DUE).unwrap());
    let running = |scene: &mut Scene| {
        let claiming = scene.first(DUE).unwrap();
        State::Running(scene.runs(claiming))
    };
    let free = |_: &mut Scene| State::Free;
    let (after, skip) = (Overlap::RunOnceAfter, Overlap::Skip);
    type Rig = fn(&mut Scene) -> State;
    // The stage, whether the shard is off, what the job says; why it is refused, what is asked then.
    let table: [(Rig, bool, Overlap, Option<&str>, Ask); 8] = [
        (free, false, after, None, Ask::Open),
        (free, false, skip, None, Ask::Open),
        (free, true, after, Some("DISABLED"), Ask::None),
        (claiming, false, after, None, Ask::Open),
        (claiming, false, skip, None, Ask::Claimed),
        (running, false, after, None, Ask::Open),
        (running, false, skip, Some("OVERLAP"), Ask::None),
        (running, true, skip, Some("DISABLED"), Ask::None),
    ];
    for (rig, is_off, overlap, refused, ask) in table {
        let mut scene = Scene::new();
        let mut shard = shard(rig(&mut scene));
        if is_off {
            scene.mirror.holds(Facet::Disabled(0), Some(entry("", 1)));
        }
        let row = format!("{} {is_off} {overlap:?}", stage_of(&shard));
        for _ in 0..2 {
            assert_eq!(shard.asked(&scene.mirror, overlap), refused, "{row}");
            assert_eq!(shard.ask, ask, "{row}");
        }
    }
}

#[test]
fn a_request_is_dropped_where_the_shard_is_known_to_be_anothers_or_off() {
    let table: [(Change, bool); 5] = [
        (("nothing", |_| {}), true),
        (("another's", |scene| scene.mirror.holds(Facet::Owner(0), Some(entry(OTHER, 2)))), false),
        (("nobody's", |scene| scene.mirror.holds(Facet::Owner(0), None)), false),
        (("owner unknown", |scene| scene.doubts(Facet::Owner(0))), true),
        (("off", |scene| scene.mirror.holds(Facet::Disabled(0), Some(entry("", 1)))), false),
    ];
    for ((what, change), is_open) in table {
        let mut scene = Scene::new();
        let mut shard = Shard { ask: Ask::Open, ..shard(State::Free) };
        change(&mut scene);
        assert_eq!(shard.is_still_asked(&scene.mirror, &instance(ME)), is_open, "{what}");
        assert_eq!(shard.ask.is_open(), is_open, "{what}");
    }
}

#[test]
fn a_look_that_comes_earlier_stands() {
    let mut scene = Scene::new();
    let mut shard = shard(State::Free);
    let reconsider = Alarm::Reconsider(JobIx(0), 0);
    for (millis, looks) in [(5_000, 15_000), (9_000, 15_000), (2_000, 12_000)] {
        scene.act(|turn, _, _| shard.reconsider_in(turn, Duration::from_millis(millis)));
        assert_eq!(shard.reconsider_at, Some(Mono::from_millis(looks)), "{millis}");
    }
    let mut alarm = |at| scene.rig.alarms.pop(Mono::from_millis(at));
    assert_eq!([alarm(11_999), alarm(12_000)], [None, Some(reconsider)]);
    assert_eq!([alarm(15_000), alarm(30_000)], [Some(reconsider), None]);
}

#[test]
fn a_session_that_is_back_held_up_what_did_not_run() {
    let by = |until, reason| Some(Hold { until: at(until), reason });
    let standing = |scene: &mut Scene| State::Standing(scene.standing(DUE));
    let free = |_: &mut Scene| State::Free;
    type Rig = fn(&mut Scene) -> State;
    // The stage, what held it up; what does once the session is back at 10,000 ms.
    let table: [(Rig, _, _); 4] = [
        (free, None, by(10_000, Reason::NoRegistry)),
        (free, by(9_999, Reason::Overlap), by(10_000, Reason::NoRegistry)),
        (free, by(10_001, Reason::Disabled), by(10_001, Reason::Disabled)),
        (standing, None, None),
    ];
    for (rig, before, hold) in table {
        let mut scene = Scene::new();
        let mut shard = Shard { hold: before, ..shard(rig(&mut scene)) };
        shard.session_is_back(at(10_000));
        assert_eq!(shard.hold, hold, "{before:?}");
    }
}

#[test]
fn a_clock_set_back_ends_what_held_a_shard_up_until_later() {
    for (until, now, wanted) in [(10_000, 4_000, 4_000), (3_000, 4_000, 3_000)] {
        let mut shard = shard(State::Free);
        shard.clock_was_set_back(at(now));
        assert_eq!(shard.hold, None);
        shard.held_up(at(until), Reason::Overlap);
        shard.clock_was_set_back(at(now));
        assert_eq!(shard.hold.map(|hold| hold.until), Some(at(wanted)));
    }
}

#[test]
fn nobody_waits_for_a_shard_of_a_job_that_was_removed() {
    let (mut scene, mut shard) = (Scene::new(), Shard { ask: Ask::Open, ..shard(State::Free) });
    runs_elsewhere(&mut scene, 8);
    consider(&mut scene, &mut shard);
    scene.act(|turn, _, _| shard.job_removed(turn));
    assert_eq!((scene.rig.capacity.waiting(), shard.ask), (0, Ask::None));
    assert_eq!(shard.record_is(), RecordIs::Others);
}

#[test]
fn a_status_tells_the_code_that_runs_and_what_was_last_seen() {
    let mut scene = Scene::new();
    let claiming = scene.first(DUE).unwrap();
    let running = scene.runs(claiming);
    let run = running.run().clone();
    let shard = Shard { last_code: Some("OK"), ran: 4, ..shard(State::Running(running)) };
    scene.doubts(Facet::Owner(0));
    let status = shard.status(&scene.mirror);
    assert_eq!((status.shard, status.owner, status.run), (0, Some(instance(ME)), Some(run)));
    assert_eq!((status.last, status.ran, status.waiting), (Some("OK"), 4, None));
    assert!(!status.is_overdue && !status.is_disabled);
    assert!(shard.has_started() && !shard.is_unsettled() && !shard.is_ahead());
}

#[test]
fn a_run_must_stop_with_its_session_if_the_job_says_so_and_nothing_else_must() {
    use flockwork_core::config::OnSessionLoss;
    for (loss, must) in [(OnSessionLoss::Stop, true), (OnSessionLoss::Finish, false)] {
        let mut scene = Scene::of(|config| config.on_session_loss = loss);
        let claimed = shard(State::Claiming(scene.first(DUE).unwrap()));
        assert_eq!(claimed.must_stop_without_session(), must);
        assert!(!shard(State::Free).must_stop_without_session());
    }
}

/// A shard of a job with a listener, whose fires up to 9,000 ms are accounted, looks at what is due.
fn by(gate: Gate, change: impl FnOnce(&mut Scene)) -> (String, Vec<crate::outbox::Change>) {
    let mut scene = Scene::new();
    change(&mut scene);
    let mut shard = shard(State::Free);
    scene.act(|turn, facts, mirror| {
        shard.consider(turn, &Facts { gate, ..*facts }, mirror);
    });
    (stage_of(&shard), scene.rig.sent())
}

#[test]
fn a_shard_of_a_job_with_a_listener_runs_only_the_fire_that_is_open() {
    let opened = stamp(4);
    let early = Fire { due: at(9_000), ..DUE };
    let asked = fire(9_500, Source::Trigger);
    let skipped =
        |reason| Passed { first: at(10_000), through: at(10_000), fate: Fate::Skipped, reason };
    let table = [
        (Gate::Shut, "Free"),
        // It was added since.
        (Gate::Open(DUE, 0, opened), "Free"),
        (Gate::Opening(DUE, opened), "Claiming"),
        (Gate::Open(DUE, 1, opened), "Claiming"),
        (Gate::Open(asked, 1, opened), "Claiming"),
        (Gate::Open(early, 1, opened), "Free"),
        (Gate::Passed(skipped(Reason::BeforeFailed)), "Accounting"),
    ];
    for (gate, stage) in table {
        let (stands, sent) = by(gate, |_| {});
        assert_eq!(stands, stage, "{gate:?}");
        let rig = Rig::new();
        let demanded = match gate {
            Gate::Open(..) => Some(Facet::Once),
            Gate::Opening(..) => Some(Facet::Leader),
            _ => None,
        };
        for facet in [Facet::Once, Facet::Leader] {
            let demands = sent.first().is_some_and(|change| rig.checked(change).contains(&facet));
            let is_claim = stage == "Claiming";
            assert_eq!(demands, is_claim && demanded == Some(facet), "{gate:?}");
        }
    }
}

#[test]
fn what_was_asked_for_is_run_once_and_not_by_a_shard_that_is_switched_off() {
    let asked = fire(9_500, Source::Trigger);
    let gate = Gate::Open(asked, 1, stamp(4));
    let off = |scene: &mut Scene| scene.mirror.holds(Facet::Disabled(0), Some(entry("", 2)));
    assert_eq!(by(gate, off).0, "Free");
    assert_eq!(by(Gate::Open(DUE, 1, stamp(4)), off).0, "Accounting", "it is skipped");
    let ran = |scene: &mut Scene| {
        let last = flockwork_core::account::Last {
            fire: asked,
            attempt: 1,
            instance: instance(ME),
            nonce: 1,
            started: at(9_500),
            ended: at(9_600),
            code: "OK".to_owned(),
            text: String::new(),
            output_tail: String::new(),
            rows: 0,
            bytes: 0,
        };
        scene.stores(Record { last: Some(Arc::new(last)), ..holding(None) });
    };
    assert_eq!(by(gate, ran).0, "Free");
}

#[test]
fn what_a_replaced_schedule_left_is_accounted_before_anything_else() {
    // The watermark; what is accounted of the schedule that was in force up to 9,500 ms, until when.
    for (watermark, last) in [(5_000, Some(8_000)), (9_000, None)] {
        let mut scene = Scene::new();
        let schedule = scene.mirror.schedule().clone();
        let old = Plan::new("every 2s".into(), 2, at(1_000));
        let plan = old.changed(schedule, 2, at(9_500));
        scene.mirror.holds(Facet::Plan, Some(entry(flockwork_layout::plan::encode(&plan), 7)));
        scene.stores(Record { watermark: at(watermark), ..Record::default() });
        let mut shard = shard(State::Free);
        consider(&mut scene, &mut shard);
        let stage = if last.is_some() { "Accounting" } else { "Claiming" };
        assert_eq!(stage_of(&shard), stage, "{watermark}");
        let change = scene.rig.sent_one();
        let written = change.ops.iter().find_map(|op| match op {
            flockwork_registry::Op::Set(key, value, _) if key.as_str().contains("records") => {
                flockwork_layout::record::decode(value).ok()
            }
            _ => None,
        });
        let record = written.expect("the record is written").record;
        let reasons: Vec<_> = record.notes.iter().map(|note| note.reason).collect();
        match last {
            Some(last) => {
                assert_eq!((reasons, record.watermark), (vec![Reason::ScheduleChanged], at(last)));
            }
            None => assert_eq!(reasons, []),
        }
    }
}
