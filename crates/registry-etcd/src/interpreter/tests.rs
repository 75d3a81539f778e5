//! Questions and answers, without a server.

use super::*;
use crate::stored::{When, encode};
use crate::told::UnderWay;
use crate::wire::{Event as Change, Header, KeyValue, OpAnswer};
use flockwork_registry::{Inbox, Refusal, Why, inbox};
use std::sync::Arc;
use std::sync::atomic::Ordering;

const LEASE: i64 = 9;

struct Stage {
    interpreter: Interpreter,
    inbox: Inbox,
    under_way: Arc<UnderWay>,
    submitted: u64,
}

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn create(text: &str) -> Vec<Op> {
    vec![Op::create(key(text), "v")]
}

fn refused(revision: i64) -> TxnAnswer {
    let header = Some(Header { revision, ..Header::default() });
    TxnAnswer { header, succeeded: false, answers: Vec::new() }
}

fn done(revision: i64) -> TxnAnswer {
    TxnAnswer { succeeded: true, ..refused(revision) }
}

/// An entry as it was put at a revision, made at 1.
fn entry(text: &str, modified: i64) -> KeyValue {
    let key = Place::new("/r").entry(&key(text));
    let value = encode(When::At(index(1, 0)), 0, 1, b"v");
    KeyValue { key, modified, value, version: 1, ..KeyValue::default() }
}

/// The answer to a look or a read: what is found of each range.
fn found(revision: i64, ranges: Vec<Vec<KeyValue>>) -> TxnAnswer {
    let range = |entries: Vec<KeyValue>| {
        let count = i64::try_from(entries.len()).unwrap();
        OpAnswer { range: Some(Ranged { entries, count, ..Ranged::default() }) }
    };
    TxnAnswer { answers: ranges.into_iter().map(range).collect(), ..done(revision) }
}

fn mark(modified: i64) -> Vec<KeyValue> {
    vec![KeyValue { modified, ..KeyValue::default() }]
}

impl Stage {
    /// A session that stands at revision 5, and knows the root.
    fn new() -> Self {
        let (sender, inbox) = inbox::channel();
        let under_way = Arc::new(UnderWay::default());
        let told = Told::new(Arc::new(sender), Arc::clone(&under_way));
        let interpreter = Interpreter::new(Place::new("/r"), told);
        let mut stage = Self { interpreter, inbox, under_way, submitted: 0 };
        stage.interpreter.joined(Mark { lease: LEASE, revision: 5 }, 5);
        let root = decode(&entry("/", 2)).unwrap().entry;
        stage.interpreter.known.learn(&Key::root(), Some((&root).into()), 5);
        assert_eq!(stage.told(), [Event::Resync]);
        stage
    }

    fn submit(&mut self, request: Request) -> Ticket {
        self.submitted += 1;
        self.under_way.requests.fetch_add(1, Ordering::Relaxed);
        let ticket = Ticket(self.submitted);
        let heard = Some(SessionId(LEASE.cast_unsigned()));
        let command = Command { ticket, request, heard, bytes: 0, tries: 0 };
        self.interpreter.command(command);
        ticket
    }

    fn commit(&mut self, ops: Vec<Op>) -> Ticket {
        self.submit(Request::Commit(ops))
    }

    fn told(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.inbox.try_recv()).collect()
    }

    fn sees(&mut self, revision: i64) {
        let changed = Change { kind: 0, entry: Some(entry("/elsewhere", revision)) };
        let watched = Watched { events: vec![changed], ..Watched::default() };
        self.interpreter.watched(&watched).unwrap();
    }
}

fn committed(ticket: Ticket, revision: i64, turn: u8) -> Event {
    let receipt = Receipt { index: index(revision, turn), ..Receipt::default() };
    Event::Answer(ticket, Answer::Committed(receipt))
}

fn failed(ticket: Ticket, failure: Failure) -> Event {
    Event::Answer(ticket, Answer::Failed(failure))
}

#[test]
fn commits_that_wait_go_together_and_are_answered_once_the_watch_has_come_so_far() {
    let mut stage = Stage::new();
    let first = stage.commit(create("/a"));
    assert!(stage.interpreter.next().is_some());
    let rest = ["/b", "/c"].map(|text| stage.commit(create(text)));
    assert_eq!(stage.interpreter.next(), None, "one is under way");
    stage.interpreter.answered(done(6)).unwrap();
    // The mark, the root, both keys; both keys and the mark.
    let txn = stage.interpreter.next().unwrap();
    assert_eq!((txn.compares.len(), txn.then.len()), (4, 3));
    stage.interpreter.answered(done(7)).unwrap();
    assert_eq!(stage.told(), []);
    stage.sees(6);
    assert_eq!(stage.told(), [committed(first, 6, 0)]);
    stage.sees(7);
    assert_eq!(stage.told(), [committed(rest[0], 7, 0), committed(rest[1], 7, 1)]);
    assert_eq!(stage.under_way.requests.load(Ordering::Relaxed), 0);
}

