//! Between the contract and the protocol: what is asked of ZooKeeper, and what its answers mean.
//!
//! Pure: commands and events go in, questions come out, and the node's inbox is filled.

use crate::commit::{Commit, Outcome, Place, refusal};
use crate::watches::Watches;
use flockwork_registry::inbox::Sender;
use flockwork_registry::{Answer, Entry, Event, Failure, Index, Key, Receipt, Request, Scope};
use flockwork_registry::{SessionId, SessionState, Stamp, Ticket, Why};
use flockwork_zookeeper as zk;
use flockwork_zookeeper::{Ask, Change, Code, Create, CreateMode, Lost, Reply, Stat};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tokio::sync::watch;

/// A request as it was submitted.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) ticket: Ticket,
    pub(crate) request: Request,
    /// In whose name.
    pub(crate) heard: Option<SessionId>,
    /// What it weighs.
    pub(crate) bytes: usize,
}

/// What has no answer yet.
#[derive(Debug, Default)]
pub(crate) struct UnderWay {
    pub(crate) requests: AtomicUsize,
    pub(crate) bytes: AtomicUsize,
}

/// What a question was asked for.
#[derive(Debug)]
enum Purpose {
    Get,
    Children,
    Watch(Key, Scope),
    Unwatch(Key, Scope),
    Commit(Commit),
    /// Nothing but its turn.
    Turn,
}

/// A question, in whose name, and what for.
type Question = (Option<zk::Request>, Option<i64>, Purpose);

#[derive(Debug)]
struct Pending {
    ticket: Ticket,
    bytes: usize,
    session: Option<i64>,
    purpose: Purpose,
}

/// One node's requests and what comes of them.
#[derive(Debug)]
pub(crate) struct Interpreter {
    place: Place,
    sender: Arc<Sender>,
    under_way: Arc<UnderWay>,
    closed: watch::Sender<bool>,
    /// The session's time-out in milliseconds; 0 for the one that was asked for.
    granted: Arc<AtomicU64>,
    pending: BTreeMap<u64, Pending>,
    last: u64,
    watches: Watches,
    /// The commit that may have to be sent again.
    alone: Option<u64>,
    /// What was submitted after it. Bounded by what may be under way.
    behind: VecDeque<Command>,
}

impl Interpreter {
    pub(crate) fn new(
        place: Place,
        sender: Arc<Sender>,
        under_way: Arc<UnderWay>,
        closed: watch::Sender<bool>,
        granted: Arc<AtomicU64>,
    ) -> Self {
        Self {
            place,
            sender,
            under_way,
            closed,
            granted,
            pending: BTreeMap::new(),
            last: 0,
            watches: Watches::default(),
            alone: None,
            behind: VecDeque::new(),
        }
    }

    fn ask(&mut self, command: Command) -> Ask {
        let Command { ticket, request, heard, bytes } = command;
        let session = heard.map(|session| session.0.cast_signed());
        let (request, session, purpose) = match request {
            Request::Get(key) => {
                (Some(zk::Request::GetData(self.place.path(&key))), None, Purpose::Get)
            }
            Request::Children(key) => {
                (Some(zk::Request::GetChildren(self.place.path(&key))), None, Purpose::Children)
            }
            Request::Watch(key, scope) => self.watch(key, scope),
            Request::Unwatch(key, scope) => self.unwatch(key, scope),
            Request::Commit(ops) => {
                let commit = Commit::new(ops);
                self.alone = commit.may_repeat().then_some(self.last + 1);
                (
                    (!commit.is_empty()).then(|| commit.multi(&self.place)),
                    session,
                    Purpose::Commit(commit),
                )
            }
        };
        self.last += 1;
        self.pending.insert(self.last, Pending { ticket, bytes, session, purpose });
        Ask { ticket: self.last, session, request }
    }

    /// One watch of the server's tells of both scopes.
    fn watch(&mut self, key: Key, scope: Scope) -> Question {
        let watched = self.watches.is_watched(&key);
        let request = (!watched).then(|| zk::Request::AddWatch(self.place.path(&key)));
        match self.watches.insert(&key, scope) {
            true => (request, None, Purpose::Watch(key, scope)),
            false => (None, None, Purpose::Turn),
        }
    }

