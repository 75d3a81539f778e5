//! What is too much is refused by name, and what is just not too much is taken.

use super::scene::{Node, ensure, same};
use super::{Case, Link, NotApplicable, Scene, Stop};
use crate::client::CommitError;
use crate::{Answer, Event, Failure, Op, Request, Ticket};
use tokio::time::timeout;

pub(super) const CASES: &[Case] = &[
    Case { name: "too_many_operations_are_refused_by_name", run: |s| Box::pin(operations(s)) },
    Case { name: "too_many_bytes_are_refused_by_name", run: |s| Box::pin(bytes(s)) },
    Case { name: "a_too_large_value_is_refused_by_name", run: |s| Box::pin(value(s)) },
    Case { name: "too_many_requests_under_way_are_refused", run: |s| Box::pin(in_flight(s)) },
];

/// More than this a test does not allocate; a registry that takes more has no limit worth trying.
const TRIED: usize = 16 * 1024 * 1024;

async fn too_large(node: &mut Node, ops: Vec<Op>, wanted: (usize, usize)) -> Result<(), Stop> {
    match node.client.commit(ops).await {
        Err(CommitError::Failed(Failure::TooLarge { what, actual, limit })) => {
            ensure(!what.is_empty(), || "the limit has no name".to_owned())?;
            same("actual and limit", &(actual, limit), &wanted)
        }
        other => Err(Stop::Failed(format!("{wanted:?} was answered {other:?}"))),
    }
}

async fn operations(scene: &Scene<'_>) -> Result<(), Stop> {
    let mut node = scene.node().await?;
    let limit = node.client.registry().limits().max_ops;
    let mut ops = vec![Op::Check(scene.key(""), None); limit.saturating_sub(1)];
    ops.push(Op::create(scene.key("last"), ""));
    let bytes: usize = ops.iter().map(Op::bytes).sum();
    if bytes > node.client.registry().limits().max_bytes {
        return Err(NotApplicable("so many operations are too many bytes".to_owned()).into());
    }
    let mut above = ops.clone();
    above.insert(0, Op::Check(scene.key(""), None));
    too_large(&mut node, above, (limit + 1, limit)).await?;
    same("it exists", &node.exists(&scene.key("last")).await?, &false)?;
    node.client.commit(ops).await?;
    Ok(())
}

async fn bytes(scene: &Scene<'_>) -> Result<(), Stop> {
    let mut node = scene.node().await?;
    let limits = node.client.registry().limits();
    if limits.max_bytes > TRIED {
        return Err(NotApplicable(format!("more than {TRIED} bytes are taken")).into());
    }
    let fits = |left: usize| limits.max_value.min(left);
    let (mut ops, mut left) = (Vec::new(), limits.max_bytes);
    while left > 0 {
        let key = scene.key(&format!("{:06}", ops.len()));
        let overhead = Op::create(key.clone(), "").bytes();
        if left < overhead {
            break;
        }
        ops.push(Op::create(key, vec![b'x'; fits(left - overhead)]));
        left -= ops.last().map_or(0, Op::bytes);
    }
    let full: usize = ops.iter().map(Op::bytes).sum();
    if ops.len() >= limits.max_ops {
        return Err(NotApplicable("so many bytes are too many operations".to_owned()).into());
    }
    let more = Op::Check(scene.key(""), None);
    let above = full + more.bytes();
    let mut too_many = ops.clone();
    too_many.push(more);
    too_large(&mut node, too_many, (above, limits.max_bytes)).await?;
    same("it exists", &node.exists(&scene.key("000000")).await?, &false)?;
    node.client.commit(ops).await?;
    Ok(())
}

async fn value(scene: &Scene<'_>) -> Result<(), Stop> {
    let mut node = scene.node().await?;
    let limit = node.client.registry().limits().max_value;
    if limit > TRIED {
        return Err(NotApplicable(format!("values above {TRIED} bytes are taken")).into());
    }
    let key = scene.key("key");
    let of = |size: usize| vec![Op::create(key.clone(), vec![b'x'; size])];
    too_large(&mut node, of(limit + 1), (limit + 1, limit)).await?;
    same("it exists", &node.exists(&key).await?, &false)?;
    node.client.commit(of(limit)).await?;
    same("its size", &node.read(&key).await?.value.len(), &limit)?;
    let set = vec![Op::Set(key.clone(), vec![b'x'; limit + 1].into(), None)];
    too_large(&mut node, set, (limit + 1, limit)).await
}

async fn in_flight(scene: &Scene<'_>) -> Result<(), Stop> {
    let Link { registry, mut inbox, control } = scene.link().await;
    control.hold_answers().await?;
    let limit = registry.limits().max_in_flight as u64;
    for n in 0..=limit {
        registry.submit(Ticket(n), Request::Get(scene.key("")));
    }
    let (mut taken, mut refused) = (0, 0);
    while taken + refused <= limit {
        match timeout(scene.patience(), inbox.recv()).await {
            Ok(Some(Event::Answer(ticket, Answer::Failed(Failure::NotSent(_))))) => {
                same("which was refused", &ticket, &Ticket(limit))?;
                refused += 1;
                control.release_answers().await?;
            }
            Ok(Some(Event::Answer(_, Answer::Entry(Some(_))))) => taken += 1,
            Ok(Some(Event::Answer(_, other))) => {
                return Err(Stop::Failed(format!("answered {other:?}")));
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => break,
        }
    }
    same("taken and refused", &(taken, refused), &(limit, 1))
}
