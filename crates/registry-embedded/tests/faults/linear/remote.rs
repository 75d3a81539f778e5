//! A registry whose connection another process holds. If that process dies, what it had not answered
//! is unknown, its session is over, and another process takes its place.

use super::wire;
use crate::peer::{PATIENCE, PEER, TIMEOUT, signal};
use flockwork_registry::inbox::{self, Sender};
use flockwork_registry::{Answer, Event, Failure, Inbox, Limits, Registry, Request};
use flockwork_registry::{SessionId, SessionState, Ticket};
use flockwork_registry_embedded::Options;
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::future::Future;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

/// What is done to the syncs of the process with this number, as `strace` is told it.
type Injected = fn(usize) -> Option<String>;

/// All that were opened over one directory. The first makes what the writers need, and closes.
#[derive(Clone)]
pub(crate) struct Fleet {
    dir: PathBuf,
    injected: Injected,
    opened: Arc<Mutex<Vec<Arc<Remote>>>>,
}

impl Fleet {
    pub(crate) fn new(dir: &Path, injected: Injected) -> Self {
        Self { dir: dir.to_owned(), injected, opened: Arc::default() }
    }

    pub(crate) fn open(&self) -> (Arc<dyn Registry>, Inbox) {
        let mut opened = self.opened.lock().expect("no one panics with it");
        // The writers are the second and those that follow.
        let injected = opened.len().checked_sub(1).and_then(self.injected);
        let (sender, inbox) = inbox::channel();
        let state = Mutex::new(State::default());
        let remote = Arc::new(Remote { dir: self.dir.clone(), injected, sender, state });
        opened.push(Arc::clone(&remote));
        Remote::start(&remote);
        (Arc::new(Connected(remote)), inbox)
    }

    /// The process that holds a writer's connection.
    pub(crate) fn id(&self, writer: usize) -> u32 {
        let opened = self.opened.lock().expect("no one panics with it");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(id) = opened[writer + 1].state().id {
                return id;
            }
            assert!(Instant::now() < deadline, "it does not start");
            thread::sleep(Duration::from_millis(1));
        }
    }

    pub(crate) fn kill(&self, writer: usize) {
        signal(self.id(writer), Signal::KILL);
    }
}

#[derive(Debug)]
struct Remote {
    dir: PathBuf,
    injected: Option<String>,
    sender: Sender,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Told by the process itself; `None` once its output has ended.
    id: Option<u32>,
    input: Option<ChildStdin>,
    under_way: BTreeSet<Ticket>,
    session: Option<SessionId>,
    closing: bool,
    closed: bool,
}

impl Remote {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no one panics with it")
    }

    fn command(&self) -> Command {
        let mut command = match &self.injected {
            None => return Command::new(PEER),
            Some(_) => Command::new("strace"),
        };
        let injected = self.injected.iter().map(|it| format!("inject=fsync,fdatasync:{it}"));
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync"]);
        command.args(injected.flat_map(|it| ["-e".to_owned(), it])).arg(PEER);
        command
    }

    fn start(remote: &Arc<Self>) {
        let mut command = remote.command();
        command.arg(&remote.dir).arg(TIMEOUT.as_millis().to_string()).arg("carry");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}; run `cargo xtask setup`"));
        let output = child.stdout.take().expect("its output is piped");
        remote.state().input = child.stdin.take();
        let remote = Arc::clone(remote);
        thread::spawn(move || Self::carry(&remote, child, output));
    }

    /// Carries what one process tells, until that ends.
    fn carry(remote: &Arc<Self>, mut child: Child, output: ChildStdout) {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if let Some(id) = line.strip_prefix("pid ") {
                remote.state().id = id.parse().ok();
                continue;
            }
            let event = wire::read_event(&line).unwrap_or_else(|| panic!("not an event: {line}"));
            let mut state = remote.state();
            match &event {
                Event::Answer(ticket, _) => {
                    state.under_way.remove(ticket);
                }
                Event::Session(SessionState::Live { session, .. }) => {
                    state.session = Some(*session);
                }
                Event::Session(SessionState::Ended(_)) => state.session = None,
                Event::Changed(..) | Event::Resync | Event::Session(_) => {}
                Event::SetBack(_) | Event::Replaced(_) => {}
            }
            remote.sender.push(event);
        }
        remote.over();
        child.wait().expect("it is ours");
        let closing = remote.state().closing;
        match closing {
            true => remote.state().closed = true,
            false => Self::start(remote),
        }
    }

    /// The process is gone, and with it all that it had not answered.
    fn over(&self) {
        let mut state = self.state();
        (state.id, state.input) = (None, None);
        for ticket in std::mem::take(&mut state.under_way) {
            let lost = Failure::Unknown("the process is gone".to_owned());
            self.sender.push(Event::Answer(ticket, Answer::Failed(lost)));
        }
        if let Some(session) = state.session.take() {
            self.sender.push(Event::Session(SessionState::Ended(session)));
            self.sender.push(Event::Resync);
        }
    }

    fn submit(&self, ticket: Ticket, request: &Request) {
        let line = wire::request(ticket, request).expect("writers ask nothing else");
        let mut state = self.state();
        let Some(input) = state.input.as_mut() else {
            let failure = Failure::NotSent("no process holds the connection".to_owned());
            return self.sender.push(Event::Answer(ticket, Answer::Failed(failure)));
        };
        // If it is gone already, the end of its output answers this too.
        let _ = writeln!(input, "{line}");
        state.under_way.insert(ticket);
    }
}

struct Connected(Arc<Remote>);

impl std::fmt::Debug for Connected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Connected").field(&self.0.dir).finish()
    }
}

impl Registry for Connected {
    fn submit(&self, ticket: Ticket, request: Request) {
        self.0.submit(ticket, &request);
    }

    fn limits(&self) -> Limits {
        Options::default().limits
    }

    fn describe(&self) -> String {
        format!("embedded:{} in a process of its own", self.0.dir.display())
    }

    /// At the end of its input the process closes its session and ends.
    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let mut state = self.0.state();
        state.closing = true;
        state.input = None;
        drop(state);
        Box::pin(async {
            let deadline = Instant::now() + PATIENCE;
            while !self.0.state().closed && Instant::now() < deadline {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
    }
}
