//! Executes runs. Each run that is started ends, and its outcome is told exactly once.

use crate::burst::{Burst, Start};
use crate::context::Live;
use crate::listener::{Listening, Method};
use crate::pool::Pool;
use crate::runner::{self, KILL_BOUND, sweep};
use crate::script::{self, Lookout, Scripts, Store, Tell};
use crate::{AsyncJob, Context, Function, Job, JobResult, Listener, Progress};
use flockwork_core::config::JobConfig;
use flockwork_core::execution::{CancelReason, Ending, Outcome, Part, Run, Work};
use flockwork_core::id::JobName;
use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::task::Poll;
use std::time::Duration;
use tracing::Instrument as _;

/// The longest text of an error or panic that is kept, in bytes.
const REASON_BYTES: usize = 2048;

/// A worker's settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The most threads for blocking functions and scripts; runs beyond wait for one. Should be no
    /// less than the engine's `max_running`, which is what bounds runs.
    pub max_threads: usize,
    /// How long a cancelled async function or script has to end by itself before its future is
    /// dropped, or all its processes are killed. 5 s unless said otherwise.
    pub grace: Duration,
    /// How scripts are run.
    pub scripts: Scripts,
}

impl Default for Settings {
    fn default() -> Self {
        Self { max_threads: 256, grace: Duration::from_secs(5), scripts: Scripts::default() }
    }
}

/// Executes runs of registered functions and of scripts, and calls listeners. Cheap to clone.
#[derive(Clone)]
pub struct Worker {
    shared: Arc<Shared>,
}

struct Shared {
    settings: Settings,
    runtime: tokio::runtime::Handle,
    registered: RwLock<HashMap<JobName, Registered>>,
    burst: Burst<AsyncRun>,
    pool: Pool,
    store: Option<Store>,
    lookout: Lookout,
}

/// What a program gave for a job; a job that runs a script may have a listener alone.
#[derive(Default)]
struct Registered {
    function: Option<Function>,
    listener: Option<Arc<dyn Listener>>,
}

impl Worker {
    /// A worker that runs async functions and listeners on `runtime`, whose timer must be enabled.
    #[must_use]
    pub fn new(settings: Settings, runtime: tokio::runtime::Handle) -> Self {
        let pool = Pool::new(settings.max_threads);
        let Scripts { output, output_total, .. } = &settings.scripts;
        let store = output.clone().map(|directory| Store::new(directory, *output_total));
        let (registered, burst) = (RwLock::default(), Burst::default());
        let lookout = Lookout::new(settings.scripts.clone());
        let shared = Shared { settings, runtime, registered, burst, pool, store, lookout };
        Self { shared: Arc::new(shared) }
    }

    /// Makes `function` what runs of `job` execute from now on. Gives back what it replaces.
    pub fn register(&self, job: JobName, function: Function) -> Option<Function> {
        self.registered_mut().entry(job).or_default().function.replace(function)
    }

    /// Makes `listener` what is called before and after each fire of `job` from now on. Gives back what it
    /// replaces.
    pub fn listen(&self, job: JobName, listener: Arc<dyn Listener>) -> Option<Arc<dyn Listener>> {
        self.registered_mut().entry(job).or_default().listener.replace(listener)
    }

    /// Forgets a job's function, which it gives back, and its listener; runs under way are not touched.
    pub fn unregister(&self, job: &JobName) -> Option<Function> {
        self.registered_mut().remove(job)?.function
    }

    /// Whether a function is registered for `job`.
    #[must_use]
    pub fn is_registered(&self, job: &JobName) -> bool {
        self.function(job).is_some()
    }

    /// Looks whether the script of a job's definition can be started here, at once and every three seconds from
    /// then on (less often with more than 300 programs), in place of the job's definition before. What is found
    /// is told by `tell`, which must not block: first in any case, then whenever it differs.
    pub fn look_at(&self, job: JobName, definition: Arc<JobConfig>, tell: Tell) {
        self.shared.lookout.watch(job, definition, tell);
    }

    /// Looks at the script of a job no more.
    pub fn look_no_more(&self, job: &JobName) {
        self.shared.lookout.forget(job);
    }

    /// Kills what is left on this host of scripts whose node is no more, found by the mark in their
    /// environment, and gives back how many processes that were. For a node's start: guards have
    /// done this already unless they were killed too. Blocks for some ms; 10 s at most.
    #[must_use]
    pub fn end_leftovers(&self) -> usize {
        let (killed, left) = sweep::sweep(&sweep::Marks::OfDeadNodes, KILL_BOUND);
        if !left.is_empty() {
            tracing::error!(?left, "processes of a dead node's scripts could not be killed");
        }
        killed
    }

