//! A node's way to its server, which can be cut and held up, and which sees what passes.

use super::wire::{Seen, Talk};
use anyhow::Result;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// How long a connection to the server may take: it is on this host.
const CONNECTS_WITHIN: Duration = Duration::from_secs(2);

/// The largest packet that is passed on: four times what a server takes.
const LARGEST: usize = 4 << 20;

#[derive(Debug, Default)]
struct Will {
    shut: bool,
    /// Connections that were not let through since.
    refused: usize,
    /// Which way nothing passes.
    held: Option<Way>,
    /// Packets that did not pass since.
    waited: usize,
    over: bool,
}

#[derive(Debug)]
struct Shared {
    server: SocketAddr,
    will: Mutex<Will>,
    changed: Condvar,
    seen: Mutex<Seen>,
    connections: Mutex<Vec<Connection>>,
}

#[derive(Debug)]
struct Connection {
    node: TcpStream,
    server: TcpStream,
    talk: Weak<Mutex<Talk>>,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The proxy; it listens until it is dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// Which way is held up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Requests.
    Up,
    /// Answers.
    Down,
}

impl Proxy {
    pub(crate) fn before(server: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            server,
            will: Mutex::default(),
            changed: Condvar::new(),
            seen: Mutex::default(),
            connections: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || accept(&listener, &accepting));
        Ok(Self { address, shared })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Drops all connections and lets none through until [`open`](Self::open). Gives back how many
    /// there were and how many requests had no answer.
    pub(crate) fn cut(&self) -> (usize, usize) {
        lock(&self.shared.will).shut = true;
        self.shared.drop_all()
    }

    /// Lets connections through again; gives back how many were not.
    pub(crate) fn open(&self) -> usize {
        let mut will = lock(&self.shared.will);
        will.shut = false;
        std::mem::take(&mut will.refused)
    }

    /// Lets nothing pass one way until [`let_pass`](Self::let_pass). Gives back how many requests
    /// have no answer yet.
    pub(crate) fn hold(&self, way: Way) -> usize {
        lock(&self.shared.will).held = Some(way);
        self.shared.in_flight()
    }

    /// Lets everything pass again; gives back how many packets had to wait.
    pub(crate) fn let_pass(&self) -> usize {
        let mut will = lock(&self.shared.will);
        will.held = None;
        let waited = std::mem::take(&mut will.waited);
        drop(will);
        self.shared.changed.notify_all();
        waited
    }

    /// All that was seen so far, taken away.
    pub(crate) fn take_seen(&self) -> Seen {
        std::mem::take(&mut lock(&self.shared.seen))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        lock(&self.shared.will).over = true;
        self.shared.changed.notify_all();
        self.shared.drop_all();
        // Wakes the one that accepts, who then sees that it is over.
        let _ = TcpStream::connect_timeout(&self.address, CONNECTS_WITHIN);
    }
}

impl Shared {
    fn in_flight(&self) -> usize {
        let connections = lock(&self.connections);
        let talks = connections.iter().filter_map(|connection| connection.talk.upgrade());
        talks.map(|talk| lock(&talk).in_flight()).sum()
    }

    fn drop_all(&self) -> (usize, usize) {
        let in_flight = self.in_flight();
        let mut connections = lock(&self.connections);
        let live = connections.iter().filter(|c| c.talk.strong_count() > 0).count();
        for connection in connections.drain(..) {
            // One that has gone by itself is gone.
            let _ = connection.node.shutdown(Shutdown::Both);
            let _ = connection.server.shutdown(Shutdown::Both);
        }
        (live, in_flight)
    }

    /// Waits while a way is held up; whether the proxy goes on.
    fn may_pass(&self, way: Way) -> bool {
        let mut will = lock(&self.will);
        will.waited += usize::from(will.held == Some(way));
        let is_held = |will: &mut Will| !will.over && will.held == Some(way);
        let will = self.changed.wait_while(will, is_held);
        !will.unwrap_or_else(PoisonError::into_inner).over
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for node in listener.incoming() {
        let (shut, over) = {
            let mut will = lock(&shared.will);
            will.refused += usize::from(will.shut);
            (will.shut, will.over)
        };
        match (over, node) {
            (true, _) => return,
            (_, Ok(node)) if !shut => drop(pass(&node, shared)),
            // Dropped: what the node sees of a cut.
            _ => {}
        }
    }
}

fn pass(node: &TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    let server = TcpStream::connect_timeout(&shared.server, CONNECTS_WITHIN)?;
    node.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let talk = Arc::new(Mutex::new(Talk::default()));
    let connection = Connection {
        node: node.try_clone()?,
        server: server.try_clone()?,
        talk: Arc::downgrade(&talk),
    };
    {
        let mut connections = lock(&shared.connections);
        connections.retain(|connection| connection.talk.strong_count() > 0);
        connections.push(connection);
    }
    for way in [Way::Up, Way::Down] {
        let (from, to) = match way {
            Way::Up => (node.try_clone()?, server.try_clone()?),
            Way::Down => (server.try_clone()?, node.try_clone()?),
        };
        let (shared, talk) = (Arc::clone(shared), Arc::clone(&talk));
        std::thread::spawn(move || {
            // Its end is the connection's, which both sides see.
            let _ = move_packets((&from, &to), way, &shared, &talk);
            let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
        });
    }
    Ok(())
}

fn move_packets(
    (mut from, mut to): (&TcpStream, &TcpStream),
    way: Way,
    shared: &Shared,
    talk: &Mutex<Talk>,
) -> io::Result<()> {
    loop {
        let packet = receive(&mut from)?;
        if !shared.may_pass(way) {
            return Ok(());
        }
        {
            let (mut seen, mut talk) = (lock(&shared.seen), lock(talk));
            match way {
                Way::Up => talk.up(&packet[4..], &mut seen),
                Way::Down => talk.down(&packet[4..], &mut seen),
            }
        }
        to.write_all(&packet)?;
    }
}

/// A packet with its length in front.
fn receive(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let bytes = usize::try_from(i32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if bytes > LARGEST {
        return Err(io::Error::other(format!("a packet of {bytes} bytes")));
    }
    let mut packet = length.to_vec();
    packet.resize(4 + bytes, 0);
    from.read_exact(&mut packet[4..])?;
    Ok(packet)
}
