use super::*;
use crate::names::JobIx;
use crate::outbox::Purpose;
use crate::rig::{Rig, at, config, entry, stamp};
use flockwork_registry::{Entry, Why};

const OFFERED: &str = "shardingTotalCount: 2\nprops:\n  flockwork.every: 1s";
const OTHER: &str = "shardingTotalCount: 3\nprops:\n  flockwork.every: 1s";
const DONE: Verdict = Verdict::Done(Index(9));
/// How the job stands while it is joined.
const JOINING: (bool, bool) = (false, false);

fn definition(applies: bool) -> Definition {
    Definition::new(config(OFFERED), applies)
}

/// A registry that holds nothing of the job.
fn nothing() -> (Rig, Mirror) {
    let (rig, mut mirror) = (Rig::new(), Mirror::default());
    for facet in [Facet::Job, Facet::Config, Facet::OwnJob, Facet::Plan] {
        mirror.holds(facet, None);
    }
    (rig, mirror)
}

/// A registry that holds a definition of it, written so often.
fn defined(lines: &str, version: u32) -> (Rig, Mirror) {
    let (rig, mut mirror) = nothing();
    mirror.holds(Facet::Job, Some(entry("x", 1)));
    mirror.holds(Facet::OwnJob, Some(entry("", 1)));
    mirror.holds(Facet::Config, Some(document_of(lines, version)));
    (rig, mirror)
}

fn document_of(lines: &str, version: u32) -> Entry {
    entry(document::encode(&config(lines)), version)
}

/// A definition that has counted as it was offered.
fn counting() -> (Rig, Mirror, Definition) {
    let (mut rig, mirror) = defined(OFFERED, 1);
    let mut definition = definition(false);
    let adoption = definition.adopt(&mut rig.turn(), &mirror, JOINING);
    assert!(matches!(adoption, Adoption::Counts(_)));
    (rig, mirror, definition)
}

#[test]
fn a_new_job_is_made_all_or_none_and_once() {
    let (mut rig, mirror) = nothing();
    let mut definition = definition(false);
    for _ in 0..2 {
        assert!(definition.make_tree(&mut rig.turn(), &mirror, true));
    }
    let change = rig.sent_one();
    assert_eq!(change.purpose, Purpose::Job(JobIx(0), JobChange::Tree));
    let wanted = [
        Facet::Job,
        Facet::Config,
        Facet::Instances,
        Facet::Servers,
        Facet::LeaderRoot,
        Facet::Election,
        Facet::ShardingFlags,
        Facet::Sharding,
        Facet::Triggers,
        Facet::OwnJob,
        Facet::Records,
        Facet::Retries,
    ];
    assert_eq!(rig.written(&change), wanted);
    assert!(change.ops.iter().all(|op| matches!(op, Op::Create { .. })), "none is written over");
    let values = [Bytes::from("x"), document::encode(&config(OFFERED)).into()];
    for (op, value) in change.ops.iter().zip(values) {
        assert_eq!(*op, Op::create(op.key().clone(), value));
    }
    assert_eq!(definition.awaited().collect::<Vec<_>>(), [JobChange::Tree]);
}

#[test]
fn only_what_is_lacking_is_made() {
    let own = [Facet::OwnJob, Facet::Records, Facet::Retries];
    for (there, not_made, made) in [
        (Facet::Job, vec![Facet::Job], vec![Facet::Config]),
        (Facet::OwnJob, own.to_vec(), vec![Facet::Job, Facet::Config]),
        // ElasticJob's: what is ours is made beside it.
        (Facet::Config, vec![Facet::Config, Facet::Job, Facet::Instances], own.to_vec()),
    ] {
        let (mut rig, mut mirror) = nothing();
        mirror.holds(there.clone(), Some(entry("x", 1)));
        assert!(definition(false).make_tree(&mut rig.turn(), &mirror, true));
        let change = rig.sent_one();
        let written = rig.written(&change);
        assert!(not_made.iter().all(|facet| !written.contains(facet)), "{there:?}: {written:?}");
        assert!(made.iter().all(|facet| written.contains(facet)), "{there:?}: {written:?}");
    }
    let (mut rig, mirror) = defined(OFFERED, 1);
    assert!(!definition(false).make_tree(&mut rig.turn(), &mirror, true));
    assert!(rig.sent().is_empty(), "nothing is lacking");
}

