//! How long a session is trusted, and what is said of servers that are not there or were set up
//! anew.

use crate::faults::rounds;
use crate::fixture::{PATIENCE, address, opened};
use crate::proxy::Proxy;
use crate::server::{Server, await_leader, ensemble};
use flockwork_registry::client::Client;
use flockwork_registry::{Event, Failure, Inbox, Key, Op, Scope, SessionId, SessionState};
use flockwork_registry_etcd::{Credentials, open_url};
use rustix::time::{ClockId, clock_gettime};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

const TIMEOUT: Duration = Duration::from_secs(3);

fn key(text: &str) -> Key {
    Key::new(text).expect("short")
}

/// Milliseconds of `CLOCK_BOOTTIME`.
fn boot_millis() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    u64::try_from(now.tv_sec * 1_000 + now.tv_nsec / 1_000_000).expect("after the start")
}

/// The last trust told, and whether the end was; takes what waits.
fn trust(inbox: &mut Inbox, until: &mut u64) -> bool {
    let mut ended = false;
    while let Some(event) = inbox.try_recv() {
        match event {
            Event::Session(SessionState::Live { trusted_until, .. }) => *until = trusted_until,
            Event::Session(SessionState::Ended(_)) => ended = true,
            _ => {}
        }
    }
    ended
}

/// What lives with a session is there for as long as the session was said to be trusted.
///
/// `dying` is told when the way is cut, and once all is over.
async fn trusted_to_the_end(near: SocketAddr, far: SocketAddr, mut dying: impl FnMut(bool)) {
    let (registry, inbox) = opened(&address(&[far], "/trust", Duration::from_secs(8))).await;
    let mut observer = Client::new(registry, inbox, PATIENCE);
    observer.session().await.expect("a server answers");
    for round in 0..rounds() {
        let proxy = Proxy::before(near).await;
        let (registry, inbox) = opened(&address(&[proxy.address], "/trust", TIMEOUT)).await;
        let mut client = Client::new(registry, inbox, PATIENCE);
        let sign = key(&format!("/sign-{round}"));
        client.commit(vec![Op::create_for_session(sign.clone(), "")]).await.expect("made");
        sleep(Duration::from_millis(300 * round as u64)).await;
        proxy.shut(true);
        proxy.cut();
        dying(true);
        let states = client.arrived();
        let until = states.iter().rev().find_map(|event| match event {
            Event::Session(SessionState::Live { trusted_until, .. }) => Some(*trusted_until),
            _ => None,
        });
        let until = until.expect("it was proven");
        let deadline = Instant::now() + PATIENCE;
        while observer.get(&sign).await.ok().is_none_or(|there| there.is_some()) {
            assert!(Instant::now() < deadline, "the session does not end");
            sleep(Duration::from_millis(2)).await;
        }
        let gone = boot_millis();
        assert!(gone >= until, "round {round}: gone at {gone}, trusted until {until}");
        dying(false);
        client.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_vanishes_before_the_end_of_trust_on_one_server() {
    let server = Server::start();
    trusted_to_the_end(server.address(), server.address(), |_| {}).await;
}

/// A new leader counts every lease from its own beginning.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_vanishes_before_the_end_of_trust_behind_a_leader_that_is_killed() {
    let mut servers = ensemble();
    let leader = await_leader(&servers);
    let (near, far) = (servers[leader].address(), servers[(leader + 1) % 3].address());
    let dying = |dies| match dies {
        true => servers[leader].kill(),
        false => {
            servers[leader].run();
            await_leader(&servers);
        }
    };
    trusted_to_the_end(near, far, dying).await;
}

/// It answers renewals for as long as it believes that it leads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_without_a_majority_renews_no_trust() {
    let servers = ensemble();
    let leader = await_leader(&servers);
    let address = address(&[servers[leader].address()], "/alone", TIMEOUT);
    let (registry, mut inbox) = opened(&address).await;
    let mut until = 0;
    sleep(TIMEOUT).await;
    trust(&mut inbox, &mut until);
    let renewed = until;
    assert!(renewed > boot_millis(), "it is renewed while all is well");
    let others = || servers.iter().enumerate().filter(|(at, _)| *at != leader);
    others().for_each(|(_, server)| server.stop());
    let alone = boot_millis();
    sleep(TIMEOUT * 3 / 2).await;
    trust(&mut inbox, &mut until);
    others().for_each(|(_, server)| server.go_on());
    let most = alone + u64::try_from(TIMEOUT.as_millis()).expect("short");
    assert!(until <= most, "alone since {alone}, trusted until {until}");
    let deadline = Instant::now() + PATIENCE;
    while until <= most {
        assert!(Instant::now() < deadline, "no trust comes back");
        sleep(Duration::from_millis(20)).await;
        trust(&mut inbox, &mut until);
    }
    drop(registry);
}

