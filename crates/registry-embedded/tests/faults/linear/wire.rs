//! The test's end of the peer's way to carry requests and events.

#[path = "../../../peer/words.rs"]
mod words;

use flockwork_registry::{
    Answer, Entry, Event, Failure, Index, Key, Op, Receipt, Refusal, Request,
};
use flockwork_registry::{Scope, SessionId, SessionState, Ticket, Why};
use words::{hex, read_stamp, stamp, unhex};

/// A request; `None` if it is of a kind that is not carried.
pub(crate) fn request(ticket: Ticket, request: &Request) -> Option<String> {
    let number = ticket.0;
    Some(match request {
        Request::Get(key) => format!("{number} get {key}"),
        Request::Children(key) => format!("{number} children {key}"),
        Request::Watch(key, Scope::Value) => format!("{number} watch {key}"),
        Request::Commit(ops) => {
            let mut line = format!("{number} commit");
            for op in ops {
                line.push_str(&operation(op)?);
            }
            line
        }
        Request::Watch(..) | Request::Unwatch(..) => return None,
    })
}

fn operation(op: &Op) -> Option<String> {
    match op {
        Op::Set(key, value, expected) => {
            let expected = expected.as_ref().map_or_else(|| "-".to_owned(), stamp);
            Some(format!(" set {key} {} {expected}", hex(value)))
        }
        Op::Create { key, value, .. } if *op == Op::create(key.clone(), value.clone()) => {
            Some(format!(" create {key} {} -", hex(value)))
        }
        _ => None,
    }
}

pub(crate) fn read_event(line: &str) -> Option<Event> {
    let mut words = line.split(' ');
    let kind = words.next()?;
    let mut word = || words.next();
    Some(match kind {
        "answer" => {
            let ticket = Ticket(word()?.parse().ok()?);
            Event::Answer(ticket, read_answer(words)?)
        }
        "changed" => Event::Changed(Key::new(word()?).ok()?, Scope::Value),
        "resync" => Event::Resync,
        "live" => {
            let session = SessionId(word()?.parse().ok()?);
            let trusted_until = word()?.parse().ok()?;
            Event::Session(SessionState::Live { session, trusted_until })
        }
        "suspended" => Event::Session(SessionState::Suspended { why: text(word()?)? }),
        "ended" => Event::Session(SessionState::Ended(SessionId(word()?.parse().ok()?))),
        "set-back" => Event::SetBack(text(word()?)?),
        "replaced" => Event::Replaced(text(word()?)?),
        _ => return None,
    })
}

/// Which condition refused a commit is not carried: it is always told as "it has changed".
fn read_answer<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<Answer> {
    let (kind, first) = (words.next()?, words.next());
    Some(match (kind, first) {
        ("done", None) => Answer::Done,
        ("entry", Some("-")) if words.next() == Some("-") => Answer::Entry(None),
        ("entry", Some(value)) => {
            let (value, stamp) = (unhex(value)?.into(), read_stamp(words.next()?)?);
            Answer::Entry(Some(Entry { value, stamp, session: None }))
        }
        ("children", Some("-")) => Answer::Children(None),
        ("children", Some("+")) => Answer::Children(Some(words.map(str::to_owned).collect())),
        ("committed", Some(index)) => {
            let index = Index(index.parse().ok()?);
            Answer::Committed(Receipt { index, ..Receipt::default() })
        }
        ("refused", Some(at)) => {
            let (at, key) = (at.parse().ok()?, Key::new(words.next()?).ok()?);
            Answer::Refused(Refusal { at, key, why: Why::Changed })
        }
        ("unknown", Some(why)) => Answer::Failed(Failure::Unknown(text(why)?)),
        ("session-ended", Some(session)) => {
            Answer::Failed(Failure::SessionEnded(SessionId(session.parse().ok()?)))
        }
        ("not-sent", Some(why)) => Answer::Failed(Failure::NotSent(text(why)?)),
        _ => return None,
    })
}

fn text(hex: &str) -> Option<String> {
    String::from_utf8(unhex(hex)?).ok()
}
