//! The numbers as an OpenMetrics text, for scrapers.

use super::{BUCKETS_MILLIS, Histogram, Metrics, Numbers, SessionHealth};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use std::fmt;

/// The media type of what [`Metrics::render`] returns.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

impl Metrics {
    /// All numbers as an OpenMetrics text; `waiting` is the number of fires that are due and wait
    /// for a free place ([`Status::waiting`](flockwork_node::Status)), if known.
    ///
    /// # Panics
    /// Never: writing to a string cannot fail.
    #[must_use]
    pub fn render(&self, waiting: Option<usize>) -> String {
        let mut registry = Registry::with_prefix("flockwork");
        registry.register_collector(Box::new(Scrape { numbers: self.numbers(), waiting }));
        let mut text = String::new();
        encode(&mut text, &registry).expect("a string takes whatever is written");
        text
    }
}

#[derive(Debug)]
struct Scrape {
    numbers: Numbers,
    waiting: Option<usize>,
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.fires(&mut encoder)?;
        self.runs(&mut encoder)?;
        self.health(&mut encoder)?;
        let Numbers { lateness, durations, commits, .. } = &self.numbers;
        histogram(&mut encoder, "start_lateness", "How late runs started", lateness)?;
        histogram(&mut encoder, "run_duration", "How long runs took", durations)?;
        let help = "How long commits waited for the registry's answer";
        histogram(&mut encoder, "commit_duration", help, commits)
    }
}

impl Scrape {
    fn fires(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Fires of single shards by what became of them, and why";
        let mut family = encoder.encode_descriptor("fires", help, None, MetricType::Counter)?;
        for ((fate, reason), count) in &self.numbers.fires {
            let labels = [("fate", fate.as_str()), ("reason", reason.code())];
            ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn runs(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Ended runs by outcome";
        let mut family = encoder.encode_descriptor("runs", help, None, MetricType::Counter)?;
        for (code, count) in &self.numbers.runs {
            ConstCounter::new(*count).encode(family.encode_family(&[("outcome", *code)])?)?;
        }
        counter(encoder, "retries", "Failed runs that are tried again", self.numbers.retries)?;
        gauge(encoder, "running", "Runs under way", self.numbers.running)?;
        let Some(waiting) = self.waiting else { return Ok(()) };
        gauge(encoder, "waiting", "Due fires that wait for a free place", waiting as u64)
    }

    fn health(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "The state of the registry session: 1 for the one it is in";
        let mut family = encoder.encode_descriptor("session", help, None, MetricType::Gauge)?;
        for (state, name) in [
            (SessionHealth::Absent, "absent"),
            (SessionHealth::Live, "live"),
            (SessionHealth::Suspended, "suspended"),
            (SessionHealth::Ended, "ended"),
        ] {
            let value = i64::from(self.numbers.session == state);
            ConstGauge::new(value).encode(family.encode_family(&[("state", name)])?)?;
        }
        let lost = "Sessions that ended though the node lived";
        counter(encoder, "sessions_lost", lost, self.numbers.sessions_lost)?;
        let steps = "How often the wall clock was set";
        counter(encoder, "clock_steps", steps, self.numbers.clock_steps)?;
        let help = "What may need a person, by code";
        let mut family = encoder.encode_descriptor("troubles", help, None, MetricType::Counter)?;
        for (code, count) in &self.numbers.troubles {
            ConstCounter::new(*count).encode(family.encode_family(&[("code", *code)])?)?;
        }
        let help = "Lines that were dropped as nobody read them in time, by stream";
        let mut family =
            encoder.encode_descriptor("lines_dropped", help, None, MetricType::Counter)?;
        for (stream, count) in &self.numbers.lines_dropped {
            ConstCounter::new(*count).encode(family.encode_family(&[("stream", *stream)])?)?;
        }
        Ok(())
    }
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    ConstCounter::new(value).encode(encoder.encode_descriptor(
        name,
        help,
        None,
        MetricType::Counter,
    )?)
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let value = i64::try_from(value).unwrap_or(i64::MAX);
    ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}

fn histogram(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    histogram: &Histogram,
) -> fmt::Result {
    let unit = Some(&Unit::Seconds);
    let mut metric = encoder.encode_descriptor(name, help, unit, MetricType::Histogram)?;
    #[expect(clippy::cast_precision_loss, reason = "the bounds are small")]
    let bounds = BUCKETS_MILLIS.iter().map(|millis| *millis as f64 / 1000.0);
    let buckets: Vec<_> =
        bounds.chain([f64::INFINITY]).zip(histogram.buckets.iter().copied()).collect();
    let sum = histogram.sum.as_secs_f64();
    metric.encode_histogram::<NoLabelSet>(sum, histogram.count, &buckets, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flockwork_core::account::{Fate, Reason};
    use std::time::Duration;

    #[test]
    fn every_number_stands_in_the_text() {
        let metrics = Metrics::default();
        {
            let mut numbers = metrics.lock();
            numbers.fires.insert((Fate::Skipped, Reason::Overlap), 3);
            numbers.runs.insert("OK", 7);
            numbers.session = SessionHealth::Live;
            numbers.lateness.observe(Duration::from_millis(7));
            numbers.lateness.observe(Duration::from_secs(7200));
        }
        metrics.running(2);
        metrics.lines_dropped("stderr", 9);
        let text = metrics.render(Some(5));
        for line in [
            "flockwork_fires_total{fate=\"skipped\",reason=\"OVERLAP\"} 3",
            "flockwork_runs_total{outcome=\"OK\"} 7",
            "flockwork_running 2",
            "flockwork_waiting 5",
            "flockwork_lines_dropped_total{stream=\"stderr\"} 9",
            "flockwork_session{state=\"live\"} 1",
            "flockwork_session{state=\"ended\"} 0",
            "flockwork_start_lateness_seconds_bucket{le=\"0.005\"} 0",
            "flockwork_start_lateness_seconds_bucket{le=\"0.01\"} 1",
            "flockwork_start_lateness_seconds_bucket{le=\"+Inf\"} 2",
            "flockwork_start_lateness_seconds_count 2",
            "# EOF",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
        }
    }
}