#[test]
fn the_plan_of_a_job_that_was_removed_begins_anew() {
    let (mut rig, mut mirror) = nothing();
    let old = Plan { generation: 8, ..Plan::new("every 5s".into(), 4, at(1_000)) };
    mirror.holds(Facet::Plan, Some(entry(plan::encode(&old), 5)));
    definition(false).make_tree(&mut rig.turn(), &mirror, true);
    let change = rig.sent_one();
    let [Op::Set(key, value, over), ..] = &change.ops[..] else { panic!("{change:?}") };
    assert_eq!((key, *over), (&rig.turn().key(&Facet::Plan), Some(stamp(5))));
    let schedule = config(OFFERED).schedule_fingerprint();
    let wanted = Plan::new(schedule.into(), 2, rig.now.wall);
    assert_eq!(plan::decode(value).unwrap(), wanted, "nothing was due while there was no job");
}

#[test]
fn nothing_is_made_while_it_is_not_known_what_is_there() {
    for (unknown, is_under_way) in [(Facet::Config, false), (Facet::Plan, true), (Facet::Job, true)]
    {
        let (mut rig, mut mirror) = nothing();
        mirror.holds(Facet::OwnJob, Some(entry("", 1)));
        mirror.read(&mut rig.turn(), unknown.clone());
        let made = definition(false).make_tree(&mut rig.turn(), &mirror, true);
        assert_eq!(made, is_under_way, "{unknown:?}");
        assert!(rig.sent().is_empty(), "{unknown:?}");
    }
    let (mut rig, mut mirror) = defined(OFFERED, 1);
    mirror.read(&mut rig.turn(), Facet::OwnJob);
    assert!(!definition(false).make_tree(&mut rig.turn(), &mirror, true));
    assert!(rig.sent().is_empty());
}

#[test]
fn whoever_does_not_join_brings_nothing_back() {
    let (mut rig, mirror) = nothing();
    assert!(!definition(false).make_tree(&mut rig.turn(), &mirror, false));
    assert!(rig.sent().is_empty());
}

#[test]
fn what_was_made_or_refused_is_read() {
    for (verdict, is_over) in [
        (DONE, true),
        (Verdict::Refused(Why::Exists, Some(Facet::Job)), true),
        (Verdict::Unknown, true),
        (Verdict::NotTaken, false),
    ] {
        let (mut rig, mut mirror) = nothing();
        let mut definition = definition(false);
        definition.make_tree(&mut rig.turn(), &mirror, true);
        let change = rig.sent_one();
        definition.tree_answered(&mut rig.turn(), &mut mirror, change, &verdict);
        assert_eq!(definition.awaited().count(), usize::from(!is_over), "{verdict:?}");
        assert_eq!(rig.sent().len(), usize::from(!is_over), "{verdict:?}");
        let asked = rig.asked();
        for facet in [Facet::Config, Facet::Job, Facet::OwnJob, Facet::Plan] {
            assert_eq!(asked.contains(&facet), is_over, "{facet:?} after {verdict:?}");
        }
    }
}

#[test]
fn the_own_document_is_adopted_as_it_was_offered() {
    let (mut rig, mirror) = defined(OFFERED, 1);
    let offered = config(OFFERED);
    let mut definition = Definition::new(offered.clone(), false);
    assert_eq!((definition.shards(), definition.config().is_none()), (0, true));
    let adoption = definition.adopt(&mut rig.turn(), &mirror, JOINING);
    let Adoption::Counts(adopted) = adoption else { panic!("{adoption:?}") };
    assert!(adopted.is_told && adopted.differences.is_empty() && !adopted.applied);
    assert!(Arc::ptr_eq(definition.config().unwrap(), &offered), "it is not read anew");
    assert_eq!(definition.shards(), 2);
    let again = definition.adopt(&mut rig.turn(), &mirror, (true, false));
    assert!(matches!(again, Adoption::None { counts: true }), "{again:?}");
}

