//! What it takes to mirror many keys: the memory of one process that watches them and holds what
//! they hold. For measurements; a process of its own is to be started for it.

use crate::speed::{Done, WINDOW, all, figure};
use flockwork_registry::client::Client;
use flockwork_registry::{Answer, Entry, Key, Op, Request, Scope, Ticket};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::Command;

/// Above the keys.
const UNDER: &str = "/held";

/// Keys of a mirror: so many that what else a process takes meanwhile is little beside them.
const MIRRORED: usize = 50_000;

/// Bytes of the value of each.
const VALUE_BYTES: usize = 100;

/// Makes the keys, and prints what this program, started with these arguments to
/// [`hold`] them, needs for each.
///
/// # Errors
/// If the registry refuses something, or the program fails.
pub async fn measure(client: &mut Client, name: &str, arguments: &[&str]) -> Done {
    client.commit(vec![Op::create(crate::key(UNDER), "")]).await?;
    let ops: Vec<Op> = keys().map(|key| Op::create(key, vec![b'x'; VALUE_BYTES])).collect();
    for some in ops.chunks(WINDOW.min(client.registry().limits().max_ops)) {
        client.commit(some.to_vec()).await?;
    }
    let held = Command::new(std::env::current_exe()?).args(arguments).output()?;
    let bytes = String::from_utf8(held.stdout)?.trim().parse()?;
    Ok(figure(name, bytes, "bytes", "<= 400")?)
}

/// Watches and reads them all, and prints by how many bytes this process has grown for each, beyond
/// its value: keys, stamps, watches, and whatever the connection keeps.
///
/// # Errors
/// If a request is not answered as it should be.
pub async fn hold(client: &mut Client) -> Done {
    writeln!(io::stdout(), "{}", held(client).await?).map_err(Into::into)
}

async fn held(client: &mut Client) -> Done<f64> {
    let before = resident()?;
    let mut mirror: BTreeMap<Key, Entry> = BTreeMap::new();
    let keys: Vec<Key> = keys().collect();
    for some in keys.chunks(WINDOW) {
        all(client, some.iter().map(|key| Request::Watch(key.clone(), Scope::Value))).await?;
        let read: Vec<Ticket> =
            some.iter().map(|key| client.send(Request::Get(key.clone()))).collect();
        for (ticket, key) in read.into_iter().zip(some) {
            match client.answer(ticket).await {
                Answer::Entry(Some(entry)) => mirror.insert(Key::new(key.as_str())?, entry),
                other => return Err(format!("{key} was answered {other:?}").into()),
            };
        }
    }
    drop(keys);
    let values: usize = mirror.values().map(|entry| entry.value.len()).sum();
    let grown = resident()?.saturating_sub(before);
    Ok(grown.saturating_sub(values) as f64 / mirror.len() as f64)
}

fn keys() -> impl Iterator<Item = Key> {
    (0..MIRRORED).map(|n| crate::key(&format!("{UNDER}/{n:05}")))
}

/// Bytes of this process in memory.
fn resident() -> Done<usize> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages = statm.split(' ').nth(1).ok_or("/proc/self/statm reads otherwise")?;
    Ok(pages.parse::<usize>()? * 4096)
}
