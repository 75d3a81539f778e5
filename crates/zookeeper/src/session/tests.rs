use super::*;
use crate::jute::Writer;
use crate::{ANY_VERSION, Change, Code, Reply};
use std::net::SocketAddr;

mod by_chance;
mod renewal;

const TIMEOUT: u64 = 4_000;

/// A session and the time, in milliseconds.
struct Stage {
    session: Session,
    now: u64,
    told: Vec<Event>,
    written: Vec<Bytes>,
    wants: Vec<Output>,
}

fn addresses(count: u16) -> Vec<SocketAddr> {
    (1..=count).map(|port| SocketAddr::from(([127, 0, 0, 1], port))).collect()
}

fn welcome(timeout: i32, session: i64) -> Bytes {
    let mut to = Writer::new();
    to.int(0).int(timeout).long(session).buffer(&[7; 16]).boolean(false);
    to.finish()
}

fn answer(xid: i32, zxid: i64, code: i32, body: &[u8]) -> Bytes {
    let mut to = Writer::new();
    to.int(xid).long(zxid).int(code);
    let mut packet = to.finish().to_vec();
    packet.extend_from_slice(body);
    let length = u32::try_from(packet.len() - 4).unwrap().to_be_bytes();
    packet[..4].copy_from_slice(&length);
    packet.into()
}

fn changed(kind: i32, path: &str) -> Bytes {
    let mut body = Writer::new();
    body.int(kind).int(3).text(path);
    answer(-1, -1, 0, &body.finish()[4..])
}

impl Stage {
    fn new() -> Self {
        let config = Config { timeout: 4_000, digest: Some("u:p".into()), spread: 0 };
        let session = Session::new(1_000, config);
        let (told, written, wants) = (Vec::new(), Vec::new(), Vec::new());
        Self { session, now: 1_000, told, written, wants }
    }

    /// Live under session 0x1f, all of that forgotten.
    fn live() -> Self {
        let mut stage = Self::new();
        stage.connect(1);
        stage.input(Input::Received(welcome(4_000, 0x1f)));
        assert_eq!(stage.session.live(), Some(0x1f));
        stage.forget();
        stage
    }

    fn forget(&mut self) {
        self.told.clear();
        self.written.clear();
        self.wants.clear();
    }

    fn input(&mut self, input: Input) {
        for output in self.session.step(self.now, input) {
            match output {
                Output::Tell(event) => self.told.push(event),
                Output::Write(bytes) => self.written.push(bytes),
                other => self.wants.push(other),
            }
        }
    }

    fn pass(&mut self, millis: u64) {
        let until = self.now + millis;
        for _ in 0..1_000 {
            let due = self.session.deadline();
            if due > until {
                break;
            }
            self.now = self.now.max(due);
            self.input(Input::Tick);
        }
        self.now = until;
    }

    /// Lets it rest, resolve and connect.
    fn connect(&mut self, servers: u16) {
        let due = self.session.deadline();
        self.now = self.now.max(due);
        if self.wants.last() != Some(&Output::Resolve) {
            self.input(Input::Tick);
        }
        self.input(Input::Resolved(addresses(servers)));
        self.input(Input::Connected);
    }

    fn ask(&mut self, ticket: u64, request: Request) {
        self.input(Input::Ask(Ask { ticket, session: Some(0x1f), request: Some(request) }));
    }

    fn delete(&mut self, ticket: u64) {
        self.ask(ticket, Request::Delete { path: "/a".into(), version: ANY_VERSION });
    }
}

fn opcodes(packets: &[Bytes]) -> Vec<i32> {
    packets.iter().map(|packet| i32::from_be_bytes(packet[8..12].try_into().unwrap())).collect()
}

#[test]
fn a_session_opens_with_the_digest_first_and_is_trusted_from_the_sending() {
    let mut stage = Stage::new();
    stage.connect(1);
    assert_eq!(stage.written.len(), 1);
    stage.now += 300;
    stage.written.clear();
    stage.input(Input::Received(welcome(4_000, 0x1f)));
    assert_eq!(opcodes(&stage.written), [100]);
    let live = Event::Live { session: 0x1f, trusted_until: 1_000 + TIMEOUT - TIMEOUT / 40 };
    assert_eq!(stage.told, [Event::Resync, live]);
}

