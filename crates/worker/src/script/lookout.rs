//! Keeps an eye on scripts: whether each that a job names can be started, at once and from time to time.
//!
//! One thread for a whole worker looks at one file after the other, so that a file system which hangs holds up
//! no run. Jobs that name the same program are looked at together.

use super::startable::check_arguments;
use super::{Refusal, Scripts, longest_context};
use flockwork_core::config::JobConfig;
use flockwork_core::eligibility::Hindrance;
use flockwork_core::execution::{Script, Work};
use flockwork_core::id::JobName;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often each script is looked at: soon enough for people who put a file right, and far less work than
/// running the script.
const INTERVAL: Duration = Duration::from_secs(3);

/// How far apart looks at different programs are. A look takes some tens of microseconds; with more than 300
/// programs the interval becomes longer.
const PACE: Duration = Duration::from_millis(10);

/// How many jobs whose program was just looked at are gone through in that time: with more than 75,000 jobs the
/// interval becomes longer, too.
const JOBS_AT_ONCE: usize = 256;

/// What was found: whether the script can be started now.
pub type Found = Result<(), Hindrance>;

/// Whom to tell what was found. Called from the thread that looks, which waits for it.
pub type Tell = Box<dyn Fn(Found) + Send>;

/// Keeps an eye on the scripts of jobs. Its thread is started by the first of them, and ends with it.
pub(crate) struct Lookout {
    shared: Arc<Shared>,
}

struct Shared {
    scripts: Scripts,
    interval: Duration,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Bounded by the node's jobs.
    watched: BTreeMap<JobName, Watched>,
    /// Those that were never looked at.
    fresh: BTreeSet<JobName>,
    has_thread: bool,
    is_over: bool,
}

struct Watched {
    definition: Arc<JobConfig>,
    tell: Tell,
    told: Option<Found>,
    /// Whether the kernel takes what the script is given, once that was looked at.
    fits: Option<Found>,
}

/// What programs were found to be within one round, by their names as they are written.
type Programs = HashMap<String, Found>;

impl Lookout {
    pub(crate) fn new(scripts: Scripts) -> Self {
        Self::every(INTERVAL, scripts)
    }

    fn every(interval: Duration, scripts: Scripts) -> Self {
        let (state, changed) = (Mutex::default(), Condvar::new());
        Self { shared: Arc::new(Shared { scripts, interval, state, changed }) }
    }

    /// Looks at the script of a definition from here on, in place of the one before.
    pub(crate) fn watch(&self, job: JobName, definition: Arc<JobConfig>, tell: Tell) {
        let mut state = self.shared.state();
        state.fresh.insert(job.clone());
        state.watched.insert(job, Watched { definition, tell, told: None, fits: None });
        if !std::mem::replace(&mut state.has_thread, true) {
            let shared = Arc::clone(&self.shared);
            let thread = std::thread::Builder::new().name("flockwork-look".to_owned());
            if let Err(error) = thread.spawn(move || shared.keep_watch()) {
                state.has_thread = false;
                tracing::error!(%error, "no thread could be started that looks at scripts");
            }
        }
        drop(state);
        self.shared.changed.notify_one();
    }

    /// Looks at the script of a job no more.
    pub(crate) fn forget(&self, job: &JobName) {
        let mut state = self.shared.state();
        state.watched.remove(job);
        state.fresh.remove(job);
    }
}

impl Drop for Lookout {
    fn drop(&mut self) {
        self.shared.state().is_over = true;
        self.shared.changed.notify_one();
    }
}

impl fmt::Debug for Lookout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookout").finish_non_exhaustive()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep_watch(&self) {
        let mut round = Round { jobs: VecDeque::new(), programs: Programs::new() };
        let mut begun = Instant::now();
        let mut next = begun + self.interval;
        while let Some(fresh) = self.fresh_until(next) {
            let mut programs = Programs::new();
            for job in fresh {
                self.look(&job, &mut programs);
            }
            if Instant::now() < next {
                continue;
            }
            if round.jobs.is_empty() {
                begun = Instant::now();
                round.jobs = self.state().watched.keys().cloned().collect();
                round.programs.clear();
            }
            self.look_at_one_program(&mut round);
            let now = Instant::now();
            next = if round.jobs.is_empty() { begun + self.interval } else { now + PACE };
        }
    }

    /// Waits for jobs that were never looked at, at most until then. `None` if all is over.
    fn fresh_until(&self, until: Instant) -> Option<BTreeSet<JobName>> {
        let mut state = self.state();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if state.is_over {
                return None;
            }
            if !state.fresh.is_empty() || left.is_zero() {
                return Some(std::mem::take(&mut state.fresh));
            }
            let woken = self.changed.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Goes on with a round, up to and with the next program that was not looked at in it.
    fn look_at_one_program(&self, round: &mut Round) {
        let known = round.programs.len();
        for _ in 0..JOBS_AT_ONCE {
            let Some(job) = round.jobs.pop_front() else { return };
            self.look(&job, &mut round.programs);
            if round.programs.len() > known {
                return;
            }
        }
    }

    /// Looks at one job's script, and tells what is found if it differs from what was told before.
    fn look(&self, job: &JobName, programs: &mut Programs) {
        let watched =
            self.state().watched.get(job).map(|of| (of.definition.clone(), of.fits.clone()));
        let Some((definition, known)) = watched else { return };
        let Work::Script(script) = &*definition.work else { return };
        // Without the lock: a file system may take its time.
        let fits = known.unwrap_or_else(|| fits(script, &definition));
        let found = self.found(script, programs).and_then(|()| fits.clone());
        let mut state = self.state();
        let Some(of) = state.watched.get_mut(job) else { return };
        if !Arc::ptr_eq(&of.definition, &definition) {
            return;
        }
        of.fits = Some(fits);
        if of.told.as_ref() != Some(&found) {
            of.told = Some(found.clone());
            (of.tell)(found);
        }
    }

    fn found(&self, script: &Script, programs: &mut Programs) -> Found {
        let Some(program) = script.argv.first() else { return Err(hindrance(&Refusal::NoProgram)) };
        if let Some(known) = programs.get(program) {
            return known.clone();
        }
        let found = self.scripts.executable(program);
        let found = found.map(drop).map_err(|refusal| hindrance(&refusal));
        programs.insert(program.clone(), found.clone());
        found
    }
}

/// One time at which every script is looked at.
struct Round {
    jobs: VecDeque<JobName>,
    programs: Programs,
}

/// Whether the kernel takes what the script is given: a matter of the definition alone.
fn fits(script: &Script, definition: &JobConfig) -> Found {
    let (_, context) = longest_context(definition);
    check_arguments(&script.argv, &context).map_err(|refusal| hindrance(&refusal))
}

fn hindrance(refusal: &Refusal) -> Hindrance {
    Hindrance::Script { code: refusal.code(), text: refusal.message() }
}

#[cfg(test)]
mod tests;
