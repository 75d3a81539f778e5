//! Large trees.

use super::scene::{Node, same};
use super::{Case, Scene, Stop};
use crate::{Answer, Key, Op, Request};

pub(super) const CASES: &[Case] = &[
    Case { name: "ten_thousand_children_are_listed_whole", run: |s| Box::pin(wide(s)) },
    Case { name: "a_deep_key_is_kept", run: |s| Box::pin(deep(s)) },
];

/// Sends commits in batches that every limit takes, a few at a time, and waits for all.
async fn pour(node: &mut Node, ops: Vec<Op>) -> Result<(), Stop> {
    let limits = node.client.registry().limits();
    let largest = ops.iter().map(Op::bytes).max().unwrap_or(1);
    let batch = limits.max_ops.min(limits.max_bytes / largest).clamp(1, 500);
    let under_way = limits.max_in_flight.clamp(1, 8);
    let batches: Vec<Vec<Op>> = ops.chunks(batch).map(<[Op]>::to_vec).collect();
    for wave in batches.chunks(under_way) {
        let send = |ops: &Vec<Op>| node.client.send(Request::Commit(ops.clone()));
        let sent: Vec<_> = wave.iter().map(send).collect();
        for ticket in sent {
            match node.client.answer(ticket).await {
                Answer::Committed(_) => {}
                other => return Err(Stop::Failed(format!("a batch was answered {other:?}"))),
            }
        }
    }
    Ok(())
}

async fn wide(scene: &Scene<'_>) -> Result<(), Stop> {
    let (mut node, mut other) = (scene.node().await?, scene.node().await?);
    let name = |n: u32| format!("child-{n:05}");
    let key = |n: u32| -> Key { scene.key(&name(n)) };
    pour(&mut node, (0..10_000).map(|n| Op::create(key(n), "v")).collect()).await?;
    node.remove(&key(1234)).await?;
    other.put(&scene.key(""), "").await?;
    let names = other.client.children(&scene.key("")).await?;
    let all: Vec<String> = (0..10_000).filter(|n| *n != 1234).map(name).collect();
    same("how many", &names.as_ref().map(Vec::len), &Some(9_999))?;
    same("all", &names, &Some(all))?;
    let rest = (0..10_000).filter(|n| *n != 1234).map(|n| Op::Delete(key(n), None));
    pour(&mut node, rest.collect()).await?;
    same("none", &node.client.children(&scene.key("")).await?, &Some(vec![]))
}

async fn deep(scene: &Scene<'_>) -> Result<(), Stop> {
    let mut node = scene.node().await?;
    let mut tail = "d".to_owned();
    let mut ops = Vec::new();
    for _ in 0..50 {
        ops.push(Op::create(scene.key(&tail), tail.clone()));
        tail.push_str("/d");
    }
    let last = ops.last().map(|op| op.key().clone()).unwrap_or_else(|| scene.key(""));
    pour(&mut node, ops).await?;
    let names = node.client.children(&last.parent().unwrap_or_else(Key::root)).await?;
    same("the last but one's child", &names, &Some(vec!["d".to_owned()]))?;
    same("the last one's value", &node.read(&last).await?.value.len(), &99)
}
