//! What taking a million definitions up costs. Timed by the thread's processor time, which other work
//! on the machine does not change much.

use flockwork_core::config::{Draft, JobConfig, Level, check};
use flockwork_core::time::Timestamp;
use flockwork_core::timetable::Timetable;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

/// 2026-01-01T00:00:00Z.
pub(crate) const START: i64 = 1_767_225_600_000;

/// Processor time of this thread.
pub(crate) fn processor() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// One of many different jobs.
pub(crate) fn draft(i: usize) -> Draft {
    let (second, minute, hour) = (i % 60, (i / 60) % 60, (i / 3_600) % 24);
    let cron = match i % 4 {
        0 => format!("{second} {minute} {hour} * * ?"),
        1 => format!("{second} 0/{} {hour} ? * MON-FRI", minute.max(1)),
        2 => format!("{second} {minute} {hour} L * ?"),
        _ => format!("{second} {minute} 0/4 1,15 * ?"),
    };
    Draft {
        name: Some(format!("job-{i}")),
        cron: Some(cron),
        shards: Some(1),
        script: Some(vec!["/bin/true".to_owned()]),
        timeout: Some("30s".to_owned()),
        ..Draft::default()
    }
}

/// Definitions in memory are checked and built, their schedules parsed, their next fires queued.
pub(crate) fn run(out: &mut dyn Write) -> std::io::Result<()> {
    const JOBS: u32 = 1_000_000;
    let now = Timestamp::from_millis(START);
    let drafts: Vec<Draft> = (0..JOBS as usize).map(draft).collect();
    let before = resident();
    let started = processor();
    let mut jobs: Vec<Arc<JobConfig>> = Vec::with_capacity(JOBS as usize);
    let mut table = Timetable::default();
    for (draft, ix) in drafts.iter().zip(0_u32..) {
        let checked = check(draft, Level::Strict, now);
        let config = checked.config.unwrap_or_else(|| panic!("{:?}", checked.problems));
        if let Some(next) = config.schedule.next_after(now, now) {
            table.enter(next, ix);
        }
        jobs.push(Arc::new(config));
    }
    let took = processor().saturating_sub(started);
    let bytes = resident().saturating_sub(before) as f64 / f64::from(JOBS);
    assert_eq!(table.len(), jobs.len(), "each job has its next fire in the queue");
    writeln!(out, "figure core_million_jobs {:.2} s goal <= 4", took.as_secs_f64())?;
    writeln!(out, "figure core_bytes_a_job {bytes:.0} bytes goal <= 1024")
}

/// Resident bytes of this process.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4_096
}