#[test]
fn the_registrys_definition_counts_whatever_was_offered() {
    let (mut rig, mut mirror, mut definition) = counting();
    mirror.holds(Facet::Config, Some(document_of(OTHER, 2)));
    let adoption = definition.adopt(&mut rig.turn(), &mirror, (true, false));
    let Adoption::Counts(adopted) = adoption else { panic!("{adoption:?}") };
    assert_eq!(adopted.differences, ["shardingTotalCount: 3 (this node: 2)"]);
    assert!(!adopted.is_told, "that it is served was told before");
    assert_eq!(definition.shards(), 3);
    assert!(rig.sent().is_empty(), "it is left as it is");
}

#[test]
fn a_definition_of_another_implementation_is_refused_and_that_is_new_once() {
    for (implementation, is_refused) in [("x", false), ("", false), ("y", true)] {
        let (mut rig, mut mirror) = defined(OFFERED, 1);
        mirror.holds(Facet::Job, Some(entry(implementation, 2)));
        let mut definition = definition(false);
        for is_new in [true, false] {
            let stands = (false, is_refused && !is_new);
            match definition.adopt(&mut rig.turn(), &mirror, stands) {
                Adoption::Refused { code, is_new: told, text } if is_refused => {
                    assert_eq!((code, told), ("IMPLEMENTATION_CONFLICT", is_new));
                    assert!(text.contains("\"y\"") && text.contains("\"x\""), "{text}");
                }
                Adoption::Counts(_) if !is_refused && is_new => {}
                Adoption::None { counts: true } if !is_refused && !is_new => {}
                other => panic!("{implementation:?}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_definition_with_a_listener_needs_one_in_the_program() {
    let with_one = format!("{OFFERED}\n  flockwork.listener.on_failure: run");
    // What is offered, whether it replaces the registry's; whether the job is refused.
    let table = [(OFFERED, false, true), (OFFERED, true, false), (&with_one, false, false)];
    for (offered, applies, is_refused) in table {
        let (mut rig, mirror) = defined(&with_one, 1);
        let mut definition = Definition::new(config(offered), applies);
        match definition.adopt(&mut rig.turn(), &mirror, JOINING) {
            Adoption::Refused { code: "NO_LISTENER", is_new: true, .. } if is_refused => {}
            Adoption::None { counts: false } if applies => {}
            Adoption::Counts(_) if !is_refused => {}
            other => panic!("{offered:?} {applies}: {other:?}"),
        }
    }
    // A program may have a listener that nobody has it call.
    let (mut rig, mirror) = defined(OFFERED, 1);
    let mut definition = Definition::new(config(&with_one), false);
    let adoption = definition.adopt(&mut rig.turn(), &mirror, JOINING);
    assert!(matches!(adoption, Adoption::Counts(_)), "{adoption:?}");
}

#[test]
fn a_definition_that_cannot_be_served_is_refused_until_it_changes() {
    for has_counted in [false, true] {
        let (mut rig, mut mirror, mut definition) = counting();
        if !has_counted {
            definition.removed(&mirror);
        }
        let mut told = Vec::new();
        for (text, version) in [("shardingTotalCount: 0", 2), ("no: job", 3), ("no: job", 3)] {
            mirror.holds(Facet::Config, Some(entry(text, version)));
            match definition.adopt(&mut rig.turn(), &mirror, (false, !told.is_empty())) {
                Adoption::Refused { is_new, .. } => told.push(is_new),
                Adoption::None { counts } if has_counted => told.push(counts),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(told, [true, true, false], "{has_counted}");
        mirror.holds(Facet::Config, Some(document_of(OTHER, 4)));
        let adoption = definition.adopt(&mut rig.turn(), &mirror, (false, true));
        assert!(matches!(adoption, Adoption::Counts(_)), "{adoption:?}");
    }
}

/// Its bytes are the same; what it was refused for lay in the job's own node.
#[test]
fn a_definition_refused_for_its_implementation_counts_once_that_is_put_right() {
    for has_counted in [false, true] {
        let (mut rig, mut mirror, mut definition) = counting();
        if !has_counted {
            definition.removed(&mirror);
        }
        mirror.holds(Facet::Config, Some(document_of(OTHER, 2)));
        let right = mirror.implementation().value().cloned().unwrap_or_default();
        mirror.holds(Facet::Job, Some(entry("another", 2)));
        let adoption = definition.adopt(&mut rig.turn(), &mirror, (true, false));
        assert!(matches!(adoption, Adoption::Refused { is_new: true, .. }), "{adoption:?}");
        let adoption = definition.adopt(&mut rig.turn(), &mirror, (false, true));
        assert!(matches!(adoption, Adoption::Refused { is_new: false, .. }), "{adoption:?}");
        mirror.holds(Facet::Job, Some(entry(right, 3)));
        let adoption = definition.adopt(&mut rig.turn(), &mirror, (false, true));
        assert!(matches!(adoption, Adoption::Counts(_)), "{adoption:?}");
    }
}

#[test]
fn what_a_definition_meant_counts_no_more_while_it_is_not_known_what_one_means() {
    for (unknown, is_served, counts) in
        [(Facet::Config, true, true), (Facet::Config, false, false), (Facet::Job, true, false)]
    {
        let (mut rig, mut mirror, mut definition) = counting();
        mirror.holds(Facet::Config, Some(document_of(OTHER, 2)));
        mirror.read(&mut rig.turn(), unknown.clone());
        match definition.adopt(&mut rig.turn(), &mirror, (is_served, false)) {
            Adoption::None { counts: told } => assert_eq!(told, counts, "{unknown:?}"),
            other => panic!("{other:?}"),
        }
    }
    let (mut rig, _) = nothing();
    let adoption = definition(false).adopt(&mut rig.turn(), &Mirror::default(), (true, false));
    assert!(matches!(adoption, Adoption::None { counts: false }), "none has counted yet");
}

#[test]
fn whoever_applies_its_definition_writes_over_the_one_it_has_read() {
    let (mut rig, mut mirror) = defined(OTHER, 6);
    let mut definition = definition(true);
    for _ in 0..2 {
        let adoption = definition.adopt(&mut rig.turn(), &mirror, JOINING);
        assert!(matches!(adoption, Adoption::None { counts: false }), "{adoption:?}");
    }
    let change = rig.sent_one();
    let own = Bytes::from(document::encode(&config(OFFERED)));
    let key = rig.turn().key(&Facet::Config);
    assert_eq!(change.ops, [Op::Set(key, own, Some(stamp(6)))]);
    assert_eq!(definition.awaited().collect::<Vec<_>>(), [JobChange::Config]);

    definition.answered(&mut rig.turn(), &mut mirror, change, &DONE);
    assert_eq!(rig.asked(), [Facet::Config]);
    mirror.holds(Facet::Config, Some(document_of(OFFERED, 7)));
    let adoption = definition.adopt(&mut rig.turn(), &mirror, JOINING);
    let Adoption::Counts(adopted) = adoption else { panic!("{adoption:?}") };
    assert!(adopted.is_told && adopted.applied);

    // An operator's word stands until the program gives its own again.
    mirror.holds(Facet::Config, Some(document_of(OTHER, 8)));
    let adoption = definition.adopt(&mut rig.turn(), &mirror, (true, false));
    assert!(matches!(adoption, Adoption::Counts(Adopted { applied: false, .. })));
    assert!(rig.sent().is_empty());
}

#[test]
fn a_definition_that_changed_before_it_was_written_over_is_read_and_written_over_anew() {
    let (mut rig, mut mirror) = defined(OTHER, 6);
    let mut definition = definition(true);
    definition.adopt(&mut rig.turn(), &mirror, JOINING);
    let change = rig.sent_one();
    let verdict = Verdict::Refused(Why::Changed, Some(Facet::Config));
    definition.answered(&mut rig.turn(), &mut mirror, change, &verdict);
    assert_eq!(rig.asked(), [Facet::Config]);
    assert_eq!(definition.awaited().count(), 0);
    mirror.holds(Facet::Config, Some(document_of(OTHER, 7)));
    definition.adopt(&mut rig.turn(), &mirror, JOINING);
    let change = rig.sent_one();
    assert!(matches!(change.ops[..], [Op::Set(_, _, Some(over))] if over == stamp(7)));
}

#[test]
fn a_job_is_gone_that_was_there_and_is_known_not_to_be_any_more() {
    let (_, mut mirror) = nothing();
    let mut never_there = definition(false);
    assert!(!never_there.is_gone(&mirror));
    never_there.removed(&mirror);

    let (mut rig, read, mut definition) = counting();
    assert!(!definition.is_gone(&read));
    mirror.read(&mut rig.turn(), Facet::Config);
    assert!(!definition.is_gone(&mirror), "unknown is not gone");
    mirror.holds(Facet::Config, None);
    assert!(definition.is_gone(&mirror));
    definition.removed(&mirror);
    assert!(definition.config().is_none() && !definition.is_gone(&mirror));
}

#[test]
fn a_job_that_is_offered_again_is_not_gone_but_made() {
    let (_, mirror) = nothing();
    let (_, _, mut definition) = counting();
    assert!(definition.is_gone(&mirror));
    definition.offer(config(OTHER), false);
    assert!(!definition.is_gone(&mirror));
}

#[test]
fn what_is_offered_otherwise_is_compared_once_more() {
    let (mut rig, mirror, mut definition) = counting();
    definition.offer(config(OTHER), true);
    definition.adopt(&mut rig.turn(), &mirror, (true, false));
    let change = rig.sent_one();
    let own = Bytes::from(document::encode(&config(OTHER)));
    assert!(matches!(&change.ops[..], [Op::Set(_, value, _)] if *value == own), "{change:?}");
}

#[test]
fn a_definition_made_anew_is_told_from_one_that_was_changed() {
    let mut definition = definition(false);
    for (created, version, told) in [
        (Some(5), 0, Found::First),
        (Some(5), 1, Found::Same),
        (Some(7), 0, Found::MadeAnew),
        (None, 0, Found::Same),
        (Some(7), 1, Found::Same),
        (Some(8), 0, Found::MadeAnew),
    ] {
        let (_, mut mirror) = nothing();
        let held = created.map(|created| {
            let stamp = Stamp { created: Index(created), ..stamp(version) };
            Entry { stamp, ..entry("", version) }
        });
        mirror.holds(Facet::Config, held);
        assert_eq!(definition.read(&mirror, &History::default()), told, "{created:?} {version}");
    }
    // A removal that was seen is known: the next one is the first again.
    let (_, mut mirror) = nothing();
    definition.removed(&mirror);
    mirror.holds(Facet::Config, Some(entry("", 0)));
    assert_eq!(definition.read(&mirror, &History::default()), Found::First);
}

#[test]
fn a_job_says_how_often_it_is_read_again_or_it_is_every_ten_minutes() {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    assert_eq!(definition(false).resync_interval(), minutes(10));
    let offered = config(&format!("reconcileIntervalMinutes: 3\n{OFFERED}"));
    let mut definition = Definition::new(offered, false);
    assert_eq!(definition.resync_interval(), minutes(3), "the offered one's, before one counts");
    let (mut rig, mirror) = defined(OFFERED, 1);
    definition.adopt(&mut rig.turn(), &mirror, JOINING);
    assert_eq!(definition.resync_interval(), minutes(10));
}