#[test]
fn a_time_out_that_the_server_cut_is_told_before_the_session_and_goes_by() {
    let mut stage = Stage::new();
    stage.connect(1);
    stage.input(Input::Received(welcome(3_000, 0x1f)));
    let trusted_until = 1_000 + 3_000 - 3_000 / 40;
    let live = Event::Live { session: 0x1f, trusted_until };
    assert_eq!(stage.told, [Event::Resync, Event::Timeout(3_000), live]);
    // On another connection of the same session it is no news.
    stage.input(Input::Broken("reset".into()));
    stage.forget();
    stage.wants.push(Output::Resolve);
    stage.connect(1);
    stage.input(Input::Received(welcome(3_000, 0x1f)));
    assert!(!stage.told.contains(&Event::Timeout(3_000)), "{:?}", stage.told);
}

#[test]
fn silence_of_two_thirds_breaks_the_connection_and_what_is_under_way_is_unknown() {
    let mut stage = Stage::live();
    stage.delete(1);
    stage.input(Input::Ask(Ask { ticket: 2, session: None, request: None }));
    stage.pass(2_665);
    assert_eq!(stage.told, []);
    stage.pass(1);
    let [Event::Failed { ticket: 1, why: Lost::Unknown(_) }, Event::InTurn(2), Event::Suspended(_)] =
        &stage.told[..]
    else {
        panic!("{:?}", stage.told);
    };
    assert_eq!(stage.wants, [Output::Disconnect, Output::Resolve]);
    assert_eq!(stage.session.live(), None);
}

#[test]
fn nothing_is_queued_without_a_connection() {
    let mut stage = Stage::live();
    stage.input(Input::Broken("reset".into()));
    stage.forget();
    stage.delete(5);
    let why = Lost::NotSent("reset".into());
    assert_eq!(stage.told, [Event::Failed { ticket: 5, why }]);
    assert_eq!(stage.written, Vec::<Bytes>::new());
}

#[test]
fn a_reconnect_sends_the_session_what_it_saw_the_digest_and_the_watches() {
    let mut stage = Stage::live();
    stage.ask(1, Request::AddWatch("/w".into()));
    stage.input(Input::Received(answer(1, 0x55, 0, &[0; 4])));
    stage.input(Input::Broken("reset".into()));
    stage.forget();
    stage.wants.push(Output::Resolve);
    stage.connect(1);
    let hello = Hello { seen: 0x55, timeout: 4_000, session: 0x1f, password: &[7; 16] };
    assert_eq!(stage.written, [hello.encode()]);
    stage.forget();
    stage.input(Input::Received(welcome(4_000, 0x1f)));
    assert_eq!(opcodes(&stage.written), [100, 105]);
    assert!(matches!(stage.told[..], [Event::Resync, Event::Live { session: 0x1f, .. }]));
}

#[test]
fn an_expired_session_is_followed_by_another_and_its_questions_are_not_sent() {
    let mut stage = Stage::live();
    stage.input(Input::Broken("reset".into()));
    stage.connect(1);
    stage.forget();
    stage.input(Input::Received(welcome(0, 0)));
    assert_eq!(stage.told, [Event::Ended(0x1f)]);
    stage.delete(7);
    assert_eq!(stage.told[1..], [Event::Failed { ticket: 7, why: Lost::Ended(0x1f) }]);
    stage.connect(1);
    stage.input(Input::Received(welcome(4_000, 0x2f)));
    stage.forget();
    stage.delete(8);
    assert_eq!(stage.told, [Event::Failed { ticket: 8, why: Lost::Ended(0x1f) }]);
    assert_eq!(stage.written, Vec::<Bytes>::new());
}

