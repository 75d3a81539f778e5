//! What may happen, by chance: every question is answered once, in order; nothing is written
//! without a connection; nothing follows the end.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Chance {
    Pass(u64),
    Ask { read: bool, session: u8 },
    Resolved(u16),
    NotResolved,
    Connected,
    Welcome { session: i64 },
    Answer { code: i32, zxid: i64 },
    Ping,
    Change,
    Garbage(Vec<u8>),
    Broken,
    Close,
}

fn chance() -> impl Strategy<Value = Chance> {
    prop_oneof![
        4 => (0_u64..1_500).prop_map(Chance::Pass),
        6 => (any::<bool>(), 0_u8..4).prop_map(|(read, session)| Chance::Ask { read, session }),
        4 => (0_u16..3).prop_map(Chance::Resolved),
        1 => Just(Chance::NotResolved),
        6 => Just(Chance::Connected),
        6 => (0_i64..3).prop_map(|session| Chance::Welcome { session }),
        8 => (prop_oneof![Just(0), Just(-101), Just(-112)], 0_i64..100)
            .prop_map(|(code, zxid)| Chance::Answer { code, zxid }),
        3 => Just(Chance::Ping),
        3 => Just(Chance::Change),
        1 => proptest::collection::vec(any::<u8>(), 0..40).prop_map(Chance::Garbage),
        3 => Just(Chance::Broken),
        1 => Just(Chance::Close),
    ]
}

/// The world around a session, as far as the session can tell.
struct World {
    session: Session,
    now: u64,
    connected: bool,
    asked: u64,
    answered: u64,
    closed: bool,
    xid: i32,
}

impl World {
    fn input(&mut self, input: Input) {
        for output in self.session.step(self.now, input) {
            match output {
                Output::Write(_) => assert!(self.connected, "written without a connection"),
                Output::Disconnect | Output::Resolve => self.connected = false,
                Output::Connect(_) => {
                    self.connected = false;
                    self.xid = 0;
                }
                Output::Tell(event) => {
                    let late = matches!(event, Event::Failed { .. });
                    assert!(!self.closed || late, "after the end: {event:?}");
                    self.closed |= event == Event::Closed;
                    if let Some(ticket) = ticket(&event) {
                        assert_eq!(ticket, self.answered + 1, "{event:?}");
                        self.answered = ticket;
                    }
                }
            }
        }
        assert!(self.session.live().is_none() || self.connected, "alive without a connection");
    }

    fn take(&mut self, chance: Chance) {
        let input = match chance {
            Chance::Pass(millis) => {
                self.now += millis;
                Input::Tick
            }
            Chance::Ask { read, session } => {
                self.asked += 1;
                let request = match read {
                    true => Request::Exists("/a".into()),
                    false => Request::AddWatch(format!("/{}", self.asked)),
                };
                let session = (session > 0).then_some(i64::from(session));
                let request = (session != Some(3)).then_some(request);
                Input::Ask(Ask { ticket: self.asked, session, request })
            }
            Chance::Resolved(count) => Input::Resolved(addresses(count)),
            Chance::NotResolved => Input::NotResolved("no name".into()),
            Chance::Connected => {
                // An edge says so only of what it was asked to connect.
                self.connected |= matches!(self.session.phase, Phase::Dialling { .. });
                Input::Connected
            }
            Chance::Welcome { session } => Input::Received(welcome(4_000, session)),
            Chance::Answer { code, zxid } => {
                self.xid += 1;
                Input::Received(answer(self.xid, zxid, code, &[0; 68]))
            }
            Chance::Ping => Input::Received(answer(-2, 5, 0, &[])),
            Chance::Change => Input::Received(changed(3, "/a")),
            Chance::Garbage(bytes) => Input::Received(bytes.into()),
            Chance::Broken => Input::Broken("chance".into()),
            Chance::Close => Input::Close,
        };
        self.input(input);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn every_question_is_answered_once_and_in_order(
        chances in proptest::collection::vec(chance(), 0..120),
    ) {
        let config = Config { timeout: 4_000, digest: None, spread: 3 };
        let mut world = World {
            session: Session::new(0, config),
            now: 0,
            connected: false,
            asked: 0,
            answered: 0,
            closed: false,
            xid: 0,
        };
        world.input(Input::Tick);
        for chance in chances {
            world.take(chance);
        }
        world.input(Input::Close);
        world.now += CLOSING;
        world.input(Input::Tick);
        prop_assert!(world.closed);
        prop_assert_eq!(world.answered, world.asked);
        prop_assert_eq!(world.session.deadline(), u64::MAX);
    }
}
