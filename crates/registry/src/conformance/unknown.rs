//! Lost answers, cut ways, full registries: unknown is not no, and what is said holds.

use super::scene::{Node, ensure, same, tells};
use super::{Case, Scene, Stop};
use crate::client::CommitError;
use crate::memory::Loss;
use crate::{Event, Failure, Key, Op, Scope, SessionState};

pub(super) const CASES: &[Case] = &[
    Case { name: "a_lost_answer_is_unknown_and_its_commit_found", run: |s| Box::pin(applied(s)) },
    Case { name: "a_lost_commit_that_never_happened_can_be_retried", run: |s| Box::pin(never(s)) },
    Case { name: "a_lost_commit_is_settled_by_the_next_answer", run: |s| Box::pin(late(s)) },
    Case { name: "a_lost_commit_happens_at_most_once", run: |s| Box::pin(at_most_once(s)) },
    Case { name: "a_cut_off_node_is_told_and_resyncs", run: |s| Box::pin(cut_off(s)) },
    Case { name: "a_node_cut_off_briefly_keeps_its_session", run: |s| Box::pin(keeps_session(s)) },
    Case { name: "a_full_registry_refuses_by_name_and_loses_nothing", run: |s| Box::pin(full(s)) },
];

/// Commits with the answer lost; the answer given instead must leave the outcome open.
async fn lose(node: &mut Node, loss: Loss, op: Op) -> Result<(), Stop> {
    node.control.lose_next_answer(loss).await?;
    match node.client.commit(vec![op]).await {
        Err(CommitError::Failed(Failure::Unknown(_))) => Ok(()),
        other => Err(Stop::Failed(format!("a lost answer became {other:?}"))),
    }
}

/// An answer of the same session, after which nothing lost can happen any more.
async fn settle(node: &mut Node, scene: &Scene<'_>) -> Result<(), Stop> {
    node.put(&scene.key(""), "settled").await.map(|_| ())
}

async fn applied(scene: &Scene<'_>) -> Result<(), Stop> {
    let mut node = scene.node().await?;
    let key = scene.key("key");
    lose(&mut node, Loss::Applied, Op::create(key.clone(), "mine")).await?;
    settle(&mut node, scene).await?;
    same("its value", &&node.read(&key).await?.value[..], &&b"mine"[..])
}

async fn never(scene: &Scene<'_>) -> Result<(), Stop> {
    let mut node = scene.node().await?;
    let key = scene.key("key");
    lose(&mut node, Loss::NotApplied, Op::create(key.clone(), "mine")).await?;
    settle(&mut node, scene).await?;
    same("it exists", &node.exists(&key).await?, &false)?;
    node.make(&key, "again").await.map(|_| ())
}

async fn late(scene: &Scene<'_>) -> Result<(), Stop> {
    let (mut node, mut other) = (scene.node().await?, scene.node().await?);
    let key = scene.key("key");
    lose(&mut node, Loss::AppliedLate, Op::create(key.clone(), "mine")).await?;
    settle(&mut node, scene).await?;
    let settled = node.client.get(&key).await?;
    for _ in 0..5 {
        settle(&mut other, scene).await?;
        settle(&mut node, scene).await?;
        same("the settled state", &node.client.get(&key).await?, &settled)?;
    }
    same("seen by another", &other.client.get(&key).await?, &settled)
}

async fn at_most_once(scene: &Scene<'_>) -> Result<(), Stop> {
    let mut node = scene.node().await?;
    let key = scene.key("key");
    node.make(&key, "").await?;
    for (round, loss) in [Loss::Applied, Loss::NotApplied, Loss::AppliedLate].iter().enumerate() {
        let before = node.read(&key).await?.stamp.version;
        lose(&mut node, *loss, Op::Set(key.clone(), "x".into(), None)).await?;
        settle(&mut node, scene).await?;
        let times = node.read(&key).await?.stamp.version - before;
        ensure(times <= 1, || format!("round {round}: it happened {times} times"))?;
        ensure(*loss != Loss::Applied || times == 1, || {
            format!("{loss:?}, yet it did not happen")
        })?;
    }
    Ok(())
}

/// Waits for an event, among others; fails after the node's patience.
async fn wait_for(node: &mut Node, what: &str, is: impl Fn(&Event) -> bool) -> Result<(), Stop> {
    loop {
        match node.client.next_event().await {
            Some(event) if is(&event) => return Ok(()),
            Some(_) => {}
            None => return Err(Stop::Failed(format!("{what} was not told"))),
        }
    }
}

async fn suffer_a_cut(
    node: &mut Node,
    meanwhile: impl AsyncFnOnce() -> Result<(), Stop>,
) -> Result<(), Stop> {
    node.client.arrived();
    node.control.cut().await?;
    let suspended = |event: &Event| matches!(event, Event::Session(SessionState::Suspended { .. }));
    wait_for(node, "the suspension", suspended).await?;
    meanwhile().await?;
    node.control.heal().await?;
    wait_for(node, "the resync", |event| *event == Event::Resync).await?;
    node.client.session().await?;
    Ok(())
}

async fn cut_off(scene: &Scene<'_>) -> Result<(), Stop> {
    let (mut node, mut other) = (scene.node().await?, scene.node().await?);
    let (key, own) = (scene.key("key"), scene.key("own"));
    node.make(&own, "").await?;
    node.client.watch(&key, Scope::Value).await?;
    let made = async || other.make(&key, "").await.map(|_| ());
    suffer_a_cut(&mut node, made).await?;
    node.told_until_commit(&own).await?;
    same("what changed meanwhile: it exists", &node.exists(&key).await?, &true)?;
    other.put(&key, "").await?;
    let told = node.told_until_commit(&own).await?;
    ensure(tells(&told, &key, Scope::Value), || format!("afterwards: told {told:?}"))
}

async fn keeps_session(scene: &Scene<'_>) -> Result<(), Stop> {
    let mut node = scene.node().await?;
    let (mine, never) = (scene.key("mine"), scene.key("never"));
    node.client.commit(vec![Op::create_for_session(mine.clone(), "")]).await?;
    suffer_a_cut(&mut node, async || Ok(())).await?;
    same("the session", &node.client.session().await?, &node.session)?;
    same("the owner", &node.read(&mine).await?.session, &Some(node.session))?;
    same("it exists", &node.exists(&never).await?, &false)
}

async fn refused_as_full(node: &mut Node, key: &Key) -> Result<(), Stop> {
    match node.client.commit(vec![Op::create(key.clone(), vec![b'x'; 4096])]).await {
        Err(CommitError::Failed(Failure::Full(_))) => Ok(()),
        other => Err(Stop::Failed(format!("a full registry answered {other:?}"))),
    }
}

async fn full(scene: &Scene<'_>) -> Result<(), Stop> {
    let mut node = scene.node().await?;
    let (kept, refused) = (scene.key("kept"), scene.key("refused"));
    node.make(&kept, "v").await?;
    node.control.fill().await?;
    refused_as_full(&mut node, &refused).await?;
    node.control.make_room().await?;
    settle(&mut node, scene).await?;
    same("it exists", &node.exists(&refused).await?, &false)?;
    same("what was there", &&node.read(&kept).await?.value[..], &&b"v"[..])?;
    node.make(&refused, "").await.map(|_| ())
}
