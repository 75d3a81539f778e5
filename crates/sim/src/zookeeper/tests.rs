use super::ensemble::{Ensemble, Lag, Out, Shape};
use super::packet::{Packet, code, password};
use bytes::{Buf, Bytes};

const TICK: u64 = 1_000;

/// Servers, and what they sent to whom.
struct Stage {
    ensemble: Ensemble,
    now: u64,
    sent: Vec<(u64, Bytes)>,
    closed: Vec<u64>,
    reached: Vec<&'static str>,
}

impl Stage {
    fn new() -> Self {
        let shape = Shape { servers: 3, tick: TICK, wall: 0, tells_zxid: false, digest: None };
        let ensemble = Ensemble::new(shape, 1 << 32);
        Self { ensemble, now: 0, sent: Vec::new(), closed: Vec::new(), reached: Vec::new() }
    }

    fn settle(&mut self) {
        for out in self.ensemble.take_out() {
            match out {
                Out::Send { conn, bytes, .. } => self.sent.push((conn, bytes)),
                Out::Close(conn) => self.closed.push(conn),
                Out::Reached(state) => self.reached.push(state),
                Out::Committed { .. } | Out::Ended { .. } => {}
            }
        }
    }

    fn greet(&mut self, conn: u64, server: usize, seen: i64, session: i64) {
        self.ensemble.accept(self.now, conn, server);
        let hello = long(Packet::bare().int(0), seen).int(4_000);
        let hello = long(hello, session).buffer(&password(session)).flag(false);
        self.ensemble.receive(self.now, conn, &hello.finish());
        self.settle();
    }

    /// A session at a server.
    fn open(&mut self, conn: u64, server: usize) -> i64 {
        self.greet(conn, server, 0, 0);
        let (_, mut welcome) = self.sent.pop().expect("it is welcomed");
        welcome.advance(12);
        welcome.get_i64()
    }

    fn ask(&mut self, conn: u64, packet: Packet) {
        self.ensemble.receive(self.now, conn, &packet.finish());
        self.settle();
    }

    /// The answers sent since: to which connection, xid and error.
    fn answers(&mut self) -> Vec<(u64, i32, i32)> {
        let read = |(conn, mut bytes): (u64, Bytes)| {
            bytes.advance(4);
            let xid = bytes.get_i32();
            bytes.advance(8);
            (conn, xid, bytes.get_i32())
        };
        self.sent.drain(..).map(read).collect()
    }

    fn pass(&mut self, millis: u64) {
        for _ in 0..millis / (TICK / 2) {
            self.now += TICK / 2;
            self.ensemble.beat(self.now, false);
            self.settle();
        }
    }
}

fn long(packet: Packet, number: i64) -> Packet {
    let [high, low] = [(number >> 32) as i32, number as i32];
    packet.int(high).int(low)
}

fn create(xid: i32, path: &str, flags: i32) -> Packet {
    let packet = Packet::bare().int(xid).int(15).buffer(path.as_bytes()).buffer(b"v");
    packet.int(1).int(31).buffer(b"world").buffer(b"anyone").int(flags)
}

fn sync(xid: i32) -> Packet {
    Packet::bare().int(xid).int(9).buffer(b"/")
}

fn watch(xid: i32, path: &str) -> Packet {
    Packet::bare().int(xid).int(106).buffer(path.as_bytes()).int(0)
}

fn read(xid: i32, path: &str) -> Packet {
    Packet::bare().int(xid).int(4).buffer(path.as_bytes()).flag(false)
}

#[test]
fn who_watches_is_told_before_the_answer_comes() {
    let mut stage = Stage::new();
    stage.open(1, 0);
    stage.open(2, 1);
    stage.ask(1, watch(1, "/a"));
    stage.ask(2, watch(1, "/a"));
    stage.answers();
    stage.ask(1, create(2, "/a", 0));
    assert_eq!(stage.answers(), [(1, -1, 0), (1, 2, 0), (2, -1, 0)]);
    stage.ask(2, create(2, "/a", 0));
    assert_eq!(stage.answers(), [(2, 2, code::EXISTS)]);
}

