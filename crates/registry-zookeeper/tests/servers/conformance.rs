//! The suite of the contract on real servers.

use crate::fixture::Place;
use crate::server::{Release, Server, ensemble};
use flockwork_registry::conformance::{Fixture, run_all};
use flockwork_registry_zookeeper::{Credentials, Login};
use flockwork_trials::server::Server as _;

/// On one server no read lags, and one that is full ends itself.
const NOT_APPLICABLE: [&str; 4] = [
    "a_full_registry_refuses_by_name_and_loses_nothing",
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
async fn the_contract_is_kept_on_the_distributions_server() {
    let server = Server::start(Release::Debian);
    conforms(&Place { server: server.address(), root: "", credentials: Credentials::default() })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_is_kept_on_a_3_9_below_a_root_with_a_digest() {
    let server = Server::start(Release::Maven);
    let digest = Login::new("flock:word", "this test").ok();
    let credentials = Credentials { digest, tls: None };
    conforms(&Place { server: server.address(), root: "/apps/flock", credentials }).await;
}

/// Through a follower, whose reads may be old and whose writes go to the leader.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_is_kept_by_a_follower_of_three() {
    let servers = ensemble(Release::Maven);
    let follower = servers.iter().find(|server| server.is("follower")).expect("two of them");
    conforms(&Place {
        server: follower.address(),
        root: "/flock",
        credentials: Credentials::default(),
    })
    .await;
}
