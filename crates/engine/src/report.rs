//! Who is told what happened.

use flockwork_core::time::Timestamp;
use flockwork_node::Report;
use std::fmt::Debug;
use std::sync::Arc;
use tokio::sync::broadcast;

/// How many reports a subscriber may be behind before it loses the oldest.
///
/// Two seconds of the goal of 5,000 runs in one second (start, end and account of each, some 15,000
/// reports) would be more; a reader that slow on a terminal has lost the thread anyway, and is told
/// how much it lost.
pub const SUBSCRIBER_LAG: usize = 8192;

/// A report and when it was made.
#[derive(Clone, Debug)]
pub struct Reported {
    /// When, on the wall clock.
    pub at: Timestamp,
    /// What.
    pub report: Report,
}

/// Is told every report, in order, on the loop's own task: it must neither block nor take long. What
/// takes long subscribes instead ([`Handle::subscribe`](crate::Handle::subscribe)).
pub trait Reporter: Debug + Send + 'static {
    /// Takes note of one report.
    fn report(&mut self, reported: &Reported);
}

/// What a subscriber hears.
#[derive(Clone, Debug)]
pub enum Told {
    /// The next report.
    Report(Arc<Reported>),
    /// So many reports were dropped, as the subscriber was too slow.
    Lost(u64),
}

/// A queue of reports of one's own, from the moment of subscribing.
#[derive(Debug)]
pub struct Subscription(broadcast::Receiver<Arc<Reported>>);

impl Subscription {
    /// The next report, or `None` once the node has stopped and all is read.
    ///
    /// # Cancellation
    /// Safe to drop: no report is lost.
    pub async fn recv(&mut self) -> Option<Told> {
        match self.0.recv().await {
            Ok(reported) => Some(Told::Report(reported)),
            Err(broadcast::error::RecvError::Lagged(lost)) => Some(Told::Lost(lost)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

/// All who are told: reporters at once, subscribers by a bounded queue each.
#[derive(Debug)]
pub(crate) struct Audience {
    reporters: Vec<Box<dyn Reporter>>,
    subscribers: broadcast::Sender<Arc<Reported>>,
}

impl Audience {
    pub(crate) fn new(reporters: Vec<Box<dyn Reporter>>) -> Self {
        Self { reporters, subscribers: broadcast::channel(SUBSCRIBER_LAG).0 }
    }

    /// From where a handle makes subscriptions, without keeping the queue open once the loop is
    /// gone.
    pub(crate) fn door(&self) -> Door {
        Door(self.subscribers.downgrade())
    }

    pub(crate) fn tell(&mut self, at: Timestamp, report: Report) {
        let reported = Reported { at, report };
        for reporter in &mut self.reporters {
            reporter.report(&reported);
        }
        if self.subscribers.receiver_count() > 0 {
            // Fails only if the last subscriber left this instant.
            let _ = self.subscribers.send(Arc::new(reported));
        }
    }
}

/// Makes subscriptions.
#[derive(Clone, Debug)]
pub(crate) struct Door(broadcast::WeakSender<Arc<Reported>>);

impl Door {
    /// A subscription; one that has ended if the loop is gone.
    pub(crate) fn subscribe(&self) -> Subscription {
        let ended = || broadcast::channel(1).1;
        Subscription(self.0.upgrade().map_or_else(ended, |sender| sender.subscribe()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flockwork_registry::SessionId;

    fn report(n: usize) -> Report {
        Report::SessionLive(SessionId(n as u64))
    }

    #[tokio::test]
    async fn a_slow_subscriber_is_told_how_much_it_lost_and_goes_on() {
        let mut audience = Audience::new(Vec::new());
        let mut subscription = audience.door().subscribe();
        for n in 0..SUBSCRIBER_LAG + 10 {
            audience.tell(Timestamp::default(), report(n));
        }
        assert!(matches!(subscription.recv().await, Some(Told::Lost(10))));
        let Some(Told::Report(next)) = subscription.recv().await else { panic!("a report") };
        assert!(matches!(next.report, Report::SessionLive(SessionId(10))));
    }

    #[tokio::test]
    async fn a_subscription_ends_with_the_loop() {
        let audience = Audience::new(Vec::new());
        let (door, mut before) = (audience.door(), audience.door().subscribe());
        drop(audience);
        assert!(before.recv().await.is_none());
        assert!(door.subscribe().recv().await.is_none());
    }
}
