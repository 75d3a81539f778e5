use super::*;
use crate::names::JobIx;
use crate::outbox::Purpose;
use crate::rig::{ME, OTHER, Rig, SESSION, at, config, entry, instance, mirror, stamp};
use flockwork_registry::{Entry, Index, Lifetime};
use std::sync::Arc;

const EVERY: &str = "shardingTotalCount: 2\nprops:\n  flockwork.every: 1s";
const DONE: Verdict = Verdict::Done(Index(9));

fn own() -> Facet {
    Facet::Instance(instance(ME))
}

fn server() -> Facet {
    Facet::Server(instance(ME).server().to_owned())
}

/// A job that the other instance serves, and this one does not yet.
fn joining() -> (Rig, Mirror, Arc<JobConfig>) {
    let (mut rig, config) = (Rig::new(), config(EVERY));
    let mut mirror = mirror(&mut rig, &config);
    mirror.lists(Facet::Instances, &[OTHER]);
    (rig, mirror, config)
}

/// The same, served by this instance, too.
fn serving() -> (Rig, Mirror, Membership) {
    let (mut rig, mut mirror, config) = joining();
    let mut membership = Membership::new();
    membership.register(&mut rig.turn(), &mut mirror, Some(&config));
    let change = rig.sent_one();
    let stands = membership.register_answered(&mut rig.turn(), &mut mirror, change, &DONE);
    assert_eq!(stands, Some(Registered::Serves));
    mirror.lists(Facet::Instances, &[ME, OTHER]);
    (rig, mirror, membership)
}

/// The same, and the leave is under way.
fn leaving() -> (Rig, Mirror, Membership, Change) {
    let (mut rig, mirror, mut membership) = serving();
    assert!(membership.leave("it is told to"));
    membership.begins_to_leave();
    membership.send_leave(&mut rig.turn(), Vec::new());
    let change = rig.sent_one();
    (rig, mirror, membership, change)
}

fn held_by(session: Option<SessionId>) -> Answer {
    Answer::Entry(Some(Entry { session, ..entry("", 0) }))
}

#[test]
fn nobody_registers_before_all_that_it_needs_is_known() {
    for unknown in [Facet::Instances, server(), Facet::Plan] {
        let (mut rig, mut mirror, config) = joining();
        mirror.read(&mut rig.turn(), unknown.clone());
        let mut membership = Membership::new();
        membership.register(&mut rig.turn(), &mut mirror, Some(&config));
        assert!(rig.sent().is_empty(), "{unknown:?}");
    }
    let (mut rig, mut mirror, config) = joining();
    let mut membership = Membership::new();
    membership.register(&mut rig.turn(), &mut mirror, None);
    assert!(rig.sent().is_empty(), "no definition counts");
    membership.register(&mut rig.turn(), &mut mirror, Some(&config));
    assert_eq!(rig.sent_one().purpose, Purpose::Job(JobIx(0), JobChange::Register));
    membership.register(&mut rig.turn(), &mut mirror, Some(&config));
    assert!(rig.sent().is_empty(), "once is enough");
}

#[test]
fn whoever_registers_demands_its_server_or_makes_it() {
    for (held, is_disabled, made) in [
        (Some("ENABLED"), false, None),
        (Some("DISABLED"), true, None),
        (None, false, Some("ENABLED")),
        (None, true, Some("DISABLED")),
    ] {
        let (mut rig, mut mirror, _) = joining();
        let config = config(&format!("disabled: {is_disabled}\n{EVERY}"));
        mirror.holds(server(), held.map(|status| entry(status, 3)));
        Membership::new().register(&mut rig.turn(), &mut mirror, Some(&config));
        let ops = rig.sent_one().ops;
        assert_eq!(ops.len(), 2, "somebody else lives");
        let is_own = |op: &Op| {
            let Op::Create { key, lifetime, .. } = op else { return false };
            rig.settings.namespace.parse(key).unwrap().1 == own() && *lifetime == Lifetime::Session
        };
        assert!(is_own(&ops[0]), "{:?}", ops[0]);
        let key = rig.turn().key(&server());
        let wanted = made.map_or(Op::Check(key.clone(), None), |status| Op::create(key, status));
        assert_eq!(ops[1], wanted);
    }
}