#[test]
fn a_commit_is_refused_by_a_look_alone() {
    let mut stage = Stage::new();
    let ticket = stage.commit(create("/a"));
    assert_eq!(stage.interpreter.next().unwrap().compares.len(), 3);
    stage.interpreter.answered(refused(6)).unwrap();
    assert_eq!(stage.told(), [], "what was believed was wrong, not what was asked");
    let look = stage.interpreter.next().unwrap();
    assert_eq!((look.compares.len(), look.then.len()), (0, 3));
    let seen = vec![mark(5), vec![entry("/", 2)], vec![entry("/a", 6)]];
    stage.interpreter.answered(found(6, seen)).unwrap();
    assert_eq!(stage.interpreter.next(), None);
    let refusal = Refusal { at: 0, key: key("/a"), why: Why::Exists };
    assert_eq!(stage.told(), [Event::Answer(ticket, Answer::Refused(refusal))]);
}

#[test]
fn what_others_change_again_and_again_is_given_up_and_has_not_happened() {
    let mut stage = Stage::new();
    let ticket = stage.commit(create("/a"));
    let mut asked = 0;
    while let Some(txn) = stage.interpreter.next() {
        asked += 1;
        let answer = match txn.compares.is_empty() {
            true => found(6, vec![mark(5), vec![entry("/", 2)], vec![]]),
            false => refused(6),
        };
        stage.interpreter.answered(answer).unwrap();
    }
    assert_eq!(asked, TRIES);
    let [Event::Answer(of, Answer::Failed(Failure::NotSent(_)))] = &stage.told()[..] else {
        panic!("it is answered");
    };
    assert_eq!(*of, ticket);
}

#[test]
fn at_a_break_each_is_told_what_became_of_it() {
    let mut stage = Stage::new();
    let confirmed = stage.commit(create("/a"));
    stage.interpreter.next().unwrap();
    stage.interpreter.answered(done(6)).unwrap();
    let asked = stage.commit(create("/b"));
    stage.interpreter.next().unwrap();
    let waits = stage.submit(Request::Get(key("/a")));
    stage.interpreter.lost("cut");
    let expected = [
        Event::Resync,
        committed(confirmed, 6, 0),
        failed(asked, Failure::Unknown("cut".into())),
        failed(waits, Failure::NotSent("cut".into())),
    ];
    assert_eq!(stage.told(), expected);
    // A look has sent nothing of the commit.
    let looked = stage.commit(vec![Op::Check(key("/unknown"), None)]);
    assert!(stage.interpreter.next().unwrap().compares.is_empty());
    stage.interpreter.lost("cut");
    assert_eq!(stage.told(), [failed(looked, Failure::NotSent("cut".into()))]);
}

#[test]
fn a_server_without_room_may_have_taken_a_commit_all_the_same() {
    let full = || Failure::Full("no space".into());
    for (found_mark, happened) in [(mark(5), false), (mark(6), true)] {
        let mut stage = Stage::new();
        let ticket = stage.commit(create("/a"));
        stage.interpreter.next().unwrap();
        stage.interpreter.refused(&full());
        assert_eq!(stage.told(), []);
        assert_eq!(stage.interpreter.next().unwrap().then.len(), 1, "where the mark stands");
        stage.interpreter.answered(found(6, vec![found_mark])).unwrap();
        stage.sees(6);
        let wanted = if happened { committed(ticket, 6, 0) } else { failed(ticket, full()) };
        assert_eq!(stage.told(), [wanted]);
    }
    let mut stage = Stage::new();
    let ticket = stage.commit(create("/a"));
    stage.interpreter.next().unwrap();
    stage.interpreter.refused(&full());
    stage.interpreter.next().unwrap();
    stage.interpreter.lost("cut");
    assert_eq!(stage.told(), [failed(ticket, Failure::Unknown("cut".into()))]);
}

