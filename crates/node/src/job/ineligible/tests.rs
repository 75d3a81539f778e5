use super::*;
use crate::names::JobIx;
use crate::outbox::Purpose;
use crate::rig::{ME, Rig, SESSION, instance};
use flockwork_registry::{Index, Lifetime};

const DONE: Verdict = Verdict::Done(Index(9));
const EXISTS: Verdict = Verdict::Refused(Why::Exists, None);
const ABSENT: Verdict = Verdict::Refused(Why::Absent, None);
const NEXT: SessionId = SessionId(8);

#[derive(Debug, PartialEq, Eq)]
enum Sent {
    Nothing,
    Made(&'static str),
    Written(&'static str),
    Deleted,
}

/// What is sent for a note that is to say this.
fn sent(rig: &mut Rig, note: &mut IneligibleNote, wanted: Option<&'static str>) -> Sent {
    note.reconcile(&mut rig.turn(), wanted.map(Bytes::from));
    let sent = rig.sent();
    let Some(change) = sent.first() else { return Sent::Nothing };
    let ([op], 1) = (&change.ops[..], sent.len()) else { panic!("{sent:?}") };
    assert_eq!(*op.key(), own_key(&rig.turn()));
    match (op, wanted) {
        (Op::Create { value, lifetime: Lifetime::Session, .. }, Some(said)) if value == said => {
            Sent::Made(said)
        }
        (Op::Set(_, value, None), Some(said)) if value == said => Sent::Written(said),
        (Op::Delete(_, None), None) => Sent::Deleted,
        other => panic!("{other:?}"),
    }
}

/// A note that is to say this, and what became of it.
fn noted(verdict: &Verdict) -> (Rig, IneligibleNote) {
    let (mut rig, mut note) = (Rig::new(), IneligibleNote::default());
    note.reconcile(&mut rig.turn(), Some("a".into()));
    let change = rig.sent_one();
    assert_eq!(change.purpose, Purpose::Job(JobIx(0), JobChange::Ineligible));
    assert_eq!(rig.written(&change), [Facet::Ineligible(instance(ME))]);
    note.answered(&mut rig.turn(), change, verdict);
    (rig, note)
}

#[test]
fn what_became_of_a_note_says_what_is_done_next() {
    for (verdict, same, other, none) in [
        (DONE, Sent::Nothing, Sent::Written("b"), Sent::Deleted),
        // It is there, and what it says is not known.
        (EXISTS, Sent::Written("a"), Sent::Written("b"), Sent::Deleted),
        (ABSENT, Sent::Made("a"), Sent::Made("b"), Sent::Nothing),
        (Verdict::Unknown, Sent::Made("a"), Sent::Made("b"), Sent::Deleted),
        (Verdict::SessionEnded(SESSION), Sent::Made("a"), Sent::Made("b"), Sent::Deleted),
        (Verdict::TooLarge, Sent::Nothing, Sent::Written("b"), Sent::Deleted),
    ] {
        for (wanted, expected) in [(Some("a"), same), (Some("b"), other), (None, none)] {
            let (mut rig, mut note) = noted(&verdict);
            assert!(rig.is_job_marked() != rig.alarms.next().1.is_some(), "{verdict:?}");
            assert_eq!(sent(&mut rig, &mut note, wanted), expected, "{verdict:?} {wanted:?}");
        }
    }
}

#[test]
fn one_change_is_under_way_at_a_time_and_is_waited_for() {
    let (mut rig, mut note) = (Rig::new(), IneligibleNote::default());
    assert_eq!(sent(&mut rig, &mut note, None), Sent::Nothing);
    note.reconcile(&mut rig.turn(), Some("a".into()));
    let change = rig.sent_one();
    assert_eq!(sent(&mut rig, &mut note, None), Sent::Nothing);
    assert_eq!(note.awaited().collect::<Vec<_>>(), [JobChange::Ineligible]);
    note.answered(&mut rig.turn(), change, &Verdict::NotTaken);
    assert_eq!(rig.purposes(), [Purpose::Job(JobIx(0), JobChange::Ineligible)], "sent again");
    assert_eq!(sent(&mut rig, &mut note, None), Sent::Nothing);
}

#[test]
fn a_note_that_was_taken_away_is_made_anew_and_one_in_doubt_is_taken_away_again() {
    for (verdict, wanted, expected) in [
        (DONE, None, Sent::Nothing),
        (DONE, Some("a"), Sent::Made("a")),
        (ABSENT, None, Sent::Nothing),
        (Verdict::Unknown, None, Sent::Deleted),
    ] {
        let (mut rig, mut note) = noted(&DONE);
        note.reconcile(&mut rig.turn(), None);
        let change = rig.sent_one();
        note.answered(&mut rig.turn(), change, &verdict);
        assert_eq!(sent(&mut rig, &mut note, wanted), expected, "{verdict:?}");
    }
}

#[test]
fn a_note_goes_with_its_session() {
    for verdict in [DONE, EXISTS, Verdict::Unknown] {
        let (mut rig, mut note) = noted(&verdict);
        rig.trust.renew(rig.now, NEXT, rig.trust.until());
        assert_eq!(sent(&mut rig, &mut note, None), Sent::Nothing, "{verdict:?}");
        assert_eq!(sent(&mut rig, &mut note, Some("a")), Sent::Made("a"), "{verdict:?}");
    }
    let (mut rig, mut note) = (Rig::new(), IneligibleNote::default());
    rig.trust.end();
    assert_eq!(sent(&mut rig, &mut note, Some("a")), Sent::Nothing, "no session");
}
