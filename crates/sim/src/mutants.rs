//! Known mistakes, made on purpose at the edges of a node: in what it is told, in what it asks for,
//! and in what becomes of its runs. A checker that does not find them proves nothing.

use crate::queue::HostAt;
use crate::release;
use crate::world::World;
use flockwork_checker as checker;
use flockwork_core::execution::Part;
use flockwork_layout::keys::Facet;
use flockwork_registry::{Answer, Event, Failure, Lifetime, Op, Request};

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// A read whose answer is lost counts as "there is none".
    LossIsAbsence,
    /// A commit whose answer is lost counts as not made.
    LossIsRefusal,
    /// The session is trusted for ten time-outs.
    LongTrust,
    /// A record is written whatever it is by now.
    UnguardedRecord,
    /// A run is taken over whether or not its instance is gone, as soon as it seems so.
    UncheckedTakeover,
    /// Changes are never told.
    NoChanges,
    /// Code is started twice.
    DoubleStart,
    /// A run counts as ended while its code runs on.
    EarlyEnd,
    /// A failure counts as success.
    LyingEnd,
    /// The clock that fires is ahead of the one that is shown.
    EarlyClock,
    /// The timer is five seconds late.
    LateTimer,
    /// A process that is told to stop leaves at once.
    HastyExit,
    /// A process goes on when it is told to stop.
    DeafToStop,
    /// Fields of a newer release are not written back.
    DroppedFields,
    /// A definition of a newer release is read as if it were of this one.
    BlindToSchema,
    /// A request to run now is taken away unanswered.
    SwallowedRequest,
    /// Each node that starts writes its own definition over the registry's.
    Overwriting,
    /// The watermark stays where it was.
    StuckWatermark,
    /// An instance's entry outlives its session.
    ImmortalInstance,
    /// Who ever served a job counts as there.
    NoOneIsGone,
    /// A job's listener is called twice.
    DoubleCall,
    /// A call of a listener that failed counts as one that ended well.
    LyingListener,
    /// A node is not told that a script cannot be started.
    DeafToScripts,
}

/// Each with the invariant that it breaks first of all. One more was harmless and is left out, that a
/// node is not told that its session is suspended: no answer to a claim reaches it then, and its trust
/// ends by its own clock.
const MUTANTS: [(Mutant, &str); 20] = [
    (Mutant::LossIsAbsence, checker::p04_nothing_invented::NAME),
    (Mutant::LossIsRefusal, checker::p10_unknown_is_not_no::NAME),
    (Mutant::LongTrust, checker::p10_unknown_is_not_no::NAME),
    (Mutant::UnguardedRecord, checker::p01_one_holder::NAME),
    (Mutant::UncheckedTakeover, checker::p01_one_holder::NAME),
    (Mutant::NoChanges, checker::p08_all_assigned::NAME),
    (Mutant::DoubleStart, checker::p04_nothing_invented::NAME),
    (Mutant::EarlyEnd, checker::p01_one_holder::NAME),
    (Mutant::LyingEnd, checker::p01_one_holder::NAME),
    (Mutant::EarlyClock, checker::p05_never_early::NAME),
    (Mutant::LateTimer, checker::p05_never_early::NAME),
    (Mutant::HastyExit, checker::p17_clean_stop::NAME),
    (Mutant::DeafToStop, checker::p17_clean_stop::NAME),
    (Mutant::DroppedFields, checker::p20_releases::NAME),
    (Mutant::BlindToSchema, checker::p20_releases::NAME),
    (Mutant::SwallowedRequest, checker::p12_asked_once::NAME),
    (Mutant::Overwriting, checker::p11_config_kept::NAME),
    (Mutant::StuckWatermark, checker::p18_clock_steps::NAME),
    (Mutant::ImmortalInstance, checker::p06_taken_over::NAME),
    (Mutant::NoOneIsGone, checker::p06_taken_over::NAME),
];

/// The mistakes about listeners, where jobs have any.
const OF_LISTENERS: [(Mutant, &str); 2] = [
    (Mutant::DoubleCall, checker::p22_listener::NAME),
    (Mutant::LyingListener, checker::p22_listener::NAME),
];

/// The mistakes about scripts, where jobs run any.
const OF_SCRIPTS: [(Mutant, &str); 1] = [(Mutant::DeafToScripts, checker::p23_who_may::NAME)];

/// All mistakes that can be made, each with the invariant that it breaks first of all.
#[must_use]
pub fn all() -> Vec<(Mutant, &'static str)> {
    MUTANTS.iter().chain(&OF_LISTENERS).chain(&OF_SCRIPTS).copied().collect()
}

