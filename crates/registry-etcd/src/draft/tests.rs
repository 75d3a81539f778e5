//! What commits become.

use super::*;
use crate::batch::{Mark, txn};
use crate::look::Questions;
use crate::wire::{OpAnswer, Ranged, TxnAnswer};
use crate::{LIMITS, wire};
use flockwork_registry::Index;

const SESSION: SessionId = SessionId(9);

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn known(entries: &[&str]) -> Known {
    let mut known = Known::default();
    for text in ["/"].iter().chain(entries) {
        let stamp = Stamp { created: Index(256), modified: Index(512), version: 1 };
        known.learn(&key(text), Some(There { stamp, session: None }), 2);
    }
    known
}

fn add(draft: &mut Draft, ops: &[Op], known: &Known, look: Option<&Look>) -> Result<Added, Stop> {
    draft.add(ops, Facts { known, look, tries: 0 }, 1)
}

/// A look at revision 3 that finds nothing but so many children of each key asked for.
fn look(ops: &[Op], counts: i64) -> Look {
    let mut questions = Questions::default();
    assert!(questions.add(ops));
    let asked = questions.txn(&Place::new(""), 9).then;
    let answers = asked.iter().map(|op| {
        let counts_only = matches!(&op.does, Some(wire::Does::Range(range)) if range.count_only);
        let count = if counts_only { counts } else { 0 };
        OpAnswer { range: Some(Ranged { count, ..Ranged::default() }) }
    });
    let header = Some(wire::Header { revision: 3, ..wire::Header::default() });
    let answer = TxnAnswer { header, succeeded: true, answers: answers.collect() };
    questions.answered(answer, &mut Known::default()).unwrap().0
}

fn sizes(draft: &Draft) -> (usize, usize) {
    let mark = Mark { lease: 9, revision: 1 };
    let txn = txn(draft, mark, &Place::new("/root"));
    assert!(txn.compares.len() <= draft.compares && txn.then.len() <= draft.operations);
    (txn.compares.len(), txn.then.len())
}

#[test]
fn a_commit_becomes_its_net_effect() {
    let mut draft = Draft::new(SESSION);
    let known = known(&["/b"]);
    let ops = [
        Op::CheckAbsent(key("/a")),
        Op::create(key("/a"), "1"),
        Op::Set(key("/a"), "2".into(), None),
        Op::Delete(key("/a"), None),
        Op::Set(key("/b"), "3".into(), None),
        Op::Set(key("/b"), "4".into(), None),
    ];
    let added = add(&mut draft, &ops, &known, None).unwrap();
    assert_eq!(added.turn, Some(0));
    // The mark, the root, /a, /b; /b, the number of /a, the mark.
    assert_eq!(sizes(&draft), (4, 3));
    let b = draft.sheet.slots[&key("/b")].now.as_ref().unwrap();
    assert_eq!((b.version, b.created), (3, When::At(Index(256))));
    assert_eq!(b.value.as_deref(), Some(&b"4"[..]));
}

#[test]
fn a_refused_commit_leaves_the_draft_as_it_was() {
    let (mut draft, known) = (Draft::new(SESSION), known(&["/a"]));
    add(&mut draft, &[Op::create(key("/b"), "")], &known, None).unwrap();
    let before = sizes(&draft);
    let ops = [Op::create(key("/c"), ""), Op::create(key("/b"), "")];
    let refusal = Refusal { at: 1, key: key("/b"), why: Why::Exists };
    assert_eq!(add(&mut draft, &ops, &known, None), Err(Stop::Refused(refusal)));
    let unknown = [Op::create(key("/c"), ""), Op::Check(key("/nobody/knows"), None)];
    assert_eq!(add(&mut draft, &unknown, &known, None), Err(Stop::Unknown));
    assert_eq!(sizes(&draft), before);
    let only_checks = add(&mut draft, &[Op::Check(key("/a"), None)], &known, None).unwrap();
    assert_eq!(only_checks.turn, None);
    let next = add(&mut draft, &[Op::create(key("/d"), "")], &known, None).unwrap();
    assert_eq!(next.turn, Some(1));
}

fn numbered(above: &str) -> Op {
    let lifetime = Lifetime::Lasting;
    Op::Create { key: key(&format!("{above}/n")), value: "".into(), lifetime, sequence: true }
}

fn look_at_number(now: Option<u64>) -> Look {
    let mut look = look(&[numbered("/a")], 0);
    look.numbers.insert(key("/a"), Number { fence: Some(2), now });
    look
}

#[test]
fn names_made_by_hand_are_stepped_over_for_good() {
    let known = known(&["/a", "/a/n0000000007", "/a/n0000000008", "/a/n0000000010"]);
    let look = look_at_number(Some(7));
    let mut draft = Draft::new(SESSION);
    let ops = [numbered("/a"), Op::create(key("/a/n0000000011"), ""), numbered("/a")];
    let added = add(&mut draft, &ops, &known, Some(&look)).unwrap();
    assert_eq!(added.sequenced, [key("/a/n0000000009"), key("/a/n0000000012")]);
    assert_eq!(draft.sheet.numbers[&key("/a")].now, Some(13));
    let next = add(&mut draft, &[numbered("/a")], &known, Some(&look)).unwrap();
    assert_eq!(next.sequenced, [key("/a/n0000000013")]);
    assert!(!draft.sheet.slots.contains_key(&key("/a/n0000000007")), "nothing rests on it");
    // One that is not known takes a try.
    let mut draft = Draft::new(SESSION);
    let facts = Facts { known: &known, look: Some(&look), tries: 4 };
    let added = draft.add(&[numbered("/a")], facts, 1).unwrap();
    assert_eq!(added.sequenced, [key("/a/n0000000011")]);
}

