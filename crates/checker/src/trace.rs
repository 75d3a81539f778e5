//! The form of a trace: plain data, one JSON object a line, version 1.
//!
//! `at` is milliseconds of one clock that all parts of the trace share; instants of the wall clock
//! are milliseconds since 1970. The order of the lines is the order in which things happened; lines
//! of commits stand in the order of the commits.

mod fault;
mod listening;

pub use fault::Fault;
pub use listening::{Call, Listener, Part, Stage, StageChange};

use serde::{Deserialize, Serialize};

/// The version this release writes.
pub const VERSION: u32 = 1;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When, on the trace's own clock.
    pub at: u64,
    /// What.
    #[serde(flatten)]
    pub fact: Fact,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "k", rename_all = "snake_case")]
pub enum Fact {
    /// A definition was given to some node. It is in force once a [`Plan`] shows its schedule.
    Job(Job),
    /// A process started under an id of its own.
    Node {
        /// Its number.
        node: u32,
        /// Its id.
        instance: String,
        /// How many runs it has at a time; 0 if that is not known.
        #[serde(default)]
        slots: u64,
        /// Its session's time-out in milliseconds; 0 if that is not known.
        #[serde(default)]
        timeout: u64,
    },
    /// A node's wall clock was set, or its process started with it.
    Clock {
        /// The node.
        node: u32,
        /// How far it is ahead of the trace's wall clock, in milliseconds.
        offset: i64,
        /// By how much it runs fast from here on, in millionths.
        drift: i64,
    },
    /// A host can start the script of a job from now on, or no more; it can until that is said.
    Script {
        /// The node.
        node: u32,
        /// The job.
        job: String,
        /// Whether it can.
        can: bool,
    },
    /// A process was told to serve a job no more, by its program or by an operator.
    Withdraw {
        /// The node.
        node: u32,
        /// The job.
        job: String,
    },
    /// A process was told to stop.
    Drain {
        /// The node.
        node: u32,
    },
    /// A process that was told to stop has left everything in order, and closes its session.
    Exit {
        /// The node.
        node: u32,
        /// Who left.
        instance: String,
    },
    /// A commit changed a job's definition.
    Config(Config),
    /// A commit changed a shard's record.
    Record(Box<RecordChange>),
    /// A commit changed a job's plan.
    Plan(Plan),
    /// A commit changed how far a job's fire has come that its listener is called for.
    Stage(Box<StageChange>),
    /// A commit changed something else of a job.
    Mark(Mark),
    /// A node was told that its session is proven.
    Trust {
        /// The node.
        node: u32,
        /// The session.
        session: u64,
        /// Until when, on the trace's clock.
        until: u64,
    },
    /// A node was told that its session is not proven, or has ended.
    Distrust {
        /// The node.
        node: u32,
    },
    /// User code started. Written by itself.
    Start(Probe),
    /// User code ended. Written by itself.
    End {
        /// What it was told at its start.
        #[serde(flatten)]
        probe: Probe,
        /// How it ended: `OK` for success.
        code: String,
    },
    /// A job's listener was called. Written by itself.
    CallBegins(Call),
    /// A call of a listener was told to stop. Written by itself.
    CallStopped(Call),
    /// A call of a listener ended. Written by itself.
    CallEnds {
        /// What it was told at its begin.
        #[serde(flatten)]
        call: Call,
        /// How it ended: `OK` for success.
        code: String,
    },
    /// Something went wrong on purpose, and did: the proof says what was seen of it.
    Fault(Fault),
    /// From here on nothing goes wrong any more.
    Healed,
    /// Whoever wrote the trace could not see this. What rests on it is not judged.
    Unseen(Unseen),
    /// The end of the trace. What should have happened by then is judged.
    Over {
        /// What the wall clock shows by then.
        wall: i64,
    },
}

/// What a trace of a real run may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "what")]
pub enum Unseen {
    /// Which commit a write demanded to be the last: guards are absent.
    Guards,
    /// In whose name a record was written: the session is the one that its content speaks of.
    Writers,
    /// What nodes were told about their sessions.
    Trust,
    /// The first moments of code: one that is cut off in them has written nothing down.
    Beginnings,
}

impl Unseen {
    /// What is lacking, in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Guards => "which commits the writes demanded",
            Self::Writers => "in whose name records were written",
            Self::Trust => "what nodes were told about their sessions",
            Self::Beginnings => "the first moments of code",
        }
    }
}

