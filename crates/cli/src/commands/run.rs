//! `flockwork run`: a node, until it is told to stop.

mod strangers;

use crate::args::RunArgs;
use crate::fault::{Exit, Fault};
use crate::files::{self, Loaded};
use crate::output::{self, Colour, LAST_WORDS};
use crate::page::{self, About};
use crate::place::{self, Found};
use crate::runnable::For;
use crate::state::Teller;
use crate::{args, clock, live, logs, runnable, show};
use flockwork_core::config::JobConfig;
use flockwork_core::id::InstanceId;
use flockwork_engine::identity::{instance_id, server_address};
use flockwork_engine::journal::Journal;
use flockwork_engine::signals::{IMPATIENT_EXIT, Signals};
use flockwork_engine::{EngineError, Pulse, Start, Stopped, Watch, WorkerExecutor};
use flockwork_layout::settings::{NodeSettings, Source, resolve};
use flockwork_node::Define;
use flockwork_worker::script::Scripts;
use flockwork_worker::{OpenFiles, Worker};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::timeout;

/// How long a loop must stand still at least to count as stuck: more than closing the session takes
/// at the end, when it turns no more, and than any turn does, with a million jobs on a loaded host.
const SHORTEST_SILENCE: Duration = Duration::from_secs(15);

/// All that a node is started with.
struct Plan {
    settings: NodeSettings,
    found: Found,
    loaded: Loaded,
    instance: InstanceId,
    apply: bool,
    open_files: OpenFiles,
}

pub(crate) fn run(args: &RunArgs) -> Result<(), Fault> {
    let plan = plan(args)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|why| {
            Fault::new(Exit::Failed, "RUNTIME", format!("cannot start threads: {why}"))
        })?;
    let done = runtime.block_on(serve(plan));
    runtime.shutdown_timeout(LAST_WORDS);
    output::last_words();
    done
}

fn plan(args: &RunArgs) -> Result<Plan, Fault> {
    let flag = |name: &str| args.node.flag(&args.place, name);
    let now = clock::now();
    let zone = flag("time-zone").or_else(|| place::environment("FLOCKWORK_TIME_ZONE"));
    let mut loaded = files::load(&args.files, zone.as_deref(), now)?;
    let resolved = resolve(&loaded.node, &place::environment, &flag);
    let (settings, origins) = place::accepted(resolved)?;
    let open_files = OpenFiles::raise();
    if zone.as_deref().unwrap_or("UTC") != settings.time_zone {
        loaded = files::load(&args.files, Some(&settings.time_zone), now)?;
    }
    let log_is_default = origins.iter().any(|o| o.name == "log" && o.source == Source::Default);
    let filter = if log_is_default { logs::DEFAULT_FILTER } else { &settings.log };
    logs::start(filter, settings.log_format == "json")?;
    runnable::check(&loaded, For::ThisNode)?;
    let ip = settings.ip.clone().unwrap_or_else(own_address);
    let instance = instance_id(&ip)
        .map_err(|why| Fault::new(Exit::Invalid, "ADDRESS", format!("--ip: {why}")))?;
    if settings.scripts_pid_namespace
        && let Some(fault) = runnable::no_namespaces()
    {
        return Err(fault);
    }
    let found = Found::resolved(&settings)?;
    Ok(Plan { settings, found, loaded, instance, apply: args.apply, open_files })
}

fn own_address() -> String {
    let address = server_address().ok().flatten();
    address.map_or_else(|| "127.0.0.1".to_owned(), |address| address.to_string())
}

async fn serve(plan: Plan) -> Result<(), Fault> {
    let signals = Signals::catch_all().map_err(|why| {
        Fault::new(Exit::Failed, "SIGNALS", format!("cannot catch signals: {why}"))
    })?;
    place::make_private(Path::new(&plan.settings.data))?;
    let listener = page::bind(plan.settings.listen, plan.settings.listen_is_explicit).await?;
    let pulse = Pulse::default();
    let worker = worker(&plan, &pulse);
    let _ = output::write(&banner(&plan, &listener));
    if let Some(warning) = scarce_files(&plan) {
        let _ = output::write(&warning);
    }
    // Before this node starts anything: what a killed one left behind would run beside it.
    let leftovers = tokio::task::block_in_place(|| worker.end_leftovers());
    if leftovers > 0 {
        let _ =
            output::write(&format!("ended {leftovers} processes that a killed node had left\n"));
    }
    let watch = watch(&plan, &pulse)?;
    let running = start(&plan, pulse)
        .spawn(plan.found.connector(), |endings| WorkerExecutor::new(worker, endings));
    let handle = running.handle().clone();
    let lines = tokio::spawn(live::follow(handle.subscribe(), Colour::of_stdout()));
    let about = About {
        registry: plan.found.address.to_string(),
        namespace: plan.found.namespace.to_string(),
        started: clock::now(),
    };
    let pages = tokio::spawn(page::serve(listener, handle.clone(), about));
    let strangers = tokio::spawn(strangers::name(plan.found.clone(), names(&plan), handle.clone()));
    tokio::spawn(async move {
        let teller = Teller::new(handle.clone());
        signals.obey(handle, || teller.tell()).await;
        output::last_words();
        std::process::exit(IMPATIENT_EXIT);
    });
    let stopped = running.join().await;
    drop(watch);
    strangers.abort();
    pages.abort();
    let _ = timeout(LAST_WORDS, lines).await;
    ended(stopped)
}

