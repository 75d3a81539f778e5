//! The node's side of the connection: the requests under way, and the changes that share a commit.
//!
//! Each [`Change`] is made as a whole or not at all. A flush packs changes into as few commits as the limits
//! allow. If a commit is refused, the change at fault receives its verdict and the others are sent again at
//! once, so that no change waits for another.

mod change;
mod fair;
mod repair;

pub(crate) use change::{Change, JobChange, Purpose, ShardChange, Verdict};

use crate::Effect;
use crate::event::TriggerId;
use crate::names::JobIx;
use fair::Fair;
use flockwork_core::time::Mono;
use flockwork_layout::keys::Facet;
use flockwork_registry::{Answer, Failure, Limits, Op, Receipt, Refusal, Request, Ticket};
use std::collections::BTreeMap;
use std::time::Duration;

/// The most changes in one commit: enough to share a round trip, few enough that a refusal costs little.
const MOST_CHANGES: usize = 100;
/// The most commits without an answer: enough to keep a registry busy, few enough that waiting changes still
/// share commits.
const MOST_COMMITS: usize = 64;

/// The most changes of one job that wait in line or have no answer: a few full commits, so that one job keeps
/// a registry busy, and a commit of another job waits for no more than that.
const MOST_CHANGES_OF_A_JOB: u32 = 512;
/// The most reads and watches of one job that wait in line or have no answer, for the same reasons.
const MOST_READS_OF_A_JOB: u32 = 256;

/// The wait of a change that the registry could not take.
pub(crate) const PAUSE: Duration = Duration::from_millis(250);
/// The wait of a change that the registry does not want: a person must act first.
const LONG_PAUSE: Duration = Duration::from_secs(10);

/// A pause in which no commit is sent because the registry could take none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pause {
    pub(crate) until: Mono,
    /// The code of the reason, if it is to be reported.
    pub(crate) is_new: Option<&'static str>,
}

/// The request that a ticket stands for.
#[derive(Debug)]
enum Sent {
    Root,
    Read(JobIx, Facet),
    Asked(TriggerId),
    Watch(JobIx, Request),
    Commit(Vec<Change>, Mono),
}

impl Sent {
    /// The job for which something is read or watched.
    fn job(&self) -> Option<JobIx> {
        match self {
            Self::Read(job, _) | Self::Watch(job, _) => Some(*job),
            Self::Root | Self::Asked(_) | Self::Commit(..) => None,
        }
    }
}

/// The meaning of the registry's answer.
#[derive(Debug)]
pub(crate) enum Reply {
    /// The answer tells nothing that matters.
    Nothing,
    /// The namespace's root was read.
    Root(Answer),
    /// A key of a job was read.
    Read(JobIx, Facet, Answer),
    /// What a request to run a job now had asked.
    Asked(TriggerId, Answer),
    /// A watch was perhaps not set.
    Unwatched(Request),
    /// A commit that was sent at this time was made.
    Committed(Vec<Change>, Receipt, Mono),
    /// A change was at fault, or several by the same condition; the other changes are sent again.
    Refused(Vec<(Change, Refusal)>),
    /// A commit has failed as a whole, or may have.
    Failed(Vec<Change>, Failure),
}

/// The node's side of the connection.
#[derive(Debug)]
pub(crate) struct Outbox {
    limits: Limits,
    last_ticket: u64,
    sent: BTreeMap<Ticket, Sent>,
    /// How many requests were sent and not answered.
    under_way: usize,
    /// How many of these are commits.
    commits: usize,
    requests: Fair<(Ticket, Request)>,
    changes: Fair<Change>,
    paused_until: Option<Mono>,
    /// The reason why commits fail at present, as it was reported. Each reason is reported once, until a
    /// commit succeeds.
    told_failure: Option<&'static str>,
}

