//! The thread that does everything: it takes the requests that wait, does them in one transaction,
//! and tells what became of them once that is on the disk. One fsync serves all.

use crate::bell::{Bell, Woken};
use crate::changes::Watches;
use crate::clock;
use crate::lock::WriterLock;
use crate::queue::Submitted;
use crate::round::Round;
use crate::session::{self, Opened};
use crate::shared::{Phase, Shared};
use crate::store::{Durable, Store};
use crate::trouble::Trouble;
use flockwork_registry::{Answer, Event, Failure, SessionId, SessionState};
use rusqlite::Connection;
use std::time::Duration;

/// How often to look for changes of which no bell told.
const POLL: Duration = Duration::from_millis(100);

/// When to look again, in milliseconds, at a session whose file was closed: the kernel tells of it a
/// moment before it frees the lock. Also how soon a failed heartbeat is tried again.
const LOOK_AGAIN: u64 = 50;

/// Part of the time-out by which a node stops trusting its session early: the time between looking
/// at the clock and acting on it.
const MARGIN_DIVISOR: u64 = 20;

/// Commits and heartbeats after which an idle process moves the write-ahead log into the database.
const CHECKPOINT_AFTER: u64 = 500;

/// What the thread is given.
#[derive(Debug)]
pub(crate) struct Tools {
    pub(crate) lock: WriterLock,
    pub(crate) bell: Bell,
}

/// Runs until the registry is closed.
pub(crate) fn run(shared: &Shared, connection: Connection, tools: &Tools) {
    match Store::prepare(&connection) {
        Ok(store) => Writer::new(shared, store, tools).run(),
        Err(error) => shared.suspend(&format!("cannot read its tables: {error}")),
    }
    // The last one to close moves the write-ahead log into the database.
    let locked = tools.lock.take_within(Duration::from_secs(1)).unwrap_or(false);
    drop(connection);
    if locked {
        tools.lock.release();
    }
}

#[derive(Debug)]
struct Writer<'c> {
    shared: &'c Shared,
    tools: &'c Tools,
    store: Store<'c>,
    watches: Watches,
    session: Option<u64>,
    /// There was one before.
    had_session: bool,
    /// The last index whose changes were told; `None` before the first transaction.
    seen: Option<u64>,
    data_version: i64,
    beat_due: u64,
    look_again: Option<u64>,
    /// The last write failed.
    failing: bool,
    /// Commits and heartbeats since the last checkpoint.
    unmoved: u64,
    /// The disk was full, and the write-ahead log has not been emptied since.
    wants_room: bool,
}

/// What a committed transaction found out.
struct Outcome {
    events: Vec<Event>,
    last_index: u64,
    has_changes: bool,
    fate: Fate,
    /// When the next heartbeat is due after one was written.
    beat_due: Option<u64>,
    /// Sessions whose files are of no more use.
    ended: Vec<u64>,
}

/// What became of the session.
enum Fate {
    Kept,
    Lost,
    Opened(Opened),
}

impl<'c> Writer<'c> {
    fn new(shared: &'c Shared, store: Store<'c>, tools: &'c Tools) -> Self {
        Self {
            shared,
            tools,
            store,
            watches: Watches::default(),
            session: None,
            had_session: false,
            seen: None,
            data_version: 0,
            beat_due: 0,
            look_again: None,
            failing: false,
            unmoved: 0,
            wants_room: false,
        }
    }

    fn run(mut self) {
        while self.shared.queue().closing().is_none() {
            let front = self.shared.queue().front_is_commit();
            match front {
                _ if clock::boot_millis() >= self.beat_due => self.write(),
                Some(true) => self.write(),
                Some(false) => self.read(),
                None => self.wait(),
            }
        }
        self.leave();
    }

    /// Sleeps until there is something to do.
    fn wait(&mut self) {
        if !self.shared.queue().fall_asleep() {
            return;
        }
        let until_beat = self.beat_due.saturating_sub(clock::boot_millis());
        let patience = POLL.min(Duration::from_millis(until_beat));
        let Woken { rung, session_closed } = self.tools.bell.wait(self.shared.waker(), patience);
        if session_closed && !self.failing {
            let now = clock::boot_millis();
            self.beat_due = now;
            self.look_again = Some(now + LOOK_AGAIN);
        }
        if rung || self.shared.queue().front_is_commit().is_none() {
            self.look_for_changes();
        }
    }

    fn look_for_changes(&mut self) {
        let version = self.store.data_version().unwrap_or(-1);
        if version != self.data_version {
            self.read();
            self.data_version = version;
        } else if self.unmoved >= CHECKPOINT_AFTER {
            self.checkpoint();
        }
    }

    /// One that fails is tried again after further changes.
    fn checkpoint(&mut self) {
        self.unmoved = 0;
        if let Err(error) = self.store.checkpoint() {
            tracing::debug!(%error, "could not move the write-ahead log into the database");
        }
    }

