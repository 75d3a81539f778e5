//! Whether a node of this command may serve what files say: asked before a node starts, and by `validate`.

use crate::fault::{Exit, Fault};
use crate::files::Loaded;
use crate::output;
use flockwork_core::config::JobConfig;
use flockwork_core::eligibility::{Eligibility, Hindrance, Offer, Startable, may_serve};
use flockwork_core::execution::Work;
use flockwork_layout::document;
use flockwork_worker::runner;
use flockwork_worker::script::{Allowlist, Refusal, Scripts, longest_context};

/// The largest definition that every registry takes, in bytes: ElasticJob keeps it in one node, and
/// the registries hold half of ZooKeeper's packet of 1 MiB in one value.
const DEFINITION_BYTES: usize = 512 * 1024;

/// The keys that say what a job runs, in our words and ElasticJob's.
const SCRIPT_KEYS: [&str; 2] = ["script", "script.command.line"];

/// The keys of what is given to all shards, and to each.
const PARAMETER_KEYS: [&str; 2] = ["parameter", "jobParameter"];
const PARAMETERS_KEYS: [&str; 2] = ["parameters", "shardingItemParameters"];

/// For whom it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum For {
    /// A node that is about to start: it serves the jobs that it may, and says why it does not serve the rest.
    ThisNode,
    /// People who want to know what is wrong: what contradicts itself is.
    People,
}

/// Asks what a node asks before it serves a job, of each job. This program has no functions and no listeners
/// of its own, and runs only the scripts that its own files allow. What is told of a script beyond that is a
/// warning, of which this gives the number: the file may be meant for another host.
///
/// # Errors
/// A job that cannot run, and why; of several, all but the last are told here.
pub(crate) fn check(loaded: &Loaded, whom: For) -> Result<usize, Fault> {
    let scripts = scripts(loaded);
    let (mut refused, mut warned) = (Vec::new(), 0);
    let wants_namespaces = loaded.node.texts.get("scripts.pid_namespace");
    if wants_namespaces.is_some_and(|(text, _)| text == "true")
        && let Some(fault) = no_namespaces()
    {
        warned += loaded.jobs.len();
        output::complain(&fault.warning());
    }
    for job in &loaded.jobs {
        let (errors, warnings): (Vec<_>, Vec<_>) =
            faults(job, &scripts, loaded).into_iter().partition(|told| told.is_error(whom));
        warned += usize::from(errors.is_empty() && !warnings.is_empty());
        match errors.is_empty() {
            true => warnings.into_iter().for_each(|told| output::complain(&told.warning(whom))),
            false => refused.extend(errors.into_iter().map(|told| told.fault)),
        }
    }
    let Some(last) = refused.pop() else { return Ok(warned) };
    refused.iter().for_each(|fault| output::complain(&fault.text()));
    Err(last)
}

/// Why this process cannot give scripts PID namespaces of their own, if so: each run would fail.
pub(crate) fn no_namespaces() -> Option<Fault> {
    if runner::may_make_namespaces() {
        return None;
    }
    let what = "scripts.pid_namespace is true, and this process has no CAP_SYS_ADMIN";
    Some(Fault::new(Exit::Invalid, "PID_NAMESPACE", what).hint(
        "give it that capability (of a service: AmbientCapabilities=CAP_SYS_ADMIN), or write false; \
         docs/when-a-node-dies.md says what survives without it",
    ))
}

/// What is wrong with a job, and how wrong that is.
struct Told {
    fault: Fault,
    weight: Weight,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weight {
    /// No node of this program can run the job, wherever it is.
    Wrong,
    /// The files contradict themselves. A node that is started with them serves what it may.
    Contradictory,
    /// It may be in order on another host.
    OnThisHost,
}

impl Told {
    fn is_error(&self, whom: For) -> bool {
        match self.weight {
            Weight::Wrong => true,
            Weight::Contradictory => whom == For::People,
            Weight::OnThisHost => false,
        }
    }

