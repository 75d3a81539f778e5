//! A connection on which a session lives.

use super::words::{Ask, Event, Lost};
use crate::frames::Frames;
use crate::jute::{DecodeError, Reader};
use crate::reply::{Form, Header, notification};
use crate::request::{self, Request};
use crate::{Code, MAX_PACKET};
use bytes::Bytes;
use std::collections::{BTreeSet, VecDeque};

/// A question on its way.
#[derive(Debug)]
enum Flight {
    Sent {
        ticket: u64,
        xid: i32,
        form: Form,
        at: u64,
        number: u64,
        leads: bool,
        watch: Option<String>,
    },
    /// It waits for its turn to be told this.
    Local(Event),
}

/// What came of the bytes received.
#[derive(Debug)]
pub(super) enum Heard {
    Tell(Event),
    /// The server has answered packet `number`, sent then; whether its leader had a part in it.
    Proof {
        sent: u64,
        number: u64,
        leader: bool,
    },
    /// A transaction the server knows of.
    Zxid(i64),
    /// The server does not know this watch after all.
    NoWatch(String),
    /// The session was closed as asked.
    Closed,
    /// The connection is of no use any more.
    Broken(String),
}

/// One connection.
#[derive(Debug)]
pub(super) struct Line {
    frames: Frames,
    flights: VecDeque<Flight>,
    xid: i32,
    /// How many packets with an `xid` were sent.
    sent: u64,
    /// What was asked of the leader without anybody's question, when, and which packet it was.
    beats: VecDeque<(i32, u64, u64)>,
    closing: Option<i32>,
    /// When the leader was last asked for anything.
    pub(super) led: u64,
    pub(super) heard: u64,
    /// Nothing has told a transaction on it yet.
    pub(super) fresh: bool,
}

/// What a follower may answer to a write without asking its leader.
const OF_ONE_SERVER: [Code; 4] =
    [Code::SESSION_EXPIRED, Code::SESSION_MOVED, Code::NO_AUTH, Code::THROTTLED_OP];

impl Line {
    pub(super) fn new(now: u64, frames: Frames) -> Self {
        Self {
            frames,
            flights: VecDeque::new(),
            xid: 0,
            sent: 0,
            beats: VecDeque::new(),
            closing: None,
            led: now,
            heard: now,
            fresh: true,
        }
    }

    /// The packet for a question; `None` where nothing is sent.
    pub(super) fn ask(&mut self, now: u64, ask: &Ask) -> Option<Bytes> {
        let Some(request) = &ask.request else {
            self.flights.push_back(Flight::Local(Event::InTurn(ask.ticket)));
            return None;
        };
        let xid = self.next_xid();
        let packet = request.encode(xid);
        if packet.len() - 4 > MAX_PACKET {
            let why = Lost::TooLarge(packet.len() - 4);
            self.in_turn(Event::Failed { ticket: ask.ticket, why });
            return None;
        }
        let watch = match request {
            Request::AddWatch(path) => Some(path.clone()),
            _ => None,
        };
        let (ticket, form, leads) = (ask.ticket, Form::of(request), request.is_the_leaders());
        let number = self.sent;
        self.flights.push_back(Flight::Sent { ticket, xid, form, at: now, number, leads, watch });
        if leads {
            self.led = now;
        }
        Some(packet)
    }

    fn next_xid(&mut self) -> i32 {
        self.xid = self.xid.checked_add(1).unwrap_or(1);
        self.sent += 1;
        self.xid
    }

    /// Tells this when its turn has come.
    pub(super) fn in_turn(&mut self, event: Event) {
        self.flights.push_back(Flight::Local(event));
    }

    /// What is told now because its turn has come.
    pub(super) fn due(&mut self) -> Vec<Event> {
        let mut due = Vec::new();
        while let Some(Flight::Local(_)) = self.flights.front() {
            if let Some(Flight::Local(event)) = self.flights.pop_front() {
                due.push(event);
            }
        }
        due
    }

    /// How many packets were sent: the number of the last.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// Asks the leader to be heard through in its turn.
    pub(super) fn beat(&mut self, now: u64) -> Bytes {
        self.led = now;
        self.ask_leader(now)
    }

    /// Asks the leader to be heard through: shows that it is reached, and how far it is.
    pub(super) fn ask_leader(&mut self, now: u64) -> Bytes {
        let xid = self.next_xid();
        self.beats.push_back((xid, now, self.sent));
        Request::Sync("/".to_owned()).encode(xid)
    }