#[test]
fn an_answer_too_large_is_told_to_the_read_whose_it_is() {
    let too_large = || Failure::TooLarge { what: "the answer", actual: 9, limit: 9 };
    let mut stage = Stage::new();
    let list = stage.submit(Request::Children(key("/many")));
    let reads = ["/a", "/b"].map(|text| stage.submit(Request::Get(key(text))));
    assert_eq!(stage.interpreter.next().unwrap().then.len(), 4);
    let later = ["/c", "/d"].map(|text| stage.submit(Request::Get(key(text))));
    stage.interpreter.refused(&too_large());
    assert_eq!(stage.told(), [], "any of them may be small");
    assert_eq!(stage.interpreter.next().unwrap().then.len(), 2);
    stage.interpreter.refused(&too_large());
    assert_eq!(stage.told(), [failed(list, too_large())]);
    let got = |ticket, text| {
        let entry = decode(&entry(text, 5)).unwrap().entry;
        Event::Answer(ticket, Answer::Entry(Some(entry)))
    };
    for (ticket, text) in reads.into_iter().zip(["/a", "/b"]) {
        assert_eq!(stage.interpreter.next().unwrap().then.len(), 1, "one by one");
        stage.interpreter.answered(found(6, vec![vec![entry(text, 5)]])).unwrap();
        assert_eq!(stage.told(), [got(ticket, text)]);
    }
    assert_eq!(stage.interpreter.next().unwrap().then.len(), 2, "together again");
    let entries = vec![vec![entry("/c", 5)], vec![entry("/d", 5)]];
    stage.interpreter.answered(found(6, entries)).unwrap();
    assert_eq!(stage.told(), [got(later[0], "/c"), got(later[1], "/d")]);
    // Put back, they are reads like others when the connection breaks.
    let both = ["/e", "/f"].map(|text| stage.submit(Request::Get(key(text))));
    stage.interpreter.next().unwrap();
    stage.interpreter.refused(&too_large());
    stage.interpreter.lost("cut");
    let cut = |ticket| failed(ticket, Failure::NotSent("cut".into()));
    assert_eq!(stage.told(), both.map(cut));
}

#[test]
fn a_commit_of_another_session_is_refused_in_its_turn() {
    let mut stage = Stage::new();
    let before = stage.commit(create("/a"));
    let late = stage.commit(create("/b"));
    stage.interpreter.queue.back_mut().unwrap().heard = Some(SessionId(8));
    stage.interpreter.next().unwrap();
    stage.interpreter.answered(done(6)).unwrap();
    assert_eq!(stage.interpreter.next(), None);
    stage.sees(6);
    let ended = failed(late, Failure::SessionEnded(SessionId(8)));
    assert_eq!(stage.told(), [committed(before, 6, 0), ended]);
}

#[test]
fn a_mark_that_is_gone_or_was_moved_ends_all() {
    for (found_mark, wanted) in [(vec![], Some(Break::Ended)), (mark(6), None)] {
        let mut stage = Stage::new();
        stage.commit(create("/a/b"));
        stage.interpreter.next().unwrap();
        let seen = found(6, vec![found_mark, vec![], vec![]]);
        let broken = stage.interpreter.answered(seen).unwrap_err();
        assert!(wanted.is_none_or(|wanted| wanted == broken), "{broken:?}");
    }
}

#[test]
fn the_watch_tells_of_what_is_watched_and_of_the_sessions_end() {
    let mut stage = Stage::new();
    for (text, scope) in [("/a", Scope::Value), ("/a", Scope::Children), ("/", Scope::Children)] {
        stage.submit(Request::Watch(key(text), scope));
    }
    assert_eq!(stage.interpreter.next(), None);
    assert_eq!(stage.told().len(), 3);
    let mut tell = |kind, entry: KeyValue| {
        let events = vec![Change { kind, entry: Some(entry) }];
        let result = stage.interpreter.watched(&Watched { events, ..Watched::default() });
        (result, stage.told())
    };
    let value = Event::Changed(key("/a"), Scope::Value);
    let children = |text| Event::Changed(key(text), Scope::Children);
    assert_eq!(tell(0, entry("/a", 7)), (Ok(()), vec![value.clone()]));
    assert_eq!(tell(0, entry("/a/b", 8)), (Ok(()), vec![]), "a child got a value");
    let new = KeyValue { value: encode(When::Here(0), 0, 0, b""), ..entry("/a/b", 9) };
    assert_eq!(tell(0, new), (Ok(()), vec![children("/a")]));
    let all = vec![value, children("/a"), children("/")];
    assert_eq!(tell(1, entry("/a", 10)), (Ok(()), all));
    let session = KeyValue { key: Place::new("/r").session(LEASE), ..entry("/a", 11) };
    assert_eq!(tell(0, session.clone()), (Ok(()), vec![]));
    assert_eq!(tell(1, session), (Err(Break::Ended), vec![]));
}
