//! One connection that breaks the contract in one way.

use super::Lines;
use flockwork_registry::inbox::{self, Sender};
use flockwork_registry::memory::Connected;
use flockwork_registry::{Answer, Entry, Event, Failure, Inbox, Index, Key, Lifetime, Limits, Op};
use flockwork_registry::{Receipt, Refusal, Registry, Request, Scope, Ticket, Why};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A way to break the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bend {
    /// What stood before a refused operation happens all the same.
    PartialCommits,
    /// Changes are told after the answer they belong before.
    LateChanges,
    /// What should live with a session lasts.
    LastingSessionEntries,
    /// Commits share numbers.
    ReusedIndices,
    /// A lost answer is reported as a refusal.
    LostIsRefused,
    /// Watches tell nothing.
    DroppedChanges,
    /// Stamps are not compared.
    IgnoredStamps,
    /// A watch tells once.
    OneShotWatches,
    /// Numbers are the count of children at the time.
    ReusedSequence,
    /// Less is promised than is taken.
    UnenforcedLimits,
    /// Every second read is the one before.
    OldReads,
    /// A gap in the changes is not told.
    SilentGaps,
    /// A process that stood still commits in a session it never heard of.
    Zombies,
    /// Lists are answered after later requests.
    ReorderedAnswers,
    /// The children of nothing are an empty list.
    EmptyForAbsent,
    /// A watch cannot be taken away.
    IgnoredUnwatch,
    /// What was lost is sent again unasked.
    DoubledCommits,
}

/// Each bend with a case that must catch it. No two share one.
pub(crate) const BENDS: &[(Bend, &str)] = &[
    (Bend::PartialCommits, "commits_are_all_or_nothing"),
    (Bend::LateChanges, "a_change_is_told_before_a_later_commits_answer"),
    (Bend::LastingSessionEntries, "session_entries_vanish_when_it_closes"),
    (Bend::ReusedIndices, "indices_grow_across_keys_and_sessions"),
    (Bend::LostIsRefused, "a_lost_answer_is_unknown_and_its_commit_found"),
    (Bend::DroppedChanges, "a_watch_tells_of_every_kind_of_change"),
    (Bend::IgnoredStamps, "concurrent_writers_lose_no_update"),
    (Bend::OneShotWatches, "a_watch_outlives_deletion_and_recreation"),
    (Bend::ReusedSequence, "a_sequence_number_is_not_given_twice"),
    (Bend::UnenforcedLimits, "a_too_large_value_is_refused_by_name"),
    (Bend::OldReads, "reads_never_go_back"),
    (Bend::SilentGaps, "a_cut_off_node_is_told_and_resyncs"),
    (Bend::Zombies, "commits_of_an_ended_session_are_refused"),
    (Bend::ReorderedAnswers, "answers_come_in_the_order_of_requests"),
    (Bend::EmptyForAbsent, "absence_is_an_answer"),
    (Bend::IgnoredUnwatch, "an_unwatched_key_is_not_told_of"),
    (Bend::DoubledCommits, "a_lost_commit_happens_at_most_once"),
];

/// What the bent line asks on its own account; nobody else sees the answer.
const HIDDEN: Ticket = Ticket(u64::MAX);

#[derive(Debug)]
struct State {
    inbox: Inbox,
    sender: Sender,
    sent: BTreeMap<Ticket, Request>,
    sequenced: BTreeMap<Ticket, Vec<Key>>,
    last_read: BTreeMap<Key, (bool, Option<Entry>)>,
    told_once: BTreeSet<(Key, Scope)>,
    withheld: Vec<Event>,
    hidden: Option<Answer>,
    still: bool,
}

#[derive(Debug)]
pub(crate) struct BentLine {
    inner: Arc<dyn Registry>,
    bend: Option<Bend>,
    lines: Lines,
    state: Mutex<State>,
}

