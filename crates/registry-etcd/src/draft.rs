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
mod tests;
