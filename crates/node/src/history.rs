//! Whether what the registry holds goes on from what this node saw in it.
//!
//! A definition that is gone was removed by somebody, and stays so. Or it went with what the servers lost:
//! then whoever offers the job makes it anew. Two things tell of a loss. The registry itself says that the
//! servers are behind what they had shown. And the root of the namespace, which nothing that removes a job
//! deletes, is gone, or another commit has made it. So the root is read first under each new session, and
//! until it was, a definition that is gone says nothing.

use crate::outbox::Outbox;
use crate::{Report, Settings};
use flockwork_core::id::JobName;
use flockwork_registry::{Answer, Index, Request};
use std::time::Duration;

/// How long jobs that are made anew are gathered before people are told of them together.
pub(crate) const GATHERED_FOR: Duration = Duration::from_secs(5);

/// How many of them are named.
const NAMED: usize = 20;

/// The history of the registry, as this node knows it.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// Counts the histories: each loss begins another.
    number: u32,
    /// The commit that made the namespace's root.
    root: Option<Index>,
    /// Whether the root was read under the present session.
    is_known: bool,
    is_reading: bool,
    /// Whether the registry told of the loss that the root may show now.
    was_told: bool,
    made_anew: Vec<JobName>,
}

/// What a definition's absence means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absence {
    /// Nothing yet: the root is being read.
    Unknown,
    /// Somebody removed the job.
    Removed,
    /// It went with what the registry lost.
    Lost,
}

impl History {
    /// Returns which history this is. A definition that was read is of it.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// Says why a definition that was last read in a history is not there.
    pub(crate) fn absence(&self, last_read: u32) -> Absence {
        match (self.is_known, last_read == self.number) {
            (false, _) => Absence::Unknown,
            (true, true) => Absence::Removed,
            (true, false) => Absence::Lost,
        }
    }

    /// Begins under a new session, before anything else is read there.
    pub(crate) fn session_is_new(&mut self, outbox: &mut Outbox, settings: &Settings) {
        (self.is_known, self.is_reading) = (false, false);
        self.read(outbox, settings);
    }

    /// Learns of the root once there is one: whatever was committed may have made it.
    pub(crate) fn committed(&mut self, outbox: &mut Outbox, settings: &Settings) {
        if self.is_known && self.root.is_none() {
            self.read(outbox, settings);
        }
    }

    /// Reads the root, unless that is under way.
    pub(crate) fn read(&mut self, outbox: &mut Outbox, settings: &Settings) {
        if !std::mem::replace(&mut self.is_reading, true) {
            outbox.read_root(Request::Get(settings.namespace.root()));
        }
    }

    /// Handles what was read of the root. Returns whether that answers anything, and the loss that it shows.
    pub(crate) fn root_read(
        &mut self,
        answer: &Answer,
        settings: &Settings,
    ) -> (bool, Option<Report>) {
        self.is_reading = false;
        let Answer::Entry(found) = answer else { return (false, None) };
        let made = found.as_ref().map(|entry| entry.stamp.created);
        let before = std::mem::replace(&mut self.root, made);
        let was_told = std::mem::take(&mut self.was_told);
        self.is_known = true;
        if before.is_none() || before == made || was_told {
            return (true, None);
        }
        self.number += 1;
        let became = if made.is_none() { "is gone" } else { "was made anew" };
        let why = format!("the namespace {} {became}", settings.namespace.as_str());
        (true, Some(lost(&why)))
    }

    /// Handles the registry's word that it is behind what it had shown.
    pub(crate) fn set_back(&mut self, why: &str) -> Report {
        self.number += 1;
        (self.is_known, self.was_told) = (false, true);
        lost(why)
    }

    /// Notes that this node has made a job anew. Returns whether people are to be told after a while.
    pub(crate) fn made_anew(&mut self, job: &JobName) -> bool {
        self.made_anew.push(job.clone());
        self.made_anew.len() == 1
    }

