//! Between the contract and the servers: what is asked, one transaction at a time, and what the
//! answers and the watch mean.
//!
//! Pure: commands, answers and watched changes go in, transactions come out, and the node's inbox
//! is filled.

use crate::batch::{self, Mark};
use crate::draft::{Draft, Facts, Stop};
use crate::known::{Known, There};
use crate::look::{Look, Misread, Questions, one};
use crate::place::{Place, Thing};
use crate::stored::{Stored, decode, index};
use crate::told::Told;
use crate::wire::{Does, Op as Ask, Range, Ranged, Txn, TxnAnswer, Watched};
use flockwork_registry::{Answer, Event, Failure, Index, Key, Op, Receipt, Request, Scope};
use flockwork_registry::{SessionId, SessionState, Ticket};
use std::collections::{BTreeSet, VecDeque};

/// Reads in one transaction, two ranges each at the most.
const READS: usize = 64;

/// How often a commit is looked at or sent while others change what it rests on. One of those who
/// meet gets through each time.
const TRIES: usize = 256;

/// After so many a commit goes alone, so that others' conflicts are not its own.
const TRIES_TOGETHER: usize = 2;

/// A request as it was submitted.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) ticket: Ticket,
    pub(crate) request: Request,
    /// In whose name.
    pub(crate) heard: Option<SessionId>,
    /// What it weighs.
    pub(crate) bytes: usize,
    /// How often it was in vain. A read that was goes alone.
    pub(crate) tries: usize,
}

/// What is under way.
#[derive(Debug)]
enum Group {
    Reads(Vec<Command>),
    Look(Questions),
    Commits(Draft, Vec<Taken>),
    /// Whether commits that were answered with this happened all the same.
    Doubt(Draft, Vec<Taken>, Failure),
}

/// A commit that is part of a transaction.
#[derive(Debug)]
struct Taken {
    command: Command,
    turn: Option<u8>,
    sequenced: Vec<Key>,
}

/// Why nothing more may be asked on this connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Break {
    /// The way or the server is of no use.
    Lost(String),
    /// The session is over.
    Ended,
}

impl From<Misread> for Break {
    fn from(misread: Misread) -> Self {
        Self::Lost(misread.to_string())
    }
}

/// One node's requests and what comes of them.
#[derive(Debug)]
pub(crate) struct Interpreter {
    place: Place,
    told: Told,
    known: Known,
    watches: BTreeSet<(Key, Scope)>,
    /// Bounded by what may be under way.
    queue: VecDeque<Command>,
    group: Option<Group>,
    look: Option<Look>,
    /// What was answered to commits that may have happened all the same.
    doubt: Option<(Draft, Vec<Taken>, Failure)>,
    mark: Option<Mark>,
}

impl Interpreter {
    pub(crate) fn new(place: Place, told: Told) -> Self {
        Self {
            place,
            told,
            known: Known::default(),
            watches: BTreeSet::new(),
            queue: VecDeque::new(),
            group: None,
            look: None,
            doubt: None,
            mark: None,
        }
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) fn mark(&self) -> Option<Mark> {
        self.mark
    }

    pub(crate) fn told(&self) -> &Told {
        &self.told
    }

    /// Takes a request to be asked in its turn.
    pub(crate) fn command(&mut self, command: Command) {
        self.queue.push_back(command);
    }

    /// What to ask next, if nothing is under way.
    pub(crate) fn next(&mut self) -> Option<Txn> {
        let mark = self.mark?;
        if let Some((draft, taken, failure)) = self.doubt.take() {
            self.group = Some(Group::Doubt(draft, taken, failure));
            return Some(Questions::default().txn(&self.place, mark.lease));
        }
        while self.group.is_none() {
            let asked = match &self.queue.front()?.request {
                Request::Get(_) | Request::Children(_) => Some(self.reads()),
                Request::Commit(_) => self.commits(mark),
                Request::Watch(..) | Request::Unwatch(..) => {
                    let command = self.queue.pop_front()?;
                    self.watch(&command);
                    self.told.hold(&command, Answer::Done, 0);
                    None
                }
            };
            if asked.is_some() {
                return asked;
            }
        }
        None
    }

    fn watch(&mut self, command: &Command) {
        match &command.request {
            Request::Watch(key, scope) => {
                self.watches.insert((key.clone(), *scope));
            }
            Request::Unwatch(key, scope) => {
                self.watches.remove(&(key.clone(), *scope));
            }
            _ => {}
        }
    }