/// A definition, as far as it can be judged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its name.
    pub job: String,
    /// When it is due.
    pub when: When,
    /// The canonical text of that, as plans name it.
    pub schedule: String,
    /// How many shards it has.
    pub shards: u32,
    /// Whether a crashed run is taken elsewhere.
    pub failover: bool,
    /// How often a failed or crashed run may be tried again.
    pub retries: u32,
    /// How long before it is due a fire may be claimed: milliseconds.
    #[serde(default)]
    pub ahead: u64,
    /// Which node was given it; none if someone wrote it to the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<u32>,
    /// Whether that node is to replace the registry's definition by it.
    #[serde(default)]
    pub apply: bool,
    /// The definition as the registry holds it.
    #[serde(default)]
    pub document: String,
    /// What happens to fires that come due during a run: `once`, `skip` or `queue`.
    #[serde(default)]
    pub overlap: String,
    /// Whether each fire that was missed is made up for.
    #[serde(default)]
    pub catches_up: bool,
    /// Whether its shards stay with their servers.
    #[serde(default)]
    pub is_static: bool,
    /// How its listener is called, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listener: Option<Listener>,
}

/// A change of a job's definition by one commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// The job.
    pub job: String,
    /// The commit.
    pub index: u64,
    /// The session in whose name it was made.
    pub session: u64,
    /// The last change that the commit demanded to be still in place, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guard: Option<u64>,
    /// What it is now; none if the job was removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
    /// Whether it says that this release does not know its form.
    #[serde(default)]
    pub is_newer: bool,
    /// How it says that the job's listener is called; none without one, or if it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listener: Option<Listener>,
}

/// When a job is due.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// At `anchor + k * period`.
    Every {
        /// Milliseconds.
        period: u64,
        /// One due instant.
        anchor: i64,
    },
    /// By a Quartz cron expression.
    Cron {
        /// The expression.
        expression: String,
        /// The IANA name of its zone.
        zone: String,
    },
    /// Only if asked.
    #[default]
    OnTrigger,
}

/// A change of a shard's record by one commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordChange {
    /// The job.
    pub job: String,
    /// The shard.
    pub shard: u32,
    /// The commit.
    pub index: u64,
    /// The session in whose name it was made.
    pub session: u64,
    /// The commit that the write demanded to be the record's last; none if it demanded nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guard: Option<u64>,
    /// What it was; none if it did not exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<Record>,
    /// What it is now; none if it was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<Record>,
}

/// A shard's record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Every fire due up to here is accounted.
    #[serde(rename = "through")]
    pub watermark: i64,
    /// The claim on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim: Option<Claim>,
    /// The last run that ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Last>,
    /// How many fires met which fate.
    pub counts: Counts,
    /// The instants that ran by a clock that was ahead: from the first to the last, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ran: Vec<(i64, i64)>,
    /// Since when the schedule is in force that by the plan begins at the first of these: at the second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begins: Option<(i64, i64)>,
    /// The names of fields that this release does not know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
}

impl Record {
    /// Since when a schedule is in force for the shard that, by the plan, is so since an instant.
    #[must_use]
    pub fn begins(&self, planned: i64) -> i64 {
        self.begins.filter(|begins| begins.0 == planned).map_or(planned, |begins| begins.1)
    }

    /// Whether an instant ran by a clock that was ahead.
    #[must_use]
    pub fn ran_ahead(&self, instant: i64) -> bool {
        self.ran.iter().any(|(first, last)| (*first..=*last).contains(&instant))
    }
}

/// A fire: when it was due and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Fire {
    /// When it was due.
    pub due: i64,
    /// `schedule`, `misfire`, `catch-up` or `trigger`.
    pub source: String,
}

impl Fire {
    /// Whether someone asked for it, so that no schedule knows it.
    #[must_use]
    pub fn is_triggered(&self) -> bool {
        self.source == "trigger"
    }
}

/// A claim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// For which fire.
    pub fire: Fire,
    /// Which run of it, from 1.
    pub attempt: u32,
    /// How many of them crashed.
    pub crashes: u32,
    /// Who made it.
    pub instance: String,
    /// Tells it from others of the same instance.
    pub nonce: u64,
    /// When it was made, by the clock of who made it, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<i64>,
    /// Whom it was released to, to be tried again; none while it is held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub released: Option<String>,
}

impl Claim {
    /// Whether its run is under way.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.released.is_none()
    }
}

/// A run that ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Last {
    /// Its fire.
    pub fire: Fire,
    /// Which run of it.
    pub attempt: u32,
    /// Who ran it.
    pub instance: String,
    /// Its claim's nonce.
    pub nonce: u64,
    /// How it ended: `OK` for success.
    pub code: String,
}

