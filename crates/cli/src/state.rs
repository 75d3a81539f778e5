//! How a node stands, on standard error, when a signal asks for it: in plain lines, each of which says
//! whose it is, and at most so many.

use crate::output::{self, escaped};
use flockwork_core::time::Timestamp;
use flockwork_engine::{Handle, Unavailable};
use flockwork_node::{JobStatus, Phase, ShardStatus, Status};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Lines about jobs and their runs. Whoever asks reads them at a terminal or in a log.
const MOST_LINES: usize = 200;

/// Answers signals that ask how a node stands, one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Teller {
    handle: Handle,
    is_asked: Arc<AtomicBool>,
}

impl Teller {
    pub(crate) fn new(handle: Handle) -> Self {
        Self { handle, is_asked: Arc::default() }
    }

    /// Tells how the node stands as soon as it answers. Whoever asks again meanwhile is told together with
    /// who asked before.
    pub(crate) fn tell(&self) {
        if self.is_asked.swap(true, Ordering::AcqRel) {
            return;
        }
        let teller = self.clone();
        tokio::spawn(async move {
            let status = teller.handle.status().await;
            teller.is_asked.store(false, Ordering::Release);
            for line in lines(status.as_deref(), crate::clock::now()) {
                output::note(&format!("state: {}\n", escaped(&line)));
            }
        });
    }
}

/// All that is told, a line each.
fn lines(status: Result<&Status, &Unavailable>, now: Timestamp) -> Vec<String> {
    let status = match status {
        Ok(status) => status,
        Err(why) => return vec![format!("at {now}: unknown: {why}")],
    };
    let mut lines = vec![of_node(status, now)];
    lines.extend(waits(status).into_iter().map(|what| format!("waits for {what}")));
    let mut of_jobs = status.jobs.iter().flat_map(of_job);
    lines.extend(of_jobs.by_ref().take(MOST_LINES));
    match of_jobs.count() {
        0 => {}
        more => lines.push(format!("and {more} more lines; flockwork describe JOB has them")),
    }
    lines
}

fn of_node(status: &Status, now: Timestamp) -> String {
    let session = if status.is_suspended { "not proven" } else { "live" };
    let leaving = if status.is_draining { ", draining" } else { "" };
    format!(
        "at {now}: {}, session {session}{leaving}; {} jobs, {} runs under way",
        status.instance,
        status.jobs.len(),
        status.running
    )
}

/// What keeps the node from doing more, or from leaving.
fn waits(status: &Status) -> Vec<String> {
    let mut waits = Vec::new();
    if status.is_suspended {
        waits.push("the registry: nothing starts until the session is proven again".to_owned());
    }
    if status.is_draining && status.running > 0 {
        waits.push(format!("the end of {} runs, to leave then", status.running));
    }
    if status.waiting > 0 {
        waits.push(format!("a free place (max_running): {} fires", status.waiting));
    }
    if status.commits_in_flight > 0 {
        waits.push(format!("the registry's answer to {} commits", status.commits_in_flight));
    }
    waits
}

/// One line for a job, and one for each of its shards that does something here.
fn of_job(job: &JobStatus) -> impl Iterator<Item = String> {
    let shards = job.shards.iter().filter_map(|shard| of_shard(job, shard));
    std::iter::once(summary(job)).chain(shards)
}

fn summary(job: &JobStatus) -> String {
    let of_phase = |word: &str| format!("{}: {word}", job.name);
    match job.phase {
        Phase::Joining => of_phase("waits to be joined: its tree is read or made"),
        Phase::Refused => of_phase("refused; the log says why"),
        Phase::Leaving => of_phase("waits to be left"),
        Phase::Left => of_phase("left"),
        Phase::Removed => of_phase("removed from the registry"),
        Phase::Serving => serving(job),
    }
}