    fn unwatch(&mut self, key: Key, scope: Scope) -> Question {
        if !self.watches.remove(&key, scope) {
            return (None, None, Purpose::Turn);
        }
        let last = !self.watches.is_watched(&key);
        let request = last.then(|| zk::Request::RemoveWatches(self.place.path(&key)));
        (request, None, Purpose::Unwatch(key, scope))
    }

    /// Answers, and sends what waited for it.
    fn answer(&mut self, number: u64, pending: &Pending, answer: Answer) -> Vec<Ask> {
        // First, as whoever reads the answer may ask at once.
        self.under_way.requests.fetch_sub(1, Ordering::Relaxed);
        self.under_way.bytes.fetch_sub(pending.bytes, Ordering::Relaxed);
        self.sender.push(Event::Answer(pending.ticket, answer));
        if self.alone == Some(number) {
            self.alone = None;
        }
        let mut asks = Vec::new();
        while self.alone.is_none() {
            let Some(command) = self.behind.pop_front() else { break };
            asks.push(self.ask(command));
        }
        asks
    }

    fn replied(&mut self, number: u64, zxid: i64, result: Result<Reply, Code>) -> Vec<Ask> {
        // What is asked for the root has no ticket of ours.
        let Some(mut pending) = self.pending.remove(&number) else {
            return self.root_made(&result);
        };
        let answer = match (&mut pending.purpose, result) {
            (Purpose::Commit(commit), Ok(Reply::Multi(results))) => {
                match commit.outcome(zxid, &results, &self.place) {
                    Outcome::Answer(answer) if self.is_root_gone(&answer) => {
                        let why = format!("{} was gone and is made again", self.place.root);
                        let mut asks = self.make_root();
                        let failed = Answer::Failed(Failure::NotSent(why));
                        asks.extend(self.answer(number, &pending, failed));
                        return asks;
                    }
                    Outcome::Answer(answer) => answer,
                    Outcome::Again => {
                        let request = Some(commit.multi(&self.place));
                        let session = pending.session;
                        self.pending.insert(number, pending);
                        return vec![Ask { ticket: number, session, request }];
                    }
                }
            }
            (Purpose::Get, Ok(Reply::Data(value, stat))) => {
                Answer::Entry(Some(entry(&value, &stat)))
            }
            (Purpose::Get, Err(Code::NO_NODE)) => Answer::Entry(None),
            (Purpose::Children, Ok(Reply::Children(mut names, _))) => {
                names.sort_unstable();
                Answer::Children(Some(names))
            }
            (Purpose::Children, Err(Code::NO_NODE)) => Answer::Children(None),
            (Purpose::Watch(..), Ok(Reply::Done)) => Answer::Done,
            (Purpose::Unwatch(..), Ok(Reply::Done) | Err(Code::NO_WATCHER)) => Answer::Done,
            (purpose, Err(code)) => Answer::Failed(self.failed(purpose, code, pending.session)),
            (_, Ok(other)) => {
                let why = format!("the server answered something else: {other:?}");
                Answer::Failed(Failure::Unknown(why))
            }
        };
        self.answer(number, &pending, answer)
    }

    fn failed(&mut self, purpose: &Purpose, code: Code, session: Option<i64>) -> Failure {
        self.undo(purpose);
        match (code, session) {
            (Code::SESSION_EXPIRED, Some(session)) => {
                Failure::SessionEnded(SessionId(session.cast_unsigned()))
            }
            (code, _) => refusal(code),
        }
    }

    /// What was not done is not so.
    fn undo(&mut self, purpose: &Purpose) {
        match purpose {
            Purpose::Watch(key, scope) => {
                self.watches.remove(key, *scope);
            }
            Purpose::Unwatch(key, scope) => {
                self.watches.insert(key, *scope);
            }
            Purpose::Get | Purpose::Children | Purpose::Commit(_) | Purpose::Turn => {}
        }
    }

    fn in_turn(&mut self, number: u64) -> Vec<Ask> {
        let Some(pending) = self.pending.remove(&number) else { return Vec::new() };
        let answer = match &pending.purpose {
            Purpose::Commit(_) => Answer::Committed(Receipt::default()),
            _ => Answer::Done,
        };
        self.answer(number, &pending, answer)
    }

