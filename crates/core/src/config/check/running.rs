//! What happens to fires and runs that do not go as planned.

use super::Report;
use crate::config::draft::Amount;
use crate::config::field::{
    CATCH_UP_WORDS, Field, OVERLAP_WORDS, RETRY_ON_WORDS, SESSION_LOSS_WORDS, Words,
};
use crate::config::problem::Code;
use crate::config::{CatchUp, OnSessionLoss, Overlap, Retry, RetryOn};
use std::time::Duration;

/// The longest time-out. What runs longer is not a run but a service.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(7 * 86_400);
/// The time-out of a native job that says nothing.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3600);
/// The longest wait before a first further attempt; also the longest of all.
pub const MAX_BACKOFF: Duration = Duration::from_secs(3600);
/// The longest time from a claim to the instant it is for: for so long a node that dies takes fires with
/// it that had not begun.
pub const MAX_CLAIM_AHEAD: Duration = Duration::from_secs(10);
/// The most further attempts. More would hold the shard's later fires up for days.
pub const MAX_RETRIES: u32 = 100;
/// ElasticJob's builder, and so a native job that says nothing, reconciles this often.
const DEFAULT_RECONCILE: Duration = Duration::from_secs(600);

pub(super) struct Handling {
    pub(super) misfire: bool,
    pub(super) overlap: Overlap,
    pub(super) catch_up: CatchUp,
    pub(super) failover: bool,
    pub(super) failover_without_monitor: bool,
    pub(super) retry: Retry,
    pub(super) timeout: Option<Duration>,
    pub(super) claim_ahead: Duration,
    pub(super) on_session_loss: OnSessionLoss,
}

pub(super) fn handling(report: &mut Report<'_>) -> Option<Handling> {
    let draft = report.draft;
    let misfire = draft.misfire.unwrap_or(draft.words == Words::Native);
    let overlap = overlap(report, misfire);
    let catch_up = catch_up(report);
    let failover = failover(report);
    let retry = retry(report);
    let timeout = timeout(report);
    let claim_ahead = claim_ahead(report);
    let (failover, failover_without_monitor) = failover?;
    let retry = retry?;
    let elsewhere = OnSessionLoss::default_for(failover, retry);
    let words = [
        (SESSION_LOSS_WORDS[0], OnSessionLoss::Finish),
        (SESSION_LOSS_WORDS[1], OnSessionLoss::Stop),
    ];
    let loss = draft.on_session_loss.as_ref();
    let on_session_loss = report.word(Field::OnSessionLoss, loss, &words, elsewhere);
    let (overlap, catch_up) = (overlap?, catch_up?);
    if overlap == Overlap::Skip && catch_up == CatchUp::All {
        let message = "overlap: skip (or misfire: false) and catch_up: all contradict: what is caught up comes due at once, \
                       so all but the first would be skipped";
        let problem = report.problem(Field::CatchUp, Code::Conflict, message).with_value("all");
        report.refuse(problem.with_hint("write catch_up: latest, or overlap: queue"));
    }
    Some(Handling {
        misfire,
        overlap,
        catch_up,
        failover,
        failover_without_monitor,
        retry,
        timeout: timeout?,
        claim_ahead: claim_ahead?,
        on_session_loss: on_session_loss?,
    })
}

impl Overlap {
    /// The rule of a job that says nothing: ElasticJob has one switch for both cases.
    #[must_use]
    pub fn default_for(misfire: bool) -> Self {
        if misfire { Self::RunOnceAfter } else { Self::Skip }
    }

    /// Its word in native files.
    #[must_use]
    pub fn native_name(self) -> &'static str {
        match self {
            Self::RunOnceAfter => OVERLAP_WORDS[0],
            Self::Skip => OVERLAP_WORDS[1],
            Self::Queue => OVERLAP_WORDS[2],
        }
    }
}

impl CatchUp {
    /// Its word in native files.
    #[must_use]
    pub fn native_name(self) -> &'static str {
        match self {
            Self::None => CATCH_UP_WORDS[0],
            Self::Latest => CATCH_UP_WORDS[1],
            Self::All => CATCH_UP_WORDS[2],
        }
    }
}

impl RetryOn {
    /// Its word in native files.
    #[must_use]
    pub fn native_name(self) -> &'static str {
        match self {
            Self::PreferOther => RETRY_ON_WORDS[0],
            Self::Other => RETRY_ON_WORDS[1],
            Self::Same => RETRY_ON_WORDS[2],
        }
    }
}

impl OnSessionLoss {
    /// The rule of a job that says nothing: a run is stopped where a crashed one is taken elsewhere,
    /// so that no two of one shard run at a time.
    #[must_use]
    pub fn default_for(failover: bool, retry: Retry) -> Self {
        if failover || retry.times > 0 { Self::Stop } else { Self::Finish }
    }

    /// Its word in native files.
    #[must_use]
    pub fn native_name(self) -> &'static str {
        match self {
            Self::Finish => SESSION_LOSS_WORDS[0],
            Self::Stop => SESSION_LOSS_WORDS[1],
        }
    }
}

