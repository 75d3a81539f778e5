//! What commits changed, as facts: for whoever sees a registry's entries before and after each of
//! them, be it a simulated registry or the log of a real one. Pure; independent of what nodes say.

mod listening;

use crate::trace::{
    About, Claim, Config, Counts, Fact, Fire, Job, Last, Mark, Past, Plan, Record, RecordChange,
    When,
};
use flockwork_core::account;
use flockwork_core::config::{CatchUp, JobConfig, Overlap};
use flockwork_core::id::JobName;
use flockwork_core::schedule::Schedule;
use flockwork_core::time::Timestamp;
use flockwork_layout::keys::{Facet, Namespace};
use flockwork_layout::{plan, record};
use flockwork_registry::{Entry, Index, Key};
use std::collections::BTreeMap;

/// The commit that made a change.
#[derive(Clone, Copy, Debug)]
pub struct Commit {
    /// Its number.
    pub index: u64,
    /// The session in whose name it was made.
    pub session: u64,
}

/// What became of one key.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// The key.
    pub key: &'a Key,
    /// The commit that the write demanded to be the key's last, if it demanded one.
    pub guard: Option<u64>,
    /// What it held; none if it did not exist.
    pub old: Option<&'a Entry>,
    /// What it holds now; none if it is gone.
    pub new: Option<&'a Entry>,
}

/// Reads the entries of one namespace.
#[derive(Debug)]
pub struct Reader {
    namespace: Namespace,
    /// Records as last read: what is new now is what is old next time.
    records: BTreeMap<Key, (Index, Record)>,
}

impl Reader {
    /// Of this namespace.
    #[must_use]
    pub fn new(namespace: Namespace) -> Self {
        Self { namespace, records: BTreeMap::new() }
    }

    /// The facts of one commit, in the order in which a trace has them: definitions, plans, how far a
    /// job's fire has come, records, all else. Keys that mean nothing to a trace are left out.
    pub fn facts<'a>(
        &mut self,
        commit: Commit,
        changes: impl IntoIterator<Item = Change<'a>>,
    ) -> Vec<Fact> {
        let facts = changes.into_iter().filter_map(|change| self.fact(commit, change));
        let mut facts: Vec<Fact> = facts.collect();
        facts.sort_by_key(|fact| match fact {
            Fact::Config(_) => 0,
            Fact::Plan(_) => 1,
            Fact::Stage(_) => 2,
            Fact::Record(_) => 3,
            _ => 4,
        });
        facts
    }

    fn fact(&mut self, commit: Commit, change: Change<'_>) -> Option<Fact> {
        let Change { key, guard, old, new } = change;
        let (name, facet) = self.namespace.parse(key)?;
        let job = name.to_string();
        let about = match facet {
            Facet::Record(shard) => {
                return Some(Fact::Record(Box::new(RecordChange {
                    job,
                    shard,
                    index: commit.index,
                    session: commit.session,
                    guard,
                    old: old.and_then(|entry| self.record(key, entry)),
                    new: new.and_then(|entry| self.record(key, entry)),
                })));
            }
            Facet::Plan => return plain_plan(job, commit.index, new?),
            Facet::Once => return Some(listening::stage(job, commit, guard, new)),
            Facet::Config => {
                return Some(Fact::Config(plain_config(&name, commit, guard, new)));
            }
            Facet::Necessary => About::Necessary,
            Facet::Instance(id) => About::Instance(id.to_string()),
            Facet::Owner(shard) => About::Owner(shard),
            Facet::Running(shard) => About::Running(shard),
            Facet::Disabled(shard) => About::Disabled(shard),
            Facet::Server(ip) => About::Server(ip),
            Facet::Trigger(id) => About::Trigger(id.to_string()),
            Facet::Leader => About::Leader,
            Facet::Leaver(id) => About::Leaver(id.to_string()),
            Facet::Ineligible(id) => About::Ineligible(id.to_string()),
            _ => return None,
        };
        Some(Fact::Mark(Mark {
            job,
            index: commit.index,
            session: commit.session,
            about,
            value: new.map(|entry| String::from_utf8_lossy(&entry.value).into_owned()),
            lives_with: new.and_then(|entry| entry.session).map(|session| session.0),
        }))
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
}