#[test]
fn whoever_finds_nobody_else_there_notes_that_someone_lives() {
    let old = |alive| Plan { alive, ..Plan::new("every 1s".into(), 2, at(1_000)) };
    for (before, alive) in [
        (None, at(10_000)),
        (Some(old(at(1_000))), at(10_000)),
        // Whoever wrote that had a clock that was ahead: time does not go back in a plan.
        (Some(old(at(60_000))), at(60_000)),
    ] {
        let (mut rig, mut mirror, config) = joining();
        mirror.lists(Facet::Instances, &[]);
        mirror.holds(Facet::Plan, before.as_ref().map(|plan| entry(plan::encode(plan), 4)));
        Membership::new().register(&mut rig.turn(), &mut mirror, Some(&config));
        let change = rig.sent_one();
        assert_eq!(rig.checked(&change), [server()]);
        let value = match &change.ops[2] {
            Op::Create { value, .. } if before.is_none() => value,
            Op::Set(_, value, over) if *over == Some(stamp(4)) => value,
            op => panic!("{op:?}"),
        };
        let plan = plan::decode(value).unwrap();
        assert_eq!((plan.alive, plan.shards), (alive, 2));
        let from = if before.is_none() { at(10_000) } else { at(1_000) };
        assert_eq!(plan.from(0), from, "what was due before is not forgotten");
    }
}

#[test]
fn a_registration_whose_node_is_there_already_is_read() {
    for (session, stands) in
        [(Some(SESSION), Some(Registered::Serves)), (Some(SessionId(6)), None), (None, None)]
    {
        let (mut rig, mut mirror, config) = joining();
        mirror.lists(Facet::Instances, &[ME, OTHER]);
        let mut membership = Membership::new();
        for _ in 0..2 {
            membership.register(&mut rig.turn(), &mut mirror, Some(&config));
        }
        assert!(rig.sent().is_empty());
        assert_eq!(rig.asked(), [own()]);
        let read = membership.own_node_read(&mut rig.turn(), &mut mirror, &held_by(session));
        assert_eq!(read, stands, "{session:?}");
        assert!(rig.is_job_marked());
        let is_serving = membership.phase() == Phase::Serving;
        assert_eq!(is_serving, stands.is_some());
        if stands.is_none() {
            assert_eq!(rig.asked(), [Facet::Instances]);
            assert_eq!(rig.alarms.next().1, Some(rig.now.mono.plus(PAUSE)));
        }
    }
}

#[test]
fn a_node_that_no_session_holds_is_not_ours_because_we_have_none() {
    let (mut rig, mut mirror, _) = joining();
    rig.trust.end();
    let mut membership = Membership::new();
    let read = membership.own_node_read(&mut rig.turn(), &mut mirror, &held_by(None));
    assert_eq!(read, None);
}

#[test]
fn a_registration_whose_answer_is_lost_is_looked_for_before_it_is_sent_again() {
    let (mut rig, mut mirror, config) = joining();
    let mut membership = Membership::new();
    membership.register(&mut rig.turn(), &mut mirror, Some(&config));
    let change = rig.sent_one();
    let verdict = Verdict::Unknown;
    let stands = membership.register_answered(&mut rig.turn(), &mut mirror, change, &verdict);
    assert_eq!(stands, None);
    let asked = rig.asked();
    for facet in [Facet::Instances, Facet::Plan, server(), own()] {
        assert!(asked.contains(&facet), "{facet:?}");
    }
    membership.register(&mut rig.turn(), &mut mirror, Some(&config));
    assert!(rig.sent().is_empty(), "not before it is known who is there");
}

#[test]
fn a_registration_that_the_registry_could_not_take_goes_out_once_more() {
    let (mut rig, mut mirror, config) = joining();
    let mut membership = Membership::new();
    membership.register(&mut rig.turn(), &mut mirror, Some(&config));
    let change = rig.sent_one();
    let verdict = Verdict::NotTaken;
    membership.register_answered(&mut rig.turn(), &mut mirror, change, &verdict);
    membership.register(&mut rig.turn(), &mut mirror, Some(&config));
    assert_eq!(rig.purposes(), [Purpose::Job(JobIx(0), JobChange::Register)]);
    assert!(!membership.may_send_leave(), "it may yet be made");
}

