//! The edge: one task that carries out what a session wants, on tokio.

use crate::Tls;
use crate::session::{Config, Input, Output};
use crate::stepped::{Stepped, User};
use bytes::{Bytes, BytesMut};
use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// Bytes taken from a connection at once.
const READ: usize = 64 * 1024;

/// Commands taken at once, so that their packets go out together.
const COMMANDS: usize = 256;

#[derive(Debug)]
enum Order<C> {
    Command(C),
    Close,
}

/// The way to a session's task.
#[derive(Debug)]
pub struct Handle<C> {
    orders: mpsc::UnboundedSender<Order<C>>,
    live: Arc<AtomicI64>,
}

impl<C> Handle<C> {
    /// Hands a command over; it comes back if the session was closed. Its sender bounds how many
    /// are under way.
    ///
    /// # Errors
    /// The command, if nobody will hear it.
    pub fn send(&self, command: C) -> Result<(), C> {
        self.orders.send(Order::Command(command)).map_err(|unsent| match unsent.0 {
            Order::Command(command) => command,
            Order::Close => unreachable!("what was sent is what comes back"),
        })
    }

    /// Ends the session; [`Event::Closed`](crate::Event::Closed) tells when it has, at most five seconds later.
    pub fn close(&self) {
        // An error says that it is closed already.
        let _ = self.orders.send(Order::Close);
    }

    /// Which session is proven alive on a standing connection at this moment.
    #[must_use]
    pub fn live(&self) -> Option<i64> {
        Some(self.live.load(Ordering::Relaxed)).filter(|session| *session != 0)
    }
}

/// Without `close`, the session ends all the same.
impl<C> Drop for Handle<C> {
    fn drop(&mut self) {
        self.close();
    }
}

/// Milliseconds of `CLOCK_BOOTTIME`, which counts suspends and never steps.
#[must_use]
pub fn boot_millis() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let millis = u64::try_from(now.tv_nsec / 1_000_000).unwrap_or(0);
    seconds * 1_000 + millis
}

/// Where the servers are, and how to talk to them.
#[derive(Clone, Debug)]
pub struct Servers {
    /// Names or addresses with ports; they are looked up anew before each round of attempts.
    pub names: Vec<String>,
    /// In the clear if there is none.
    pub tls: Option<Tls>,
}

/// Starts a session on the current runtime.
///
/// # Panics
/// Outside a tokio runtime with I/O and time.
#[must_use]
pub fn spawn<U: User>(servers: Servers, config: Config, user: U) -> Handle<U::Command> {
    let (sender, orders) = mpsc::unbounded_channel();
    let live = Arc::new(AtomicI64::new(0));
    let task = Task {
        stepped: Stepped::new(boot_millis(), config, user),
        servers: servers.names.into(),
        tls: servers.tls,
        hosts: BTreeMap::new(),
        live: Arc::clone(&live),
        way: Way::None,
        unsent: BytesMut::new(),
    };
    tokio::spawn(task.run(orders));
    Handle { orders: sender, live }
}

type Coming<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A connection, in the clear or not.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Addresses, each with the name it was found by.
type Found = Vec<(SocketAddr, String)>;

/// What stands between us and the servers.
enum Way {
    None,
    LookUp(Coming<Result<Found, String>>),
    Dial(Coming<io::Result<Box<dyn Stream>>>),
    Stream(Box<dyn Stream>),
}

struct Task<U> {
    stepped: Stepped<U>,
    servers: Arc<[String]>,
    tls: Option<Tls>,
    /// By which name each address was found.
    hosts: BTreeMap<SocketAddr, String>,
    live: Arc<AtomicI64>,
    way: Way,
    /// Bounded by what may be under way.
    unsent: BytesMut,
}

