//! What can be written: all optional, nothing checked yet.

use super::field::{Field, Words};
use super::problem::Position;
use std::collections::BTreeMap;

/// An amount of time as written: with its unit, or counted in the unit of ElasticJob's field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Amount {
    /// `1h30m`.
    Text(String),
    /// So many of the field's unit: seconds or minutes. Negative for none.
    Count(i64),
}

/// Shard parameters as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parameters {
    /// `0=Beijing,1=Shanghai`.
    Text(String),
    /// Pairs of shard and text, in the order they were written.
    Pairs(Vec<(String, String)>),
}

/// How a run is tried again, as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetryDraft {
    /// How often.
    pub times: Option<i64>,
    /// How long after a failure.
    pub backoff: Option<String>,
    /// Where.
    pub on: Option<String>,
}

/// How the job's listener is called, as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListenerDraft {
    /// How long `before` may take.
    pub before_timeout: Option<String>,
    /// How long `after` may take.
    pub after_timeout: Option<String>,
    /// What happens to a fire whose `before` failed.
    pub on_failure: Option<String>,
}

/// A job as somebody wrote it. What each field means is said at [`Field`]; absent ones take the
/// defaults of the draft's words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// In whose names problems are told.
    pub words: Words,
    /// What precedes a field's name in a problem's place, e.g. `jobs.settle`; may be empty.
    pub place: String,
    /// Where the fields stand in their document, by their name in the draft's words.
    pub positions: BTreeMap<String, Position>,
    /// Where the job stands, for what is missing in it.
    pub position: Option<Position>,
    /// The zone of a cron expression that names none; UTC if absent. ElasticJob takes the zone of
    /// the process.
    pub default_zone: Option<String>,

    /// [`Field::Name`].
    pub name: Option<String>,
    /// [`Field::Implementation`]; for an ElasticJob document, what stands in the job's node.
    pub implementation: Option<String>,
    /// [`Field::Script`].
    pub script: Option<Vec<String>>,
    /// [`Field::CommandLine`].
    pub command_line: Option<String>,
    /// [`Field::Cron`].
    pub cron: Option<String>,
    /// [`Field::TimeZone`].
    pub time_zone: Option<String>,
    /// [`Field::Zone`].
    pub zone: Option<String>,
    /// [`Field::Dst`].
    pub dst: Option<String>,
    /// [`Field::Every`].
    pub every: Option<String>,
    /// [`Field::Anchor`].
    pub anchor: Option<String>,
    /// [`Field::At`].
    pub at: Option<String>,
    /// [`Field::Shards`].
    pub shards: Option<i64>,
    /// [`Field::Parameters`].
    pub parameters: Option<Parameters>,
    /// [`Field::ParametersJson`], as pairs.
    pub exact_parameters: Option<Vec<(String, String)>>,
    /// [`Field::Parameter`].
    pub parameter: Option<String>,
    /// [`Field::Misfire`].
    pub misfire: Option<bool>,
    /// [`Field::Overlap`].
    pub overlap: Option<String>,
    /// [`Field::CatchUp`].
    pub catch_up: Option<String>,
    /// [`Field::Failover`].
    pub failover: Option<bool>,
    /// [`Field::Retry`].
    pub retry: RetryDraft,
    /// [`Field::Timeout`].
    pub timeout: Option<String>,
    /// [`Field::ClaimAhead`].
    pub claim_ahead: Option<String>,
    /// [`Field::Listener`].
    pub listener: Option<ListenerDraft>,
    /// [`Field::OnSessionLoss`].
    pub on_session_loss: Option<String>,
    /// [`Field::Strategy`].
    pub strategy: Option<String>,
    /// [`Field::NativeStrategy`].
    pub native_strategy: Option<String>,
    /// [`Field::StaticSharding`].
    pub static_sharding: Option<bool>,
    /// [`Field::MonitorExecution`].
    pub monitor_execution: Option<bool>,
    /// [`Field::MaxTimeDifference`].
    pub max_time_difference: Option<Amount>,
    /// [`Field::ReconcileInterval`].
    pub reconcile_interval: Option<Amount>,
    /// [`Field::Disabled`].
    pub disabled: Option<bool>,
    /// [`Field::Overwrite`].
    pub overwrite: Option<bool>,
    /// [`Field::Description`].
    pub description: Option<String>,
    /// [`Field::Label`].
    pub label: Option<String>,
    /// [`Field::ErrorHandler`].
    pub error_handler: Option<String>,
    /// [`Field::Listeners`].
    pub listeners: Vec<String>,
    /// [`Field::Pool`] or [`Field::OldPool`]: the key and its value.
    pub pool: Option<(String, String)>,
    /// [`Field::ExtraConfigurations`], verbatim.
    pub extra_configurations: Option<String>,
    /// [`Field::Props`] without those that are fields of their own.
    pub props: BTreeMap<String, String>,
    /// Keys of a newer release, verbatim, by name.
    pub unknown: BTreeMap<String, String>,
}

impl Draft {
    /// A native draft of the job `name`, whose problems are placed under `jobs.NAME`.
    #[must_use]
    pub fn native(name: &str) -> Self {
        Self { name: Some(name.to_owned()), place: format!("jobs.{name}"), ..Self::default() }
    }

    /// Where a problem with `field` is.
    #[must_use]
    pub fn place_of(&self, field: Field) -> String {
        match (self.place.as_str(), field.key(self.words)) {
            ("", key) => key.to_owned(),
            (place, "") => place.to_owned(),
            (place, key) => format!("{place}.{key}"),
        }
    }

    /// Where `field` stands in its document; where the job does, if it is not written.
    #[must_use]
    pub fn position_of(&self, field: Field) -> Option<Position> {
        self.positions.get(field.key(self.words)).copied().or(self.position)
    }
}
