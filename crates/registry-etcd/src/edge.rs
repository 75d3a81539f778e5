//! The task that holds the connection: it connects, asks, listens, and begins again.

use crate::Credentials;
use crate::batch::Mark;
use crate::interpreter::{Break, Command, Interpreter};
use crate::place::Place;
use crate::server::{Fault, Server, said};
use crate::session::{self, Fails, Stands};
use crate::wire::{TxnAnswer, Watched};
use flockwork_registry::{Event, Failure, SessionId, SessionState};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tonic::Streaming;

/// The first pause before all servers are tried again; doubled each time up to a tenth of the
/// session's time-out.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// How long a session is tried to be ended when all is over.
const CLOSING: Duration = Duration::from_secs(5);

type Asked<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Why the task does not go on as before.
enum Turn {
    Broken(Break),
    Closing,
}

impl From<Break> for Turn {
    fn from(broken: Break) -> Self {
        Self::Broken(broken)
    }
}

/// Where, by which right, and for how long.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) servers: Vec<String>,
    pub(crate) credentials: Credentials,
    /// Whole seconds.
    pub(crate) timeout: Duration,
    /// With which server to begin.
    pub(crate) first: usize,
}

#[derive(Debug)]
pub(crate) struct Edge {
    pub(crate) way: Way,
    pub(crate) interpreter: Interpreter,
    pub(crate) commands: mpsc::UnboundedReceiver<Command>,
    pub(crate) closing: watch::Receiver<bool>,
    /// The session proven alive at this moment; 0 for none.
    pub(crate) proven: Arc<AtomicU64>,
    /// The session's time-out in milliseconds; 0 before there was one.
    pub(crate) granted: Arc<AtomicU64>,
    /// The greatest revision seen, and in which data.
    pub(crate) cluster: Option<(u64, i64)>,
    /// What was said last of why there is no connection.
    pub(crate) said: Option<String>,
}

/// What there is to act on.
enum Heard {
    Watched(Result<Option<Watched>, String>),
    Answer(Result<TxnAnswer, Fault>),
    Command(Option<Command>),
    /// It is time to renew the session.
    Time,
    Renewed(Result<u64, Fails>),
    /// The watch has not come through what an answer waits for.
    Silence,
    Closing,
}

/// A connection that is used.
struct Up {
    server: Server,
    watch: Streaming<Watched>,
    mark: Mark,
    patience: Duration,
    asked: Option<Asked<Result<TxnAnswer, Fault>>>,
    renewal: Option<Asked<Result<u64, Fails>>>,
    renew_at: Instant,
    /// When the watch must have told something, as an answer waits for it.
    watch_by: Option<Instant>,
}

impl Up {
    fn new(connection: Connection, patience: Duration) -> Self {
        let Connection { server, watch, stands } = connection;
        let (asked, renewal, watch_by, now) = (None, None, None, Instant::now());
        let renew_at = if stands.trusted_until == 0 { now } else { now + patience };
        let mark = stands.mark;
        Self { server, watch, mark, patience, asked, renewal, renew_at, watch_by }
    }

    fn ask(&mut self, interpreter: &mut Interpreter) {
        if self.asked.is_none() {
            self.asked = interpreter.next().map(|txn| {
                let server = self.server.clone();
                Box::pin(async move { server.txn(txn).await }) as Asked<_>
            });
        }
    }

    fn renew(&mut self, place: Place) {
        let (server, mark, patience) = (self.server.clone(), self.mark, self.patience);
        self.renew_at = Instant::now() + patience;
        self.renewal = Some(Box::pin(async move {
            let renewed = timeout(patience, session::renew(&server, &place, mark)).await;
            let late = || Fault::Lost(format!("no renewal within {patience:?}"));
            renewed.unwrap_or_else(|_| Err(Fails::Fault(late())))
        }));
    }
}

struct Connection {
    server: Server,
    watch: Streaming<Watched>,
    stands: Stands,
}

impl Edge {
    /// Works until it is closed.
    pub(crate) async fn run(mut self) {
        loop {
            let Some(connection) = self.connect().await else { return self.refuse_all() };
            let server = connection.server.clone();
            match self.serve(connection).await {
                Turn::Broken(Break::Lost(why)) => {
                    self.interpreter.lost(&why);
                    self.suspend(&why);
                }
                Turn::Broken(Break::Ended) => {
                    self.interpreter.lost("the session has ended");
                    self.end();
                }
                Turn::Closing => return self.close(&server).await,
            }
        }
    }

    fn patience(&self) -> Duration {
        self.way.timeout / 3
    }

    fn suspend(&mut self, why: &str) {
        self.proven.store(0, Ordering::Relaxed);
        if self.said.as_deref() != Some(why) {
            self.interpreter
                .told()
                .say(Event::Session(SessionState::Suspended { why: why.into() }));
            self.said = Some(why.to_owned());
        }
    }

