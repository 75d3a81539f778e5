//! What the memory registry does on request, beyond what the suite asks of it.

use flockwork_registry::conformance::{Asked, Control, Fixture, Link, Outcome, run_all};
use flockwork_registry::memory::{Connected, Loss, MemoryRegistry};
use flockwork_registry::{Answer, Event, Failure, Key, Op, Request, Scope, SessionState, Ticket};
use std::future::ready;

fn key(text: &str) -> Key {
    Key::new(text).expect("the tests spell keys")
}

fn arrived(connected: &mut Connected) -> Vec<Event> {
    std::iter::from_fn(|| connected.inbox.try_recv()).collect()
}

fn create(connected: &Connected, ticket: u64, name: &str) {
    let ops = vec![Op::create_for_session(key(name), "")];
    connected.registry.submit(Ticket(ticket), Request::Commit(ops));
}

fn committed(event: &Event, ticket: u64) -> bool {
    matches!(event, Event::Answer(Ticket(n), Answer::Committed(_)) if *n == ticket)
}

#[test]
fn dropped_changes_are_followed_by_a_resync_before_the_next_answer() {
    let memory = MemoryRegistry::default();
    let (mut node, other) = (memory.connect_faulty(), memory.connect_faulty());
    node.registry.submit(Ticket(1), Request::Watch(key("/a"), Scope::Value));
    arrived(&mut node);
    node.faults.drop_changes(1);
    create(&other, 1, "/a");
    assert_eq!(arrived(&mut node), []);
    create(&node, 2, "/b");
    let told = arrived(&mut node);
    assert_eq!(told[0], Event::Resync);
    assert!(committed(&told[1], 2), "{told:?}");
}

#[test]
fn a_dropped_connection_ends_its_session_and_its_inbox() {
    let memory = MemoryRegistry::default();
    let mut node = memory.connect_faulty();
    create(&node, 1, "/a");
    assert!(memory.inspect(|store| store.get(&key("/a")).is_some()));
    let Connected { registry, .. } = &mut node;
    *registry = memory.connect().0;
    assert!(memory.inspect(|store| store.get(&key("/a")).is_none()));
    let told = arrived(&mut node);
    assert!(matches!(told.last(), Some(Event::Session(SessionState::Ended(_)))), "{told:?}");
    node.faults.end_session();
    node.faults.lose_answers(1, Loss::Applied);
    assert_eq!(arrived(&mut node), []);
}

#[test]
fn what_was_under_way_when_the_way_broke_is_unknown() {
    let memory = MemoryRegistry::default();
    let mut node = memory.connect_faulty();
    arrived(&mut node);
    node.faults.hold_answers();
    create(&node, 1, "/a");
    node.faults.suspend("a cable");
    create(&node, 2, "/b");
    let told = arrived(&mut node);
    let answers: Vec<_> = told.iter().filter(|e| matches!(e, Event::Answer(..))).collect();
    let lost = |e: &Event| matches!(e, Event::Answer(_, Answer::Failed(Failure::Unknown(_))));
    assert!(answers.len() == 2 && lost(answers[0]), "{told:?}");
    let not_sent = Failure::NotSent("a cable".to_owned());
    assert_eq!(answers[1], &Event::Answer(Ticket(2), Answer::Failed(not_sent)));
    assert!(memory.inspect(|store| store.get(&key("/a")).is_some()));
    assert!(memory.inspect(|store| store.get(&key("/b")).is_none()));
}

#[test]
fn the_instant_of_trust_moves_on_request() {
    let mut node = MemoryRegistry::default().connect_faulty();
    let until = |event: &Event| match event {
        Event::Session(SessionState::Live { trusted_until, .. }) => Some(*trusted_until),
        _ => None,
    };
    assert_eq!(arrived(&mut node).iter().find_map(until), Some(u64::MAX));
    node.faults.trust_until(5_000);
    assert_eq!(arrived(&mut node).iter().find_map(until), Some(5_000));
}

/// A registry over which a test has no power.
#[derive(Debug)]
struct Plain(MemoryRegistry);

#[derive(Debug)]
struct NoPower;

impl Control for NoPower {}

impl Fixture for Plain {
    fn root(&self) -> Key {
        Key::root()
    }

    fn connect(&self) -> Asked<'_, Link> {
        let (registry, inbox) = self.0.connect();
        Box::pin(ready(Link { registry, inbox, control: Box::new(NoPower) }))
    }
}

#[tokio::test]
async fn a_case_whose_power_is_lacking_says_so_and_does_not_pass() {
    let report = run_all(&Plain(MemoryRegistry::default())).await;
    assert!(report.failed().is_empty(), "{report}");
    let lacking = report.not_applicable();
    assert!(lacking.contains(&"commits_of_an_ended_session_are_refused"), "{report}");
    assert!(lacking.contains(&"a_lost_answer_is_unknown_and_its_commit_found"), "{report}");
    let why = report.of("a_stale_read_is_refused_in_the_commit");
    let reason = Outcome::NotApplicable("reads cannot be made to lag here".to_owned());
    assert_eq!(why, Some(&reason));
    assert!(lacking.len() < 25, "{report}");
}
