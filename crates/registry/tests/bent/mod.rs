//! The memory registry as a fixture of the suite, true or bent in one way.

mod bend;

use bend::BentLine;
pub(crate) use bend::{BENDS, Bend};
use flockwork_registry::conformance::{Asked, Control, Fixture, Link, NotApplicable, Tried};
use flockwork_registry::memory::{Faults, Loss, MemoryRegistry, Options};
use flockwork_registry::{Failure, Key};
use std::fmt;
use std::future::ready;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Every connection made, so that what one does can be passed on to the others.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<Weak<BentLine>>>>);

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lines")
    }
}

impl Lines {
    fn all(&self) -> Vec<Arc<BentLine>> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().filter_map(Weak::upgrade).collect()
    }

    fn add(&self, line: &Arc<BentLine>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(line));
    }

    fn pump(&self) {
        self.all().iter().for_each(|line| line.pump());
    }
}

/// A memory registry whose connections are all bent in one way, or in none.
#[derive(Debug)]
pub(crate) struct BentFixture {
    memory: MemoryRegistry,
    bend: Option<Bend>,
    lines: Lines,
}

impl BentFixture {
    pub(crate) fn new(bend: Option<Bend>, versions_restart: bool) -> Self {
        let options = Options { history: 64, versions_restart, ..Options::default() };
        Self { memory: MemoryRegistry::new(options), bend, lines: Lines::default() }
    }
}

impl Fixture for BentFixture {
    fn root(&self) -> Key {
        Key::root()
    }

    fn connect(&self) -> Asked<'_, Link> {
        let connected = self.memory.connect_faulty();
        let faults = connected.faults.clone();
        let (line, inbox) = BentLine::over(connected, self.bend, self.lines.clone());
        self.lines.add(&line);
        let control = Powers { faults, line: Arc::downgrade(&line), lines: self.lines.clone() };
        Box::pin(ready(Link { registry: line, inbox, control: Box::new(control) }))
    }
}

#[derive(Debug)]
struct Powers {
    faults: Faults,
    line: Weak<BentLine>,
    lines: Lines,
}

impl Powers {
    fn did(&self) -> Tried<'_> {
        self.lines.pump();
        Box::pin(ready(Ok::<(), NotApplicable>(())))
    }

    /// A bent line may stand still in a way of its own.
    fn stand_still(&self, still: bool) -> bool {
        self.line.upgrade().is_some_and(|line| line.stand_still(still))
    }
}

impl Control for Powers {
    fn end_session(&self) -> Tried<'_> {
        self.faults.end_session();
        self.did()
    }

    fn lose_next_answer(&self, loss: Loss) -> Tried<'_> {
        self.faults.lose_answers(1, loss);
        self.did()
    }

    fn pause(&self) -> Tried<'_> {
        if !self.stand_still(true) {
            self.faults.silence();
        }
        self.did()
    }

    fn resume(&self) -> Tried<'_> {
        if !self.stand_still(false) {
            self.faults.release();
        }
        self.did()
    }

    fn hold_answers(&self) -> Tried<'_> {
        self.faults.hold_answers();
        self.did()
    }

    fn release_answers(&self) -> Tried<'_> {
        self.faults.release();
        self.did()
    }

    fn cut(&self) -> Tried<'_> {
        self.faults.suspend("cut on request");
        self.did()
    }

    fn heal(&self) -> Tried<'_> {
        self.faults.resume();
        self.did()
    }

    fn lag(&self, commits: u64) -> Tried<'_> {
        self.faults.lag(commits);
        self.did()
    }

    fn fill(&self) -> Tried<'_> {
        self.faults.refuse(1_000, &Failure::Full("filled on request".to_owned()));
        self.did()
    }

    fn make_room(&self) -> Tried<'_> {
        self.faults.relent();
        self.did()
    }
}
