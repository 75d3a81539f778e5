//! Asking for a run now. ElasticJob's way: one node for each instance that is to run its shards; the
//! instance takes it away when it has seen it.
//!
//! All instances are asked by one commit, so either all are or none is. More than a commit holds are
//! asked by several, one after the other; the first that fails is the last.
//!
//! A [`Trigger`] is one such request while it is made: it says what the registry is to be asked next,
//! one question at a time, and is given the answer. Nothing here waits or does I/O.

use crate::keys::{Facet, Namespace};
use flockwork_core::id::{InstanceId, JobName};
use flockwork_registry::{Answer, Failure, Limits, Op, Refusal, Request, Why};
use std::collections::BTreeSet;

/// How often a commit is made anew, beyond twice for each of its instances, as others made or took
/// away what it stands on.
const TRIES: usize = 8;

/// What became of a request to run a job now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Triggered {
    /// Asked by this request.
    pub asked: Vec<InstanceId>,
    /// Asked by an earlier request that they have not seen yet: both are one.
    pub coalesced: Vec<InstanceId>,
    /// Left while they were to be asked.
    pub gone: Vec<InstanceId>,
    /// The registry's answer was lost, so these may have been asked or not; with the reason for each.
    pub unknown: Vec<(InstanceId, String)>,
    /// These were not asked, as an earlier commit was not confirmed; with the reason for each.
    pub not_asked: Vec<(InstanceId, String)>,
}

/// Why nobody was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTriggered {
    /// The job's definition is not there.
    #[error("there is no such job")]
    NotDefined,
    /// No instance serves it.
    #[error("no instance serves it")]
    NotServed,
    /// Every server that an instance serves it from is switched off.
    #[error("it is disabled on every server that serves it")]
    Disabled,
    /// It changed each time it was about to be done.
    #[error("it was changed by others each time; nothing more was done")]
    Contended,
    /// The registry did not do it, and it will not happen.
    #[error("{0}")]
    Failed(Failure),
}

/// Who serves a job, where that is known already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// The instances.
    pub instances: Vec<InstanceId>,
    /// Whether any of their servers is switched on.
    pub is_enabled: bool,
}

/// What is told in the end.
type Told = Result<Triggered, NotTriggered>;

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// The registry is to be asked this; [`Trigger::answered`] is told what it says.
    Ask(Request),
    /// Nothing: this is what became of it.
    Over(Told),
}

/// One instance that is to be asked.
#[derive(Clone, Debug)]
struct Asked {
    instance: InstanceId,
    /// An earlier request to it stands.
    stands: bool,
}

/// What the registry was asked last.
#[derive(Debug)]
enum Stage {
    /// Who serves the job.
    Instances,
    /// Whether a server is switched on. The others wait.
    Server(Vec<String>),
    /// Which requests stand.
    Standing,
    /// To ask these, so often more.
    Commit(Vec<Asked>, usize),
}

/// One request to run a job now, while it is made.
#[derive(Debug)]
pub struct Trigger {
    namespace: Namespace,
    job: JobName,
    limits: Limits,
    stage: Stage,
    /// Those whose commit has not been made.
    waiting: Vec<Asked>,
    /// Whether the next commit makes the parent of the requests.
    makes_parent: bool,
    /// Whether the requests that stand were listed.
    has_listed: bool,
    told: Triggered,
}

impl Trigger {
    /// A request that knows nothing yet.
    #[must_use]
    pub fn new(namespace: Namespace, job: JobName, limits: Limits) -> Self {
        Self {
            namespace,
            job,
            limits,
            stage: Stage::Instances,
            waiting: Vec::new(),
            makes_parent: false,
            has_listed: false,
            told: Triggered::default(),
        }
    }

    /// Begins, with what is known of who serves the job.
    pub fn begin(&mut self, served: Option<Served>) -> Next {
        match served {
            None => self.list(&Facet::Instances),
            Some(served) => {
                self.serve(served.instances);
                match served.is_enabled {
                    _ if self.waiting.is_empty() => Next::Over(Err(NotTriggered::NotServed)),
                    true => self.ask_more(),
                    false => Next::Over(Err(NotTriggered::Disabled)),
                }
            }
        }
    }

    /// Takes what the registry answered.
    pub fn answered(&mut self, answer: Answer) -> Next {
        match std::mem::replace(&mut self.stage, Stage::Instances) {
            Stage::Commit(batch, tries) => self.commit_answered(batch, tries, answer),
            stage => {
                let read = self.read(stage, answer);
                read.unwrap_or_else(|why| Next::Over(self.failed(Vec::new(), why)))
            }
        }
    }

    /// Waits no longer for what the registry was asked last. A commit may still be made.
    ///
    /// # Errors
    /// [`NotTriggered::Failed`], if none was under way, or made before: nobody was asked.
    pub fn give_up(mut self, why: &str) -> Told {
        match std::mem::replace(&mut self.stage, Stage::Instances) {
            Stage::Commit(batch, _) => self.unknown(batch, why),
            _ => self.failed(Vec::new(), not_sent(why)),
        }
    }

