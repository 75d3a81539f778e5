//! A session as a state machine over bytes: `step(now, input)` says what to do, and does nothing.
//!
//! * Nothing is queued: what is asked without a connection is answered [`Lost::NotSent`], what was
//!   under way when it broke [`Lost::Unknown`].
//! * Each reconnect sends the digest, then all watches, then whatever is asked.
//! * A session is trusted from the sending (not the receiving) of what a server has answered, once
//!   its leader must know of that: see `trust`.
//! * Servers that refuse the transaction this session saw last are asked for a new session beside
//!   it; if their leader knows of none as great, they were reset, and the new one is the session.

mod line;
mod route;
mod trust;
mod words;

pub use words::{Ask, Config, Event, Input, Lost, Output};

use crate::frames::Frames;
use crate::jute::Reader;
use crate::reply::Welcome;
use crate::request::{Hello, Request};
use bytes::Bytes;
use line::{Heard, Line};
use route::Route;
use std::collections::BTreeSet;
use trust::{Answer, Trust};

/// How long a closing waits for the server, in milliseconds.
const CLOSING: u64 = 4_500;

/// The leader is asked to be heard through so often within a time-out.
const BEATS: u64 = 6;

/// What a new session has for a password.
const NO_PASSWORD: [u8; 16] = [0; 16];

/// Names a session towards the servers.
#[derive(Debug)]
struct Identity {
    id: i64,
    password: Bytes,
}

#[derive(Debug)]
enum Phase {
    Resting {
        until: u64,
    },
    Resolving {
        until: u64,
    },
    Dialling {
        until: u64,
        probe: bool,
    },
    /// The first packet is sent; no answer yet.
    Greeting {
        until: u64,
        sent: u64,
        probe: bool,
        frames: Frames,
    },
    /// A new session stands beside the one that all servers refuse; what do they know?
    Probing {
        until: u64,
        sent: u64,
        welcome: Welcome,
        line: Line,
    },
    Live(Line),
    Closed,
}

/// One session after another, for as long as anybody wants.
#[derive(Debug)]
pub struct Session {
    config: Config,
    phase: Phase,
    route: Route,
    identity: Option<Identity>,
    /// The time-out agreed on, else the one wanted; milliseconds.
    timeout: u64,
    /// The last transaction told.
    seen: i64,
    /// Without room to grow: they are many.
    watches: BTreeSet<Box<str>>,
    trust: Trust,
    /// Since when there has been no connection.
    lost: u64,
    /// A server took the connection and closed it without a word since then.
    snubbed: bool,
    /// When the servers were last found to be those they were.
    probed: u64,
    closing: Option<u64>,
    /// Why there is no connection.
    why: String,
    told: String,
    out: Vec<Output>,
}

impl Session {
    /// A session that opens at the first [`Input::Tick`].
    #[must_use]
    pub fn new(now: u64, config: Config) -> Self {
        Self {
            phase: Phase::Resting { until: now },
            route: Route::new(config.spread),
            identity: None,
            timeout: u64::from(config.timeout),
            seen: 0,
            watches: BTreeSet::new(),
            trust: Trust::default(),
            lost: now,
            snubbed: false,
            probed: now,
            closing: None,
            why: "not connected yet".to_owned(),
            told: String::new(),
            out: Vec::new(),
            config,
        }
    }

    /// Which session is proven alive on a standing connection.
    #[must_use]
    pub fn live(&self) -> Option<i64> {
        match (&self.phase, &self.identity) {
            (Phase::Live(_), Some(identity)) => Some(identity.id),
            _ => None,
        }
    }

    /// When the next [`Input::Tick`] is due, at the latest; never in [`Event::Closed`].
    #[must_use]
    pub fn deadline(&self) -> u64 {
        let own = match &self.phase {
            Phase::Resting { until }
            | Phase::Resolving { until }
            | Phase::Dialling { until, .. }
            | Phase::Greeting { until, .. }
            | Phase::Probing { until, .. } => *until,
            Phase::Live(line) => self.silent_at(line).min(self.beat_at(line)),
            Phase::Closed => u64::MAX,
        };
        own.min(self.closing.unwrap_or(u64::MAX))
    }

    fn beat_at(&self, line: &Line) -> u64 {
        line.led.saturating_add(self.timeout / BEATS)
    }

    fn silent_at(&self, line: &Line) -> u64 {
        line.heard.saturating_add(self.timeout * 2 / 3)
    }

