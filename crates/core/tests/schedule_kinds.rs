//! Zones, fixed rates, single fires, and how schedules are told apart.

use flockwork_core::schedule::{Cron, DstPolicy, Every, Once, Schedule, Zone};
use flockwork_core::time::Timestamp;
use std::collections::BTreeSet;
use std::sync::Arc;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn cron(text: &str, zone: &str, dst: DstPolicy) -> Schedule {
    let zone = Zone::parse(zone).expect("a zone");
    Schedule::Cron(Arc::new(Cron::parse(text, &zone, dst).expect("an expression")))
}

#[test]
fn a_fixed_rate_is_due_at_the_anchor_and_at_every_period_from_it() {
    let every = Schedule::Every(Every { period_ms: 1000, anchor: at(250) });
    let from = at(i64::MIN);
    let due =
        [(0, 250), (249, 250), (250, 1250), (1249, 1250), (-1, 250), (-751, -750), (-750, 250)];
    for (after, next) in due {
        assert_eq!(every.next_after(at(after), from), Some(at(next)), "after {after}");
    }
}

#[test]
fn a_fixed_rate_at_the_ends_of_time_is_none_or_right() {
    let every = |period_ms, anchor| Every { period_ms, anchor: at(anchor) };
    assert_eq!(every(10, 3).next_after(at(i64::MAX)), None);
    assert_eq!(every(u64::MAX, 0).next_after(at(1)), None);
    assert_eq!(every(u64::MAX, 0).next_after(at(-1)), Some(at(0)));
    assert_eq!(every(7, i64::MAX).next_after(at(i64::MIN)), Some(at(i64::MIN + 1)));
    assert_eq!(every(0, 0).next_after(at(5)), None);
}

#[test]
fn nothing_is_due_at_or_before_the_instant_it_is_in_force_from() {
    let from = at(10_000);
    let schedules = [
        (cron("* * * * * ?", "UTC", DstPolicy::Quartz), Some(at(11_000))),
        (Schedule::Every(Every { period_ms: 5_000, anchor: at(0) }), Some(at(15_000))),
        (Schedule::Once(Once::Now), Some(at(10_001))),
        (Schedule::Once(Once::At(at(10_000))), None),
        (Schedule::Once(Once::At(at(10_002))), Some(at(10_002))),
        (Schedule::OnTrigger, None),
    ];
    for (schedule, next) in schedules {
        assert_eq!(schedule.next_after(at(0), from), next, "{schedule}");
    }
}

#[test]
fn a_single_fire_is_due_once() {
    let from = at(500);
    assert_eq!(Schedule::Once(Once::Now).next_after(at(501), from), None);
    assert_eq!(Schedule::Once(Once::At(at(900))).next_after(at(900), from), None);
    assert_eq!(Schedule::Once(Once::Now).next_after(at(i64::MAX), at(i64::MAX)), None);
}

#[test]
fn milliseconds_count_towards_strictly_after() {
    let cron = cron("0/5 * * * * ?", "UTC", DstPolicy::Quartz);
    for (after, next) in [(4_999, 5_000), (5_000, 10_000), (5_001, 10_000), (-1, 0), (-5_001, 0)] {
        assert_eq!(cron.next_after(at(after), at(i64::MIN)), Some(at(next)), "after {after}");
    }
}

#[test]
fn schedules_that_fire_differently_have_different_texts() {
    let schedules = [
        cron("0 0 12 * * ?", "UTC", DstPolicy::Quartz),
        cron("0 0 13 * * ?", "UTC", DstPolicy::Quartz),
        cron("0 0 12 * * ?", "Asia/Shanghai", DstPolicy::Quartz),
        cron("0 0 12 * * ?", "UTC", DstPolicy::Sane),
        Schedule::Every(Every { period_ms: 1000, anchor: at(0) }),
        Schedule::Every(Every { period_ms: 1000, anchor: at(1) }),
        Schedule::Every(Every { period_ms: 1001, anchor: at(0) }),
        Schedule::Once(Once::Now),
        Schedule::Once(Once::At(at(0))),
        Schedule::OnTrigger,
    ];
    let texts: BTreeSet<_> = schedules.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), schedules.len(), "{texts:?}");
}

