//! The node's side of the connection: what is under way, and what shares a commit.
//!
//! Changes are gathered as *members*, each all or nothing for itself. A flush packs members into as
//! few commits as the limits allow. If a commit is refused, the member that was at fault is told
//! and the others are sent again at once, so that none waits for another.

use crate::Effect;
use crate::job::JobIx;
use flockwork_core::execution::RunId;
use flockwork_core::id::ShardIndex;
use flockwork_core::time::Mono;
use flockwork_layout::keys::Facet;
use flockwork_registry::{Answer, Failure, Limits, Op, Receipt, Refusal, Request, Ticket};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Members in one commit: enough to share a round trip, few enough that a refusal costs little.
const MOST_MEMBERS: usize = 100;
/// Commits without an answer. Enough to keep a registry busy, few enough that what waits still
/// shares commits.
const MOST_COMMITS: usize = 64;
/// How often a member is repaired (a parent made, a mark that is gone left out) before it fails.
const MOST_REPAIRS: u8 = 12;

/// How long a change waits that the registry could not take.
pub(crate) const PAUSE: Duration = Duration::from_millis(250);
/// How long a change waits that the registry does not want: a person must act first.
const LONG_PAUSE: Duration = Duration::from_secs(10);

/// What a change is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aim {
    /// A missing parent of another member's key.
    Parent,
    /// A job's nodes.
    Tree(JobIx),
    /// A job's definition.
    Config(JobIx),
    /// This instance, as one that serves the job.
    Register(JobIx),
    /// This instance, as the one that assigns the job's shards.
    Elect(JobIx),
    /// Shards to instances.
    Assign(JobIx),
    /// A request to run now, answered.
    Trigger(JobIx),
    /// This instance no longer serves the job.
    Leave(JobIx),
    /// This instance, as one that waits to leave, or no longer.
    Mark(JobIx),
    /// The right to run.
    Claim(RunId),
    /// The end of a run.
    End(RunId),
    /// A claim taken back before anything started.
    Undo(RunId),
    /// What this instance says of its clock.
    Clock(JobIx),
    /// Fires that no run is claimed for, or a crashed run.
    Account(JobIx, ShardIndex),
}

impl Aim {
    /// The job it is for, where that is not found by a run.
    pub(crate) fn job(self) -> Option<JobIx> {
        match self {
            Self::Tree(ix)
            | Self::Config(ix)
            | Self::Register(ix)
            | Self::Elect(ix)
            | Self::Assign(ix)
            | Self::Trigger(ix)
            | Self::Leave(ix)
            | Self::Mark(ix)
            | Self::Clock(ix)
            | Self::Account(ix, _) => Some(ix),
            Self::Parent | Self::Claim(_) | Self::End(_) | Self::Undo(_) => None,
        }
    }

    /// The run it is for.
    pub(crate) fn run(self) -> Option<RunId> {
        match self {
            Self::Claim(run) | Self::End(run) | Self::Undo(run) => Some(run),
            _ => None,
        }
    }
}

/// How long no commit is sent, as the registry could take none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pause {
    pub(crate) until: Mono,
    /// The code of why, if that is to be told.
    pub(crate) is_new: Option<&'static str>,
}

/// A change that is made as a whole or not at all.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) aim: Aim,
    pub(crate) ops: Vec<Op>,
    pub(crate) repairs: u8,
    /// Whether it must not share a commit.
    pub(crate) is_alone: bool,
}

impl Member {
    pub(crate) fn new(aim: Aim, ops: Vec<Op>) -> Self {
        Self { aim, ops, repairs: 0, is_alone: false }
    }

    fn bytes(&self) -> usize {
        self.ops.iter().map(Op::bytes).sum()
    }

    /// Whether it may be changed and sent once more.
    pub(crate) fn may_be_repaired(&mut self) -> bool {
        self.repairs += 1;
        self.repairs <= MOST_REPAIRS
    }
}

/// What a ticket stands for.
#[derive(Debug)]
enum Sent {
    Read(JobIx, Facet),
    Watch(Request),
    Commit(Vec<Member>, Mono),
}

