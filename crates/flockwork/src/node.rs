//! A node inside a program.

use crate::job::CheckedJob;
use crate::registry::Reach;
use crate::{Error, Job, Registry};
use flockwork_core::config::Problem;
use flockwork_core::id::{InstanceId, JobName};
use flockwork_engine::engine::{
    DEFAULT_DRAIN_TIMEOUT, DEFAULT_MAX_RUNNING, DEFAULT_RECONCILE_INTERVAL,
};
use flockwork_engine::identity::{instance_id, server_address};
use flockwork_engine::journal::Journal;
use flockwork_engine::report::Reporter;
use flockwork_engine::signals::Signals;
use flockwork_engine::{
    Clock, Handle, Pulse, Running, Start, Stopped, SystemClock, WorkerExecutor,
};
use flockwork_layout::keys::Namespace;
use flockwork_node::Define;
use flockwork_worker::{Allowlist, BoxError, Context, Function, Scripts, Worker, runner};
use std::collections::BTreeSet;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The namespace if nothing else is said.
const DEFAULT_NAMESPACE: &str = "flockwork";

/// What a node by itself is called where only programs of its own host can see it.
const LOOPBACK: &str = "127.0.0.1";

/// A node that runs inside this program. Dropping it leaves the node running.
#[derive(Debug)]
pub struct Node {
    running: Running,
    worker: Worker,
}

impl Node {
    /// Says what a node is to be.
    #[must_use]
    pub fn builder() -> NodeBuilder {
        NodeBuilder::default()
    }

    /// The node from outside: its status, triggers, reports, numbers.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        self.running.handle()
    }

    /// Serves one more job from now on.
    ///
    /// # Errors
    /// [`Error::Jobs`] with all that is wrong with it; [`Error::Unavailable`], if the node has
    /// stopped.
    pub async fn serve(&self, job: Job, function: Function) -> Result<(), Error> {
        let job = job.check(SystemClock.now().wall).map_err(Error::Jobs)?;
        let define = offered(job, Runs::Function(function), false, &self.worker);
        self.handle().define(define).await?;
        Ok(())
    }

    /// Serves a job no longer: its runs end first, and the registry keeps the job.
    ///
    /// # Errors
    /// [`Error::Unavailable`], if the node has stopped.
    pub async fn withdraw(&self, job: JobName) -> Result<(), Error> {
        Ok(self.handle().withdraw(job).await?)
    }

    /// Waits until the node has stopped, which it does when drained ([`Handle::drain`]).
    ///
    /// # Errors
    /// [`Error::Ended`], if it ended otherwise: a node is never alive without its scheduler.
    pub async fn join(self) -> Result<Stopped, Error> {
        Ok(self.running.join().await?)
    }

    /// Drains the node and waits until it has stopped: at most the drain time and some seconds.
    ///
    /// # Errors
    /// As [`Node::join`].
    pub async fn shutdown(self) -> Result<Stopped, Error> {
        self.handle().drain();
        self.join().await
    }
}

/// What a job runs.
#[derive(Debug)]
enum Runs {
    Function(Function),
    Script,
}

/// Says what a node is to be; [`NodeBuilder::start`] makes it.
#[derive(Debug)]
pub struct NodeBuilder {
    registry: Registry,
    namespace: String,
    address: Option<String>,
    jobs: Vec<(Job, Runs)>,
    max_running: usize,
    drain_timeout: Duration,
    reconcile_interval: Duration,
    apply: bool,
    reporters: Vec<Box<dyn Reporter>>,
    scripts: Scripts,
    signals: bool,
}

impl Default for NodeBuilder {
    fn default() -> Self {
        Self {
            registry: Registry::memory(),
            namespace: DEFAULT_NAMESPACE.to_owned(),
            address: None,
            jobs: Vec::new(),
            max_running: DEFAULT_MAX_RUNNING,
            drain_timeout: DEFAULT_DRAIN_TIMEOUT,
            reconcile_interval: DEFAULT_RECONCILE_INTERVAL,
            apply: false,
            reporters: vec![Box::new(Journal)],
            scripts: Scripts::default(),
            signals: false,
        }
    }
}