#[test]
fn spelling_does_not_tell_schedules_apart() {
    let one = cron(" 0 0  12 ? * mon-fri", "asia/shanghai", DstPolicy::Quartz);
    let other = cron("0 0 12 ? * MON-FRI", "Asia/Shanghai", DstPolicy::Quartz);
    assert_eq!(one.to_string(), other.to_string());
    assert_eq!(one.to_string(), "cron 0 0 12 ? * MON-FRI in Asia/Shanghai, clock changes: quartz");
}

#[test]
fn zones_are_known_by_their_iana_names_and_gmt_offsets() {
    let names = [
        ("UTC", "UTC"),
        ("utc", "UTC"),
        ("Etc/UTC", "Etc/UTC"),
        ("Asia/Shanghai", "Asia/Shanghai"),
        ("america/argentina/buenos_aires", "America/Argentina/Buenos_Aires"),
        ("GMT", "GMT"),
        ("GMT+08:00", "GMT+08:00"),
        ("GMT+8", "GMT+08:00"),
        ("GMT-0330", "GMT-03:30"),
        ("GMT-00:00", "GMT"),
    ];
    for (written, name) in names {
        assert_eq!(Zone::parse(written).expect(written).name(), name);
    }
    assert_eq!(Zone::parse("UTC"), Ok(Zone::utc()));
}

#[test]
fn unknown_and_ambiguous_zones_are_refused_with_a_suggestion() {
    let names = [
        ("", "Asia/Shanghai"),
        ("UTC+8", "Asia/Shanghai"),
        ("GMT+25:00", "GMT+08:00"),
        ("Mars/Phobos", "Asia/Shanghai"),
        ("CST", "Asia/Shanghai"),
        ("est", "America/New_York"),
        ("CET", "Europe/Paris"),
        ("Asia/Shanghia", "Asia/Shanghai"),
        ("Europe/Pariss", "Europe/Paris"),
        ("../../etc/passwd", "Asia/Shanghai"),
        ("Factory", "Asia/Shanghai"),
    ];
    for (name, suggestion) in names {
        let why = Zone::parse(name).expect_err(name);
        assert_eq!(why.code(), "TZ_UNKNOWN");
        assert!(why.hint().contains(suggestion), "{name}: {}", why.hint());
    }
    let long = "Z".repeat(1_000_000);
    assert!(Zone::parse(&long).expect_err("no zone").to_string().len() < 100);
}

#[test]
fn elasticjob_reads_only_zones_that_start_with_gmt_and_reads_them_leniently() {
    for (written, name) in [("GMT+08:00", "GMT+08:00"), ("GMT+25:00", "GMT"), ("GMTX", "GMT")] {
        assert_eq!(Zone::parse_elasticjob(written).expect(written).name(), name);
    }
    for refused in ["", "Asia/Shanghai", "UTC", "gmt+08:00"] {
        assert_eq!(Zone::parse_elasticjob(refused).map_err(|why| why.code()), Err("TZ_UNKNOWN"));
    }
}

#[test]
fn every_zone_of_the_database_fires_at_noon() {
    let mut zones = 0;
    for name in jiff::tz::TimeZoneDatabase::bundled().available() {
        let Ok(zone) = Zone::parse(name.as_str()) else { continue };
        let noon = Cron::parse("0 0 12 * * ?", &zone, DstPolicy::Quartz).expect("an expression");
        let next = noon.next_after(at(1_767_225_600_000)).expect("a noon");
        let rules = jiff::tz::TimeZoneDatabase::bundled().get(name.as_str()).expect("a zone");
        let instant = jiff::Timestamp::from_millisecond(next.as_millis()).expect("in range");
        assert_eq!(rules.to_datetime(instant).time(), jiff::civil::time(12, 0, 0, 0), "{name}");
        zones += 1;
    }
    assert!(zones > 500, "only {zones} zones");
}

#[test]
fn a_schedule_takes_little_memory() {
    let text = "0 0/5 14,18 ? JAN-MAR MON-FRI";
    let zone = Zone::parse("Asia/Shanghai").expect("a zone");
    let cron = Cron::parse(text, &zone, DstPolicy::Quartz).expect("an expression");
    let bytes = size_of_val(&cron) + cron.expression().len();
    assert!(bytes <= 128, "{bytes} bytes");
}
