//! A way to a server that can be cut, held up, and made to lose real packets.

use bytes::Bytes;
use flockwork_registry::memory::Loss;
use flockwork_trials::gate::{Carrier, Gate, Passage};
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// How late a request that is delivered late arrives: before the client is back or after.
const LATE: Duration = Duration::from_millis(20);

#[derive(Debug, Default)]
struct Seen {
    loss: Option<Loss>,
    /// The session last opened through it, and its password.
    session: Option<(i64, Bytes)>,
    /// What the client asked for itself on this connection and has no answer to: none of it is
    /// a request that the suite made, and so none to lose.
    of_the_client: BTreeSet<i32>,
    /// How many packets were lost on request.
    lost: usize,
    /// A packet was lost and no session was taken up again since.
    broken: bool,
}

#[derive(Debug)]
struct Shared {
    server: SocketAddr,
    seen: Mutex<Seen>,
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The proxy. It lives as long as the runtime.
#[derive(Clone, Debug)]
pub(crate) struct Proxy {
    pub(crate) gate: Gate,
    shared: Arc<Shared>,
}

impl Proxy {
    pub(crate) async fn before(server: SocketAddr) -> Self {
        let shared = Arc::new(Shared { server, seen: Mutex::default() });
        Self { gate: Gate::with(server, Way(Arc::clone(&shared))).await, shared }
    }

    /// Loses the next answer, or request, and the connection with it: a stream cannot lose less.
    pub(crate) fn lose(&self, loss: Loss) {
        self.shared.seen().loss = Some(loss);
    }

    pub(crate) fn lost(&self) -> usize {
        self.shared.seen().lost
    }

    /// Whether a loss has broken the connection and no server has answered on another yet.
    pub(crate) fn is_broken(&self) -> bool {
        self.shared.seen().broken
    }

    /// Ends the session last opened through it, as another connection of the same session may.
    pub(crate) async fn end_session(&self) -> io::Result<()> {
        // Or its client, thrown out by this, would come back and take it over again.
        self.gate.shut(true);
        let ended = self.close_session().await;
        self.gate.shut(false);
        ended
    }

    async fn close_session(&self) -> io::Result<()> {
        let session = self.shared.seen().session.clone();
        let (session, password) = session.expect("a session was opened");
        let mut stream = TcpStream::connect(self.shared.server).await?;
        // Version, last zxid seen, time-out, session, password, not read-only.
        let mut hello = [0; 16].to_vec();
        hello[12..].copy_from_slice(&4_000_i32.to_be_bytes());
        hello.extend_from_slice(&session.to_be_bytes());
        hello.extend_from_slice(&i32::try_from(password.len()).expect("short").to_be_bytes());
        hello.extend_from_slice(&password);
        hello.push(0);
        send(&mut stream, &hello).await?;
        receive(&mut stream).await?;
        let close = [1_i32.to_be_bytes(), (-11_i32).to_be_bytes()].concat();
        send(&mut stream, &close).await?;
        receive(&mut stream).await?;
        Ok(())
    }
}

async fn send(to: &mut (impl AsyncWriteExt + Unpin), packet: &[u8]) -> io::Result<()> {
    let length = i32::try_from(packet.len()).expect("a packet is short").to_be_bytes();
    to.write_all(&[&length, packet].concat()).await
}

async fn receive(from: &mut (impl AsyncReadExt + Unpin)) -> io::Result<Bytes> {
    let length = usize::try_from(from.read_i32().await?).map_err(io::Error::other)?;
    let mut packet = vec![0; length];
    from.read_exact(&mut packet).await?;
    Ok(packet.into())
}

/// Reads what passes.
#[derive(Clone, Debug)]
struct Way(Arc<Shared>);

impl Carrier for Way {
    async fn down(self, from: OwnedReadHalf, to: OwnedWriteHalf, passage: Passage) {
        down(from, to, (self.0, passage)).await;
    }

    async fn up(self, from: OwnedReadHalf, to: OwnedWriteHalf, passage: Passage) {
        up(from, to, (self.0, passage)).await;
    }
}

fn xid(packet: &[u8]) -> i32 {
    packet.first_chunk().map_or(0, |start| i32::from_be_bytes(*start))
}

/// A `sync`, by which a client renews its session, or a `createContainer`, by which it makes its
/// root at each connection.
fn is_of_the_client(packet: &[u8]) -> bool {
    let operation = packet.get(4..8).and_then(|code| code.try_into().ok()).map(i32::from_be_bytes);
    matches!(operation, Some(9 | 19))
}

/// One direction, as long as it lasts.
type Open = (Arc<Shared>, Passage);

/// Towards the client.
async fn down(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, (shared, mut passage): Open) {
    let mut first = true;
    loop {
        let packet = receive(&mut from).await;
        passage.opens().await;
        let Ok(packet) = packet else { return };
        if std::mem::take(&mut first) {
            let session =
                packet.get(8..16).and_then(|id| id.try_into().ok()).map(i64::from_be_bytes);
            let password = packet.slice(20..packet.len().min(36));
            let mut seen = shared.seen();
            seen.session = session.filter(|id| *id != 0).map(|id| (id, password));
            seen.broken = false;
        } else if xid(&packet) > 0 {
            let mut seen = shared.seen();
            let of_the_client = seen.of_the_client.remove(&xid(&packet));
            if !of_the_client && seen.loss == Some(Loss::Applied) {
                seen.loss = None;
                seen.lost += 1;
                seen.broken = true;
                return;
            }
        }
        if send(&mut to, &packet).await.is_err() {
            return;
        }
    }
}

/// Towards the server.
async fn up(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, (shared, mut passage): Open) {
    let mut first = true;
    shared.seen().of_the_client.clear();
    while let Ok(packet) = receive(&mut from).await {
        passage.opens().await;
        if !std::mem::take(&mut first) && is_of_the_client(&packet) {
            shared.seen().of_the_client.insert(xid(&packet));
        } else if xid(&packet) > 0 {
            let loss = {
                let mut seen = shared.seen();
                let loss = seen.loss.take_if(|loss| *loss != Loss::Applied);
                seen.lost += usize::from(loss.is_some());
                seen.broken |= loss.is_some();
                loss
            };
            match loss {
                None => {}
                Some(Loss::AppliedLate) => {
                    tokio::spawn(async move {
                        tokio::time::sleep(LATE).await;
                        let _ = send(&mut to, &packet).await;
                        tokio::time::sleep(LATE).await;
                    });
                    return;
                }
                Some(_) => return,
            }
        }
        if send(&mut to, &packet).await.is_err() {
            // What is wrong with the server, the other direction tells.
            return std::future::pending().await;
        }
    }
}