    fn set_back(&mut self, why: &str) {
        tracing::error!("{why}");
        self.suspend(why);
        self.interpreter.told().say(Event::SetBack(why.to_owned()));
    }

    fn end(&mut self) {
        self.proven.store(0, Ordering::Relaxed);
        self.interpreter.ended();
    }

    fn live(&mut self, session: SessionId, trusted_until: u64) {
        self.said = None;
        self.proven.store(session.0, Ordering::Relaxed);
        self.interpreter.told().say(Event::Session(SessionState::Live { session, trusted_until }));
    }

    /// Tries the servers in turn until a session stands; nothing if it is closed before. What is
    /// asked meanwhile is not sent.
    async fn connect(&mut self) -> Option<Connection> {
        let longest = self.way.timeout / 10;
        let (mut pause, mut tried) = (FIRST_PAUSE.min(longest), 0);
        let mut give_up: Option<Instant> = None;
        loop {
            if *self.closing.borrow() {
                let deadline = *give_up.get_or_insert_with(|| Instant::now() + CLOSING);
                if self.interpreter.mark().is_none() || Instant::now() >= deadline {
                    return None;
                }
            }
            match self.try_next().await {
                Ok(connection) => return Some(connection),
                Err(Fails::Ended) => {
                    self.end();
                    continue;
                }
                Err(Fails::Loss(why)) => {
                    self.set_back(&why);
                    self.end();
                    continue;
                }
                Err(Fails::Fault(fault)) => {
                    self.suspend(&fault.why());
                }
            }
            tried += 1;
            if tried % self.way.servers.len() == 0 {
                self.refusing(sleep(pause)).await;
                pause = (pause * 2).min(longest);
            }
        }
    }

