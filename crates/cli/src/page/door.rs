//! Who may hold a connection, and for how long. Clients that are slow, idle or many hold up neither
//! the pages nor the node.
//!
//! A request's head must come within a time, and so must the next one on a connection that is kept.
//! There is room for so many connections; if one more comes, the one that has waited longest without
//! a request in hand makes room. So a new request is always heard, however many sit idle.

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::time::{sleep, timeout};

/// What a connection may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Connections at a time: far more than a browser and a few probes open, far fewer than the
    /// files a process may have open (1,024 where nobody raised it).
    pub(super) connections: usize,
    /// How long a request's head may take, and a kept connection may wait for the next one: more
    /// than a person's network needs.
    pub(super) head: Duration,
    /// How long one connection may live, whatever it does: one that does not read its answer would
    /// stay for ever.
    pub(super) life: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { connections: 256, head: Duration::from_secs(10), life: Duration::from_mins(2) }
    }
}

/// How long after its life an answer that is being sent may take.
const LAST_ANSWER: Duration = Duration::from_secs(5);

/// How many may be on their way out at a time, having made room: until they are, no other comes in.
const LEAVING: usize = 32;

/// How long accepting rests when the system has no more files for us.
const REST: Duration = Duration::from_millis(100);

/// Accepts for ever.
pub(super) async fn serve(listener: TcpListener, router: Router, bounds: Bounds) {
    let seats = Arc::new(Seats::default());
    let open = Arc::new(Semaphore::new(bounds.connections + LEAVING));
    loop {
        let Ok(permit) = Arc::clone(&open).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // A client that is gone already, or a lack of files, which passes.
            Err(why) => {
                tracing::debug!("the status page took no connection: {why}");
                sleep(REST).await;
                continue;
            }
        };
        let Some(seat) = seats.take(bounds.connections) else {
            say(&stream, &too_many(bounds));
            continue;
        };
        let held = hold(stream, router.clone(), seat, bounds);
        tokio::spawn(async move {
            held.await;
            drop(permit);
        });
    }
}

/// Serves one connection until it ends, or must.
async fn hold(stream: TcpStream, router: Router, seat: Seat, bounds: Bounds) {
    let place = Arc::clone(&seat.place);
    let service = service_fn(move |request: Request<Incoming>| {
        let (place, router) = (Arc::clone(&place), TowerToHyperService::new(router.clone()));
        place.begun.fetch_add(1, Ordering::SeqCst);
        place.in_hand.fetch_add(1, Ordering::SeqCst);
        let answer: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(async move {
            let answer = router.call(request).await;
            place.in_hand.fetch_sub(1, Ordering::SeqCst);
            answer
        });
        answer
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head)
        .serve_connection(TokioIo::new(stream), service);
    let end = {
        let mut served = pin!(poll_fn(|context| connection.poll_without_shutdown(context)));
        tokio::select! {
            served = &mut served => match served {
                Err(why) if why.is_timeout() => End::TooSlow,
                Ok(()) | Err(_) => return,
            },
            () = seat.place.made_room.notified() => End::MadeRoom,
            () = sleep(bounds.life) => End::TooOld,
        }
    };
    // Only where nothing of an answer can be on its way already.
    let is_fresh = seat.place.begun.load(Ordering::SeqCst) == 0;
    match end {
        End::TooOld => {
            Pin::new(&mut connection).graceful_shutdown();
            // It is dropped at the end of that time, whatever it does.
            tokio::select! {
                _ = timeout(LAST_ANSWER, &mut connection) => {}
                () = seat.place.made_room.notified() => {}
            }
        }
        End::TooSlow if is_fresh => say(connection.into_parts().io.inner(), &too_slow(bounds)),
        End::MadeRoom if is_fresh => say(connection.into_parts().io.inner(), &too_many(bounds)),
        End::TooSlow | End::MadeRoom => {}
    }
}

/// Why a connection ends that its client has not ended.
enum End {
    TooSlow,
    MadeRoom,
    TooOld,
}

fn too_slow(bounds: Bounds) -> String {
    let within = bounds.head;
    complaint(
        "408 Request Timeout",
        &format!("error[REQUEST_TIMEOUT]: no whole request came within {within:?}"),
    )
}

fn too_many(bounds: Bounds) -> String {
    let most = bounds.connections;
    let text = format!(
        "error[TOO_MANY_CONNECTIONS]: {most} connections are served at a time; the one that has \
         waited longest makes room for the next"
    );
    complaint("503 Service Unavailable", &text)
}

fn complaint(status: &str, text: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: close\r\n\
         \r\n{text}\n",
        text.len() + 1
    )
}

