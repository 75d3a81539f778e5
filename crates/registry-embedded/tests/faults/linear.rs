//! Four writers, each with a connection that a process of its own holds, while those are killed and
//! stopped and their disk is slow or fails. What the writers were told is judged linearizable.

mod remote;
mod wire;

use crate::peer::{PATIENCE, TIMEOUT, go_on, stop};
use crate::rounds;
use flockwork_registry::client::Client;
use flockwork_registry::conformance::Asked;
use flockwork_registry::conformance::history::{Judged, Writers};
use remote::Fleet;
use std::path::Path;
use tempfile::tempdir;
use tokio::time::sleep;

const WRITERS: usize = 4;

async fn writers(fleet: &Fleet) -> Writers {
    let fleet = fleet.clone();
    let open = move || {
        let (registry, inbox) = fleet.open();
        Box::pin(async move { Client::new(registry, inbox, PATIENCE) }) as Asked<'static, Client>
    };
    Writers::start(open, WRITERS).await
}

fn told(fault: &str, rounds: usize, Judged { done, unknown, sessions }: Judged) {
    println!(
        "{fault}: {rounds} rounds, {done} commits confirmed, {unknown} unknown, {sessions} sessions; \
         linearizable"
    );
    assert!(done > rounds * 10);
}

fn plain(dir: &Path) -> Fleet {
    Fleet::new(dir, |_| None)
}

#[tokio::test]
async fn commits_are_linearizable_while_processes_are_killed() {
    let (dir, rounds) = (tempdir().unwrap(), rounds(15));
    let fleet = plain(dir.path());
    let writers = writers(&fleet).await;
    for round in 0..rounds {
        writers.more(20).await;
        fleet.kill(round % WRITERS);
    }
    writers.more(20).await;
    let judged = writers.judged().await;
    told("a process killed", rounds, judged);
    assert_eq!(judged.sessions, WRITERS + rounds, "each that was killed has another session");
    // One in ten does where little else runs; that each of many does, `kill` shows.
    assert!(judged.unknown > 0 || rounds < 100, "no kill met a commit under way");
}

#[tokio::test]
async fn commits_are_linearizable_while_a_process_stands_still_within_its_session() {
    let (dir, rounds) = (tempdir().unwrap(), rounds(5));
    let fleet = plain(dir.path());
    let writers = writers(&fleet).await;
    for round in 0..rounds {
        writers.more(20).await;
        let id = fleet.id(round % WRITERS);
        stop(id);
        sleep(TIMEOUT / 4).await;
        go_on(id);
    }
    writers.more(20).await;
    let judged = writers.judged().await;
    told("a process stopped within the session", rounds, judged);
    assert_eq!((judged.unknown, judged.sessions), (0, WRITERS), "nothing is lost, no session");
}

/// Stopped wherever it is: with the lock, no session ends; without it, its own does.
#[tokio::test]
async fn commits_are_linearizable_while_a_process_stands_still_beyond_its_session() {
    let (dir, rounds) = (tempdir().unwrap(), rounds(2));
    let fleet = plain(dir.path());
    let writers = writers(&fleet).await;
    for round in 0..rounds {
        writers.more(20).await;
        let id = fleet.id(round % WRITERS);
        stop(id);
        sleep(TIMEOUT * 3 / 2).await;
        go_on(id);
    }
    writers.more(20).await;
    let judged = writers.judged().await;
    told("a process stopped beyond the session", rounds, judged);
    assert_eq!(judged.unknown, 0, "whoever is resumed is told what became of its commits");
    assert!((WRITERS..=WRITERS + rounds).contains(&judged.sessions));
}

/// Each sync of one takes 5 ms, of another 25 ms, of a third 80 ms; one has a fast disk.
#[tokio::test]
async fn commits_are_linearizable_while_the_disk_is_slow() {
    let (dir, rounds) = (tempdir().unwrap(), rounds(5));
    let fleet = Fleet::new(dir.path(), |number| {
        let delay = [0, 5_000, 25_000, 80_000][number % 4];
        (delay > 0).then(|| format!("delay_exit={delay}"))
    });
    let writers = writers(&fleet).await;
    for _ in 0..rounds {
        writers.more(20).await;
    }
    let judged = writers.judged().await;
    told("slow disk", rounds, judged);
    assert_eq!((judged.unknown, judged.sessions), (0, WRITERS), "nothing is lost, no session");
}

/// Every fifth sync of each writer fails: nobody knows what is on the disk, and it is said so.
#[tokio::test]
async fn commits_are_linearizable_while_syncs_fail() {
    let (dir, rounds) = (tempdir().unwrap(), rounds(5));
    let fleet = Fleet::new(dir.path(), |number| {
        (number < WRITERS).then(|| "error=EIO:when=3+5".to_owned())
    });
    let writers = writers(&fleet).await;
    for _ in 0..rounds {
        writers.more(20).await;
    }
    let judged = writers.judged().await;
    told("failing syncs", rounds, judged);
    assert!(judged.unknown >= rounds, "only {} answers were lost", judged.unknown);
    assert_eq!(judged.sessions, WRITERS, "a failed sync ends no session");
}
