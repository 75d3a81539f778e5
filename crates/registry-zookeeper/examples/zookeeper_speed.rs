//! How fast the registry is on a server, beside a bare loop of the same requests:
//! `cargo run --release -p flockwork-registry-zookeeper --example zookeeper_speed HOST:PORT`.
//!
//! Each line reads `figure NAME VALUE UNIT goal >= NUMBER` (or `<=`).

use flockwork_registry::client::Client;
use flockwork_registry::{Key, Op, Request, Scope};
use flockwork_registry_zookeeper::{Credentials, open_url};
use flockwork_trials::mirror;
use flockwork_trials::speed::{Done, PATIENCE, WINDOW, all, claims, events, figure, per_second};
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Commits of one claim each, in one run.
const CLAIMS: usize = 20_000;
/// Runs of each kind, in turn; the best counts, as the server warms up and others use the machine.
const RUNS: usize = 4;
/// Keys of the mirror.
const MIRRORED: usize = 10_000;

fn main() -> Done {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [server] => runtime.block_on(measure(server)),
        [server, root, "hold"] => {
            runtime.block_on(async { mirror::hold(&mut join(server, root).await?).await })
        }
        _ => Err("name a server: HOST:PORT".into()),
    }
}

fn key(text: &str) -> Key {
    Key::new(text).expect("keys of this program read /part/part")
}

async fn join(server: &str, root: &str) -> Done<Client> {
    let (registry, inbox) =
        open_url(&format!("zookeeper://{server}{root}"), &Credentials::default())?;
    let mut client = Client::new(registry, inbox, PATIENCE);
    client.session().await?;
    Ok(client)
}

async fn measure(server: &str) -> Done {
    let root = format!("/speed-{}", std::process::id());
    let mut client = join(server, &root).await?;
    client.commit(["/owner", "/event"].map(|text| Op::create(key(text), "me")).to_vec()).await?;
    let (mut ours, mut bare) = (0.0_f64, 0.0_f64);
    for run in 0..RUNS {
        let parents = [format!("/bare{run}"), format!("/ours{run}")];
        client.commit(parents.iter().map(|parent| Op::create(key(parent), "")).collect()).await?;
        bare = bare.max(loop_bare(server, &root, &parents[0]).await?);
        ours = ours.max(claims(&mut client, &parents[1], CLAIMS).await?);
    }
    figure("zookeeper_bare_commits", bare, "/s", "none")?;
    figure("zookeeper_commits", ours, "/s", "none")?;
    figure("zookeeper_commits_to_bare", ours / bare, "x", ">= 0.8")?;
    figure(
        "zookeeper_event_p99",
        events(&mut client, join(server, &root).await?).await?,
        "ms",
        "<= 5",
    )?;
    figure("zookeeper_mirror_read", reread(&mut client).await?, "s", "<= 1")?;
    mirror::measure(&mut client, "zookeeper_mirror_bytes_a_node", &[server, &root, "hold"]).await?;
    client.close().await;
    Ok(())
}

/// A packet with its length, of numbers and texts.
fn packet(parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&(body.len() as u32).to_be_bytes()[..], &body].concat()
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u32).to_be_bytes()[..], text.as_bytes()].concat()
}

/// The same requests, written by hand and read without a look at them.
async fn loop_bare(server: &str, root: &str, parent: &str) -> Done<f64> {
    let stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    let (from, mut to) = stream.into_split();
    let mut from = BufReader::with_capacity(64 * 1024, from);
    let hello = [0; 12].into_iter().chain(30_000_u32.to_be_bytes()).chain([0; 8]);
    let hello: Vec<u8> = hello.chain(16_u32.to_be_bytes()).chain([0; 17]).collect();
    to.write_all(&packet(&[&hello])).await?;
    skip(&mut from).await?;
    let (owner, began) = (text(&format!("{root}/owner")), Instant::now());
    let (mut sent, mut answered) = (0, 0);
    while answered < CLAIMS {
        let mut burst = Vec::new();
        while sent < CLAIMS && sent - answered < WINDOW {
            burst.extend(bare_claim(sent, &owner, &text(&format!("{root}{parent}/{sent}"))));
            sent += 1;
        }
        to.write_all(&burst).await?;
        skip(&mut from).await?;
        answered += 1;
        // What has arrived already is taken with it.
        while from.buffer().len() >= 4 && answered < sent {
            skip(&mut from).await?;
            answered += 1;
        }
    }
    Ok(per_second(CLAIMS, began))
}

fn bare_claim(xid: usize, owner: &[u8], running: &[u8]) -> Vec<u8> {
    let one = |code: u32| [&code.to_be_bytes()[..], &[0, 255, 255, 255, 255]].concat();
    let acl = [&[0, 0, 0, 1, 0, 0, 0, 31][..], &text("world"), &text("anyone")].concat();
    packet(&[
        &(xid as u32 + 1).to_be_bytes(),
        &14_u32.to_be_bytes(),
        &one(13),
        owner,
        &[255; 4],
        &one(1),
        running,
        &text("me"),
        &acl,
        &1_u32.to_be_bytes(),
        &[255, 255, 255, 255, 1, 255, 255, 255, 255],
    ])
}

async fn skip(from: &mut (impl AsyncReadExt + Unpin)) -> Done {
    let mut body = vec![0; from.read_u32().await? as usize];
    from.read_exact(&mut body).await?;
    Ok(())
}

/// Reads as many keys as a mirror holds, in seconds: what a resync costs, as a reconnect sets the
/// watches by itself.
async fn reread(client: &mut Client) -> Done<f64> {
    client.commit(vec![Op::create(key("/mirror"), "")]).await?;
    let keys: Vec<Key> = (0..MIRRORED).map(|n| key(&format!("/mirror/{n:05}"))).collect();
    for some in keys.chunks(WINDOW) {
        let make = some.iter().map(|key| Op::create(key.clone(), vec![b'x'; 100]));
        client.commit(make.collect()).await?;
        all(client, some.iter().map(|key| Request::Watch(key.clone(), Scope::Value))).await?;
    }
    let began = Instant::now();
    for some in keys.chunks(WINDOW) {
        all(client, some.iter().cloned().map(Request::Get)).await?;
    }
    Ok(began.elapsed().as_secs_f64())
}