    fn reads(&mut self) -> Txn {
        let mut reads = Vec::new();
        let is_read = |command: &&mut Command| {
            matches!(command.request, Request::Get(_) | Request::Children(_))
        };
        while reads.len() < READS
            && let Some(command) = self.queue.pop_front_if(|command| {
                is_read(&command) && (reads.is_empty() || command.tries == 0)
            })
        {
            let is_alone = command.tries > 0;
            reads.push(command);
            if is_alone {
                break;
            }
        }
        let mut then = Vec::new();
        for command in &reads {
            match &command.request {
                Request::Children(key) => {
                    let (from, end) = self.place.children(key);
                    let itself = Range { keys_only: true, ..one(self.place.entry(key)) };
                    then.push(itself);
                    then.push(Range { key: from, end, keys_only: true, ..Range::default() });
                }
                Request::Get(key) => then.push(one(self.place.entry(key))),
                _ => {}
            }
        }
        self.group = Some(Group::Reads(reads));
        let then = then.into_iter().map(|range| Ask { does: Some(Does::Range(range)) }).collect();
        Txn { compares: Vec::new(), then }
    }

    /// As many commits as fit one transaction, or a look at what the first rests on, or nothing if
    /// the first was answered.
    fn commits(&mut self, mark: Mark) -> Option<Txn> {
        let look = self.look.take();
        let mut draft = Draft::new(mark.session());
        let mut taken: Vec<Taken> = Vec::new();
        while let Some(command) = self.queue.front() {
            let Request::Commit(ops) = &command.request else { break };
            let is_alone = command.tries > TRIES_TOGETHER && !taken.is_empty();
            if is_alone || taken.last().is_some_and(|last| last.command.tries > TRIES_TOGETHER) {
                break;
            }
            let facts = Facts {
                known: &self.known,
                look: look.as_ref(),
                tries: command.tries.saturating_sub(TRIES_TOGETHER),
            };
            let (other, vain) =
                (command.heard.filter(|heard| *heard != mark.session()), command.tries);
            let added = match (other, vain) {
                (Some(heard), _) => Err(Answer::Failed(Failure::SessionEnded(heard))),
                (None, TRIES..) => {
                    let why = format!("others changed what it rests on {TRIES} times in a row");
                    Err(Answer::Failed(Failure::NotSent(why)))
                }
                (None, _) => match draft.add(ops, facts, Draft::weight(ops, &self.place)) {
                    Ok(added) => Ok(added),
                    Err(_) if !taken.is_empty() => break,
                    Err(Stop::Refused(refusal)) if look.as_ref().is_some_and(|l| l.covers(ops)) => {
                        Err(Answer::Refused(refusal))
                    }
                    Err(Stop::NoRoom) => Err(Answer::Failed(no_room(ops))),
                    Err(Stop::Number) => {
                        Err(Answer::Failed(Failure::NotSent(Misread::Number.to_string())))
                    }
                    Err(_) => return Some(self.look_at_commits(mark)),
                },
            };
            match added {
                Err(_) if !taken.is_empty() => break,
                Err(answer) => {
                    let command = self.queue.pop_front()?;
                    self.told.hold(&command, answer, 0);
                    return None;
                }
                Ok(added) => {
                    let command = self.queue.pop_front()?;
                    taken.push(Taken { command, turn: added.turn, sequenced: added.sequenced });
                }
            }
        }
        let txn = batch::txn(&draft, mark, &self.place);
        self.group = Some(Group::Commits(draft, taken));
        Some(txn)
    }

    fn look_at_commits(&mut self, mark: Mark) -> Txn {
        let mut questions = Questions::default();
        for command in &mut self.queue {
            let Request::Commit(ops) = &command.request else { break };
            if !questions.add(ops) {
                break;
            }
        }
        if let Some(first) = self.queue.front_mut() {
            first.tries += 1;
        }
        let txn = questions.txn(&self.place, mark.lease);
        self.group = Some(Group::Look(questions));
        txn
    }

    /// Takes the answer to what is under way.
    pub(crate) fn answered(&mut self, answer: TxnAnswer) -> Result<(), Break> {
        match self.group.take() {
            None => Ok(()),
            Some(Group::Reads(reads)) => {
                let revision = revision(&answer)?;
                let mut ranges = answer.answers.into_iter();
                for command in reads {
                    let mut next = || ranges.next().and_then(|answer| answer.range);
                    let read = self.read(&command.request, &mut next, revision);
                    self.told.hold(&command, read, 0);
                }
                Ok(())
            }
            Some(Group::Look(questions)) => self.looked(questions, answer),
            Some(Group::Doubt(draft, taken, failure)) => {
                self.resolve(&draft, taken, &failure, answer)
            }
            Some(Group::Commits(draft, taken)) if answer.succeeded => match revision(&answer) {
                Ok(revision) => {
                    self.committed(&draft, taken, revision);
                    Ok(())
                }
                Err(lost) => {
                    self.group = Some(Group::Commits(draft, taken));
                    Err(lost)
                }
            },
            Some(Group::Commits(draft, taken)) => {
                self.again(&draft, taken);
                Ok(())
            }
        }
    }

