//! How fast the registry is on a server, beside a bare loop of the same requests:
//! `cargo run --release -p flockwork-registry-etcd --example etcd_speed HOST:PORT`.
//!
//! Each line reads `figure NAME VALUE UNIT goal >= NUMBER` (or `<=`).

use flockwork_registry::client::Client;
use flockwork_registry::{Event, Key, Op, Request, Scope};
use flockwork_registry_etcd::{Credentials, open_url};
use flockwork_trials::mirror;
use flockwork_trials::speed::{Done, PATIENCE, WINDOW, all, claims, events, figure, per_second};
use futures_util::stream::{FuturesUnordered, StreamExt};
use http::uri::PathAndQuery;
use std::net::SocketAddr;
use std::time::Instant;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

#[path = "../src/wire.rs"]
#[allow(dead_code, reason = "the bare loop says a few of these messages")]
mod wire;

/// Commits of one claim each, in one run.
const CLAIMS: usize = 8_000;
/// Runs of each kind, in turn; the best counts, as the server warms up and others use the machine.
const RUNS: usize = 3;
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
        open_url(&format!("etcd://{server}{root}?session_timeout=10s"), &Credentials::default())?;
    let mut client = Client::new(registry, inbox, PATIENCE);
    client.session().await?;
    Ok(client)
}

async fn measure(server: &str) -> Done {
    let root = format!("/speed-{}", std::process::id());
    let mut client = join(server, &root).await?;
    client.commit(["/owner", "/event"].map(|text| Op::create(key(text), "me")).to_vec()).await?;
    figure("etcd_event_p99", events(&mut client, join(server, &root).await?).await?, "ms", "<= 5")?;
    let (mut ours, mut bare) = (0.0_f64, 0.0_f64);
    for run in 0..RUNS {
        let parent = format!("/ours{run}");
        client.commit(vec![Op::create(key(&parent), "")]).await?;
        bare = bare.max(Bare::open(server).await?.claim(&format!("/bare{root}/{run}")).await?);
        ours = ours.max(claims(&mut client, &parent, CLAIMS).await?);
    }
    figure("etcd_bare_commits", bare, "/s", "none")?;
    figure("etcd_commits", ours, "/s", "none")?;
    figure("etcd_commits_to_bare", ours / bare, "x", ">= 0.6")?;
    figure("etcd_resync", resync(server, &root).await?, "s", "<= 1")?;
    mirror::measure(&mut client, "etcd_mirror_bytes_a_node", &[server, &root, "hold"]).await?;
    client.close().await;
    Ok(())
}

/// The same requests, one transaction each, in no order.
struct Bare {
    grpc: Grpc<Channel>,
    lease: i64,
}

impl Bare {
    async fn open(server: &str) -> Done<Self> {
        let endpoint = Endpoint::from_shared(format!("http://{server}"))?.tcp_nodelay(true);
        let grpc = Grpc::new(endpoint.connect().await?);
        let mut bare = Self { grpc, lease: 0 };
        let granted: wire::Granted =
            bare.ask("/etcdserverpb.Lease/LeaseGrant", wire::Grant { ttl: 60 }).await?;
        bare.lease = granted.lease;
        Ok(bare)
    }

    async fn ask<Q, A>(&self, path: &'static str, question: Q) -> Done<A>
    where
        Q: prost::Message + Default + 'static,
        A: prost::Message + Default + 'static,
    {
        let mut grpc = self.grpc.clone();
        grpc.ready().await?;
        let (path, codec) = (PathAndQuery::from_static(path), ProstCodec::<Q, A>::default());
        Ok(grpc.unary(tonic::Request::new(question), path, codec).await?.into_inner())
    }

    /// The owner and the parent are there, the claim is not.
    fn txn(&self, root: &str, n: Option<usize>) -> wire::Txn {
        let put = |key: String, lease| wire::Op {
            does: Some(wire::Does::Put(wire::Put {
                key: key.into(),
                value: "me".into(),
                lease,
                ..wire::Put::default()
            })),
        };
        let is = |key: String, relation: wire::Relation| wire::Compare {
            relation: relation as i32,
            target: wire::Target::Version as i32,
            key: key.into(),
            with: Some(wire::With::Version(0)),
            ..wire::Compare::default()
        };
        let (owner, parent) = (format!("{root}/owner"), format!("{root}/parent"));
        let Some(n) = n else {
            let then = vec![put(owner, 0), put(parent, 0)];
            return wire::Txn { compares: Vec::new(), then };
        };
        let running = format!("{root}/parent/{n}");
        let compares = vec![
            is(owner, wire::Relation::Greater),
            is(parent, wire::Relation::Greater),
            is(running.clone(), wire::Relation::Equal),
        ];
        wire::Txn { compares, then: vec![put(running, self.lease)] }
    }

    async fn claim(&self, root: &str) -> Done<f64> {
        let commit = |n| self.ask::<_, wire::TxnAnswer>("/etcdserverpb.KV/Txn", self.txn(root, n));
        commit(None).await?;
        let (began, mut under_way) = (Instant::now(), FuturesUnordered::new());
        for n in 0..CLAIMS {
            if under_way.len() == WINDOW {
                ensure(under_way.next().await)?;
            }
            under_way.push(commit(Some(n)));
        }
        while let Some(answer) = under_way.next().await {
            ensure(Some(answer))?;
        }
        Ok(per_second(CLAIMS, began))
    }
}

fn ensure(answer: Option<Done<wire::TxnAnswer>>) -> Done {
    match answer {
        Some(Ok(answer)) if answer.succeeded => Ok(()),
        other => Err(format!("a bare claim was answered {other:?}").into()),
    }
}

/// From the moment the way is cut until as many keys as a mirror holds are watched and were read
/// again, in seconds.
async fn resync(server: &str, root: &str) -> Done<f64> {
    let (way, cut) = forward(server.parse()?).await?;
    let mut client = join(&way.to_string(), root).await?;
    client.commit(vec![Op::create(key("/mirror"), "")]).await?;
    let keys: Vec<Key> = (0..MIRRORED).map(|n| key(&format!("/mirror/{n:05}"))).collect();
    for some in keys.chunks(WINDOW) {
        let make = |key: &Key| Request::Commit(vec![Op::create(key.clone(), vec![b'x'; 100])]);
        all(&mut client, some.iter().map(make)).await?;
        let watch = |key: &Key| Request::Watch(key.clone(), Scope::Value);
        all(&mut client, some.iter().map(watch)).await?;
    }
    client.arrived();
    let began = Instant::now();
    cut.send_modify(|cuts| *cuts += 1);
    while client.next_event().await != Some(Event::Resync) {
        if began.elapsed() > PATIENCE {
            return Err("no resync was told".into());
        }
    }
    client.session().await?;
    for some in keys.chunks(WINDOW) {
        all(&mut client, some.iter().cloned().map(Request::Get)).await?;
    }
    let took = began.elapsed().as_secs_f64();
    client.close().await;
    Ok(took)
}

/// A way to the server that is cut at each change.
async fn forward(server: SocketAddr) -> Done<(SocketAddr, watch::Sender<u64>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (address, cut) = (listener.local_addr()?, watch::Sender::new(0));
    let cuts = cut.clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut cuts = cuts.subscribe();
            tokio::spawn(async move {
                let Ok(mut server) = TcpStream::connect(server).await else { return };
                let _ = (client.set_nodelay(true), server.set_nodelay(true));
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                    _ = cuts.changed() => {}
                }
            });
        }
    });
    Ok((address, cut))
}
