//! A way to a server that can be cut, shut and held up.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Clone, Copy, Debug, Default)]
struct Will {
    /// Each cut has a number; connections made before it are dropped.
    cuts: u64,
    /// No connection is let through.
    shut: bool,
    /// Nothing passes towards the client.
    held: bool,
    /// Nothing passes towards the server.
    held_up: bool,
}

/// The gate. It lives as long as the runtime.
#[derive(Clone, Debug)]
pub struct Gate {
    address: SocketAddr,
    will: watch::Sender<Will>,
}

/// Who carries what passes.
pub trait Carrier: Clone + Send + Sync + 'static {
    /// A connection was let through.
    fn connected(&self) {}

    /// Carries towards the client, until the connection is to be dropped.
    fn down(
        self,
        from: OwnedReadHalf,
        to: OwnedWriteHalf,
        passage: Passage,
    ) -> impl Future<Output = ()> + Send;

    /// Carries towards the server, until the connection is to be dropped.
    fn up(
        self,
        from: OwnedReadHalf,
        to: OwnedWriteHalf,
        passage: Passage,
    ) -> impl Future<Output = ()> + Send;
}

/// One direction of one connection.
#[derive(Debug)]
pub struct Passage {
    will: watch::Receiver<Will>,
    is_up: bool,
}

impl Passage {
    /// Waits while this direction is held up.
    pub async fn opens(&mut self) {
        let is_up = self.is_up;
        // A gate that is gone holds nothing up.
        let _ = self.will.wait_for(|will| !if is_up { will.held_up } else { will.held }).await;
    }
}

impl Gate {
    /// Before a server; all passes as it is.
    pub async fn before(server: SocketAddr) -> Self {
        Self::with(server, Plain).await
    }

    /// Before a server, with a carrier of its own.
    pub async fn with(server: SocketAddr, carrier: impl Carrier) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("ports are left");
        let address = listener.local_addr().expect("it is bound");
        let gate = Self { address, will: watch::Sender::new(Will::default()) };
        tokio::spawn(gate.clone().accept(listener, server, carrier));
        gate
    }

    /// Where clients find it.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Drops the connections there are.
    pub fn cut(&self) {
        self.will.send_modify(|will| will.cuts += 1);
    }

    /// Lets no connection through, or does again; does not drop what there is.
    pub fn shut(&self, shut: bool) {
        self.will.send_modify(|will| will.shut = shut);
    }

    /// Lets nothing pass towards the client, or does again.
    pub fn hold(&self, held: bool) {
        self.will.send_modify(|will| will.held = held);
    }

    /// Lets nothing pass towards the server, or does again.
    pub fn hold_up(&self, held: bool) {
        self.will.send_modify(|will| will.held_up = held);
    }

    async fn accept(self, listener: TcpListener, server: SocketAddr, carrier: impl Carrier) {
        while let Ok((client, _)) = listener.accept().await {
            if !self.will.borrow().shut {
                tokio::spawn(self.clone().pass(client, server, carrier.clone()));
            }
        }
    }

    async fn pass(self, client: TcpStream, server: SocketAddr, carrier: impl Carrier) {
        let Ok(server) = TcpStream::connect(server).await else { return };
        // What cannot be sent at once is sent later.
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        carrier.connected();
        let (client, server) = (client.into_split(), server.into_split());
        let cuts = self.will.borrow().cuts;
        let mut will = self.will.subscribe();
        let passage = |is_up| Passage { will: self.will.subscribe(), is_up };
        let down = tokio::spawn(carrier.clone().down(server.0, client.1, passage(false)));
        let up = tokio::spawn(carrier.up(client.0, server.1, passage(true)));
        let stops = (down.abort_handle(), up.abort_handle());
        tokio::select! {
            _ = down => {}
            _ = will.wait_for(|will| will.cuts != cuts) => {}
            // The client has gone, or what it asked got lost.
            _ = up => {}
        }
        stops.0.abort();
        stops.1.abort();
    }
}

#[derive(Clone, Copy, Debug)]
struct Plain;

impl Carrier for Plain {
    async fn down(self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut passage: Passage) {
        carry(&mut from, &mut to, &mut passage).await;
    }

    async fn up(self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut passage: Passage) {
        if carry(&mut from, &mut to, &mut passage).await {
            // What is wrong with the server, the other direction tells.
            std::future::pending().await
        }
    }
}

/// Whether it was the receiver that went away.
async fn carry(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf, passage: &mut Passage) -> bool {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut bytes).await;
        passage.opens().await;
        let Ok(length @ 1..) = read else { return false };
        if to.write_all(&bytes[..length]).await.is_err() {
            return true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    /// A server that gives back what it gets.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        address
    }

    async fn said(stream: &mut TcpStream) -> Option<u8> {
        stream.write_all(b"x").await.ok()?;
        answered(stream).await
    }

    async fn answered(stream: &mut TcpStream) -> Option<u8> {
        timeout(Duration::from_millis(300), stream.read_u8()).await.ok()?.ok()
    }

    #[tokio::test]
    async fn each_direction_is_held_up_and_nothing_of_it_is_lost() {
        let gate = Gate::before(echo().await).await;
        let mut stream = TcpStream::connect(gate.address()).await.unwrap();
        assert_eq!(said(&mut stream).await, Some(b'x'));
        for hold in [Gate::hold, Gate::hold_up] {
            hold(&gate, true);
            assert_eq!(said(&mut stream).await, None);
            hold(&gate, false);
            assert_eq!(answered(&mut stream).await, Some(b'x'));
        }
    }

    #[tokio::test]
    async fn a_cut_drops_what_there_is_and_a_shut_gate_lets_nobody_in() {
        let gate = Gate::before(echo().await).await;
        let mut before = TcpStream::connect(gate.address()).await.unwrap();
        assert_eq!(said(&mut before).await, Some(b'x'));
        gate.shut(true);
        assert_eq!(said(&mut before).await, Some(b'x'), "it is let through already");
        gate.cut();
        assert_eq!(said(&mut before).await, None);
        let mut shut_out = TcpStream::connect(gate.address()).await.unwrap();
        assert_eq!(said(&mut shut_out).await, None);
        gate.shut(false);
        let mut after = TcpStream::connect(gate.address()).await.unwrap();
        assert_eq!(said(&mut after).await, Some(b'x'));
    }
}