impl<U: User> Task<U> {
    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order<U::Command>>) {
        let (mut batch, mut wanted) = (Vec::with_capacity(COMMANDS), true);
        let mut buffer = BytesMut::with_capacity(READ);
        self.feed(Input::Tick);
        while !self.stepped.is_closed() {
            let wait = self.stepped.deadline().saturating_sub(boot_millis()).clamp(1, 60_000);
            // What has arrived goes before the clock: a process that stood still has not waited.
            let input = tokio::select! {
                biased;
                input = progress(&mut self.way, &mut self.hosts, &mut self.unsent, &mut buffer) => input,
                taken = orders.recv_many(&mut batch, COMMANDS), if wanted => {
                    self.obey(&mut batch);
                    // Its user is gone, and has said so with a last order.
                    wanted = taken > 0;
                    continue;
                }
                () = tokio::time::sleep(Duration::from_millis(wait)) => Some(Input::Tick),
            };
            input.into_iter().for_each(|input| self.feed(input));
            if let Ok(order) = orders.try_recv() {
                batch.push(order);
                self.obey(&mut batch);
            }
        }
        self.live.store(0, Ordering::Relaxed);
        // Whoever was too late hears so.
        orders.close();
        while let Ok(order) = orders.try_recv() {
            batch.push(order);
            self.obey(&mut batch);
        }
    }

    fn obey(&mut self, batch: &mut Vec<Order<U::Command>>) {
        for order in batch.drain(..) {
            match order {
                Order::Command(command) => {
                    let outputs = self.stepped.command(boot_millis(), command);
                    self.carry_out(outputs);
                }
                Order::Close => self.feed(Input::Close),
            }
        }
    }

    fn feed(&mut self, input: Input) {
        let outputs = self.stepped.step(boot_millis(), input);
        self.carry_out(outputs);
    }

    fn carry_out(&mut self, outputs: Vec<Output>) {
        outputs.into_iter().for_each(|output| self.carry_out_one(output));
        self.live.store(self.stepped.live().unwrap_or(0), Ordering::Relaxed);
    }

    fn carry_out_one(&mut self, output: Output) {
        match output {
            Output::Tell(_) => {}
            Output::Write(bytes) => self.unsent.extend_from_slice(&bytes),
            Output::Resolve => self.way = Way::LookUp(Box::pin(look_up(Arc::clone(&self.servers)))),
            Output::Connect(address) => {
                let host = self.hosts.get(&address).cloned().unwrap_or_default();
                self.way = Way::Dial(Box::pin(dial(address, host, self.tls.clone())));
            }
            Output::Disconnect => {
                // A last word, such as that a session is not needed, goes out if it can at once.
                if let Way::Stream(stream) = &mut self.way {
                    let mut now = Context::from_waker(Waker::noop());
                    let _ = send(stream, &mut self.unsent, &mut now);
                }
                self.unsent.clear();
                self.way = Way::None;
            }
        }
    }
}

async fn look_up(servers: Arc<[String]>) -> Result<Found, String> {
    let (mut all, mut why) = (BTreeMap::new(), None);
    for server in servers.iter() {
        let host = server.rsplit_once(':').map_or(server.as_str(), |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        match tokio::net::lookup_host(server).await {
            Ok(addresses) => all.extend(addresses.map(|address| (address, host.to_owned()))),
            Err(error) => why = Some(format!("{server}: {error}")),
        }
    }
    match why {
        Some(why) if all.is_empty() => Err(why),
        _ => Ok(all.into_iter().collect()),
    }
}

async fn dial(address: SocketAddr, host: String, tls: Option<Tls>) -> io::Result<Box<dyn Stream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    match tls {
        None => Ok(Box::new(stream)),
        Some(tls) => encrypted(tls, host, stream).await,
    }
}

#[cfg(feature = "tls")]
async fn encrypted(tls: Tls, host: String, stream: TcpStream) -> io::Result<Box<dyn Stream>> {
    Ok(Box::new(tls.connect(host, stream).await?))
}

#[cfg(not(feature = "tls"))]
async fn encrypted(tls: Tls, _host: String, _stream: TcpStream) -> io::Result<Box<dyn Stream>> {
    match tls {}
}

/// Waits for whatever stands between us and the servers. Safe to drop: nothing taken is lost.
async fn progress(
    way: &mut Way,
    hosts: &mut BTreeMap<SocketAddr, String>,
    unsent: &mut BytesMut,
    buffer: &mut BytesMut,
) -> Option<Input> {
    let input = match way {
        Way::None => return std::future::pending().await,
        Way::LookUp(coming) => match coming.await {
            Ok(found) => {
                let addresses = found.iter().map(|(address, _)| *address).collect();
                *hosts = found.into_iter().collect();
                Input::Resolved(addresses)
            }
            Err(why) => Input::NotResolved(why),
        },
        Way::Dial(coming) => match coming.await {
            Ok(stream) => {
                *way = Way::Stream(stream);
                return Some(Input::Connected);
            }
            Err(error) => Input::Broken(error.to_string()),
        },
        Way::Stream(stream) => match exchange(stream, unsent, buffer).await {
            Ok(bytes) => return Some(Input::Received(bytes)),
            Err(error) => Input::Broken(error.to_string()),
        },
    };
    *way = Way::None;
    Some(input)
}

/// Writes what is there to be written until something has come.
async fn exchange(
    stream: &mut Box<dyn Stream>,
    unsent: &mut BytesMut,
    buffer: &mut BytesMut,
) -> io::Result<Bytes> {
    buffer.reserve(READ);
    std::future::poll_fn(|context| {
        if let Poll::Ready(read) = pin!(stream.read_buf(buffer)).poll(context) {
            let closed = || io::Error::new(io::ErrorKind::UnexpectedEof, CLOSED);
            return Poll::Ready(
                read.and_then(|bytes| (bytes > 0).then_some(()).ok_or_else(closed)),
            );
        }
        match send(stream, unsent, context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        }
    })
    .await?;
    Ok(buffer.split().freeze())
}

const CLOSED: &str = "the server closed the connection";

/// Writes as much as goes, to the wire.
fn send(
    stream: &mut Box<dyn Stream>,
    unsent: &mut BytesMut,
    context: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    while !unsent.is_empty() {
        ready!(pin!(stream.write_buf(unsent)).poll(context))?;
    }
    pin!(stream.flush()).poll(context)
}
