//! The suite of the contract on real servers.

use crate::fixture::Place;
use crate::server::{Server, await_leader, ensemble};
use flockwork_registry::conformance::{Fixture, run_all};

/// Reads are answered by a majority and never lag.
const NOT_APPLICABLE: [&str; 4] = [
    "a_full_registry_refuses_by_name_and_loses_nothing",
    "lagging_reads_never_go_back",
    "a_stale_read_is_refused_in_the_commit",
    "a_lagging_node_is_told_before_its_commits_answer",
];

async fn conforms(fixture: &dyn Fixture) {
    let report = run_all(fixture).await;
    let mut not_applicable = report.not_applicable();
    not_applicable.sort_unstable();
    let mut expected = NOT_APPLICABLE;
    expected.sort_unstable();
    assert!(report.failed().is_empty(), "{report}");
    assert_eq!(not_applicable, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_is_kept_on_one_server() {
    let server = Server::start();
    conforms(&Place { server: server.address(), root: "" }).await;
}

/// Through a follower, which hands writes on to the leader.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_is_kept_by_a_follower_of_three_below_a_root() {
    let servers = ensemble();
    let follower = (await_leader(&servers) + 1) % 3;
    conforms(&Place { server: servers[follower].address(), root: "/apps/flock" }).await;
}
