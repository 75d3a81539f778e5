//! The watch barrier: at the answer to a commit, every change before it was told.

use super::scene::{Node, ensure, tells};
use super::{Case, Scene, Stop};
use crate::{Answer, Event, Index, Key, Op, Request, Scope};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::time::Instant;

pub(super) const CASES: &[Case] = &[
    Case { name: "a_change_is_told_before_a_later_commits_answer", run: |s| Box::pin(in_turn(s)) },
    Case {
        name: "the_barrier_holds_while_another_session_hammers",
        run: |s| Box::pin(hammered(s)),
    },
    Case { name: "the_barrier_holds_for_a_node_that_stood_still", run: |s| Box::pin(paused(s)) },
    Case { name: "the_barrier_holds_for_pipelined_commits", run: |s| Box::pin(pipelined(s)) },
    Case { name: "the_barrier_holds_for_what_vanishes", run: |s| Box::pin(vanishing(s)) },
];

/// How often another's commit must come between two of ours for the barrier to have been tried.
const GAPS: usize = 50;

/// Where the writer stops by itself, should nobody be left to tell it.
const WRITES: usize = 200_000;

async fn in_turn(scene: &Scene<'_>) -> Result<(), Stop> {
    let (mut node, mut other) = (scene.node().await?, scene.node().await?);
    let (key, own) = (scene.key("key"), scene.key("own"));
    node.make(&own, "").await?;
    node.make(&key, "").await?;
    node.client.watch(&key, Scope::Value).await?;
    for round in 0..100 {
        node.client.kept();
        other.put(&key, "").await?;
        let told = node.told_until_commit(&own).await?;
        ensure(tells(&told, &key, Scope::Value), || format!("round {round}: told {told:?}"))?;
    }
    Ok(())
}

/// Sets a key until told to stop and says at which commits.
async fn hammer(mut node: Node, key: Key, stop: Arc<AtomicBool>) -> Result<Vec<Index>, Stop> {
    let mut written = Vec::new();
    while !stop.load(Ordering::Relaxed) && written.len() < WRITES {
        written.push(node.put(&key, "hammered").await?.index);
        tokio::task::yield_now().await;
    }
    Ok(written)
}

/// A change between two commits of ours cannot have been told before the first was sent, so it must
/// have been told between that and the second one's answer.
async fn hammered(scene: &Scene<'_>) -> Result<(), Stop> {
    let (mut node, other) = (scene.node().await?, scene.node().await?);
    let (key, own) = (scene.key("key"), scene.key("own"));
    node.make(&own, "").await?;
    node.make(&key, "").await?;
    node.client.watch(&key, Scope::Value).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn(hammer(other, key.clone(), Arc::clone(&stop)));
    let mut commits: Vec<(Index, bool)> = Vec::new();
    let (mut gaps, deadline) = (0, Instant::now() + scene.patience());
    while gaps < GAPS && Instant::now() < deadline {
        let mut told = node.client.arrived();
        let index = node.put(&own, "").await?.index;
        told.extend(node.client.kept());
        gaps += usize::from(commits.last().is_some_and(|(last, _)| last.0 + 1 < index.0));
        commits.push((index, tells(&told, &key, Scope::Value)));
        tokio::task::yield_now().await;
    }
    stop.store(true, Ordering::Relaxed);
    let written = writer.await.map_err(|error| Stop::Failed(error.to_string()))??;
    let mut met = 0;
    for pair in commits.windows(2) {
        let [(from, told_then), (to, told_now)] = pair else { continue };
        if written.iter().any(|at| from < at && at < to) {
            met += 1;
            let told = *told_then || *told_now;
            ensure(told, || format!("a change between {from:?} and {to:?} was not told by then"))?;
        }
    }
    ensure(met > 0, || "the writer never came between two commits: nothing was tried".to_owned())
}

async fn paused(scene: &Scene<'_>) -> Result<(), Stop> {
    let (mut node, mut other) = (scene.node().await?, scene.node().await?);
    let (key, own) = (scene.key("key"), scene.key("own"));
    node.make(&own, "").await?;
    node.make(&key, "").await?;
    node.client.watch(&key, Scope::Value).await?;
    node.client.kept();
    node.control.pause().await?;
    other.put(&key, "before").await?;
    let set = Op::Set(own, "".into(), None);
    let commit = node.client.send(Request::Commit(vec![set]));
    other.put(&key, "after").await?;
    node.control.resume().await?;
    let answer = node.client.answer(commit).await;
    let told = node.client.kept();
    match answer {
        Answer::Committed(_) => {
            ensure(tells(&told, &key, Scope::Value), || format!("told only {told:?}"))
        }
        other => Err(Stop::Failed(format!("answered {other:?}"))),
    }
}

async fn pipelined(scene: &Scene<'_>) -> Result<(), Stop> {
    let (mut node, mut other) = (scene.node().await?, scene.node().await?);
    let (root, own) = (scene.key(""), scene.key("own"));
    node.make(&own, "").await?;
    node.client.watch(&root, Scope::Children).await?;
    for round in 0..20 {
        node.client.kept();
        other.make(&scene.key(&format!("{round}")), "").await?;
        let set = || Request::Commit(vec![Op::Set(own.clone(), "".into(), None)]);
        let sent: Vec<_> = (0..8).map(|_| node.client.send(set())).collect();
        let first = node.client.answer(sent[0]).await;
        let told = node.client.kept();
        ensure(matches!(first, Answer::Committed(_)), || format!("answered {first:?}"))?;
        ensure(tells(&told, &root, Scope::Children), || format!("round {round}: told {told:?}"))?;
        for ticket in &sent[1..] {
            node.client.answer(*ticket).await;
        }
    }
    Ok(())
}

/// A session's end is a change like others: whoever sees its effect in a commit was told of it.
async fn vanishing(scene: &Scene<'_>) -> Result<(), Stop> {
    let (mut node, mut other) = (scene.node().await?, scene.node().await?);
    let key = scene.key("key");
    other.client.commit(vec![Op::create_for_session(key.clone(), "")]).await?;
    node.client.watch(&key, Scope::Value).await?;
    node.client.kept();
    other.client.close().await;
    let mut told: Vec<Event> = Vec::new();
    let deadline = Instant::now() + scene.patience();
    loop {
        let taken = node.client.commit(vec![Op::CheckAbsent(key.clone()), create(scene)]).await;
        told.extend(node.client.kept());
        if taken.is_ok() {
            return ensure(tells(&told, &key, Scope::Value), || {
                format!("committed on its absence, told only {told:?}")
            });
        }
        ensure(Instant::now() < deadline, || "it did not vanish".to_owned())?;
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

fn create(scene: &Scene<'_>) -> Op {
    Op::create(scene.key("taken-over"), "")
}