/// A definition, as far as it can be judged; neither to whom it was given nor its document.
#[must_use]
pub fn defined(config: &JobConfig) -> Job {
    let when = match &config.schedule {
        Schedule::Every(every) => {
            When::Every { period: every.period_ms, anchor: every.anchor.as_millis() }
        }
        Schedule::Cron(cron) => When::Cron {
            expression: cron.expression().to_owned(),
            zone: cron.zone().name().to_owned(),
        },
        Schedule::Once(_) | Schedule::OnTrigger => When::OnTrigger,
    };
    Job {
        job: config.name.to_string(),
        when,
        schedule: config.schedule_fingerprint(),
        shards: config.shards,
        failover: config.failover,
        retries: config.retry.times,
        ahead: u64::try_from(config.claim_ahead.as_millis()).unwrap_or(u64::MAX),
        overlap: match config.overlap {
            Overlap::RunOnceAfter => "once",
            Overlap::Skip => "skip",
            Overlap::Queue => "queue",
        }
        .to_owned(),
        catches_up: config.catch_up == CatchUp::All,
        is_static: config.static_sharding,
        listener: config.listener.as_ref().map(listening::rules),
        ..Job::default()
    }
}

fn plain_plan(job: String, index: u64, entry: &Entry) -> Option<Fact> {
    let plan = plan::decode(&entry.value).ok()?;
    let plain = |spans: &[(u32, Timestamp)]| {
        spans.iter().map(|(first, from)| (*first, from.as_millis())).collect()
    };
    let (spans, past) = (plain(&plan.spans), plan.past.iter());
    let past = past.map(|past| Past {
        schedule: past.schedule.to_string(),
        spans: plain(&past.spans),
        shards: past.shards,
        until: past.until.as_millis(),
    });
    let past = past.collect();
    let unknown = plan.unknown.keys().cloned().collect();
    let (schedule, shards) = (plan.schedule.to_string(), plan.shards);
    Some(Fact::Plan(Plan { job, index, schedule, shards, spans, past, unknown }))
}

fn plain_config(name: &JobName, commit: Commit, guard: Option<u64>, new: Option<&Entry>) -> Config {
    let listener = new.and_then(|entry| listening::defined(name, &entry.value));
    let document = new.map(|entry| String::from_utf8_lossy(&entry.value).into_owned());
    let is_newer = document.as_ref().is_some_and(|text| text.contains("flockwork.schema: \"2\""));
    let Commit { index, session } = commit;
    Config { job: name.to_string(), index, session, guard, document, is_newer, listener }
}

fn plain_record(entry: &Entry) -> Option<Record> {
    let record::Stored { record, unknown } = record::decode(&entry.value).ok()?;
    let fire = |fire: flockwork_core::execution::Fire| Fire {
        due: fire.due.as_millis(),
        source: fire.source.as_str().to_owned(),
    };
    let ran = record.ran_ahead().iter();
    let ran = ran.map(|ran| (ran.first.as_millis(), ran.last.as_millis())).collect();
    let begins = record.set_back.as_ref().and_then(|left| left.begins);
    Some(Record {
        watermark: record.watermark.as_millis(),
        claim: record.claim.map(|claim| Claim {
            fire: fire(claim.fire),
            attempt: claim.attempt,
            crashes: claim.crashes,
            instance: claim.instance.to_string(),
            nonce: claim.nonce,
            at: Some(claim.at.as_millis()),
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
            code: last.code.clone(),
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
        ran,
        begins: begins.map(|begins| (begins.planned.as_millis(), begins.from.as_millis())),
        unknown: unknown.keys().cloned().collect(),
    })
}