/// Ends the process when the node's loop stands still: its session would live on, and others would
/// wait for its work for ever. Scripts end with it.
fn watch(plan: &Plan, pulse: &Pulse) -> Result<Watch, Fault> {
    let limit = plan.settings.session_timeout.max(SHORTEST_SILENCE);
    let silent = move || {
        let what = format!("the node's loop has not turned for {} s", limit.as_secs());
        let fault = Fault::new(Exit::Failed, "STUCK", what)
            .hint("others take its jobs over; this is a bug of flockwork; please report it");
        output::complain(&fault.text());
        std::process::exit(i32::from(fault.exit as u8));
    };
    pulse
        .watch(limit, silent)
        .map_err(|why| Fault::new(Exit::Failed, "RUNTIME", format!("cannot start threads: {why}")))
}

fn worker(plan: &Plan, pulse: &Pulse) -> Worker {
    let scripts = Scripts {
        output: Some(absolute(Path::new(&plan.settings.data)).join("output")),
        open_files: plan.open_files.callers,
        lease: plan.settings.session_timeout * 2 / 3,
        trust: pulse.trust(),
        pid_namespace: plan.settings.scripts_pid_namespace,
        ..runnable::scripts(&plan.loaded)
    };
    let settings = flockwork_worker::Settings {
        max_threads: max_running(plan),
        grace: plan.settings.cancel_grace,
        scripts,
    };
    Worker::new(settings, tokio::runtime::Handle::current())
}

/// As set, or fewer: fires wait for room then, where a start beyond the limit of open files would fail.
fn max_running(plan: &Plan) -> usize {
    plan.settings.max_running.min(plan.open_files.scripts())
}

/// Says that there is less room than was asked for, if so.
fn scarce_files(plan: &Plan) -> Option<String> {
    let (asked, fit) = (plan.settings.max_running, max_running(plan));
    let limit = plan.open_files.limit.filter(|_| fit < asked)?;
    Some(format!(
        "warning[OPEN_FILES_LIMIT]: this node may have {limit} files open, which is enough for {fit} runs \
         at once, not for max_running {asked}: fires beyond {fit} wait for room; raise the hard limit \
         (ulimit -Hn, LimitNOFILE= of the service) or lower max_running\n"
    ))
}

fn absolute(path: &Path) -> std::path::PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn start(plan: &Plan, pulse: Pulse) -> Start {
    let define = |config: &JobConfig| Define {
        config: Arc::new(config.clone()),
        apply: plan.apply || config.overwrite,
    };
    Start {
        instance: plan.instance.clone(),
        namespace: plan.found.namespace.clone(),
        max_running: max_running(plan),
        reconcile_interval: plan.settings.reconcile_interval,
        drain_timeout: plan.settings.drain_timeout,
        jobs: plan.loaded.jobs.iter().map(define).collect(),
        reporters: vec![Box::new(Journal)],
        pulse,
    }
}

fn names(plan: &Plan) -> Vec<String> {
    plan.loaded.jobs.iter().map(|job| job.name.to_string()).collect()
}

/// What a person wants to know first: where everything is.
fn banner(plan: &Plan, listener: &TcpListener) -> String {
    let mut text = format!("flockwork {}\n", args::VERSION);
    let _ = writeln!(text, "instance   {}", plan.instance);
    let _ = writeln!(text, "data       {}", absolute(Path::new(&plan.settings.data)).display());
    let _ = writeln!(text, "registry   {}, namespace {}", plan.found.address, plan.found.namespace);
    if let Ok(address) = listener.local_addr() {
        let _ = writeln!(text, "status     http://{address}/");
    }
    for job in &plan.loaded.jobs {
        let schedule = show::schedule(&job.schedule);
        let _ = writeln!(text, "job        {}: {} shards, {schedule}", job.name, job.shards);
    }
    if plan.loaded.jobs.is_empty() {
        text.push_str("job        none in these files\n");
    }
    text
}

fn ended(stopped: Result<Stopped, EngineError>) -> Result<(), Fault> {
    match stopped {
        Ok(Stopped::InOrder) => {
            let _ = output::write("stopped: every run has ended\n");
            Ok(())
        }
        Ok(Stopped::NeverConnected) => Ok(()),
        Ok(Stopped::TimedOut { running: 0 }) => {
            let what = "stopped: every run has ended, but the registry did not take all that became of them";
            Err(Fault::new(Exit::Timeout, "DRAIN_TIMEOUT", what)
                .hint("others find what it does not know as crashed; the log says what it lacks"))
        }
        Ok(Stopped::TimedOut { running }) => {
            let what = format!("stopped with {running} runs under way; others take them over");
            Err(Fault::new(Exit::Timeout, "DRAIN_TIMEOUT", what))
        }
        Err(why @ EngineError::Registry { .. }) => {
            Err(Fault::new(Exit::Invalid, "DATA_DIR", why.to_string()))
        }
        Err(why @ EngineError::RegistryReplaced { .. }) => Err(Fault::new(
            Exit::Registry,
            "REGISTRY_REPLACED",
            why.to_string(),
        )
        .hint(
            "another node that was started there since has made one of its own; start this node \
                 again to join it, or stop all nodes before the old one is put back",
        )),
        Err(why @ EngineError::RegistryGone(_)) => {
            Err(Fault::new(Exit::Registry, "REGISTRY_UNAVAILABLE", why.to_string()))
        }
        Err(why @ (EngineError::Panicked(_) | EngineError::Aborted)) => {
            Err(Fault::new(Exit::Failed, "PANIC", why.to_string())
                .hint("this is a bug of flockwork; please report it"))
        }
    }
}
