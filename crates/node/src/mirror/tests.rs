use super::*;
use crate::names::JobIx;
use crate::outbox::{JobChange, Purpose};
use crate::rig::{ME, OTHER, Rig, SESSION, at, config, entry, instance, mirror, stamp};
use flockwork_core::config::JobConfig;
use flockwork_layout::{plan, record};
use flockwork_registry::{Failure, Lifetime};

const THIRD: &str = "10.0.0.3@-@1-c";

fn of_two() -> (Rig, Mirror) {
    let mut rig = Rig::new();
    let mirror = mirror(&mut rig, &shards(2));
    (rig, mirror)
}

fn shards(count: u32) -> Arc<JobConfig> {
    config(&format!("shardingTotalCount: {count}\nprops:\n  flockwork.every: 1s"))
}

fn server(id: &str) -> Facet {
    Facet::Server(instance(id).server().to_owned())
}

fn own_trigger() -> Facet {
    Facet::Trigger(instance(ME))
}

/// A record that tells its owner's last run by its number of triggered ones.
fn record_of(triggered: u64, version: u32) -> Option<flockwork_registry::Entry> {
    let mut stored = Stored::default();
    stored.record.counts.triggered = triggered;
    Some(entry(record::encode(&stored), version))
}

fn triggered(mirror: &Mirror, shard: ShardIndex) -> Option<u64> {
    Some(mirror.stored(shard)?.record.counts.triggered)
}

#[test]
fn those_may_take_shards_who_live_on_a_server_that_is_on_in_descending_order() {
    let (_, mut mirror) = of_two();
    mirror.lists(Facet::Instances, &[THIRD, ME, OTHER]);
    assert_eq!(mirror.eligible(), None, "a server of which nothing is known");
    for (version, status, eligible) in [
        (1, "ENABLED", vec![THIRD, OTHER, ME]),
        (2, "DISABLED", vec![OTHER, ME]),
        (3, "", vec![OTHER, ME]),
        // Also what this release does not know: it is shown and not assigned to.
        (4, "enabled", vec![OTHER, ME]),
    ] {
        mirror.holds(server(THIRD), Some(entry(status, version)));
        let wanted: Vec<_> = eligible.into_iter().map(instance).collect();
        assert_eq!(mirror.eligible(), Some(wanted.clone()), "{status:?}");
        assert_eq!(mirror.last_eligible(), wanted, "{status:?}");
    }
    mirror.holds(server(THIRD), None);
    assert_eq!(mirror.is_enabled(&instance(THIRD)), Some(false), "no server is none that is on");
}

#[test]
fn unknown_is_neither_yes_nor_no() {
    for unknown in [Facet::Instances, server(OTHER)] {
        let (mut rig, mut mirror) = of_two();
        let before = mirror.eligible();
        assert_eq!(before, Some(vec![instance(OTHER), instance(ME)]));
        mirror.read(&mut rig.turn(), unknown.clone());
        assert_eq!(mirror.eligible(), None, "{unknown:?}");
        assert_eq!(Some(mirror.last_eligible()), before, "{unknown:?}: as last heard");
    }
    let (mut rig, mut mirror) = of_two();
    let ask = |mirror: &Mirror| {
        (mirror.is_live(&instance(OTHER)), mirror.is_off(0), mirror.is_enabled(&instance(ME)))
    };
    assert_eq!(ask(&mirror), (Some(true), Some(false), Some(true)));
    for facet in [Facet::Instances, Facet::Disabled(0), server(ME), Facet::Record(0)] {
        mirror.read(&mut rig.turn(), facet);
    }
    assert_eq!(ask(&mirror), (None, None, None));
    assert!(!mirror.is_surely_off(0) && mirror.stored(0).is_none());
    assert!(mirror.stored(1).is_some(), "one that is known not to be there is a new one");
}

#[test]
fn the_owner_keeps_a_record_or_whom_the_shards_number_chooses() {
    for (owner, live, kept_by) in [
        (Some(ME), vec![ME, OTHER], [Some(ME), Some(ME)]),
        (Some(OTHER), vec![ME, OTHER], [Some(OTHER), Some(OTHER)]),
        (Some(THIRD), vec![ME, OTHER], [Some(OTHER), Some(ME)]),
        (None, vec![ME, OTHER], [Some(OTHER), Some(ME)]),
        (Some(THIRD), vec![ME], [Some(ME), Some(ME)]),
        (Some(THIRD), vec![], [None, None]),
    ] {
        let (_, mut mirror) = of_two();
        mirror.lists(Facet::Instances, &live);
        for (shard, keeper) in (0..).zip(kept_by) {
            mirror.holds(Facet::Owner(shard), owner.map(|owner| entry(owner, 2)));
            assert_eq!(mirror.keeper(shard), keeper.map(instance), "{owner:?} {live:?} {shard}");
        }
    }
}