    /// One step: what has happened, at `now` milliseconds of a clock that counts suspends
    /// (`CLOCK_BOOTTIME`), and what is to be done about it, in order.
    pub fn step(&mut self, now: u64, input: Input) -> Vec<Output> {
        match input {
            Input::Tick => self.tick(now),
            Input::Ask(ask) => self.ask(now, ask),
            Input::Resolved(addresses) => self.resolved(now, addresses),
            Input::NotResolved(why) => self.not_resolved(now, why),
            Input::Connected => self.connected(now),
            Input::Received(bytes) => self.received(now, &bytes),
            Input::Broken(why) => self.broken(now, why),
            Input::Close => self.close(now),
        }
        std::mem::take(&mut self.out)
    }

    fn tell(&mut self, event: Event) {
        self.out.push(Output::Tell(event));
    }

    fn tick(&mut self, now: u64) {
        if self.closing.is_some_and(|until| until <= now) {
            return self.finish();
        }
        if self.deadline() > now {
            return;
        }
        match &self.phase {
            Phase::Resting { .. } => self.begin_round(now),
            Phase::Resolving { .. } => {
                self.not_resolved(now, "the servers' names are not resolved in time".to_owned());
            }
            Phase::Dialling { .. } => self.lose(now, "no connection in time".to_owned()),
            Phase::Greeting { .. } | Phase::Probing { .. } => {
                self.lose(now, "the server takes the connection and stays silent".to_owned());
            }
            Phase::Live(line) if self.silent_at(line) <= now => {
                let silence = now.saturating_sub(line.heard);
                self.lose(now, format!("nothing was heard for {silence} ms"));
            }
            Phase::Live(_) => self.beat(now),
            Phase::Closed => {}
        }
    }

    fn beat(&mut self, now: u64) {
        if let Phase::Live(line) = &mut self.phase {
            self.out.push(Output::Write(line.beat(now)));
        }
    }

    fn begin_round(&mut self, now: u64) {
        self.phase = Phase::Resolving { until: now + (self.timeout / 3).max(100) };
        self.out.push(Output::Resolve);
    }

    fn resolved(&mut self, now: u64, addresses: Vec<std::net::SocketAddr>) {
        if !matches!(self.phase, Phase::Resolving { .. }) {
            return;
        }
        if addresses.is_empty() {
            return self.not_resolved(now, "the servers' names have no address".to_owned());
        }
        self.route.resolved(addresses);
        self.dial(now);
    }

    fn not_resolved(&mut self, now: u64, why: String) {
        if !matches!(self.phase, Phase::Resolving { .. }) {
            return;
        }
        self.why = why;
        self.out.push(Output::Disconnect);
        self.rest(now);
    }

    /// Tries the next address of this round, or rests.
    fn dial(&mut self, now: u64) {
        let Some(address) = self.route.next() else { return self.rest(now) };
        let patience = self.route.patience(self.timeout);
        // Refused for longer than a session lasts, there is nothing to lose in asking for another.
        let probe = self.identity.is_some()
            && self.snubbed
            && now.saturating_sub(self.lost.max(self.probed)) >= self.timeout;
        self.phase = Phase::Dialling { until: now + patience, probe };
        self.out.push(Output::Connect(address));
    }

    fn rest(&mut self, now: u64) {
        if self.told != self.why {
            self.told.clone_from(&self.why);
            self.tell(Event::Suspended(self.why.clone()));
        }
        self.phase = Phase::Resting { until: now + self.route.rest(self.timeout) };
    }

    fn connected(&mut self, now: u64) {
        let Phase::Dialling { probe, .. } = self.phase else { return };
        let identity = self.identity.as_ref().filter(|_| !probe);
        let hello = Hello {
            seen: if probe { 0 } else { self.seen },
            timeout: i32::try_from(self.config.timeout).unwrap_or(i32::MAX),
            session: identity.map_or(0, |identity| identity.id),
            password: identity.map_or(&NO_PASSWORD, |identity| &identity.password),
        };
        self.out.push(Output::Write(hello.encode()));
        let until = now + (self.timeout / 3).max(100);
        self.phase = Phase::Greeting { until, sent: now, probe, frames: Frames::default() };
    }

    fn received(&mut self, now: u64, bytes: &[u8]) {
        match &mut self.phase {
            Phase::Greeting { frames, .. } => {
                frames.push(bytes);
                self.greeted(now);
            }
            Phase::Probing { line, .. } | Phase::Live(line) => {
                let all = line.receive(now, bytes);
                self.heard(now, all);
            }
            _ => {}
        }
    }

