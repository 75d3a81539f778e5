//! Whether what the registry holds goes on from what this node saw in it.
//!
//! A definition that is gone was removed by somebody, and stays so. Or it went with what the servers lost:
//! then whoever offers the job makes it anew. Two things tell of a loss. The registry itself says that the
//! servers are behind what they had shown. And the root of the namespace, which nothing that removes a job
//! deletes, is gone, or another commit has made it. So the root is read first under each new session, and
//! once more when a definition is found to be gone; until then that says nothing.

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
    /// How many reads of the root were sent, how many have an answer, and the last one that told anything.
    sent: u64,
    answered: u64,
    told: u64,
    /// The first read under the present session.
    first: u64,
    /// Whether a read goes out with the next requests.
    is_wanted: bool,
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

    /// Asks for the root to be read after all that is known now. Returns the number of that read, which
    /// all who ask before the next requests go out share.
    pub(crate) fn want(&mut self) -> u64 {
        self.is_wanted = true;
        self.sent + 1
    }

    /// Says why a definition is not there that was last read in a history, by a read of the root that was
    /// sent after its absence was known.
    pub(crate) fn absence(&self, last_read: u32, by: u64) -> Absence {
        match (self.told >= by.max(self.first), last_read == self.number) {
            (false, _) => Absence::Unknown,
            (true, true) => Absence::Removed,
            (true, false) => Absence::Lost,
        }
    }

    /// Begins under a new session, before anything else is read there.
    pub(crate) fn session_is_new(&mut self, outbox: &mut Outbox, settings: &Settings) {
        self.read(outbox, settings);
        self.first = self.sent;
    }

    /// Learns of the root once there is one: whatever was committed may have made it.
    pub(crate) fn committed(&mut self) {
        let is_under_way = self.sent > self.answered;
        self.is_wanted |= self.root.is_none() && !is_under_way;
    }

    /// Reads the root if that is wanted.
    pub(crate) fn flush(&mut self, outbox: &mut Outbox, settings: &Settings) {
        if std::mem::take(&mut self.is_wanted) {
            self.read(outbox, settings);
        }
    }

    fn read(&mut self, outbox: &mut Outbox, settings: &Settings) {
        self.sent += 1;
        outbox.read_root(Request::Get(settings.namespace.root()));
    }

    /// Handles what was read of the root. Returns whether that answers anything, and the loss that it shows.
    pub(crate) fn root_read(
        &mut self,
        answer: &Answer,
        settings: &Settings,
    ) -> (bool, Option<Report>) {
        self.answered += 1;
        let Answer::Entry(found) = answer else { return (false, None) };
        let made = found.as_ref().map(|entry| entry.stamp.created);
        let before = std::mem::replace(&mut self.root, made);
        let was_told = std::mem::take(&mut self.was_told);
        self.told = self.answered;
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
        (self.first, self.was_told) = (self.sent + 1, true);
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
            assert_eq!(history.absence(0, 0), Absence::Unknown);
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
            assert_eq!((lost, history.absence(0, 0)), (losses, absence), "{roots:?}");
            assert_eq!(
                history.absence(history.number(), 0),
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
        assert_eq!(history.absence(0, 0), Absence::Unknown);
        assert!(history.root_read(&root(Some(5)), &rig.settings).0);
        assert_eq!(history.absence(0, 0), Absence::Removed);
    }

    #[test]
    fn only_a_root_that_was_read_after_it_tells_why_a_definition_is_gone() {
        let (mut history, _) = after(&[Some(5)]);
        let rig = Rig::new();
        // One that was sent before is under way.
        history.want();
        history.flush(&mut outbox(&rig), &rig.settings);
        let by = history.want();
        assert_eq!(history.want(), by, "all who ask together share one");
        assert!(history.root_read(&root(Some(5)), &rig.settings).0);
        assert_eq!(history.absence(0, by), Absence::Unknown);
        history.flush(&mut outbox(&rig), &rig.settings);
        assert!(history.root_read(&root(None), &rig.settings).1.is_some());
        assert_eq!(history.absence(0, by), Absence::Lost);
    }

    #[test]
    fn one_loss_is_told_once_and_an_older_copy_with_the_same_root_is_one() {
        for found in [None, Some(5)] {
            let (mut history, _) = after(&[Some(5)]);
            let rig = Rig::new();
            let told = history.set_back("the servers have lost what they knew");
            let Report::Trouble { code: "REGISTRY_LOST_DATA", text, .. } = told else { panic!() };
            assert!(text.starts_with("the servers have lost what they knew; "), "{text}");
            assert_eq!(history.absence(0, 0), Absence::Unknown, "until the root is read");
            history.session_is_new(&mut outbox(&rig), &rig.settings);
            let (is_answer, again) = history.root_read(&root(found), &rig.settings);
            assert!(is_answer && again.is_none());
            assert_eq!(history.absence(0, 0), Absence::Lost);
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
