//! The rules of the tree.

use super::scene::same;
use super::{Case, Scene, Stop};
use crate::{Op, Why};
use bytes::Bytes;

pub(super) const CASES: &[Case] = &[
    Case { name: "a_parent_must_exist", run: |s| Box::pin(parent(s)) },
    Case { name: "a_key_with_children_is_not_deleted", run: |s| Box::pin(not_empty(s)) },
    Case { name: "a_session_entry_has_no_children", run: |s| Box::pin(session_parent(s)) },
    Case { name: "absence_is_an_answer", run: |s| Box::pin(absence(s)) },
    Case { name: "children_are_direct_and_ascending", run: |s| Box::pin(children(s)) },
    Case { name: "values_and_names_are_kept_to_the_byte", run: |s| Box::pin(bytes(s)) },
];

async fn parent(scene: &Scene<'_>) -> Result<(), Stop> {
    let mut node = scene.node().await?;
    for lost in ["a/b", "a/b/c"] {
        let refusal = node.refused(vec![Op::create(scene.key(lost), "")]).await?;
        same("why", &refusal.why, &Why::NoParent)?;
    }
    let late = vec![Op::create(scene.key("a/b"), ""), Op::create(scene.key("a"), "")];
    same("why", &node.refused(late).await?.why, &Why::NoParent)?;
    let order = vec![Op::create(scene.key("a"), ""), Op::create(scene.key("a/b"), "")];
    node.client.commit(order).await?;
    Ok(())
}

async fn not_empty(scene: &Scene<'_>) -> Result<(), Stop> {
    let mut node = scene.node().await?;
    let (above, below) = (scene.key("above"), scene.key("above/below"));
    node.make(&above, "").await?;
    node.client.commit(vec![Op::create_for_session(below.clone(), "")]).await?;
    let refusal = node.refused(vec![Op::Delete(above.clone(), None)]).await?;
    same("why", &refusal.why, &Why::NotEmpty)?;
    let both = vec![Op::Delete(below, None), Op::Delete(above.clone(), None)];
    node.client.commit(both).await?;
    same("it exists", &node.exists(&above).await?, &false)
}

async fn session_parent(scene: &Scene<'_>) -> Result<(), Stop> {
    let mut node = scene.node().await?;
    let (above, below) = (scene.key("above"), scene.key("above/below"));
    node.client.commit(vec![Op::create_for_session(above, "")]).await?;
    let refusal = node.refused(vec![Op::create(below, "")]).await?;
    same("why", &refusal.why, &Why::SessionParent)
}

async fn absence(scene: &Scene<'_>) -> Result<(), Stop> {
    let mut node = scene.node().await?;
    let (absent, empty) = (scene.key("absent"), scene.key("empty"));
    node.make(&empty, "").await?;
    same("the entry", &node.client.get(&absent).await?, &None)?;
    same("the children of nothing", &node.client.children(&absent).await?, &None)?;
    same("no children", &node.client.children(&empty).await?, &Some(vec![]))
}

/// `a-b` sorts between `a` and what is below `a` in every order of whole paths but the right one.
async fn children(scene: &Scene<'_>) -> Result<(), Stop> {
    let mut node = scene.node().await?;
    let tails = ["b", "a", "a/b", "a-b", "a/b/c", "10", "9", "é", "a!"];
    node.client.commit(tails.iter().map(|tail| Op::create(scene.key(tail), "")).collect()).await?;
    let names = ["10", "9", "a", "a!", "a-b", "b", "é"].map(str::to_owned).to_vec();
    same("the children", &node.client.children(&scene.key("")).await?, &Some(names))?;
    let names = node.client.children(&scene.key("a")).await?;
    same("the children of a", &names, &Some(vec!["b".to_owned()]))
}

async fn bytes(scene: &Scene<'_>) -> Result<(), Stop> {
    let (mut writes, mut reads) = (scene.node().await?, scene.node().await?);
    let every: Vec<u8> = (0..=255).collect();
    let table = [
        ("空 job", Bytes::new()),
        ("10.0.0.1@-@4711", Bytes::from(every)),
        ("%_'\"\\", Bytes::from_static(b"\0\0")),
    ];
    for (name, value) in table {
        let key = scene.key(name);
        writes.client.commit(vec![Op::create(key.clone(), value.clone())]).await?;
        reads.put(&scene.key(""), "").await?;
        same(name, &reads.read(&key).await?.value, &value)?;
    }
    Ok(())
}