#[test]
fn nobody_keeps_a_record_while_its_owner_is_not_known_or_who_lives_is_not() {
    for (unknown, kept_by) in [
        (Facet::Owner(0), None),
        (Facet::Instances, None),
        // Whether an owner's server is on does not matter while the owner lives.
        (server(ME), Some(ME)),
    ] {
        let (mut rig, mut mirror) = of_two();
        mirror.read(&mut rig.turn(), unknown.clone());
        assert_eq!(mirror.keeper(0), kept_by.map(instance), "{unknown:?}");
    }
    let (_, mirror) = of_two();
    assert_eq!(mirror.keeper(2), None, "there is no such shard");
}

#[test]
fn a_plan_is_in_force_that_is_of_the_definition_that_counts() {
    let (mut rig, mut mirror) = of_two();
    assert!(mirror.plan_in_force(2).is_some());
    assert!(mirror.plan_in_force(3).is_none(), "it was made for other shards");
    mirror.adopt(&mut rig.turn(), "every 2s".to_owned(), 2);
    assert!(mirror.plan_in_force(2).is_none(), "another schedule counts");
    let plan = Plan::new("every 2s".into(), 2, at(1_000));
    mirror.holds(Facet::Plan, Some(entry(plan::encode(&plan), 2)));
    let plan = mirror.plan_in_force(2).unwrap();
    assert!(Arc::ptr_eq(&plan.schedule, mirror.schedule()), "one text, compared at every fire");
    mirror.read(&mut rig.turn(), Facet::Plan);
    assert!(mirror.plan_in_force(2).is_none(), "it may be another by now");
}

#[test]
fn only_the_keys_of_shards_that_are_new_are_watched() {
    let (mut rig, mut mirror) = of_two();
    for (count, watched) in
        [(1, vec![]), (3, vec![Facet::Owner(2), Facet::Disabled(2)]), (3, vec![]), (2, vec![])]
    {
        mirror.adopt(&mut rig.turn(), "every 1s".to_owned(), count);
        let twice = watched.into_iter().flat_map(|facet| [facet.clone(), facet]);
        assert_eq!(rig.asked(), twice.collect::<Vec<_>>(), "a watch, then a read");
    }
    assert_eq!(mirror.shards(), 3, "what was learned of a shard is kept");
}

#[test]
fn servers_and_leavers_are_watched_once() {
    let (mut rig, mut mirror) = of_two();
    mirror.lists(Facet::Instances, &[ME, OTHER, THIRD]);
    for asked in [vec![server(THIRD), server(THIRD)], vec![]] {
        mirror.watch_servers(&mut rig.turn());
        assert_eq!(rig.asked(), asked);
    }
    for asked in [vec![Facet::Leavers, Facet::Leavers], vec![]] {
        mirror.watch_leavers(&mut rig.turn());
        assert_eq!(rig.asked(), asked);
    }
}

#[test]
fn a_key_is_read_once_at_a_time_and_again_if_it_changed_meanwhile() {
    let (mut rig, mut mirror) = of_two();
    for asked in [vec![Facet::Config], vec![]] {
        mirror.read(&mut rig.turn(), Facet::Config);
        assert_eq!(rig.asked(), asked);
    }
    for (asked, is_known) in [(vec![Facet::Config], false), (vec![], true)] {
        let answer = Answer::Entry(Some(entry("", 2)));
        mirror.answered(&mut rig.turn(), &Facet::Config, answer).unwrap();
        assert_eq!(rig.asked(), asked);
        assert_eq!(mirror.config().held().is_some(), is_known);
    }
}

#[test]
fn what_is_only_read_is_always_read_and_what_is_none_of_ours_never() {
    let (mut rig, mut mirror) = of_two();
    for (facet, times) in [
        (Facet::Running(0), 2),
        (Facet::Instance(instance(OTHER)), 2),
        (own_trigger(), 1),
        (Facet::Trigger(instance(OTHER)), 0),
        (Facet::Owner(7), 0),
        (Facet::Clock(instance(OTHER)), 0),
    ] {
        for _ in 0..2 {
            mirror.read(&mut rig.turn(), facet.clone());
        }
        assert_eq!(rig.asked(), vec![facet; times]);
    }
}

#[test]
fn a_read_without_an_answer_leaves_the_key_unknown_and_to_be_read() {
    let (mut rig, mut mirror) = of_two();
    mirror.read(&mut rig.turn(), Facet::Plan);
    let lost = Answer::Failed(Failure::Unknown(String::new()));
    let why = mirror.answered(&mut rig.turn(), &Facet::Plan, lost);
    assert!(matches!(why, Err(Unreadable::NotAnswered)), "{why:?}");
    assert!(mirror.plan().is_unread() && mirror.plan().known().is_none());
    assert!(mirror.plan().last_seen().is_some(), "for people it is as last heard");
}

