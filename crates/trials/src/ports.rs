//! Ports of this host for servers.

use anyhow::{Result, bail};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// Ports below those that the system gives to outgoing connections: a server that comes back must
/// find its own free.
const PORTS: std::ops::Range<u16> = 12_000..30_000;

/// A port that nobody listens on at the moment, and that was not given out before: a server takes its
/// time to listen.
///
/// # Errors
/// If there is none.
pub fn free_port() -> Result<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(61);
    let count = u32::from(PORTS.end - PORTS.start);
    for _ in 0..count {
        let turn = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = PORTS.start + u16::try_from(start.wrapping_add(turn) % count)?;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("all ports are taken")
}
