//! Real processes over one directory, stopped, continued and killed, and a disk that fills up.

mod disk;
mod kill;
mod peer;
mod stop;

use flockwork_registry::client::Client;
use flockwork_registry::{Key, Op};
use flockwork_registry_embedded::{Embedded, Options};
use peer::{PATIENCE, TIMEOUT};
use std::path::Path;

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
    ops.extend(names.iter().map(|name| Op::create(key(&format!("/count/{name}")), "")));
    client.commit(ops).await.expect("nothing is there yet");
}

/// The numbers that a peer's lines say were committed.
fn acknowledged(lines: &[String]) -> Vec<u64> {
    let number = |line: &String| line.strip_prefix("ack ")?.parse().ok();
    lines.iter().filter_map(number).collect()
}
