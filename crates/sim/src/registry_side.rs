//! What happens between a host's link and the registry.

use crate::dice::Dice;
use crate::link::{Down, Loss, OnTheWay, State, Up, committed};
use crate::mutants::Mutant;
use crate::queue::{Happens, HostAt, Within};
use crate::world::World;
use flockwork_checker::trace::{Fact, Fault};
use flockwork_node::Event as NodeEvent;
use flockwork_registry::{Answer, Event, Failure, Op, Request, SessionId, SessionState};
use std::time::Duration;

/// Whether a request's answer is lost, and what becomes of the request.
pub(crate) fn draw_loss(dice: &mut Dice, per_mille: u64) -> Option<Loss> {
    let kind = dice.below(3);
    let is_lost = dice.chance(per_mille);
    is_lost.then_some(match kind {
        0 => Loss::Applied,
        1 => Loss::Late,
        _ => Loss::Never,
    })
}

pub(crate) fn not_sent() -> Failure {
    Failure::NotSent("no connection".to_owned())
}

/// Whether a commit makes a claim: it writes a record and marks it as running.
fn claims(world: &World, request: &Request) -> bool {
    use flockwork_layout::keys::Facet;
    let Request::Commit(ops) = request else { return false };
    ops.iter().any(|op| match op {
        Op::Create { key, .. } => {
            matches!(world.namespace.parse(key), Some((_, Facet::Running(_))))
        }
        _ => false,
    })
}

impl World {
    /// Messages arrive at the registry. After a commit others may come first.
    pub(crate) fn arrives(&mut self, at: HostAt) {
        let now = self.now;
        while let Some(sent) = self.hosts[at].link.up.pop_front_if(|sent| sent.arrives <= now) {
            let is_commit = matches!(sent.message, Up::Request { request: Request::Commit(_), .. });
            self.arrived(at, sent);
            if is_commit {
                return self.queue.push(now, Happens::Arrives(at));
            }
        }
    }

    fn arrived(&mut self, at: HostAt, sent: OnTheWay<Up>) {
        let OnTheWay { connection, message, .. } = sent;
        let now = self.now;
        let answers = connection == self.hosts[at].link.connection;
        match message {
            Up::Request { ticket, request, session, loss } => {
                self.apply_late(at, session);
                let answer = self.answer(at, session, request, loss);
                self.spread();
                if answers {
                    self.reply(at, Down::Event(Event::Answer(ticket, answer)));
                } else if committed(&answer).is_some() {
                    self.counts.reach("a commit arrived after its connection broke");
                }
            }
            Up::Beat { sent, session } => {
                let lives = self.store.renew(now, session).is_ok();
                self.expect_expiry();
                self.reply(at, Down::BeatAnswered { sent, lives });
            }
            Up::Connect { sent, session } => self.accept(at, connection, sent, session),
            Up::Close { session } => self.end_session(session),
        }
    }

    fn apply_late(&mut self, at: HostAt, session: SessionId) {
        for (of, request) in std::mem::take(&mut self.hosts[at].link.late) {
            if of == session {
                let answer = self.recorder.apply(self.now, &mut self.store, of, request);
                let index = committed(&answer).map(|index| index.0);
                self.counts
                    .reach_if("a commit took effect after its answer was lost", index.is_some());
            }
        }
        self.spread();
    }

    fn answer(
        &mut self,
        at: HostAt,
        session: SessionId,
        request: Request,
        loss: Option<Loss>,
    ) -> Answer {
        let is_commit = matches!(request, Request::Commit(_));
        if is_commit && self.now < self.full_until {
            self.counts.reach("a commit found the disk full");
            return Answer::Failed(Failure::Full("the disk is full".to_owned()));
        }
        if self.is(Mutant::SwallowedRequest) {
            self.swallow(at, &request);
        }
        let is_claim = claims(self, &request);
        let request = self.as_its_release_writes(at, request);
        let lost = || Answer::Failed(Failure::Unknown("the answer was lost".to_owned()));
        let Some(loss) = loss else {
            let mut answer = self.recorder.apply(self.now, &mut self.store, session, request);
            if let Answer::Committed(receipt) = &mut answer {
                // The registry's clock is right.
                receipt.at = i64::try_from(self.now).ok().map(|now| self.scenario.wall + now);
            }
            return answer;
        };
        let mut index = None;
        let told = self.mistaken_loss(&request, lost());
        match loss {
            Loss::Applied => {
                let answer = self.recorder.apply(self.now, &mut self.store, session, request);
                index = committed(&answer).map(|index| index.0);
            }
            Loss::Late => self.hosts[at].link.late.push((session, request)),
            Loss::Never => {}
        }
        if is_commit {
            let node = self.hosts[at].number;
            self.counts.faults += 1;
            self.counts.lost_answer(is_claim, index.is_some());
            self.recorder.write(self.now, Fact::Fault(Fault::LostAnswer { node, index }));
        }
        told
    }

    fn reply(&mut self, at: HostAt, message: Down) {
        if matches!(message, Down::Event(Event::Answer(..))) {
            // Before an answer come all changes that precede it.
            self.spill(at);
        }
        self.send_back(at, message);
    }

