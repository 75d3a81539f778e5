//! Between the contract and the protocol: what is asked of ZooKeeper, and what its answers mean.
//!
//! Pure: commands and events go in, questions come out, and the node's inbox is filled.

use crate::commit::{Commit, Outcome, Place, refusal};
use flockwork_registry::inbox::Sender;
use flockwork_registry::{Answer, Entry, Event, Failure, Index, Key, Receipt, Request, Scope};
use flockwork_registry::{SessionId, SessionState, Stamp, Ticket, Why};
use flockwork_zookeeper as zk;
use flockwork_zookeeper::{Ask, Change, Code, Create, CreateMode, Lost, Reply, Stat};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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
    pending: BTreeMap<u64, Pending>,
    last: u64,
    watches: BTreeSet<(Key, Scope)>,
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
    ) -> Self {
        Self {
            place,
            sender,
            under_way,
            closed,
            pending: BTreeMap::new(),
            last: 0,
            watches: BTreeSet::new(),
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
        let watched = self.is_watched(&key);
        let request = (!watched).then(|| zk::Request::AddWatch(self.place.path(&key)));
        match self.watches.insert((key.clone(), scope)) {
            true => (request, None, Purpose::Watch(key, scope)),
            false => (None, None, Purpose::Turn),
        }
    }

    fn unwatch(&mut self, key: Key, scope: Scope) -> Question {
        if !self.watches.remove(&(key.clone(), scope)) {
            return (None, None, Purpose::Turn);
        }
        let last = !self.is_watched(&key);
        let request = last.then(|| zk::Request::RemoveWatches(self.place.path(&key)));
        (request, None, Purpose::Unwatch(key, scope))
    }

    fn is_watched(&self, key: &Key) -> bool {
        [Scope::Value, Scope::Children]
            .iter()
            .any(|scope| self.watches.contains(&(key.clone(), *scope)))
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
                Answer::Entry(Some(entry(value, &stat)))
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
                self.watches.remove(&(key.clone(), *scope));
            }
            Purpose::Unwatch(key, scope) => {
                self.watches.insert((key.clone(), *scope));
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
        let watched = self.place.key(path).map(|key| (key, scope));
        if let Some((key, scope)) = watched.filter(|watched| self.watches.contains(watched)) {
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

fn entry(value: bytes::Bytes, stat: &Stat) -> Entry {
    let index = |zxid: i64| Index(zxid.cast_unsigned());
    let stamp = Stamp {
        created: index(stat.czxid),
        modified: index(stat.mzxid),
        version: stat.version.cast_unsigned(),
    };
    let session = stat.session().map(|session| SessionId(session.cast_unsigned()));
    Entry { value, stamp, session }
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
            zk::Event::Suspended(why) => {
                self.sender.push(Event::Session(SessionState::Suspended { why }));
            }
            zk::Event::Reset { seen, found } => {
                let why = format!(
                    "the servers have lost what they knew: they are at 0x{found:x}, this session \
                     saw 0x{seen:x}; were they set up anew, or from a backup?"
                );
                tracing::error!("{why}");
                self.sender.push(Event::Session(SessionState::Suspended { why }));
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