#[test]
fn what_follows_from_a_registration_depends_on_what_came_meanwhile() {
    let phases = [
        (Phase::Joining, Registered::Serves, Phase::Serving),
        (Phase::Serving, Registered::Serves, Phase::Serving),
        (Phase::Leaving, Registered::Serves, Phase::Serving),
        (Phase::Removed, Registered::Serves, Phase::Serving),
        (Phase::Left, Registered::Goes, Phase::Leaving),
        (Phase::Refused, Registered::Refused, Phase::Refused),
    ];
    for (before, stands, after) in phases {
        let (mut rig, mut mirror, config) = joining();
        let mut membership = Membership::new();
        membership.register(&mut rig.turn(), &mut mirror, Some(&config));
        let change = rig.sent_one();
        membership.phase = before;
        let told = membership.register_answered(&mut rig.turn(), &mut mirror, change, &DONE);
        assert_eq!((told, membership.phase()), (Some(stands), after), "{before:?}");
        assert!(membership.is_registered(Some(SESSION)));
        assert_eq!(membership.is_to_leave(), before == Phase::Left);
    }
}

#[test]
fn nobody_registers_who_is_being_taken_off_or_cannot_serve() {
    let (mut rig, mut mirror, mut membership, _) = leaving();
    mirror.lists(Facet::Instances, &[OTHER]);
    let config = config(EVERY);
    membership.register(&mut rig.turn(), &mut mirror, Some(&config));
    let mut refused = Membership::new();
    refused.refuse();
    refused.register(&mut rig.turn(), &mut mirror, Some(&config));
    assert!(rig.sent().is_empty());
}

#[test]
fn a_leave_takes_the_own_node_with_all_else_and_is_waited_for() {
    let (mut rig, _, mut membership) = serving();
    let leader = Op::Delete(rig.turn().key(&Facet::Leader), None);
    membership.send_leave(&mut rig.turn(), vec![leader]);
    let change = rig.sent_one();
    assert_eq!(rig.deleted(&change), [own(), Facet::Leader]);
    assert_eq!(membership.awaited().collect::<Vec<_>>(), [JobChange::Leave]);
    assert!(!membership.is_registered(Some(SESSION)), "others will not see it for long");
    assert!(membership.was_registered(Some(SESSION)));
    assert!(!membership.may_send_leave() && !membership.can_be_deregistered());
}

#[test]
fn a_leave_is_over_when_it_was_made_or_nothing_was_left_to_delete() {
    for (verdict, is_over, is_sent_again) in [
        (DONE, true, false),
        (Verdict::Refused(Why::Absent, Some(own())), true, false),
        (Verdict::Refused(Why::Changed, Some(own())), false, false),
        (Verdict::Unknown, false, false),
        (Verdict::SessionEnded(SESSION), false, false),
        (Verdict::NotTaken, false, true),
    ] {
        let (mut rig, mut mirror, mut membership, change) = leaving();
        let turn = &mut rig.turn();
        assert_eq!(membership.leave_answered(turn, &mut mirror, change, &verdict), is_over);
        assert_eq!(rig.sent().len(), usize::from(is_sent_again), "{verdict:?}");
        if is_over {
            assert_eq!(membership.left(&mut rig.turn()), Some("it is told to"));
            assert_eq!(membership.phase(), Phase::Left);
            assert!(!membership.is_registered(Some(SESSION)));
        }
        let may_be_sent = !is_over && !is_sent_again;
        assert_eq!(membership.may_send_leave(), may_be_sent, "{verdict:?}");
    }
}

