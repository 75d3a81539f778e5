//! What was found out about scripts, on its way from the thread that looks to the loop. The latest about each
//! job waits here, so that the queue is bounded by the node's jobs.

use flockwork_core::id::JobName;
use flockwork_node::Looked;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Where it is told, and where the loop takes it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    latest: Mutex<BTreeMap<JobName, Looked>>,
    told: Notify,
}

impl Findings {
    /// Something was found, which replaces what was found about the job before.
    pub(crate) fn tell(&self, looked: Looked) {
        self.latest().insert(looked.job.clone(), looked);
        self.shared.told.notify_one();
    }

    /// What waits, of one job.
    pub(crate) fn try_take(&self) -> Option<Looked> {
        self.latest().pop_first().map(|(_, looked)| looked)
    }

    /// Waits until something is there. May come back with nothing there.
    pub(crate) async fn told(&self) {
        self.shared.told.notified().await;
    }

    fn latest(&self) -> MutexGuard<'_, BTreeMap<JobName, Looked>> {
        self.shared.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flockwork_core::config::{Draft, Level, check};
    use flockwork_core::eligibility::Hindrance;
    use flockwork_core::time::Timestamp;

    fn looked(name: &str, is_well: bool) -> Looked {
        let draft = Draft { cron: Some("* * * * * ?".to_owned()), ..Draft::native(name) };
        let config = check(&draft, Level::Strict, Timestamp::default()).config.unwrap();
        let found = if is_well { Ok(()) } else { Err(Hindrance::NoFunction) };
        Looked { job: config.name.clone(), definition: Arc::new(config), found }
    }

    #[tokio::test]
    async fn the_latest_about_each_job_is_told_once() {
        let findings = Findings::default();
        for (name, is_well) in [("a", true), ("b", true), ("a", false)] {
            findings.tell(looked(name, is_well));
        }
        findings.told().await;
        let taken = std::iter::from_fn(|| findings.try_take());
        let taken: Vec<_> = taken.map(|of| (of.job.to_string(), of.found.is_ok())).collect();
        assert_eq!(taken, [("a".to_owned(), false), ("b".to_owned(), true)]);
    }
}
