//! Commit numbers grow for as long as the data live.

use super::scene::{ensure, same};
use super::{Case, Scene, Stop};
use crate::{Index, Op};

pub(super) const CASES: &[Case] = &[
    Case { name: "indices_grow_across_keys_and_sessions", run: |s| Box::pin(across_sessions(s)) },
    Case { name: "indices_grow_across_delete_and_recreate", run: |s| Box::pin(across_deletion(s)) },
    Case { name: "a_receipts_index_stands_in_the_entries", run: |s| Box::pin(in_entries(s)) },
    Case { name: "a_sessions_end_has_an_index_of_its_own", run: |s| Box::pin(end_counts(s)) },
];

fn grows(last: &mut Index, next: Index) -> Result<(), Stop> {
    ensure(next > *last, || format!("commit {next:?} after commit {last:?}"))?;
    *last = next;
    Ok(())
}

async fn across_sessions(scene: &Scene<'_>) -> Result<(), Stop> {
    let mut nodes = [scene.node().await?, scene.node().await?];
    let mut last = Index(0);
    for n in 0..20 {
        let receipt = nodes[n % 2].make(&scene.key(&format!("n{n}")), "").await?;
        grows(&mut last, receipt.index)?;
    }
    Ok(())
}

async fn across_deletion(scene: &Scene<'_>) -> Result<(), Stop> {
    let mut node = scene.node().await?;
    let key = scene.key("again");
    let mut last = Index(0);
    for _ in 0..5 {
        grows(&mut last, node.make(&key, "").await?.index)?;
        grows(&mut last, node.put(&key, "").await?.index)?;
        grows(&mut last, node.remove(&key).await?.index)?;
    }
    let both = vec![Op::create(key.clone(), ""), Op::Delete(key, None)];
    grows(&mut last, node.client.commit(both).await?.index)
}

async fn in_entries(scene: &Scene<'_>) -> Result<(), Stop> {
    let mut node = scene.node().await?;
    let (one, two) = (scene.key("one"), scene.key("two"));
    let ops = vec![Op::create(one.clone(), ""), Op::create(two.clone(), "")];
    let made = node.client.commit(ops).await?.index;
    for key in [&one, &two] {
        let stamp = node.read(key).await?.stamp;
        same("created and modified", &(stamp.created, stamp.modified), &(made, made))?;
    }
    let set = node.put(&one, "").await?.index;
    let stamp = node.read(&one).await?.stamp;
    same("created and modified", &(stamp.created, stamp.modified), &(made, set))
}

async fn end_counts(scene: &Scene<'_>) -> Result<(), Stop> {
    let (mut stays, mut goes) = (scene.node().await?, scene.node().await?);
    let key = scene.key("key");
    let create = vec![Op::create_for_session(key.clone(), "")];
    let made = goes.client.commit(create).await?.index;
    goes.client.close().await;
    stays.until(&key, false, scene.patience()).await?;
    let next = stays.make(&key, "").await?.index;
    ensure(next.0 > made.0 + 1, || format!("made at {made:?}, gone, and made again at {next:?}"))
}