impl NodeBuilder {
    /// Where nodes meet; without it the node is alone ([`Registry::memory`]).
    #[must_use]
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = registry;
        self
    }

    /// The namespace whose jobs it shares; `flockwork` unless said otherwise.
    #[must_use]
    pub fn namespace(mut self, namespace: &str) -> Self {
        namespace.clone_into(&mut self.namespace);
        self
    }

    /// The address of this host in the node's id, where the one found by itself is not the right
    /// one: it groups the instances of a host, and is what operators enable and disable.
    #[must_use]
    pub fn address(mut self, address: &str) -> Self {
        self.address = Some(address.to_owned());
        self
    }

    /// Serves a job that awaits: an async function, or what implements [`AsyncJob`](crate::AsyncJob) by hand
    /// ([`NodeBuilder::function`]).
    #[must_use]
    pub fn job<F, T, E>(self, job: Job, run: F) -> Self
    where
        F: Fn(Context) -> T + Send + Sync + 'static,
        T: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        self.function(job, Function::from_async(run))
    }

    /// Serves a job that blocks its thread; it gets a thread of its own. See [`BlockingJob`](crate::BlockingJob) for
    /// what it must heed, as nothing can stop it from outside.
    #[must_use]
    pub fn blocking_job<F, E>(self, job: Job, run: F) -> Self
    where
        F: Fn(&Context) -> Result<(), E> + Send + Sync + 'static,
        E: Into<BoxError> + 'static,
    {
        self.function(job, Function::from_blocking(run))
    }

    /// Serves a job of either kind: [`Function::awaiting`] takes any [`AsyncJob`](crate::AsyncJob),
    /// [`Function::blocking`] any [`BlockingJob`](crate::BlockingJob).
    #[must_use]
    pub fn function(mut self, job: Job, function: Function) -> Self {
        self.jobs.push((job, Runs::Function(function)));
        self
    }

    /// Serves a job that runs a program: its path and arguments, without a shell. The program must
    /// be allowed ([`NodeBuilder::allow_scripts`]), and `main` must begin with
    /// [`run_if_asked`](crate::runner::run_if_asked).
    #[must_use]
    pub fn script<S: Into<String>>(mut self, job: Job, argv: impl IntoIterator<Item = S>) -> Self {
        let argv = argv.into_iter().map(Into::into).collect();
        self.jobs.push((job.script(argv), Runs::Script));
        self
    }

    /// Which programs the node executes: these, and all in and below these directories. None unless
    /// said otherwise, whatever a job's definition in the registry says.
    #[must_use]
    pub fn allow_scripts<P: Into<PathBuf>>(mut self, paths: impl IntoIterator<Item = P>) -> Self {
        self.scripts.allow = Allowlist::new(paths.into_iter().map(Into::into).collect());
        self
    }

    /// All that can be said of how scripts are run; replaces what was allowed before. Their lease
    /// and whom they trust are the node's to say.
    #[must_use]
    pub fn scripts(mut self, scripts: Scripts) -> Self {
        self.scripts = scripts;
        self
    }

    /// How many runs it has at a time; 256 unless said otherwise. A fire that finds it full waits
    /// unclaimed, in due order, and is shown late. Blocking jobs and scripts have a thread each.
    #[must_use]
    pub fn max_running(mut self, runs: usize) -> Self {
        self.max_running = runs;
        self
    }

    /// How long runs may go on after the node is told to stop, before they are told to; 25 s unless
    /// said otherwise.
    #[must_use]
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.drain_timeout = timeout;
        self
    }

    /// How often the node compares what it believes with what the registry holds, should it have
    /// missed something; 60 s unless said otherwise.
    #[must_use]
    pub fn reconcile_interval(mut self, interval: Duration) -> Self {
        self.reconcile_interval = interval;
        self
    }

    /// All definitions replace the registry's where they differ, as [`Job::overwrite`] does for one.
    #[must_use]
    pub fn apply(mut self) -> Self {
        self.apply = true;
        self
    }

    /// Is told every report, beside the program's log.
    #[must_use]
    pub fn reporter(mut self, reporter: impl Reporter) -> Self {
        self.reporters.push(Box::new(reporter));
        self
    }

    /// Drains the node at SIGTERM, SIGINT or SIGHUP (unless that is ignored, as under `nohup`), and ends
    /// the whole program at the second SIGTERM or SIGINT. Without this no signal is touched.
    #[must_use]
    pub fn drain_on_signals(mut self) -> Self {
        self.signals = true;
        self
    }

    /// Starts the node on the current tokio runtime, and returns at once: a registry that is away is
    /// waited for, and reported.
    ///
    /// # Errors
    /// [`Error`], if a job or a setting is not as it must be, or there is no runtime.
    pub fn start(self) -> Result<Node, Error> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| Error::NoRuntime)?;
        self.check_settings()?;
        let instance = self.identity()?;
        let namespace = Namespace::new(&self.namespace)?;
        let signals = match self.signals {
            true => Some(Signals::catch().map_err(Error::Signals)?),
            false => None,
        };
        let pulse = Pulse::default();
        let mut settings = flockwork_worker::Settings {
            max_threads: self.max_running,
            scripts: self.scripts,
            ..flockwork_worker::Settings::default()
        };
        settings.scripts.trust = pulse.trust();
        if let Some(lease) = self.registry.lease() {
            settings.scripts.lease = lease;
        }
        let worker = Worker::new(settings, runtime);
        let jobs = defined(self.jobs, self.apply, &worker)?;
        if runner::is_installed() {
            end_leftovers(worker.clone());
        }
        let start = Start {
            instance,
            namespace,
            max_running: self.max_running,
            reconcile_interval: self.reconcile_interval,
            drain_timeout: self.drain_timeout,
            jobs,
            pulse,
            reporters: self.reporters,
        };
        let runs = worker.clone();
        let running = start
            .spawn(self.registry.into_connect(), move |endings| WorkerExecutor::new(runs, endings));
        if let Some(signals) = signals {
            tokio::spawn(signals.drain_then_exit(running.handle().clone()));
        }
        Ok(Node { running, worker })
    }

    /// Starts the node and waits until it has stopped.
    ///
    /// # Errors
    /// As [`NodeBuilder::start`] and [`Node::join`].
    pub async fn run(self) -> Result<Stopped, Error> {
        self.start()?.join().await
    }

    fn check_settings(&self) -> Result<(), Error> {
        let setting = |what, actual, hint| Err(Error::Setting { what, actual, hint });
        if self.max_running == 0 {
            return setting(
                "max_running",
                "0".to_owned(),
                "a node that runs anything needs 1 at least",
            );
        }
        if self.reconcile_interval < Duration::from_secs(1) {
            let actual = format!("{:?}", self.reconcile_interval);
            return setting("reconcile_interval", actual, "it is a second at least");
        }
        Ok(())
    }

    fn identity(&self) -> Result<InstanceId, Error> {
        if let Some(address) = &self.address {
            return Ok(instance_id(address)?);
        }
        let found = server_address();
        match (found, self.registry.reach()) {
            (Ok(Some(address)), _) => Ok(instance_id(&address.to_string())?),
            (Ok(None), Reach::Hosts) => Err(Error::NoAddress("no interface has one".to_owned())),
            (Err(error), Reach::Hosts) => Err(Error::NoAddress(error.to_string())),
            (Ok(None) | Err(_), Reach::Host) => {
                tracing::warn!(
                    "this host has no IPv4 address of its own; the node is named {LOOPBACK}"
                );
                Ok(instance_id(LOOPBACK)?)
            }
        }
    }
}

