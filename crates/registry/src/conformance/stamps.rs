//! A stamp names a state; what has changed since is refused, or told in time.

use super::scene::{ensure, same, tells};
use super::{Case, Scene, Stop};
use crate::client::CommitError;
use crate::{Index, Op, Scope, Why};

pub(super) const CASES: &[Case] = &[
    Case { name: "a_stamp_follows_its_entry", run: |s| Box::pin(follows(s)) },
    Case { name: "a_stamp_refuses_what_changed", run: |s| Box::pin(refuses(s)) },
    Case { name: "a_stamp_of_a_deleted_entry_is_refused", run: |s| Box::pin(of_the_deleted(s)) },
    Case { name: "a_recreated_entry_is_noticed_under_a_claim", run: |s| Box::pin(recreated(s)) },
];

async fn follows(scene: &Scene<'_>) -> Result<(), Stop> {
    let mut node = scene.node().await?;
    let key = scene.key("key");
    node.make(&key, "0").await?;
    let first = node.read(&key).await?.stamp;
    same("the first version", &first.version, &0)?;
    let mut last = first;
    for version in 1..4 {
        node.put(&key, "same value").await?;
        let next = node.read(&key).await?.stamp;
        same("created", &next.created, &first.created)?;
        same("version", &next.version, &version)?;
        ensure(next.modified > last.modified, || format!("{next:?} after {last:?}"))?;
        last = next;
    }
    node.remove(&key).await?;
    node.make(&key, "0").await?;
    let again = node.read(&key).await?.stamp;
    ensure(again.created > last.modified, || format!("made again: {again:?} after {last:?}"))
}

async fn refuses(scene: &Scene<'_>) -> Result<(), Stop> {
    let mut node = scene.node().await?;
    let key = scene.key("key");
    node.make(&key, "").await?;
    let old = Some(node.read(&key).await?.stamp);
    node.put(&key, "").await?;
    let with = |stamp| {
        [
            Op::Check(key.clone(), stamp),
            Op::Set(key.clone(), "".into(), stamp),
            Op::Delete(key.clone(), stamp),
        ]
    };
    for op in with(old) {
        let refusal = node.refused(vec![op.clone()]).await?;
        ensure(refusal.why == Why::Changed, || format!("{op:?}: {refusal}"))?;
    }
    for at in 0..3 {
        let fresh = Some(node.read(&key).await?.stamp);
        node.client.commit(vec![with(fresh)[at].clone()]).await?;
    }
    same("it exists", &node.exists(&key).await?, &false)
}

async fn of_the_deleted(scene: &Scene<'_>) -> Result<(), Stop> {
    let mut node = scene.node().await?;
    let key = scene.key("key");
    node.make(&key, "").await?;
    let stamp = node.read(&key).await?.stamp;
    node.remove(&key).await?;
    let refusal = node.refused(vec![Op::Check(key, Some(stamp))]).await?;
    same("the refusal", &refusal.why, &Why::Absent)
}

/// The assignment is deleted and made again for another between the read and the claim. A registry
/// that compares versions alone lets the claim through; then the change must be told before the
/// answer, so that the claim is undone before anything runs.
async fn recreated(scene: &Scene<'_>) -> Result<(), Stop> {
    let (mut claims, mut assigns) = (scene.node().await?, scene.node().await?);
    let assigned = scene.key("assigned");
    assigns.make(&assigned, "claimer").await?;
    claims.client.watch(&assigned, Scope::Value).await?;
    for round in 0..20 {
        let read = claims.read(&assigned).await?;
        claims.client.kept();
        let again = vec![Op::Delete(assigned.clone(), None), Op::create(assigned.clone(), "other")];
        let changed = assigns.client.commit(again).await?.index;
        let running = scene.key(&format!("running{round}"));
        let claim = vec![
            Op::Check(assigned.clone(), Some(read.stamp)),
            Op::create_for_session(running, ""),
        ];
        match claims.client.commit(claim).await {
            Err(CommitError::Refused(refusal)) => same("why", &refusal.why, &Why::Changed)?,
            Err(error) => return Err(error.into()),
            Ok(receipt) => {
                let told = tells(&claims.client.kept(), &assigned, Scope::Value);
                let after = receipt.index > changed && changed > Index(0);
                ensure(told && after, || {
                    format!("round {round}: claimed for another's assignment, and not told")
                })?;
            }
        }
    }
    Ok(())
}