    fn lost(&mut self, number: u64, why: Lost) -> Vec<Ask> {
        let Some(pending) = self.pending.remove(&number) else { return Vec::new() };
        if !matches!(why, Lost::Unknown(_)) {
            self.undo(&pending.purpose);
        }
        let failure = match why {
            Lost::NotSent(why) => Failure::NotSent(why),
            Lost::Unknown(why) => Failure::Unknown(why),
            Lost::Ended(session) => Failure::SessionEnded(SessionId(session.cast_unsigned())),
            Lost::TooLarge(actual) => {
                let what = "a packet for ZooKeeper, in bytes,";
                Failure::TooLarge { what, actual, limit: zk::MAX_PACKET }
            }
        };
        self.answer(number, &pending, Answer::Failed(failure))
    }

    fn changed(&self, change: Change, path: &str) {
        let scope = match change {
            Change::Created | Change::Deleted | Change::Data => Scope::Value,
            Change::Children => Scope::Children,
        };
        let key = self.place.key(path).filter(|key| self.watches.contains(key, scope));
        if let Some(key) = key {
            self.sender.push(Event::Changed(key, scope));
        }
    }

    /// Makes what is missing of the root, as containers: a root that is not used vanishes.
    fn make_root(&mut self) -> Vec<Ask> {
        let root = &self.place.root;
        let ends = root.match_indices('/').map(|(at, _)| at).skip(1);
        let ends = ends.chain((!root.is_empty()).then_some(root.len()));
        let paths: Vec<String> = ends.map(|end| root[..end].to_owned()).collect();
        let ask = |path| {
            self.last += 1;
            let create = Create {
                path,
                data: bytes::Bytes::new(),
                mode: CreateMode::Container,
                acl: self.place.acl,
            };
            Ask { ticket: self.last, session: None, request: Some(zk::Request::Create(create)) }
        };
        paths.into_iter().map(ask).collect()
    }

    fn root_made(&self, result: &Result<Reply, Code>) -> Vec<Ask> {
        match result {
            Ok(_) | Err(Code::NODE_EXISTS) => {}
            Err(code) => tracing::warn!(root = self.place.root, %code, "the root cannot be made"),
        }
        Vec::new()
    }

    /// A container is taken away once its last child is; then it is made again.
    fn is_root_gone(&self, answer: &Answer) -> bool {
        match answer {
            Answer::Refused(refusal) => {
                !self.place.root.is_empty()
                    && refusal.why == Why::NoParent
                    && refusal.key.parent() == Some(Key::root())
            }
            _ => false,
        }
    }
}

/// With a copy of the value: whoever keeps that shall not keep all that arrived with it.
fn entry(value: &[u8], stat: &Stat) -> Entry {
    let index = |zxid: i64| Index(zxid.cast_unsigned());
    let stamp = Stamp {
        created: index(stat.czxid),
        modified: index(stat.mzxid),
        version: stat.version.cast_unsigned(),
    };
    let session = stat.session().map(|session| SessionId(session.cast_unsigned()));
    Entry { value: bytes::Bytes::copy_from_slice(value), stamp, session }
}

impl zk::User for Interpreter {
    type Command = Command;

    fn command(&mut self, command: Command) -> Vec<Ask> {
        match self.alone {
            Some(_) => {
                self.behind.push_back(command);
                Vec::new()
            }
            None => vec![self.ask(command)],
        }
    }