/// Ends what a killed node has left of its scripts, beside the start: those runs are known as crashed
/// and are not waited for.
fn end_leftovers(worker: Worker) {
    tokio::task::spawn_blocking(move || {
        let ended = worker.end_leftovers();
        if ended > 0 {
            tracing::warn!(processes = ended, "ended what scripts of a killed node had left");
        }
    });
}

/// Checks all jobs, and registers their functions and listeners once all are right.
fn defined(jobs: Vec<(Job, Runs)>, apply: bool, worker: &Worker) -> Result<Vec<Define>, Error> {
    let now = SystemClock.now().wall;
    let (mut names, mut problems) = (BTreeSet::new(), Vec::<Problem>::new());
    let mut checked = Vec::with_capacity(jobs.len());
    for (job, runs) in jobs {
        match job.check(now) {
            Ok(job) if !names.insert(job.config.name.clone()) => {
                return Err(Error::DuplicateJob(job.config.name.to_string()));
            }
            Ok(job) if matches!(runs, Runs::Script) && !runner::is_installed() => {
                return Err(Error::RunnerNotInstalled(job.config.name.to_string()));
            }
            Ok(job) => checked.push((job, runs)),
            Err(found) => problems.extend(found),
        }
    }
    if !problems.is_empty() {
        return Err(Error::Jobs(problems));
    }
    Ok(checked.into_iter().map(|(job, runs)| offered(job, runs, apply, worker)).collect())
}

