//! Writes down what the registry commits, by looking at its entries before and after each commit:
//! independent of what any node says.

use flockwork_checker::trace::{
    About, Claim, Config, Counts, Fact, Fire, Last, Line, Mark, Plan, Record, RecordChange,
};
use flockwork_core::account;
use flockwork_layout::keys::{Facet, Namespace};
use flockwork_layout::{plan, record};
use flockwork_registry::memory::Store;
use flockwork_registry::{Answer, Entry, Index, Key, Lifetime, Op, Request, SessionId};
use std::collections::{BTreeMap, BTreeSet};

/// The trace so far, and what lives with which session.
#[derive(Debug)]
pub struct Recorder {
    namespace: Namespace,
    lines: Vec<Line>,
    mortal: BTreeMap<SessionId, BTreeSet<Key>>,
    /// Records as last read: what is new now is what is old next time.
    records: BTreeMap<Key, (Index, Record)>,
}

impl Recorder {
    /// A trace without lines.
    #[must_use]
    pub fn new(namespace: Namespace) -> Self {
        Self { namespace, lines: Vec::new(), mortal: BTreeMap::new(), records: BTreeMap::new() }
    }

    /// The whole trace.
    #[must_use]
    pub fn into_lines(self) -> Vec<Line> {
        self.lines
    }

    /// Adds a line.
    pub fn write(&mut self, at: u64, fact: Fact) {
        self.lines.push(Line { at, fact });
    }

    /// Carries a request out and writes down what it changed.
    pub fn apply(
        &mut self,
        at: u64,
        store: &mut Store,
        session: SessionId,
        request: Request,
    ) -> Answer {
        let Request::Commit(ops) = &request else { return store.apply(session, request) };
        let touched: Vec<(Key, Option<Entry>, Option<u64>)> =
            ops.iter().filter_map(|op| touched(store, op)).collect();
        let made: Vec<Key> =
            ops.iter().filter(|op| is_mortal(op)).map(|o| o.key().clone()).collect();
        let answer = store.apply(session, request);
        let Answer::Committed(receipt) = &answer else { return answer };
        for (key, old, _) in &touched {
            if let Some(of) = old.as_ref().and_then(|entry| entry.session) {
                self.mortal.entry(of).or_default().remove(key);
            }
        }
        for key in made.into_iter().filter(|key| store.get(key).is_some()) {
            self.mortal.entry(session).or_default().insert(key);
        }
        let mut facts = Vec::new();
        let mut seen = BTreeSet::new();
        for (key, old, guard) in touched {
            if !seen.insert(key.clone()) {
                continue;
            }
            let change = Change { index: receipt.index.0, session: session.0, guard };
            let new = store.get(&key);
            if old.as_ref() != new {
                facts.extend(self.fact(&key, change, old.as_ref(), new));
            }
        }
        facts.sort_by_key(|fact| match fact {
            Fact::Config(_) => 0,
            Fact::Plan(_) => 1,
            Fact::Record(_) => 2,
            _ => 3,
        });
        for fact in facts {
            self.write(at, fact);
        }
        answer
    }

    /// A session is over: what lived with it is gone.
    pub fn ended(&mut self, at: u64, index: u64, session: SessionId) {
        for key in self.mortal.remove(&session).unwrap_or_default() {
            let change = Change { index, session: session.0, guard: None };
            if let Some(fact) = self.fact(&key, change, None, None) {
                self.write(at, fact);
            }
        }
    }

    /// Reads a record, once for each state of it.
    fn record(&mut self, key: &Key, entry: &Entry) -> Option<Record> {
        let at = entry.stamp.modified;
        if let Some((_, known)) = self.records.get(key).filter(|(read, _)| *read == at) {
            return Some(known.clone());
        }
        let record = plain_record(entry)?;
        self.records.insert(key.clone(), (at, record.clone()));
        Some(record)
    }

