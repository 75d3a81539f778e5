//! Real processes over one directory, stopped, continued and killed, and a disk that fills up.
//!
//! Each fault has a few rounds; `FLOCKWORK_ROUNDS` asks for more. Each test prints what it met.

#![expect(clippy::print_stdout, reason = "each test prints what it met")]

mod account;
mod clock;
mod disk;
mod kill;
mod linear;
mod moved;
mod peer;
mod power;
mod releases;
mod standstill;
mod stop;

use flockwork_registry::client::Client;
use flockwork_registry::{Key, Op};
use flockwork_registry_embedded::{Embedded, Options};
use peer::{PATIENCE, TIMEOUT};
use std::path::Path;

/// Rounds of a fault: these, or as many as `FLOCKWORK_ROUNDS` asks for.
fn rounds(few: usize) -> usize {
    let asked = std::env::var("FLOCKWORK_ROUNDS").ok();
    asked.map_or(few, |text| text.parse().expect("FLOCKWORK_ROUNDS is a number"))
}

fn key(text: &str) -> Key {
    Key::new(text).expect("a key of these tests reads /part/part")
}

/// A connection of the test itself.
fn join(dir: &Path) -> Client {
    let options = Options { session_timeout: TIMEOUT, ..Options::default() };
    let (registry, inbox) = Embedded::open(dir, &options).expect("the directory is fit");
    Client::new(registry, inbox, PATIENCE)
}

/// Makes what the peers' load needs.
async fn prepare(client: &mut Client, names: &[&str]) {
    let mut ops = vec![Op::create(key("/load"), ""), Op::create(key("/count"), "")];
    for above in ["load", "count"] {
        let made = names.iter().map(|name| key(&format!("/{above}/{name}")));
        ops.extend(made.map(|key| Op::create(key, "")));
    }
    client.commit(ops).await.expect("nothing is there yet");
}

/// The numbers that a peer's lines say were committed.
fn acknowledged(lines: &[String]) -> Vec<u64> {
    let number = |line: &String| line.strip_prefix("ack ")?.parse().ok();
    lines.iter().filter_map(number).collect()
}
