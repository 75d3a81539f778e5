//! The fields of a job, by the names they have in the two forms: native files and ElasticJob's
//! documents. References, schemas and problems all take their names from here.

/// In which words a draft was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Words {
    /// A native job file, the command line or the API.
    #[default]
    Native,
    /// An ElasticJob document; what only this scheduler knows stands in its `props`.
    ElasticJob,
}

/// What kind of value a field takes in a native file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// `true` or `false`.
    Bool,
    /// A whole number between two bounds.
    Number(i64, i64),
    /// A duration with its unit, e.g. `1h30m`.
    Duration,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A list of texts.
    List,
    /// A mapping from text or number to text, or one text.
    Parameters,
    /// A mapping from text to text.
    Map,
    /// A mapping with fields of its own: see the fields named `PARENT.NAME`.
    Group,
}

macro_rules! fields {
    ($($field:ident $native:literal $elastic:literal $kind:expr, $default:literal, $about:literal;)+) => {
        /// A field of a job.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Field {
            $(#[doc = $about] $field,)+
        }

        impl Field {
            /// Every field, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$field,)+];

            /// The key in a native file; a dot parts a group from its member. Empty if there is none.
            #[must_use]
            pub fn native(self) -> &'static str {
                match self { $(Self::$field => $native,)+ }
            }

            /// The key in an ElasticJob document; `props.` precedes a property.
            #[must_use]
            pub fn elastic(self) -> &'static str {
                match self { $(Self::$field => $elastic,)+ }
            }

            /// What kind of value it takes in a native file.
            #[must_use]
            pub fn kind(self) -> Kind {
                match self { $(Self::$field => $kind,)+ }
            }

            /// The default in a native file, in words.
            #[must_use]
            pub fn default_text(self) -> &'static str {
                match self { $(Self::$field => $default,)+ }
            }

            /// What it does, and what goes wrong with bad values.
            #[must_use]
            pub fn about(self) -> &'static str {
                match self { $(Self::$field => $about,)+ }
            }
        }
    };
}

impl Field {
    /// The key in the given words.
    #[must_use]
    pub fn key(self, words: Words) -> &'static str {
        match words {
            Words::Native => self.native(),
            Words::ElasticJob => self.elastic(),
        }
    }
}

/// The words of `dst`.
pub const DST_WORDS: &[&str] = &["quartz", "sane"];
/// The words of `overlap`.
pub const OVERLAP_WORDS: &[&str] = &["run-once-after", "skip", "queue"];
/// The words of `catch_up`.
pub const CATCH_UP_WORDS: &[&str] = &["none", "latest", "all"];
/// The words of `retry.on`.
pub const RETRY_ON_WORDS: &[&str] = &["prefer-other", "other", "same"];
/// The words of `listener.on_failure`.
pub const ON_FAILURE_WORDS: &[&str] = &["skip", "run"];
/// The words of `on_session_loss`.
pub const SESSION_LOSS_WORDS: &[&str] = &["finish", "stop"];
/// The words of `strategy` in a native file.
pub const STRATEGY_WORDS: &[&str] =
    &["sticky", "average", "parity", "round-robin", "single-balance"];

