//! The machine itself.

use crate::{Effect, Event, Settings, Status};
use flockwork_core::time::{Mono, Now, Timestamp};

/// One node.
#[derive(Debug)]
pub struct Node {
    settings: Settings,
}

impl Node {
    /// A node that knows nothing yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }

    /// Takes one event in. Requests that may share a commit are kept back until
    /// [`Node::flush`].
    pub fn step(&mut self, now: Now, event: Event, effects: &mut Vec<Effect>) {
        let _ = (now, event, effects, &self.settings);
    }

    /// Sends what was kept back, in as few commits as it can. To be called when no further event
    /// waits, and at the latest a millisecond after a step.
    pub fn flush(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let _ = (now, effects);
    }

    /// When [`Event::Wake`] is next due: on the wall clock (the next fire) and on the monotonic one
    /// (the next time-out, back-off or check), whichever comes first.
    #[must_use]
    pub fn wake_at(&self) -> (Option<Timestamp>, Option<Mono>) {
        (None, None)
    }

    /// A copy of what the node knows, for pages and metrics. Costs time in proportion to its jobs.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            instance: self.settings.instance.clone(),
            is_trusted: false,
            is_draining: false,
            running: 0,
            waiting: 0,
            commits_in_flight: 0,
            jobs: Vec::new(),
        }
    }
}