    /// The commit that was to be made next was taken back before it was sent.
    ///
    /// # Errors
    /// [`NotTriggered::Failed`], if none was made before: nobody was asked.
    pub fn withdrawn(mut self, why: &str) -> Told {
        let stage = std::mem::replace(&mut self.stage, Stage::Instances);
        let batch = if let Stage::Commit(batch, _) = stage { batch } else { Vec::new() };
        self.failed(batch, not_sent(why))
    }

    fn read(&mut self, stage: Stage, answer: Answer) -> Result<Next, NotTriggered> {
        match (stage, answer) {
            (Stage::Instances, Answer::Children(names)) => {
                let ids = names.unwrap_or_default();
                self.serve(ids.iter().filter_map(|id| InstanceId::new(id).ok()).collect());
                match self.waiting.is_empty() {
                    true => Err(NotTriggered::NotServed),
                    false => self.look_at(self.servers()),
                }
            }
            (Stage::Server(others), Answer::Entry(entry)) => {
                // As nodes see it: a status that is neither word gets no shards.
                match entry.is_some_and(|entry| entry.value.as_ref() == b"ENABLED") {
                    true => Ok(self.list_standing()),
                    false => self.look_at(others),
                }
            }
            (Stage::Standing, Answer::Children(names)) => {
                self.makes_parent = names.is_none();
                let names: BTreeSet<String> = names.unwrap_or_default().into_iter().collect();
                for asked in &mut self.waiting {
                    asked.stands = names.contains(asked.instance.as_str());
                }
                Ok(self.ask_more())
            }
            // A read that was lost has changed nothing.
            (_, Answer::Failed(why)) if why.may_have_happened() => Err(not_sent(&why.to_string())),
            (_, Answer::Failed(why)) => Err(NotTriggered::Failed(why)),
            (_, other) => {
                Err(not_sent(&format!("the registry answered something else: {other:?}")))
            }
        }
    }

    fn serve(&mut self, instances: Vec<InstanceId>) {
        self.waiting =
            instances.into_iter().map(|instance| Asked { instance, stands: false }).collect();
    }

    /// The servers that instances serve it from.
    fn servers(&self) -> Vec<String> {
        let servers: BTreeSet<&str> =
            self.waiting.iter().map(|asked| asked.instance.server()).collect();
        servers.into_iter().rev().map(str::to_owned).collect()
    }

    /// Looks at one server after the other, until one is switched on: that is nearly always the first.
    fn look_at(&mut self, mut servers: Vec<String>) -> Result<Next, NotTriggered> {
        let Some(server) = servers.pop() else { return Err(NotTriggered::Disabled) };
        self.stage = Stage::Server(servers);
        Ok(Next::Ask(Request::Get(self.key(&Facet::Server(server)))))
    }

    /// Lists the requests that stand, so that they are known at once and not by one refusal each.
    fn list_standing(&mut self) -> Next {
        self.has_listed = true;
        self.stage = Stage::Standing;
        self.list(&Facet::Triggers)
    }

    fn list(&self, facet: &Facet) -> Next {
        Next::Ask(Request::Children(self.key(facet)))
    }

    fn key(&self, facet: &Facet) -> flockwork_registry::Key {
        self.namespace.key(&self.job, facet)
    }

    /// Asks as many as a commit holds of those that are yet to be asked.
    fn ask_more(&mut self) -> Next {
        let rest = self.waiting.split_off(self.fits());
        let batch = std::mem::replace(&mut self.waiting, rest);
        // Each refusal settles one instance; more are others' doing.
        let tries = 2 * batch.len() + TRIES;
        self.ask(batch, tries)
    }

    fn ask(&mut self, batch: Vec<Asked>, tries: usize) -> Next {
        match (batch.is_empty(), self.waiting.is_empty()) {
            (true, true) => Next::Over(self.over()),
            (true, false) => self.ask_more(),
            (false, _) if tries == 0 => Next::Over(self.failed(batch, NotTriggered::Contended)),
            (false, _) => {
                let requests = batch.iter().flat_map(|asked| self.request(asked));
                let ops = self.preamble(self.makes_parent).into_iter().chain(requests).collect();
                self.stage = Stage::Commit(batch, tries - 1);
                Next::Ask(Request::Commit(ops))
            }
        }
    }

    /// How many of those that wait one commit holds; at least one.
    fn fits(&self) -> usize {
        let before = self.preamble(true);
        let mut ops = before.len();
        let mut bytes: usize = before.iter().map(Op::bytes).sum();
        let held = self.waiting.iter().take_while(|asked| {
            // As many as it may become: an earlier request may be seen meanwhile.
            let made = self.request(&Asked { stands: false, ..(*asked).clone() });
            ops += made.len();
            bytes += made.iter().map(Op::bytes).sum::<usize>();
            ops <= self.limits.max_ops && bytes <= self.limits.max_bytes
        });
        held.count().max(1)
    }