impl Mutant {
    /// The one that starts this part of a job twice.
    pub(crate) fn twice(part: Part) -> Self {
        match part {
            Part::Shard => Self::DoubleStart,
            Part::Before | Part::After => Self::DoubleCall,
        }
    }
}

impl World {
    pub(crate) fn is(&self, mutant: Mutant) -> bool {
        self.scenario.mutant == Some(mutant)
    }

    /// A request as the mistake lets it be.
    pub(crate) fn mistaken_request(&self, at: HostAt, mut request: Request) -> Request {
        let Some(mutant) = self.scenario.mutant else { return request };
        let Request::Commit(ops) = &mut request else { return request };
        if mutant == Mutant::UncheckedTakeover {
            ops.retain(|op| !matches!(op, Op::CheckAbsent(_)));
        }
        for op in ops {
            let facet = self.namespace.parse(op.key()).map(|(_, facet)| facet);
            match (mutant, op, facet) {
                (Mutant::UnguardedRecord, Op::Set(_, _, stamp), Some(Facet::Record(_))) => {
                    *stamp = None;
                }
                (Mutant::DroppedFields, Op::Set(_, value, _), Some(Facet::Record(_)))
                    if !self.hosts[at].is_newer =>
                {
                    *value = release::older(value);
                }
                (Mutant::StuckWatermark, Op::Set(key, value, _), Some(Facet::Record(_))) => {
                    let old = self.entry(key).map(|entry| entry.value);
                    *value = old.map_or_else(|| value.clone(), |old| same_watermark(&old, value));
                }
                (
                    Mutant::ImmortalInstance,
                    Op::Create { lifetime, .. },
                    Some(Facet::Instance(_)),
                ) => *lifetime = Lifetime::Lasting,
                _ => {}
            }
        }
        request
    }

    /// What a lost answer counts as.
    pub(crate) fn mistaken_loss(&self, request: &Request, lost: Answer) -> Answer {
        match (self.scenario.mutant, request) {
            (Some(Mutant::LossIsAbsence), Request::Get(_)) => Answer::Entry(None),
            (Some(Mutant::LossIsAbsence), Request::Children(_)) => Answer::Children(None),
            (Some(Mutant::LossIsRefusal), Request::Commit(_)) => {
                Answer::Failed(Failure::NotSent("lost".to_owned()))
            }
            _ => lost,
        }
    }

    /// What a node is told, if it is.
    pub(crate) fn mistaken_event(&mut self, at: HostAt, event: Event) -> Option<Event> {
        match (self.scenario.mutant?, event) {
            (Mutant::NoChanges, Event::Changed(..)) => None,
            (Mutant::BlindToSchema, Event::Answer(ticket, Answer::Entry(Some(mut entry)))) => {
                entry.value = release::of_this_schema(&entry.value);
                Some(Event::Answer(ticket, Answer::Entry(Some(entry))))
            }
            (Mutant::NoOneIsGone, Event::Answer(ticket, Answer::Children(Some(names)))) => {
                let known = &mut self.hosts[at].ever_seen;
                let are_instances = names.iter().any(|name| name.contains("@-@"));
                if !are_instances {
                    return Some(Event::Answer(ticket, Answer::Children(Some(names))));
                }
                known.extend(names);
                let all = known.iter().cloned().collect();
                Some(Event::Answer(ticket, Answer::Children(Some(all))))
            }
            (_, event) => Some(event),
        }
    }

    /// Takes away at once what someone has just asked an instance for.
    pub(crate) fn swallow(&mut self, at: HostAt, request: &Request) {
        let Request::Get(key) = request else { return };
        let is_request = matches!(self.namespace.parse(key), Some((_, Facet::Trigger(_))));
        let session = self.hosts[at].link.session;
        let (Some(session), Some(_)) = (session.filter(|_| is_request), self.store.get(key)) else {
            return;
        };
        let delete = Request::Commit(vec![Op::Delete(key.clone(), None)]);
        self.recorder.apply(self.now, &mut self.store, session, delete);
    }
}

/// A record with the watermark of the one before it.
fn same_watermark(old: &[u8], new: &[u8]) -> bytes::Bytes {
    use flockwork_layout::record;
    let (Ok(old), Ok(mut new)) = (record::decode(old), record::decode(new)) else {
        return new.to_vec().into();
    };
    new.record.watermark = old.record.watermark;
    record::encode(&new)
}