impl Outbox {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            last_ticket: 0,
            sent: BTreeMap::new(),
            under_way: 0,
            commits: 0,
            requests: Fair::new(MOST_READS_OF_A_JOB),
            changes: Fair::new(MOST_CHANGES_OF_A_JOB),
            paused_until: None,
            told_failure: None,
        }
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// Returns the number of commits that were sent and not answered.
    pub(crate) fn commits_in_flight(&self) -> usize {
        self.commits
    }

    /// Returns whether no change is under way or waits to be sent.
    pub(crate) fn is_idle(&self) -> bool {
        self.commits == 0 && self.changes.is_empty()
    }

    /// Returns the purposes of the changes that are under way or wait to be sent.
    pub(crate) fn purposes(&self) -> impl Iterator<Item = Purpose> {
        let sent = self.sent.values().flat_map(|sent| match sent {
            Sent::Commit(changes, _) => changes.as_slice(),
            Sent::Root | Sent::Read(..) | Sent::Asked(_) | Sent::Watch(..) => &[],
        });
        sent.chain(self.changes.iter()).map(|change| change.purpose)
    }

    /// Takes a change of no job back that waits to be sent. Says whether there was one.
    pub(crate) fn withdraw(&mut self, purpose: Purpose) -> bool {
        self.changes.take_out(|change| change.purpose == purpose)
    }

    /// The requests to run a job now whose questions are under way, or wait to be.
    pub(crate) fn asked_for(&self) -> impl Iterator<Item = TriggerId> {
        self.sent.values().filter_map(|sent| match sent {
            Sent::Asked(id) => Some(*id),
            _ => None,
        })
    }

    pub(crate) fn read(&mut self, job: JobIx, facet: Facet, request: Request) {
        self.ask(Some(job), Sent::Read(job, facet), request);
    }

    pub(crate) fn read_root(&mut self, request: Request) {
        self.ask(None, Sent::Root, request);
    }

    pub(crate) fn ask_for(&mut self, id: TriggerId, request: Request) {
        self.ask(None, Sent::Asked(id), request);
    }

    pub(crate) fn watch(&mut self, job: JobIx, request: Request) {
        self.ask(Some(job), Sent::Watch(job, request.clone()), request);
    }

    fn ask(&mut self, job: Option<JobIx>, what: Sent, request: Request) {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.sent.insert(ticket, what);
        self.requests.push(job, (ticket, request));
    }

    pub(crate) fn gather(&mut self, change: Change) {
        self.changes.push(change.purpose.job(), change);
    }

    /// Puts a change before the changes that wait, but behind the parents: the change may need the parents as
    /// much as the others do.
    pub(crate) fn gather_first(&mut self, change: Change) {
        let line = self.changes.line().iter();
        let parents = line.take_while(|change| change.is_parent()).count();
        let at = if change.is_parent() { 0 } else { parents };
        self.changes.insert(at, change.purpose.job(), change);
    }

    /// Gathers again changes that were too large together: each is to be sent alone.
    fn gather_singly(&mut self, changes: Vec<Change>) {
        for change in changes.into_iter().rev() {
            self.gather_first(change.alone());
        }
    }

    /// Sends no commit for a while if the registry has no room, denies the commit or is not there.
    pub(crate) fn pause_for(&mut self, now: Mono, failure: &Failure) -> Option<Pause> {
        let pause = match failure {
            Failure::Unknown(_) | Failure::SessionEnded(_) | Failure::TooLarge { .. } => {
                return None;
            }
            Failure::NotSent(_) => PAUSE,
            Failure::Full(_) => LONG_PAUSE / 10,
            Failure::Denied(_) => LONG_PAUSE,
        };
        let until = now.plus(pause);
        self.paused_until = Some(until);
        let code = failure_code(failure);
        let is_new = self.told_failure.replace(code) != Some(code);
        Some(Pause { until, is_new: is_new.then_some(code) })
    }

    pub(crate) fn resume(&mut self) {
        self.paused_until = None;
    }

    /// The keys that wait to be read or watched, which are forgotten.
    #[cfg(test)]
    pub(crate) fn asked(&mut self) -> Vec<flockwork_registry::Key> {
        let key = |request| match request {
            Request::Get(key) | Request::Children(key) => Some(key),
            Request::Watch(key, _) => Some(key),
            Request::Unwatch(..) | Request::Commit(_) => None,
        };
        let Self { sent, requests, .. } = self;
        let asked = requests.take_all(|(ticket, _)| sent.get(ticket).and_then(Sent::job));
        asked.into_iter().filter_map(|(_, request)| key(request)).collect()
    }

    /// Drops all changes that wait to be sent: they were meant for a session that has ended.
    pub(crate) fn drop_changes(&mut self) -> Vec<Change> {
        self.changes.take_all(|change| change.purpose.job())
    }

    /// Sends the requests and commits that may be sent.
    pub(crate) fn flush(&mut self, now: Mono, effects: &mut Vec<Effect>) {
        let open = self.paused_until.is_none_or(|until| now >= until);
        if open {
            self.paused_until = None;
        }
        while open && self.commits < MOST_COMMITS && self.changes.front().is_some() {
            let changes = self.pack();
            let mut ops = Vec::with_capacity(changes.iter().map(|change| change.ops.len()).sum());
            for change in &changes {
                ops.extend_from_slice(&change.ops);
            }
            self.commits += 1;
            self.under_way += 1;
            self.last_ticket += 1;
            let ticket = Ticket(self.last_ticket);
            self.sent.insert(ticket, Sent::Commit(changes, now));
            effects.push(Effect::Submit(ticket, Request::Commit(ops)));
        }
        // Requests wait here rather than be refused by the registry; half of the room is left to commits.
        let room = (self.limits.max_in_flight / 2).saturating_sub(self.under_way);
        for _ in 0..room {
            let Some((ticket, request)) = self.requests.pop() else { break };
            self.under_way += 1;
            effects.push(Effect::Submit(ticket, request));
        }
    }

    /// Takes the changes of the next commit: at least one, else as many as the limits allow.
    fn pack(&mut self) -> Vec<Change> {
        let (mut ops, mut bytes) = (0, 0);
        let mut packed = Vec::with_capacity(self.changes.line().len().min(MOST_CHANGES));
        while let Some(change) = self.changes.front() {
            ops += change.ops.len();
            bytes += change.bytes();
            let fits = ops <= self.limits.max_ops
                && bytes <= self.limits.max_bytes
                && packed.len() < MOST_CHANGES;
            let is_shared = packed.last().is_none_or(|last: &Change| !last.is_alone());
            let may_join = fits && is_shared && !change.is_alone();
            if !(packed.is_empty() || may_join) {
                break;
            }
            packed.extend(self.changes.pop());
        }
        packed
    }

    /// Returns what an answer means, and sends again the changes that were not at fault.
    pub(crate) fn answered(&mut self, ticket: Ticket, answer: Answer) -> Reply {
        let sent = self.sent.remove(&ticket);
        self.under_way -= usize::from(sent.is_some());
        self.requests.is_done(sent.as_ref().and_then(Sent::job));
        match sent {
            Some(Sent::Watch(_, request)) if matches!(answer, Answer::Failed(_)) => {
                Reply::Unwatched(request)
            }
            None | Some(Sent::Watch(..)) => Reply::Nothing,
            Some(Sent::Root) => Reply::Root(answer),
            Some(Sent::Read(job, facet)) => Reply::Read(job, facet, answer),
            Some(Sent::Asked(id)) => Reply::Asked(id, answer),
            Some(Sent::Commit(changes, sent)) => {
                self.commits -= 1;
                changes.iter().for_each(|change| self.changes.is_done(change.purpose.job()));
                self.commit_answered(changes, answer, sent)
            }
        }
    }

    fn commit_answered(&mut self, mut changes: Vec<Change>, answer: Answer, sent: Mono) -> Reply {
        match answer {
            Answer::Committed(receipt) => {
                self.told_failure = None;
                Reply::Committed(changes, receipt, sent)
            }
            Answer::Refused(refusal) => {
                let mut at = refusal.at;
                let faulty = changes.iter().position(|change| {
                    let here = at < change.ops.len();
                    at = at.saturating_sub(if here { 0 } else { change.ops.len() });
                    here
                });
                let faulty = changes.remove(faulty.unwrap_or(0));
                let refused = rested_on_the_same(&faulty, at, &refusal, &mut changes);
                for change in changes.into_iter().rev() {
                    self.changes.insert(0, change.purpose.job(), change);
                }
                let first = (faulty, Refusal { at, ..refusal });
                Reply::Refused(std::iter::once(first).chain(refused).collect())
            }
            Answer::Failed(Failure::TooLarge { .. }) if changes.len() > 1 => {
                // A change that the registry will never take is found by sending each by itself.
                self.gather_singly(changes);
                Reply::Nothing
            }
            Answer::Failed(failure) => Reply::Failed(changes, failure),
            Answer::Entry(_) | Answer::Children(_) | Answer::Done => Reply::Failed(
                changes,
                Failure::Unknown("the answer is not one to a commit".to_owned()),
            ),
        }
    }
}