    /// What comes before the requests: the job is there, and so is their parent.
    fn preamble(&self, makes_parent: bool) -> Vec<Op> {
        let mut ops = vec![Op::Check(self.key(&Facet::Config), None)];
        if makes_parent {
            ops.push(Op::create(self.key(&Facet::Triggers), ""));
        }
        ops
    }

    /// A request to one instance: it is there, and is asked; or the earlier request still stands.
    fn request(&self, asked: &Asked) -> [Op; 2] {
        let there = self.key(&Facet::Instance(asked.instance.clone()));
        let request = self.key(&Facet::Trigger(asked.instance.clone()));
        let request = match asked.stands {
            true => Op::Check(request, None),
            false => Op::create(request, ""),
        };
        [Op::Check(there, None), request]
    }

    fn commit_answered(&mut self, batch: Vec<Asked>, tries: usize, answer: Answer) -> Next {
        match answer {
            Answer::Committed(_) => {
                self.makes_parent = false;
                let (stood, fresh): (Vec<_>, Vec<_>) =
                    batch.into_iter().partition(|asked| asked.stands);
                self.told.asked.extend(fresh.into_iter().map(|asked| asked.instance));
                self.told.coalesced.extend(stood.into_iter().map(|asked| asked.instance));
                self.ask(Vec::new(), 0)
            }
            Answer::Refused(refusal) => self.refused(batch, tries, &refusal),
            Answer::Failed(why) if !why.may_have_happened() => {
                Next::Over(self.failed(batch, NotTriggered::Failed(why)))
            }
            Answer::Failed(why) => Next::Over(self.unknown(batch, &why.to_string())),
            other => Next::Over(self.unknown(batch, &format!("the registry answered {other:?}"))),
        }
    }

    /// Who has left meanwhile is left out; who was asked by another meanwhile, or has seen an earlier
    /// request, is taken as such.
    fn refused(&mut self, mut batch: Vec<Asked>, tries: usize, refusal: &Refusal) -> Next {
        let first = self.preamble(self.makes_parent).len();
        match refusal.at.checked_sub(first) {
            None if refusal.at == 0 => {
                return Next::Over(self.failed(batch, NotTriggered::NotDefined));
            }
            // Another has just made it.
            None => self.makes_parent = false,
            Some(_) if refusal.why == Why::NoParent => self.makes_parent = true,
            Some(at) if at % 2 == 1 && refusal.why == Why::Exists && !self.has_listed => {
                self.waiting.splice(..0, batch);
                return self.list_standing();
            }
            Some(at) => self.settle(&mut batch, at, refusal.why),
        }
        self.ask(batch, tries)
    }

    /// What a refusal says of the instance whose request it refused, two operations for each.
    fn settle(&mut self, batch: &mut Vec<Asked>, at: usize, why: Why) {
        let (which, is_request) = (at / 2, at % 2 == 1);
        let Some(asked) = batch.get_mut(which) else { return };
        match is_request {
            true => asked.stands = why == Why::Exists,
            false => self.told.gone.push(batch.remove(which).instance),
        }
    }

    /// Nobody of these was asked, nor will be, nor those that were to follow.
    fn failed(&mut self, batch: Vec<Asked>, why: NotTriggered) -> Told {
        // Of those asked before it is known that they were asked: an error would hide it.
        if self.told.asked.is_empty() && self.told.coalesced.is_empty() {
            return Err(why);
        }
        self.waiting.splice(..0, batch);
        self.stops(&why.to_string())
    }

    /// Nobody knows whether these were asked; those that were to follow will not be.
    fn unknown(&mut self, batch: Vec<Asked>, why: &str) -> Told {
        let unknown = batch.into_iter().map(|asked| (asked.instance, why.to_owned()));
        self.told.unknown.extend(unknown);
        self.stops(why)
    }

    fn stops(&mut self, why: &str) -> Told {
        let others = self.waiting.drain(..).map(|asked| (asked.instance, why.to_owned()));
        self.told.not_asked = others.collect();
        self.over()
    }

    fn over(&mut self) -> Told {
        let told = std::mem::take(&mut self.told);
        let nobody = told.asked.is_empty() && told.coalesced.is_empty() && told.unknown.is_empty();
        if nobody { Err(NotTriggered::NotServed) } else { Ok(told) }
    }
}

/// The registry was not asked, or its answer to a question was lost: it was asked to change nothing.
fn not_sent(why: &str) -> NotTriggered {
    NotTriggered::Failed(Failure::NotSent(why.to_owned()))
}

#[cfg(test)]
mod tests;
