//! What happens to servers and to the way to them, while four writers commit at full speed; and how
//! long sessions are trusted meanwhile.

use crate::fixture::KIND;
use crate::server::{Release, Server, ensemble};
use flockwork_trials::server::{Server as _, await_leader};
use flockwork_trials::{faults, slow, trust};
use std::time::Duration;

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
    trust::set_up_anew(KIND, Duration::from_secs(1), &mut server, Server::forget).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_without_a_server_suspends_and_says_why() {
    trust::nobody(KIND).await;
}
