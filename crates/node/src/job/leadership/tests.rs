use super::*;
use crate::mirror::Slot;
use crate::names::JobIx;
use crate::outbox::{Outbox, Purpose};
use crate::rig::{ME, OTHER, Rig, SESSION, at, config, entry, instance, mirror, stamp};
use flockwork_registry::{Entry, Limits, SessionId, Why};
use std::sync::Arc;

const DONE: Verdict = Verdict::Done(Index(9));

fn shards(count: u32) -> Arc<JobConfig> {
    config(&format!("shardingTotalCount: {count}\nprops:\n  flockwork.every: 1s"))
}

fn server(id: &str) -> Facet {
    Facet::Server(instance(id).server().to_owned())
}

fn led_by(id: &'static str, session: SessionId) -> Option<Entry> {
    Some(Entry { session: Some(session), ..entry(id, 2) })
}

/// A job of two shards that this instance leads and serves alone; nothing is to be dealt.
fn leading() -> (Rig, Mirror, Arc<JobConfig>) {
    let (mut rig, config) = (Rig::new(), shards(2));
    let mut mirror = mirror(&mut rig, &config);
    mirror.lists(Facet::Instances, &[ME]);
    mirror.lists(Facet::Sharding, &["0", "1"]);
    mirror.holds(Facet::Leader, led_by(ME, SESSION));
    mirror.holds(Facet::Necessary, None);
    (rig, mirror, config)
}

/// The same, and a new assignment is asked for.
fn asked_for() -> (Rig, Mirror, Arc<JobConfig>) {
    let (rig, mut mirror, config) = leading();
    mirror.holds(Facet::Necessary, Some(entry("", 3)));
    (rig, mirror, config)
}

fn reconcile(rig: &mut Rig, mirror: &mut Mirror, config: &JobConfig) -> Option<Change> {
    Leadership::default().reconcile(&mut rig.turn(), mirror, config);
    rig.sent().pop()
}

/// Whom the shards go to.
fn given(rig: &Rig, change: &Change) -> Vec<(ShardIndex, String)> {
    let parse = |op: &Op| match (rig.settings.namespace.parse(op.key())?.1, op) {
        (Facet::Owner(shard), Op::Create { value, .. } | Op::Set(_, value, _)) => {
            Some((shard, String::from_utf8_lossy(value).into_owned()))
        }
        _ => None,
    };
    change.ops.iter().filter_map(parse).collect()
}

fn plan_of(change: &Change) -> Plan {
    let (Op::Set(_, value, _) | Op::Create { value, .. }) = &change.ops[1] else {
        panic!("{change:?}")
    };
    plan::decode(value).unwrap()
}

#[test]
fn whoever_is_switched_on_stands_where_nobody_leads() {
    for (leader, status, stands) in [
        (None, Some("ENABLED"), true),
        (None, Some("DISABLED"), false),
        (None, None, false),
        (Some(OTHER), Some("ENABLED"), false),
    ] {
        let (mut rig, mut mirror, config) = leading();
        mirror.holds(Facet::Leader, leader.and_then(|id| led_by(id, SessionId(8))));
        mirror.holds(server(ME), status.map(|status| entry(status, 5)));
        let mut leadership = Leadership::default();
        for _ in 0..2 {
            leadership.reconcile(&mut rig.turn(), &mut mirror, &config);
        }
        let sent = rig.sent();
        assert_eq!(sent.len(), usize::from(stands), "{leader:?} {status:?}");
        for change in sent {
            assert_eq!(change.purpose, Purpose::Job(JobIx(0), JobChange::Elect));
            let node = Op::create_for_session(rig.turn().key(&Facet::Leader), ME);
            assert_eq!(change.ops, [node], "it goes with the session");
        }
    }
}

#[test]
fn whether_anyone_leads_or_one_is_switched_on_must_be_known() {
    for unknown in [Facet::Leader, server(ME)] {
        let (mut rig, mut mirror, config) = leading();
        mirror.holds(Facet::Leader, None);
        mirror.read(&mut rig.turn(), unknown.clone());
        assert!(reconcile(&mut rig, &mut mirror, &config).is_none(), "{unknown:?}");
    }
}