/// A job as the node is to serve it, after all that it calls is registered.
fn offered(job: CheckedJob, runs: Runs, apply: bool, worker: &Worker) -> Define {
    let CheckedJob { config, listener } = job;
    if let Runs::Function(function) = runs {
        worker.register(config.name.clone(), function);
    }
    if let Some(listener) = listener {
        worker.listen(config.name.clone(), listener);
    }
    Define { config: Arc::new(config), apply }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Draft, Listener, ListenerDraft, OnBeforeFailure};
    use flockwork_core::config::ListenerRules;

    fn nothing() -> Function {
        Function::from_async(async |_| Ok::<_, BoxError>(()))
    }

    #[tokio::test]
    async fn all_that_is_wrong_with_all_jobs_is_told_at_once() {
        let error = Node::builder()
            .function(Job::cron("a/b", "0/5 * * * * ?"), nothing())
            .function(Job::cron("c", "0/5 * * * *"), nothing())
            .function(Job::cron("d", "0/5 * * * * ?").shards(0), nothing())
            .start()
            .unwrap_err();
        let text = error.to_string();
        for place in ["jobs.a/b", "jobs.c.cron", "jobs.d.shards"] {
            assert!(text.contains(place), "{place} is missing in {text}");
        }
    }

    #[tokio::test]
    async fn a_name_is_served_once() {
        let error = Node::builder()
            .function(Job::on_trigger("a"), nothing())
            .function(Job::on_trigger("a"), nothing())
            .start()
            .unwrap_err();
        assert!(matches!(error, Error::DuplicateJob(name) if name == "a"));
    }

    #[tokio::test]
    async fn settings_out_of_range_are_named() {
        for (builder, what) in [
            (Node::builder().max_running(0), "max_running"),
            (Node::builder().reconcile_interval(Duration::ZERO), "reconcile_interval"),
            (Node::builder().namespace("a//b"), "a//b"),
            (Node::builder().address("a/b"), "a/b"),
        ] {
            let error = builder.start().unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
    }

    #[tokio::test]
    async fn a_script_needs_its_runner() {
        let error =
            Node::builder().script(Job::on_trigger("a"), ["/bin/true"]).start().unwrap_err();
        assert!(matches!(&error, Error::RunnerNotInstalled(name) if name == "a"), "{error}");
    }

    struct Silent;
    impl Listener for Silent {}

    #[tokio::test]
    async fn rules_for_a_listener_are_refused_without_one_beside_all_else_that_is_wrong() {
        let listener = Some(ListenerDraft::default());
        let draft = Draft { listener, ..Draft::native("a") };
        let shards = Job::on_trigger("b").before_timeout(Duration::from_secs(1)).shards(0);
        let error = Node::builder()
            .function(Job::from_draft(draft), nothing())
            .function(shards, nothing())
            .start()
            .unwrap_err();
        let text = error.to_string();
        let refused = |job: &str| {
            format!(
                "error[NO_LISTENER]: jobs.{job}.listener: the job has rules for a listener, and no \
                 listener; give it one with Job::listener, or leave the rules out"
            )
        };
        for expected in [refused("a"), refused("b"), "jobs.b.shards".to_owned()] {
            assert!(text.contains(&expected), "{expected} is missing in {text}");
        }
        let node = Node::builder().start().unwrap();
        let later = Job::on_trigger("c").on_before_failure(OnBeforeFailure::Run);
        let error = node.serve(later, nothing()).await.unwrap_err();
        assert!(error.to_string().contains(&refused("c")), "{error}");
    }

    #[tokio::test]
    async fn a_job_with_a_listener_is_offered_with_its_rules_and_the_worker_has_it() {
        let worker =
            Worker::new(flockwork_worker::Settings::default(), tokio::runtime::Handle::current());
        let ruled = Job::on_trigger("ruled")
            .after_timeout(Duration::from_secs(2))
            .listener(Silent)
            .before_timeout(Duration::from_secs(1))
            .on_before_failure(OnBeforeFailure::Run);
        let rules = ListenerRules {
            before_timeout: Duration::from_secs(1),
            after_timeout: Duration::from_secs(2),
            on_failure: OnBeforeFailure::Run,
        };
        let table = [
            (ruled, Some(rules)),
            (Job::on_trigger("usual").listener(Silent), Some(ListenerRules::default())),
            (Job::on_trigger("none"), None),
        ];
        for (job, expected) in table {
            let job = vec![(job, Runs::Function(nothing()))];
            let [define] = &defined(job, false, &worker).unwrap()[..] else { panic!("one job") };
            assert_eq!(define.config.listener, expected);
            let name = &define.config.name;
            let replaced = worker.listen(name.clone(), Arc::new(Silent));
            assert_eq!(replaced.is_some(), expected.is_some(), "registered for {name}");
        }
    }

    #[tokio::test]
    async fn listeners_with_rules_out_of_their_range_are_refused() {
        let job = Job::on_trigger("a").listener(Silent).before_timeout(Duration::from_hours(2));
        let error = Node::builder().function(job, nothing()).start().unwrap_err();
        assert!(error.to_string().contains("jobs.a.listener.before_timeout"), "{error}");
    }

    #[test]
    fn a_node_needs_a_runtime() {
        assert!(matches!(Node::builder().start(), Err(Error::NoRuntime)));
    }

    #[tokio::test]
    async fn the_address_that_was_set_names_the_node() {
        let node = Node::builder().address("10.1.2.3").start().unwrap();
        assert_eq!(node.handle().instance().server(), "10.1.2.3");
    }
}
