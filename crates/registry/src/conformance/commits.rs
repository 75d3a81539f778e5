//! All or nothing, in one order.

use super::scene::{Node, ensure, same};
use super::{Case, Link, Scene, Stop};
use crate::client::CommitError;
use crate::{Answer, Event, Index, Key, Op, Receipt, Request, Ticket, Why};
use bytes::Bytes;
use tokio::time::timeout;

pub(super) const CASES: &[Case] = &[
    Case { name: "commits_are_all_or_nothing", run: |s| Box::pin(all_or_nothing(s)) },
    Case {
        name: "a_refused_commit_names_its_first_refused_operation",
        run: |s| Box::pin(named(s)),
    },
    Case { name: "operations_see_those_before_them", run: |s| Box::pin(in_sequence(s)) },
    Case { name: "a_commit_that_only_checks_has_index_zero", run: |s| Box::pin(only_checks(s)) },
    Case { name: "concurrent_writers_lose_no_update", run: |s| Box::pin(no_lost_update(s)) },
    Case { name: "of_concurrent_creators_one_wins", run: |s| Box::pin(one_creator(s)) },
    Case { name: "pipelined_commits_take_effect_in_order", run: |s| Box::pin(pipelined(s)) },
    Case { name: "answers_come_in_the_order_of_requests", run: |s| Box::pin(answers_in_order(s)) },
];

async fn all_or_nothing(scene: &Scene<'_>) -> Result<(), Stop> {
    let mut node = scene.node().await?;
    let (kept, gone, made) = (scene.key("kept"), scene.key("gone"), scene.key("made"));
    node.make(&kept, "old").await?;
    node.make(&gone, "old").await?;
    let before = (node.read(&kept).await?, node.read(&gone).await?);
    let doomed = vec![
        Op::create(made.clone(), ""),
        Op::Set(kept.clone(), "new".into(), None),
        Op::Delete(gone.clone(), None),
        Op::create(scene.key("no/parent"), ""),
    ];
    node.refused(doomed).await?;
    same("the first operation's entry exists", &node.exists(&made).await?, &false)?;
    same("the others", &(node.read(&kept).await?, node.read(&gone).await?), &before)?;
    let names = node.client.children(&scene.key("")).await?;
    same("the names", &names, &Some(vec!["gone".to_owned(), "kept".to_owned()]))
}

async fn named(scene: &Scene<'_>) -> Result<(), Stop> {
    let mut node = scene.node().await?;
    let (here, absent) = (scene.key("here"), scene.key("absent"));
    node.make(&here, "").await?;
    let old = node.read(&here).await?.stamp;
    node.put(&here, "").await?;
    let table = [
        (Op::create(here.clone(), ""), Why::Exists),
        (Op::CheckAbsent(here.clone()), Why::Exists),
        (Op::Check(absent.clone(), None), Why::Absent),
        (Op::Set(absent.clone(), Bytes::new(), None), Why::Absent),
        (Op::Delete(absent.clone(), None), Why::Absent),
        (Op::Check(here.clone(), Some(old)), Why::Changed),
        (Op::create(scene.key("absent/below"), ""), Why::NoParent),
        (Op::Delete(scene.key(""), None), Why::NotEmpty),
    ];
    for (refused, why) in table {
        let fine = || Op::Check(here.clone(), None);
        let key = refused.key().clone();
        let also_refused = Op::CheckAbsent(here.clone());
        let refusal = node.refused(vec![fine(), fine(), refused, also_refused]).await?;
        same("the refusal", &(refusal.at, &refusal.key, refusal.why), &(2, &key, why))?;
    }
    Ok(())
}

async fn in_sequence(scene: &Scene<'_>) -> Result<(), Stop> {
    let mut node = scene.node().await?;
    let (above, below) = (scene.key("above"), scene.key("above/below"));
    let ops = vec![
        Op::CheckAbsent(above.clone()),
        Op::create(above.clone(), "1"),
        Op::create(below.clone(), "1"),
        Op::Set(below.clone(), "2".into(), None),
        Op::Delete(below.clone(), None),
        Op::CheckAbsent(below.clone()),
        Op::create(below.clone(), "3"),
        Op::Check(below.clone(), None),
    ];
    node.client.commit(ops).await?;
    same("the value left", &node.read(&below).await?.value, &Bytes::from("3"))
}

async fn only_checks(scene: &Scene<'_>) -> Result<(), Stop> {
    let mut node = scene.node().await?;
    let here = scene.key("");
    let before = node.read(&here).await?;
    let checks = vec![Op::Check(here.clone(), Some(before.stamp))];
    let receipt = node.client.commit(checks).await?;
    same("the receipt", &receipt, &Receipt::default())?;
    same("the entry", &node.read(&here).await?, &before)
}

