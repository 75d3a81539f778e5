//! Whether this command can run what files say: asked before a node starts, and by `validate`.

use crate::fault::{Exit, Fault};
use crate::files::Loaded;
use crate::output;
use flockwork_core::config::JobConfig;
use flockwork_core::execution::{Script, Work};
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

/// This program has no functions and no listeners of its own, and runs only the scripts that its own files
/// allow. What is told of a script beyond that is a warning, of which this gives the number: the file may
/// be meant for another host.
///
/// # Errors
/// A job that cannot run, and why; of several, all but the last are told here.
pub(crate) fn check(loaded: &Loaded) -> Result<usize, Fault> {
    let scripts = scripts(loaded);
    let (mut refused, mut warnings) = (Vec::new(), 0);
    let wants_namespaces = loaded.node.texts.get("scripts.pid_namespace");
    if wants_namespaces.is_some_and(|(text, _)| text == "true")
        && let Some(fault) = no_namespaces()
    {
        warnings += loaded.jobs.len();
        output::complain(&fault.warning());
    }
    for job in &loaded.jobs {
        match runs(job, loaded).and_then(|script| starts(job, script, &scripts, loaded)) {
            Ok(None) => {}
            Ok(Some(warning)) => {
                warnings += 1;
                output::complain(&warning.warning());
            }
            Err(fault) => refused.push(fault),
        }
    }
    let Some(last) = refused.pop() else { return Ok(warnings) };
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

/// What these files say of running scripts.
pub(crate) fn scripts(loaded: &Loaded) -> Scripts {
    let allow = loaded.node.scripts_allow.iter().map(Into::into).collect();
    Scripts { allow: Allowlist::new(allow), cwd: loaded.directory.clone(), ..Scripts::default() }
}

fn runs<'a>(job: &'a JobConfig, loaded: &Loaded) -> Result<&'a Script, Fault> {
    match &*job.work {
        Work::Function => {
            let what = format!("job {} names no script", job.name);
            Err(Fault::new(Exit::Invalid, "NO_SCRIPT", what).hint(
                "this command runs scripts; functions run in your own program, with the library",
            ))
        }
        Work::Script(_) if job.listener.is_some() => {
            let what = format!("job {} has a listener", job.name);
            Err(Fault::new(Exit::Invalid, "NO_LISTENER", what).hint(
                "this command has no listeners; they are called in your own program, with the library",
            ))
        }
        Work::Script(_) if loaded.node.scripts_allow.is_empty() => {
            let what = format!("job {} runs a script, and no file allows any", job.name);
            Err(Fault::new(Exit::Invalid, "CONFLICT", what)
                .hint("write under node: scripts: {allow: [./the-script.sh]}"))
        }
        Work::Script(script) => fits(job).map(|()| script),
    }
}

/// Asks the worker what it would say at a start. A script that is here and that the files do not allow
/// contradicts them wherever they are read; all else may be different on another host.
fn starts(
    job: &JobConfig,
    script: &Script,
    scripts: &Scripts,
    loaded: &Loaded,
) -> Result<Option<Fault>, Fault> {
    let (shard, context) = longest_context(job);
    let Err(refusal) = scripts.startable(script, &context) else { return Ok(None) };
    let own = job.shard_parameters.get(&shard).map_or(0, String::len);
    let keys = match refusal {
        Refusal::TooLong { is_context: true, .. } if own > job.job_parameter.len() => {
            PARAMETERS_KEYS
        }
        Refusal::TooLong { is_context: true, .. } => PARAMETER_KEYS,
        _ => SCRIPT_KEYS,
    };
    let what = format!("{}: {}", place(job, &keys, loaded), refusal.message());
    let fault = Fault::new(Exit::Invalid, refusal.code(), what);
    let program = script.argv.first().map_or("", String::as_str);
    match &refusal {
        Refusal::NotAllowed { path }
            if path.exists() && !scripts.allow.names(program, &scripts.cwd) =>
        {
            Err(fault)
        }
        _ => Ok(Some(fault.hint(
            "on this host its runs would end as NOT_STARTED; the file may be meant for another",
        ))),
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