#[test]
fn changes_and_answers_keep_the_servers_order() {
    let mut stage = Stage::live();
    stage.delete(1);
    stage.ask(2, Request::Sync("/".into()));
    let stream =
        [changed(3, "/w"), answer(1, 0x10, 0, &[]), changed(4, "/w"), answer(2, 0x11, -101, &[])];
    stage.input(Input::Received(stream.concat().into()));
    let told: Vec<Event> =
        stage.told.into_iter().filter(|event| !matches!(event, Event::Live { .. })).collect();
    let reply = |ticket, zxid, result| Event::Reply { ticket, zxid, result };
    let wanted = [
        Event::Watched(Change::Data, "/w".into()),
        reply(1, 0x10, Ok(Reply::Done)),
        Event::Watched(Change::Children, "/w".into()),
        reply(2, 0x11, Err(Code::NO_NODE)),
    ];
    assert_eq!(told, wanted);
}

#[test]
fn what_is_refused_here_waits_for_its_turn() {
    let mut stage = Stage::live();
    stage.delete(1);
    stage.input(Input::Ask(Ask { ticket: 2, session: Some(0x99), request: None }));
    stage.ask(3, Request::GetData("x".repeat(crate::MAX_PACKET)));
    assert_eq!(stage.told, []);
    assert_eq!(stage.written.len(), 1);
    stage.input(Input::Received(answer(1, 0x10, 0, &[])));
    let tickets: Vec<u64> = stage.told.iter().filter_map(ticket).collect();
    assert_eq!(tickets, [1, 2, 3]);
    assert!(matches!(stage.told[2], Event::Failed { why: Lost::TooLarge(_), .. }));
}

fn ticket(event: &Event) -> Option<u64> {
    match event {
        Event::Reply { ticket, .. } | Event::Failed { ticket, .. } | Event::InTurn(ticket) => {
            Some(*ticket)
        }
        _ => None,
    }
}

#[test]
fn garbage_breaks_the_connection_and_every_question_gets_its_answer() {
    let table = [
        Bytes::from_static(&[0xff; 8]),
        answer(5, 1, 0, &[]),
        answer(1, 1, 0, &[0, 0, 0, 9]),
        answer(-2, 1, 0, &[]),
        answer(0, 1, 0, &[]),
        answer(-4, 0, -115, &[]),
        answer(-8, 0, -6, &[]),
        changed(99, "/a"),
    ];
    for bytes in table {
        let mut stage = Stage::live();
        stage.ask(1, Request::GetData("/a".into()));
        stage.delete(2);
        stage.input(Input::Received(bytes.clone()));
        let tickets: Vec<u64> = stage.told.iter().filter_map(ticket).collect();
        assert_eq!(tickets, [1, 2], "{bytes:?}");
        assert!(stage.told.iter().any(|event| matches!(event, Event::Suspended(_))), "{bytes:?}");
        assert_eq!(stage.wants, [Output::Disconnect, Output::Resolve], "{bytes:?}");
    }
}

#[test]
fn every_address_is_tried_before_it_rests_at_most_a_tenth() {
    let mut stage = Stage::live();
    stage.input(Input::Broken("reset".into()));
    for _ in 0..30 {
        assert_eq!(stage.wants.last(), Some(&Output::Resolve));
        stage.forget();
        stage.input(Input::Resolved(addresses(3)));
        for _ in 0..3 {
            assert!(matches!(stage.wants.last(), Some(Output::Connect(_))));
            stage.input(Input::Broken("refused".into()));
        }
        let before = stage.now;
        stage.now = stage.session.deadline();
        assert!(stage.now - before <= TIMEOUT / 10);
        stage.input(Input::Tick);
    }
}

#[test]
fn a_server_that_stays_silent_is_left_for_the_next() {
    let mut stage = Stage::live();
    stage.input(Input::Broken("reset".into()));
    stage.connect(2);
    stage.forget();
    stage.pass(TIMEOUT / 3);
    assert!(matches!(stage.wants[..], [Output::Disconnect, Output::Connect(_)]));
}

