//! What is due, compared with a slow twin that looks at one second after the other.

#[path = "schedule_differential/rng.rs"]
mod rng;
#[path = "schedule_twin/twin.rs"]
mod twin;

use flockwork_core::schedule::{Cron, DstPolicy, Zone};
use flockwork_core::time::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp as Instant, ToSpan as _};
use rng::Rng;
use twin::Twin;

/// 2018-01-01T00:00:00Z and 2026-01-01T00:00:00Z.
const STARTS: (i64, i64) = (1_514_764_800, 1_767_225_600);
const LAST_YEAR: i32 = 2030;

fn parse(twin: &Twin, zone: &Zone, dst: DstPolicy) -> Option<Cron> {
    let text = twin.spelt();
    // Long lists of values do not fit into an expression.
    (text.len() <= Cron::MAX_BYTES)
        .then(|| Cron::parse(&text, zone, dst).expect("a valid expression"))
}

/// The first second after `after` that is due, day by day and in a due day second by second.
fn slow_next(twin: &Twin, after: i64) -> Option<i64> {
    let first =
        Instant::from_second(after + 1).expect("in range").to_zoned(TimeZone::UTC).datetime();
    let mut at = first;
    while i32::from(at.year()) <= LAST_YEAR {
        if twin.is_due_on(at.date()) {
            let date = at.date();
            while at.date() == date {
                if twin.is_due(at) {
                    return Some(
                        at.to_zoned(TimeZone::UTC).expect("in range").timestamp().as_second(),
                    );
                }
                at = at.checked_add(1.second()).expect("in range");
            }
        } else {
            at = at.date().tomorrow().expect("in range").at(0, 0, 0, 0);
        }
    }
    None
}

#[test]
fn in_utc_the_next_fire_is_the_first_due_second() {
    let mut rng = Rng(7);
    let mut compared = 0;
    while compared < 500 {
        let twin = Twin::any(&mut rng);
        let Some(cron) = parse(&twin, &Zone::utc(), DstPolicy::Quartz) else { continue };
        let mut after = rng.between(STARTS.0, STARTS.1);
        for _ in 0..2 {
            let ours = cron.next_within(Timestamp::from_millis(after * 1000 + 999), LAST_YEAR);
            let slow = slow_next(&twin, after);
            assert_eq!(
                ours.map(|at| at.as_millis()),
                slow.map(|at| at * 1000),
                "{twin:?} after {after}"
            );
            let Some(next) = slow else { break };
            after = next;
        }
        compared += 1;
    }
}

/// Whether the rule [`DstPolicy::Sane`] makes a job due at `at`, by its definition.
fn is_due_sanely(twin: &Twin, zone: &TimeZone, at: i64) -> bool {
    let wall_at = |second: i64| zone.to_datetime(Instant::from_second(second).expect("in range"));
    let wall = wall_at(at);
    if twin.every_hour() {
        return twin.is_due(wall);
    }
    let before = wall_at(at - 1);
    let mut skipped = before.checked_add(1.second()).expect("in range");
    while skipped < wall {
        if twin.is_due(skipped) {
            return true;
        }
        skipped = skipped.checked_add(1.second()).expect("in range");
    }
    twin.is_due(wall) && !shown_before(zone, wall, at)
}

/// Whether clocks showed `wall` already in the hours before `at`.
fn shown_before(zone: &TimeZone, wall: DateTime, at: i64) -> bool {
    let earliest = zone.to_ambiguous_zoned(wall).compatible().expect("in range");
    earliest.timestamp().as_second() < at
}

/// Six hours around each of a zone's clock changes in a year.
fn windows(zone: &TimeZone, year: i16) -> Vec<(i64, i64)> {
    let january =
        jiff::civil::date(year, 1, 1).to_zoned(TimeZone::UTC).expect("in range").timestamp();
    let december = jiff::civil::date(year, 12, 31).to_zoned(TimeZone::UTC).expect("in range");
    zone.following(january)
        .map(|change| change.timestamp().as_second())
        .take_while(|change| *change < december.timestamp().as_second())
        .map(|change| (change - 3 * 3600, change + 3 * 3600))
        .collect()
}

#[test]
fn the_sane_rule_fires_at_exactly_the_seconds_it_is_defined_by() {
    let mut rng = Rng(11);
    let mut fires = 0;
    for case in 0..80 {
        let name = *rng.pick(&[
            "America/New_York",
            "Australia/Lord_Howe",
            "Asia/Beirut",
            "Antarctica/Troll",
        ]);
        let zone = Zone::parse(name).expect("a zone");
        let rules = TimeZoneDatabase::bundled().get(name).expect("a zone");
        // The first cases are sure to be due on the day of the change.
        let twin = if case < 40 { Twin::daily(&mut rng) } else { Twin::any(&mut rng) };
        let Some(cron) = parse(&twin, &zone, DstPolicy::Sane) else { continue };
        for (from, to) in windows(&rules, 2024) {
            let slow: Vec<_> =
                (from + 1..=to).filter(|at| is_due_sanely(&twin, &rules, *at)).collect();
            let mut after = Timestamp::from_millis(from * 1000);
            let mut ours = Vec::new();
            while let Some(next) = cron.next_after(after).filter(|at| at.as_millis() <= to * 1000) {
                ours.push(next.as_millis() / 1000);
                after = next;
            }
            assert_eq!(ours, slow, "{} in {name}", twin.spelt());
            fires += slow.len();
        }
    }
    assert!(fires > 1_000, "only {fires} fires compared");
}

#[test]
fn an_hourly_job_under_the_sane_rule_never_pauses() {
    let zone = Zone::parse("America/New_York").expect("a zone");
    let cron = Cron::parse("0 0 * * * ?", &zone, DstPolicy::Sane).expect("an expression");
    let mut at = Timestamp::from_millis(STARTS.0 * 1000);
    for _ in 0..24 * 366 {
        let next = cron.next_after(at).expect("it fires every hour");
        assert_eq!(next.as_millis() - at.as_millis(), 3_600_000);
        at = next;
    }
}