/// Adds one to a number, again and again until the stamp held.
async fn increment(node: &mut Node, key: &Key) -> Result<Index, Stop> {
    for _ in 0..10_000 {
        let entry = node.read(key).await?;
        let number: u64 = String::from_utf8_lossy(&entry.value).parse().unwrap_or(0);
        let next = Bytes::from((number + 1).to_string());
        match node.client.commit(vec![Op::Set(key.clone(), next, Some(entry.stamp))]).await {
            Ok(receipt) => return Ok(receipt.index),
            Err(CommitError::Refused(refusal)) if refusal.why == Why::Changed => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Stop::Failed("refused ten thousand times in a row".to_owned()))
}

async fn no_lost_update(scene: &Scene<'_>) -> Result<(), Stop> {
    const WRITERS: usize = 4;
    const EACH: usize = 25;
    let key = scene.key("number");
    scene.node().await?.make(&key, "0").await?;
    let mut writers = Vec::new();
    for _ in 0..WRITERS {
        let (mut node, key) = (scene.node().await?, key.clone());
        writers.push(tokio::spawn(async move {
            for _ in 0..EACH {
                increment(&mut node, &key).await?;
                // Others get their turn also where every answer is there at once.
                tokio::task::yield_now().await;
            }
            Ok::<(), Stop>(())
        }));
    }
    // Two writers in lockstep besides: each reads before the other writes.
    let (mut one, mut two) = (scene.node().await?, scene.node().await?);
    let read = one.read(&key).await?;
    increment(&mut two, &key).await?;
    let stale = vec![Op::Set(key.clone(), "0".into(), Some(read.stamp))];
    same("a stale write", &one.refused(stale).await?.why, &Why::Changed)?;
    for writer in writers {
        writer.await.map_err(|error| Stop::Failed(error.to_string()))??;
    }
    one.put(&scene.key(""), "").await?;
    let sum = one.read(&key).await?.value;
    same("the sum", &sum, &Bytes::from((WRITERS * EACH + 1).to_string()))
}

async fn one_creator(scene: &Scene<'_>) -> Result<(), Stop> {
    let mut nodes = Vec::new();
    for _ in 0..5 {
        nodes.push(scene.node().await?);
    }
    let key = scene.key("once");
    let create = || Request::Commit(vec![Op::create_for_session(key.clone(), "")]);
    let sent: Vec<Ticket> = nodes.iter_mut().map(|node| node.client.send(create())).collect();
    let mut winners = Vec::new();
    for (node, ticket) in nodes.iter_mut().zip(sent) {
        match node.client.answer(ticket).await {
            Answer::Committed(_) => winners.push(node.session),
            Answer::Refused(refusal) => same("the refusal", &refusal.why, &Why::Exists)?,
            other => return Err(Stop::Failed(format!("answered {other:?}"))),
        }
    }
    let owner: Vec<_> = nodes[0].read(&key).await?.session.into_iter().collect();
    ensure(winners.len() == 1, || format!("{} won", winners.len()))?;
    same("the owner", &owner, &winners)
}

async fn pipelined(scene: &Scene<'_>) -> Result<(), Stop> {
    let mut node = scene.node().await?;
    let key = scene.key("key");
    let mut sent = vec![node.client.send(Request::Commit(vec![Op::create(key.clone(), "0")]))];
    for n in 1..=30 {
        let set = Op::Set(key.clone(), n.to_string().into(), None);
        sent.push(node.client.send(Request::Commit(vec![set])));
    }
    let read = node.client.send(Request::Get(key.clone()));
    sent.push(node.client.send(Request::Commit(vec![Op::Delete(key.clone(), None)])));
    let mut last = Index(0);
    for ticket in sent {
        let Answer::Committed(receipt) = node.client.answer(ticket).await else {
            return Err(Stop::Failed("a pipelined commit was not made".to_owned()));
        };
        ensure(receipt.index > last, || format!("{:?} after {last:?}", receipt.index))?;
        last = receipt.index;
    }
    match node.client.answer(read).await {
        Answer::Entry(Some(entry)) => same("the read between", &entry.value, &Bytes::from("30")),
        other => Err(Stop::Failed(format!("the read between: {other:?}"))),
    }
}

async fn answers_in_order(scene: &Scene<'_>) -> Result<(), Stop> {
    const REQUESTS: u64 = 40;
    let Link { registry, mut inbox, control: _control } = scene.link().await;
    let mut tickets = Vec::new();
    for n in 0..REQUESTS {
        let key = scene.key(&format!("n{n}"));
        registry.submit(
            Ticket(n),
            match n % 3 {
                0 => Request::Get(key),
                1 => Request::Commit(vec![Op::create(key, "")]),
                _ => Request::Children(scene.key("")),
            },
        );
    }
    while tickets.len() < 40 {
        match timeout(scene.patience(), inbox.recv()).await {
            Ok(Some(Event::Answer(ticket, _))) => tickets.push(ticket),
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => break,
        }
    }
    same("the tickets", &tickets, &(0..REQUESTS).map(Ticket).collect())
}