#[test]
fn whoever_is_elected_says_so_and_leads_at_once() {
    let (mut rig, mut mirror, config) = asked_for();
    mirror.holds(Facet::Leader, None);
    let mut leadership = Leadership::default();
    leadership.reconcile(&mut rig.turn(), &mut mirror, &config);
    let change = rig.sent_one();
    leadership.elect_answered(&mut rig.turn(), &mut mirror, change, &DONE);
    let reports = rig.reports();
    assert!(matches!(&reports[..], [Report::Leading(_)]), "{reports:?}");
    assert!(rig.is_job_marked() && rig.asked().is_empty());
    leadership.reconcile(&mut rig.turn(), &mut mirror, &config);
    let change = rig.sent_one();
    let written_by_the_election = Stamp { created: Index(9), modified: Index(9), version: 0 };
    let check = Op::Check(rig.turn().key(&Facet::Leader), Some(written_by_the_election));
    assert_eq!(change.ops[0], check);
}

#[test]
fn an_election_that_was_not_won_is_looked_at() {
    for (verdict, is_over) in [
        (Verdict::Refused(Why::Exists, Some(Facet::Leader)), true),
        (Verdict::Unknown, true),
        (Verdict::NotTaken, false),
    ] {
        let (mut rig, mut mirror, config) = leading();
        mirror.holds(Facet::Leader, None);
        let mut leadership = Leadership::default();
        leadership.reconcile(&mut rig.turn(), &mut mirror, &config);
        let change = rig.sent_one();
        leadership.elect_answered(&mut rig.turn(), &mut mirror, change, &verdict);
        assert_eq!(leadership.awaited().count(), usize::from(!is_over), "{verdict:?}");
        let asked = if is_over { vec![Facet::Leader] } else { vec![] };
        assert_eq!(rig.asked(), asked, "{verdict:?}");
        assert!(rig.reports().is_empty());
    }
}

#[test]
fn a_leader_that_is_switched_off_or_waits_to_leave_makes_room_for_another() {
    for is_off in [true, false] {
        let (mut rig, mut mirror, config) = asked_for();
        let mut leadership = Leadership::default();
        for _ in 0..2 {
            if is_off {
                mirror.holds(server(ME), Some(entry("DISABLED", 2)));
                leadership.reconcile(&mut rig.turn(), &mut mirror, &config);
            } else {
                leadership.give_up(&mut rig.turn(), &mirror);
            }
        }
        let change = rig.sent_one();
        let gone = Op::Delete(rig.turn().key(&Facet::Leader), Some(stamp(2)));
        assert_eq!(change.ops, [gone], "only its own");
        leadership.elect_answered(&mut rig.turn(), &mut mirror, change, &DONE);
        assert!(rig.reports().is_empty(), "it does not lead");
        assert_eq!(rig.asked(), [Facet::Leader]);
    }
}

#[test]
fn what_another_session_made_is_not_this_ones_to_lead_or_to_give_up() {
    for leader in [led_by(ME, SessionId(6)), led_by(OTHER, SESSION)] {
        let (mut rig, mut mirror, config) = asked_for();
        mirror.holds(Facet::Leader, leader.map(|entry| Entry { stamp: stamp(4), ..entry }));
        let mut leadership = Leadership::default();
        leadership.give_up(&mut rig.turn(), &mirror);
        leadership.reconcile(&mut rig.turn(), &mut mirror, &config);
        assert!(rig.sent().is_empty());
    }
}