    pub(super) fn close(&mut self) -> Bytes {
        let xid = self.next_xid();
        self.closing = Some(xid);
        request::close_session(xid)
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// What becomes of the questions without answer now that the connection is gone.
    pub(super) fn abandon(&mut self, why: &str) -> Vec<Event> {
        let lost = |flight| match flight {
            Flight::Sent { ticket, .. } => {
                Event::Failed { ticket, why: Lost::Unknown(why.to_owned()) }
            }
            Flight::Local(event) => event,
        };
        self.flights.drain(..).map(lost).collect()
    }

    /// Reads what has arrived.
    pub(super) fn receive(&mut self, now: u64, bytes: &[u8]) -> Vec<Heard> {
        self.frames.push(bytes);
        self.heard = now;
        let mut all = Vec::new();
        loop {
            match self.frames.next() {
                Ok(None) => return all,
                Ok(Some(packet)) => {
                    if let Err(error) = self.packet(packet, &mut all) {
                        all.push(Heard::Broken(format!("the server's answer is garbled: {error}")));
                    }
                }
                Err(error) => all.push(Heard::Broken(error.to_string())),
            }
            if matches!(all.last(), Some(Heard::Broken(_) | Heard::Closed)) {
                return all;
            }
        }
    }

    fn packet(&mut self, packet: Bytes, all: &mut Vec<Heard>) -> Result<(), DecodeError> {
        let mut from = Reader::new(packet);
        let header = Header::decode(&mut from)?;
        if header.zxid > 0 {
            all.push(Heard::Zxid(header.zxid));
        }
        match header.xid {
            request::XID_EVENT => {
                let told = notification(&mut from)?;
                all.extend(told.map(|(change, path)| Heard::Tell(Event::Watched(change, path))));
            }
            request::XID_AUTH => self.own("the digest is refused", header.code, all),
            request::XID_SET_WATCHES => {
                self.own("watches cannot be set again", header.code, all);
            }
            xid if self.closing == Some(xid) => all.push(Heard::Closed),
            xid if self.beats.front().is_some_and(|(beat, ..)| *beat == xid) => {
                self.own("the leader is not reached", header.code, all);
                let proof = self.beats.pop_front().map(|(_, sent, number)| (sent, number));
                all.extend(proof.map(|(sent, number)| Heard::Proof { sent, number, leader: true }));
            }
            _ => self.answer(header, &mut from, all)?,
        }
        Ok(())
    }

    /// The answer to what the session itself sent.
    fn own(&self, what: &str, code: Code, all: &mut Vec<Heard>) {
        if code != Code(0) {
            all.push(Heard::Broken(format!("{what}: {code}")));
        }
    }

    fn answer(
        &mut self,
        header: Header,
        from: &mut Reader,
        all: &mut Vec<Heard>,
    ) -> Result<(), DecodeError> {
        let Some(Flight::Sent { ticket, xid, form, at, number, leads, watch }) =
            self.flights.front()
        else {
            all.push(Heard::Broken("the server answers what was not asked".into()));
            return Ok(());
        };
        if *xid != header.xid {
            let (xid, found) = (*xid, header.xid);
            all.push(Heard::Broken(format!("request {xid} is next, the server answers {found}")));
            return Ok(());
        }
        let result = match header.code {
            Code(0) => Ok(form.decode(from)?),
            code => Err(code),
        };
        if let (Err(_), Some(path)) = (&result, watch) {
            all.push(Heard::NoWatch(path.clone()));
        }
        all.push(Heard::Proof {
            sent: *at,
            number: *number,
            leader: *leads && !OF_ONE_SERVER.contains(&header.code),
        });
        all.push(Heard::Tell(Event::Reply { ticket: *ticket, zxid: header.zxid, result }));
        self.flights.pop_front();
        all.extend(self.due().into_iter().map(Heard::Tell));
        Ok(())
    }

    /// The packets a connection starts with.
    pub(super) fn open(
        digest: Option<&str>,
        seen: i64,
        watches: &BTreeSet<Box<str>>,
    ) -> Vec<Bytes> {
        let auth = digest.map(|digest| request::auth("digest", digest.as_bytes()));
        let again = request::set_watches(seen, watches.iter().map(|path| &**path));
        auth.into_iter().chain(again).collect()
    }
}