    /// Starts a run, or a call of the job's listener, and returns at once. `on_end` is called exactly once, from some thread, when
    /// the code has really ended (or could not be started), and must not block.
    pub fn start(&self, run: Arc<Run>, on_end: impl FnOnce(Outcome) + Send + 'static) -> Handle {
        let live = Arc::new(Live::default());
        let completion =
            Completion { live: Arc::clone(&live), begun: false, on_end: Some(Box::new(on_end)) };
        match run.part {
            Part::Shard => self.start_shard(run, completion),
            Part::Before => self.start_listener(<dyn Listener>::before, run, completion),
            Part::After => self.start_listener(<dyn Listener>::after, run, completion),
        }
        Handle { live }
    }

    fn start_shard(&self, run: Arc<Run>, completion: Completion) {
        match &*run.work {
            Work::Function => match self.function(&run.job) {
                Some(Function::Async(job)) => self.start_async(job, run, completion),
                Some(Function::Blocking(job)) => self.start_blocking(job, run, completion),
                None => completion.end(no_function(&run.job)),
            },
            Work::Script(_) => self.start_script(run, completion),
        }
    }

    /// Whatever the job runs, its listener awaits.
    fn start_listener(&self, method: Method, run: Arc<Run>, completion: Completion) {
        let Some(listener) = self.listener(&run.job) else {
            return completion.end(no_listener(&run.job));
        };
        self.start_async(Arc::new(Listening { listener, method }), run, completion);
    }

    fn start_async(&self, job: Arc<dyn AsyncJob>, run: Arc<Run>, completion: Completion) {
        let grace = self.shared.settings.grace;
        let start = AsyncRun { job, run, completion, grace };
        self.shared.burst.start(&self.shared.runtime, start);
    }

    fn start_blocking(&self, job: Arc<dyn Job>, run: Arc<Run>, mut completion: Completion) {
        let task = move || {
            completion.begun = true;
            let _logged = span(&run).entered();
            let live = Arc::clone(&completion.live);
            let context = Context::new(run, Arc::clone(&live));
            completion.end(run_blocking(&*job, &context, &live));
        };
        self.execute(Box::new(task));
    }

    fn start_script(&self, run: Arc<Run>, mut completion: Completion) {
        let shared = Arc::clone(&self.shared);
        let since = runner::boot_now();
        let task = move || {
            completion.begun = true;
            let _logged = span(&run).entered();
            let Work::Script(script) = &*run.work else {
                return completion.end(Ending::NotStarted("it is no script".to_owned()));
            };
            let Settings { scripts, grace, .. } = &shared.settings;
            let live = Arc::clone(&completion.live);
            let store = shared.store.as_ref();
            let (ending, output_tail) =
                script::execute((&run, since), script, scripts, store, (&live, *grace));
            completion.end_with_output(ending, output_tail);
        };
        self.execute(Box::new(task));
    }

    /// A task that finds no thread is dropped, and its completion tells so.
    fn execute(&self, task: Box<dyn FnOnce() + Send>) {
        if let Err(error) = self.shared.pool.execute(task) {
            tracing::error!(%error, "no thread could be started for a run");
        }
    }

    fn function(&self, job: &JobName) -> Option<Function> {
        self.registered().get(job)?.function.clone()
    }

    fn listener(&self, job: &JobName) -> Option<Arc<dyn Listener>> {
        self.registered().get(job)?.listener.clone()
    }

    fn registered(&self) -> RwLockReadGuard<'_, HashMap<JobName, Registered>> {
        self.shared.registered.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn registered_mut(&self) -> RwLockWriteGuard<'_, HashMap<JobName, Registered>> {
        self.shared.registered.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("settings", &self.shared.settings).finish_non_exhaustive()
    }
}

/// A started run. Dropping it changes nothing for the run.
#[derive(Clone, Debug)]
pub struct Handle {
    live: Arc<Live>,
}

impl Handle {
    /// Tells the run to stop. Only the first reason counts; the run ends when it has ended.
    pub fn cancel(&self, reason: CancelReason) {
        self.live.cancel(reason);
    }

    /// What the run said it has done so far.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.live.progress()
    }
}