/// It was not elected, and nothing would ever take it away.
#[test]
fn a_leader_without_a_session_is_deposed_by_whoever_is_switched_on() {
    let (mut rig, mut mirror, config) = leading();
    for (status, version, deposes) in [("DISABLED", 2, false), ("ENABLED", 3, true)] {
        mirror.holds(server(ME), Some(entry(status, version)));
        mirror.holds(Facet::Leader, Some(entry(OTHER, 3)));
        let change = reconcile(&mut rig, &mut mirror, &config);
        assert_eq!(change.is_some(), deposes, "{status}");
        let told = rig.reports().len();
        assert_eq!(told, usize::from(deposes), "{status}");
        let Some(change) = change else { continue };
        let delete = Op::Delete(rig.turn().key(&Facet::Leader), Some(stamp(3)));
        assert_eq!(change.ops, [delete], "as it was seen");
    }
}

#[test]
fn nothing_is_dealt_where_all_stands_as_it_should() {
    let (mut rig, mut mirror, config) = leading();
    assert!(reconcile(&mut rig, &mut mirror, &config).is_none());
    let (mut rig, mut mirror, config) = asked_for();
    assert!(reconcile(&mut rig, &mut mirror, &config).is_some());
}

#[test]
fn nothing_is_dealt_before_all_is_known() {
    let unknown = [
        Facet::Instances,
        Facet::Plan,
        Facet::Necessary,
        Facet::Sharding,
        Facet::Owner(0),
        Facet::Owner(1),
        server(ME),
    ];
    for unknown in unknown {
        let (mut rig, mut mirror, config) = asked_for();
        mirror.read(&mut rig.turn(), unknown.clone());
        assert!(reconcile(&mut rig, &mut mirror, &config).is_none(), "{unknown:?}");
    }
}

#[test]
fn a_request_is_deleted_with_the_stamp_that_was_seen() {
    let (mut rig, mut mirror, config) = asked_for();
    let change = reconcile(&mut rig, &mut mirror, &config).unwrap();
    let key = rig.turn().key(&Facet::Necessary);
    assert_eq!(change.ops[2..], [Op::Delete(key, Some(stamp(3)))]);
    let leader = rig.turn().key(&Facet::Leader);
    assert_eq!(change.ops[0], Op::Check(leader, Some(stamp(2))), "only whoever leads deals");
}

#[test]
fn one_assignment_is_under_way_at_a_time() {
    for verdict in [DONE, Verdict::Refused(Why::Changed, Some(Facet::Plan)), Verdict::NotTaken] {
        let (mut rig, mut mirror, config) = asked_for();
        let mut leadership = Leadership::default();
        for _ in 0..2 {
            leadership.reconcile(&mut rig.turn(), &mut mirror, &config);
        }
        let change = rig.sent_one();
        assert_eq!(leadership.awaited().collect::<Vec<_>>(), [JobChange::Assign]);
        leadership.assign_answered(&mut rig.turn(), &mut mirror, change, &verdict);
        let is_under_way = matches!(verdict, Verdict::NotTaken);
        assert_eq!(leadership.awaited().count(), usize::from(is_under_way), "{verdict:?}");
        assert_eq!(rig.sent().len(), usize::from(is_under_way), "{verdict:?}");
    }
}

/// A job of so many shards that nobody has, led by this instance, under these limits.
fn undealt(count: u32, max_ops: usize, max_bytes: usize) -> (Rig, Mirror, Arc<JobConfig>) {
    let (mut rig, config) = (Rig::new(), shards(count));
    let limits = Limits { max_ops, max_bytes, ..rig.settings.limits };
    *rig.turn().outbox = Outbox::new(limits);
    let mut mirror = mirror(&mut rig, &config);
    mirror.lists(Facet::Instances, &[ME]);
    mirror.lists(Facet::Sharding, &[]);
    mirror.holds(Facet::Leader, led_by(ME, SESSION));
    mirror.holds(Facet::Necessary, None);
    for shard in 0..count {
        mirror.holds(Facet::Owner(shard), None);
    }
    (rig, mirror, config)
}