    fn read(
        &mut self,
        request: &Request,
        next: &mut dyn FnMut() -> Option<Ranged>,
        revision: i64,
    ) -> Answer {
        let short = || Answer::Failed(Failure::Unknown(Misread::Short.to_string()));
        match request {
            Request::Children(key) => {
                let (Some(itself), Some(below)) = (next(), next()) else { return short() };
                let prefix = self.place.children(key).0.len();
                let name =
                    |at: &[u8]| Some(String::from_utf8_lossy(at.get(prefix..)?).into_owned());
                let names = below.entries.iter().filter_map(|below| name(&below.key));
                Answer::Children((!itself.entries.is_empty()).then(|| names.collect()))
            }
            Request::Get(key) => {
                let Some(range) = next() else { return short() };
                let entry = match range.entries.first().map(decode) {
                    None => None,
                    Some(Ok(Stored { entry, .. })) => Some(entry),
                    Some(Err(foreign)) => {
                        return Answer::Failed(Failure::Unknown(foreign.to_string()));
                    }
                };
                self.known.learn(key, entry.as_ref().map(There::from), revision);
                Answer::Entry(entry)
            }
            _ => short(),
        }
    }

    fn looked(&mut self, questions: Questions, answer: TxnAnswer) -> Result<(), Break> {
        let (look, found) = questions.answered(answer, &mut self.known)?;
        match self.mark {
            Some(mark) if mark.revision == found => {
                self.look = Some(look);
                Ok(())
            }
            _ if found == 0 => Err(Break::Ended),
            _ => Err(Break::Lost("another transaction of this session came late".to_owned())),
        }
    }

    fn committed(&mut self, draft: &Draft, taken: Vec<Taken>, revision: i64) {
        batch::learn(draft, &mut self.known, revision);
        self.mark = self.mark.map(|mark| Mark { revision, ..mark });
        for Taken { command, turn, sequenced } in taken {
            let index = turn.map_or(Index(0), |turn| index(revision, turn));
            self.told.hold(
                &command,
                Answer::Committed(Receipt { index, sequenced, at: None }),
                revision,
            );
        }
    }

    /// What was believed was not so: none of it happened.
    fn again(&mut self, draft: &Draft, taken: Vec<Taken>) {
        for key in draft.sheet.slots.keys() {
            self.known.forget(key);
        }
        self.put_back(taken.into_iter().map(|taken| taken.command).collect());
    }

    /// They were in vain, and are asked again before all others.
    fn put_back(&mut self, commands: Vec<Command>) {
        for mut command in commands.into_iter().rev() {
            command.tries += 1;
            self.queue.push_front(command);
        }
    }

    /// What is under way was refused by the servers, as a whole.
    ///
    /// Of a server whose room has run out that is not sure: it looks before a transaction is agreed
    /// on, which then happens, and again when it has happened, and says the same both times. The
    /// mark shows which it was.
    pub(crate) fn refused(&mut self, failure: &Failure) {
        let is_full = matches!(failure, Failure::Full(_));
        let failure = match self.group.take() {
            Some(Group::Commits(draft, taken)) if is_full => {
                self.doubt = Some((draft, taken, failure.clone()));
                return;
            }
            // Together they are too large, which says nothing of each.
            Some(Group::Reads(reads))
                if reads.len() > 1 && matches!(failure, Failure::TooLarge { .. }) =>
            {
                self.put_back(reads);
                return;
            }
            group @ Some(Group::Doubt(..)) => {
                self.group = group;
                Failure::Unknown(failure.to_string())
            }
            group => {
                self.group = group;
                failure.clone()
            }
        };
        for command in self.take_group() {
            self.told.hold(&command, Answer::Failed(failure.clone()), 0);
        }
        // A look was for the commits that wait for it.
        if let Some(Group::Look(_)) = self.group.take()
            && let Some(command) = self.queue.pop_front()
        {
            self.told.hold(&command, Answer::Failed(failure), 0);
        }
    }

