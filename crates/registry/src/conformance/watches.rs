//! What watches tell, and what they do not.
//!
//! That nothing was told is never waited for: what was changed before a commit of one's own is told
//! before its answer, so after it what was not told will not be.

use super::scene::{ensure, same, tells};
use super::{Case, Scene, Stop};
use crate::{Event, Op, Scope};
use bytes::Bytes;

pub(super) const CASES: &[Case] = &[
    Case { name: "a_watch_tells_of_every_kind_of_change", run: |s| Box::pin(every_kind(s)) },
    Case { name: "a_watch_on_an_absent_key_tells_of_its_making", run: |s| Box::pin(absent(s)) },
    Case { name: "a_watch_outlives_deletion_and_recreation", run: |s| Box::pin(recreated(s)) },
    Case { name: "a_children_watch_tells_of_making_and_deletion", run: |s| Box::pin(children(s)) },
    Case { name: "a_children_watch_is_silent_about_values", run: |s| Box::pin(silent(s)) },
    Case { name: "a_watch_is_silent_about_other_keys", run: |s| Box::pin(other_keys(s)) },
    Case { name: "ones_own_changes_are_told_too", run: |s| Box::pin(own_changes(s)) },
    Case { name: "an_unwatched_key_is_not_told_of", run: |s| Box::pin(unwatched(s)) },
    Case { name: "unwatching_one_scope_leaves_the_other", run: |s| Box::pin(one_scope(s)) },
    Case { name: "merged_changes_converge", run: |s| Box::pin(merged(s)) },
    Case { name: "a_refused_commit_tells_nothing", run: |s| Box::pin(refused(s)) },
];

async fn every_kind(scene: &Scene<'_>) -> Result<(), Stop> {
    let (mut node, mut other) = (scene.node().await?, scene.node().await?);
    let (key, own) = (scene.key("key"), scene.key("own"));
    node.make(&own, "").await?;
    node.client.watch(&key, Scope::Value).await?;
    for round in 0..4 {
        node.client.kept();
        match round {
            0 => other.make(&key, "1").await?,
            1 | 2 => other.put(&key, "1").await?,
            _ => other.remove(&key).await?,
        };
        let told = node.told_until_commit(&own).await?;
        ensure(tells(&told, &key, Scope::Value), || format!("round {round}: told {told:?}"))?;
    }
    Ok(())
}

async fn absent(scene: &Scene<'_>) -> Result<(), Stop> {
    let (mut node, mut other) = (scene.node().await?, scene.node().await?);
    let (deep, own) = (scene.key("a/b"), scene.key("own"));
    node.make(&own, "").await?;
    for (key, scope) in [(&deep, Scope::Value), (&scene.key("a"), Scope::Children)] {
        node.client.watch(key, scope).await?;
    }
    other.make(&scene.key("a"), "").await?;
    node.told_until_commit(&own).await?;
    other.make(&deep, "").await?;
    let told = node.told_until_commit(&own).await?;
    ensure(tells(&told, &deep, Scope::Value), || format!("told {told:?}"))?;
    ensure(tells(&told, &scene.key("a"), Scope::Children), || format!("told {told:?}"))
}

async fn recreated(scene: &Scene<'_>) -> Result<(), Stop> {
    let (mut node, mut other) = (scene.node().await?, scene.node().await?);
    let (key, own) = (scene.key("key"), scene.key("own"));
    node.make(&own, "").await?;
    node.client.watch(&key, Scope::Value).await?;
    node.client.watch(&key, Scope::Children).await?;
    for _ in 0..3 {
        other.make(&key, "").await?;
        other.make(&scene.key("key/below"), "").await?;
        let told = node.told_until_commit(&own).await?;
        ensure(tells(&told, &key, Scope::Value), || format!("made: told {told:?}"))?;
        ensure(tells(&told, &key, Scope::Children), || format!("made: told {told:?}"))?;
        other.remove(&scene.key("key/below")).await?;
        other.remove(&key).await?;
        let told = node.told_until_commit(&own).await?;
        ensure(tells(&told, &key, Scope::Value), || format!("deleted: told {told:?}"))?;
    }
    Ok(())
}

async fn children(scene: &Scene<'_>) -> Result<(), Stop> {
    let (mut node, mut other) = (scene.node().await?, scene.node().await?);
    let (above, own, below) = (scene.key("above"), scene.key("own"), scene.key("above/below"));
    node.make(&own, "").await?;
    node.make(&above, "").await?;
    node.client.watch(&above, Scope::Children).await?;
    node.client.kept();
    other.make(&below, "").await?;
    let told = node.told_until_commit(&own).await?;
    ensure(tells(&told, &above, Scope::Children), || format!("made: told {told:?}"))?;
    let names = node.client.children(&above).await?;
    same("the children", &names, &Some(vec!["below".to_owned()]))?;
    other.remove(&below).await?;
    let told = node.told_until_commit(&own).await?;
    ensure(tells(&told, &above, Scope::Children), || format!("deleted: told {told:?}"))
}