#[test]
fn whoever_could_not_serve_is_not_told_to_have_left() {
    let (mut rig, _, mut membership) = serving();
    membership.refuse();
    membership.send_leave(&mut rig.turn(), Vec::new());
    assert_eq!(membership.left(&mut rig.turn()), None);
    assert_eq!(membership.phase(), Phase::Refused);
    assert!(membership.has_left());

    // Its definition can be served by the time the answer comes: it joins again.
    let (mut rig, _, mut membership) = serving();
    membership.refuse();
    membership.send_leave(&mut rig.turn(), Vec::new());
    membership.can_be_served();
    assert!(!rig.is_job_marked());
    assert_eq!(membership.left(&mut rig.turn()), None);
    assert_eq!(membership.phase(), Phase::Joining);
    assert!(rig.is_job_marked());
}

#[test]
fn what_is_given_anew_while_it_is_left_is_joined_once_that_is_done() {
    let (mut rig, mirror, mut membership, _) = leaving();
    membership.offer(&mirror, &instance(ME));
    assert!(membership.is_to_leave(), "the leave is under way already");
    assert_eq!(membership.left(&mut rig.turn()), Some("it is told to"));
    assert_eq!(membership.phase(), Phase::Joining);
    assert!(rig.is_job_marked() && !membership.is_to_leave());

    assert!(membership.leave("again"));
    membership.begins_to_leave();
    membership.left(&mut rig.turn());
    assert_eq!(membership.phase(), Phase::Left, "that it comes back is said once for one leave");
}

#[test]
fn a_leave_that_waits_for_runs_is_called_off_only_while_others_see_the_instance() {
    let (_, mirror, mut membership) = serving();
    membership.leave("it is told to");
    membership.offer(&mirror, &instance(ME));
    assert!(membership.serves());

    for is_known in [true, false] {
        let (mut rig, mut mirror, mut membership) = serving();
        mirror.lists(Facet::Instances, &[OTHER]);
        if !is_known {
            mirror.lists(Facet::Instances, &[ME, OTHER]);
            mirror.read(&mut rig.turn(), Facet::Instances);
        }
        membership.leave("it is told to");
        membership.offer(&mirror, &instance(ME));
        assert!(membership.is_to_leave(), "known: {is_known}");
        membership.left(&mut rig.turn());
        assert_eq!(membership.phase(), Phase::Joining);
    }
}

#[test]
fn what_was_left_refused_or_removed_is_joined_when_it_is_given_again() {
    for phase in [Phase::Refused, Phase::Left, Phase::Removed] {
        let mut membership = Membership { phase, ..Membership::new() };
        membership.offer(&Mirror::default(), &instance(ME));
        assert_eq!(membership.phase(), Phase::Joining, "{phase:?}");
    }
}

#[test]
fn a_node_that_stops_brings_nothing_back() {
    let (mut rig, mirror, mut membership, _) = leaving();
    membership.offer(&mirror, &instance(ME));
    membership.taken_off();
    membership.comes_back_no_more();
    membership.left(&mut rig.turn());
    membership.made_anew();
    assert_eq!(membership.phase(), Phase::Left);
}

#[test]
fn a_job_made_anew_is_joined_by_whoever_was_taken_off_the_old_one() {
    // Whether that was an operator or a removal that began with the instance is not known before.
    for (was_taken_off, is_first_left, after) in [
        (true, true, Phase::Joining),
        (true, false, Phase::Joining),
        (false, true, Phase::Left),
        (false, false, Phase::Left),
    ] {
        let (mut rig, _, mut membership, _) = leaving();
        if was_taken_off {
            membership.taken_off();
        }
        if is_first_left {
            membership.left(&mut rig.turn());
            membership.made_anew();
        } else {
            membership.made_anew();
            membership.left(&mut rig.turn());
        }
        assert_eq!(membership.phase(), after, "{was_taken_off} {is_first_left}");
    }
}

#[test]
fn nothing_runs_where_others_do_not_see_it() {
    let (mut rig, _, membership) = serving();
    assert!(membership.may_run(&rig.turn()));
    assert!(!membership.may_run(&Turn { is_draining: true, ..rig.turn() }), "the node stops");

    let (mut rig, _, mut membership) = serving();
    membership.is_off();
    assert!(!membership.may_run(&rig.turn()), "its own node is gone");

    let (mut rig, _, mut membership) = serving();
    membership.leave("it is told to");
    assert!(!membership.may_run(&rig.turn()), "it leaves");
    assert!(membership.goes() && !membership.serves());

    let (mut rig, _, mut membership) = serving();
    membership.send_leave(&mut rig.turn(), Vec::new());
    assert!(!membership.may_run(&rig.turn()), "it is being taken off");

    let (mut rig, _, mut membership) = serving();
    membership.session_is_new();
    assert!(!membership.may_run(&rig.turn()), "a new session holds nothing of it");

    let (mut rig, _, membership) = serving();
    rig.pass(60_000);
    assert!(!membership.may_run(&rig.turn()), "the session cannot be proven");
}

