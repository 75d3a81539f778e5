//! Reads may be old, but never go back, and what matters is checked in the commit.

use super::scene::{Node, ensure, same, tells};
use super::{Case, Scene, Stop};
use crate::{Key, Op, Scope, Why};
use bytes::Bytes;

pub(super) const CASES: &[Case] = &[
    Case { name: "own_commits_are_read_back", run: |s| Box::pin(own(s)) },
    Case { name: "reads_never_go_back", run: |s| Box::pin(monotone(s)) },
    Case { name: "lagging_reads_never_go_back", run: |s| Box::pin(lagging(s)) },
    Case { name: "children_and_entries_are_read_of_one_time", run: |s| Box::pin(one_time(s)) },
    Case { name: "a_stale_read_is_refused_in_the_commit", run: |s| Box::pin(stale(s)) },
    Case { name: "a_lagging_node_is_told_before_its_commits_answer", run: |s| Box::pin(told(s)) },
];

/// How many commits a read may be behind where the fixture can make it so.
const LAG: u64 = 5;

async fn own(scene: &Scene<'_>) -> Result<(), Stop> {
    let mut node = scene.node().await?;
    let key = scene.key("key");
    node.make(&key, "0").await?;
    for n in 1..20 {
        let value = n.to_string();
        node.put(&key, &value).await?;
        same("its value", &node.read(&key).await?.value, &Bytes::from(value))?;
    }
    node.remove(&key).await?;
    same("it exists", &node.exists(&key).await?, &false)
}

async fn number(node: &mut Node, key: &Key) -> Result<u64, Stop> {
    let value = node.read(key).await?.value;
    let text = String::from_utf8_lossy(&value).into_owned();
    text.parse().map_err(|_| Stop::Failed(format!("{key} holds {text:?}, no number")))
}

/// One counts up while the other reads; says how far a read was behind.
async fn watch_it_grow(
    reader: &mut Node,
    writer: &mut Node,
    scene: &Scene<'_>,
) -> Result<u64, Stop> {
    let key = scene.key("number");
    let (mut last, mut behind) = (0, 0);
    for n in 1..60_u64 {
        writer.put(&key, &n.to_string()).await?;
        let read = number(reader, &key).await?;
        ensure(read >= last, || format!("read {read} after {last}"))?;
        behind = behind.max(n - read);
        last = read;
    }
    reader.put(&scene.key(""), "").await?;
    same("after a commit of one's own", &number(reader, &key).await?, &59)?;
    Ok(behind)
}

async fn monotone(scene: &Scene<'_>) -> Result<(), Stop> {
    let (mut reader, mut writer) = (scene.node().await?, scene.node().await?);
    writer.make(&scene.key("number"), "0").await?;
    reader.put(&scene.key(""), "").await?;
    watch_it_grow(&mut reader, &mut writer, scene).await.map(|_| ())
}

async fn lagging(scene: &Scene<'_>) -> Result<(), Stop> {
    let (mut reader, mut writer) = (scene.node().await?, scene.node().await?);
    writer.make(&scene.key("number"), "0").await?;
    reader.put(&scene.key(""), "").await?;
    reader.control.lag(LAG).await?;
    let behind = watch_it_grow(&mut reader, &mut writer, scene).await?;
    ensure(behind > 0, || "no read lagged: nothing was tried".to_owned())
}

/// Both entries of a commit are seen or neither: a read that saw one is not followed by one that
/// misses the other.
async fn one_time(scene: &Scene<'_>) -> Result<(), Stop> {
    let (mut reader, mut writer) = (scene.node().await?, scene.node().await?);
    match reader.control.lag(LAG).await {
        Ok(()) | Err(super::NotApplicable(_)) => {}
    }
    reader.put(&scene.key(""), "").await?;
    for n in 0..30 {
        let (one, two) = (scene.key(&format!("one{n}")), scene.key(&format!("two{n}")));
        let both = vec![Op::create(one.clone(), ""), Op::create(two.clone(), "")];
        writer.client.commit(both).await?;
        let names = reader.client.children(&scene.key("")).await?.unwrap_or_default();
        for name in names {
            let pair = match name.split_at(3) {
                ("one", n) => format!("two{n}"),
                (_, n) => format!("one{n}"),
            };
            let there = reader.exists(&scene.key(&pair)).await?;
            ensure(there, || format!("{name} was listed, then {pair} did not exist"))?;
        }
    }
    Ok(())
}

async fn stale(scene: &Scene<'_>) -> Result<(), Stop> {
    let (mut node, mut other) = (scene.node().await?, scene.node().await?);
    let key = scene.key("key");
    other.make(&key, "0").await?;
    node.put(&scene.key(""), "").await?;
    node.control.lag(LAG).await?;
    other.put(&key, "1").await?;
    let read = node.read(&key).await?;
    same("the stale value", &read.value, &Bytes::from("0"))?;
    let set = vec![Op::Set(key.clone(), "mine".into(), Some(read.stamp))];
    same("why", &node.refused(set).await?.why, &Why::Changed)?;
    node.put(&scene.key(""), "").await?;
    same("then it reads", &node.read(&key).await?.value, &Bytes::from("1"))
}

async fn told(scene: &Scene<'_>) -> Result<(), Stop> {
    let (mut node, mut other) = (scene.node().await?, scene.node().await?);
    let (key, own) = (scene.key("key"), scene.key("own"));
    node.make(&own, "").await?;
    node.client.watch(&key, Scope::Value).await?;
    node.control.lag(LAG).await?;
    other.make(&key, "").await?;
    let told = node.told_until_commit(&own).await?;
    ensure(tells(&told, &key, Scope::Value), || format!("told {told:?}"))?;
    same("it exists", &node.exists(&key).await?, &true)
}
