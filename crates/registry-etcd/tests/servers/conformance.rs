//! The suite of the contract on real servers.

use crate::fixture::{Place, QUOTA};
use crate::server::{Server, await_leader, ensemble};
use flockwork_registry::conformance::{Fixture, run_all};

/// Reads are answered by a majority and never lag.
const LAGGING: [&str; 3] = [
    "lagging_reads_never_go_back",
    "a_stale_read_is_refused_in_the_commit",
    "a_lagging_node_is_told_before_its_commits_answer",
];

async fn conforms(fixture: &dyn Fixture, not_applicable: &[&str]) {
    let report = run_all(fixture).await;
    assert!(report.failed().is_empty(), "{report}");
    assert_eq!(report.not_applicable(), not_applicable);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_is_kept_on_one_server() {
    let server = Server::start_with(&["--quota-backend-bytes", &QUOTA.to_string()]);
    let place = Place { server: server.address(), root: "", is_small: true };
    conforms(&place, &LAGGING).await;
}

/// Through a follower, which hands writes on to the leader.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_is_kept_by_a_follower_of_three_below_a_root() {
    let servers = ensemble();
    let follower = (await_leader(&servers) + 1) % 3;
    let server = servers[follower].address();
    let place = Place { server, root: "/apps/flock", is_small: false };
    let full = "a_full_registry_refuses_by_name_and_loses_nothing";
    let not_applicable: Vec<&str> = [full].into_iter().chain(LAGGING).collect();
    conforms(&place, &not_applicable).await;
}
