//! Whether this command can run what files say: asked before a node starts, and by `validate`.

use crate::fault::{Exit, Fault};
use crate::files::Loaded;
use flockwork_core::config::JobConfig;
use flockwork_core::execution::Work;
use flockwork_layout::document;

/// The largest definition that every registry takes, in bytes: ElasticJob keeps it in one node, and
/// the registries hold half of ZooKeeper's packet of 1 MiB in one value.
const DEFINITION_BYTES: usize = 512 * 1024;

/// This program has no functions and no listeners of its own, and runs only the scripts that its own files
/// allow.
///
/// # Errors
/// The first job that cannot run, and why.
pub(crate) fn check(loaded: &Loaded) -> Result<(), Fault> {
    for job in &loaded.jobs {
        match &*job.work {
            Work::Function => {
                let what = format!("job {} names no script", job.name);
                return Err(Fault::new(Exit::Invalid, "NO_SCRIPT", what).hint(
                    "this command runs scripts; functions run in your own program, with the library",
                ));
            }
            Work::Script(_) if job.listener.is_some() => {
                let what = format!("job {} has a listener", job.name);
                return Err(Fault::new(Exit::Invalid, "NO_LISTENER", what).hint(
                    "this command has no listeners; they are called in your own program, with the library",
                ));
            }
            Work::Script(_) if loaded.node.scripts_allow.is_empty() => {
                let what = format!("job {} runs a script, and no file allows any", job.name);
                return Err(Fault::new(Exit::Invalid, "CONFLICT", what)
                    .hint("write under node: scripts: {allow: [./the-script.sh]}"));
            }
            Work::Script(_) => fits(job)?,
        }
    }
    Ok(())
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
