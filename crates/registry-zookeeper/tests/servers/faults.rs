//! What happens to servers and to the way to them, while four writers commit at full speed.

mod slow;

use crate::fixture::{PATIENCE, address, opened};
use crate::proxy::Proxy;
use crate::server::{Release, Server, await_leader, ensemble};
use flockwork_registry::client::Client;
use flockwork_registry::conformance::Asked;
use flockwork_registry::conformance::history::{Judged, Writers};
use flockwork_registry::{Event, Failure, Inbox, Key, Op, SessionState};
use flockwork_registry_zookeeper::{Address, Credentials, open_url};
use flockwork_zookeeper::boot_millis;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

const WRITERS: usize = 4;
const TIMEOUT: Duration = Duration::from_secs(2);

/// Rounds of each fault; `FLOCKWORK_ROUNDS` asks for more.
fn rounds() -> usize {
    let asked = std::env::var("FLOCKWORK_ROUNDS").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(3)
}

fn key(text: &str) -> Key {
    Key::new(text).expect("short")
}

async fn writers(address: &Address) -> Writers {
    let address = address.clone();
    let open = move || {
        let address = address.clone();
        let opened = async move {
            let (registry, inbox) = opened(&address, &Credentials::default()).await;
            Client::new(registry, inbox, PATIENCE)
        };
        Box::pin(opened) as Asked<'static, Client>
    };
    Writers::start(open, WRITERS).await
}

