//! How long a session is trusted, and what is said of servers that are not there or were set up
//! anew.

use crate::gate::Gate;
use crate::server::Server;
use crate::{Kind, PATIENCE, key, rounds};
use flockwork_registry::client::Client;
use flockwork_registry::{
    Address, Event, Failure, Inbox, Key, Op, Request, SessionId, SessionState,
};
use rustix::time::{ClockId, clock_gettime};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Milliseconds of `CLOCK_BOOTTIME`.
fn boot_millis() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    u64::try_from(now.tv_sec * 1_000 + now.tv_nsec / 1_000_000).expect("after the start")
}

/// The last trust told; takes what waits.
fn trust(inbox: &mut Inbox, until: &mut u64) {
    while let Some(event) = inbox.try_recv() {
        if let Event::Session(SessionState::Live { trusted_until, .. }) = event {
            *until = trusted_until;
        }
    }
}

/// What lives with a session is there for as long as the session was said to be trusted.
///
/// The session is kept with the server at `near`, and looked at from `far`; `dying` is told when the
/// way is cut, and once all is over.
pub async fn to_the_end(
    kind: Kind,
    [near, far]: [SocketAddr; 2],
    mut dying: impl FnMut(bool),
) -> String {
    let observed = kind.address(&[far], "/trust", Duration::from_secs(8));
    let mut observer = kind.client(&observed).await;
    for round in 0..rounds() {
        let gate = Gate::before(near).await;
        let address = kind.address(&[gate.address()], "/trust", kind.session);
        let mut client = kind.client(&address).await;
        let sign = key(&format!("/sign-{round}"));
        client.commit(vec![Op::create_for_session(sign.clone(), "")]).await.expect("made");
        // In each phase of the renewals, which come each third of the time-out.
        sleep(Duration::from_millis(300 * (round as u64 % 7))).await;
        gate.shut(true);
        gate.cut();
        dying(true);
        let until = told_until(&mut client);
        let deadline = Instant::now() + PATIENCE;
        // The observer's server may be away for a moment when another dies.
        while observer.get(&sign).await.ok().is_none_or(|there| there.is_some()) {
            assert!(Instant::now() < deadline, "the session does not end");
            sleep(Duration::from_millis(2)).await;
        }
        let gone = boot_millis();
        assert!(gone >= until, "round {round}: gone at {gone}, trusted until {until}");
        dying(false);
        client.close().await;
    }
    format!("trust: {} sessions cut off, none ended before its trust did", rounds())
}

/// Until when the session was last said to be trusted.
fn told_until(client: &mut Client) -> u64 {
    let states = client.arrived();
    let until = states.iter().rev().find_map(|event| match event {
        Event::Session(SessionState::Live { trusted_until, .. }) => Some(*trusted_until),
        _ => None,
    });
    until.expect("it was proven")
}

/// A server that has lost the others goes on for a while as if it were one of them, and answers what
/// it can alone. It renews no trust.
pub async fn alone<S: Server>(kind: Kind, servers: &[S], which: usize) {
    let address = kind.address(&[servers[which].address()], "/alone", kind.session);
    let (registry, mut inbox) = (kind.open)(&address);
    let mut until = 0;
    let deadline = Instant::now() + PATIENCE;
    while until == 0 {
        assert!(Instant::now() < deadline, "no session");
        sleep(Duration::from_millis(5)).await;
        trust(&mut inbox, &mut until);
    }
    sleep(kind.session).await;
    trust(&mut inbox, &mut until);
    assert!(until > boot_millis(), "it is renewed while all is well");
    let others = || servers.iter().enumerate().filter(|(at, _)| *at != which);
    others().for_each(|(_, server)| server.stop());
    let alone = boot_millis();
    sleep(kind.session * 3 / 2).await;
    trust(&mut inbox, &mut until);
    others().for_each(|(_, server)| server.go_on());
    let most = alone + u64::try_from(kind.session.as_millis()).expect("short");
    assert!(until <= most, "alone since {alone}, trusted until {until}");
    let deadline = Instant::now() + PATIENCE;
    while until <= most {
        assert!(Instant::now() < deadline, "no trust comes back");
        sleep(Duration::from_millis(20)).await;
        trust(&mut inbox, &mut until);
    }
    drop(registry);
}

/// The servers have lost what they knew: the session is told to have ended, and why, before another
/// begins, and never lives after it.
pub async fn joined_anew(mut arrived: impl FnMut() -> Vec<Event>, before: SessionId) {
    let (mut said, mut told, mut ended) = (false, false, false);
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        for event in arrived() {
            match event {
                Event::Session(SessionState::Suspended { why }) => {
                    said |= why.contains("lost what they knew")
                }
                Event::SetBack(why) => told |= why.contains("lost what they knew"),
                Event::Session(SessionState::Ended(session)) => ended |= session == before,
                Event::Session(SessionState::Live { session, .. }) if session != before => {
                    assert!(said && told && ended, "said {said}, told {told}, ended {ended}");
                    return;
                }
                Event::Session(SessionState::Live { .. }) => assert!(!said, "it went on"),
                _ => {}
            }
        }
        sleep(Duration::from_millis(5)).await;
    }
    panic!("no new session follows: said {said}, ended {ended}");
}

/// Servers that come back and know nothing any more: the session ends, another begins, and works.
pub async fn set_up_anew<S: Server>(
    kind: Kind,
    session: Duration,
    server: &mut S,
    forget: impl FnOnce(&S),
) {
    let address = kind.address(&[server.address()], "/anew", session);
    let mut client = kind.client(&address).await;
    let before = client.session().await.expect("it is proven");
    for turn in 0..50 {
        client.send(Request::Commit(vec![Op::create(key(&format!("/{turn}")), "")]));
    }
    sleep(Duration::from_millis(500)).await;
    let ended = Event::Session(SessionState::Ended(before));
    assert!(!client.arrived().contains(&ended), "nothing is wrong yet");
    server.kill();
    forget(server);
    server.run();
    server.await_service();
    joined_anew(|| client.arrived(), before).await;
    let made = client.commit(vec![Op::create(key("/again"), "")]).await;
    assert!(made.is_ok(), "{made:?}");
}

/// Nobody listens there, or there is no such host: that is said, nothing is sent, and closing is
/// bounded.
pub async fn nobody(kind: Kind) {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("ports are left");
    let port = nobody.local_addr().expect("bound").port();
    drop(nobody);
    for (servers, wanted) in [
        (format!("127.0.0.1:{port}"), "refused"),
        (format!("no-such-host.invalid:{port}"), "no-such-host.invalid"),
    ] {
        let url = format!("{}://{servers}/x?session_timeout=1s", kind.scheme);
        let (registry, inbox) = (kind.open)(&Address::parse(kind.scheme, &url).expect("read"));
        let mut client = Client::new(registry, inbox, Duration::from_secs(2));
        let Err(Failure::NotSent(why)) = client.session().await else { panic!("{url}: a session") };
        assert!(why.contains(wanted), "{why}");
        let asked = client.get(&Key::root()).await;
        assert!(matches!(asked, Err(Failure::NotSent(_))), "{asked:?}");
        timeout(Duration::from_secs(5), client.close()).await.expect("closing is bounded");
    }
}
