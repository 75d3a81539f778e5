//! A look at all that some commits rest on, at one revision.

use crate::draft::Number;
use crate::known::{Known, There};
use crate::place::Place;
use crate::stored::{Foreign, decode};
use crate::wire::{Does, Op as Ask, Range, Ranged, Txn, TxnAnswer};
use flockwork_registry::{Key, Op};
use std::collections::{BTreeMap, BTreeSet};

/// Ranges in one look; the session's mark takes one more.
const RANGES: usize = 126;

/// What is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Questions {
    entries: BTreeSet<Key>,
    numbers: BTreeSet<Key>,
    counts: BTreeSet<Key>,
}

impl Questions {
    /// Asks what a commit rests on, if there is room for it.
    pub(crate) fn add(&mut self, ops: &[Op]) -> bool {
        let mut more = self.clone();
        for op in ops {
            more.ask(op);
        }
        let has_room = more.entries.len() + more.numbers.len() + more.counts.len() <= RANGES;
        if has_room {
            *self = more;
        }
        has_room
    }

    fn ask(&mut self, op: &Op) {
        match op {
            Op::Create { key, sequence, .. } => {
                let above = key.parent();
                if *sequence {
                    self.numbers.extend(above.clone());
                } else {
                    self.entries.insert(key.clone());
                }
                self.entries.extend(above);
            }
            Op::Delete(key, _) => {
                self.entries.insert(key.clone());
                self.counts.insert(key.clone());
            }
            Op::Check(key, _) | Op::CheckAbsent(key) | Op::Set(key, ..) => {
                self.entries.insert(key.clone());
            }
        }
    }

    /// The questions as one transaction that only reads, the session's mark first.
    pub(crate) fn txn(&self, place: &Place, lease: i64) -> Txn {
        let entries = self.entries.iter().map(|key| one(place.entry(key)));
        let numbers = self.numbers.iter().map(|key| one(place.number(key)));
        let counts = self.counts.iter().map(|key| {
            let (from, to) = place.children(key);
            Range { key: from, end: to, count_only: true, ..Range::default() }
        });
        let mark = std::iter::once(one(place.session(lease)));
        let ranges = mark.chain(entries).chain(numbers).chain(counts);
        let then = ranges.map(|range| Ask { does: Some(Does::Range(range)) }).collect();
        Txn { compares: Vec::new(), then }
    }

    /// What the answer says. Entries go to what is known; says where the mark stands.
    pub(crate) fn answered(
        self,
        answer: TxnAnswer,
        known: &mut Known,
    ) -> Result<(Look, i64), Misread> {
        let revision = answer.header.ok_or(Misread::Short)?.revision;
        let mut ranges = answer.answers.into_iter().map(|answer| answer.range.unwrap_or_default());
        let mut next = || ranges.next().ok_or(Misread::Short);
        let mark = modified(&next()?);
        for key in &self.entries {
            let there = match next()?.entries.first() {
                Some(stored) => Some(There::from(&decode(stored)?.entry)),
                None => None,
            };
            known.set(key, there, revision);
        }
        let mut numbers = BTreeMap::new();
        for key in &self.numbers {
            let range = next()?;
            let now = match range.entries.first() {
                Some(stored) => Some(
                    std::str::from_utf8(&stored.value)
                        .ok()
                        .and_then(|text| text.parse().ok())
                        .ok_or(Misread::Number)?,
                ),
                None => None,
            };
            numbers.insert(key.clone(), Number { fence: Some(modified(&range)), now });
        }
        let mut counts = BTreeMap::new();
        for key in &self.counts {
            counts.insert(key.clone(), next()?.count);
        }
        Ok((Look { revision, entries: self.entries, numbers, counts }, mark))
    }
}

/// An answer that cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Misread {
    #[error("the server answered less than it was asked")]
    Short,
    #[error("a sequence number is none, or has none after it")]
    Number,
    #[error(transparent)]
    Foreign(#[from] Foreign),
}

pub(crate) fn one(key: bytes::Bytes) -> Range {
    Range { key, ..Range::default() }
}

fn modified(range: &Ranged) -> i64 {
    range.entries.first().map_or(0, |stored| stored.modified)
}

/// What was seen, beside the entries.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) revision: i64,
    entries: BTreeSet<Key>,
    pub(crate) numbers: BTreeMap<Key, Number>,
    pub(crate) counts: BTreeMap<Key, i64>,
}

impl Look {
    /// Whether all that a commit rests on was seen.
    pub(crate) fn covers(&self, ops: &[Op]) -> bool {
        let mut questions = Questions::default();
        questions.add(ops)
            && questions.entries.is_subset(&self.entries)
            && questions.numbers.iter().all(|key| self.numbers.contains_key(key))
            && questions.counts.iter().all(|key| self.counts.contains_key(key))
    }
}