    /// Tells the changes that were held back.
    pub(crate) fn spill(&mut self, at: HostAt) {
        for event in self.hosts[at].link.take_held_back() {
            self.send_back(at, Down::Event(event));
        }
    }

    fn send_back(&mut self, at: HostAt, message: Down) {
        if let Some(arrives) = self.hosts[at].link.reply(self.now, message) {
            self.push_within(at, arrives, Within::Heard);
        }
    }

    /// Sends what changed to those that watch it.
    pub(crate) fn spread(&mut self) {
        for session in self.store.notified() {
            let events = self.store.take_events(session);
            let Some(at) = self.holders.get(&session).copied() else { continue };
            let is_jumbled = self.now < self.hosts[at].link.jumbled_until;
            for event in events {
                let link = &mut self.hosts[at].link;
                if is_jumbled && matches!(event, Event::Changed(..)) {
                    link.held_back.push(event);
                    let later = link.dice.below(1_500);
                    self.queue.push(self.now + later, Happens::Spill(at));
                } else {
                    self.spill(at);
                    self.send_back(at, Down::Event(event));
                }
            }
        }
    }

    fn accept(&mut self, at: HostAt, connection: u64, sent: u64, session: Option<SessionId>) {
        let link = &mut self.hosts[at].link;
        if connection != link.connection {
            return;
        }
        link.accepted = connection;
        link.late.retain(|(of, _)| Some(*of) == session);
        link.held_back.clear();
        let old = session.filter(|session| self.store.renew(self.now, *session).is_ok());
        let kept = old.unwrap_or_else(|| self.open(at));
        self.store.take_events(kept);
        self.expect_expiry();
        let ended = session.filter(|session| *session != kept);
        self.counts.reach_if("a session outlived its connection", old.is_some());
        self.reply(at, Down::Connected { sent, session: kept, ended });
    }

    fn open(&mut self, at: HostAt) -> SessionId {
        let timeout = Duration::from_millis(self.scenario.timeout);
        let session = self.store.open(self.now, timeout);
        self.holders.insert(session, at);
        for (key, scope) in self.hosts[at].link.watches.clone() {
            self.store.apply(session, Request::Watch(key, scope));
        }
        session
    }

    fn expect_expiry(&mut self) {
        let Some(at) = self.store.next_expiry().filter(|at| *at < u64::MAX) else { return };
        let at = at + self.scenario.expiry_lag;
        // One look is enough, if it comes early enough; it plans the next.
        if self.expiry_at.is_none_or(|planned| at < planned) {
            self.expiry_at = Some(at);
            self.queue.push(at, Happens::Expire);
        }
    }

    pub(crate) fn expire(&mut self) {
        if self.now < self.away_until {
            return self.queue.push(self.away_until, Happens::Expire);
        }
        self.expiry_at = None;
        let lag = self.scenario.expiry_lag;
        let before = self.store.index().0;
        let ended = self.store.expire(self.now.saturating_sub(lag));
        for session in ended {
            self.session_gone(before + 1, session);
        }
        self.spread();
        self.expect_expiry();
    }

    /// The registry is there again. One that restarted gives each session its whole time once more.
    pub(crate) fn registry_back(&mut self, restarted: bool) {
        if self.wire.is_some() {
            return self.servers_back(restarted);
        }
        let sessions: Vec<SessionId> = self.holders.keys().copied().collect();
        for session in sessions.into_iter().filter(|_| restarted) {
            let lives = self.store.renew(self.now, session).is_ok();
            self.counts.reach_if("a session outlived a restart of the registry", lives);
        }
        self.expect_expiry();
    }

    fn end_session(&mut self, session: SessionId) {
        let index = self.store.index().0 + 1;
        if self.store.end(session) {
            self.session_gone(index, session);
            self.spread();
        }
    }

    fn session_gone(&mut self, index: u64, session: SessionId) {
        let Some(at) = self.holders.remove(&session) else { return };
        let host = &self.hosts[at];
        let still_runs =
            host.is_up() && host.link.session == Some(session) && !host.runs.is_empty();
        self.counts.reach_if("a session ended under living runs", still_runs);
        self.counts.reach_if("a session ended during a pause", host.pause.is_some());
        let one_way = self.now < host.link.up_stalled_until.max(host.link.down_stalled_until);
        self.counts.reach_if("a session ended in a one-way partition", one_way && still_runs);
        self.recorder.ended(self.now, index, session);
    }

    /// Messages from the registry arrive at the host.
    pub(crate) fn heard(&mut self, at: HostAt) {
        let now = self.now;
        while let Some(sent) = self.hosts[at].link.down.pop_front_if(|sent| sent.arrives <= now) {
            self.heard_one(at, sent);
        }
    }

