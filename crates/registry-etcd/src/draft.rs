//! Commits in the making: operations tried, one after the other, on what is believed, until their
//! net effect and all that it rests on fits one transaction.

use crate::known::{Known, There};
use crate::look::Look;
use crate::place::Place;
use crate::stored::When;
use bytes::Bytes;
use flockwork_registry::limits::SEQUENCE_DIGITS;
use flockwork_registry::{Key, Lifetime, Op, Refusal, SessionId, Stamp, Why};
use std::collections::BTreeMap;

/// What etcd takes of comparisons and of operations in one transaction, each (`--max-txn-ops`).
pub(crate) const TXN_OPS: usize = 128;

/// Bytes of one transaction, by [`Draft::weight`]; etcd takes 1.5 MiB (`--max-request-bytes`).
const TXN_BYTES: usize = 1024 * 1024;

/// What a comparison or an operation takes beside its key and value.
const ITEM_BYTES: usize = 64;

/// Names with a number that are known to be taken, and stepped over, in one go: each costs a look at
/// what is known. Where somebody made more of them by hand, the commit is refused.
const STEPS: usize = 1_024;

/// Why a commit is not part of the draft.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// An operation is refused, if what is believed is so.
    Refused(Refusal),
    /// Not enough is known.
    Unknown,
    /// A number that is stored has none after it.
    Number,
    /// The transaction would be too large.
    NoRoom,
}

/// An entry as it will be.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) created: When,
    pub(crate) modified: When,
    pub(crate) version: u32,
    pub(crate) session: Option<SessionId>,
    /// Its new value, if it gets one.
    pub(crate) value: Option<Bytes>,
}

/// A key that is looked at.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    /// The revision it was last put at; 0 if it does not exist.
    pub(crate) fence: i64,
    pub(crate) now: Option<State>,
    pub(crate) is_changed: bool,
}

/// The number that the next child made with one gets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number {
    /// The revision it was last put at; 0 if it does not exist. Without one it is taken away
    /// whatever it is.
    pub(crate) fence: Option<i64>,
    pub(crate) now: Option<u64>,
}

/// On what it rests that a key has no other children than the draft knows of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Childless {
    /// There are none.
    None,
    /// There are none made after this revision.
    NoneAfter(i64),
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Sheet {
    pub(crate) slots: BTreeMap<Key, Slot>,
    pub(crate) numbers: BTreeMap<Key, Number>,
    pub(crate) childless: BTreeMap<Key, Childless>,
    /// How many children were made less those that were deleted.
    children: BTreeMap<Key, i64>,
}

impl Sheet {
    fn take(&mut self, other: Self) {
        self.slots.extend(other.slots);
        self.numbers.extend(other.numbers);
        self.childless.extend(other.childless);
        self.children.extend(other.children);
    }

    /// How many comparisons, and operations at the most, come to those of `before`.
    fn more(&self, before: &Self) -> (usize, usize) {
        let slots = self.slots.keys().filter(|key| !before.slots.contains_key(*key)).count();
        let numbers = self.numbers.keys().filter(|key| !before.numbers.contains_key(*key)).count();
        let childless = self.childless.keys().filter(|key| !before.childless.contains_key(*key));
        let was = |key| before.slots.get(key).is_some_and(|slot: &Slot| slot.is_changed);
        let changed = self.slots.iter().filter(|(key, slot)| slot.is_changed && !was(*key)).count();
        (slots + numbers + childless.count(), changed + numbers)
    }
}

/// Several commits of one session, in order.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) sheet: Sheet,
    session: SessionId,
    turns: usize,
    /// The session's own mark is one of each.
    compares: usize,
    operations: usize,
    bytes: usize,
}

/// What a commit that is part of the draft made.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Added {
    /// Its turn, if it changes anything.
    pub(crate) turn: Option<u8>,
    pub(crate) sequenced: Vec<Key>,
}

impl Draft {
    pub(crate) fn new(session: SessionId) -> Self {
        let sheet = Sheet::default();
        Self { sheet, session, turns: 0, compares: 1, operations: 1, bytes: 0 }
    }

    /// What a commit takes in the transaction, at the most: each key stands in up to three
    /// comparisons and once with its value.
    pub(crate) fn weight(ops: &[Op], place: &Place) -> usize {
        let one =
            |op: &Op| op.bytes() + 4 * (op.key().as_str().len() + place.overhead() + ITEM_BYTES);
        ops.iter().map(one).sum()
    }