fn overlap(report: &mut Report<'_>, misfire: bool) -> Option<Overlap> {
    let words =
        [Overlap::RunOnceAfter, Overlap::Skip, Overlap::Queue].map(|o| (o.native_name(), o));
    let written = report.draft.overlap.as_ref();
    report.word(Field::Overlap, written, &words, Overlap::default_for(misfire))
}

fn catch_up(report: &mut Report<'_>) -> Option<CatchUp> {
    let words = [CatchUp::None, CatchUp::Latest, CatchUp::All].map(|c| (c.native_name(), c));
    let written = report.draft.catch_up.as_ref();
    report.word(Field::CatchUp, written, &words, CatchUp::None)
}

/// Whether crashed runs are taken over, and whether that was asked for in vain: ElasticJob takes
/// over only what it monitors.
fn failover(report: &mut Report<'_>) -> Option<(bool, bool)> {
    let draft = report.draft;
    let monitored = draft.monitor_execution.unwrap_or(draft.words == Words::Native);
    match (draft.failover.unwrap_or(false), monitored) {
        (wanted, true) => Some((wanted, false)),
        (false, false) => Some((false, false)),
        (true, false) => {
            let (failover, monitor) =
                (report.key(Field::Failover), report.key(Field::MonitorExecution));
            let message = format!(
                "{failover}: true and {monitor}: false contradict: what is not monitored is not taken over"
            );
            let problem =
                report.problem(Field::Failover, Code::Conflict, message).with_value("true");
            let hint = format!("write {monitor}: true, or {failover}: false");
            report.object(problem.with_hint(hint)).then_some((false, true))
        }
    }
}

fn retry(report: &mut Report<'_>) -> Option<Retry> {
    let draft = &report.draft.retry;
    let times = draft.times.unwrap_or(0);
    let count = u32::try_from(times).ok().filter(|times| *times <= MAX_RETRIES);
    if count.is_none() {
        let problem = report
            .problem(Field::RetryTimes, Code::Limit, "not a number of further attempts")
            .with_value(&times.to_string());
        report.refuse(problem.with_limit(format!("0 to {MAX_RETRIES}")));
    }
    let backoff = match &draft.backoff {
        None => Some(Retry::default().backoff),
        Some(text) => report.duration(Field::RetryBackoff, text, Duration::ZERO, MAX_BACKOFF),
    };
    let words =
        [RetryOn::PreferOther, RetryOn::Other, RetryOn::Same].map(|on| (on.native_name(), on));
    let on = report.word(Field::RetryOn, draft.on.as_ref(), &words, RetryOn::PreferOther);
    Some(Retry { times: count?, backoff: backoff?, on: on? })
}

fn timeout(report: &mut Report<'_>) -> Option<Option<Duration>> {
    let draft = report.draft;
    match (draft.timeout.as_deref(), draft.words) {
        (Some("none"), _) | (None, Words::ElasticJob) => Some(None),
        (None, Words::Native) => Some(Some(DEFAULT_TIMEOUT)),
        (Some(text), _) => {
            let least = Duration::from_millis(1);
            report.duration(Field::Timeout, text, least, MAX_TIMEOUT).map(Some)
        }
    }
}

fn claim_ahead(report: &mut Report<'_>) -> Option<Duration> {
    match &report.draft.claim_ahead {
        None => Some(Duration::ZERO),
        Some(text) => report.duration(Field::ClaimAhead, text, Duration::ZERO, MAX_CLAIM_AHEAD),
    }
}

pub(super) struct Clock {
    pub(super) max_time_difference: Option<Duration>,
    pub(super) reconcile_interval: Option<Duration>,
}

pub(super) fn clock(report: &mut Report<'_>) -> Option<Clock> {
    let draft = report.draft;
    let difference = match &draft.max_time_difference {
        None => Some(None),
        Some(amount) => whole(report, Field::MaxTimeDifference, amount, 1),
    };
    let reconcile = match (&draft.reconcile_interval, draft.words) {
        (None, Words::Native) => Some(Some(DEFAULT_RECONCILE)),
        (None, Words::ElasticJob) => Some(None),
        (Some(amount), _) => whole(report, Field::ReconcileInterval, amount, 60),
    };
    Some(Clock {
        max_time_difference: difference?,
        reconcile_interval: reconcile?.filter(|interval| !interval.is_zero()),
    })
}

/// An amount in whole units of `unit` seconds, since ElasticJob's fields count them.
fn whole(
    report: &mut Report<'_>,
    field: Field,
    amount: &Amount,
    unit: u64,
) -> Option<Option<Duration>> {
    match amount {
        Amount::Count(count) => {
            let count = u64::try_from(*count).ok();
            Some(count.map(|count| Duration::from_secs(count.saturating_mul(unit))))
        }
        Amount::Text(text) => {
            let duration = report.duration(field, text, Duration::ZERO, MAX_TIMEOUT)?;
            if duration.as_millis() % u128::from(unit * 1000) == 0 {
                return Some(Some(duration));
            }
            let unit = if unit == 1 { "seconds" } else { "minutes" };
            let message = format!("ElasticJob counts this in whole {unit}");
            let problem = report.problem(field, Code::Duration, message).with_value(text);
            report.refuse(problem);
            None
        }
    }
}