#[test]
fn shards_are_dealt_as_far_as_the_limits_go_and_then_the_rest() {
    for (max_ops, wanted) in [(100, [49, 49, 49, 49, 4]), (1_000, [149, 51, 0, 0, 0])] {
        let (mut rig, mut mirror, config) = undealt(200, max_ops, 200_000);
        let mut leadership = Leadership::default();
        let mut dealt = Vec::new();
        for moves in wanted {
            leadership.reconcile(&mut rig.turn(), &mut mirror, &config);
            let Some(change) = rig.sent().pop() else {
                assert_eq!(moves, 0);
                continue;
            };
            assert_eq!(given(&rig, &change).len(), moves);
            assert_eq!(change.ops.len(), 2 + 2 * moves);
            let [Report::Assigned { moved, instances: 1, .. }] = rig.reports()[..] else {
                panic!("it is told how many shards moved")
            };
            assert_eq!(moved, moves);
            let plan = plan::encode(&plan_of(&change));
            let turn = &mut rig.turn();
            dealt.extend(leadership.assign_answered(turn, &mut mirror, change, &DONE));
            mirror.holds(Facet::Plan, Some(entry(plan, 9)));
            mirror.lists(Facet::Sharding, &[]);
        }
        assert_eq!(dealt, (0..200).collect::<Vec<_>>());
    }
}

/// A part of the dealing that stands, of which some is left.
fn part(
    rig: &mut Rig,
    mirror: &mut Mirror,
    leadership: &mut Leadership,
    config: &JobConfig,
) -> Change {
    leadership.reconcile(&mut rig.turn(), mirror, config);
    let change = rig.sent_one();
    leadership.assign_answered(&mut rig.turn(), mirror, change.clone(), &DONE);
    mirror.holds(Facet::Plan, Some(entry(plan::encode(&plan_of(&change)), 9)));
    change
}

#[test]
fn the_list_of_shards_is_read_once_after_the_last_part_of_a_dealing() {
    let (mut rig, mut mirror, config) = undealt(120, 100, 200_000);
    let mut leadership = Leadership::default();
    for (moves, is_read) in [(49, false), (49, false), (22, true)] {
        let change = part(&mut rig, &mut mirror, &mut leadership, &config);
        assert_eq!(given(&rig, &change).len(), moves);
        assert_eq!(rig.asked().contains(&Facet::Sharding), is_read);
        assert_eq!(leadership.has_rest(), !is_read);
        // What it changes itself is in doubt meanwhile, and nothing waits for that.
        mirror.doubt_sharding();
    }
}

#[test]
fn what_is_left_of_a_dealing_is_found_out_anew_if_its_basis_has_changed() {
    let (mut rig, mut mirror, config) = undealt(120, 100, 200_000);
    let mut leadership = Leadership::default();
    part(&mut rig, &mut mirror, &mut leadership, &config);
    mirror.lists(Facet::Instances, &[ME, OTHER]);
    leadership.reconcile(&mut rig.turn(), &mut mirror, &config);
    assert!(rig.sent().is_empty(), "who leaves is not known");
    mirror.lists(Facet::Leavers, &[]);
    leadership.reconcile(&mut rig.turn(), &mut mirror, &config);
    assert!(!leadership.has_rest() && rig.sent().is_empty());
    assert!(rig.asked().contains(&Facet::Sharding), "it has changed unread");
    mirror.lists(Facet::Sharding, &[]);
    leadership.reconcile(&mut rig.turn(), &mut mirror, &config);
    let change = rig.sent_one();
    assert!(given(&rig, &change).iter().any(|(_, to)| to == OTHER));

    // A part that did not stand takes the rest along.
    let refused = Verdict::Refused(Why::Changed, Some(Facet::Plan));
    leadership.assign_answered(&mut rig.turn(), &mut mirror, change, &refused);
    assert!(!leadership.has_rest());
}

#[test]
fn an_assignment_is_as_large_as_the_registry_takes_and_no_larger() {
    for max_bytes in [1_000, 2_000, 4_000] {
        let (mut rig, mut mirror, config) = undealt(200, 1_000, max_bytes);
        let change = reconcile(&mut rig, &mut mirror, &config).unwrap();
        let bytes = change.bytes();
        assert!(bytes <= max_bytes && bytes > max_bytes - 250, "{bytes} of {max_bytes}");
    }
}