/// What an answer means.
#[derive(Debug)]
pub(crate) enum Heard {
    /// Nothing that matters.
    Nothing,
    /// A key of a job was read.
    Read(JobIx, Facet, Answer),
    /// A watch may not be set.
    Unwatched(Request),
    /// A commit happened that was sent at an instant.
    Committed(Vec<Member>, Receipt, Mono),
    /// One member was at fault, or several by the same condition; the others go out again.
    Refused(Vec<(Member, Refusal)>),
    /// A commit has, or may have, failed as a whole.
    Failed(Vec<Member>, Failure),
}

/// The connection.
#[derive(Debug)]
pub(crate) struct Link {
    limits: Limits,
    last_ticket: u64,
    sent: BTreeMap<Ticket, Sent>,
    commits: usize,
    requests: VecDeque<(Ticket, Request)>,
    members: VecDeque<Member>,
    paused_until: Option<Mono>,
    /// Why commits fail at present, as it was told: each reason once, until one succeeds.
    told_failure: Option<&'static str>,
}

impl Link {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            last_ticket: 0,
            sent: BTreeMap::new(),
            commits: 0,
            requests: VecDeque::new(),
            members: VecDeque::new(),
            paused_until: None,
            told_failure: None,
        }
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// Commits sent and not answered.
    pub(crate) fn commits_in_flight(&self) -> usize {
        self.commits
    }

    /// Whether nothing is under way or waits to be.
    pub(crate) fn is_idle(&self) -> bool {
        self.commits == 0 && self.members.is_empty()
    }

    pub(crate) fn read(&mut self, job: JobIx, facet: Facet, request: Request) {
        self.ask(Sent::Read(job, facet), request);
    }

    pub(crate) fn watch(&mut self, request: Request) {
        self.ask(Sent::Watch(request.clone()), request);
    }

    fn ask(&mut self, what: Sent, request: Request) {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.sent.insert(ticket, what);
        self.requests.push_back((ticket, request));
    }

    pub(crate) fn gather(&mut self, member: Member) {
        self.members.push_back(member);
    }

    /// Puts a member before those that wait, but behind the parents that it may need as much as they.
    pub(crate) fn gather_first(&mut self, member: Member) {
        let parents = self.members.iter().take_while(|member| member.aim == Aim::Parent).count();
        let at = if member.aim == Aim::Parent { 0 } else { parents };
        self.members.insert(at, member);
    }

    /// Gathers members again that were too large together.
    pub(crate) fn gather_singly(&mut self, members: Vec<Member>) {
        for member in members.into_iter().rev() {
            self.gather_first(Member { is_alone: true, ..member });
        }
    }

    /// Sends no commit for a while if the registry has no room, or is not there.
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

    /// Drops all that waits to be sent: it was meant for a session that has ended.
    pub(crate) fn drop_members(&mut self) -> Vec<Member> {
        self.members.drain(..).collect()
    }

    /// Sends what may be sent.
    pub(crate) fn flush(&mut self, now: Mono, effects: &mut Vec<Effect>) {
        let open = self.paused_until.is_none_or(|until| now >= until);
        if open {
            self.paused_until = None;
        }
        while open && self.commits < MOST_COMMITS && !self.members.is_empty() {
            let members = self.pack();
            let mut ops = Vec::with_capacity(members.iter().map(|member| member.ops.len()).sum());
            for member in &members {
                ops.extend_from_slice(&member.ops);
            }
            self.commits += 1;
            self.last_ticket += 1;
            let ticket = Ticket(self.last_ticket);
            self.sent.insert(ticket, Sent::Commit(members, now));
            effects.push(Effect::Submit(ticket, Request::Commit(ops)));
        }
        // Requests wait here rather than be refused there; half the room is left to commits.
        let waiting = self.requests.len();
        let under_way = self.sent.len() - waiting;
        let room = (self.limits.max_in_flight / 2).saturating_sub(under_way).min(waiting);
        effects.extend(
            self.requests.drain(..room).map(|(ticket, request)| Effect::Submit(ticket, request)),
        );
    }

    /// The members of the next commit: at least one, else as many as the limits allow.
    fn pack(&mut self) -> Vec<Member> {
        let (mut ops, mut bytes) = (0, 0);
        let mut packed = Vec::with_capacity(self.members.len().min(MOST_MEMBERS));
        while let Some(member) = self.members.front() {
            ops += member.ops.len();
            bytes += member.bytes();
            let fits = ops <= self.limits.max_ops
                && bytes <= self.limits.max_bytes
                && packed.len() < MOST_MEMBERS;
            let is_shared = packed.last().is_none_or(|last: &Member| !last.is_alone);
            let may_join = fits && is_shared && !member.is_alone;
            if !(packed.is_empty() || may_join) {
                break;
            }
            packed.extend(self.members.pop_front());
        }
        packed
    }

    /// Says what an answer means, and sends again what was not at fault.
    pub(crate) fn answered(&mut self, ticket: Ticket, answer: Answer) -> Heard {
        match self.sent.remove(&ticket) {
            Some(Sent::Watch(request)) if matches!(answer, Answer::Failed(_)) => {
                Heard::Unwatched(request)
            }
            None | Some(Sent::Watch(_)) => Heard::Nothing,
            Some(Sent::Read(job, facet)) => Heard::Read(job, facet, answer),
            Some(Sent::Commit(members, sent)) => {
                self.commits -= 1;
                self.commit_answered(members, answer, sent)
            }
        }
    }

    fn commit_answered(&mut self, mut members: Vec<Member>, answer: Answer, sent: Mono) -> Heard {
        match answer {
            Answer::Committed(receipt) => {
                self.told_failure = None;
                Heard::Committed(members, receipt, sent)
            }
            Answer::Refused(refusal) => {
                let mut at = refusal.at;
                let faulty = members.iter().position(|member| {
                    let here = at < member.ops.len();
                    at = at.saturating_sub(if here { 0 } else { member.ops.len() });
                    here
                });
                let faulty = members.remove(faulty.unwrap_or(0));
                let refused = rested_on_the_same(&faulty, at, &refusal, &mut members);
                for member in members.into_iter().rev() {
                    self.members.push_front(member);
                }
                let first = (faulty, Refusal { at, ..refusal });
                Heard::Refused(std::iter::once(first).chain(refused).collect())
            }
            Answer::Failed(failure) => Heard::Failed(members, failure),
            Answer::Entry(_) | Answer::Children(_) | Answer::Done => Heard::Failed(
                members,
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

/// Takes out the members that rest on the condition that did not hold for one of their commit: a
/// plan that changes would else cost a round trip for each claim that was made on it.
fn rested_on_the_same(
    faulty: &Member,
    at: usize,
    refusal: &Refusal,
    members: &mut Vec<Member>,
) -> Vec<(Member, Refusal)> {
    let Some(Op::Check(key, stamp)) = faulty.ops.get(at) else { return Vec::new() };
    let rests = |op: &Op| matches!(op, Op::Check(other, of) if other == key && of == stamp);
    let place = |member: &Member| member.ops.iter().position(rests);
    members
        .extract_if(.., |member| place(member).is_some())
        .map(|member| {
            let at = place(&member).unwrap_or(0);
            (member, Refusal { at, ..refusal.clone() })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use flockwork_registry::{Index, Key, Stamp, Why};

    fn link(max_ops: usize) -> Link {
        Link::new(Limits { max_ops, max_bytes: 10_000, max_value: 1_000, max_in_flight: 10 })
    }

    fn member(run: u64, ops: usize) -> Member {
        let key = |i| Key::new(&format!("/{run}/{i}")).unwrap();
        Member::new(Aim::Claim(RunId(run)), (0..ops).map(|i| Op::create(key(i), "")).collect())
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
    fn members_share_commits_up_to_the_limits() {
        let mut link = link(7);
        for run in 0..4 {
            link.gather(member(run, 3));
        }
        let mut effects = vec![];
        link.flush(Mono::default(), &mut effects);
        assert_eq!(commits(&effects).iter().map(|c| c.1).collect::<Vec<_>>(), [6, 6]);
    }

    #[test]
    fn only_the_member_at_fault_is_refused() {
        let mut link = link(100);
        for run in 0..3 {
            link.gather(member(run, 3));
        }
        let mut effects = vec![];
        link.flush(Mono::default(), &mut effects);
        let refusal = Refusal { at: 4, key: Key::root(), why: Why::Exists };
        let heard = link.answered(commits(&effects)[0].0, Answer::Refused(refusal));
        let Heard::Refused(refused) = heard else { panic!("{heard:?}") };
        let [(member, refusal)] = &refused[..] else { panic!("{refused:?}") };
        assert_eq!((member.aim, refusal.at), (Aim::Claim(RunId(1)), 1));
        effects.clear();
        link.flush(Mono::default(), &mut effects);
        let resent = commits(&effects);
        assert_eq!(resent[0].1, 6);
        let receipt = Receipt { index: Index(9), ..Receipt::default() };
        let heard = link.answered(resent[0].0, Answer::Committed(receipt));
        let Heard::Committed(members, ..) = heard else { panic!("{heard:?}") };
        assert_eq!(members[1].aim, Aim::Claim(RunId(2)));
        assert!(link.is_idle());
    }

    #[test]
    fn all_that_rest_on_what_did_not_hold_are_refused_at_once() {
        let mut link = link(100);
        let plan = |stamp| Op::Check(Key::new("/plan").unwrap(), Some(stamp));
        let (old, new) = (Stamp::default(), Stamp { version: 1, ..Stamp::default() });
        for (run, stamp) in [(0, new), (1, old), (2, new), (3, old)] {
            let mut member = member(run, 2);
            member.ops.insert(1, plan(stamp));
            link.gather(member);
        }
        let mut effects = vec![];
        link.flush(Mono::default(), &mut effects);
        let refusal = Refusal { at: 4, key: Key::new("/plan").unwrap(), why: Why::Changed };
        let heard = link.answered(commits(&effects)[0].0, Answer::Refused(refusal));
        let Heard::Refused(refused) = heard else { panic!("{heard:?}") };
        let told: Vec<_> = refused.iter().map(|(member, why)| (member.aim, why.at)).collect();
        assert_eq!(told, [(Aim::Claim(RunId(1)), 1), (Aim::Claim(RunId(3)), 1)]);
        effects.clear();
        link.flush(Mono::default(), &mut effects);
        assert_eq!(commits(&effects)[0].1, 6, "the two others");
    }

    #[test]
    fn reads_never_take_more_than_half_the_room() {
        let mut link = link(100);
        for i in 0..20 {
            let key = Key::new(&format!("/{i}")).unwrap();
            link.read(JobIx(0), Facet::Config, Request::Get(key));
        }
        let mut effects = vec![];
        link.flush(Mono::default(), &mut effects);
        assert_eq!(effects.len(), 5);
        let Effect::Submit(ticket, _) = effects[0] else { panic!() };
        let _ = link.answered(ticket, Answer::Entry(None));
        effects.clear();
        link.flush(Mono::default(), &mut effects);
        assert_eq!(effects.len(), 1);
    }

    #[test]
    fn nothing_is_committed_during_a_pause() {
        let mut link = link(100);
        link.gather(member(1, 1));
        let away = Failure::NotSent(String::new());
        let pause = link.pause_for(Mono::default(), &away).unwrap();
        assert_eq!(
            (pause.until, pause.is_new),
            (Mono::default().plus(PAUSE), Some("REGISTRY_UNAVAILABLE"))
        );
        assert_eq!(link.pause_for(Mono::default(), &away).unwrap().is_new, None, "told once");
        let mut effects = vec![];
        link.flush(Mono::from_millis(249), &mut effects);
        assert!(effects.is_empty());
        link.flush(Mono::from_millis(250), &mut effects);
        assert_eq!(effects.len(), 1);
    }
}
