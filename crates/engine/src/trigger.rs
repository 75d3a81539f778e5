//! Triggers asked for by this process: the same marks that ElasticJob's lifecycle API makes, one for
//! each instance that serves the job. They use the node's connection under tickets of their own.

use crate::handle::{Answer, Unavailable};
use flockwork_core::id::{InstanceId, JobName};
use flockwork_layout::keys::{Facet, Namespace};
use flockwork_registry::{Answer as Answered, Op, Request, Ticket, Why};
use std::collections::BTreeMap;

/// Tickets from here on are ours; the state machine counts its own from zero.
pub(crate) const OWN_TICKETS: u64 = 1 << 63;

/// Triggers under way at a time: each asks for as many commits as the job has instances, and the
/// node's own commits must find room.
const MOST_TRIGGERS: usize = 16;

/// What one trigger waits for.
#[derive(Debug)]
struct Trigger {
    job: JobName,
    answer: Answer<usize>,
    unanswered: usize,
    marked: usize,
    failed: Option<String>,
}

/// A question of a trigger.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Instances,
    Parent,
    Mark,
}

/// All triggers under way.
#[derive(Debug)]
pub(crate) struct Triggers {
    namespace: Namespace,
    next: u64,
    asked: BTreeMap<Ticket, (u64, Asked)>,
    open: BTreeMap<u64, Trigger>,
}

impl Triggers {
    pub(crate) fn new(namespace: Namespace) -> Self {
        Self { namespace, next: OWN_TICKETS, asked: BTreeMap::new(), open: BTreeMap::new() }
    }

    /// Starts one; what it returns is to be submitted.
    pub(crate) fn start(&mut self, job: JobName, answer: Answer<usize>) -> Vec<(Ticket, Request)> {
        if self.open.len() >= MOST_TRIGGERS {
            let _ = answer.send(Err(Unavailable::Busy(self.open.len())));
            return Vec::new();
        }
        let instances = self.namespace.key(&job, &Facet::Instances);
        let trigger = Trigger { job, answer, unanswered: 0, marked: 0, failed: None };
        let id = self.next;
        self.open.insert(id, trigger);
        vec![self.ask(id, Asked::Instances, Request::Children(instances))]
    }

    /// Takes the answer to a ticket of ours; what it returns is to be submitted.
    pub(crate) fn answered(&mut self, ticket: Ticket, answer: Answered) -> Vec<(Ticket, Request)> {
        let Some((id, asked)) = self.asked.remove(&ticket) else { return Vec::new() };
        let Some(trigger) = self.open.get_mut(&id) else { return Vec::new() };
        trigger.unanswered -= 1;
        match (asked, answer) {
            (Asked::Instances, Answered::Children(names)) => {
                let job = trigger.job.clone();
                let requests = self.mark(id, &job, &names.unwrap_or_default());
                self.finish(id);
                return requests;
            }
            (Asked::Mark, Answered::Committed(_)) => trigger.marked += 1,
            // Someone else asked already, and the instance has not looked yet: one run serves both.
            (Asked::Mark, Answered::Refused(refusal)) if refusal.why == Why::Exists => {
                trigger.marked += 1;
            }
            (Asked::Parent, Answered::Committed(_) | Answered::Refused(_)) => {}
            (_, Answered::Failed(failure)) => trigger.failed = Some(failure.to_string()),
            (_, Answered::Refused(refusal)) => trigger.failed = Some(refusal.to_string()),
            (_, other) => trigger.failed = Some(format!("the registry answered {other:?}")),
        }
        self.finish(id);
        Vec::new()
    }

    fn mark(&mut self, id: u64, job: &JobName, names: &[String]) -> Vec<(Ticket, Request)> {
        let instances: Vec<_> = names.iter().filter_map(|n| InstanceId::new(n).ok()).collect();
        if instances.is_empty() {
            return Vec::new();
        }
        let create = |facet| Request::Commit(vec![Op::create(self.namespace.key(job, &facet), "")]);
        let parent = (Asked::Parent, create(Facet::Triggers));
        let marks = instances.into_iter().map(|i| (Asked::Mark, create(Facet::Trigger(i))));
        let requests: Vec<_> = std::iter::once(parent).chain(marks).collect();
        requests.into_iter().map(|(asked, request)| self.ask(id, asked, request)).collect()
    }