    /// Adds a commit whole, or changes nothing.
    pub(crate) fn add(
        &mut self,
        ops: &[Op],
        facts: Facts<'_>,
        weight: usize,
    ) -> Result<Added, Stop> {
        let turn = u8::try_from(self.turns).map_err(|_| Stop::NoRoom)?;
        let mut trial = Trial {
            draft: &self.sheet,
            facts,
            session: self.session,
            turn,
            sheet: Sheet::default(),
            changes: false,
            sequenced: Vec::new(),
        };
        for (at, op) in ops.iter().enumerate() {
            trial.run(op).map_err(|halt| match halt {
                Halt::Refused(why) => Stop::Refused(Refusal { at, key: op.key().clone(), why }),
                Halt::Unknown => Stop::Unknown,
                Halt::Number => Stop::Number,
            })?;
        }
        let Trial { sheet, changes, sequenced, .. } = trial;
        let (compares, operations) = sheet.more(&self.sheet);
        let fits = self.compares + compares <= TXN_OPS
            && self.operations + operations <= TXN_OPS
            && (self.bytes == 0 || self.bytes + weight <= TXN_BYTES);
        if !fits {
            return Err(Stop::NoRoom);
        }
        self.sheet.take(sheet);
        self.compares += compares;
        self.operations += operations;
        self.bytes += weight;
        self.turns += usize::from(changes);
        Ok(Added { turn: changes.then_some(turn), sequenced })
    }
}

/// What is believed, and what was just seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) known: &'a Known,
    pub(crate) look: Option<&'a Look>,
    /// How often the commit was in vain before.
    pub(crate) tries: usize,
}

enum Halt {
    Refused(Why),
    Unknown,
    Number,
}

impl From<Why> for Halt {
    fn from(why: Why) -> Self {
        Self::Refused(why)
    }
}

/// What is said of a key of which nothing is known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Guess {
    Absent,
    Nothing,
}

/// One commit on top of a draft.
struct Trial<'a> {
    draft: &'a Sheet,
    facts: Facts<'a>,
    session: SessionId,
    turn: u8,
    sheet: Sheet,
    changes: bool,
    sequenced: Vec<Key>,
}

