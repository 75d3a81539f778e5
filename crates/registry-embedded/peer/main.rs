//! One process over a registry's directory, steered by lines on its standard input and telling what
//! happens on its standard output. The tests stop and kill it. It ends at the end of its input, so
//! none is left behind.
//!
//! `flockwork-embedded-peer DIR TIMEOUT_MILLIS`, which first tells `pid N`, then one of
//! * `load NAME UNDER_WAY`: commits without end, so many at a time; each makes `/load/NAME/N` and
//!   sets `/count/NAME`; it is told by `sent N`, and answered by a line `ack N` or `failed N WHY`
//! * `create KEY VALUE`, `session KEY VALUE`, `get KEY`, `watch KEY`
//! * `clock`: tells `clock SECONDS` since 1970, by the wall clock
//! * `trust`: tells `trust MILLIS`, for how long it trusts its session, by its own `CLOCK_BOOTTIME`
//! * `quiet`: no more load
//! * `close`
//!
//! With a third argument, `carry`, it carries requests and events as they are (`wire`).

mod wire;
mod words;

use flockwork_registry::{Answer, Event, Inbox, Key, Op, Registry, Request, Scope};
use flockwork_registry::{SessionState, Ticket};
use flockwork_registry_embedded::{Embedded, Options};
use rustix::time::{ClockId, clock_gettime};
use std::error::Error;
use std::future::Future;
use std::io::{self, Write};
use std::path::Path;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, SystemTime};

/// Tickets from here on are for commands; below, for load.
const COMMANDS: u64 = 1 << 32;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "flockwork-embedded-peer DIR TIMEOUT_MILLIS [carry]";
    let (dir, timeout) = (arguments.next().ok_or(usage)?, arguments.next().ok_or(usage)?);
    let carries = arguments.next().is_some_and(|word| word == "carry");
    tell(&format!("pid {}", std::process::id()));
    let session_timeout = Duration::from_millis(timeout.parse()?);
    let options = Options { session_timeout, ..Options::default() };
    let (registry, inbox) = match Embedded::open(Path::new(&dir), &options) {
        Ok(opened) => opened,
        Err(error) => {
            tell(&format!("refused {error}"));
            return Err(error.into());
        }
    };
    let peer = Arc::new(Peer::new(registry, carries));
    let commanded = Arc::clone(&peer);
    thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            if let Err(error) = commanded.obey(&line) {
                tell(&format!("misunderstood {line}: {error}"));
            }
        }
        commanded.close();
    });
    peer.listen(inbox);
    Ok(())
}

struct Peer {
    /// `None` once it is closed.
    registry: Mutex<Option<Arc<dyn Registry>>>,
    name: Mutex<String>,
    next: AtomicU64,
    loading: AtomicBool,
    carries: bool,
    trusted_until: AtomicU64,
}

impl Peer {
    fn new(registry: Arc<dyn Registry>, carries: bool) -> Self {
        let (name, next) = (Mutex::default(), AtomicU64::new(0));
        let registry = Mutex::new(Some(registry));
        let (loading, trusted_until) = (AtomicBool::new(false), AtomicU64::new(0));
        Self { registry, name, next, loading, carries, trusted_until }
    }

    fn obey(&self, line: &str) -> Result<(), Box<dyn Error>> {
        if self.carries {
            let (ticket, request) = wire::read_request(line).ok_or("no request")?;
            self.submit(ticket, request);
            return Ok(());
        }
        let mut words = line.split(' ');
        let command = words.next().unwrap_or_default();
        let mut word = || words.next().ok_or("a word is missing");
        let request = match command {
            "load" => {
                word()?.clone_into(&mut *self.name.lock().map_err(|_| "poisoned")?);
                self.loading.store(true, Ordering::Relaxed);
                (0..word()?.parse()?).for_each(|_| self.load());
                return Ok(());
            }
            "trust" => {
                let now = clock_gettime(ClockId::Boottime);
                let now = now.tv_sec * 1_000 + now.tv_nsec / 1_000_000;
                let until = self.trusted_until.load(Ordering::Relaxed).cast_signed();
                tell(&format!("trust {}", until - now));
                return Ok(());
            }
            "quiet" => {
                self.loading.store(false, Ordering::Relaxed);
                return Ok(());
            }
            "clock" => {
                let since = SystemTime::UNIX_EPOCH.elapsed()?;
                tell(&format!("clock {}", since.as_secs()));
                return Ok(());
            }
            "close" => {
                self.close();
                return Ok(());
            }
            "create" => Request::Commit(vec![Op::create(Key::new(word()?)?, word()?.to_owned())]),
            "session" => {
                let (key, value) = (Key::new(word()?)?, word()?.to_owned());
                Request::Commit(vec![Op::create_for_session(key, value)])
            }
            "get" => Request::Get(Key::new(word()?)?),
            "watch" => Request::Watch(Key::new(word()?)?, Scope::Value),
            other => return Err(format!("no command {other}").into()),
        };
        self.submit(Ticket(COMMANDS), request);
        Ok(())
    }

    /// Sends one more commit of the load.
    fn load(&self) {
        if !self.loading.load(Ordering::Relaxed) {
            return;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let name = self.name.lock().map(|name| name.clone()).unwrap_or_default();
        let made = Key::new(&format!("/load/{name}/{number}")).expect("it reads /part/part");
        let count = Key::new(&format!("/count/{name}")).expect("it reads /part/part");
        let ops = vec![Op::create(made, "x".repeat(60)), Op::Set(count, "".into(), None)];
        tell(&format!("sent {number}"));
        self.submit(Ticket(number), Request::Commit(ops));
    }

    fn submit(&self, ticket: Ticket, request: Request) {
        if let Some(registry) = self.registry.lock().ok().and_then(|registry| registry.clone()) {
            registry.submit(ticket, request);
        }
    }

    fn listen(&self, mut inbox: Inbox) {
        while let Some(event) = block_on(inbox.recv()) {
            match event {
                event if self.carries => tell(&wire::event(&event)),
                Event::Answer(Ticket(number), answer) if number < COMMANDS => {
                    tell(&match answer {
                        Answer::Committed(_) => format!("ack {number}"),
                        other => format!("failed {number} {other:?}"),
                    });
                    self.load();
                }
                Event::Answer(_, answer) => tell(&format!("answer {answer:?}")),
                Event::Changed(key, _) => tell(&format!("changed {key}")),
                Event::Resync => tell("resync"),
                Event::Session(SessionState::Live { session, trusted_until }) => {
                    self.trusted_until.store(trusted_until, Ordering::Relaxed);
                    tell(&format!("live {session}"));
                }
                Event::Session(SessionState::Suspended { why }) => {
                    tell(&format!("suspended {why}"));
                }
                Event::Session(SessionState::Ended(session)) => tell(&format!("ended {session}")),
                Event::SetBack(why) => tell(&format!("set-back {why}")),
                Event::Replaced(why) => tell(&format!("replaced {why}")),
            }
        }
        if !self.carries {
            tell("closed");
        }
    }

    fn close(&self) {
        self.loading.store(false, Ordering::Relaxed);
        let registry = self.registry.lock().ok().and_then(|mut registry| registry.take());
        if let Some(registry) = registry {
            block_on(registry.close());
        }
    }
}

/// Nobody listens any more: the test is over, and so is this.
fn tell(line: &str) {
    let mut out = io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        std::process::exit(1);
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}
