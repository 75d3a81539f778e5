//! The memory registry passes the suite, and the suite catches registries that break the contract.

mod bent;

use bent::{BENDS, BentFixture};
use flockwork_registry::conformance::{Outcome, cases, run, run_all};
use std::collections::BTreeSet;

#[tokio::test]
async fn the_memory_registry_keeps_the_whole_contract() {
    for versions_restart in [false, true] {
        let report = run_all(&BentFixture::new(None, versions_restart)).await;
        println!("{report}");
        assert!(report.failed().is_empty(), "{report}");
        assert!(report.not_applicable().is_empty(), "{report}");
        assert!(report.outcomes().len() >= 60, "{report}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn it_keeps_it_between_threads() {
    let report = run_all(&BentFixture::new(None, true)).await;
    assert!(report.failed().is_empty(), "{report}");
}

#[test]
fn cases_have_names_of_their_own() {
    let names: BTreeSet<&str> = cases().map(|case| case.name).collect();
    assert_eq!(names.len(), cases().count());
    let caught: BTreeSet<&str> = BENDS.iter().map(|(_, case)| *case).collect();
    assert_eq!(caught.len(), BENDS.len());
    assert!(caught.is_subset(&names), "{caught:?}");
}

#[tokio::test(start_paused = true)]
async fn each_broken_registry_fails_its_named_case() {
    let mut missed = vec![];
    for (bend, name) in BENDS {
        let case = cases().find(|case| case.name == *name).expect("the case exists");
        let outcome = run(&BentFixture::new(Some(*bend), true), case).await;
        println!("{bend:?}: {name}: {outcome:?}");
        if !matches!(outcome, Outcome::Failed(_)) {
            missed.push((bend, name, outcome));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}