    fn warning(self, whom: For) -> String {
        let then = match whom {
            For::ThisNode => "this node does not serve the job until then; nodes that may do",
            For::People => {
                "a node on this host would not serve the job; the file may be meant for another"
            }
        };
        let hint =
            self.fault.hint.as_ref().map_or(then.to_owned(), |hint| format!("{hint}; {then}"));
        self.fault.hint(hint).warning()
    }
}

/// What these files say of running scripts.
pub(crate) fn scripts(loaded: &Loaded) -> Scripts {
    let allow = loaded.node.scripts_allow.iter().map(Into::into).collect();
    Scripts { allow: Allowlist::new(allow), cwd: loaded.directory.clone(), ..Scripts::default() }
}

/// What keeps a node of this program from serving a job, by the question that the node asks.
fn faults(job: &JobConfig, scripts: &Scripts, loaded: &Loaded) -> Vec<Told> {
    let refusal = match &*job.work {
        Work::Script(script) => scripts.startable(script, &longest_context(job).1).err(),
        Work::Function => None,
    };
    let script = refusal.as_ref().map_or(Startable::Yes, |refusal| {
        Startable::No(Hindrance::Script { code: refusal.code(), text: refusal.message() })
    });
    let offer =
        Offer { implementations: None, has_function: false, has_listener: false, script: &script };
    let hindrances = match may_serve(job, &offer) {
        Eligibility::MayNot(why) => why,
        Eligibility::May | Eligibility::NotKnown => Vec::new(),
    };
    let too_large = fits(job).err().map(|fault| Told { fault, weight: Weight::Wrong });
    let told = hindrances.iter().map(|why| match (why, &refusal) {
        (Hindrance::Script { .. }, Some(refusal)) => of_script(job, refusal, scripts, loaded),
        (why, _) => of_program(job, why),
    });
    told.chain(too_large).collect()
}

/// What this program does not have at all.
fn of_program(job: &JobConfig, why: &Hindrance) -> Told {
    let name = &job.name;
    let (code, what, hint) = match why {
        Hindrance::NoFunction => (
            "NO_SCRIPT",
            format!("job {name} names no script"),
            "this command runs scripts; functions run in your own program, with the library",
        ),
        Hindrance::NoListener => (
            "NO_LISTENER",
            format!("job {name} has a listener"),
            "this command has no listeners; they are called in your own program, with the library",
        ),
        other => (other.code(), format!("job {name}: {other}"), "give one of them another name"),
    };
    let fault = Fault::new(Exit::Invalid, code, what).hint(hint);
    Told { fault, weight: Weight::Wrong }
}

/// A script that is here and that the files do not allow contradicts them wherever they are read; all else may
/// be different on another host.
fn of_script(job: &JobConfig, refusal: &Refusal, scripts: &Scripts, loaded: &Loaded) -> Told {
    if scripts.allow.is_empty() {
        let what = format!("job {} runs a script, and no file allows any", job.name);
        let fault = Fault::new(Exit::Invalid, "CONFLICT", what)
            .hint("write under node: scripts: {allow: [./the-script.sh]}");
        return Told { fault, weight: Weight::Contradictory };
    }
    let what = format!("{}: {}", place(job, keys(job, refusal), loaded), refusal.message());
    let fault = Fault::new(Exit::Invalid, refusal.code(), what);
    let is_named = matches!(&*job.work, Work::Script(script)
        if script.argv.first().is_some_and(|program| scripts.allow.names(program, &scripts.cwd)));
    let weight = match refusal {
        Refusal::NotAllowed { path } if path.exists() && !is_named => Weight::Contradictory,
        _ => Weight::OnThisHost,
    };
    Told { fault, weight }
}

/// The keys that say what a refusal is about.
fn keys(job: &JobConfig, refusal: &Refusal) -> &'static [&'static str] {
    let (shard, _) = longest_context(job);
    let own = job.shard_parameters.get(&shard).map_or(0, String::len);
    match refusal {
        Refusal::TooLong { is_context: true, .. } if own > job.job_parameter.len() => {
            &PARAMETERS_KEYS
        }
        Refusal::TooLong { is_context: true, .. } => &PARAMETER_KEYS,
        _ => &SCRIPT_KEYS,
    }
}

/// `FILE:LINE:COLUMN: jobs.NAME.KEY`.
fn place(job: &JobConfig, keys: &[&'static str], loaded: &Loaded) -> String {
    let Some((source, positions)) = loaded.places.get(&job.name) else {
        return format!("jobs.{}", job.name);
    };
    let (key, at) = positions.first_of(keys);
    let key = key.map_or_else(String::new, |key| format!(".{key}"));
    format!("{source}:{}:{}: jobs.{}{key}", at.line, at.column, job.name)
}

fn fits(job: &JobConfig) -> Result<(), Fault> {
    let bytes = document::encode(job).len();
    if bytes <= DEFINITION_BYTES {
        return Ok(());
    }
    let what = format!(
        "the definition of job {} has {bytes} bytes, a registry takes {DEFINITION_BYTES}",
        job.name
    );
    Err(Fault::new(Exit::Invalid, "TOO_LARGE", what)
        .hint("keep long parameters in a file, and give the job its path"))
}
