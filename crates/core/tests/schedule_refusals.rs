//! Bad schedules, and what is said about them.

use flockwork_core::schedule::{Cron, CronError, DstPolicy, Field, Zone};
use flockwork_core::time::Timestamp;
use std::time::{Duration, Instant};

fn parse(text: &str) -> Result<Cron, CronError> {
    Cron::parse(text, &Zone::utc(), DstPolicy::Quartz)
}

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().expect("an instant")
}

/// Everything the strict level says against it.
fn strictly(text: &str) -> Vec<CronError> {
    match parse(text) {
        Ok(cron) => cron.strict_objections(now()),
        Err(why) => vec![why],
    }
}

#[allow(clippy::disallowed_methods, reason = "measures how long a refusal takes")]
/// The least time of several, so that a busy host does not count.
fn fastest<T>(mut work: impl FnMut() -> T) -> Duration {
    let round = |_| {
        let began = Instant::now();
        std::hint::black_box(work());
        began.elapsed()
    };
    (0..30).map(round).min().expect("thirty rounds")
}

/// Text, code, field, offset: refused at both levels.
const REFUSED: &[(&str, &str, Option<Field>, usize)] = &[
    ("", "CRON_EMPTY", None, 0),
    ("  \t ", "CRON_EMPTY", None, 0),
    ("0 0 12 *", "CRON_FIELDS", None, 0),
    ("30 2 * * *", "CRON_FIELDS", None, 0),
    ("@daily", "CRON_FIELDS", None, 0),
    ("60 * * * * ?", "CRON_RANGE", Some(Field::Second), 0),
    ("* 60 * * * ?", "CRON_RANGE", Some(Field::Minute), 2),
    ("* * 25 * * ?", "CRON_RANGE", Some(Field::Hour), 4),
    ("* * * 0 * ?", "CRON_RANGE", Some(Field::DayOfMonth), 6),
    ("* * * 1,32 * ?", "CRON_RANGE", Some(Field::DayOfMonth), 8),
    ("* * * * 13 ?", "CRON_RANGE", Some(Field::Month), 8),
    ("* * * ? * 0", "CRON_RANGE", Some(Field::DayOfWeek), 10),
    ("* * * ? * 8", "CRON_RANGE", Some(Field::DayOfWeek), 10),
    ("* * * ? * 2#6", "CRON_RANGE", Some(Field::DayOfWeek), 12),
    ("* * * ? * MON#0", "CRON_RANGE", Some(Field::DayOfWeek), 14),
    ("* * * L-31 * ?", "CRON_RANGE", Some(Field::DayOfMonth), 8),
    ("* * * 32W * ?", "CRON_RANGE", Some(Field::DayOfMonth), 6),
    ("* * * 0W * ?", "CRON_RANGE", Some(Field::DayOfMonth), 6),
    ("* * * * * ? 2030-2020", "CRON_RANGE", Some(Field::Year), 12),
    ("0 99-70/33 * * * ?", "CRON_RANGE", Some(Field::Minute), 2),
    ("0 10-40/2147483647 * * * ?", "CRON_RANGE", Some(Field::Minute), 2),
    ("0 0/60 * * * ?", "CRON_STEP", Some(Field::Minute), 4),
    ("0 0 0/24 * * ?", "CRON_STEP", Some(Field::Hour), 6),
    ("0 */99 * * * ?", "CRON_STEP", Some(Field::Minute), 4),
    ("0 */x * * * ?", "CRON_SYNTAX", Some(Field::Minute), 2),
    ("H H * * * ?", "CRON_SYNTAX", Some(Field::Second), 0),
    ("0 0 0 ? * MON-", "CRON_SYNTAX", Some(Field::DayOfWeek), 14),
    ("0 0 0 ? * Lundi", "CRON_SYNTAX", Some(Field::DayOfWeek), 10),
    ("0 0 0 1 Mai ?", "CRON_SYNTAX", Some(Field::Month), 8),
    ("0 0 0 1 M\u{e4}r ?", "CRON_SYNTAX", Some(Field::Month), 8),
    ("0 0 0 ? \u{fb01}b MON", "CRON_SYNTAX", Some(Field::Month), 8),
    ("0 0/\u{ff15} * * * ?", "CRON_SYNTAX", Some(Field::Minute), 4),
    ("0 0 0 LW,15 * ?", "CRON_SYNTAX", Some(Field::DayOfMonth), 6),
    ("0 0 0 ? * 2#1,4#2", "CRON_SYNTAX", Some(Field::DayOfWeek), 10),
    ("0 , 0 * * ?", "CRON_SYNTAX", Some(Field::Minute), 2),
    ("0 0 12 1 * 2", "CRON_DOM_DOW", Some(Field::DayOfWeek), 11),
    ("0 0 12 ? * ?", "CRON_DOM_DOW", Some(Field::DayOfWeek), 11),
];

