//! When a cluster was left alone: bounds on how long things take hold only then.

use crate::trace::{About, Fact, Fault, Line};
use std::collections::BTreeMap;

/// The time-out of sessions where the trace does not say: milliseconds.
const TIMEOUT: u64 = 30_000;

/// Spans in which something went wrong or was changed, on the trace's clock.
#[derive(Debug, Default)]
pub struct Weather {
    /// Beginning and end of each, ascending by beginning; none overlaps the next.
    rough: Vec<(u64, u64)>,
    /// The longest time-out of a session: milliseconds.
    pub timeout: u64,
    /// From when on nothing goes wrong any more.
    pub healed: Option<u64>,
}

impl Weather {
    /// Reads a trace.
    #[must_use]
    pub fn read(trace: &[Line]) -> Self {
        let mut spans = Vec::new();
        let mut open: BTreeMap<(&str, String), u64> = BTreeMap::new();
        let (mut timeout, mut healed) = (0, None);
        for line in trace {
            let at = line.at;
            match &line.fact {
                Fact::Fault(fault) => spans.push((at, until(fault).unwrap_or(at).max(at))),
                Fact::Node { timeout: told, .. } => {
                    timeout = timeout.max(*told);
                    spans.push((at, at));
                }
                Fact::Clock { .. } | Fact::Drain { .. } | Fact::Exit { .. } => {
                    spans.push((at, at));
                }
                Fact::Healed => {
                    healed = Some(at);
                    spans.push((at, at));
                }
                Fact::Config(config) => {
                    let is_off = config.is_newer || config.document.is_none();
                    toggle(&mut spans, &mut open, (&config.job, "config".into()), is_off, at);
                }
                Fact::Mark(mark) => {
                    let is_off = match &mark.about {
                        About::Disabled(_) => mark.value.is_some(),
                        About::Server(_) => mark.value.as_deref() == Some("DISABLED"),
                        About::Instance(_) => false,
                        _ => continue,
                    };
                    let what = (&*mark.job, format!("{:?}", mark.about));
                    toggle(&mut spans, &mut open, what, is_off, at);
                }
                _ => {}
            }
        }
        let timeout = if timeout == 0 { TIMEOUT } else { timeout };
        Self { rough: joined(spans), timeout, healed }
    }

    /// From when on, after `at`, it was calm for `long`; the end of that span.
    #[must_use]
    pub fn calm_for(&self, at: u64, long: u64) -> u64 {
        let mut since = at;
        for (from, until) in &self.rough {
            if *until < since {
                continue;
            }
            if *from > since + long {
                break;
            }
            since = since.max(*until);
        }
        since.saturating_add(long)
    }

    /// Whether nothing happened from `from` to `until`.
    #[must_use]
    pub fn is_calm(&self, from: u64, until: u64) -> bool {
        let after = self.rough.partition_point(|(_, end)| *end < from);
        self.rough.get(after).is_none_or(|(begin, _)| *begin > until)
    }

    /// How long after the heal all must go on: milliseconds.
    #[must_use]
    pub fn recovery(&self) -> u64 {
        3 * self.timeout + 60_000
    }
}

fn until(fault: &Fault) -> Option<u64> {
    match fault {
        Fault::Crash { .. } | Fault::LostAnswer { .. } => None,
        Fault::Pause { until, .. }
        | Fault::Cut { until, .. }
        | Fault::OneWay { until, .. }
        | Fault::RegistryAway { until, .. }
        | Fault::Full { until }
        | Fault::Jumbled { until, .. }
        | Fault::Slow { until, .. } => Some(*until),
    }
}

/// What is switched off is rough weather until it is on again.
fn toggle<'a>(
    spans: &mut Vec<(u64, u64)>,
    open: &mut BTreeMap<(&'a str, String), u64>,
    what: (&'a str, String),
    is_off: bool,
    at: u64,
) {
    let since = open.remove(&what).unwrap_or(at);
    spans.push((since, at));
    if is_off {
        open.insert(what, since);
    }
}

fn joined(mut spans: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    spans.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (from, until) in spans {
        match joined.last_mut() {
            Some((_, end)) if from <= *end => *end = until.max(*end),
            _ => joined.push((from, until)),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_begins_anew_with_each_fault() {
        let rough = joined(vec![(50, 60), (10, 20), (15, 30), (200, 210)]);
        assert_eq!(rough, [(10, 30), (50, 60), (200, 210)]);
        let weather = Weather { rough, timeout: 1, healed: None };
        let table = [(0, 5, 5), (0, 10, 40), (0, 25, 85), (12, 5, 35), (70, 100, 170)];
        for (at, long, end) in table {
            assert_eq!(weather.calm_for(at, long), end, "{at} {long}");
        }
        assert!(weather.is_calm(31, 49) && !weather.is_calm(31, 50) && !weather.is_calm(30, 31));
        assert!(weather.is_calm(211, u64::MAX));
    }
}
