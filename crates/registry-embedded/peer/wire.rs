//! Reads requests and tells events as lines of text, as far as writers of histories need them. The
//! other end is in the tests.

use crate::words::{hex, read_stamp, stamp, unhex};
use flockwork_registry::{Answer, Event, Failure, Key, Op, Request, Scope, SessionState, Ticket};
use std::fmt::Write as _;

pub(crate) fn read_request(line: &str) -> Option<(Ticket, Request)> {
    let mut words = line.split(' ');
    let ticket = Ticket(words.next()?.parse().ok()?);
    let request = match words.next()? {
        "get" => Request::Get(Key::new(words.next()?).ok()?),
        "children" => Request::Children(Key::new(words.next()?).ok()?),
        "watch" => Request::Watch(Key::new(words.next()?).ok()?, Scope::Value),
        "commit" => {
            let mut ops = Vec::new();
            while let Some(kind) = words.next() {
                let (key, value) = (Key::new(words.next()?).ok()?, unhex(words.next()?)?);
                let expected = words.next()?;
                ops.push(match (kind, expected) {
                    ("create", _) => Op::create(key, value),
                    ("set", "-") => Op::Set(key, value.into(), None),
                    ("set", expected) => Op::Set(key, value.into(), Some(read_stamp(expected)?)),
                    _ => return None,
                });
            }
            Request::Commit(ops)
        }
        _ => return None,
    };
    Some((ticket, request))
}

pub(crate) fn event(event: &Event) -> String {
    match event {
        Event::Answer(ticket, told) => format!("answer {} {}", ticket.0, answer(told)),
        Event::Changed(key, _) => format!("changed {key}"),
        Event::Resync => "resync".to_owned(),
        Event::Session(SessionState::Live { session, trusted_until }) => {
            format!("live {} {trusted_until}", session.0)
        }
        Event::Session(SessionState::Suspended { why }) => {
            format!("suspended {}", hex(why.as_bytes()))
        }
        Event::Session(SessionState::Ended(session)) => format!("ended {}", session.0),
        Event::SetBack(why) => format!("set-back {}", hex(why.as_bytes())),
        Event::Replaced(why) => format!("replaced {}", hex(why.as_bytes())),
    }
}

fn answer(answer: &Answer) -> String {
    match answer {
        Answer::Entry(None) => "entry - -".to_owned(),
        Answer::Entry(Some(entry)) => {
            format!("entry {} {}", hex(&entry.value), stamp(&entry.stamp))
        }
        Answer::Children(None) => "children -".to_owned(),
        Answer::Children(Some(names)) => {
            let mut line = "children +".to_owned();
            for name in names {
                let _ = write!(line, " {name}");
            }
            line
        }
        Answer::Done => "done".to_owned(),
        Answer::Committed(receipt) => format!("committed {}", receipt.index.0),
        Answer::Refused(refusal) => format!("refused {} {}", refusal.at, refusal.key),
        Answer::Failed(Failure::Unknown(why)) => format!("unknown {}", hex(why.as_bytes())),
        Answer::Failed(Failure::SessionEnded(session)) => format!("session-ended {}", session.0),
        Answer::Failed(other) => format!("not-sent {}", hex(other.to_string().as_bytes())),
    }
}
