use super::*;
use crate::names::JobIx;
use crate::outbox::{JobChange, Purpose};
use crate::rig::{ME, Rig, instance, stamp};
use flockwork_registry::Key;

const ASSIGN: Purpose = Purpose::Job(JobIx(0), JobChange::Assign);
const TREE: Purpose = Purpose::Job(JobIx(0), JobChange::Tree);

fn key(facet: &Facet) -> Key {
    Rig::new().turn().key(facet)
}

fn check() -> Op {
    Op::Check(key(&Facet::Leader), Some(stamp(1)))
}

/// What is sent after a change was refused for its second operation.
fn repaired(purpose: Purpose, op: Op, why: Why) -> Option<Vec<Change>> {
    let mut rig = Rig::new();
    let refusal = Refusal { at: 1, key: op.key().clone(), why };
    let mut change = Change::new(purpose, vec![check(), op]);
    let namespace = rig.settings.namespace.clone();
    let is_repaired = rig.turn().outbox.repair(&namespace, &mut change, &refusal);
    let sent = rig.sent();
    assert_eq!(!sent.is_empty(), is_repaired);
    is_repaired.then_some(sent)
}

/// The same, of a change that is repaired by itself: what stands there instead of the operation.
fn mended(purpose: Purpose, op: Op, why: Why) -> Option<Option<Op>> {
    let sent = repaired(purpose, op, why)?;
    let [change] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!(
        (change.purpose, &change.ops[0]),
        (purpose, &check()),
        "the rest goes out as it was"
    );
    Some(change.ops.get(1).cloned())
}

#[test]
fn what_was_to_be_deleted_and_is_gone_is_left_out() {
    let me = || instance(ME);
    for (facet, is_mended) in [
        (Facet::Running(0), true),
        (Facet::Failover(0), true),
        (Facet::Retry(0), true),
        (Facet::Instance(me()), true),
        (Facet::Clock(me()), true),
        (Facet::Leaver(me()), true),
        (Facet::Ineligible(me()), true),
        (Facet::Leader, true),
        (Facet::Owner(0), true),
        (Facet::Disabled(0), true),
        (Facet::Necessary, true),
        // A request that is gone was answered elsewhere, a shard taken away by another leader.
        (Facet::Trigger(me()), false),
        (Facet::Shard(0), false),
        (Facet::Record(0), false),
        (Facet::Config, false),
    ] {
        let delete = |stamp| Op::Delete(key(&facet), stamp);
        for over in [None, Some(stamp(3))] {
            let told = mended(ASSIGN, delete(over), Why::Absent);
            assert_eq!(told, is_mended.then_some(None), "{facet:?}");
        }
        for why in [Why::Changed, Why::NotEmpty] {
            assert_eq!(mended(ASSIGN, delete(Some(stamp(3))), why), None, "{facet:?} {why:?}");
        }
    }
}

#[test]
fn what_is_there_already_stands_for_what_was_to_be_made_where_it_says_the_same() {
    let create = |facet: &Facet| Op::create(key(facet), "v");
    for (purpose, facet, mend) in [
        (TREE, Facet::Instances, Some(None)),
        (TREE, Facet::Sharding, Some(None)),
        (TREE, Facet::OwnJob, Some(None)),
        // What these hold may be another's word.
        (TREE, Facet::Config, None),
        (TREE, Facet::Plan, None),
        (ASSIGN, Facet::Instances, None),
        (ASSIGN, Facet::Failover(0), Some(None)),
        (ASSIGN, Facet::Leaver(instance(ME)), Some(None)),
        (ASSIGN, Facet::Owner(0), None),
        (ASSIGN, Facet::Instance(instance(ME)), None),
        (ASSIGN, Facet::Running(0), None),
        (ASSIGN, Facet::Record(0), None),
        (ASSIGN, Facet::Retry(0), Some(Some(Op::Set(key(&Facet::Retry(0)), "v".into(), None)))),
    ] {
        let told = mended(purpose, create(&facet), Why::Exists);
        assert_eq!(told, mend, "{facet:?} for {purpose:?}");
        assert_eq!(mended(purpose, create(&facet), Why::SessionParent), None, "{facet:?}");
    }
}

#[test]
fn a_mark_that_was_to_be_written_and_is_gone_is_made() {
    let set = |facet: &Facet, over| Op::Set(key(facet), "v".into(), over);
    let running = Facet::Running(0);
    let made = Some(Some(Op::create(key(&running), "v")));
    assert_eq!(mended(ASSIGN, set(&running, None), Why::Absent), made);
    assert_eq!(mended(ASSIGN, set(&running, Some(stamp(2))), Why::Changed), None);
    for facet in [Facet::Record(0), Facet::Owner(0), Facet::Plan, Facet::Config] {
        assert_eq!(mended(ASSIGN, set(&facet, None), Why::Absent), None, "{facet:?}");
    }
}