impl Trial<'_> {
    fn run(&mut self, op: &Op) -> Result<(), Halt> {
        match op {
            Op::Check(key, stamp) => self.matching(key, *stamp).map(|_| ()),
            Op::CheckAbsent(key) => match self.slot(key, Guess::Absent)?.now {
                None => Ok(()),
                Some(_) => Err(Why::Exists.into()),
            },
            Op::Create { key, value, lifetime, sequence } => {
                let key = match sequence {
                    true => self.numbered(key)?,
                    false => key.clone(),
                };
                let session = (*lifetime == Lifetime::Session).then_some(self.session);
                self.create(&key, value, session)?;
                if *sequence {
                    self.sequenced.push(key);
                }
                Ok(())
            }
            Op::Set(key, value, stamp) => self.set(key, value, *stamp),
            Op::Delete(key, stamp) => self.delete(key, *stamp),
        }
    }

    /// The key as it is at this point.
    fn slot(&mut self, key: &Key, guess: Guess) -> Result<&mut Slot, Halt> {
        if !self.sheet.slots.contains_key(key) {
            let slot = match self.draft.slots.get(key) {
                Some(slot) => slot.clone(),
                None => self.believed(key, guess)?,
            };
            self.sheet.slots.insert(key.clone(), slot);
        }
        self.sheet.slots.get_mut(key).ok_or(Halt::Unknown)
    }

    fn believed(&self, key: &Key, guess: Guess) -> Result<Slot, Halt> {
        let there = match self.facts.known.get(key) {
            Some(there) => there,
            None if guess == Guess::Absent => None,
            None => return Err(Halt::Unknown),
        };
        let now = there.map(|There { stamp, session }| State {
            created: When::At(stamp.created),
            modified: When::At(stamp.modified),
            version: stamp.version,
            session,
            value: None,
        });
        let fence = there.map_or(0, |there| there.revision());
        Ok(Slot { fence, now, is_changed: false })
    }

    /// The key, which must be there and as the stamp says.
    fn matching(&mut self, key: &Key, stamp: Option<Stamp>) -> Result<&mut Slot, Halt> {
        let slot = self.slot(key, Guess::Nothing)?;
        let state = slot.now.as_ref().ok_or(Why::Absent)?;
        let same = |stamp: Stamp| {
            state.created == When::At(stamp.created)
                && state.modified == When::At(stamp.modified)
                && state.version == stamp.version
        };
        match stamp.is_none_or(same) {
            true => Ok(slot),
            false => Err(Why::Changed.into()),
        }
    }

    fn create(&mut self, key: &Key, value: &Bytes, session: Option<SessionId>) -> Result<(), Halt> {
        let above = self.parent(key)?;
        let made = When::Here(self.turn);
        let slot = self.slot(key, Guess::Absent)?;
        if slot.now.is_some() {
            return Err(Why::Exists.into());
        }
        let value = Some(value.clone());
        slot.now = Some(State { created: made, modified: made, version: 0, session, value });
        slot.is_changed = true;
        self.count(&above, 1);
        self.changes = true;
        Ok(())
    }

    /// The parent of a key, which must be able to have children.
    fn parent(&mut self, key: &Key) -> Result<Key, Halt> {
        let above = key.parent().ok_or(Why::Exists)?;
        match &self.slot(&above, Guess::Nothing)?.now {
            None => Err(Why::NoParent.into()),
            Some(State { session: Some(_), .. }) => Err(Why::SessionParent.into()),
            Some(_) => Ok(above),
        }
    }

    fn numbered(&mut self, key: &Key) -> Result<Key, Halt> {
        let above = self.parent(key)?;
        let number = self.sheet.numbers.get(&above).or_else(|| self.draft.numbers.get(&above));
        let number = match (number, self.facts.look) {
            (Some(number), _) => *number,
            (None, Some(look)) => *look.numbers.get(&above).ok_or(Halt::Unknown)?,
            (None, None) => return Err(Halt::Unknown),
        };
        // A key that somebody gave such a name by hand is stepped over: at once if it is known, else
        // a try each.
        let first = number.now.unwrap_or(0).checked_add(self.facts.tries as u64);
        let first = first.ok_or(Halt::Number)?;
        for next in (first..=u64::MAX).take(STEPS) {
            let after = next.checked_add(1).ok_or(Halt::Number)?;
            let whole = format!("{key}{next:0digits$}", digits = SEQUENCE_DIGITS);
            let whole = Key::new(&whole).map_err(|_| Halt::Refused(Why::NoParent))?;
            if !self.is_taken(&whole) {
                self.sheet.numbers.insert(above, Number { now: Some(after), ..number });
                return Ok(whole);
            }
        }
        Err(Why::Exists.into())
    }

    /// Whether a key is there, as far as is known. Nothing rests on it: a number that is left out in
    /// error is only a gap.
    fn is_taken(&self, key: &Key) -> bool {
        match self.sheet.slots.get(key).or_else(|| self.draft.slots.get(key)) {
            Some(slot) => slot.now.is_some(),
            None => self.facts.known.get(key).flatten().is_some(),
        }
    }

    fn set(&mut self, key: &Key, value: &Bytes, stamp: Option<Stamp>) -> Result<(), Halt> {
        let modified = When::Here(self.turn);
        let slot = self.matching(key, stamp)?;
        if let Some(state) = &mut slot.now {
            state.modified = modified;
            state.version = state.version.wrapping_add(1);
            state.value = Some(value.clone());
        }
        slot.is_changed = true;
        self.changes = true;
        Ok(())
    }

    /// The root stays: it is the parent of all that may yet be made.
    fn delete(&mut self, key: &Key, stamp: Option<Stamp>) -> Result<(), Halt> {
        let slot = self.matching(key, stamp)?;
        let (was_there, session) = (slot.fence != 0, slot.now.as_ref().and_then(|now| now.session));
        let Some(above) = key.parent() else { return Err(Why::NotEmpty.into()) };
        if session.is_none() {
            self.childless(key, was_there)?;
            let number = self.sheet.numbers.get(key).or_else(|| self.draft.numbers.get(key));
            let fence = number.and_then(|number| number.fence);
            self.sheet.numbers.insert(key.clone(), Number { fence, now: None });
        }
        let slot = self.slot(key, Guess::Nothing)?;
        slot.now = None;
        slot.is_changed = true;
        self.count(&above, -1);
        self.changes = true;
        Ok(())
    }

    /// Nothing lies below the key at this point.
    fn childless(&mut self, key: &Key, was_there: bool) -> Result<(), Halt> {
        let more = self.counted(key);
        let look = self.facts.look.and_then(|look| Some((look.revision, *look.counts.get(key)?)));
        let (rests_on, before) = match (was_there, look) {
            (false, _) => (None, 0),
            (true, None) => (Some(Childless::None), 0),
            (true, Some((_, 0))) => (Some(Childless::None), 0),
            (true, Some((revision, count))) => (Some(Childless::NoneAfter(revision)), count),
        };
        match before + more {
            0 => {}
            1.. => return Err(Why::NotEmpty.into()),
            _ => return Err(Halt::Unknown),
        }
        if !self.draft.childless.contains_key(key) {
            self.sheet.childless.extend(rests_on.map(|rests_on| (key.clone(), rests_on)));
        }
        Ok(())
    }

    fn counted(&self, key: &Key) -> i64 {
        let counted = self.sheet.children.get(key).or_else(|| self.draft.children.get(key));
        counted.copied().unwrap_or(0)
    }

    fn count(&mut self, above: &Key, more: i64) {
        let count = self.counted(above) + more;
        self.sheet.children.insert(above.clone(), count);
    }
}

#[cfg(test)]
mod tests {
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

    fn add(
        draft: &mut Draft,
        ops: &[Op],
        known: &Known,
        look: Option<&Look>,
    ) -> Result<Added, Stop> {
        draft.add(ops, Facts { known, look, tries: 0 }, 1)
    }

    /// A look at revision 3 that finds nothing but so many children of each key asked for.
    fn look(ops: &[Op], counts: i64) -> Look {
        let mut questions = Questions::default();
        assert!(questions.add(ops));
        let asked = questions.txn(&Place::new(""), 9).then;
        let answers = asked.iter().map(|op| {
            let counts_only =
                matches!(&op.does, Some(wire::Does::Range(range)) if range.count_only);
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
        assert_eq!(
            add(&mut draft, &ops, &known, None),
            Err(Stop::Unknown),
            "there is one at least"
        );
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
}
