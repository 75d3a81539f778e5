//! What it takes to mirror many keys: the memory of one process that watches them and holds what
//! they hold. For measurements; a process of its own is to be started for it.

use crate::client::Client;
use crate::{Answer, Entry, Failure, Key, Lifetime, Op, Request, Scope, Ticket};
use std::collections::BTreeMap;

/// Keys of a mirror: so many that what else a process takes meanwhile is little beside them.
pub const MIRRORED: usize = 50_000;

/// Bytes of the value of each.
const VALUE_BYTES: usize = 100;

/// Requests under way at once.
const WINDOW: usize = 256;

/// Why there is no figure.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// A request was not answered as it should be.
    #[error("{0} was answered {1}")]
    Answered(Key, String),
    /// The memory of this process cannot be read.
    #[error("/proc/self/statm cannot be read")]
    NoMemory,
}

/// Makes [`MIRRORED`] keys under a new one.
///
/// # Errors
/// [`MirrorError::Answered`], if one is refused.
pub async fn make(client: &mut Client, under: &Key) -> Result<(), MirrorError> {
    let create = |key: Key, bytes: usize| Op::Create {
        key,
        value: vec![b'x'; bytes].into(),
        lifetime: Lifetime::Lasting,
        sequence: false,
    };
    commit(client, vec![create(under.clone(), 0)]).await?;
    let ops: Vec<Op> = keys(under).map(|key| create(key, VALUE_BYTES)).collect();
    for some in ops.chunks(client.registry().limits().max_ops.min(WINDOW)) {
        commit(client, some.to_vec()).await?;
    }
    Ok(())
}

/// Watches and reads them all, and gives the bytes that this process has grown by for each, beyond
/// its value: keys, stamps, watches, and whatever the connection keeps.
///
/// # Errors
/// [`MirrorError`].
pub async fn hold(client: &mut Client, under: &Key) -> Result<f64, MirrorError> {
    let before = resident()?;
    let mut mirror: BTreeMap<Key, Entry> = BTreeMap::new();
    let mut keys = keys(under).peekable();
    while keys.peek().is_some() {
        let some: Vec<Key> = keys.by_ref().take(WINDOW / 2).collect();
        let watches = some.iter().map(|key| Request::Watch(key.clone(), Scope::Value));
        let watched: Vec<Ticket> = watches.map(|watch| client.send(watch)).collect();
        let read: Vec<Ticket> =
            some.iter().map(|key| client.send(Request::Get(key.clone()))).collect();
        for (ticket, key) in watched.into_iter().zip(&some) {
            match client.answer(ticket).await {
                Answer::Done => {}
                other => return Err(answered(key, &other)),
            }
        }
        for (ticket, key) in read.into_iter().zip(some) {
            match client.answer(ticket).await {
                Answer::Entry(Some(entry)) => mirror.insert(key, entry),
                other => return Err(answered(&key, &other)),
            };
        }
    }
    let values: usize = mirror.values().map(|entry| entry.value.len()).sum();
    let grown = resident()?.saturating_sub(before);
    #[expect(clippy::cast_precision_loss, reason = "some megabytes")]
    Ok(grown.saturating_sub(values) as f64 / mirror.len() as f64)
}

fn keys(under: &Key) -> impl Iterator<Item = Key> {
    let at = move |n| Key::new(&format!("{under}/{n:05}")).expect("a key and digits make a key");
    (0..MIRRORED).map(at)
}

async fn commit(client: &mut Client, ops: Vec<Op>) -> Result<(), MirrorError> {
    let first = ops.first().map_or_else(Key::root, |op| op.key().clone());
    let refused = |why: String| MirrorError::Answered(first, why);
    client.commit(ops).await.map(drop).map_err(|error| refused(error.to_string()))
}

fn answered(key: &Key, answer: &Answer) -> MirrorError {
    let why = match answer {
        Answer::Failed(failure) => Failure::to_string(failure),
        other => format!("{other:?}"),
    };
    MirrorError::Answered(key.clone(), why)
}

/// Bytes of this process in memory.
fn resident() -> Result<usize, MirrorError> {
    let statm = std::fs::read_to_string("/proc/self/statm").map_err(|_| MirrorError::NoMemory)?;
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    Ok(pages.ok_or(MirrorError::NoMemory)? * 4096)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryRegistry;
    use std::time::Duration;

    #[tokio::test]
    async fn all_that_was_made_is_held() {
        let registry = MemoryRegistry::default();
        let join = || {
            let (registry, inbox) = registry.connect();
            Client::new(registry, inbox, Duration::from_secs(10))
        };
        let under = Key::new("/mirror").unwrap();
        make(&mut join(), &under).await.unwrap();
        let each = hold(&mut join(), &under).await.unwrap();
        assert!((1.0..10_000.0).contains(&each), "{each}");
        let none = hold(&mut join(), &Key::new("/none").unwrap()).await;
        assert!(matches!(none, Err(MirrorError::Answered(..))), "{none:?}");
    }
}
