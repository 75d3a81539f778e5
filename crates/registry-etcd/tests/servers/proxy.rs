//! A way to a server that can be cut, held up, and made to lose real commits.

use crate::wire::{Does, Granted, Txn};
use flockwork_registry::memory::Loss;
use flockwork_trials::gate::{Carrier, Gate, Passage};
use prost::Message;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// How late a request that is delivered late arrives unless told: before the client is back or
/// after.
const LATE: Duration = Duration::from_millis(20);

/// HTTP/2, RFC 9113: what a client says first, the bytes before a frame, types and a flag of them.
const PREFACE: usize = 24;
const FRAME: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const END_STREAM: u8 = 1;
/// gRPC's bytes before a message.
const PREFIX: usize = 5;
/// Protobuf's tag of a lease's time to live, a number in field 3.
const TTL: u8 = 3 << 3;

#[derive(Debug, Default)]
struct Seen {
    loss: Option<Loss>,
    /// How late the one lost arrives.
    late: Option<Duration>,
    /// The stream whose answer gets lost.
    losing: Option<u32>,
    /// How many answers were lost on request.
    lost: usize,
    /// An answer was lost and no connection was made since.
    broken: bool,
}

#[derive(Debug, Default)]
struct Shared {
    seen: Mutex<Seen>,
    /// Each answer to a renewal says that there is no such lease.
    denied: AtomicBool,
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
        let shared = Arc::new(Shared::default());
        Self { gate: Gate::with(server, Way(Arc::clone(&shared))).await, shared }
    }

    /// Says of each lease that is renewed that it does not live, or does no more.
    pub(crate) fn deny(&self, denied: bool) {
        self.shared.denied.store(denied, Ordering::Relaxed);
    }

    /// Loses the next commit's answer, or the commit, and the connection with it: a stream cannot
    /// lose less.
    pub(crate) fn lose(&self, loss: Loss) {
        self.shared.seen().loss = Some(loss);
    }

    /// Lets the next commit arrive so much later, on a connection that nobody reads any more.
    pub(crate) fn delay(&self, late: Duration) {
        let mut seen = self.shared.seen();
        (seen.loss, seen.late) = (Some(Loss::AppliedLate), Some(late));
    }

    pub(crate) fn lost(&self) -> usize {
        self.shared.seen().lost
    }

    /// Whether a loss has broken the connection and none was made since.
    pub(crate) fn is_broken(&self) -> bool {
        self.shared.seen().broken
    }
}

/// Reads what passes.
#[derive(Clone, Debug)]
struct Way(Arc<Shared>);

impl Carrier for Way {
    fn connected(&self) {
        self.0.seen().broken = false;
    }

    async fn down(self, from: OwnedReadHalf, to: OwnedWriteHalf, passage: Passage) {
        down(from, to, (self.0, passage)).await;
    }

    async fn up(self, from: OwnedReadHalf, to: OwnedWriteHalf, passage: Passage) {
        up(from, to, (self.0, passage)).await;
    }
}

/// One frame, header and all.
struct Frame(Vec<u8>);

impl Frame {
    async fn read(from: &mut (impl AsyncReadExt + Unpin)) -> io::Result<Self> {
        let mut frame = vec![0; FRAME];
        from.read_exact(&mut frame).await?;
        let length = u32::from_be_bytes([0, frame[0], frame[1], frame[2]]) as usize;
        frame.resize(FRAME + length, 0);
        from.read_exact(&mut frame[FRAME..]).await?;
        Ok(Self(frame))
    }

    fn kind(&self) -> u8 {
        self.0[3]
    }

    fn stream(&self) -> u32 {
        u32::from_be_bytes([self.0[5], self.0[6], self.0[7], self.0[8]])
    }

    /// Whether it is the transaction of a commit, which alone both compares and puts.
    fn commits(&self) -> bool {
        let Some(message) = self.0.get(FRAME + PREFIX..) else { return false };
        let puts = |op: &crate::wire::Op| matches!(op.does, Some(Does::Put(_)));
        self.kind() == DATA
            && Txn::decode(message)
                .is_ok_and(|txn| !txn.compares.is_empty() && txn.then.iter().any(puts))
    }

    /// Makes the answer to a renewal (or to a grant, which looks the same) one of no lease. The time
    /// to live is its last field, of one byte below 128 seconds.
    fn deny_lease(&mut self) {
        let Some(message) = self.0.get(FRAME + PREFIX..) else { return };
        let is_renewal = self.kind() == DATA
            && Granted::decode(message).is_ok_and(|it| it.lease != 0 && (1..128).contains(&it.ttl));
        if let ([.., TTL, last], true) = (&mut self.0[..], is_renewal) {
            *last = 0;
        }
    }

    fn answers(&self, stream: u32) -> bool {
        self.stream() == stream && self.kind() == HEADERS && self.0[4] & END_STREAM != 0
    }
}

/// One direction, as long as it lasts.
type Open = (Arc<Shared>, Passage);

/// Towards the client.
async fn down(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, (shared, mut passage): Open) {
    loop {
        let frame = Frame::read(&mut from).await;
        passage.opens().await;
        let Ok(mut frame) = frame else { return };
        if shared.denied.load(Ordering::Relaxed) {
            frame.deny_lease();
        }
        let losing = shared.seen().losing;
        match losing {
            Some(stream) if frame.answers(stream) => {
                let mut seen = shared.seen();
                seen.losing = None;
                seen.lost += 1;
                seen.broken = true;
                return;
            }
            Some(_) => {}
            None if to.write_all(&frame.0).await.is_err() => return,
            None => {}
        }
    }
}

/// Towards the server.
async fn up(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, (shared, mut passage): Open) {
    let mut preface = vec![0; PREFACE];
    if from.read_exact(&mut preface).await.is_err() || to.write_all(&preface).await.is_err() {
        return;
    }
    while let Ok(frame) = Frame::read(&mut from).await {
        passage.opens().await;
        let (loss, late) = {
            let mut seen = shared.seen();
            let loss = if frame.commits() { seen.loss.take() } else { None };
            match loss {
                Some(Loss::Applied) => seen.losing = Some(frame.stream()),
                Some(_) => {
                    seen.lost += 1;
                    seen.broken = true;
                }
                None => {}
            }
            (loss, if loss.is_some() { seen.late.take() } else { None })
        };
        match loss {
            None | Some(Loss::Applied) => {}
            Some(Loss::AppliedLate) => {
                tokio::spawn(async move {
                    tokio::time::sleep(late.unwrap_or(LATE)).await;
                    let _ = to.write_all(&frame.0).await;
                    tokio::time::sleep(LATE).await;
                });
                return;
            }
            Some(Loss::NotApplied) => return,
        }
        if to.write_all(&frame.0).await.is_err() {
            // What is wrong with the server, the other direction tells.
            return std::future::pending().await;
        }
    }
}