/// The session is told to have ended, and why, before another begins, and never lives after it.
async fn joined_anew(mut arrived: impl FnMut() -> Vec<Event>, before: SessionId) {
    let (mut said, mut ended) = (false, false);
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        for event in arrived() {
            match event {
                Event::Session(SessionState::Suspended { why }) => {
                    said |= why.contains("lost what they knew")
                }
                Event::Session(SessionState::Ended(session)) => ended |= session == before,
                Event::Session(SessionState::Live { session, .. }) if session != before => {
                    assert!(said && ended, "said {said}, ended {ended}");
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

/// The backup has the session, its lease and all.
///
/// `own` says whose commits come after it; `more` commits after it is back go beyond what the node
/// saw before.
async fn restored(own: bool, more: usize) {
    let mut server = Server::start();
    let proxy = Proxy::before(server.address()).await;
    let near = address(&[proxy.address], "/backup", Duration::from_secs(60));
    let far = address(&[server.address()], "/backup", Duration::from_secs(60));
    let (registry, inbox) = opened(&near).await;
    let before = registry.session().expect("opened");
    let mut node = Client::new(registry, inbox, PATIENCE);
    node.commit(vec![Op::create_for_session(key("/sign"), "")]).await.expect("made");
    node.watch(&key("/19"), Scope::Value).await.expect("watched");
    let (registry, inbox) = opened(&far).await;
    let mut other = Client::new(registry, inbox, PATIENCE);
    server.save();
    for turn in 0..20 {
        let writer = if own { &mut node } else { &mut other };
        writer.commit(vec![Op::create(key(&format!("/{turn}")), "")]).await.expect("made");
    }
    let deadline = Instant::now() + PATIENCE;
    while !node.arrived().contains(&Event::Changed(key("/19"), Scope::Value)) {
        assert!(Instant::now() < deadline, "it sees nothing");
        sleep(Duration::from_millis(2)).await;
    }
    proxy.shut(true);
    proxy.cut();
    server.kill();
    server.restore();
    server.run();
    server.await_health();
    for n in 0..more {
        server.ctl(&["put", "/elsewhere", &n.to_string()]).expect("it answers");
    }
    proxy.shut(false);
    joined_anew(|| node.arrived(), before).await;
    assert_eq!(node.get(&key("/sign")).await, Ok(None), "it went with its session");
    let made = node.commit(vec![Op::create(key("/0"), "")]).await;
    assert!(made.is_ok(), "own {own}, more {more}: {made:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_restored_from_a_backup_end_the_session_that_saw_more() {
    for (own, more) in [(true, 0), (true, 60), (false, 0)] {
        restored(own, more).await;
    }
}

/// Old releases answer so now and then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_said_to_be_dead_has_ended_once_that_is_told() {
    let server = Server::start();
    let address = |at, root| address(&[at], root, Duration::from_secs(8));
    let (registry, inbox) = opened(&address(server.address(), "/denied")).await;
    let mut observer = Client::new(registry, inbox, PATIENCE);
    for is_cut in [false, true] {
        let proxy = Proxy::before(server.address()).await;
        let (registry, inbox) = opened(&address(proxy.address, "/denied")).await;
        let session = registry.session().expect("opened");
        let mut node = Client::new(registry, inbox, PATIENCE);
        node.commit(vec![Op::create_for_session(key("/sign"), "")]).await.expect("made");
        proxy.deny(true);
        if is_cut {
            proxy.cut();
        }
        let deadline = Instant::now() + PATIENCE;
        while !node.arrived().contains(&Event::Session(SessionState::Ended(session))) {
            assert!(Instant::now() < deadline, "nothing is told");
            sleep(Duration::from_millis(1)).await;
        }
        proxy.deny(false);
        assert_eq!(observer.get(&key("/sign")).await, Ok(None), "cut: {is_cut}");
        node.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_set_up_anew_are_noticed_and_joined_with_a_new_session() {
    let mut server = Server::start();
    let (registry, mut inbox) = opened(&address(&[server.address()], "/anew", TIMEOUT)).await;
    let before = registry.session().expect("opened");
    for turn in 0..50 {
        let create = vec![Op::create(key(&format!("/{turn}")), "")];
        let ticket = flockwork_registry::Ticket(turn);
        flockwork_registry::Registry::submit(
            &*registry,
            ticket,
            flockwork_registry::Request::Commit(create),
        );
    }
    sleep(Duration::from_millis(500)).await;
    assert!(!trust(&mut inbox, &mut 0), "nothing is wrong yet");
    server.kill();
    server.forget();
    server.run();
    server.await_health();
    joined_anew(|| std::iter::from_fn(|| inbox.try_recv()).collect(), before).await;
    let mut client = Client::new(registry, inbox, PATIENCE);
    let made = client.commit(vec![Op::create(key("/again"), "")]).await;
    assert!(made.is_ok(), "{made:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_without_a_server_suspends_and_says_why() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("ports are left");
    let port = nobody.local_addr().expect("bound").port();
    drop(nobody);
    for (servers, wanted) in [
        (format!("127.0.0.1:{port}"), "refused"),
        (format!("no-such-host.invalid:{port}"), "no-such-host.invalid"),
    ] {
        let url = format!("etcd://{servers}/x?session_timeout=1s");
        let (registry, inbox) = open_url(&url, &Credentials::default()).expect("read");
        let mut client = Client::new(registry, inbox, Duration::from_secs(2));
        let Err(Failure::NotSent(why)) = client.session().await else { panic!("{url}: a session") };
        assert!(why.contains(wanted), "{why}");
        let asked = client.get(&Key::root()).await;
        assert!(matches!(asked, Err(Failure::NotSent(_))), "{asked:?}");
        timeout(Duration::from_secs(5), client.close()).await.expect("closing is bounded");
    }
}
