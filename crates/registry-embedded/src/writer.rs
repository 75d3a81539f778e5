//! The thread that does everything: it takes the requests that wait, does them in one transaction,
//! and tells what became of them once that is on the disk. One fsync serves all.

use crate::bell::{Bell, Woken};
use crate::changes::Watches;
use crate::clock;
use crate::footing::Missed;
use crate::lock::WriterLock;
use crate::queue::Submitted;
use crate::round::Round;
use crate::session;
use crate::shared::{Phase, Shared};
use crate::standing::{Fate, Standing};
use crate::store::{Durable, Store};
use crate::trouble::Trouble;
use flockwork_registry::{Answer, Event, Failure, SessionId, SessionState};
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use std::time::Duration;

/// How often to look for changes of which no bell told.
const POLL: Duration = Duration::from_millis(100);

/// When to look again, in milliseconds, at a session whose file was closed: the kernel tells of it a
/// moment before it frees the lock. Also how soon a failed heartbeat is tried again.
const LOOK_AGAIN: u64 = 50;

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
    // Before the log may go, whatever has ended the loop.
    shared.ask_to_close();
    match shared.footing.look() {
        Ok(()) => close(connection, tools),
        Err(_) => close_as_it_is(connection),
    }
}

/// The last one to close moves the write-ahead log into the database.
fn close(connection: Connection, tools: &Tools) {
    let locked = tools.lock.take_within(Duration::from_secs(1)).unwrap_or(false);
    drop(connection);
    if locked {
        tools.lock.release();
    }
}

/// SQLite would remove the log by its name, which may be another registry's by now.
fn close_as_it_is(connection: Connection) {
    let kept = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    match kept {
        Ok(_) => drop(connection),
        // Left open: a few files until the process ends, and no harm to whoever has the names.
        Err(error) => {
            tracing::warn!(%error, "the database is left open, as its log may be another's");
            std::mem::forget(connection);
        }
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
    /// Why the path could not be looked at after the commit.
    unseen: Option<Trouble>,
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
        match done.and_then(|()| self.commit()) {
            Ok(unseen) => {
                let Standing { fate, beat_due, ended, .. } = standing;
                Ok(Outcome { events, last_index, has_changes, fate, beat_due, ended, unseen })
            }
            Err(trouble) => {
                if let Fate::Opened(opened) = standing.fate
                    && trouble.replaced().is_none()
                {
                    session::forget(&self.shared.place, opened.id);
                }
                Err(trouble)
            }
        }
    }

    /// Commits to the file that the path names, as is looked at before and after. Returns what stood in
    /// the way of the second look.
    fn commit(&mut self) -> Result<Option<Trouble>, Trouble> {
        let footing = &self.shared.footing;
        footing.look()?;
        self.store.commit().map_err(Trouble::AtCommit)?;
        match footing.look() {
            Ok(()) => Ok(None),
            Err(Missed::Replaced(met)) => Err(Trouble::ReplacedAtCommit(met)),
            Err(unseen) => Ok(Some(unseen.into())),
        }
    }

    /// Adopts what a transaction found out, now that it is committed, and tells.
    fn conclude(&mut self, mut outcome: Outcome) {
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
        if let Some(trouble) = &outcome.unseen {
            // What was claimed must not start before the path was seen to name it.
            self.shared.suspend(&trouble.to_string());
            let is_live =
                |event: &Event| matches!(event, Event::Session(SessionState::Live { .. }));
            outcome.events.retain(|event| !is_live(event));
            self.beat_due = clock::boot_millis() + LOOK_AGAIN;
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
        if trouble.replaced().is_some() {
            return self.give_up(batch, trouble);
        }
        let failure = trouble.failure(&self.shared.place);
        self.shared.suspend(&failure.to_string());
        self.failing = true;
        self.wants_room |= matches!(failure, Failure::Full(_));
        self.beat_due = clock::boot_millis() + LOOK_AGAIN;
        self.answer_by_reading(batch, Some(&failure));
    }

    /// Answers what was not done for anybody else. The loop ends with this.
    fn give_up(&mut self, batch: &[Submitted], trouble: &Trouble) {
        self.shared.replaced(&trouble.to_string());
        self.shared.queue().answered();
        let failure = match (trouble, self.session) {
            (Trouble::Replaced(_), Some(id)) => Failure::SessionEnded(SessionId(id)),
            _ => trouble.failure(&self.shared.place),
        };
        for submitted in batch {
            self.shared.answer(submitted.ticket, Answer::Failed(failure.clone()));
        }
    }

    /// Ends the session. If that fails, its freed lock ends it.
    fn leave(mut self) {
        if self.shared.is_replaced() {
            return;
        }
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
                // By its name, which must still be ours.
                if self.shared.footing.look().is_ok() {
                    session::forget(&self.shared.place, session);
                }
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