    fn greeted(&mut self, now: u64) {
        let Phase::Greeting { frames, sent, probe, until } = &mut self.phase else { return };
        let (sent, probe, until) = (*sent, *probe, *until);
        let packet = match frames.next() {
            Ok(Some(packet)) => packet,
            Ok(None) => return,
            Err(error) => return self.lose(now, error.to_string()),
        };
        let frames = std::mem::take(frames);
        let welcome = match Welcome::decode(&mut Reader::new(packet)) {
            Ok(welcome) => welcome,
            Err(error) => return self.lose(now, format!("the server is no ZooKeeper: {error}")),
        };
        if welcome.timeout <= 0 || welcome.session == 0 {
            return self.refused(now, probe);
        }
        let mut line = Line::new(now, frames);
        if probe {
            self.out.push(Output::Write(line.beat(now)));
            self.phase = Phase::Probing { until, sent, welcome, line };
            return;
        }
        self.enter(sent, welcome, line);
    }

    /// The server says that this session has ended.
    fn refused(&mut self, now: u64, probe: bool) {
        match self.identity.take_if(|_| !probe) {
            Some(identity) => {
                self.tell(Event::Ended(identity.id));
                self.out.push(Output::Disconnect);
                self.lost = now;
                if self.closing.is_some() {
                    return self.finish();
                }
                self.begin_round(now);
            }
            None => self.lose(now, "the server opens no session".to_owned()),
        }
    }

    /// The session lives on this connection.
    fn enter(&mut self, sent: u64, welcome: Welcome, line: Line) {
        let session = welcome.session;
        let before = self.timeout;
        self.timeout = u64::try_from(welcome.timeout).unwrap_or(before);
        self.identity = Some(Identity { id: session, password: welcome.password });
        self.phase = Phase::Live(line);
        self.route.arrived();
        self.snubbed = false;
        self.told.clear();
        let first = Line::open(self.config.digest.as_deref(), self.seen, &self.watches);
        self.out.extend(first.into_iter().map(Output::Write));
        self.tell(Event::Resync);
        if self.timeout != before {
            self.tell(Event::Timeout(self.timeout));
        }
        let (trust, until) = Trust::opened(self.timeout, sent);
        self.trust = trust;
        self.trusted(until);
        if let (Some(_), Phase::Live(line)) = (self.closing, &mut self.phase) {
            self.out.push(Output::Write(line.close()));
        }
    }

    fn answered(&mut self, now: u64, sent: u64, number: u64, leader: bool) {
        let Phase::Live(line) = &mut self.phase else { return };
        let until = self.trust.answered(Answer { now, sent, number, last: line.sent(), leader });
        // What it proves is known as soon as the leader is heard through once more.
        if !line.is_closing() && self.trust.seeks_proof(line.sent()) {
            self.out.push(Output::Write(line.ask_leader(now)));
        }
        self.trusted(until);
    }

    fn trusted(&mut self, until: Option<u64>) {
        if let (Some(identity), Some(until)) = (&self.identity, until) {
            let session = identity.id;
            self.tell(Event::Live { session, trusted_until: until });
        }
    }

    fn heard(&mut self, now: u64, all: Vec<Heard>) {
        let mut all = all.into_iter();
        while let Some(heard) = all.next() {
            match heard {
                Heard::Tell(event) => self.tell(event),
                Heard::Zxid(zxid) if self.went_backwards(zxid) => {
                    // What was answered is told before the connection is given up.
                    let answered = all.filter_map(|heard| match heard {
                        Heard::Tell(event) => Some(Output::Tell(event)),
                        _ => None,
                    });
                    self.out.extend(answered);
                    self.reset(zxid);
                    return self.lose(now, "the servers have lost what they knew".to_owned());
                }
                Heard::Zxid(zxid) => self.told_zxid(now, zxid),
                Heard::Proof { sent, number, leader } => self.answered(now, sent, number, leader),
                Heard::NoWatch(path) => {
                    self.watches.remove(path.as_str());
                }
                Heard::Closed => return self.finish(),
                Heard::Broken(why) => return self.lose(now, why),
            }
        }
    }

    /// Whether the first transaction told on a connection is before what was told on others.
    fn went_backwards(&mut self, zxid: i64) -> bool {
        match &mut self.phase {
            Phase::Live(line) => std::mem::take(&mut line.fresh) && zxid < self.seen,
            _ => false,
        }
    }