fn failure_code(failure: &Failure) -> &'static str {
    match failure {
        Failure::Unknown(_) => "OUTCOME_UNKNOWN",
        Failure::NotSent(_) => "REGISTRY_UNAVAILABLE",
        Failure::SessionEnded(_) => "SESSION_ENDED",
        Failure::TooLarge { .. } => "TOO_LARGE",
        Failure::Full(_) => "REGISTRY_FULL",
        Failure::Denied(_) => "REGISTRY_DENIED",
    }
}

/// Takes out the changes that rest on the condition that did not hold for another change of their commit.
/// Otherwise a plan that changes would cost a round trip for each claim that was based on it.
fn rested_on_the_same(
    faulty: &Change,
    at: usize,
    refusal: &Refusal,
    changes: &mut Vec<Change>,
) -> Vec<(Change, Refusal)> {
    let Some(Op::Check(key, stamp)) = faulty.ops.get(at) else { return Vec::new() };
    let rests = |op: &Op| matches!(op, Op::Check(other, of) if other == key && of == stamp);
    let place = |change: &Change| change.ops.iter().position(rests);
    changes
        .extract_if(.., |change| place(change).is_some())
        .map(|change| {
            let at = place(&change).unwrap_or(0);
            (change, Refusal { at, ..refusal.clone() })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use flockwork_core::execution::RunId;
    use flockwork_registry::{Index, Key, Stamp, Why};

    fn claim(run: u64) -> Purpose {
        Purpose::Shard(JobIx(0), 0, ShardChange::Claim(RunId(run)))
    }

    fn outbox(max_ops: usize) -> Outbox {
        Outbox::new(Limits { max_ops, max_bytes: 10_000, max_value: 1_000, max_in_flight: 10 })
    }

    fn change(run: u64, ops: usize) -> Change {
        let key = |i| Key::new(&format!("/{run}/{i}")).unwrap();
        Change::new(claim(run), (0..ops).map(|i| Op::create(key(i), "")).collect())
    }

    fn commits(effects: &[Effect]) -> Vec<(Ticket, usize)> {
        effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Submit(ticket, Request::Commit(ops)) => Some((*ticket, ops.len())),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn changes_share_commits_up_to_the_limits() {
        let mut outbox = outbox(7);
        for run in 0..4 {
            outbox.gather(change(run, 3));
        }
        let mut effects = vec![];
        outbox.flush(Mono::default(), &mut effects);
        assert_eq!(commits(&effects).iter().map(|c| c.1).collect::<Vec<_>>(), [6, 6]);
    }

    #[test]
    fn only_the_change_at_fault_is_refused() {
        let mut outbox = outbox(100);
        for run in 0..3 {
            outbox.gather(change(run, 3));
        }
        let mut effects = vec![];
        outbox.flush(Mono::default(), &mut effects);
        let refusal = Refusal { at: 4, key: Key::root(), why: Why::Exists };
        let heard = outbox.answered(commits(&effects)[0].0, Answer::Refused(refusal));
        let Reply::Refused(refused) = heard else { panic!("{heard:?}") };
        let [(change, refusal)] = &refused[..] else { panic!("{refused:?}") };
        assert_eq!((change.purpose, refusal.at), (claim(1), 1));
        effects.clear();
        outbox.flush(Mono::default(), &mut effects);
        let resent = commits(&effects);
        assert_eq!(resent[0].1, 6);
        let receipt = Receipt { index: Index(9), ..Receipt::default() };
        let heard = outbox.answered(resent[0].0, Answer::Committed(receipt));
        let Reply::Committed(changes, ..) = heard else { panic!("{heard:?}") };
        assert_eq!(changes[1].purpose, claim(2));
        assert!(outbox.is_idle());
    }

    #[test]
    fn all_that_rest_on_what_did_not_hold_are_refused_at_once() {
        let mut outbox = outbox(100);
        let plan = |stamp| Op::Check(Key::new("/plan").unwrap(), Some(stamp));
        let (old, new) = (Stamp::default(), Stamp { version: 1, ..Stamp::default() });
        for (run, stamp) in [(0, new), (1, old), (2, new), (3, old)] {
            let mut change = change(run, 2);
            change.ops.insert(1, plan(stamp));
            outbox.gather(change);
        }
        let mut effects = vec![];
        outbox.flush(Mono::default(), &mut effects);
        let refusal = Refusal { at: 4, key: Key::new("/plan").unwrap(), why: Why::Changed };
        let heard = outbox.answered(commits(&effects)[0].0, Answer::Refused(refusal));
        let Reply::Refused(refused) = heard else { panic!("{heard:?}") };
        let told: Vec<_> = refused.iter().map(|(change, why)| (change.purpose, why.at)).collect();
        assert_eq!(told, [(claim(1), 1), (claim(3), 1)]);
        effects.clear();
        outbox.flush(Mono::default(), &mut effects);
        assert_eq!(commits(&effects)[0].1, 6, "the two others");
    }

    #[test]
    fn reads_never_take_more_than_half_the_room() {
        let mut outbox = outbox(100);
        for i in 0..20 {
            let key = Key::new(&format!("/{i}")).unwrap();
            outbox.read(JobIx(0), Facet::Config, Request::Get(key));
        }
        let mut effects = vec![];
        outbox.flush(Mono::default(), &mut effects);
        assert_eq!(effects.len(), 5);
        let Effect::Submit(ticket, _) = effects[0] else { panic!() };
        let _ = outbox.answered(ticket, Answer::Entry(None));
        effects.clear();
        outbox.flush(Mono::default(), &mut effects);
        assert_eq!(effects.len(), 1);
    }

    #[test]
    fn nothing_is_committed_during_a_pause() {
        let mut outbox = outbox(100);
        outbox.gather(change(1, 1));
        let away = Failure::NotSent(String::new());
        let pause = outbox.pause_for(Mono::default(), &away).unwrap();
        assert_eq!(
            (pause.until, pause.is_new),
            (Mono::default().plus(PAUSE), Some("REGISTRY_UNAVAILABLE"))
        );
        assert_eq!(outbox.pause_for(Mono::default(), &away).unwrap().is_new, None, "told once");
        let mut effects = vec![];
        outbox.flush(Mono::from_millis(249), &mut effects);
        assert!(effects.is_empty());
        outbox.flush(Mono::from_millis(250), &mut effects);
        assert_eq!(effects.len(), 1);
    }
}