/// Text and code: accepted as Quartz accepts it, refused at the strict level.
const OBJECTED: &[(&str, &str)] = &[
    ("0 0/0 * * * ?", "CRON_STEP"),
    ("0 */0 * * * ?", "CRON_STEP"),
    ("0 */-5 * * * ?", "CRON_STEP"),
    ("0 5-10/0 * * * ?", "CRON_STEP"),
    ("0 5-10/61 * * * ?", "CRON_STEP"),
    ("0 0 0 1 1 ? */500", "CRON_STEP"),
    ("99 * * * * ?", "CRON_RANGE"),
    ("0 0 0 98 * MON", "CRON_RANGE"),
    ("0 0 0 ? * 0#2", "CRON_RANGE"),
    ("0 0 0 * * ? 2027 2028", "CRON_FIELDS"),
    ("0 0 0 * * ? * command", "CRON_FIELDS"),
    ("0 0 0 ? * MONDAY", "CRON_SYNTAX"),
    ("0 0 0 ? * MON-FRI/2", "CRON_SYNTAX"),
    ("0 0 0 1 JAN/3 ?", "CRON_SYNTAX"),
    ("0 5x 0 * * ?", "CRON_SYNTAX"),
    ("0 5/30x 0 * * ?", "CRON_SYNTAX"),
    ("0 *5 0 * * ?", "CRON_SYNTAX"),
    ("0 1,,2 0 * * ?", "CRON_SYNTAX"),
    ("0 1,2, 0 * * ?", "CRON_SYNTAX"),
    ("0 L,5 0 * * ?", "CRON_SYNTAX"),
    ("0 0 0 1W,15 * ?", "CRON_SYNTAX"),
    ("0 0 0 ?,15 * MON", "CRON_SYNTAX"),
    ("0 0 0 ? * 2#1,3", "CRON_SYNTAX"),
    ("0 0 0 ? * LW", "CRON_SYNTAX"),
    ("0 0 0 L-W * ?", "CRON_SYNTAX"),
    ("0 0 0 ?x * MON", "CRON_SYNTAX"),
    ("0 0 12 ? * fr\u{131}", "CRON_SYNTAX"),
    ("0 0 12 * * ?\n", "CRON_SYNTAX"),
    ("0 0 0 30 2 ?", "CRON_NEVER"),
    ("0 0 0 31 4,6,9,11 ?", "CRON_NEVER"),
    ("0 0 0 ? * 9#2", "CRON_NEVER"),
    ("0 0 0 1 1 ? 1999", "CRON_NEVER"),
    ("0 0 0 1 1 ? 2025", "CRON_NEVER"),
    ("0 0 0 1 1 ? 2127", "CRON_NEVER"),
    ("0 0 0 1 1 ? 5", "CRON_NEVER"),
    ("0 0 0 29 2 ? 2026-2027", "CRON_NEVER"),
    ("0 0 0 ? 2 2#5 2026", "CRON_NEVER"),
];

/// Accepted at both levels.
const ACCEPTED: &[&str] = &[
    "0 0/5 14 * * ?",
    "0 0 0 29 2 ?",
    "0 59-1 * * * ?",
    "0 0 0 L * ?",
    "0 0 0 15W * ?",
    "0 0 0 31W * ?",
    "0 0 0 ? * 2#1",
    "0 0 0 ? * 6L",
    "0 0 0 LW * ?",
    "0 0 0 L-30 * ?",
    "0 0 0 L-3W * ?",
    "0 0 0 ? * mon-Fri",
    "0 0 0 ? NOV-FEB sat-sun",
    "*/10 /5 0/1 1/1 * ? 2026/2",
    "* * * * * ?",
    "  0\t0 12 * *  ? ",
];

#[test]
fn what_quartz_refuses_is_refused_with_its_code_field_and_place() {
    for (text, code, field, offset) in REFUSED {
        let why = parse(text).expect_err(text);
        assert_eq!(
            (why.code(), why.field(), why.offset()),
            (*code, *field, *offset),
            "{text:?}: {why}"
        );
        assert!(!why.hint().is_empty(), "{text:?}");
    }
}

#[test]
fn what_quartz_accepts_by_mistake_is_refused_at_the_strict_level_only() {
    for (text, code) in OBJECTED {
        assert!(parse(text).is_ok(), "{text:?}");
        let said: Vec<_> = strictly(text).iter().map(CronError::code).collect();
        assert!(said.contains(code), "{text:?}: {said:?}");
    }
    for text in ACCEPTED {
        assert_eq!(strictly(text), [], "{text:?}");
    }
}