    /// Returns what people are told of the jobs that were made anew since they were last told.
    pub(crate) fn tell_made_anew(&mut self) -> Option<Report> {
        let made = std::mem::take(&mut self.made_anew);
        let names: Vec<&str> = made.iter().take(NAMED).map(JobName::as_str).collect();
        let more = match made.len() - names.len() {
            _ if made.is_empty() => return None,
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let text = format!(
            "made anew from this node's own definitions: {}{more}; what had become of their fires is not \
             known any more",
            names.join(", ")
        );
        Some(Report::Trouble { job: None, code: LOST, text })
    }
}

/// The code of a loss, and of what follows from it.
const LOST: &str = "REGISTRY_LOST_DATA";

fn lost(why: &str) -> Report {
    let text = format!(
        "{why}; jobs that are gone are made anew by the nodes whose own file or program defines them, and \
         those that the registry alone knew are gone"
    );
    Report::Trouble { job: None, code: LOST, text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::Rig;
    use flockwork_registry::{Entry, Failure, Stamp};

    fn root(made: Option<u64>) -> Answer {
        let stamp = |made| Stamp { created: Index(made), ..Stamp::default() };
        let entry = |made| Entry { value: "".into(), stamp: stamp(made), session: None };
        Answer::Entry(made.map(entry))
    }

    fn outbox(rig: &Rig) -> Outbox {
        Outbox::new(rig.settings.limits)
    }

    /// The history after roots that were read under one session each.
    fn after(roots: &[Option<u64>]) -> (History, usize) {
        let (rig, mut history) = (Rig::new(), History::default());
        let lost = roots.iter().filter(|made| {
            history.session_is_new(&mut outbox(&rig), &rig.settings);
            assert_eq!(history.absence(0), Absence::Unknown);
            history.root_read(&root(**made), &rig.settings).1.is_some()
        });
        let lost = lost.count();
        (history, lost)
    }

    #[test]
    fn the_root_tells_a_loss_from_a_removal() {
        use Absence::{Lost, Removed};
        let table: [(&[Option<u64>], usize, Absence); 6] = [
            (&[Some(5)], 0, Removed),
            (&[Some(5), Some(5)], 0, Removed),
            (&[None, Some(5)], 0, Removed),
            (&[Some(5), None], 1, Lost),
            (&[Some(5), Some(2)], 1, Lost),
            (&[Some(5), Some(9), Some(9)], 1, Lost),
        ];
        for (roots, losses, absence) in table {
            let (history, lost) = after(roots);
            assert_eq!((lost, history.absence(0)), (losses, absence), "{roots:?}");
            assert_eq!(
                history.absence(history.number()),
                Removed,
                "what was read since is removed"
            );
        }
    }

    #[test]
    fn a_root_that_was_not_read_tells_nothing() {
        let (mut history, _) = after(&[Some(5)]);
        let rig = Rig::new();
        history.session_is_new(&mut outbox(&rig), &rig.settings);
        let away = Answer::Failed(Failure::NotSent("away".to_owned()));
        assert!(!history.root_read(&away, &rig.settings).0);
        assert_eq!(history.absence(0), Absence::Unknown);
        assert!(history.root_read(&root(Some(5)), &rig.settings).0);
        assert_eq!(history.absence(0), Absence::Removed);
    }

    #[test]
    fn one_loss_is_told_once_and_an_older_copy_with_the_same_root_is_one() {
        for found in [None, Some(5)] {
            let (mut history, _) = after(&[Some(5)]);
            let rig = Rig::new();
            let told = history.set_back("the servers have lost what they knew");
            let Report::Trouble { code: "REGISTRY_LOST_DATA", text, .. } = told else { panic!() };
            assert!(text.starts_with("the servers have lost what they knew; "), "{text}");
            assert_eq!(history.absence(0), Absence::Unknown, "until the root is read");
            history.session_is_new(&mut outbox(&rig), &rig.settings);
            let (is_answer, again) = history.root_read(&root(found), &rig.settings);
            assert!(is_answer && again.is_none());
            assert_eq!(history.absence(0), Absence::Lost);
        }
    }

    #[test]
    fn the_jobs_that_were_made_anew_are_named_together_and_once() {
        let mut history = History::default();
        let name = |n: usize| JobName::new(&format!("j{n}")).unwrap();
        let first: Vec<bool> = (0..NAMED + 3).map(|n| history.made_anew(&name(n))).collect();
        assert_eq!(first.iter().filter(|first| **first).count(), 1);
        let Some(Report::Trouble { text, .. }) = history.tell_made_anew() else { panic!() };
        assert!(text.contains(": j0, j1, ") && text.contains("j19 and 3 more; "), "{text}");
        assert!(history.tell_made_anew().is_none());
    }
}
