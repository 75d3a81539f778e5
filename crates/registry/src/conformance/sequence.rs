//! Entries made with a number that grows.

use super::scene::{Node, ensure, same};
use super::{Case, Scene, Stop};
use crate::{Key, Lifetime, Op, Receipt};
use std::collections::BTreeSet;

pub(super) const CASES: &[Case] = &[
    Case { name: "a_sequence_number_has_ten_digits_and_grows", run: |s| Box::pin(format(s)) },
    Case { name: "a_sequence_number_is_not_given_twice", run: |s| Box::pin(across_deletes(s)) },
    Case { name: "a_receipt_lists_sequenced_keys_in_order", run: |s| Box::pin(in_order(s)) },
    Case { name: "concurrent_sequences_all_differ", run: |s| Box::pin(concurrent(s)) },
];

fn numbered(key: Key, lifetime: Lifetime) -> Op {
    Op::Create { key, value: "".into(), lifetime, sequence: true }
}

fn number(prefix: &Key, key: &Key) -> Result<u64, Stop> {
    let digits = key.as_str().strip_prefix(prefix.as_str()).unwrap_or("");
    let ten = digits.len() == 10 && digits.bytes().all(|b| b.is_ascii_digit());
    ensure(ten, || format!("{key} is not {prefix} and ten digits"))?;
    digits.parse().map_err(|_| Stop::Failed(format!("{digits} is no number")))
}

async fn next(node: &mut Node, prefix: &Key) -> Result<(Key, u64), Stop> {
    let made = vec![numbered(prefix.clone(), Lifetime::Session)];
    let Receipt { sequenced, .. } = node.client.commit(made).await?;
    let [key] = sequenced.as_slice() else {
        return Err(Stop::Failed(format!("one made, {} in the receipt", sequenced.len())));
    };
    Ok((key.clone(), number(prefix, key)?))
}

async fn format(scene: &Scene<'_>) -> Result<(), Stop> {
    let mut nodes = [scene.node().await?, scene.node().await?];
    let mut last = None;
    for turn in 0..6 {
        let prefix = scene.key(["latch-", "x"][turn % 2]);
        let (key, number) = next(&mut nodes[turn % 2], &prefix).await?;
        ensure(last < Some(number), || format!("{number} after {last:?}"))?;
        last = Some(number);
        let entry = nodes[turn % 2].read(&key).await?;
        same("its session", &entry.session, &Some(nodes[turn % 2].session))?;
    }
    Ok(())
}

async fn across_deletes(scene: &Scene<'_>) -> Result<(), Stop> {
    let mut node = scene.node().await?;
    let prefix = scene.key("n-");
    let mut last = None;
    for _ in 0..5 {
        let (key, number) = next(&mut node, &prefix).await?;
        ensure(last < Some(number), || format!("{number} after {last:?}, which was deleted"))?;
        last = Some(number);
        node.remove(&key).await?;
    }
    Ok(())
}

async fn in_order(scene: &Scene<'_>) -> Result<(), Stop> {
    let mut node = scene.node().await?;
    let prefixes = [scene.key("b-"), scene.key("a-"), scene.key("b-")];
    let mut ops: Vec<Op> =
        prefixes.iter().map(|prefix| numbered(prefix.clone(), Lifetime::Lasting)).collect();
    ops.insert(1, Op::create(scene.key("plain"), ""));
    let receipt = node.client.commit(ops).await?;
    same("how many", &receipt.sequenced.len(), &prefixes.len())?;
    let mut last = None;
    for (prefix, key) in prefixes.iter().zip(&receipt.sequenced) {
        let number = number(prefix, key)?;
        ensure(last < Some(number), || format!("{number} after {last:?}"))?;
        last = Some(number);
        node.read(key).await?;
    }
    Ok(())
}

async fn concurrent(scene: &Scene<'_>) -> Result<(), Stop> {
    let prefix = scene.key("n-");
    let mut writers = Vec::new();
    for _ in 0..4 {
        let (mut node, prefix) = (scene.node().await?, prefix.clone());
        writers.push(tokio::spawn(async move {
            let mut given = Vec::new();
            for _ in 0..10 {
                given.push(next(&mut node, &prefix).await?.1);
                tokio::task::yield_now().await;
            }
            Ok::<_, Stop>(given)
        }));
    }
    let mut all = BTreeSet::new();
    for writer in writers {
        let given = writer.await.map_err(|error| Stop::Failed(error.to_string()))??;
        ensure(given.is_sorted(), || format!("one session was given {given:?}"))?;
        all.extend(given);
    }
    same("different numbers", &all.len(), &40)
}