#[test]
fn a_shard_is_made_with_its_owner_unless_it_is_there() {
    let (mut rig, mut mirror, config) = leading();
    mirror.lists(Facet::Sharding, &["1"]);
    for shard in 0..2 {
        mirror.holds(Facet::Owner(shard), None);
    }
    let change = reconcile(&mut rig, &mut mirror, &config).unwrap();
    let made = [Facet::Shard(0), Facet::Owner(0), Facet::Owner(1)];
    assert_eq!(rig.written(&change)[1..], made);
}

#[test]
fn what_an_assignment_wrote_is_known_without_reading_it() {
    let (mut rig, mut mirror, config) = leading();
    mirror.holds(Facet::Owner(0), None);
    mirror.holds(Facet::Owner(1), Some(entry(OTHER, 6)));
    let mut leadership = Leadership::default();
    leadership.reconcile(&mut rig.turn(), &mut mirror, &config);
    let change = rig.sent_one();
    let given = leadership.assign_answered(&mut rig.turn(), &mut mirror, change, &DONE);
    assert_eq!(given, [0, 1]);
    let stamps = [
        Stamp { created: Index(9), modified: Index(9), version: 0 },
        Stamp { created: Index(0), modified: Index(9), version: 7 },
    ];
    for (shard, stamp) in (0..).zip(stamps) {
        let held = mirror.owner(shard).and_then(Slot::held).unwrap();
        assert_eq!((&held.value, held.stamp), (&instance(ME), stamp), "{shard}");
    }
    assert_eq!(rig.asked(), [Facet::Plan, Facet::Sharding]);
}

#[test]
fn whoever_leaves_is_dealt_nothing_once_that_is_known() {
    let (mut rig, mut mirror, config) = leading();
    mirror.lists(Facet::Instances, &[ME, OTHER]);
    mirror.holds(Facet::Owner(0), Some(entry(OTHER, 2)));
    mirror.holds(Facet::Owner(1), Some(entry(OTHER, 2)));
    assert!(reconcile(&mut rig, &mut mirror, &config).is_none(), "who leaves is not known");
    assert!(rig.asked().contains(&Facet::Leavers));
    for (leavers, own) in [
        (vec![], 1),
        (vec![OTHER], 2),
        // Whoever deals does not leave.
        (vec![ME, OTHER], 2),
        (vec![ME], 1),
    ] {
        mirror.lists(Facet::Leavers, &leavers);
        let change = reconcile(&mut rig, &mut mirror, &config).unwrap();
        let given = given(&rig, &change);
        assert_eq!(given.len(), own, "{leavers:?}");
        assert!(given.iter().all(|(_, to)| to == ME), "{leavers:?}: {given:?}");
    }
}

#[test]
fn shards_too_many_go_one_at_a_time_and_after_all_else() {
    let (mut rig, mut mirror, config) = asked_for();
    mirror.lists(Facet::Sharding, &["0", "1", "2", "3"]);
    let change = reconcile(&mut rig, &mut mirror, &config).unwrap();
    assert_eq!(rig.deleted(&change), [Facet::Necessary], "first what is asked for");
    mirror.holds(Facet::Necessary, None);
    mirror.holds(Facet::Owner(1), None);
    let change = reconcile(&mut rig, &mut mirror, &config).unwrap();
    assert_eq!(rig.deleted(&change), [], "first what somebody waits for");
    mirror.holds(Facet::Owner(1), Some(entry(ME, 2)));

    let mut leadership = Leadership::default();
    for shard in [2, 3, 2] {
        leadership.reconcile(&mut rig.turn(), &mut mirror, &config);
        let change = rig.sent_one();
        assert_eq!(rig.deleted(&change), [Facet::Owner(shard), Facet::Shard(shard)]);
        // It still runs.
        let verdict = Verdict::Refused(Why::NotEmpty, Some(Facet::Shard(shard)));
        leadership.assign_answered(&mut rig.turn(), &mut mirror, change, &verdict);
        mirror.holds(Facet::Leader, led_by(ME, SESSION));
        mirror.holds(Facet::Plan, Some(entry("", 1)));
        mirror.holds(Facet::Necessary, None);
        mirror.lists(Facet::Sharding, &["0", "1", "2", "3"]);
        leadership.reconcile(&mut rig.turn(), &mut mirror, &config);
        assert!(rig.sent().is_empty(), "it is left alone for a while");
        assert_eq!(rig.alarms.next().1, Some(rig.now.mono.plus(SURPLUS_PAUSE)));
        rig.pass(1_000);
        rig.alarms.pop(rig.now.mono);
    }
}