/// A run of an async function, or a call of a listener.
struct AsyncRun {
    job: Arc<dyn AsyncJob>,
    run: Arc<Run>,
    completion: Completion,
    grace: Duration,
}

impl Start for AsyncRun {
    fn code(self) -> impl Future<Output = ()> + Send + 'static {
        let span = span(&self.run);
        let Self { job, run, mut completion, grace } = self;
        let code = async move {
            completion.begun = true;
            let live = Arc::clone(&completion.live);
            let context = Context::new(run, Arc::clone(&live));
            let ending = run_async(&*job, context, &live, grace).await;
            completion.end(ending);
        };
        code.instrument(span)
    }
}

/// Tells a run's outcome exactly once: by [`Completion::end`], or, should the task that holds it
/// be dropped (its runtime shut down, no thread), when it is dropped.
struct Completion {
    live: Arc<Live>,
    begun: bool,
    on_end: Option<Box<dyn FnOnce(Outcome) + Send>>,
}

impl Completion {
    fn end(self, ending: Ending) {
        self.end_with_output(ending, String::new());
    }

    fn end_with_output(mut self, ending: Ending, output_tail: String) {
        self.tell(ending, output_tail);
    }

    fn tell(&mut self, ending: Ending, output_tail: String) {
        let Some(on_end) = self.on_end.take() else { return };
        let Progress { rows, bytes } = self.live.progress();
        on_end(Outcome { ending, output_tail, rows, bytes });
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        let ending = if self.begun {
            Ending::Crashed("its task was dropped: the runtime has shut down".to_owned())
        } else {
            Ending::NotStarted("no thread or runtime to run on".to_owned())
        };
        self.tell(ending, String::new());
    }
}

/// What every line that is logged by a run's code, or about it, carries.
fn span(run: &Run) -> tracing::Span {
    let (job, fire, epoch) = (&run.job, &run.fire.due, run.epoch.0);
    match run.part {
        Part::Shard => tracing::error_span!("run", %job, shard = run.shard, %fire, epoch),
        part @ (Part::Before | Part::After) => {
            tracing::error_span!("listener", %job, part = part.as_str(), %fire, epoch)
        }
    }
}

fn no_function(job: &JobName) -> Ending {
    let job = job.as_str();
    Ending::NotStarted(format!(
        "JOB_NOT_REGISTERED: this program has no function for {job:?}; register one"
    ))
}

fn no_listener(job: &JobName) -> Ending {
    let job = job.as_str();
    Ending::NotStarted(format!(
        "LISTENER_NOT_REGISTERED: this program has no listener for {job:?}; register one"
    ))
}

async fn run_async(job: &dyn AsyncJob, context: Context, live: &Live, grace: Duration) -> Ending {
    // The job's own code before its first await runs inside the guarded poll, too.
    let mut work = pin!(async move { job.run(context).await });
    let guarded = std::future::poll_fn(|cx| {
        match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(result)) => Poll::Ready(Ok(result)),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    });
    let out_of_grace = async {
        live.cancelled().await;
        tokio::time::sleep(grace).await;
    };
    tokio::select! {
        biased;
        ended = guarded => ending_of(ended, live),
        () = out_of_grace => ending_of(Ok(Ok(())), live),
    }
}

fn run_blocking(job: &dyn Job, context: &Context, live: &Live) -> Ending {
    if let Some(reason) = live.reason() {
        return Ending::Cancelled(reason);
    }
    ending_of(catch_unwind(AssertUnwindSafe(|| job.run(context))), live)
}

/// A run that was told to stop counts as cancelled however it ended, as nothing tells a job that
/// returned early from one that did all its work. A panic stays a panic: it is a bug to be seen.
fn ending_of(ended: Result<JobResult, Box<dyn Any + Send>>, live: &Live) -> Ending {
    match (ended, live.reason()) {
        (Err(panic), _) => Ending::Panicked(clip(panic_text(&*panic))),
        (Ok(_), Some(reason)) => Ending::Cancelled(reason),
        (Ok(Ok(())), None) => Ending::Succeeded,
        (Ok(Err(error)), None) => Ending::Error(clip(&error_text(&*error))),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<&'static str>() {
        return text;
    }
    panic.downcast_ref::<String>().map_or("a panic without a text", String::as_str)
}

/// An error and what caused it, as one line.
fn error_text(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        // Many errors repeat their cause in their own text.
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}

fn clip(text: &str) -> String {
    text[..text.floor_char_boundary(REASON_BYTES)].to_owned()
}
