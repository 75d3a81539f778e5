//! What happens to servers and to the way to them, while four writers commit at full speed; and how
//! long sessions are trusted meanwhile.

use crate::fixture::{KIND, PATIENCE, address, opened};
use crate::server::{Release, Server, ensemble};
use flockwork_registry::client::Client;
use flockwork_registry::{Key, Op};
use flockwork_registry_zookeeper::Credentials;
use flockwork_trials::server::{Server as _, await_leader};
use flockwork_trials::{faults, slow, trust};
use std::time::Duration;
use tokio::time::sleep;

fn key(text: &str) -> Key {
    Key::new(text).expect("short")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_linearizable_while_the_server_is_killed_and_restarted() {
    println!("{}", faults::killed(KIND, &mut Server::start(Release::Debian)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_linearizable_while_the_server_stands_still_for_a_moment() {
    println!("{}", faults::still_within_the_session(KIND, &Server::start(Release::Maven)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_linearizable_while_the_server_stands_still_beyond_the_session() {
    println!("{}", faults::still_beyond_the_session(KIND, &Server::start(Release::Debian)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_linearizable_while_the_way_is_cut_in_each_direction() {
    println!("{}", faults::cut(KIND, &Server::start(Release::Maven)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_linearizable_while_the_leader_of_three_is_killed() {
    println!("{}", faults::leader_killed(KIND, &mut ensemble(Release::Maven)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_linearizable_while_the_leader_of_three_stands_still() {
    println!("{}", faults::leader_still(KIND, &ensemble(Release::Debian)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_linearizable_while_the_leader_of_three_stands_still_beyond_the_session() {
    println!("{}", faults::leader_still_beyond_the_session(KIND, &ensemble(Release::Maven)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_linearizable_while_the_disk_is_slow() {
    println!("{}", slow::within_the_session(KIND, &Server::start(Release::Debian)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_linearizable_while_the_disk_hangs_beyond_the_session() {
    println!("{}", slow::beyond_the_session(KIND, &Server::start(Release::Maven)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_linearizable_while_the_leader_of_three_has_a_slow_disk() {
    println!("{}", slow::leader(KIND, &ensemble(Release::Debian)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_vanishes_before_the_end_of_trust_on_one_server() {
    let server = Server::start(Release::Debian);
    println!("{}", trust::to_the_end(KIND, [server.address(); 2], |_| {}).await);
}

/// A follower tells the leader whom it has heard only now and then, and dies in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_vanishes_before_the_end_of_trust_behind_a_follower_that_is_killed() {
    let mut servers = ensemble(Release::Debian);
    let leader = await_leader(&servers);
    let follower = (leader + 1) % 3;
    let ways = [servers[follower].address(), servers[leader].address()];
    let dying = |dies| match dies {
        true => servers[follower].kill(),
        false => {
            servers[follower].run();
            await_leader(&servers);
        }
    };
    println!("{}", trust::to_the_end(KIND, ways, dying).await);
}

/// Such a server goes on for a while as if it were one of three, and answers what it can alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_its_leader_renews_no_trust() {
    let servers = ensemble(Release::Maven);
    let follower = (await_leader(&servers) + 1) % 3;
    trust::alone(KIND, &servers, follower).await;
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
    assert!(!trust::trust(&mut inbox, &mut 0), "nothing is wrong yet");
    server.kill();
    server.forget();
    server.run();
    server.await_service();
    trust::joined_anew(|| std::iter::from_fn(|| inbox.try_recv()).collect(), before).await;
    let mut client = Client::new(registry, inbox, PATIENCE);
    let made = client.commit(vec![Op::create(key("/again"), "")]).await;
    assert!(made.is_ok(), "{made:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_without_a_server_suspends_and_says_why() {
    trust::nobody(KIND).await;
}