fn told(fault: &str, Judged { done, unknown, sessions }: Judged) {
    println!(
        "{fault}: {} rounds, {done} commits confirmed, {unknown} unknown, {sessions} sessions",
        rounds()
    );
    assert!(done > rounds() * 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_linearizable_while_the_server_is_killed_and_restarted() {
    let mut server = Server::start(Release::Debian);
    let address = address(&[server.address()], "/killed", Duration::from_secs(8));
    let writers = writers(&address).await;
    for _ in 0..rounds() {
        writers.more(20).await;
        server.kill();
        server.run();
        server.await_mode("standalone");
    }
    writers.more(20).await;
    let judged = writers.judged().await;
    told("killed and restarted", judged);
    assert_eq!(judged.sessions, WRITERS, "a session outlives a restart within its time-out");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_linearizable_while_the_server_stands_still_for_a_moment() {
    let server = Server::start(Release::Maven);
    let writers = writers(&address(&[server.address()], "/still", TIMEOUT)).await;
    for _ in 0..rounds() {
        writers.more(20).await;
        server.stop();
        sleep(TIMEOUT / 4).await;
        server.go_on();
    }
    writers.more(20).await;
    let judged = writers.judged().await;
    told("stopped within the session", judged);
    assert_eq!((judged.unknown, judged.sessions), (0, WRITERS), "nothing is lost, no session");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_linearizable_while_the_server_stands_still_beyond_the_session() {
    let server = Server::start(Release::Debian);
    let writers = writers(&address(&[server.address()], "/longer", TIMEOUT)).await;
    for _ in 0..rounds() {
        writers.more(20).await;
        server.stop();
        sleep(TIMEOUT * 3 / 2).await;
        server.go_on();
    }
    writers.more(20).await;
    told("stopped beyond the session", writers.judged().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_linearizable_while_the_way_is_cut_in_each_direction() {
    let server = Server::start(Release::Maven);
    let proxy = Proxy::before(server.address()).await;
    let writers = writers(&address(&[proxy.address], "/cut", TIMEOUT)).await;
    for round in 0..rounds() * 3 {
        writers.more(10).await;
        match round % 3 {
            0 => proxy.hold(true),
            1 => proxy.hold_up(true),
            _ => {
                proxy.shut(true);
                proxy.cut();
            }
        }
        // Beyond the silence that breaks a connection; now and then beyond the session.
        sleep(if round % 9 < 6 { TIMEOUT * 3 / 4 } else { TIMEOUT * 5 / 4 }).await;
        proxy.hold(false);
        proxy.hold_up(false);
        proxy.shut(false);
    }
    writers.more(20).await;
    told("cut in each direction", writers.judged().await);
}

fn addresses(servers: &[Server]) -> Vec<SocketAddr> {
    servers.iter().map(Server::address).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_linearizable_while_the_leader_of_three_is_killed() {
    let mut servers = ensemble(Release::Maven);
    let address = address(&addresses(&servers), "/three", Duration::from_secs(8));
    let writers = writers(&address).await;
    let mut slowest = Duration::ZERO;
    for _ in 0..rounds() {
        writers.more(20).await;
        let leader = await_leader(&servers);
        servers[leader].kill();
        let killed = Instant::now();
        writers.more(4).await;
        slowest = slowest.max(killed.elapsed());
        servers[leader].run();
        await_leader(&servers);
    }
    let judged = writers.judged().await;
    told("leader killed", judged);
    println!("the slowest was back after {slowest:?}");
    assert_eq!(judged.sessions, WRITERS, "a session outlives its leader");
}

/// The one that stands still leads still, as far as it knows, when it goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_linearizable_while_the_leader_of_three_stands_still() {
    let servers = ensemble(Release::Debian);
    let address = address(&addresses(&servers), "/stale", Duration::from_secs(6));
    let writers = writers(&address).await;
    for _ in 0..rounds() {
        writers.more(20).await;
        let leader = await_leader(&servers);
        servers[leader].stop();
        // The others go on without it.
        sleep(Duration::from_secs(1)).await;
        writers.more(20).await;
        servers[leader].go_on();
        await_leader(&servers);
    }
    let judged = writers.judged().await;
    told("leader stopped", judged);
    assert_eq!(judged.sessions, WRITERS, "a session outlives its leader");
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
    let observed = address(&[far], "/trust", Duration::from_secs(8));
    let (registry, inbox) = opened(&observed, &Credentials::default()).await;
    let mut observer = Client::new(registry, inbox, PATIENCE);
    observer.session().await.expect("a server answers");
    for round in 0..rounds() {
        let proxy = Proxy::before(near).await;
        let address = address(&[proxy.address], "/trust", TIMEOUT);
        let (registry, inbox) = opened(&address, &Credentials::default()).await;
        let mut client = Client::new(registry, inbox, PATIENCE);
        let sign = key(&format!("/sign-{round}"));
        client.commit(vec![Op::create_for_session(sign.clone(), "")]).await.expect("made");
        // In each phase of the renewals, which come each third of the time-out.
        sleep(Duration::from_millis(300 * (round as u64 % 7))).await;
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
        while observer.get(&sign).await.expect("nothing is wrong here").is_some() {
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
    let server = Server::start(Release::Debian);
    trusted_to_the_end(server.address(), server.address(), |_| {}).await;
}

/// A follower tells the leader whom it has heard only now and then, and dies in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_vanishes_before_the_end_of_trust_behind_a_follower_that_is_killed() {
    let mut servers = ensemble(Release::Debian);
    let leader = await_leader(&servers);
    let follower = (leader + 1) % 3;
    let (near, far) = (servers[follower].address(), servers[leader].address());
    let dying = |dies| match dies {
        true => servers[follower].kill(),
        false => {
            servers[follower].run();
            await_leader(&servers);
        }
    };
    trusted_to_the_end(near, far, dying).await;
}

/// Such a server goes on for a while as if it were one of three, and answers what it can alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_its_leader_renews_no_trust() {
    let servers = ensemble(Release::Maven);
    let leader = await_leader(&servers);
    let follower = (leader + 1) % 3;
    let address = address(&[servers[follower].address()], "/alone", TIMEOUT);
    let (registry, mut inbox) = opened(&address, &Credentials::default()).await;
    let mut until = 0;
    sleep(TIMEOUT).await;
    trust(&mut inbox, &mut until);
    let renewed = until;
    assert!(renewed > boot_millis(), "it is renewed while all is well");
    let others = || servers.iter().enumerate().filter(|(at, _)| *at != follower);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_set_up_anew_are_noticed_and_joined_with_a_new_session() {
    let mut server = Server::start(Release::Debian);
    let address = address(&[server.address()], "/anew", Duration::from_secs(1));
    let (registry, mut inbox) = opened(&address, &Credentials::default()).await;
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
    server.await_mode("standalone");
    let (mut said, mut ended) = (false, false);
    let joined = async {
        loop {
            match inbox.recv().await.expect("the registry lives") {
                Event::Session(SessionState::Suspended { why }) => {
                    said |= why.contains("lost what they knew")
                }
                Event::Session(SessionState::Ended(session)) => ended |= session == before,
                Event::Session(SessionState::Live { session, .. }) if session != before => return,
                _ => {}
            }
        }
    };
    timeout(PATIENCE, joined).await.expect("a new session follows");
    assert!(said && ended, "said {said}, ended {ended}");
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
        let url = format!("zookeeper://{servers}/x?session_timeout=1s");
        let (registry, inbox) = open_url(&url, &Credentials::default()).expect("read");
        let mut client = Client::new(registry, inbox, Duration::from_secs(2));
        let Err(Failure::NotSent(why)) = client.session().await else { panic!("{url}: a session") };
        assert!(why.contains(wanted), "{why}");
        let asked = client.get(&Key::root()).await;
        assert!(matches!(asked, Err(Failure::NotSent(_))), "{asked:?}");
        timeout(Duration::from_secs(5), client.close()).await.expect("closing is bounded");
    }
}