/// How many fires met which fate, and how runs ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Fires that a run was claimed for, triggers among them.
    pub ran: u64,
    /// Of these, asked for.
    pub triggered: u64,
    /// Fires that one later run made up for.
    pub misfired: u64,
    /// Fires not run on purpose.
    pub skipped: u64,
    /// Fires due while no node lived.
    pub missed: u64,
    /// Runs that ended well.
    pub ok: u64,
    /// Runs that ended otherwise.
    pub failed: u64,
    /// Runs whose instance was gone.
    pub crashed: u64,
}

impl Counts {
    /// Due fires that are accounted: all but those that were asked for.
    #[must_use]
    pub fn accounted(&self) -> i128 {
        i128::from(self.ran) - i128::from(self.triggered)
            + i128::from(self.misfired)
            + i128::from(self.skipped)
            + i128::from(self.missed)
    }

    /// Runs that are over.
    #[must_use]
    pub fn over(&self) -> i128 {
        i128::from(self.ok) + i128::from(self.failed) + i128::from(self.crashed)
    }
}

/// A job's plan: under which schedule its shards are due, since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The job.
    pub job: String,
    /// The commit.
    pub index: u64,
    /// The canonical text of the schedule in force.
    pub schedule: String,
    /// How many shards there are.
    pub shards: u32,
    /// Since when, from which shard on; ascending.
    pub spans: Vec<(u32, i64)>,
    /// The schedules that were replaced, the oldest first, as far as the plan keeps them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub past: Vec<Past>,
    /// The names of fields that this release does not know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
}

/// A schedule that was replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    /// Its canonical text.
    pub schedule: String,
    /// Since when it was in force, from which shard on; ascending.
    pub spans: Vec<(u32, i64)>,
    /// How many shards there were.
    pub shards: u32,
    /// Until when it was in force.
    pub until: i64,
}

impl Plan {
    /// Since when the schedule is in force for a shard.
    #[must_use]
    pub fn from(&self, shard: u32) -> i64 {
        let span = self.spans.iter().rev().find(|(first, _)| *first <= shard);
        span.map_or(i64::MIN, |(_, from)| *from)
    }
}

/// Something else about a job that the registry holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The job.
    pub job: String,
    /// The commit, or the end of the session it lived with.
    pub index: u64,
    /// The session in whose name it was changed.
    pub session: u64,
    /// What it is.
    pub about: About,
    /// What it says now; none if it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The session it lives with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lives_with: Option<u64>,
}

/// What a mark is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// An instance serves the job.
    Instance(String),
    /// A shard is assigned.
    Owner(u32),
    /// A shard is marked as running.
    Running(u32),
    /// A shard is switched off.
    Disabled(u32),
    /// The shards are to be dealt anew.
    Necessary,
    /// A host is switched on or off.
    Server(String),
    /// An instance is asked to run its shards now.
    Trigger(String),
    /// Who assigns the shards.
    Leader,
    /// An instance waits for its runs before it leaves: it is to be dealt no shards.
    Leaver(String),
    /// An instance says why it may not serve the job.
    Ineligible(String),
}

/// What user code knows of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// The process it runs in.
    pub node: u32,
    /// Its instance.
    pub instance: String,
    /// The job.
    pub job: String,
    /// The shard.
    pub shard: u32,
    /// The fire.
    pub fire: Fire,
    /// Which run of it.
    pub attempt: u32,
    /// Its fencing token.
    pub epoch: u64,
}

/// A line that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotATrace {
    /// Not JSON, or not of this form.
    #[error("line {line}: {why}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// Of another version.
    #[error("the trace is of version {found:?}, this release reads version {VERSION}")]
    Version {
        /// What its first line says.
        found: Option<u64>,
    },
}

/// Writes a trace as JSON lines, the first of which names the version.
///
/// # Panics
/// Never: text and numbers can always be written.
#[must_use]
pub fn write(trace: &[Line]) -> String {
    let mut text = format!("{{\"flockwork-trace\":{VERSION}}}\n");
    for line in trace {
        let json = serde_json::to_string(line).expect("text and numbers can always be written");
        text.push_str(&json);
        text.push('\n');
    }
    text
}

/// Reads a trace.
///
/// # Errors
/// [`NotATrace`], with the first line that is wrong.
pub fn read(text: &str) -> Result<Vec<Line>, NotATrace> {
    let mut lines = text.lines().enumerate();
    let first = lines.next().and_then(|(_, line)| serde_json::from_str(line).ok());
    let found = first.and_then(|head: serde_json::Value| head["flockwork-trace"].as_u64());
    if found != Some(u64::from(VERSION)) {
        return Err(NotATrace::Version { found });
    }
    let read = |(at, line)| {
        let wrong = |why: serde_json::Error| NotATrace::Line { line: at + 1, why: why.to_string() };
        serde_json::from_str(line).map_err(wrong)
    };
    lines.map(read).collect()
}

#[cfg(test)]
mod tests;
