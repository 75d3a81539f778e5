//! Signals, for programs that want their node to be stopped by them. Installed only when called.

use crate::handle::Handle;
use std::io;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

/// The status with which a second signal ends the process: 128 and SIGINT's number, which shells
/// take as "ended by the user".
pub const IMPATIENT_EXIT: i32 = 130;

/// Signals that follow the first within this time are the same request: who signals a process and
/// its group (`timeout`, some supervisors) reaches it twice.
const SAME_REQUEST: Duration = Duration::from_millis(500);

/// SIGTERM and SIGINT, caught from now on.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Catches SIGTERM and SIGINT from now on, for the whole process.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn catch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The next of them, by name.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// Drains the node at the first signal; ends the process at once at the second. Never returns
    /// before the second: run it beside the node.
    pub async fn drain_then_exit(self, handle: Handle) {
        self.drain_then_wait(handle).await;
        std::process::exit(IMPATIENT_EXIT);
    }

    /// Drains the node at the first signal; returns at the second, for programs that have something
    /// to do before they exit with [`IMPATIENT_EXIT`].
    pub async fn drain_then_wait(mut self, handle: Handle) {
        let first = self.next().await;
        tracing::info!(signal = first, "draining; a second signal stops at once");
        handle.drain();
        let began = Instant::now();
        let mut second = self.next().await;
        while began.elapsed() < SAME_REQUEST {
            second = self.next().await;
        }
        tracing::warn!(signal = second, "stopped without waiting for runs");
    }
}