    fn heard_one(&mut self, at: HostAt, sent: OnTheWay<Down>) {
        let now = self.now;
        let link = &mut self.hosts[at].link;
        if !sent.is_local {
            if sent.connection != link.connection {
                return;
            }
            link.heard = now;
        }
        match sent.message {
            Down::Event(event) => self.hear(at, event),
            Down::BeatAnswered { sent, lives: true } => self.trust(at, sent),
            Down::BeatAnswered { lives: false, .. } => {
                self.counts.reach("a node learned that its session was over");
                let told = self.hosts[at].link.session_over(now);
                self.push_within(at, told, Within::Heard);
                self.connect_later(at);
            }
            Down::Connected { sent, session, ended } => self.connected(at, sent, session, ended),
        }
    }

    pub(crate) fn hear(&mut self, at: HostAt, event: Event) {
        if let Some(said) = &mut self.said {
            said.push((self.now, at, format!("  hears {event:?}")));
        }
        let host = &mut self.hosts[at];
        match &event {
            Event::Answer(ticket, _) => host.link.answered(*ticket),
            Event::Session(SessionState::Suspended { .. } | SessionState::Ended(_)) => {
                let node = host.number;
                self.recorder.write(self.now, Fact::Distrust { node });
            }
            _ => {}
        }
        let told = match self.scenario.mutant {
            None => Some(event),
            Some(_) => self.mistaken_event(at, event),
        };
        if let Some(event) = told {
            self.step(at, NodeEvent::Registry(event));
        }
    }

    fn connected(&mut self, at: HostAt, sent: u64, session: SessionId, ended: Option<SessionId>) {
        let link = &mut self.hosts[at].link;
        (link.state, link.session) = (State::Made, Some(session));
        let connection = link.connection;
        if let Some(ended) = ended {
            self.hear(at, Event::Session(SessionState::Ended(ended)));
        }
        self.hear(at, Event::Resync);
        self.trust(at, sent);
        if let Some(told) = self.hosts[at].link.tell_refused(self.now) {
            self.counts.reach("a refusal was told under the next session");
            self.push_within(at, told, Within::Heard);
        }
        self.push_within(at, self.now + self.scenario.timeout / 3, Within::Beat(connection));
    }

    /// The registry has heard from this session since `sent`: so long, less a margin, nobody can
    /// believe it ended.
    fn trust(&mut self, at: HostAt, sent: u64) {
        let margin = self.scenario.timeout / 10;
        let until = sent + self.scenario.timeout - margin;
        let host = &self.hosts[at];
        let Some(session) = host.link.session else { return };
        let extra = if self.is(Mutant::LongTrust) { 10 * self.scenario.timeout } else { 0 };
        let trusted_until = host.mono(until + extra);
        let fact = Fact::Trust { node: host.number, session: session.0, until };
        self.recorder.write(self.now, fact);
        let live = SessionState::Live { session, trusted_until };
        self.step(at, NodeEvent::Registry(Event::Session(live)));
    }

    pub(crate) fn beat(&mut self, at: HostAt, connection: u64) {
        let (now, timeout) = (self.now, self.scenario.timeout);
        let link = &mut self.hosts[at].link;
        if link.connection != connection || link.state != State::Made {
            return;
        }
        if link.heard + timeout * 2 / 3 < now {
            return self.give_up(at, "nothing was heard for two thirds of the time-out");
        }
        let Some(session) = link.session else { return };
        let arrives = link.send(now, Up::Beat { sent: now, session });
        if let Some(arrives) = arrives {
            self.queue.push(arrives, Happens::Arrives(at));
        }
        self.push_within(at, now + timeout / 3, Within::Beat(connection));
    }

    pub(crate) fn noticed(&mut self, at: HostAt, connection: u64) {
        let link = &self.hosts[at].link;
        if link.connection == connection && link.is_dead {
            self.give_up(at, "the connection was reset");
        }
    }

    pub(crate) fn give_up(&mut self, at: HostAt, why: &str) {
        let in_flight = self.hosts[at].link.in_flight.len();
        self.counts.reach_if("a connection broke with requests under way", in_flight > 0);
        let told = self.hosts[at].link.give_up(self.now, why);
        self.push_within(at, told, Within::Heard);
        self.connect_later(at);
    }

    fn connect_later(&mut self, at: HostAt) {
        let host = &mut self.hosts[at];
        let connection = host.link.connection;
        let wait = host.dice.between(20, 600);
        self.push_within(at, self.now + wait, Within::Connect(connection));
    }

    /// Tries to reach the registry; goes on trying.
    pub(crate) fn connect(&mut self, at: HostAt, connection: u64) {
        let now = self.now;
        let link = &mut self.hosts[at].link;
        if link.connection != connection || link.state == State::Made {
            return;
        }
        if link.state == State::Asking {
            // No answer came in time: a new attempt is a new connection.
            link.connection += 1;
            link.state = State::Apart;
        }
        if now < link.cut_until {
            return self.connect_later(at);
        }
        let session = link.session;
        link.is_dead = false;
        link.state = State::Asking;
        link.heard = now;
        let arrives = link.send(now, Up::Connect { sent: now, session });
        let connection = link.connection;
        if let Some(arrives) = arrives {
            self.queue.push(arrives, Happens::Arrives(at));
        }
        self.push_within(at, now + 4_000, Within::Connect(connection));
    }
}
