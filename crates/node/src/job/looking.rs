//! Whether the script that the job's definition names can be started here. The edge looks at the script's
//! file, at once and from time to time, and tells the node what it finds.
//!
//! A script that could be started and cannot any more counts as startable for [`GRACE`]: a deployment that
//! removes a file and writes it anew moves no shard. A script that can be started counts at once.

use crate::alarms::Alarm;
use crate::effect::Effect;
use crate::turn::Turn;
use flockwork_core::config::JobConfig;
use flockwork_core::eligibility::{Hindrance, Startable};
use flockwork_core::execution::Work;
use flockwork_core::time::Mono;
use std::sync::Arc;
use std::time::Duration;

/// How long a script that could be started may be found wanting before that counts: longer than it takes to
/// copy a file, and shorter than people wait before they ask why nothing moved.
const GRACE: Duration = Duration::from_secs(5);

/// How long the first answer is waited for: file systems that answer at all do so within milliseconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// What is known of the script of one job.
#[derive(Debug, Default)]
pub(crate) struct Looking {
    /// The definition whose script is looked at, and since when.
    at: Option<(Arc<JobConfig>, Mono)>,
    /// What counts.
    counts: Startable,
    /// Since when a script that counts as startable has been found wanting, and why.
    doubt: Option<(Mono, Hindrance)>,
}

impl Looking {
    /// Has the script of a definition looked at from here on, if the definition names one.
    pub(crate) fn look_at(&mut self, turn: &mut Turn<'_>, definition: &Arc<JobConfig>) {
        if !names_a_script(definition) {
            return self.stop(turn);
        }
        let (is_same, starts_alike) = match &self.at {
            Some((at, _)) => (at == definition, start_alike(at, definition)),
            None => (false, false),
        };
        if !starts_alike {
            (self.counts, self.doubt) = (Startable::NotKnown, None);
        }
        let since = self.at.take().filter(|_| starts_alike).map_or(turn.now.mono, |(_, at)| at);
        self.at = Some((definition.clone(), since));
        if !is_same {
            turn.effect(Effect::Look(turn.name.clone(), Some(definition.clone())));
            turn.alarm_in(ANSWER_WITHIN, Alarm::Looking(turn.job));
        }
    }

    /// Has nothing looked at any more.
    pub(crate) fn stop(&mut self, turn: &mut Turn<'_>) {
        if std::mem::take(self).at.is_some() {
            turn.effect(Effect::Look(turn.name.clone(), None));
        }
    }

    /// Returns whether nothing that was found keeps the definition that counts from being served on.
    pub(crate) fn allows(&mut self, now: Mono, definition: &Arc<JobConfig>) -> bool {
        let is_looked_at = self.at.as_ref().is_some_and(|(at, _)| at == definition);
        !names_a_script(definition) || (is_looked_at && *self.startable(now) == Startable::Yes)
    }

    /// Returns whether the script that is looked at can be started, as far as is known by now.
    pub(crate) fn startable(&mut self, now: Mono) -> &Startable {
        if let Some((_, why)) = self.doubt.take_if(|(since, _)| now.since(*since) >= GRACE) {
            self.counts = Startable::No(why);
        }
        let waits_since = self.at.as_ref().filter(|_| self.counts == Startable::NotKnown);
        if waits_since.is_some_and(|(_, since)| now.since(*since) >= ANSWER_WITHIN) {
            self.counts = Startable::No(not_answered());
        }
        &self.counts
    }

    /// Marks the job if the grace is over, or the first answer has been waited for long enough.
    pub(crate) fn has_waited(&mut self, turn: &mut Turn<'_>) {
        let before = self.counts.clone();
        if *self.startable(turn.now.mono) != before {
            turn.mark_job();
        }
    }

    /// Handles what was found. An answer about another definition comes late, and says nothing.
    pub(crate) fn found(
        &mut self,
        turn: &mut Turn<'_>,
        definition: &JobConfig,
        found: Result<(), Hindrance>,
    ) {
        if self.at.as_ref().is_none_or(|(at, _)| **at != *definition) {
            return;
        }
        match found {
            Ok(()) => {
                self.doubt = None;
                if self.counts != Startable::Yes {
                    self.counts = Startable::Yes;
                    turn.mark_job();
                }
            }
            Err(why) if self.counts == Startable::Yes => {
                let since = self.doubt.take().map_or(turn.now.mono, |(since, _)| since);
                self.doubt = Some((since, why));
                turn.alarm_in(GRACE, Alarm::Looking(turn.job));
            }
            Err(why) => {
                self.counts = Startable::No(why);
                turn.mark_job();
            }
        }
    }
}

fn names_a_script(definition: &JobConfig) -> bool {
    matches!(*definition.work, Work::Script(_))
}

/// Returns whether all that decides about a start is the same in both: the script and what it is given.
fn start_alike(one: &JobConfig, other: &JobConfig) -> bool {
    one.work == other.work
        && one.job_parameter == other.job_parameter
        && one.shard_parameters == other.shard_parameters
}

fn not_answered() -> Hindrance {
    let text = format!(
        "whether its script can be started is not known: the file system has not answered within {} s; look \
         whether it is reachable",
        ANSWER_WITHIN.as_secs()
    );
    Hindrance::Script { code: "PROGRAM_UNREADABLE", text }
}

#[cfg(test)]
mod tests;