    /// Gives back what the write-ahead log has grown to: of a full disk it may be the larger part, and
    /// what is committed next might find no more.
    fn make_room(&mut self) {
        if self.take_lock().is_err() {
            return;
        }
        let emptied = self.store.empty_log();
        self.tools.lock.release();
        self.shared.enter(Phase::Idle);
        match emptied {
            Ok(emptied) => self.wants_room = !emptied,
            Err(error) => tracing::debug!(%error, "could not empty the write-ahead log"),
        }
    }

    /// Does what waits before the first commit.
    fn read(&mut self) {
        let batch = self.shared.queue().take(true);
        self.answer_by_reading(&batch, None);
    }

    /// Answers in order: what reads is read, what writes is answered with this.
    fn answer_by_reading(&mut self, batch: &[Submitted], unwritten: Option<&Failure>) {
        if let Err(error) = self.read_in_transaction(batch, unwritten) {
            self.store.roll_back();
            self.shared.queue().answered();
            let why = format!("{}: cannot read: {error}", self.shared.place.dir().display());
            let unread = Failure::NotSent(why);
            for submitted in batch {
                let failure = unwritten.filter(|_| submitted.is_commit()).unwrap_or(&unread);
                self.shared.answer(submitted.ticket, Answer::Failed(failure.clone()));
            }
        }
    }

    fn read_in_transaction(
        &mut self,
        batch: &[Submitted],
        unwritten: Option<&Failure>,
    ) -> Result<(), Trouble> {
        self.store.begin_read()?;
        let mut round = Round::begin(&mut self.store, &mut self.watches, self.seen)?;
        for submitted in batch {
            match unwritten.filter(|_| submitted.is_commit()) {
                Some(failure) => {
                    let answer = Answer::Failed(failure.clone());
                    round.events.push(Event::Answer(submitted.ticket, answer));
                }
                None => round.carry_out(submitted, None)?,
            }
        }
        let (events, last_index) = (round.events, round.state.last_index);
        self.store.commit()?;
        self.seen = Some(last_index);
        self.shared.queue().answered();
        events.into_iter().for_each(|event| self.shared.push(event));
        Ok(())
    }

    /// Does what waits, and what the session needs.
    fn write(&mut self) {
        if let Err(trouble) = self.take_lock() {
            self.suffer(&[], &trouble);
            return std::thread::sleep(Duration::from_millis(LOOK_AGAIN));
        }
        let batch = self.shared.queue().take(false);
        let result = self.write_in_transaction(&batch);
        if result.is_err() {
            self.store.roll_back();
        }
        self.tools.lock.release();
        self.shared.enter(Phase::Idle);
        match result {
            Ok(outcome) => self.conclude(outcome),
            Err(trouble) => self.suffer(&batch, &trouble),
        }
        self.tools.lock.give_way();
    }

    fn take_lock(&self) -> Result<(), Trouble> {
        self.shared.enter(Phase::Waiting(clock::boot_millis()));
        let taken = self.tools.lock.take();
        self.shared.enter(match taken {
            Ok(()) => Phase::Writing(clock::boot_millis()),
            Err(_) => Phase::Idle,
        });
        taken.map_err(|cause| Trouble::io(self.shared.place.lock(), "lock it", cause))
    }

    fn write_in_transaction(&mut self, batch: &[Submitted]) -> Result<Outcome, Trouble> {
        let durable = match batch.iter().any(Submitted::is_commit) {
            true => Durable::Yes,
            false => Durable::No,
        };
        let beats = clock::boot_millis() >= self.beat_due || self.shared.is_suspended();
        self.store.begin_write(durable)?;
        let mut round = Round::begin(&mut self.store, &mut self.watches, self.seen)?;
        let mut standing = Standing::of(self.shared, &mut round, self.session, beats)?;
        if matches!(standing.fate, Fate::Opened(_)) && self.had_session {
            round.events.push(Event::Resync);
        }
        round.events.extend(standing.told.take());
        let done = in_order(&mut round, batch, &standing);
        let (events, last_index) = (std::mem::take(&mut round.events), round.state.last_index);
        let has_changes = round.has_changes();
        match done.and_then(|()| self.store.commit().map_err(Trouble::AtCommit)) {
            Ok(()) => {
                let Standing { fate, beat_due, ended, .. } = standing;
                Ok(Outcome { events, last_index, has_changes, fate, beat_due, ended })
            }
            Err(trouble) => {
                if let Fate::Opened(opened) = standing.fate {
                    session::forget(&self.shared.place, opened.id);
                }
                Err(trouble)
            }
        }
    }