#[test]
fn what_makes_no_sense_stays_unknown_and_is_new_once() {
    let (mut rig, mut mirror) = of_two();
    for (text, is_new) in [("{", Some(true)), ("{", Some(false)), ("ok", None), ("{", Some(true))] {
        let value = match text {
            "ok" => plan::encode(&Plan::new("every 1s".into(), 2, at(1_000))),
            text => text.as_bytes().to_vec().into(),
        };
        mirror.read(&mut rig.turn(), Facet::Plan);
        // Never in the state that was read before.
        mirror.plan.forget_state();
        let answer = Answer::Entry(Some(entry(value, 9)));
        let told = match mirror.answered(&mut rig.turn(), &Facet::Plan, answer) {
            Err(Unreadable::NotUnderstood { is_new, .. }) => Some(is_new),
            Ok(()) => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(told, is_new, "{text}");
        assert_eq!(mirror.plan().known().is_some(), is_new.is_none());
        assert_eq!(mirror.plan().is_unreadable(), is_new.is_some());
        assert!(!mirror.plan().is_unread(), "asking again is of no use");
    }
}

#[test]
fn names_that_are_none_of_ours_are_passed_over_in_lists() {
    let (_, mut mirror) = of_two();
    mirror.lists(Facet::Sharding, &["1", "abc", "-1", "10"]);
    assert_eq!(mirror.sharding().value().unwrap().iter().copied().collect::<Vec<_>>(), [1, 10]);
    mirror.lists(Facet::Instances, &["no instance", ME]);
    assert_eq!(mirror.instances().value().unwrap().len(), 1);
}

#[test]
fn all_that_is_believed_is_read_again_and_only_the_records_that_are_followed() {
    let everything = || {
        vec![
            Facet::Job,
            Facet::Config,
            Facet::Instances,
            server(ME),
            server(OTHER),
            Facet::Leader,
            Facet::Necessary,
            Facet::Sharding,
            Facet::Owner(0),
            Facet::Owner(1),
            Facet::Owner(2),
            Facet::Disabled(0),
            Facet::Disabled(1),
            Facet::Disabled(2),
            own_trigger(),
            Facet::OwnJob,
            Facet::Plan,
            Facet::Record(1),
            Facet::Retries,
        ]
    };
    let record_is = |shard| [RecordIs::Ours, RecordIs::Followed, RecordIs::Others][shard as usize];
    for (is_leader, is_anew, beside) in [
        (false, false, vec![]),
        (true, false, vec![Facet::Leavers]),
        // Attempts of others may be released to this node in what may be another registry.
        (false, true, vec![Facet::Record(2)]),
    ] {
        let mut rig = Rig::new();
        let mut mirror = mirror(&mut rig, &shards(3));
        for shard in 0..3 {
            mirror.holds(Facet::Record(shard), record_of(1, 1));
        }
        if is_leader {
            mirror.watch_leavers(&mut rig.turn());
            mirror.lists(Facet::Leavers, &[]);
        }
        rig.asked();
        match is_anew {
            true => mirror.read_anew(&mut rig.turn(), record_is),
            false => mirror.reread(&mut rig.turn(), record_is),
        }
        let mut wanted = [everything(), beside].concat();
        let mut asked = rig.asked();
        wanted.sort();
        asked.sort();
        assert_eq!(asked, wanted);
        assert_eq!(triggered(&mirror, 0), Some(1), "what runs here is known by what it wrote");
    }
}

#[test]
fn a_state_that_looks_like_the_one_read_before_is_understood_anew_under_a_new_session() {
    for is_anew in [true, false] {
        let (mut rig, mut mirror) = of_two();
        mirror.holds(Facet::Record(0), record_of(1, 1));
        match is_anew {
            true => mirror.read_anew(&mut rig.turn(), |_| RecordIs::Others),
            false => mirror.reread(&mut rig.turn(), |_| RecordIs::Followed),
        }
        // The registry may have lost its data, and its numbers start again.
        for (facet, read) in
            [(Facet::Record(0), record_of(2, 1)), (Facet::Owner(0), Some(entry(OTHER, 1)))]
        {
            mirror.answered(&mut rig.turn(), &facet, Answer::Entry(read)).unwrap();
        }
        let known = (triggered(&mirror, 0), mirror.owner(0).and_then(Slot::value).cloned());
        let wanted = if is_anew { (2, OTHER) } else { (1, ME) };
        assert_eq!(known, (Some(wanted.0), Some(instance(wanted.1))), "{is_anew}");
    }
}

#[test]
fn a_record_is_read_where_nothing_is_known_of_it() {
    let (mut rig, mut mirror) = of_two();
    mirror.read_record_if_unread(&mut rig.turn(), 0);
    assert!(rig.asked().is_empty(), "it is known");
    let mut mirror = Mirror::default();
    mirror.adopt(&mut rig.turn(), "every 1s".to_owned(), 1);
    rig.asked();
    for asked in [vec![Facet::Record(0)], vec![]] {
        mirror.read_record_if_unread(&mut rig.turn(), 0);
        mirror.read_record_if_unread(&mut rig.turn(), 1);
        assert_eq!(rig.asked(), asked);
    }
}

#[test]
fn what_becomes_of_a_change_says_what_is_read_and_whether_it_is_over() {
    let refused = |why, facet| Verdict::Refused(why, facet);
    let (basis, written) = (Facet::Leader, Facet::Necessary);
    for (verdict, is_over, asked, is_marked) in [
        (Verdict::Done(Index(9)), true, vec![], false),
        (Verdict::TooLarge, true, vec![], false),
        (Verdict::NotTaken, false, vec![], false),
        (Verdict::SessionEnded(SESSION), true, vec![], true),
        (refused(Why::Changed, None), true, vec![basis.clone()], true),
        (refused(Why::Changed, Some(basis.clone())), true, vec![basis.clone()], true),
        (refused(Why::Absent, Some(Facet::Plan)), true, vec![basis.clone(), Facet::Plan], true),
        // The whole job may be gone.
        (refused(Why::NoParent, None), true, vec![Facet::Config, basis.clone()], true),
        (Verdict::Unknown, true, vec![basis.clone(), written.clone()], true),
    ] {
        let (mut rig, mut mirror) = of_two();
        let ops = vec![Op::Delete(rig.turn().key(&written), None)];
        let change = Change::new(Purpose::Job(JobIx(0), JobChange::Assign), ops);
        let based_on = std::slice::from_ref(&basis);
        let told = mirror.is_over(&mut rig.turn(), change, &verdict, based_on);
        assert_eq!(told, is_over, "{verdict:?}");
        assert_eq!(rig.asked(), asked, "{verdict:?}");
        assert_eq!(rig.is_job_marked(), is_marked, "{verdict:?}");
        assert_eq!(rig.sent().len(), usize::from(!is_over), "{verdict:?}");
    }
}

#[test]
fn what_was_written_is_known_unless_a_read_is_under_way() {
    let (mut rig, mut mirror) = of_two();
    mirror.wrote_leader(&rig.turn(), Index(9));
    let held = mirror.leader().held().unwrap();
    assert_eq!((&held.value, held.session), (&instance(ME), Some(SESSION)));
    mirror.read(&mut rig.turn(), Facet::Owner(1));
    for shard in 0..2 {
        mirror.wrote_owner(shard, OTHER.as_bytes(), None, Index(9));
    }
    assert_eq!(mirror.owner(0).and_then(Slot::value), Some(&instance(OTHER)));
    assert!(mirror.owner(1).unwrap().known().is_none(), "its answer may tell of a later state");
    mirror.wrote_record(0, Arc::default(), stamp(3));
    assert_eq!(mirror.record(0).and_then(Slot::held).unwrap().stamp, stamp(3));
}

#[test]
fn a_commit_gives_a_key_the_next_stamp_of_the_one_it_was_written_over() {
    let old = Stamp { created: Index(3), modified: Index(5), version: 1 };
    let after = Stamp { created: Index(3), modified: Index(9), version: 2 };
    assert_eq!(stamp_after(Some(old), Index(9)), after);
    let made = Stamp { created: Index(9), modified: Index(9), version: 0 };
    assert_eq!(stamp_after(None, Index(9)), made);
}

#[test]
fn a_change_says_over_what_it_has_written_a_key() {
    let mut rig = Rig::new();
    let turn = rig.turn();
    let key = |shard| turn.key(&Facet::Record(shard));
    let create =
        |key| Op::Create { key, value: Bytes::new(), lifetime: Lifetime::Lasting, sequence: false };
    let ops = vec![
        Op::Check(key(0), Some(stamp(1))),
        create(key(1)),
        Op::Set(key(2), Bytes::new(), Some(stamp(2))),
        Op::Set(key(3), Bytes::new(), None),
        Op::Delete(key(4), None),
    ];
    let change = Change::new(Purpose::Parent, ops);
    let wanted = [None, Some(None), Some(Some(stamp(2))), Some(None), None, None];
    for (shard, over) in (0..).zip(wanted) {
        assert_eq!(written_over(&change, &Facet::Record(shard), &turn), over, "{shard}");
    }
}