#[test]
fn stepping_over_is_bounded() {
    let names: Vec<String> = (0..=STEPS).map(|n| format!("/a/n{n:010}")).collect();
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.insert(0, "/a");
    let refusal = Refusal { at: 0, key: key("/a/n"), why: Why::Exists };
    let (look, ops) = (look_at_number(None), [numbered("/a")]);
    let refused = add(&mut Draft::new(SESSION), &ops, &known(&names), Some(&look));
    assert_eq!(refused, Err(Stop::Refused(refusal)));
    let one_less = known(&names[..=STEPS - 1]);
    let added = add(&mut Draft::new(SESSION), &ops, &one_less, Some(&look)).unwrap();
    assert_eq!(added.sequenced, [key(&format!("/a/n{:010}", STEPS - 1))]);
}

#[test]
fn the_last_number_has_none_after_it() {
    let known = known(&["/a", "/a/n18446744073709551614"]);
    for (now, tries) in [(u64::MAX, 0), (u64::MAX - 1, 0), (u64::MAX - 3, 4)] {
        let look = look_at_number(Some(now));
        let facts = Facts { known: &known, look: Some(&look), tries };
        let mut draft = Draft::new(SESSION);
        assert_eq!(draft.add(&[numbered("/a")], facts, 1), Err(Stop::Number), "{now} {tries}");
    }
}

#[test]
fn a_key_is_deleted_once_all_its_children_are() {
    let known = known(&["/a", "/a/b"]);
    let ops = [Op::Delete(key("/a/b"), None), Op::Delete(key("/a"), None)];
    let above = &ops[1..];
    let mut draft = Draft::new(SESSION);
    assert_eq!(add(&mut draft, &ops, &known, None), Err(Stop::Unknown), "there is one at least");
    let not_empty = Refusal { at: 0, key: key("/a"), why: Why::NotEmpty };
    let refused = add(&mut draft, above, &known, Some(&look(above, 1)));
    assert_eq!(refused, Err(Stop::Refused(not_empty)));
    let mut questions = look(&ops, 1);
    questions.counts.insert(key("/a/b"), 0);
    add(&mut draft, &ops, &known, Some(&questions)).unwrap();
    assert_eq!(draft.sheet.childless[&key("/a")], Childless::NoneAfter(3));
    assert_eq!(draft.sheet.childless[&key("/a/b")], Childless::None);
    // One that was made in the draft counts as well.
    let mut draft = Draft::new(SESSION);
    add(&mut draft, &[Op::create(key("/a/c"), "")], &known, None).unwrap();
    assert!(matches!(add(&mut draft, above, &known, None), Err(Stop::Refused(_))));
}

/// [`LIMITS`] say that any commit within them fits a transaction.
#[test]
fn the_largest_commits_of_each_kind_fit() {
    let most = LIMITS.max_ops;
    let keys: Vec<String> = (0..most).map(|n| format!("/{n}")).collect();
    let names: Vec<&str> = keys.iter().map(String::as_str).collect();
    let known = known(&names);
    let kinds: [fn(&str) -> Op; 4] = [
        |text| {
            let (value, lifetime) = ("".into(), Lifetime::Lasting);
            Op::Create { key: key(&format!("{text}/n")), value, lifetime, sequence: true }
        },
        |text| Op::create(key(&format!("{text}/n")), ""),
        |text| Op::Delete(key(text), None),
        |text| Op::Set(key(text), "".into(), None),
    ];
    for kind in kinds {
        let ops: Vec<Op> = names.iter().map(|text| kind(text)).collect();
        let mut draft = Draft::new(SESSION);
        add(&mut draft, &ops, &known, Some(&look(&ops, 0))).unwrap();
        let (compares, operations) = sizes(&draft);
        assert!(compares <= TXN_OPS && operations <= TXN_OPS, "{compares} {operations}");
    }
}

#[test]
fn what_has_no_room_waits_for_the_next() {
    let (mut draft, known) = (Draft::new(SESSION), known(&[]));
    let mut taken = 0;
    while add(&mut draft, &[Op::create(key(&format!("/{taken}")), "")], &known, None).is_ok() {
        taken += 1;
    }
    // The mark and the root are compared, too.
    assert_eq!((taken, sizes(&draft)), (TXN_OPS - 2, (TXN_OPS, TXN_OPS - 1)));
    let mut heavy = Draft::new(SESSION);
    let facts = Facts { known: &known, look: None, tries: 0 };
    let one = [Op::create(key("/a"), "")];
    heavy.add(&one, facts, 2 * TXN_BYTES).unwrap();
    let two = [Op::create(key("/b"), "")];
    assert_eq!(heavy.add(&two, facts, 1), Err(Stop::NoRoom));
}