impl BentLine {
    pub(crate) fn over(inner: Connected, bend: Option<Bend>, lines: Lines) -> (Arc<Self>, Inbox) {
        let (sender, outer) = inbox::channel();
        let state = State {
            inbox: inner.inbox,
            sender,
            sent: BTreeMap::new(),
            sequenced: BTreeMap::new(),
            last_read: BTreeMap::new(),
            told_once: BTreeSet::new(),
            withheld: Vec::new(),
            hidden: None,
            still: false,
        };
        let line = Self { inner: inner.registry, bend, lines, state: Mutex::new(state) };
        line.pump();
        (Arc::new(line), outer)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stands still here, so that the registry below believes that all was heard; says whether
    /// this line does so.
    pub(crate) fn stand_still(&self, still: bool) -> bool {
        let mine = self.bend == Some(Bend::Zombies);
        if mine {
            let mut state = self.lock();
            state.still = still;
            if !still {
                let waiting = std::mem::take(&mut state.withheld);
                waiting.into_iter().for_each(|event| state.sender.push(event));
            }
        }
        mine
    }

    /// Passes on what has arrived, bent.
    pub(crate) fn pump(&self) {
        let mut state = self.lock();
        while let Some(event) = state.inbox.try_recv() {
            match event {
                Event::Answer(HIDDEN, answer) => state.hidden = Some(answer),
                Event::Answer(ticket, answer) => {
                    let answer = self.bent_answer(&mut state, ticket, answer);
                    self.tell_answer(&mut state, Event::Answer(ticket, answer));
                }
                other => self.tell(&mut state, other),
            }
        }
    }

    fn tell_answer(&self, state: &mut State, event: Event) {
        let list = matches!(event, Event::Answer(_, Answer::Children(_)));
        if state.still || (self.bend == Some(Bend::ReorderedAnswers) && list) {
            state.withheld.push(event);
            return;
        }
        state.sender.push(event);
        if matches!(self.bend, Some(Bend::LateChanges | Bend::ReorderedAnswers)) {
            let waiting = std::mem::take(&mut state.withheld);
            waiting.into_iter().for_each(|event| state.sender.push(event));
        }
    }

    fn tell(&self, state: &mut State, event: Event) {
        let told = match (&event, self.bend) {
            (Event::Changed(..), Some(Bend::DroppedChanges)) => false,
            (Event::Resync, Some(Bend::SilentGaps)) => false,
            (Event::Changed(key, scope), Some(Bend::OneShotWatches)) => {
                state.told_once.insert((key.clone(), *scope))
            }
            _ => true,
        };
        let late = matches!(event, Event::Changed(..)) && self.bend == Some(Bend::LateChanges);
        match told {
            true if late || state.still => state.withheld.push(event),
            true => state.sender.push(event),
            false => {}
        }
    }

    fn bent_answer(&self, state: &mut State, ticket: Ticket, answer: Answer) -> Answer {
        let sent = state.sent.remove(&ticket);
        match (self.bend, answer, sent) {
            (Some(Bend::PartialCommits), Answer::Refused(why), Some(Request::Commit(ops))) => {
                self.inner.submit(HIDDEN, Request::Commit(ops[..why.at].to_vec()));
                Answer::Refused(why)
            }
            (Some(Bend::DoubledCommits), Answer::Failed(unknown), Some(again)) => {
                self.inner.submit(HIDDEN, again);
                Answer::Failed(unknown)
            }
            (Some(Bend::ReusedIndices), Answer::Committed(receipt), _) => {
                Answer::Committed(Receipt { index: Index(receipt.index.0 / 2), ..receipt })
            }
            (Some(Bend::LostIsRefused), Answer::Failed(Failure::Unknown(_)), _) => {
                Answer::Refused(Refusal { at: 0, key: Key::root(), why: Why::Changed })
            }
            (Some(Bend::ReusedSequence), Answer::Committed(receipt), _) => {
                let sequenced = state.sequenced.remove(&ticket).unwrap_or_default();
                Answer::Committed(Receipt { sequenced, ..receipt })
            }
            (Some(Bend::EmptyForAbsent), Answer::Children(None), _) => {
                Answer::Children(Some(vec![]))
            }
            (Some(Bend::OldReads), Answer::Entry(entry), Some(Request::Get(key))) => {
                Answer::Entry(every_second(&mut state.last_read, key, entry))
            }
            (_, answer, _) => answer,
        }
    }

    fn bent_request(&self, ticket: Ticket, request: Request) -> Request {
        match (self.bend, request) {
            (Some(Bend::LastingSessionEntries), Request::Commit(ops)) => {
                Request::Commit(ops.into_iter().map(lasting).collect())
            }
            (Some(Bend::IgnoredStamps), Request::Commit(ops)) => {
                Request::Commit(ops.into_iter().map(unstamped).collect())
            }
            (Some(Bend::ReusedSequence), Request::Commit(ops)) => {
                Request::Commit(ops.into_iter().map(|op| self.counted(ticket, op)).collect())
            }
            (Some(Bend::IgnoredUnwatch), Request::Unwatch(key, _)) => Request::Get(key),
            (_, request) => request,
        }
    }

    /// Gives a sequenced entry the number of its siblings.
    fn counted(&self, ticket: Ticket, op: Op) -> Op {
        let Op::Create { key, value, lifetime, sequence: true } = op else { return op };
        let above = key.parent().expect("entries have parents");
        self.inner.submit(HIDDEN, Request::Children(above));
        self.pump();
        let mut state = self.lock();
        let siblings = match state.hidden.take() {
            Some(Answer::Children(Some(names))) => names.len(),
            _ => 0,
        };
        let key = Key::new(&format!("{key}{siblings:010}")).expect("a key and digits");
        state.sequenced.entry(ticket).or_default().push(key.clone());
        Op::Create { key, value, lifetime, sequence: false }
    }
}

fn every_second(
    reads: &mut BTreeMap<Key, (bool, Option<Entry>)>,
    key: Key,
    entry: Option<Entry>,
) -> Option<Entry> {
    let (fresh, before) = reads.get(&key).cloned().unwrap_or((true, entry.clone()));
    reads.insert(key, (!fresh, if fresh { before.clone() } else { entry.clone() }));
    if fresh { entry } else { before }
}

fn lasting(op: Op) -> Op {
    match op {
        Op::Create { key, value, sequence, .. } => {
            Op::Create { key, value, lifetime: Lifetime::Lasting, sequence }
        }
        other => other,
    }
}

fn unstamped(op: Op) -> Op {
    match op {
        Op::Check(key, _) => Op::Check(key, None),
        Op::Set(key, value, _) => Op::Set(key, value, None),
        Op::Delete(key, _) => Op::Delete(key, None),
        other => other,
    }
}

impl Registry for BentLine {
    fn submit(&self, ticket: Ticket, request: Request) {
        self.lock().sent.insert(ticket, request.clone());
        let unwatch = matches!(request, Request::Unwatch(..));
        let bent = self.bent_request(ticket, request);
        if unwatch && matches!(bent, Request::Get(_)) {
            self.inner.submit(HIDDEN, bent);
            self.pump();
            return self.lock().sender.push(Event::Answer(ticket, Answer::Done));
        }
        self.inner.submit(ticket, bent);
        self.lines.pump();
    }

    fn limits(&self) -> Limits {
        let true_limits = self.inner.limits();
        match self.bend {
            Some(Bend::UnenforcedLimits) => {
                Limits { max_value: true_limits.max_value / 2, ..true_limits }
            }
            _ => true_limits,
        }
    }

    fn describe(&self) -> String {
        format!("memory, bent: {:?}", self.bend)
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            self.inner.close().await;
            self.lines.pump();
        })
    }
}