fn serving(job: &JobStatus) -> String {
    let count = |is: &dyn Fn(&ShardStatus) -> bool| job.shards.iter().filter(|s| is(s)).count();
    let mut line = format!("{}: serving, {} shards", job.name, job.shards.len());
    let counts = [
        (count(&|shard| shard.run.is_some()), "running here"),
        (count(&|shard| shard.waiting.is_some()), "waiting here for a free place"),
        (count(&|shard| shard.is_disabled), "switched off"),
        (count(&|shard| shard.owner.is_none()), "waiting to be assigned"),
    ];
    for (shards, what) in counts.into_iter().filter(|(shards, _)| *shards > 0) {
        line.push_str(&format!(", {shards} {what}"));
    }
    match job.next {
        Some(next) => line.push_str(&format!("; next fire {next}")),
        None => line.push_str("; no next fire known"),
    }
    if job.leader.is_none() {
        line.push_str("; waits for a leader");
    }
    if let Some(clock) = job.clock {
        let (ahead, limit) = (clock.ahead, clock.limit.as_millis());
        line.push_str(&format!(
            "; waits for this clock to be right: {ahead} ms ahead, {limit} ms allowed"
        ));
    }
    line
}

fn of_shard(job: &JobStatus, shard: &ShardStatus) -> Option<String> {
    let at = format!("{} {}/{}", job.name, shard.shard, job.shards.len());
    if let Some(run) = &shard.run {
        let overdue = if shard.is_overdue { ", was told to stop and does not" } else { "" };
        let (due, attempt, epoch) = (run.fire.due, run.attempt, run.epoch.0);
        return Some(format!("{at} runs fire {due}, attempt {attempt}, epoch {epoch}{overdue}"));
    }
    let waiting = shard.waiting.as_ref()?;
    Some(format!("{at} waits for a free place with fire {}", waiting.due))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flockwork_core::id::{InstanceId, JobName};
    use flockwork_core::time::Mono;

    fn job(name: &str, phase: Phase) -> JobStatus {
        JobStatus {
            name: JobName::new(name).unwrap(),
            phase,
            schedule: String::new(),
            next: None,
            instances: Vec::new(),
            leader: None,
            shards: Vec::new(),
            clock: None,
        }
    }

    fn of(jobs: Vec<JobStatus>) -> Status {
        Status {
            instance: InstanceId::new("10.0.0.1@-@4711-9f3c").unwrap(),
            is_suspended: false,
            trusted_until: Mono::default(),
            is_draining: false,
            running: 0,
            waiting: 0,
            commits_in_flight: 0,
            jobs,
        }
    }

    fn told(status: &Status) -> Vec<String> {
        lines(Ok(status), Timestamp::default())
    }

    #[test]
    fn what_a_node_waits_for_is_named() {
        let jobs = vec![job("a", Phase::Joining), job("b", Phase::Serving)];
        let busy = Status {
            is_suspended: true,
            is_draining: true,
            running: 2,
            waiting: 3,
            commits_in_flight: 4,
            ..of(jobs)
        };
        let text = told(&busy).join("\n");
        for named in [
            "session not proven, draining; 2 jobs, 2 runs under way",
            "waits for the registry",
            "waits for the end of 2 runs",
            "waits for a free place (max_running): 3 fires",
            "waits for the registry's answer to 4 commits",
            "a: waits to be joined",
            "b: serving, 0 shards; no next fire known; waits for a leader",
        ] {
            assert!(text.contains(named), "no {named} in {text}");
        }
        assert_eq!(told(&of(Vec::new())).len(), 1, "an idle node waits for nothing");
    }

    #[test]
    fn however_many_jobs_there_are_the_lines_are_few() {
        let jobs = (0..1_000).map(|number| job(&format!("job-{number}"), Phase::Left));
        let lines = told(&of(jobs.collect()));
        assert_eq!(lines.len(), MOST_LINES + 2);
        assert!(lines[MOST_LINES + 1].starts_with("and 800 more lines"), "{lines:?}");
    }
}
