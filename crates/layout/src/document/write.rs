//! From a job to ElasticJob's document.

use super::{PREFIX, SCHEMA};
use flockwork_core::config::{
    CatchUp, JobConfig, OnSessionLoss, Overlap, Retry, Strategy, command_line, duration, parameters,
};
use flockwork_core::execution::Work;
use flockwork_core::schedule::{Cron, DstPolicy, Once, Schedule};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// The document of `config`: keys in alphabetical order, all primitives present, what is empty left
/// out, as ElasticJob writes it.
#[must_use]
pub fn encode(config: &JobConfig) -> String {
    let mut document = Document::default();
    primitives(config, &mut document);
    texts(config, &mut document);
    let props = properties(config);
    if !props.is_empty() {
        document.put("props", &props);
    }
    for (key, text) in &config.kept.unknown {
        document.verbatim(key, text);
    }
    document.0.into_values().collect()
}

/// Entries by key, each with its line break.
#[derive(Default)]
struct Document(BTreeMap<String, String>);

impl Document {
    /// A map of one entry, so that the library sees where the value stands when it quotes it.
    fn put(&mut self, key: &str, value: &impl Serialize) {
        let text = serde_saphyr::to_string(&BTreeMap::from([(key, value)]))
            .expect("texts, numbers, lists and maps of them are always YAML");
        self.0.insert(key.to_owned(), text);
    }

    /// A number or a truth value under a key of ours: as plain in YAML as here.
    fn put_plain(&mut self, key: &str, value: impl std::fmt::Display) {
        self.0.insert(key.to_owned(), format!("{key}: {value}\n"));
    }

    fn put_present(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            self.put(key, &value);
        }
    }

    fn verbatim(&mut self, key: &str, text: &str) {
        let entry = serde_saphyr::to_string(&BTreeMap::from([(key, 0)]))
            .expect("a text and a number are always YAML");
        let quoted = entry.trim_end().trim_end_matches('0').trim_end().trim_end_matches(':');
        self.0.insert(key.to_owned(), format!("{quoted}:{text}\n"));
    }
}

fn primitives(config: &JobConfig, document: &mut Document) {
    document.put("description", &config.description);
    document.put_plain("disabled", config.disabled);
    document.put_plain("failover", config.failover || config.kept.failover_without_monitor);
    document.put("jobName", &config.name.as_str());
    document.put("jobParameter", &config.job_parameter);
    let difference = config.max_time_difference.map_or(-1, |limit| units(limit, 1));
    document.put_plain("maxTimeDiffSeconds", difference);
    document.put_plain("misfire", config.misfire);
    document.put_plain("monitorExecution", config.monitor_execution);
    document.put_plain("overwrite", config.overwrite);
    let reconcile = config.reconcile_interval.map_or(0, |interval| units(interval, 60));
    document.put_plain("reconcileIntervalMinutes", reconcile);
    document.put("shardingItemParameters", &item_parameters(config));
    document.put_plain("shardingTotalCount", config.shards);
    document.put_plain("staticSharding", config.static_sharding);
}

fn units(duration: Duration, unit: u64) -> i64 {
    i64::try_from(duration.as_secs() / unit).unwrap_or(i64::MAX)
}

fn texts(config: &JobConfig, document: &mut Document) {
    let kept = &config.kept;
    if let Schedule::Cron(cron) = &config.schedule {
        document.put("cron", &cron.expression());
        if let Some(zone) = gmt_name(cron).filter(|_| !kept.no_time_zone) {
            document.put("timeZone", &zone);
        }
    }
    document.put_present("jobErrorHandlerType", kept.error_handler.as_deref().unwrap_or(""));
    let strategy = kept.strategy.as_deref().or_else(|| config.strategy.elastic_name());
    document.put_present("jobShardingStrategyType", strategy.unwrap_or(""));
    document.put_present("label", config.label.as_deref().unwrap_or(""));
    if !kept.listeners.is_empty() {
        document.put("jobListenerTypes", &kept.listeners);
    }
    if let Some((key, value)) = &kept.pool {
        document.put_present(key, value);
    }
    if let Some(text) = &kept.extra_configurations {
        document.verbatim("jobExtraConfigurations", text);
    }
}

/// A zone by the only names ElasticJob knows.
fn gmt_name(cron: &Cron) -> Option<&str> {
    match cron.zone().name() {
        "UTC" => Some("GMT"),
        name if is_gmt(name) => Some(name),
        _ => None,
    }
}

