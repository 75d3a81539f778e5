//! The fires of a schedule are one sequence, whoever asks for them and from when.

#[path = "schedule_differential/expressions.rs"]
#[expect(dead_code, reason = "its curious expressions are for the comparison with Quartz")]
mod expressions;
#[path = "schedule_differential/rng.rs"]
mod rng;

use expressions::expression;
use flockwork_core::schedule::{Cron, DstPolicy, Zone};
use flockwork_core::time::Timestamp;
use rng::Rng;

/// Clocks are put forward and back by an hour, by half of one, by two, and at midnight; Volgograd changed its
/// standard time, and the three islands lost a whole day, which for two of them is their only change.
const ZONES: [&str; 9] = [
    "America/New_York",
    "Australia/Lord_Howe",
    "Antarctica/Troll",
    "Asia/Beirut",
    "America/Havana",
    "Europe/Volgograd",
    "Pacific/Apia",
    "Pacific/Kwajalein",
    "Pacific/Kiritimati",
];
/// 1990-01-01T00:00:00Z and 2030-01-01T00:00:00Z.
const STARTS: (i64, i64) = (631_152_000, 1_893_456_000);
const HOUR: i64 = 3_600;

/// Changes of a zone's clocks.
fn changes(zone: &str) -> Vec<i64> {
    let zone = jiff::tz::TimeZoneDatabase::bundled().get(zone).expect("a zone of the test");
    let from = jiff::Timestamp::from_second(STARTS.0).expect("a start");
    let seconds = zone.following(from).map(|change| change.timestamp().as_second());
    seconds.take_while(|second| *second < STARTS.1).collect()
}

/// Some hours, or some days.
fn span(rng: &mut Rng) -> i64 {
    if rng.one_in(3) { 72 * HOUR } else { 4 * HOUR }
}

/// The next fire after a second.
fn next(cron: &Cron, after: i64) -> Option<i64> {
    let fire = cron.next_within(Timestamp::from_millis(after * 1_000 + 999), 2040)?;
    Some(fire.as_millis() / 1_000)
}

/// Whoever asks from `late` must be told what one who asked from `early` is told of the time after `late`.
fn disagree(cron: &Cron, early: i64, late: i64) -> Option<(Option<i64>, Option<i64>)> {
    let mut fire = next(cron, early);
    while fire.is_some_and(|at| at <= late) {
        fire = next(cron, fire.expect("it is one"));
    }
    let asked_late = next(cron, late);
    (fire != asked_late).then_some((fire, asked_late))
}

#[test]
fn whoever_asks_and_from_when_is_told_of_the_same_fires() {
    let mut rng = Rng(11);
    let mut compared = 0;
    let mut different = Vec::new();
    for name in ZONES {
        let zone = Zone::parse(name).expect("a zone of the test");
        let changes = changes(name);
        for dst in [DstPolicy::Quartz, DstPolicy::Sane] {
            for _ in 0..1_000 {
                let text = expression(&mut rng, false);
                let Ok(cron) = Cron::parse(&text, &zone, dst) else { continue };
                let change = *rng.pick(&changes);
                let (back, on) = (span(&mut rng), span(&mut rng));
                let early = change + rng.between(-back, 4 * HOUR);
                let late = early + rng.between(1, on);
                compared += 1;
                if let Some(told) = disagree(&cron, early, late) {
                    different
                        .push(format!("{text:?} {dst:?} {name} from {early}, {late}: {told:?}"));
                }
            }
        }
    }
    assert!(compared > 15_000, "{compared}");
    assert!(
        different.is_empty(),
        "{} of {compared}: {:#?}",
        different.len(),
        &different[..different.len().min(12)]
    );
}

#[test]
fn a_doubled_hour_has_its_fire_also_for_one_who_asks_within_it() {
    let zone = Zone::parse("America/New_York").unwrap();
    let cron = Cron::parse("0 30 1 * * ?", &zone, DstPolicy::Quartz).unwrap();
    // 04:00Z, 05:29:59Z, 05:40Z and 06:10Z on 2026-11-01: before, in the first pass and in the second.
    for after in [1_793_505_600, 1_793_510_999, 1_793_511_600, 1_793_513_400] {
        assert_eq!(next(&cron, after), Some(1_793_514_600), "after {after}: 06:30Z");
    }
}