    async fn try_next(&mut self) -> Result<Connection, Fails> {
        let at = self.way.first % self.way.servers.len();
        let joining = join(
            self.way.servers[at].clone(),
            self.way.credentials.clone(),
            self.way.timeout,
            self.interpreter.place().clone(),
            self.interpreter.mark(),
        );
        let resumed = self.interpreter.mark().is_some();
        let joined = self.refusing(Box::pin(joining)).await;
        let connection = match joined {
            Ok(connection) => connection,
            Err(fails) => {
                // The one that has just said so is as good as any.
                if matches!(fails, Fails::Fault(_)) {
                    self.way.first = at + 1;
                }
                return Err(fails);
            }
        };
        let Stands { mark, trusted_until, cluster, timeout } = connection.stands;
        self.granted
            .store(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX), Ordering::Release);
        if let Some(why) = self.look_for_loss(cluster, mark.revision) {
            if resumed {
                self.refusing(Box::pin(session::give_up(&connection.server, mark))).await;
                return Err(Fails::Loss(why));
            }
            self.set_back(&why);
        }
        self.interpreter.joined(mark, mark.revision);
        if trusted_until != 0 {
            self.live(mark.session(), trusted_until);
        }
        Ok(connection)
    }

    /// Waits for something while every request is refused.
    async fn refusing<T>(&mut self, waiting: impl Future<Output = T>) -> T {
        tokio::pin!(waiting);
        loop {
            tokio::select! {
                done = &mut waiting => return done,
                Some(command) = self.commands.recv() => self.refuse(&command),
            }
        }
    }

    fn refuse(&mut self, command: &Command) {
        let why = self.said.clone().unwrap_or_else(|| "no server has answered yet".to_owned());
        self.interpreter.refuse(command, Failure::NotSent(why));
    }

    fn refuse_all(mut self) {
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            self.refuse(&command);
        }
        self.end();
    }

    /// Servers that were set up anew, or from a backup, have less than was seen. No session goes on
    /// there: under one session, indices never go backwards.
    fn look_for_loss(&mut self, cluster: u64, revision: i64) -> Option<String> {
        let (before, seen) = self.cluster.replace((cluster, revision))?;
        (before != cluster || revision < seen).then(|| {
            format!(
                "the servers have lost what they knew: they are at revision {revision} of cluster \
                 {cluster:x}, this node saw {seen} of {before:x}; were they set up anew, or from a \
                 backup?"
            )
        })
    }

    async fn serve(&mut self, connection: Connection) -> Turn {
        let patience = self.patience();
        let mut up = Up::new(connection, patience);
        loop {
            up.ask(&mut self.interpreter);
            up.watch_by = match self.interpreter.told().waits() {
                true => up.watch_by.or_else(|| Some(Instant::now() + patience)),
                false => None,
            };
            let heard = self.hear(&mut up).await;
            if let Err(turn) = self.act(heard, &mut up) {
                return turn;
            }
        }
    }

    async fn hear(&mut self, up: &mut Up) -> Heard {
        let closing = &mut self.closing;
        let closed = async {
            // An error means that nobody is left to ask anything.
            let _ = closing.wait_for(|closing| *closing).await;
        };
        tokio::select! {
            told = up.watch.message() => Heard::Watched(told.map_err(|status| said(&status))),
            answer = of(&mut up.asked) => Heard::Answer(answer),
            command = self.commands.recv() => Heard::Command(command),
            renewed = of(&mut up.renewal) => Heard::Renewed(renewed),
            () = sleep_until(up.renew_at), if up.renewal.is_none() => Heard::Time,
            () = sleep_until(up.watch_by.unwrap_or(up.renew_at)), if up.watch_by.is_some() => {
                Heard::Silence
            }
            () = closed => Heard::Closing,
        }
    }

    fn act(&mut self, heard: Heard, up: &mut Up) -> Result<(), Turn> {
        match heard {
            Heard::Watched(Ok(Some(watched))) => {
                self.interpreter.watched(&watched)?;
                up.watch_by = None;
                if let Some((_, seen)) = &mut self.cluster {
                    *seen = (*seen).max(self.interpreter.told().has_seen());
                }
            }
            Heard::Watched(Ok(None)) => return Err(lost("the server ended the watch".to_owned())),
            Heard::Watched(Err(why)) => return Err(lost(format!("the watch broke: {why}"))),
            Heard::Answer(answer) => {
                up.asked = None;
                self.answered(answer)?;
            }
            Heard::Command(Some(command)) => self.take(command),
            Heard::Time => up.renew(self.interpreter.place().clone()),
            Heard::Renewed(renewed) => {
                up.renewal = None;
                match renewed {
                    Ok(0) => up.renew_at = Instant::now() + up.patience / 8,
                    Ok(until) => self.live(up.mark.session(), until),
                    Err(Fails::Ended) => return Err(Break::Ended.into()),
                    Err(Fails::Loss(why)) => return Err(lost(why)),
                    Err(Fails::Fault(fault)) => return Err(lost(fault.why())),
                }
            }
            Heard::Silence => {
                return Err(lost(format!("the watch tells nothing within {:?}", up.patience)));
            }
            Heard::Command(None) | Heard::Closing => return Err(Turn::Closing),
        }
        Ok(())
    }

    /// Takes a command and all that stand behind it, so that they go together.
    fn take(&mut self, command: Command) {
        self.interpreter.command(command);
        while let Ok(command) = self.commands.try_recv() {
            self.interpreter.command(command);
        }
    }

    fn answered(&mut self, answer: Result<TxnAnswer, Fault>) -> Result<(), Turn> {
        match answer {
            Ok(answer) => self.interpreter.answered(answer)?,
            Err(Fault::Refused(failure)) => self.interpreter.refused(&failure),
            Err(Fault::NoLease) => return Err(Break::Ended.into()),
            Err(Fault::Login(why)) => {
                self.interpreter.refused(&Failure::NotSent(why.clone()));
                return Err(lost(why));
            }
            Err(Fault::Lost(why)) => return Err(lost(why)),
        }
        Ok(())
    }

    /// Ends the session, so that what lives with it vanishes.
    async fn close(mut self, server: &Server) {
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            self.interpreter.command(command);
        }
        self.interpreter.lost("the connection was closed");
        if let Some(mark) = self.interpreter.mark() {
            let revoked = timeout(CLOSING, server.revoke(mark.lease)).await;
            if !matches!(revoked, Ok(Ok(()) | Err(Fault::NoLease))) {
                tracing::warn!(session = %mark.session(), "the session ends by its time-out only");
            }
        }
        self.end();
    }
}

fn lost(why: String) -> Turn {
    Break::Lost(why).into()
}

/// What comes of it, if there is something under way.
async fn of<T>(under_way: &mut Option<Asked<T>>) -> T {
    match under_way {
        Some(asked) => asked.await,
        None => std::future::pending().await,
    }
}

/// Connects to a server, begins a session or takes one up again, and watches.
async fn join(
    server: String,
    credentials: Credentials,
    lasts: Duration,
    place: Place,
    mark: Option<Mark>,
) -> Result<Connection, Fails> {
    let patience = lasts / 3;
    let fault = |why| Fails::Fault(Fault::Lost(why));
    let connected = Server::connect(&server, &credentials, patience).await.map_err(fault)?;
    let named = |fails| match fails {
        Fails::Fault(why) => Fails::Fault(Fault::Lost(format!("{server}: {}", why.why()))),
        ended => ended,
    };
    let stands = match mark {
        Some(mark) => session::resume(&connected, &place, mark).await.map_err(named)?,
        None => session::begin(&connected, &place, lasts).await.map_err(named)?,
    };
    let watch = connected.watch(place.everything(), stands.mark.revision + 1).await;
    let watch = watch.map_err(|why| named(Fails::Fault(why)))?;
    Ok(Connection { server: connected, watch, stands })
}
