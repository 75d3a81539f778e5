//! What happens to servers and to the way to them, while four writers commit at full speed.

use crate::fixture::{KIND, PATIENCE, address, opened};
use crate::proxy::Proxy;
use crate::server::{Server, ensemble};
use flockwork_registry::client::{Client, CommitError};
use flockwork_registry::{Failure, Key, Op};
use flockwork_trials::server::Server as _;
use flockwork_trials::{faults, rounds, slow};
use std::time::Duration;
use tokio::time::{Instant, sleep};

fn key(text: &str) -> Key {
    Key::new(text).expect("short")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_linearizable_while_the_server_is_killed_and_restarted() {
    println!("{}", faults::killed(KIND, &mut Server::start()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_linearizable_while_the_server_stands_still_for_a_moment() {
    println!("{}", faults::still_within_the_session(KIND, &Server::start()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_linearizable_while_the_server_stands_still_beyond_the_session() {
    println!("{}", faults::still_beyond_the_session(KIND, &Server::start()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_linearizable_while_the_way_is_cut_in_each_direction() {
    println!("{}", faults::cut(KIND, &Server::start()).await);
}

/// The server gets the commit when its session has long gone on elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_lost_on_the_way_never_happens_once_a_later_one_was_answered() {
    let server = Server::start();
    let proxy = Proxy::before(server.address()).await;
    let (registry, inbox) =
        opened(&address(&[proxy.gate.address()], "/late", KIND.session * 3)).await;
    let mut client = Client::new(registry, inbox, PATIENCE);
    client.commit(vec![Op::create(key("/own"), "")]).await.expect("made");
    let late = Duration::from_millis(400);
    let mut in_time = 0;
    for round in 0..rounds() {
        let lost = key(&format!("/lost-{round}"));
        proxy.delay(late);
        let told = client.commit(vec![Op::create(lost.clone(), "")]).await;
        assert!(matches!(told, Err(CommitError::Failed(Failure::Unknown(_)))), "{told:?}");
        let began = Instant::now();
        loop {
            match client.commit(vec![Op::Set(key("/own"), "".into(), None)]).await {
                Ok(_) => break,
                Err(CommitError::Failed(Failure::NotSent(_))) => {}
                other => panic!("answered {other:?}"),
            }
            assert!(began.elapsed() < PATIENCE, "it does not come back");
            sleep(Duration::from_millis(2)).await;
        }
        let settled = client.get(&lost).await.expect("it answers");
        in_time += usize::from(began.elapsed() < late);
        sleep(late * 2).await;
        assert_eq!(client.get(&lost).await, Ok(settled), "round {round}");
    }
    println!("lost on the way: {} rounds, {in_time} answered before it arrived", rounds());
    assert!(in_time > 0, "nothing was tried");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_linearizable_while_the_leader_of_three_is_killed() {
    println!("{}", faults::leader_killed(KIND, &mut ensemble()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_linearizable_while_the_leader_of_three_stands_still() {
    println!("{}", faults::leader_still(KIND, &ensemble()).await);
}

/// When it goes on it may have leases revoked that live, if its release is without the mitigation
/// that the crate's documentation names. No commit of a session that ended happens all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_linearizable_while_the_leader_of_three_stands_still_beyond_the_session() {
    println!("{}", faults::leader_still_beyond_the_session(KIND, &ensemble()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_linearizable_while_the_disk_is_slow() {
    println!("{}", slow::within_the_session(KIND, &Server::start()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_linearizable_while_the_disk_hangs_beyond_the_session() {
    println!("{}", slow::beyond_the_session(KIND, &Server::start()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_linearizable_while_the_leader_of_three_has_a_slow_disk() {
    println!("{}", slow::leader(KIND, &ensemble()).await);
}