/// All servers close the connection without a word, as they do when they know less than it saw.
fn snubbed() -> Stage {
    let mut stage = Stage::live();
    stage.delete(1);
    stage.input(Input::Received(answer(1, 0x100, 0, &[])));
    stage.input(Input::Broken("reset".into()));
    for _ in 0..100 {
        stage.forget();
        if stage.session.deadline() > stage.now {
            stage.now = stage.session.deadline();
        }
        stage.input(Input::Tick);
        stage.input(Input::Resolved(addresses(1)));
        stage.input(Input::Connected);
        let probe = Hello { seen: 0, timeout: 4_000, session: 0, password: &NO_PASSWORD };
        if stage.written == [probe.encode()] {
            return stage;
        }
        stage.input(Input::Broken("closed".into()));
    }
    panic!("it never asks for a new session: {stage:?}", stage = stage.session);
}

#[test]
fn an_ensemble_that_was_reset_is_noticed_and_joined_with_a_new_session() {
    let mut stage = snubbed();
    assert!(stage.now >= 1_000 + TIMEOUT);
    stage.forget();
    stage.input(Input::Received(welcome(4_000, 0x2f)));
    assert_eq!((opcodes(&stage.written), stage.told.len()), (vec![9], 0));
    stage.input(Input::Received(answer(1, 0x7, 0, &[])));
    let [
        Event::Reset { seen: 0x100, found: 0x7 },
        Event::Ended(0x1f),
        Event::Resync,
        Event::Live { session: 0x2f, .. },
    ] = stage.told[..]
    else {
        panic!("{:?}", stage.told);
    };
    assert_eq!(stage.session.seen, 0x7);
}

#[test]
fn servers_that_know_all_keep_the_session() {
    let mut stage = snubbed();
    stage.forget();
    stage.input(Input::Received(welcome(4_000, 0x2f)));
    stage.input(Input::Received(answer(1, 0x101, 0, &[])));
    assert_eq!(opcodes(&stage.written), [9, -11]);
    assert_eq!(stage.session.live(), None);
    stage.pass(500);
    stage.forget();
    stage.wants.push(Output::Resolve);
    stage.connect(1);
    stage.input(Input::Received(welcome(4_000, 0x1f)));
    assert_eq!(stage.session.live(), Some(0x1f));
}

#[test]
fn a_smaller_transaction_on_a_reconnect_ends_the_session() {
    let mut stage = Stage::live();
    stage.delete(1);
    stage.input(Input::Received(answer(1, 0x100, 0, &[])));
    stage.input(Input::Broken("reset".into()));
    stage.wants = vec![Output::Resolve];
    stage.connect(1);
    stage.input(Input::Received(welcome(4_000, 0x1f)));
    stage.forget();
    stage.delete(2);
    stage.delete(3);
    stage.input(Input::Received(answer(1, 0x7, 0, &[])));
    let tickets: Vec<u64> = stage.told.iter().filter_map(ticket).collect();
    assert_eq!(tickets, [2, 3]);
    assert!(stage.told.contains(&Event::Ended(0x1f)));
    assert!(stage.told.contains(&Event::Reset { seen: 0x100, found: 0x7 }));
}

#[test]
fn a_closed_session_answers_everything_and_says_so() {
    let mut stage = Stage::live();
    stage.delete(1);
    stage.input(Input::Close);
    stage.delete(2);
    assert_eq!(opcodes(&stage.written), [2, -11]);
    let stream = [answer(1, 0x10, 0, &[]), answer(2, 0x11, 0, &[])].concat();
    stage.input(Input::Received(stream.into()));
    let tickets: Vec<u64> = stage.told.iter().filter_map(ticket).collect();
    assert_eq!(tickets, [1, 2]);
    assert_eq!(stage.told[stage.told.len() - 2..], [Event::Ended(0x1f), Event::Closed]);
    stage.forget();
    stage.delete(3);
    assert!(matches!(stage.told[..], [Event::Failed { ticket: 3, .. }]));
}

#[test]
fn closing_without_a_connection_is_bounded() {
    let mut stage = Stage::live();
    stage.input(Input::Broken("reset".into()));
    stage.input(Input::Close);
    stage.pass(CLOSING);
    assert_eq!(stage.told.last(), Some(&Event::Closed));
    assert_eq!(stage.session.deadline(), u64::MAX);
}