    /// The mark says whether commits in doubt happened.
    fn resolve(
        &mut self,
        draft: &Draft,
        taken: Vec<Taken>,
        failure: &Failure,
        answer: TxnAnswer,
    ) -> Result<(), Break> {
        let found = Questions::default().answered(answer, &mut self.known).map(|(_, found)| found);
        let (failure, broken) = match (found, self.mark) {
            (Ok(found), Some(mark)) if found == mark.revision => (failure.clone(), Ok(())),
            (Ok(found @ 1..), _) => {
                self.committed(draft, taken, found);
                return Ok(());
            }
            (Ok(_), _) => (Failure::Unknown("the session has ended".to_owned()), Err(Break::Ended)),
            (Err(misread), _) => (Failure::Unknown(misread.to_string()), Err(misread.into())),
        };
        for one in taken {
            self.told.hold(&one.command, Answer::Failed(failure.clone()), 0);
        }
        broken
    }

    fn take_group(&mut self) -> Vec<Command> {
        match self.group.take() {
            Some(Group::Reads(reads)) => reads,
            Some(Group::Commits(_, taken) | Group::Doubt(_, taken, _)) => {
                taken.into_iter().map(|one| one.command).collect()
            }
            look => {
                self.group = look;
                Vec::new()
            }
        }
    }

    /// Takes what the watch tells.
    pub(crate) fn watched(&mut self, watched: &Watched) -> Result<(), Break> {
        if watched.canceled || watched.compacted != 0 {
            let why = match watched.compacted {
                0 => format!("the server ended the watch: {}", watched.reason),
                at => format!("the watch was behind what was compacted, at revision {at}"),
            };
            return Err(Break::Lost(why));
        }
        let mut ended = false;
        let mut seen = 0;
        for event in &watched.events {
            let Some(entry) = &event.entry else { continue };
            seen = seen.max(entry.modified);
            match self.place.thing(&entry.key) {
                Some(Thing::Entry(key)) => self.changed(&key, event.kind == 1, entry),
                Some(Thing::Session(lease)) => {
                    let own = self.mark.is_some_and(|mark| mark.lease == lease);
                    ended |= own && event.kind == 1;
                }
                None => {}
            }
        }
        if !watched.fragment {
            self.told.seen(seen);
        }
        if ended { Err(Break::Ended) } else { Ok(()) }
    }

    fn changed(&mut self, key: &Key, is_gone: bool, entry: &crate::wire::KeyValue) {
        let stored = if is_gone { None } else { decode(entry).ok() };
        if is_gone || stored.is_some() {
            let there = stored.as_ref().map(|stored| There::from(&stored.entry));
            self.known.update(key, there, entry.modified);
        }
        self.tell(key, Scope::Value);
        // Who lists the children of a key learns, too, that the key itself came or went.
        if is_gone || stored.is_none_or(|stored| stored.is_new) {
            self.tell(key, Scope::Children);
            if let Some(above) = key.parent() {
                self.tell(&above, Scope::Children);
            }
        }
    }

    fn tell(&self, key: &Key, scope: Scope) {
        let watched = (key.clone(), scope);
        if self.watches.contains(&watched) {
            self.told.say(Event::Changed(watched.0, scope));
        }
    }

    /// The connection is gone, and all that waited with it.
    pub(crate) fn lost(&mut self, why: &str) {
        self.told.let_go();
        for command in self.take_group() {
            self.told.hold(&command, Answer::Failed(Failure::Unknown(why.to_owned())), 0);
        }
        (self.group, self.look) = (None, None);
        for command in std::mem::take(&mut self.queue) {
            self.told.hold(&command, Answer::Failed(Failure::NotSent(why.to_owned())), 0);
        }
        self.known.clear();
    }

    /// Answers a request that is not asked.
    pub(crate) fn refuse(&mut self, command: &Command, failure: Failure) {
        self.told.hold(command, Answer::Failed(failure), 0);
    }

    /// The session is over.
    pub(crate) fn ended(&mut self) {
        if let Some(mark) = self.mark.take() {
            self.told.say(Event::Session(SessionState::Ended(mark.session())));
        }
    }

    /// A session stands; all was seen up to this revision, and must be read again.
    pub(crate) fn joined(&mut self, mark: Mark, seen: i64) {
        self.mark = Some(mark);
        self.told.begin(seen);
        self.told.say(Event::Resync);
    }
}

fn no_room(ops: &[Op]) -> Failure {
    let what = "the number of comparisons in one commit";
    Failure::TooLarge { what, actual: 3 * ops.len(), limit: crate::draft::TXN_OPS }
}

fn revision(answer: &TxnAnswer) -> Result<i64, Break> {
    let header = answer.header.ok_or_else(|| Break::Lost(Misread::Short.to_string()))?;
    Ok(header.revision)
}

#[cfg(test)]
mod tests;