    fn event(&mut self, event: zk::Event) -> Vec<Ask> {
        match event {
            zk::Event::Reply { ticket, zxid, result } => return self.replied(ticket, zxid, result),
            zk::Event::InTurn(ticket) => return self.in_turn(ticket),
            zk::Event::Failed { ticket, why } => return self.lost(ticket, why),
            zk::Event::Watched(change, path) => self.changed(change, &path),
            zk::Event::Resync => {
                self.sender.push(Event::Resync);
                return self.make_root();
            }
            zk::Event::Live { session, trusted_until } => {
                let session = SessionId(session.cast_unsigned());
                self.sender.push(Event::Session(SessionState::Live { session, trusted_until }));
            }
            zk::Event::Timeout(granted) => self.granted.store(granted, Ordering::Release),
            zk::Event::Suspended(why) => {
                self.sender.push(Event::Session(SessionState::Suspended { why }));
            }
            zk::Event::Reset { seen, found } => {
                let why = format!(
                    "the servers have lost what they knew: they are at 0x{found:x}, this session \
                     saw 0x{seen:x}; were they set up anew, or from a backup?"
                );
                tracing::error!("{why}");
                self.sender.push(Event::Session(SessionState::Suspended { why: why.clone() }));
                self.sender.push(Event::SetBack(why));
            }
            zk::Event::Ended(session) => {
                let session = SessionId(session.cast_unsigned());
                self.sender.push(Event::Session(SessionState::Ended(session)));
            }
            zk::Event::Closed => {
                self.closed.send_replace(true);
            }
        }
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flockwork_registry::{Inbox, Op, inbox};
    use flockwork_zookeeper::{Acl, OpResult, User};

    struct Stage {
        interpreter: Interpreter,
        inbox: Inbox,
        under_way: Arc<UnderWay>,
        submitted: u64,
    }

    fn key(text: &str) -> Key {
        Key::new(text).unwrap()
    }

    impl Stage {
        fn new(root: &str) -> Self {
            let (sender, inbox) = inbox::channel();
            let under_way = Arc::new(UnderWay::default());
            let place = Place { root: root.to_owned(), acl: Acl::Open };
            let counts = Arc::clone(&under_way);
            let closed = watch::Sender::new(false);
            let interpreter =
                Interpreter::new(place, Arc::new(sender), counts, closed, Arc::default());
            Self { interpreter, inbox, under_way, submitted: 0 }
        }

        fn submit(&mut self, request: Request) -> Vec<Ask> {
            self.submitted += 1;
            self.under_way.requests.fetch_add(1, Ordering::Relaxed);
            self.under_way.bytes.fetch_add(7, Ordering::Relaxed);
            let (ticket, heard) = (Ticket(self.submitted), Some(SessionId(9)));
            self.interpreter.command(Command { ticket, request, heard, bytes: 7 })
        }

        fn reply(&mut self, ask: &Ask, result: Result<Reply, Code>) -> Vec<Ask> {
            let ticket = ask.ticket;
            self.interpreter.event(zk::Event::Reply { ticket, zxid: 5, result })
        }

        fn fail(&mut self, ask: &Ask, why: Lost) -> Vec<Ask> {
            self.interpreter.event(zk::Event::Failed { ticket: ask.ticket, why })
        }

        fn told(&mut self) -> Vec<Event> {
            std::iter::from_fn(|| self.inbox.try_recv()).collect()
        }

        fn under_way(&self) -> (usize, usize) {
            let load = |count: &AtomicUsize| count.load(Ordering::Relaxed);
            (load(&self.under_way.requests), load(&self.under_way.bytes))
        }

        fn tells(&mut self, change: Change, path: &str) -> Vec<Event> {
            self.interpreter.event(zk::Event::Watched(change, path.to_owned()));
            self.told()
        }
    }

    fn refused(code: Code) -> Result<Reply, Code> {
        let after = OpResult::Refused(Code::RUNTIME_INCONSISTENCY);
        Ok(Reply::Multi(vec![OpResult::Refused(code), after]))
    }

    #[test]
    fn behind_a_check_for_absence_all_waits_and_keeps_its_order() {
        let mut stage = Stage::new("");
        let alone = stage.submit(Request::Commit(vec![Op::CheckAbsent(key("/a/b"))]));
        assert_eq!(alone.len(), 1);
        for request in [Request::Get(key("/a")), Request::Commit(vec![Op::CheckAbsent(key("/c"))])]
        {
            assert_eq!(stage.submit(request), []);
        }
        assert_eq!(stage.submit(Request::Get(key("/d"))), []);
        let again = stage.reply(&alone[0], refused(Code::NO_NODE));
        assert_eq!((again.len(), again[0].session, stage.told().len()), (1, Some(9), 0));
        let next = stage.reply(&again[0], refused(Code::NODE_EXISTS));
        assert_eq!((next.len(), stage.told().len()), (1, 0), "looked at from below again");
        let next = stage.reply(&alone[0], refused(Code::NODE_EXISTS));
        assert_eq!(next.len(), 2, "the read and the next one that goes alone");
        let rest = stage.fail(&next[1], Lost::Unknown("cut".into()));
        assert_eq!(rest.len(), 1);
        stage.fail(&next[0], Lost::NotSent("cut".into()));
        stage.fail(&rest[0], Lost::NotSent("cut".into()));
        assert_eq!(stage.told().len(), 4);
        assert_eq!(stage.under_way(), (0, 0));
    }

    #[test]
    fn a_watch_that_was_not_set_tells_nothing_and_can_be_set_again() {
        let mut stage = Stage::new("");
        let watch = || Request::Watch(key("/a"), Scope::Value);
        let asked = stage.submit(watch());
        stage.fail(&asked[0], Lost::NotSent("no connection".into()));
        stage.told();
        assert_eq!(stage.tells(Change::Data, "/a"), []);
        let asked = stage.submit(watch());
        assert_eq!(asked[0].request, Some(zk::Request::AddWatch("/a".into())));
        stage.reply(&asked[0], Ok(Reply::Done));
        stage.told();
        // A second one that fails does not undo the first.
        let asked = stage.submit(watch());
        assert_eq!(asked[0].request, None);
        stage.fail(&asked[0], Lost::NotSent("no connection".into()));
        stage.told();
        assert_eq!(stage.tells(Change::Data, "/a"), [Event::Changed(key("/a"), Scope::Value)]);
    }

    #[test]
    fn one_watch_of_the_servers_serves_both_scopes_until_the_last_goes() {
        let mut stage = Stage::new("/r");
        let value = stage.submit(Request::Watch(key("/a"), Scope::Value));
        assert_eq!(value[0].request, Some(zk::Request::AddWatch("/r/a".into())));
        let children = stage.submit(Request::Watch(key("/a"), Scope::Children));
        assert_eq!(children[0].request, None);
        let told = stage.tells(Change::Children, "/r/a");
        assert_eq!(told, [Event::Changed(key("/a"), Scope::Children)]);
        let first = stage.submit(Request::Unwatch(key("/a"), Scope::Value));
        assert_eq!(first[0].request, None);
        assert_eq!(stage.tells(Change::Deleted, "/r/a"), []);
        let last = stage.submit(Request::Unwatch(key("/a"), Scope::Children));
        assert_eq!(last[0].request, Some(zk::Request::RemoveWatches("/r/a".into())));
        // Not sent: it goes on telling.
        stage.fail(&last[0], Lost::NotSent("no connection".into()));
        stage.told();
        assert_eq!(stage.tells(Change::Children, "/r/a").len(), 1);
        assert_eq!(stage.tells(Change::Children, "/elsewhere"), []);
    }

    #[test]
    fn an_unknown_or_ended_commit_is_answered_as_such() {
        let mut stage = Stage::new("");
        let commit = || Request::Commit(vec![Op::create(key("/a"), "")]);
        let table = [
            (Lost::Unknown("cut".into()), Failure::Unknown("cut".into())),
            (Lost::NotSent("cut".into()), Failure::NotSent("cut".into())),
            (Lost::Ended(9), Failure::SessionEnded(SessionId(9))),
        ];
        for (why, failure) in table {
            let asked = stage.submit(commit());
            assert_eq!(asked[0].session, Some(9));
            stage.fail(&asked[0], why);
            let answer = Event::Answer(Ticket(stage.submitted), Answer::Failed(failure));
            assert_eq!(stage.told(), [answer]);
        }
        let asked = stage.submit(commit());
        stage.reply(&asked[0], Err(Code::SESSION_EXPIRED));
        let ended = Answer::Failed(Failure::SessionEnded(SessionId(9)));
        assert_eq!(stage.told(), [Event::Answer(Ticket(stage.submitted), ended)]);
        let asked = stage.submit(commit());
        stage.reply(&asked[0], Err(Code::OPERATION_TIMEOUT));
        let [Event::Answer(_, Answer::Failed(Failure::Unknown(_)))] = &stage.told()[..] else {
            panic!("the server itself does not know");
        };
        assert_eq!(stage.under_way(), (0, 0));
    }

    #[test]
    fn the_root_is_made_from_the_top_at_each_connection() {
        let mut stage = Stage::new("/a/bc/d");
        let paths: Vec<String> = stage
            .interpreter
            .event(zk::Event::Resync)
            .into_iter()
            .map(|ask| match ask.request {
                Some(zk::Request::Create(create)) => {
                    assert_eq!(create.mode, CreateMode::Container);
                    create.path
                }
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(paths, ["/a", "/a/bc", "/a/bc/d"]);
        assert_eq!(Stage::new("").interpreter.event(zk::Event::Resync), []);
    }
}