    fn fact(
        &mut self,
        key: &Key,
        change: Change,
        old: Option<&Entry>,
        new: Option<&Entry>,
    ) -> Option<Fact> {
        let (job, facet) = self.namespace.parse(key)?;
        let job = job.to_string();
        let about = match facet {
            Facet::Record(shard) => {
                return Some(Fact::Record(Box::new(RecordChange {
                    job,
                    shard,
                    index: change.index,
                    session: change.session,
                    guard: change.guard,
                    old: old.and_then(|entry| self.record(key, entry)),
                    new: new.and_then(|entry| self.record(key, entry)),
                })));
            }
            Facet::Plan => return plain_plan(job, change.index, new?),
            Facet::Config => return Some(Fact::Config(plain_config(job, change, new))),
            Facet::Necessary => About::Necessary,
            Facet::Instance(id) => About::Instance(id.to_string()),
            Facet::Owner(shard) => About::Owner(shard),
            Facet::Running(shard) => About::Running(shard),
            Facet::Disabled(shard) => About::Disabled(shard),
            Facet::Server(ip) => About::Server(ip),
            Facet::Trigger(id) => About::Trigger(id.to_string()),
            Facet::Leader => About::Leader,
            _ => return None,
        };
        Some(Fact::Mark(Mark {
            job,
            index: change.index,
            session: change.session,
            about,
            value: new.map(|entry| String::from_utf8_lossy(&entry.value).into_owned()),
            lives_with: new.and_then(|entry| entry.session).map(|session| session.0),
        }))
    }
}

#[derive(Clone, Copy)]
struct Change {
    index: u64,
    session: u64,
    guard: Option<u64>,
}

fn is_mortal(op: &Op) -> bool {
    matches!(op, Op::Create { lifetime: Lifetime::Session, .. })
}

/// The key an operation changes, what it holds, and which commit the operation demands.
fn touched(store: &Store, op: &Op) -> Option<(Key, Option<Entry>, Option<u64>)> {
    let (key, stamp) = match op {
        Op::Check(..) | Op::CheckAbsent(_) => return None,
        Op::Create { key, .. } => (key, None),
        Op::Set(key, _, stamp) | Op::Delete(key, stamp) => (key, *stamp),
    };
    Some((key.clone(), store.get(key).cloned(), stamp.map(|stamp| stamp.modified.0)))
}

fn plain_plan(job: String, index: u64, entry: &Entry) -> Option<Fact> {
    let plan = plan::decode(&entry.value).ok()?;
    let spans = plan.spans.iter().map(|(first, from)| (*first, from.as_millis())).collect();
    let unknown = plan.unknown.keys().cloned().collect();
    let (schedule, shards) = (plan.schedule, plan.shards);
    Some(Fact::Plan(Plan { job, index, schedule, shards, spans, unknown }))
}

fn plain_config(job: String, change: Change, new: Option<&Entry>) -> Config {
    let document = new.map(|entry| String::from_utf8_lossy(&entry.value).into_owned());
    let is_newer = document.as_ref().is_some_and(|text| text.contains("flockwork.schema: \"2\""));
    let Change { index, session, guard } = change;
    Config { job, index, session, guard, document, is_newer }
}

fn plain_record(entry: &Entry) -> Option<Record> {
    let record::Stored { record, unknown } = record::decode(&entry.value).ok()?;
    let fire = |fire: flockwork_core::execution::Fire| Fire {
        due: fire.due.as_millis(),
        source: fire.source.as_str().to_owned(),
    };
    Some(Record {
        through: record.through.as_millis(),
        claim: record.claim.map(|claim| Claim {
            fire: fire(claim.fire),
            attempt: claim.attempt,
            crashes: claim.crashes,
            instance: claim.instance.to_string(),
            nonce: claim.nonce,
            released: match claim.state {
                account::ClaimState::Held => None,
                account::ClaimState::Released { to, .. } => Some(to.to_string()),
            },
        }),
        last: record.last.map(|last| Last {
            fire: fire(last.fire),
            attempt: last.attempt,
            instance: last.instance.to_string(),
            nonce: last.nonce,
            code: last.code,
        }),
        counts: Counts {
            ran: record.counts.ran,
            triggered: record.counts.triggered,
            misfired: record.counts.misfired,
            skipped: record.counts.skipped,
            missed: record.counts.missed,
            ok: record.counts.succeeded,
            failed: record.counts.failed,
            crashed: record.counts.crashed,
        },
        unknown: unknown.keys().cloned().collect(),
    })
}