/// Says it as far as that goes at once: nothing waits for a client that does not read.
fn say(stream: &TcpStream, complaint: &str) {
    let _ = stream.try_write(complaint.as_bytes());
}

/// The connections there are, the oldest first.
#[derive(Debug, Default)]
struct Seats {
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    last: u64,
    places: BTreeMap<u64, Arc<Place>>,
}

/// What is known of one connection.
#[derive(Debug, Default)]
struct Place {
    /// Requests that came on it.
    begun: AtomicUsize,
    /// Requests that are being answered: one at most, on HTTP/1.
    in_hand: AtomicUsize,
    made_room: Notify,
}

/// One connection's seat; given back when it is dropped.
#[derive(Debug)]
struct Seat {
    seats: Arc<Seats>,
    number: u64,
    place: Arc<Place>,
}

impl Seats {
    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A seat; none if all are taken and each has a request in hand.
    fn take(self: &Arc<Self>, most: usize) -> Option<Seat> {
        let mut taken = self.lock();
        if taken.places.len() >= most {
            let idle = |place: &Arc<Place>| place.in_hand.load(Ordering::SeqCst) == 0;
            let oldest = taken.places.iter().find(|(_, place)| idle(place)).map(|(at, _)| *at)?;
            if let Some(place) = taken.places.remove(&oldest) {
                place.made_room.notify_one();
            }
        }
        taken.last += 1;
        let (number, place) = (taken.last, Arc::new(Place::default()));
        taken.places.insert(number, Arc::clone(&place));
        Some(Seat { seats: Arc::clone(self), number, place })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.lock().places.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const PATIENCE: Duration = Duration::from_secs(20);

    async fn door(bounds: Bounds) -> SocketAddr {
        let large = "x".repeat(8 << 20);
        let router =
            Router::new().route("/", get(async || "here\n")).route("/large", get(async || large));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, router, bounds));
        address
    }

    async fn sent(address: SocketAddr, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    async fn heard(mut stream: TcpStream) -> String {
        let mut text = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut text)).await.unwrap().unwrap();
        text
    }

    async fn answered(address: SocketAddr) {
        let text = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        let answer = heard(sent(address, text).await).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("here\n"), "{answer}");
    }

    #[tokio::test]
    async fn a_head_that_does_not_end_is_answered_by_name_and_cut() {
        let head = Duration::from_millis(200);
        let address = door(Bounds { head, ..Bounds::default() }).await;
        let slow = sent(address, "GET / HTTP/1.1\r\nhost: x\r\nx-slow: ").await;
        let silent = sent(address, "").await;
        for stream in [slow, silent] {
            let answer = heard(stream).await;
            assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
            assert!(answer.contains("error[REQUEST_TIMEOUT]"), "{answer}");
        }
        // One that is kept after its answer is cut without a word: none was asked for.
        let kept = sent(address, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(heard(kept).await.ends_with("here\n"));
        answered(address).await;
    }

    #[tokio::test]
    async fn whoever_waits_longest_makes_room_and_is_told() {
        let address = door(Bounds { connections: 3, ..Bounds::default() }).await;
        let mut idle = Vec::new();
        for _ in 0..3 {
            idle.push(sent(address, "").await);
        }
        answered(address).await;
        let answer = heard(idle.remove(0)).await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.contains("error[TOO_MANY_CONNECTIONS]"), "{answer}");
        for _ in 0..20 {
            idle.push(sent(address, "GET /").await);
            answered(address).await;
        }
    }

    #[tokio::test]
    async fn one_that_does_not_read_its_answer_is_cut_in_the_end() {
        let life = Duration::from_millis(200);
        let address = door(Bounds { connections: 1, life, ..Bounds::default() }).await;
        let asks = "GET /large HTTP/1.1\r\nhost: x\r\n\r\n";
        let _deaf = sent(address, asks).await;
        tokio::time::sleep(life).await;
        // Its answer is made, so it holds nothing up even before that.
        answered(address).await;
    }
}