    fn ask(&mut self, id: u64, asked: Asked, request: Request) -> (Ticket, Request) {
        let ticket = Ticket(self.next);
        self.next += 1;
        self.asked.insert(ticket, (id, asked));
        if let Some(trigger) = self.open.get_mut(&id) {
            trigger.unanswered += 1;
        }
        (ticket, request)
    }

    /// Answers whoever asked, once nothing is open any more.
    fn finish(&mut self, id: u64) {
        if self.open.get(&id).is_none_or(|trigger| trigger.unanswered > 0) {
            return;
        }
        let Some(trigger) = self.open.remove(&id) else { return };
        let result = match (trigger.marked, trigger.failed) {
            (0, None) => Err(Unavailable::NotServed(trigger.job)),
            (0, Some(failed)) => Err(Unavailable::Registry(failed)),
            (marked, None) => Ok(marked),
            (marked, Some(failed)) => Err(Unavailable::Registry(format!(
                "{marked} instances of {} were asked to run it, then: {failed}",
                trigger.job
            ))),
        };
        let _ = trigger.answer.send(result);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flockwork_registry::{Failure, Key, Receipt, Refusal};
    use tokio::sync::oneshot;

    type Asking = oneshot::Receiver<Result<usize, Unavailable>>;

    fn started() -> (Triggers, Vec<(Ticket, Request)>, Asking) {
        let mut triggers = Triggers::new(Namespace::new("ns").unwrap());
        let (answer, asking) = oneshot::channel();
        let requests = triggers.start(JobName::new("j").unwrap(), answer);
        (triggers, requests, asking)
    }

    fn marks(triggers: &mut Triggers, listed: Ticket) -> Vec<(Ticket, Request)> {
        let names = ["10.0.0.1@-@1-a", "10.0.0.2@-@1-b"].map(str::to_owned).to_vec();
        triggers.answered(listed, Answered::Children(Some(names)))
    }

    #[test]
    fn every_instance_is_marked_and_counted() {
        let (mut triggers, requests, mut asking) = started();
        let marks = marks(&mut triggers, requests[0].0);
        let keys = marks.iter().map(|(_, request)| match request {
            Request::Commit(ops) => ops[0].key().to_string(),
            other => panic!("{other:?}"),
        });
        let expected =
            ["/ns/j/trigger", "/ns/j/trigger/10.0.0.1@-@1-a", "/ns/j/trigger/10.0.0.2@-@1-b"];
        assert_eq!(keys.collect::<Vec<_>>(), expected);
        let exists = Refusal { at: 0, key: Key::root(), why: Why::Exists };
        for ((ticket, _), answer) in marks.into_iter().zip([
            Answered::Refused(exists.clone()),
            Answered::Committed(Receipt::default()),
            Answered::Refused(exists),
        ]) {
            assert!(asking.try_recv().is_err(), "answered too early");
            assert!(triggers.answered(ticket, answer).is_empty());
        }
        assert_eq!(asking.try_recv(), Ok(Ok(2)));
        assert!(triggers.open.is_empty() && triggers.asked.is_empty());
    }

    #[test]
    fn a_job_that_nobody_serves_is_named() {
        let (mut triggers, requests, mut asking) = started();
        assert!(triggers.answered(requests[0].0, Answered::Children(None)).is_empty());
        assert!(matches!(asking.try_recv(), Ok(Err(Unavailable::NotServed(_)))));
    }

    #[test]
    fn a_lost_answer_is_not_called_done() {
        let (mut triggers, requests, mut asking) = started();
        let lost = || Answered::Failed(Failure::Unknown("cut".to_owned()));
        for (ticket, _) in marks(&mut triggers, requests[0].0) {
            triggers.answered(ticket, lost());
        }
        assert!(matches!(asking.try_recv(), Ok(Err(Unavailable::Registry(_)))));
    }

    #[test]
    fn too_many_at_once_are_refused() {
        let (mut triggers, _, _asking) = started();
        for _ in 1..MOST_TRIGGERS {
            triggers.start(JobName::new("j").unwrap(), oneshot::channel().0);
        }
        let (answer, mut asking) = oneshot::channel();
        assert!(triggers.start(JobName::new("j").unwrap(), answer).is_empty());
        assert_eq!(asking.try_recv(), Ok(Err(Unavailable::Busy(MOST_TRIGGERS))));
    }
}
