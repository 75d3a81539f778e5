//! How long a session is trusted, and what is said of servers that are not there or were set up
//! anew.

use crate::fixture::{KIND, PATIENCE, address, opened};
use crate::proxy::Proxy;
use crate::server::{Server, ensemble};
use flockwork_registry::client::Client;
use flockwork_registry::{Event, Key, Op, Registry, Scope, SessionState, SessionTimeout};
use flockwork_trials::server::{Server as _, await_leader};
use flockwork_trials::trust;
use std::time::Duration;
use tokio::time::{Instant, sleep};

fn key(text: &str) -> Key {
    Key::new(text).expect("short")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_vanishes_before_the_end_of_trust_on_one_server() {
    let server = Server::start();
    println!("{}", trust::to_the_end(KIND, [server.address(); 2], |_| {}).await);
}

/// A new leader counts every lease from its own beginning.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_vanishes_before_the_end_of_trust_behind_a_leader_that_is_killed() {
    let mut servers = ensemble();
    let leader = await_leader(&servers);
    let ways = [servers[leader].address(), servers[(leader + 1) % 3].address()];
    let dying = |dies| match dies {
        true => servers[leader].kill(),
        false => {
            servers[leader].run();
            await_leader(&servers);
        }
    };
    println!("{}", trust::to_the_end(KIND, ways, dying).await);
}

/// It answers renewals for as long as it believes that it leads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_without_a_majority_renews_no_trust() {
    let servers = ensemble();
    trust::alone(KIND, &servers, await_leader(&servers)).await;
}

/// The backup has the session, its lease and all.
///
/// `own` says whose commits come after it; `more` commits after it is back go beyond what the node
/// saw before.
async fn restored(own: bool, more: usize) {
    let mut server = Server::start();
    let proxy = Proxy::before(server.address()).await;
    let near = address(&[proxy.gate.address()], "/backup", Duration::from_secs(60));
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
    proxy.gate.shut(true);
    proxy.gate.cut();
    server.kill();
    server.restore();
    server.run();
    server.await_service();
    for n in 0..more {
        server.ctl(&["put", "/elsewhere", &n.to_string()]).expect("it answers");
    }
    proxy.gate.shut(false);
    trust::joined_anew(|| node.arrived(), before).await;
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
        let (registry, inbox) = opened(&address(proxy.gate.address(), "/denied")).await;
        let session = registry.session().expect("opened");
        let mut node = Client::new(registry, inbox, PATIENCE);
        node.commit(vec![Op::create_for_session(key("/sign"), "")]).await.expect("made");
        proxy.deny(true);
        if is_cut {
            proxy.gate.cut();
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
    trust::set_up_anew(KIND, KIND.session, &mut server, Server::forget).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_without_a_server_suspends_and_says_why() {
    trust::nobody(KIND).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_out_that_the_server_made_longer_is_told_with_what_was_asked_for() {
    let server = Server::start();
    let asked = Duration::from_millis(1_000);
    let (registry, _inbox) = opened(&address(&[server.address()], "/short", asked)).await;
    let told = registry.session_timeout().expect("a session was opened");
    // Twice an election's time-out, at the least.
    assert!(told.asked == asked && told.granted > asked, "{told:?}");
    let asked = Duration::from_secs(30);
    let (registry, _inbox) = opened(&address(&[server.address()], "/long", asked)).await;
    let told = registry.session_timeout();
    assert_eq!(told, Some(SessionTimeout { asked, granted: asked }));
}