fields! {
    Name "" "jobName" Kind::Text, "", "The job's name: also its node in the registry, so it holds no slash and at most 128 bytes.";
    Implementation "implementation" "" Kind::Text, "SCRIPT for scripts, else the job's name", "What stands in the job's node in the registry. ElasticJob nodes refuse a job whose node says something else, so a job shared with them needs exactly their class name here.";
    Script "script" "props.flockwork.script" Kind::List, "none: a function of the node's program", "The program and its arguments; there is no shell. The node's own file must allow it.";
    CommandLine "" "props.script.command.line" Kind::Text, "", "ElasticJob's command line, split at spaces and quotes.";
    Cron "cron" "cron" Kind::Text, "none", "A Quartz cron expression: seconds first, 6 or 7 fields, at most 256 characters. One of cron, every and at; without any, the job runs when triggered.";
    TimeZone "time_zone" "timeZone" Kind::Text, "UTC", "The zone of the cron expression: an IANA name (Asia/Shanghai) or an offset (GMT+08:00).";
    Dst "dst" "props.flockwork.dst" Kind::Word(DST_WORDS), "quartz", "What happens when clocks change: quartz skips times that do not exist and takes the later of two; sane fires after the gap, and at the earlier of two.";
    Every "every" "props.flockwork.every" Kind::Duration, "none", "A fixed rate, from 10ms to 366d, counted from anchor.";
    Anchor "anchor" "props.flockwork.anchor" Kind::Text, "1970-01-01T00:00:00Z", "One instant at which a fixed rate is due; all others follow from it.";
    At "at" "props.flockwork.at" Kind::Text, "none", "Once: an instant as RFC 3339, or now for as soon as the job exists.";
    Shards "shards" "shardingTotalCount" Kind::Number(1, 100_000), "1", "Into how many shards the job is cut. Too few leave instances idle; each shard costs a claim at every fire.";
    Parameters "parameters" "shardingItemParameters" Kind::Parameters, "none", "Each shard's own parameter: {0: Beijing, 1: Shanghai}, or 0=Beijing,1=Shanghai.";
    Parameter "parameter" "jobParameter" Kind::Text, "''", "A parameter for all shards, at most 64 KiB.";
    Misfire "misfire" "misfire" Kind::Bool, "true", "A fire that could not run on time runs once afterwards (true), or is skipped (false).";
    Overlap "overlap" "props.flockwork.overlap" Kind::Word(OVERLAP_WORDS), "run-once-after; skip if misfire is false", "A fire that comes due while its shard still runs: all such together run once after, are skipped, or run one after the other.";
    CatchUp "catch_up" "props.flockwork.catch_up" Kind::Word(CATCH_UP_WORDS), "none", "Fires due while no node lived: only reported, the latest runs, or each runs (up to 1,000).";
    Failover "failover" "failover" Kind::Bool, "false", "A crashed run is taken over by another instance at once.";
    Retry "retry" "" Kind::Group, "no retry", "How a failed or crashed run is tried again in the same fire.";
    RetryTimes "retry.times" "props.flockwork.retry.times" Kind::Number(0, 100), "0", "How often after the first run.";
    RetryBackoff "retry.backoff" "props.flockwork.retry.backoff" Kind::Duration, "1s", "How long after a failure, doubled for each further attempt; at most 1h.";
    RetryOn "retry.on" "props.flockwork.retry.on" Kind::Word(RETRY_ON_WORDS), "prefer-other", "Where: on another instance if there is one, only there, or on the same.";
    Timeout "timeout" "props.flockwork.timeout" Kind::Duration, "1h", "After how long a run is cancelled, up to 7d; none for never, which must be written. Too short cuts good runs off; none lets a hanging run hold its shard for ever.";
    ClaimAhead "claim_ahead" "props.flockwork.claim_ahead" Kind::Duration, "0s", "How long before it is due a fire is claimed, up to 10s: its code then starts on time whatever the registry costs. A node that dies meanwhile has crashed in that run, as if its code had begun. Fires closer to each other than this are claimed when they are due.";
    Listener "listener" "" Kind::Group, "no listener", "How the listener that the node's program registers is called: before once before the first shard of a fire starts, after once when the last has ended, on one instance for the whole cluster. A node whose program has no listener for the job does not serve it.";
    BeforeTimeout "listener.before_timeout" "props.flockwork.listener.before_timeout" Kind::Duration, "10s", "After how long before is cancelled and counts as failed, up to 1h. The fire's shards wait for it.";
    AfterTimeout "listener.after_timeout" "props.flockwork.listener.after_timeout" Kind::Duration, "10m", "After how long after is cancelled, up to 7d. The job's next fire waits for it.";
    OnFailure "listener.on_failure" "props.flockwork.listener.on_failure" Kind::Word(ON_FAILURE_WORDS), "skip", "What happens to a fire whose before failed or did not end: its shards skip it, with the reason BEFORE_FAILED, or run.";
    OnSessionLoss "on_session_loss" "props.flockwork.on_session_loss" Kind::Word(SESSION_LOSS_WORDS), "stop with failover or retries, else finish", "What happens to a run whose node lost its session.";
    Strategy "strategy" "jobShardingStrategyType" Kind::Word(STRATEGY_WORDS), "sticky", "How shards are dealt to instances. sticky deals evenly, also jobs of one shard over all of them, and moves only what that needs; the others are ElasticJob's.";
    NativeStrategy "" "props.flockwork.strategy" Kind::Text, "", "A strategy that ElasticJob does not have.";
    StaticSharding "static_sharding" "staticSharding" Kind::Bool, "false", "Shards stay where they are when instances come and go.";
    MonitorExecution "monitor_execution" "monitorExecution" Kind::Bool, "true", "For ElasticJob nodes that share the job: whether they mark running shards.";
    MaxTimeDifference "max_time_difference" "maxTimeDiffSeconds" Kind::Duration, "none", "How far the clock of a node may be from the registry's, in whole seconds: beyond, that node takes up nothing of the job until they agree. ZooKeeper tells its clock; on one host it is the same; etcd tells none, which is said.";
    ReconcileInterval "reconcile_interval" "reconcileIntervalMinutes" Kind::Duration, "10m", "How often all that is believed of the job is read again, in whole minutes; 0m for every 10m.";
    Disabled "disabled" "disabled" Kind::Bool, "false", "Starts disabled; enable it when all is deployed.";
    Overwrite "overwrite" "overwrite" Kind::Bool, "false", "This definition replaces the registry's when they differ; else the registry's wins.";
    Description "description" "description" Kind::Text, "''", "For people.";
    Label "label" "label" Kind::Text, "none", "For people and consoles.";
    ErrorHandler "error_handler" "jobErrorHandlerType" Kind::Text, "none", "ElasticJob's error handler; kept for ElasticJob nodes.";
    Listeners "listeners" "jobListenerTypes" Kind::List, "none", "ElasticJob's listeners; kept for ElasticJob nodes.";
    Props "props" "props" Kind::Map, "none", "Properties for ElasticJob nodes and job types; names that start with flockwork. are this scheduler's own.";
    Pool "" "jobExecutorThreadPoolSizeProviderType" Kind::Text, "", "ElasticJob's thread pool; kept.";
    OldPool "" "jobExecutorServiceHandlerType" Kind::Text, "", "The same in 3.0.0 to 3.0.4; kept.";
    ExtraConfigurations "" "jobExtraConfigurations" Kind::Text, "", "ElasticJob's tracing; kept as written.";
    ParametersJson "" "props.flockwork.parameters" Kind::Text, "", "Shard parameters that ElasticJob's syntax cannot hold, as a JSON object.";
    Zone "" "props.flockwork.zone" Kind::Text, "", "A zone that is no fixed offset.";
    Schema "" "props.flockwork.schema" Kind::Text, "", "The version of the properties that start with flockwork.";
}