fn is_gmt(name: &str) -> bool {
    name.strip_prefix("GMT").is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', '-']))
}

/// The parameters in ElasticJob's syntax: all of them, or those it can hold.
fn item_parameters(config: &JobConfig) -> String {
    if let Some(text) = &config.kept.parameters {
        return text.clone();
    }
    let all = &config.shard_parameters;
    parameters::format(all).unwrap_or_else(|| {
        let fits = |shard: &u32, text: &String| {
            parameters::format(&BTreeMap::from([(*shard, text.clone())])).is_some()
        };
        let some = all.iter().filter(|(shard, text)| fits(shard, text));
        let some = some.map(|(shard, text)| (*shard, text.clone())).collect();
        parameters::format(&some).unwrap_or_default()
    })
}

fn properties(config: &JobConfig) -> BTreeMap<String, String> {
    let mut own = Own::default();
    timing(config, &mut own);
    handling(config, &mut own);
    let line = work(config, &mut own);
    if config.kept.parameters.is_none() && parameters::format(&config.shard_parameters).is_none() {
        own.put("parameters", json(&config.shard_parameters));
    }
    if config.strategy == Strategy::Sticky {
        own.put("strategy", config.strategy.native_name());
    }
    if !own.0.is_empty() {
        own.put("schema", SCHEMA.to_string());
    }
    let mut all = config.kept.props.clone();
    all.extend(line.map(|line| ("script.command.line".to_owned(), line)));
    all.append(&mut own.0);
    all
}

/// Properties of this scheduler.
#[derive(Default)]
struct Own(BTreeMap<String, String>);

impl Own {
    fn put(&mut self, name: &str, value: impl Into<String>) {
        self.0.insert(format!("{PREFIX}{name}"), value.into());
    }
}

fn timing(config: &JobConfig, own: &mut Own) {
    match &config.schedule {
        Schedule::Cron(cron) => {
            if cron.dst() == DstPolicy::Sane {
                own.put("dst", "sane");
            }
            if !config.kept.no_time_zone && !is_gmt(cron.zone().name()) {
                own.put("zone", cron.zone().name());
            }
        }
        Schedule::Every(every) => {
            own.put("every", duration::format(Duration::from_millis(every.period_ms)));
            if every.anchor.as_millis() != 0 {
                own.put("anchor", every.anchor.to_string());
            }
        }
        Schedule::Once(Once::Now) => own.put("at", "now"),
        Schedule::Once(Once::At(instant)) => own.put("at", instant.to_string()),
        Schedule::OnTrigger => {}
    }
}

fn handling(config: &JobConfig, own: &mut Own) {
    if config.overlap != Overlap::default_for(config.misfire) {
        own.put("overlap", config.overlap.native_name());
    }
    if config.catch_up != CatchUp::None {
        own.put("catch_up", config.catch_up.native_name());
    }
    let (retry, usual) = (config.retry, Retry::default());
    if retry.times != usual.times {
        own.put("retry.times", retry.times.to_string());
    }
    if retry.backoff != usual.backoff {
        own.put("retry.backoff", duration::format(retry.backoff));
    }
    if retry.on != usual.on {
        own.put("retry.on", retry.on.native_name());
    }
    if let Some(timeout) = config.timeout {
        own.put("timeout", duration::format(timeout));
    }
    if !config.claim_ahead.is_zero() {
        own.put("claim_ahead", duration::format(config.claim_ahead));
    }
    if let Some(listener) = &config.listener {
        // Without one of them there is no listener, so all are written.
        own.put("listener.before_timeout", duration::format(listener.before_timeout));
        own.put("listener.after_timeout", duration::format(listener.after_timeout));
        own.put("listener.on_failure", listener.on_failure.native_name());
    }
    if config.on_session_loss != OnSessionLoss::default_for(config.failover, retry) {
        own.put("on_session_loss", config.on_session_loss.native_name());
    }
}

/// The command line for ElasticJob, and the exact arguments where it cannot say them.
fn work(config: &JobConfig, own: &mut Own) -> Option<String> {
    let kept = config.kept.command_line.clone();
    let Work::Script(script) = config.work.as_ref() else { return kept };
    let line = kept.or_else(|| command_line::format(&script.argv));
    let read = line.as_deref().and_then(|line| command_line::parse(line).ok());
    if read.as_ref() != Some(&script.argv) {
        own.put("script", json(&script.argv));
    }
    line
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("texts, lists and maps of them are always JSON")
}