#[test]
fn several_mistakes_are_all_told() {
    let said: Vec<_> = strictly("99 0/0 0 30W,1 2 ?x 1999 x").iter().map(CronError::code).collect();
    let all = ["CRON_FIELDS", "CRON_NEVER", "CRON_RANGE", "CRON_STEP", "CRON_SYNTAX"];
    for code in all {
        assert!(said.contains(&code), "{code}: {said:?}");
    }
}

#[test]
fn a_refusal_names_the_bounds_and_says_what_to_do() {
    let why = parse("* * 25 * * ?").expect_err("no such hour");
    assert_eq!(why.to_string(), "hour: 25 at byte 4 is not between 0 and 23");
    let why = parse("0 0 12 *").expect_err("too few");
    assert_eq!(why.to_string(), "expected 6 or 7, got 4 fields in the cron expression");
    let why = parse("*/5 * * * *").expect_err("five fields, as Unix writes them");
    assert!(why.hint().starts_with("add seconds"), "{}", why.hint());
    let said = strictly("0 0/0 * * * ?");
    assert_eq!(said[0].to_string(), "minute: the step 0 at byte 4 is not between 1 and 59");
}

#[test]
fn offsets_count_bytes_of_the_text_as_given() {
    // The dotless i takes two bytes and becomes one letter.
    let why = parse("0 0 12 ? * fr\u{131},XXX").expect_err("not a weekday");
    assert_eq!(why.offset(), "0 0 12 ? * fr\u{131},".len());
}

#[test]
fn a_text_over_the_limit_is_refused_within_a_millisecond() {
    let spaces = " ".repeat(10_000);
    let commas = format!("0 {} * * * ?", ",".repeat(100_000));
    let megabyte = "0 0 0 * * ? ".repeat(90_000);
    for text in [spaces, commas, megabyte] {
        assert_eq!(parse(&text), Err(CronError::TooLong { bytes: text.len() }));
        assert!(fastest(|| parse(&text)) < Duration::from_millis(1));
    }
    let longest = format!("{:<256}", "0 0 12 * * ?");
    assert!(parse(&longest).is_ok());
    assert_eq!(parse(&format!("{longest} ")).map_err(|why| why.code()), Err("TOO_LONG"));
    let lists = format!("0 {}5 * * * ?", "5,".repeat(120));
    assert!(fastest(|| parse(&lists)) < Duration::from_millis(1));
}

/// Quartz loops forever on the last two of these.
#[test]
fn what_never_fires_is_found_out_within_a_millisecond() {
    let zones = ["UTC", "America/New_York"].map(|name| Zone::parse(name).expect("a zone"));
    let never = [
        "0 0 0 30 2 ?",
        "0 0 0 31 4,6,9,11 ?",
        "0 0 0 ? 2 2#5 2026-2027",
        "0 0 0 ? * 9#2",
        "* * * * * ? 1999",
        "59 59 23 31 11 ?",
        "0 0 0 31W 2 ?",
        "0 0 0 L-30 4 ?",
        "0 0 0 L-30W 2 ?",
    ];
    for zone in &zones {
        for policy in [DstPolicy::Quartz, DstPolicy::Sane] {
            for text in never {
                let cron = Cron::parse(text, zone, policy).expect(text);
                assert_eq!(cron.next_after(now()), None, "{text}");
                let took = fastest(|| cron.next_after(now()));
                assert!(took < Duration::from_millis(1), "{text} in {zone}: {took:?}");
            }
        }
    }
}

/// Java's clocks show no 02:30 on 2024-04-26, a Friday, in Cairo: Quartz goes in circles there.
#[test]
fn a_w_day_whose_fire_lies_in_a_gap_is_left_out() {
    let zone = Zone::parse("Africa/Cairo").expect("a zone");
    let cron = Cron::parse("0 30 0 26W * ?", &zone, DstPolicy::Quartz).expect("an expression");
    let after = "2024-04-01T00:00:00Z".parse().expect("an instant");
    let next = cron.next_after(after).map(|at| at.to_string());
    assert_eq!(next.as_deref(), Some("2024-05-26T21:30:00Z"));
}

#[test]
fn instants_far_from_our_time_have_no_fire_and_do_no_harm() {
    let zone = Zone::parse("Europe/Paris").expect("a zone");
    for policy in [DstPolicy::Quartz, DstPolicy::Sane] {
        let cron = Cron::parse("0 0 0 1 1 ?", &zone, policy).expect("an expression");
        for millis in [i64::MAX, i64::MAX - 1000, 20_000_000_000_000] {
            assert_eq!(cron.next_after(Timestamp::from_millis(millis)), None);
        }
        let first = cron.next_after(Timestamp::from_millis(i64::MIN));
        assert_eq!(first.map(|at| at.to_string()).as_deref(), Some("1969-12-31T23:00:00Z"));
    }
}