async fn silent(scene: &Scene<'_>) -> Result<(), Stop> {
    let (mut node, mut other) = (scene.node().await?, scene.node().await?);
    let (above, own, below) = (scene.key("above"), scene.key("own"), scene.key("above/below"));
    let ops = [&own, &above, &below].map(|key| Op::create(key.clone(), ""));
    node.client.commit(ops.to_vec()).await?;
    node.client.watch(&above, Scope::Children).await?;
    node.told_until_commit(&own).await?;
    other.put(&below, "1").await?;
    other.put(&above, "1").await?;
    other.make(&scene.key("above/below/deeper"), "").await?;
    same("what was told", &node.told_until_commit(&own).await?, &vec![])
}

async fn other_keys(scene: &Scene<'_>) -> Result<(), Stop> {
    let (mut node, mut other) = (scene.node().await?, scene.node().await?);
    let (watched, own) = (scene.key("key"), scene.key("own"));
    node.make(&own, "").await?;
    node.make(&watched, "").await?;
    node.client.watch(&watched, Scope::Value).await?;
    node.told_until_commit(&own).await?;
    for near in ["key/below", "key2", "ke"] {
        other.make(&scene.key(near), "").await?;
        other.put(&scene.key(near), "1").await?;
    }
    same("what was told", &node.told_until_commit(&own).await?, &vec![])
}

async fn own_changes(scene: &Scene<'_>) -> Result<(), Stop> {
    let mut node = scene.node().await?;
    let (key, own) = (scene.key("key"), scene.key("own"));
    node.make(&own, "").await?;
    node.client.watch(&key, Scope::Value).await?;
    node.make(&key, "").await?;
    let told = node.told_until_commit(&own).await?;
    ensure(tells(&told, &key, Scope::Value), || format!("told {told:?}"))
}

async fn unwatched(scene: &Scene<'_>) -> Result<(), Stop> {
    let (mut node, mut other) = (scene.node().await?, scene.node().await?);
    let (key, own) = (scene.key("key"), scene.key("own"));
    node.make(&own, "").await?;
    for scope in [Scope::Value, Scope::Children] {
        node.client.watch(&key, scope).await?;
    }
    other.make(&key, "").await?;
    for scope in [Scope::Value, Scope::Children] {
        node.client.unwatch(&key, scope).await?;
    }
    node.told_until_commit(&own).await?;
    other.put(&key, "").await?;
    other.make(&scene.key("key/below"), "").await?;
    same("what was told", &node.told_until_commit(&own).await?, &vec![])?;
    // Unwatching what is not watched is no error.
    Ok(node.client.unwatch(&key, Scope::Value).await?)
}

async fn one_scope(scene: &Scene<'_>) -> Result<(), Stop> {
    let (mut node, mut other) = (scene.node().await?, scene.node().await?);
    let (key, own) = (scene.key("key"), scene.key("own"));
    node.make(&own, "").await?;
    node.make(&key, "").await?;
    for scope in [Scope::Value, Scope::Children] {
        node.client.watch(&key, scope).await?;
    }
    node.client.unwatch(&key, Scope::Children).await?;
    node.told_until_commit(&own).await?;
    other.make(&scene.key("key/below"), "").await?;
    other.put(&key, "1").await?;
    let told = node.told_until_commit(&own).await?;
    same("what was told", &told, &vec![Event::Changed(key, Scope::Value)])
}

/// However many changes become one, whoever reads after the last one told has the last value.
async fn merged(scene: &Scene<'_>) -> Result<(), Stop> {
    let (mut node, mut other) = (scene.node().await?, scene.node().await?);
    let (key, own) = (scene.key("key"), scene.key("own"));
    node.make(&own, "").await?;
    node.make(&key, "none").await?;
    node.client.watch(&key, Scope::Value).await?;
    let writer = tokio::spawn({
        let key = key.clone();
        async move {
            for n in 0..100 {
                other.put(&key, &n.to_string()).await?;
            }
            Ok::<_, Stop>(other)
        }
    });
    let mut last = Bytes::new();
    for _ in 0..400 {
        match node.client.next_event().await {
            Some(_) => last = node.read(&key).await?.value,
            None => break,
        }
        if last == "99" {
            break;
        }
    }
    let _other = writer.await.map_err(|error| Stop::Failed(error.to_string()))??;
    same("the last value", &last, &Bytes::from("99"))
}

async fn refused(scene: &Scene<'_>) -> Result<(), Stop> {
    let (mut node, mut other) = (scene.node().await?, scene.node().await?);
    let (key, own) = (scene.key("key"), scene.key("own"));
    node.make(&own, "").await?;
    node.make(&key, "").await?;
    node.client.watch(&key, Scope::Value).await?;
    node.client.watch(&scene.key(""), Scope::Children).await?;
    node.told_until_commit(&own).await?;
    other
        .refused(vec![
            Op::Set(key.clone(), "1".into(), None),
            Op::create(scene.key("made"), ""),
            Op::CheckAbsent(key),
        ])
        .await?;
    same("what was told", &node.told_until_commit(&own).await?, &vec![])
}
