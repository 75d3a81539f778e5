//! Signals, for programs that want their node to be stopped by them. Installed only when called.

mod heard;

use crate::handle::Handle;
use heard::{Heard, Step};
use nix::libc::{SIGRTMAX, SIGRTMIN};
use nix::sys::signal::Signal as Number;
use std::future::poll_fn;
use std::io;
use std::task::Poll;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

/// The status with which a second signal ends the process: 128 and SIGINT's number, which shells
/// take as "ended by the user".
pub const IMPATIENT_EXIT: i32 = 130;

/// Signals that follow the first within this time are the same request: who signals a process and
/// its group (`timeout`, some supervisors) reaches it twice.
const SAME_REQUEST: Duration = Duration::from_millis(500);

/// What a node does when it hears a signal. None ends runs that are under way, but the second
/// [`Meaning::Stop`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Drain; once more: end at once.
    Stop,
    /// Drain, however often it comes: a terminal that closes may send it more than once.
    HangUp,
    /// Say how the node stands.
    Tell,
    /// Go on: without a handler the kernel would end the process.
    Nothing,
}

/// What stops a node.
const STOPPING: [(Number, Meaning); 3] = [
    (Number::SIGTERM, Meaning::Stop),
    (Number::SIGINT, Meaning::Stop),
    (Number::SIGHUP, Meaning::HangUp),
];

/// What else would end a process that does not catch it, and can be caught. Not the signals that tell of
/// a fault of the process itself. SIGPIPE is ignored by every Rust program.
const OTHERS: [(Number, Meaning); 11] = [
    (Number::SIGUSR1, Meaning::Tell),
    (Number::SIGQUIT, Meaning::Tell),
    (Number::SIGUSR2, Meaning::Nothing),
    (Number::SIGALRM, Meaning::Nothing),
    (Number::SIGVTALRM, Meaning::Nothing),
    (Number::SIGPROF, Meaning::Nothing),
    (Number::SIGIO, Meaning::Nothing),
    (Number::SIGXCPU, Meaning::Nothing),
    (Number::SIGXFSZ, Meaning::Nothing),
    (Number::SIGPWR, Meaning::Nothing),
    (Number::SIGSTKFLT, Meaning::Nothing),
];

/// Signals that are caught from now on.
#[derive(Debug)]
pub struct Signals {
    caught: Vec<Caught>,
}

#[derive(Debug)]
struct Caught {
    name: &'static str,
    meaning: Meaning,
    signal: Signal,
}

impl Signals {
    /// Catches what stops a node from now on, for the whole process: SIGTERM, SIGINT and, unless it was
    /// ignored until now (`nohup`), SIGHUP.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn catch() -> io::Result<Self> {
        let hang_up_is_ignored = heard::ignores(Number::SIGHUP as i32);
        let mut signals = Self { caught: Vec::new() };
        for (number, meaning) in STOPPING {
            if !(meaning == Meaning::HangUp && hang_up_is_ignored) {
                signals.add(number as i32, number.as_str(), meaning)?;
            }
        }
        Ok(signals)
    }

    /// Catches every signal from now on that can be caught and would end the process, for programs that are
    /// nothing but a node. Not those that tell of a fault of the process itself.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn catch_all() -> io::Result<Self> {
        let mut signals = Self::catch()?;
        for (number, meaning) in OTHERS {
            signals.add(number as i32, number.as_str(), meaning)?;
        }
        for number in SIGRTMIN()..=SIGRTMAX() {
            signals.add(number, "a real-time signal", Meaning::Nothing)?;
        }
        Ok(signals)
    }

    fn add(&mut self, number: i32, name: &'static str, meaning: Meaning) -> io::Result<()> {
        let signal = signal(SignalKind::from_raw(number))?;
        self.caught.push(Caught { name, meaning, signal });
        Ok(())
    }

    /// The next of them: its name, and what it means.
    pub async fn next(&mut self) -> (&'static str, Meaning) {
        poll_fn(|context| {
            for caught in &mut self.caught {
                if caught.signal.poll_recv(context).is_ready() {
                    return Poll::Ready((caught.name, caught.meaning));
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Drains the node at the first signal; ends the process at once at the second SIGTERM or SIGINT.
    /// Never returns before that: run it beside the node.
    pub async fn drain_then_exit(self, handle: Handle) {
        self.obey(handle, || {}).await;
        std::process::exit(IMPATIENT_EXIT);
    }

    /// Drains the node at the first signal, and calls `tell` at each that asks how the node stands. Returns
    /// at the second SIGTERM or SIGINT, for programs that have something to do before they exit with
    /// [`IMPATIENT_EXIT`].
    pub async fn obey(mut self, handle: Handle, tell: impl Fn()) {
        let mut heard = Heard::default();
        loop {
            let (signal, meaning) = self.next().await;
            match heard.step(meaning, Instant::now()) {
                Step::Drain => {
                    tracing::info!(signal, "draining; a second SIGTERM or SIGINT stops at once");
                    handle.drain();
                }
                Step::Tell => tell(),
                Step::GoOn => tracing::info!(signal, "changes nothing"),
                Step::End => {
                    tracing::warn!(signal, "stopped without waiting for runs");
                    return;
                }
            }
        }
    }
}
