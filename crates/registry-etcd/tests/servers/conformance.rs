//! The suite of the contract on real servers.

use crate::fixture::{Place, QUOTA};
use crate::server::{Server, ensemble};
use flockwork_registry::conformance::{Fixture, Outcome, cases, run, run_all};
use flockwork_trials::server::{Server as _, await_leader};

/// Needs a server of its own, whose room the rest of the suite has not taken before.
const FULL: &str = "a_full_registry_refuses_by_name_and_loses_nothing";

/// Reads are answered by a majority and never lag.
const NOT_APPLICABLE: [&str; 4] = [
    FULL,
    "lagging_reads_never_go_back",
    "a_stale_read_is_refused_in_the_commit",
    "a_lagging_node_is_told_before_its_commits_answer",
];

async fn conforms(fixture: &dyn Fixture) {
    let report = run_all(fixture).await;
    println!("{report}");
    assert!(report.failed().is_empty(), "{report}");
    assert_eq!(report.not_applicable(), NOT_APPLICABLE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_is_kept_on_one_server() {
    let server = Server::start();
    conforms(&Place { server: server.address(), root: "", is_small: false }).await;
}

/// Through a follower, which hands writes on to the leader.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_is_kept_by_a_follower_of_three_below_a_root() {
    let servers = ensemble();
    let server = servers[(await_leader(&servers) + 1) % 3].address();
    conforms(&Place { server, root: "/apps/flock", is_small: false }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_is_kept_on_a_server_that_is_full() {
    let server = Server::start_with(&["--quota-backend-bytes", &QUOTA.to_string()]);
    let place = Place { server: server.address(), root: "", is_small: true };
    let case = cases().find(|case| case.name == FULL).expect("the suite has it");
    assert_eq!(run(&place, case).await, Outcome::Passed);
}