    /// Adopts what a transaction found out, now that it is committed, and tells.
    fn conclude(&mut self, outcome: Outcome) {
        let before = self.seen.replace(outcome.last_index);
        if outcome.has_changes {
            self.tools.bell.ring();
        }
        self.unmoved += 1.max(outcome.last_index - before.unwrap_or(outcome.last_index));
        self.failing = false;
        match outcome.fate {
            Fate::Kept => {}
            Fate::Opened(opened) => {
                self.session = Some(opened.id);
                self.had_session = true;
                self.shared.keep(Some(opened.lock));
            }
            Fate::Lost => {
                self.session = None;
                self.shared.keep(None);
                // The next is opened at once.
                self.beat_due = 0;
            }
        }
        if let Some(due) = outcome.beat_due {
            self.beat_due = self.look_again.take().map_or(due, |again| due.min(again));
        }
        self.shared.queue().answered();
        outcome.events.into_iter().for_each(|event| self.shared.push(event));
        outcome.ended.iter().for_each(|id| session::forget(&self.shared.place, *id));
        // The first success after a failure is a heartbeat too; later ones try it again.
        if self.wants_room && outcome.beat_due.is_some() {
            self.make_room();
        }
    }

    /// Answers what could not be done, by name.
    fn suffer(&mut self, batch: &[Submitted], trouble: &Trouble) {
        let failure = trouble.failure(&self.shared.place);
        self.shared.suspend(&failure.to_string());
        self.failing = true;
        self.wants_room |= matches!(failure, Failure::Full(_));
        self.beat_due = clock::boot_millis() + LOOK_AGAIN;
        self.answer_by_reading(batch, Some(&failure));
    }

    /// Ends the session. If that fails, its freed lock ends it.
    fn leave(mut self) {
        let Some(session) = self.session else { return };
        let left = self.take_lock().and_then(|()| {
            let left = self.leave_in_transaction(session);
            if left.is_err() {
                self.store.roll_back();
            }
            self.tools.lock.release();
            left
        });
        self.shared.enter(Phase::Idle);
        match left {
            Ok(()) => {
                self.tools.bell.ring();
                session::forget(&self.shared.place, session);
            }
            Err(trouble) => tracing::warn!("could not end the session before leaving: {trouble}"),
        }
        self.shared.push(Event::Session(SessionState::Ended(SessionId(session))));
    }

    fn leave_in_transaction(&mut self, session: u64) -> Result<(), Trouble> {
        self.store.begin_write(Durable::Yes)?;
        let mut round = Round::begin(&mut self.store, &mut self.watches, self.seen)?;
        let ended = session::end(round.store, session)?;
        round.record(&ended.changed)?;
        round.write()?;
        let events = round.events;
        self.store.commit().map_err(Trouble::AtCommit)?;
        events.into_iter().for_each(|event| self.shared.push(event));
        Ok(())
    }
}

/// How the session stands within a transaction.
struct Standing {
    /// In which one commits are made.
    session: Option<u64>,
    fate: Fate,
    /// What is told of it, before the answers.
    told: Option<Event>,
    beat_due: Option<u64>,
    ended: Vec<u64>,
}

impl Standing {
    /// Finds out whether the session lives, opens one if there is none, and beats if it is time.
    fn of(
        shared: &Shared,
        round: &mut Round<'_, '_>,
        session: Option<u64>,
        beats: bool,
    ) -> Result<Self, Trouble> {
        match session {
            Some(id) if !round.store.session_exists(id)? => {
                let told = Event::Session(SessionState::Ended(SessionId(id)));
                let (told, ended) = (Some(told), Vec::new());
                Ok(Self { session: None, fate: Fate::Lost, told, beat_due: None, ended })
            }
            Some(_) if !beats => {
                let (told, ended) = (None, Vec::new());
                Ok(Self { session, fate: Fate::Kept, told, beat_due: None, ended })
            }
            _ => Self::beat(shared, round, session),
        }
    }

    fn beat(
        shared: &Shared,
        round: &mut Round<'_, '_>,
        session: Option<u64>,
    ) -> Result<Self, Trouble> {
        let (place, timeout) = (&shared.place, shared.timeout);
        let census = session::beat(place, round.store, &mut round.state, session, timeout)?;
        for changed in &census.changes {
            round.record(changed)?;
        }
        let fate = match session {
            Some(_) => Fate::Kept,
            None => Fate::Opened(session::open(place, round.store, &mut round.state, timeout)?),
        };
        let session = match &fate {
            Fate::Opened(opened) => Some(opened.id),
            Fate::Kept | Fate::Lost => session,
        };
        let at = clock::to_own(round.state.at);
        let told = session.map(|id| {
            let trusted_until = at + timeout - timeout / MARGIN_DIVISOR;
            Event::Session(SessionState::Live { session: SessionId(id), trusted_until })
        });
        let beat_due = Some(at + census.interval);
        Ok(Self { session, fate, told, beat_due, ended: census.ended })
    }
}

/// Does the requests and writes what changed, if anything did.
fn in_order(
    round: &mut Round<'_, '_>,
    batch: &[Submitted],
    standing: &Standing,
) -> Result<(), Trouble> {
    for submitted in batch {
        round.carry_out(submitted, standing.session)?;
    }
    if round.has_changes() || standing.beat_due.is_some() {
        round.write()?;
    }
    Ok(())
}