#[test]
fn a_server_that_is_apart_answers_reads_of_old_and_no_writes_until_it_is_back() {
    let mut stage = Stage::new();
    stage.open(1, 0);
    let moving = stage.open(2, 1);
    stage.ensemble.fall_behind(1, Lag::Apart);
    stage.ask(1, create(1, "/a", 0));
    assert_eq!(stage.answers(), [(1, 1, 0)]);
    stage.ask(2, read(1, "/a"));
    assert_eq!(stage.answers(), [(2, 1, code::NO_NODE)]);
    stage.ask(2, create(2, "/b", 0));
    stage.ask(2, read(3, "/a"));
    assert_eq!(stage.answers(), [], "a later read waits for the write before it");
    // Somebody who saw more is not taken.
    stage.greet(3, 1, i64::MAX >> 1, moving);
    assert_eq!(stage.closed, [3]);
    stage.ensemble.catch_up(stage.now, 1);
    stage.settle();
    assert_eq!(stage.answers(), [(2, 2, 0), (2, 3, 0)]);
}

#[test]
fn a_session_heard_at_a_follower_that_is_deaf_ends_and_what_it_asked_was_done() {
    let mut stage = Stage::new();
    stage.open(1, 0);
    stage.open(2, 1);
    stage.ask(2, create(1, "/e", 1));
    stage.answers();
    stage.ensemble.fall_behind(1, Lag::Deaf);
    for xid in 2..8 {
        stage.ask(1, sync(xid));
        stage.ask(2, sync(xid));
        stage.pass(TICK);
    }
    assert!(stage.answers().iter().all(|(conn, ..)| *conn == 1));
    stage.ask(1, read(9, "/e"));
    assert_eq!(stage.answers(), [(1, 9, code::NO_NODE)], "its leader heard nothing of it");
    stage.ensemble.catch_up(stage.now, 1);
    stage.settle();
    assert_eq!(stage.answers().first(), Some(&(2, 2, 0)));
    assert_eq!(stage.closed, [2]);
}

#[test]
fn a_session_moves_and_what_its_old_server_still_hands_on_is_refused() {
    let mut stage = Stage::new();
    let session = stage.open(1, 1);
    stage.ensemble.fall_behind(1, Lag::Apart);
    stage.ask(1, create(1, "/late", 0));
    stage.greet(2, 2, 0, session);
    assert_eq!(stage.sent.len(), 1);
    stage.sent.clear();
    stage.ensemble.catch_up(stage.now, 1);
    stage.settle();
    assert_eq!((stage.answers(), &stage.closed[..]), (vec![], &[1][..]));
    stage.ask(2, read(1, "/late"));
    assert_eq!(stage.answers(), [(2, 1, code::NO_NODE)]);
}

#[test]
fn an_ensemble_that_was_reset_knows_nobody_and_refuses_who_saw_more() {
    let mut stage = Stage::new();
    let session = stage.open(1, 0);
    stage.ensemble.reset(5);
    stage.settle();
    assert_eq!(stage.closed, [1]);
    stage.greet(2, 0, 2 << 32, session);
    assert_eq!((&stage.closed[..], stage.sent.len()), (&[1, 2][..], 0), "without a word");
    stage.greet(3, 0, 0, session);
    let (_, mut welcome) = stage.sent.pop().expect("it is told");
    welcome.advance(8);
    assert_eq!(welcome.get_i32(), 0, "the session has ended");
    stage.greet(4, 0, 0, 0);
    assert_eq!(stage.sent.len(), 1);
}

#[test]
fn a_server_that_cannot_read_what_it_is_sent_hangs_up() {
    let mut stage = Stage::new();
    stage.open(1, 0);
    stage.ask(1, Packet::bare().int(1).int(4).buffer(b"/a"));
    assert_eq!(stage.closed, [1]);
}