#[test]
fn a_condition_that_does_not_hold_is_never_mended() {
    for (op, why) in [
        (Op::Check(key(&Facet::Leader), None), Why::Absent),
        (Op::Check(key(&Facet::Owner(0)), Some(stamp(1))), Why::Changed),
        (Op::CheckAbsent(key(&Facet::Running(0))), Why::Exists),
        (Op::create(Key::new("/elsewhere").unwrap(), ""), Why::Exists),
    ] {
        assert_eq!(mended(ASSIGN, op.clone(), why), None, "{op:?}");
    }
}

#[test]
fn a_change_of_which_nothing_is_left_is_not_sent() {
    let mut rig = Rig::new();
    let op = Op::Delete(key(&Facet::Necessary), None);
    let refusal = Refusal { at: 0, key: op.key().clone(), why: Why::Absent };
    let namespace = rig.settings.namespace.clone();
    let mut change = Change::new(ASSIGN, vec![op]);
    assert!(!rig.turn().outbox.repair(&namespace, &mut change, &refusal));
    assert!(change.ops.is_empty(), "whoever hears of it sees that nothing was left");
    assert!(rig.sent().is_empty());
}

#[test]
fn a_missing_parent_is_made_first_and_only_while_the_job_is_there() {
    let config = Op::Check(key(&Facet::Config), None);
    for (purpose, facet, is_checked) in [
        (ASSIGN, Facet::Leader, true),
        (ASSIGN, Facet::Shard(0), true),
        (ASSIGN, Facet::Necessary, true),
        // Ours is nobody's sign that a job is there.
        (ASSIGN, Facet::Record(0), false),
        (ASSIGN, Facet::Retry(0), false),
        (TREE, Facet::Instances, false),
    ] {
        let op = Op::create(key(&facet), "");
        let sent = repaired(purpose, op.clone(), Why::NoParent);
        let Some([parent, change]) = sent.as_deref() else { panic!("{facet:?}: {sent:?}") };
        assert!(parent.is_parent() && change.purpose == purpose);
        assert_eq!(change.ops, [check(), op], "{facet:?}");
        let made = Op::create(key(&facet).parent().unwrap(), "");
        let wanted: Vec<_> = is_checked.then(|| config.clone()).into_iter().chain([made]).collect();
        assert_eq!(parent.ops, wanted, "{facet:?}");
    }
}

#[test]
fn a_job_that_was_removed_does_not_come_back_by_its_marks() {
    for facet in [
        Facet::Running(0),
        Facet::Failover(0),
        Facet::Owner(0),
        Facet::Clocks,
        Facet::Leavers,
        Facet::Ineligibles,
    ] {
        let sent = repaired(ASSIGN, Op::create(key(&facet), ""), Why::NoParent);
        assert!(sent.is_none(), "{facet:?}");
    }
}

#[test]
fn a_parent_has_parents_and_is_not_mended_otherwise() {
    let mut rig = Rig::new();
    let namespace = rig.settings.namespace.clone();
    let election = key(&Facet::Leader).parent().unwrap();
    let mut change = Change::new(Purpose::Parent, vec![Op::create(election.clone(), "")]);
    let refusal = |why| Refusal { at: 0, key: election.clone(), why };
    assert!(!rig.turn().outbox.repair(&namespace, &mut change, &refusal(Why::Exists)));
    assert!(rig.turn().outbox.repair(&namespace, &mut change, &refusal(Why::NoParent)));
    let sent = rig.sent();
    let made: Vec<_> = sent.iter().map(|change| change.ops.last().unwrap().key()).collect();
    assert_eq!(made, [&election.parent().unwrap(), &election], "from the top");
}

#[test]
fn a_change_is_repaired_a_few_times_and_then_refused() {
    let mut rig = Rig::new();
    let namespace = rig.settings.namespace.clone();
    let op = Op::create(key(&Facet::Leader), "");
    let refusal = Refusal { at: 0, key: op.key().clone(), why: Why::NoParent };
    let mut change = Change::new(ASSIGN, vec![op]);
    let mut repairs = 0;
    while repairs < 100 && rig.turn().outbox.repair(&namespace, &mut change, &refusal) {
        repairs += 1;
        let sent = rig.sent();
        change = sent.into_iter().next_back().unwrap();
    }
    assert_eq!(repairs, 12);
}