#[test]
fn an_own_node_that_is_gone_is_noticed_and_the_definition_read() {
    let (mut rig, mut mirror, mut membership) = serving();
    assert!(!membership.instances_read(&mut rig.turn(), &mut mirror));
    assert!(!membership.is_unlisted());
    rig.asked();
    mirror.lists(Facet::Instances, &[OTHER]);
    assert!(membership.instances_read(&mut rig.turn(), &mut mirror), "someone is gone");
    assert!(membership.is_unlisted());
    assert_eq!(rig.asked(), [Facet::Config]);

    // Whoever takes itself off is not surprised.
    let (mut rig, mut mirror, mut membership, _) = leaving();
    mirror.lists(Facet::Instances, &[OTHER]);
    membership.instances_read(&mut rig.turn(), &mut mirror);
    assert!(!membership.is_unlisted() && rig.asked().is_empty());
}

#[test]
fn someone_is_gone_who_was_seen_and_is_not_any_more() {
    let (mut rig, mut mirror, mut membership) = serving();
    for (listed, is_anyone_gone) in [
        (vec![ME, OTHER], false),
        (vec![ME, OTHER, "10.0.0.3@-@1-c"], false),
        (vec![ME, "10.0.0.3@-@1-c"], true),
        (vec![ME, "10.0.0.3@-@1-c"], false),
    ] {
        mirror.lists(Facet::Instances, &listed);
        let told = membership.instances_read(&mut rig.turn(), &mut mirror);
        assert_eq!(told, is_anyone_gone, "{listed:?}");
    }
    mirror.read(&mut rig.turn(), Facet::Instances);
    assert!(!membership.instances_read(&mut rig.turn(), &mut mirror), "unknown is not gone");
}

#[test]
fn the_first_reason_to_leave_stands() {
    let (mut rig, _, mut membership) = serving();
    assert!(membership.leave("the first"));
    assert!(!membership.leave("the second"));
    membership.begins_to_leave();
    assert_eq!(membership.left(&mut rig.turn()), Some("the first"));
    assert!(!membership.leave("the third"), "it has left");
}

#[test]
fn a_job_that_is_removed_holds_nothing_of_the_instance() {
    let (mut rig, mut mirror, mut membership) = serving();
    membership.refuse();
    membership.send_leave(&mut rig.turn(), Vec::new());
    let change = rig.sent_one();
    membership.removed();
    assert!(membership.has_left() && membership.may_send_leave());
    assert!(!membership.was_registered(Some(SESSION)));
    // The answer to a leave that was under way changes nothing.
    assert!(membership.leave_answered(&mut rig.turn(), &mut mirror, change, &DONE));
    assert_eq!(membership.left(&mut rig.turn()), None);
    assert_eq!(membership.phase(), Phase::Removed);
    membership.is_defined_again();
    assert_eq!(membership.phase(), Phase::Joining);
}

#[test]
fn a_server_that_is_switched_on_again_is_told_once() {
    let (mut rig, mut mirror, mut membership) = serving();
    for (status, is_told) in [
        (Some("ENABLED"), false),
        (Some("DISABLED"), false),
        (None, false),
        (Some("DISABLED"), false),
        (Some("ENABLED"), true),
        (Some("ENABLED"), false),
    ] {
        match status {
            Some(status) => {
                let version = 1 + u32::from(status == "DISABLED");
                mirror.holds(server(), Some(entry(status, version)));
            }
            None => mirror.read(&mut rig.turn(), server()),
        }
        let told = membership.is_switched_on(&mirror, &instance(ME));
        assert_eq!(told, is_told, "{status:?}");
    }
}
