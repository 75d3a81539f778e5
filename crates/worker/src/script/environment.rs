//! The environment of a script: made new, with nothing of the node's that could be a secret.

use crate::runner::sweep::MARK;
use flockwork_core::execution::Run;

/// The search path of scripts, and of programs named without a directory.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What is passed on from the node's own environment, if it is set there: where the user's files
/// are, the local time zone, and where temporary files go.
const PASSED_ON: [&str; 3] = ["HOME", "TZ", "TMPDIR"];

/// All variables of one run's script. `mark` tells its processes from all others.
pub(super) fn environment(run: &Run, mark: &str) -> Vec<(String, String)> {
    let mut variables = vec![
        ("PATH".to_owned(), PATH.to_owned()),
        ("LANG".to_owned(), "C.UTF-8".to_owned()),
        ("FLOCKWORK_JOB".to_owned(), run.job.to_string()),
        ("FLOCKWORK_SHARD".to_owned(), run.shard.to_string()),
        ("FLOCKWORK_FIRE".to_owned(), run.fire.due.to_string()),
        ("FLOCKWORK_EPOCH".to_owned(), run.epoch.to_string()),
        ("FLOCKWORK_ATTEMPT".to_owned(), run.attempt.to_string()),
        (MARK.to_owned(), mark.to_owned()),
    ];
    let passed_on = PASSED_ON.iter().filter_map(|name| {
        let value = std::env::var(name).ok()?;
        Some(((*name).to_owned(), value))
    });
    variables.extend(passed_on);
    variables
}