    fn told_zxid(&mut self, now: u64, zxid: i64) {
        match &self.phase {
            Phase::Probing { .. } => self.probed(now, zxid),
            Phase::Live(_) => self.seen = self.seen.max(zxid),
            _ => {}
        }
    }

    fn reset(&mut self, found: i64) {
        self.tell(Event::Reset { seen: self.seen, found });
        self.seen = found;
        if let Some(identity) = self.identity.take() {
            self.tell(Event::Ended(identity.id));
        }
    }

    /// What the new session beside ours has shown.
    fn probed(&mut self, now: u64, zxid: i64) {
        let was = std::mem::replace(&mut self.phase, Phase::Resting { until: now });
        let Phase::Probing { sent, welcome, mut line, .. } = was else { return };
        if zxid < self.seen {
            self.reset(zxid);
            line.fresh = false;
            return self.enter(sent, welcome, line);
        }
        self.probed = now;
        self.out.push(Output::Write(line.close()));
        self.lose(now, "the servers do not take this session yet".to_owned());
    }

    fn broken(&mut self, now: u64, why: String) {
        match &self.phase {
            Phase::Live(line) if line.is_closing() => return self.finish(),
            // It might also be starting, or behind the others: only time tells.
            Phase::Greeting { probe: false, .. } => self.snubbed = true,
            Phase::Dialling { .. }
            | Phase::Greeting { .. }
            | Phase::Probing { .. }
            | Phase::Live(_) => {}
            Phase::Resting { .. } | Phase::Resolving { .. } | Phase::Closed => return,
        }
        self.lose(now, why);
    }

    /// Gives the connection or the attempt up and goes on to the next.
    fn lose(&mut self, now: u64, why: String) {
        self.out.push(Output::Disconnect);
        let was = std::mem::replace(&mut self.phase, Phase::Resting { until: now });
        self.why = why;
        let Phase::Live(mut line) = was else { return self.dial(now) };
        let lost = line.abandon(&self.why);
        self.out.extend(lost.into_iter().map(Output::Tell));
        self.lost = now;
        self.told.clone_from(&self.why);
        self.tell(Event::Suspended(self.why.clone()));
        self.begin_round(now);
    }

    fn ask(&mut self, now: u64, ask: Ask) {
        let Ask { ticket, session, .. } = ask;
        let current = self.identity.as_ref().map(|identity| identity.id);
        let failed = |why| Event::Failed { ticket, why };
        let refused = match session {
            Some(meant) if self.closing.is_some() || current != Some(meant) => {
                Some(failed(Lost::Ended(meant)))
            }
            _ if self.closing.is_some() || matches!(self.phase, Phase::Closed) => {
                Some(failed(Lost::NotSent("the session was closed".to_owned())))
            }
            _ => None,
        };
        let Phase::Live(line) = &mut self.phase else {
            let why = || failed(Lost::NotSent(self.why.clone()));
            return self.tell(refused.unwrap_or_else(why));
        };
        match refused {
            Some(event) => line.in_turn(event),
            None => {
                self.out.extend(line.ask(now, &ask).map(Output::Write));
                match ask.request {
                    Some(Request::AddWatch(path)) => self.watches.insert(path.into()),
                    Some(Request::RemoveWatches(path)) => self.watches.remove(path.as_str()),
                    _ => false,
                };
            }
        }
        self.out.extend(line.due().into_iter().map(Output::Tell));
    }

    fn close(&mut self, now: u64) {
        if self.closing.is_some() || matches!(self.phase, Phase::Closed) {
            return;
        }
        if self.identity.is_none() {
            return self.finish();
        }
        self.closing = Some(now + CLOSING);
        if let Phase::Live(line) = &mut self.phase {
            self.out.push(Output::Write(line.close()));
        }
    }

    /// Nothing follows.
    fn finish(&mut self) {
        self.out.push(Output::Disconnect);
        let was = std::mem::replace(&mut self.phase, Phase::Closed);
        if let Phase::Live(mut line) = was {
            let lost = line.abandon("the session was closed");
            self.out.extend(lost.into_iter().map(Output::Tell));
        }
        self.closing = None;
        self.why = "the session was closed".to_owned();
        if let Some(identity) = self.identity.take() {
            self.tell(Event::Ended(identity.id));
        }
        self.tell(Event::Closed);
    }
}

#[cfg(test)]
mod tests;