#[test]
fn only_what_is_there_of_a_shard_too_many_is_deleted() {
    for (is_off, owner, deleted) in [
        (true, Some(ME), vec![Facet::Owner(1), Facet::Disabled(1), Facet::Shard(1)]),
        (false, None, vec![Facet::Shard(1)]),
    ] {
        let (mut rig, mut mirror, _) = leading();
        mirror.holds(Facet::Disabled(1), is_off.then(|| entry("", 0)));
        mirror.holds(Facet::Owner(1), owner.map(|owner| entry(owner, 1)));
        let config = shards(1);
        let schedule = mirror.schedule().clone();
        let plan = Plan::new(schedule, 1, at(1_000));
        mirror.holds(Facet::Plan, Some(entry(plan::encode(&plan), 2)));
        let change = reconcile(&mut rig, &mut mirror, &config).unwrap();
        assert_eq!(rig.deleted(&change), deleted);
    }
}

#[test]
fn each_assignment_is_a_generation_and_begins_what_the_definition_changed() {
    let old = |alive| {
        let schedule = shards(2).schedule_fingerprint();
        Plan { alive, generation: 4, ..Plan::new(schedule.into(), 2, at(1_000)) }
    };
    let now = at(10_000);
    for (before, generation, from, alive) in [
        (None, 0, now, now),
        (Some(old(at(2_000))), 5, at(1_000), at(2_000)),
        (Some(old(at(60_000))), 5, at(1_000), now),
        (Some(Plan { schedule: "every 2s".into(), ..old(at(2_000)) }), 5, now, at(2_000)),
    ] {
        let (mut rig, mut mirror, config) = asked_for();
        mirror.holds(Facet::Plan, before.as_ref().map(|plan| entry(plan::encode(plan), 8)));
        let change = reconcile(&mut rig, &mut mirror, &config).unwrap();
        let plan = plan_of(&change);
        assert_eq!((plan.generation, plan.from(0), plan.alive), (generation, from, alive));
        assert!(plan.agrees(mirror.schedule(), 2));
        let is_over_the_old =
            |op: &Op| matches!(op, Op::Set(_, _, Some(over)) if *over == stamp(8));
        assert_eq!(is_over_the_old(&change.ops[1]), before.is_some());
    }
}

#[test]
fn a_plan_that_says_that_nobody_lives_yet_is_put_right_without_being_asked() {
    let (mut rig, mut mirror, config) = leading();
    let schedule = mirror.schedule().clone();
    let plan = Plan { alive: at(10_001), ..Plan::new(schedule, 2, at(1_000)) };
    mirror.holds(Facet::Plan, Some(entry(plan::encode(&plan), 8)));
    assert!(reconcile(&mut rig, &mut mirror, &config).is_some());
    rig.pass(1);
    assert!(reconcile(&mut rig, &mut mirror, &config).is_none());
}

#[test]
fn a_job_that_is_removed_awaits_nothing() {
    let (mut rig, mut mirror, config) = asked_for();
    let mut leadership = Leadership::default();
    leadership.reconcile(&mut rig.turn(), &mut mirror, &config);
    leadership.give_up(&mut rig.turn(), &mirror);
    assert_eq!(leadership.awaited().count(), 2);
    leadership.removed(&mut rig.turn(), &mut mirror);
    assert_eq!(leadership.awaited().count(), 0);
}
