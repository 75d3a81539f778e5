//! Generated expressions, asked of us and of the real Quartz 2.3.2, must be refused by both or
//! fire at the same instants. Quartz is asked from three hours before each start, one fire after the other,
//! as its triggers ask; we are asked from the start.
//!
//! `FLOCKWORK_CRON_CASES` says how many expressions (2,000 if unset), `FLOCKWORK_CRON_SEED` from
//! which seed. The oracle is `oracles/quartz/QuartzOracle.java`; without it the test fails.

#[path = "schedule_differential/expressions.rs"]
mod expressions;
#[path = "schedule_differential/oracle.rs"]
mod oracle;
#[path = "schedule_differential/rng.rs"]
mod rng;

use expressions::expression;
use flockwork_core::schedule::{Cron, DstPolicy, Zone};
use flockwork_core::time::Timestamp;
use oracle::ask;
use rng::Rng;
use std::collections::BTreeMap;

const ZONES: [&str; 4] = ["UTC", "America/New_York", "Australia/Lord_Howe", "Asia/Beirut"];
/// Its clocks are put forward by two hours, so that Quartz's way out of a gap shows.
const LONG_GAP: &str = "Antarctica/Troll";
const FIRES: usize = 8;
const DAY: i64 = 86_400;
/// 2015-01-01T00:00:00Z and 2030-01-01T00:00:00Z: starts lie between them.
const STARTS: (i64, i64) = (1_420_070_400, 1_893_456_000);
/// 2150-01-01T00:00:00Z: how far clock changes are compared.
const LAST_CHANGE: i64 = 5_680_281_600;

struct Question {
    zone: &'static str,
    start: i64,
    expression: String,
}

impl Question {
    fn line(&self) -> String {
        let escaped = self.expression.replace('\t', "\\t").replace('\n', "\\n");
        format!("{}\t{}\t{escaped}", self.zone, self.start)
    }
}

/// Our answer in the oracle's words.
fn ours(question: &Question, last_year: i32) -> String {
    let zone = Zone::parse(question.zone).expect("a zone of the test");
    let Ok(cron) = Cron::parse(&question.expression, &zone, DstPolicy::Quartz) else {
        return "invalid".to_owned();
    };
    let mut after = Some(Timestamp::from_millis(question.start * 1000));
    let fires = (0..FIRES).map(|_| {
        after = after.and_then(|after| cron.next_within(after, last_year));
        after.map_or_else(|| "none".to_owned(), |at| (at.as_millis() / 1000).to_string())
    });
    fires.collect::<Vec<_>>().join(" ")
}

/// `instant:offset` of each change of clocks between the first start and the last.
fn our_changes(zone: &str) -> String {
    let zone = jiff::tz::TimeZoneDatabase::bundled().get(zone).expect("a zone of the test");
    let from = jiff::Timestamp::from_second(STARTS.0).expect("a start");
    let changes =
        zone.following(from).take_while(|change| change.timestamp().as_second() < LAST_CHANGE);
    let mut offset = zone.to_offset(from);
    let mut shown = Vec::new();
    for change in
        changes.filter(|change| std::mem::replace(&mut offset, change.offset()) != change.offset())
    {
        shown.push(format!("{}:{}", change.timestamp().as_second(), change.offset().seconds()));
    }
    shown.join(" ")
}

/// Zones by their changes, as instants. Java's and ours must agree, or a difference in fires would
/// only tell that one of the two databases is older.
fn changes() -> BTreeMap<&'static str, Vec<i64>> {
    let zones = ZONES.iter().chain([&LONG_GAP]);
    let questions = zones.clone().map(|zone| format!("{zone}\t{}\t{LAST_CHANGE}", STARTS.0));
    let answers = ask("--transitions", &questions.collect::<Vec<_>>());
    let by_zone = zones.zip(answers).map(|(zone, javas)| {
        let ours = our_changes(zone);
        assert_eq!(
            ours, javas,
            "{zone}: this Java's time zone data differ from ours: update the JDK"
        );
        let instant = |change: &str| change.split_once(':')?.0.parse().ok();
        (*zone, ours.split_whitespace().filter_map(instant).collect())
    });
    by_zone.collect()
}

fn starts(rng: &mut Rng, changes: &[i64]) -> [i64; 2] {
    let any = |rng: &mut Rng| rng.between(STARTS.0, STARTS.1);
    let near: Vec<_> = changes.iter().filter(|change| **change < STARTS.1).collect();
    if near.is_empty() {
        return [any(rng), any(rng)];
    }
    let change = **rng.pick(&near);
    [any(rng), change + rng.between(-2 * DAY, 2 * DAY)]
}

fn questions(cases: usize, seed: u64) -> Vec<Question> {
    let changes = changes();
    let mut rng = Rng(seed);
    let mut questions = Vec::new();
    for case in 0..cases {
        let expression = expression(&mut rng, case % 5 == 4);
        let zone = *rng.pick(&ZONES);
        for start in starts(&mut rng, &changes[zone]) {
            questions.push(Question { zone, start, expression: expression.clone() });
        }
    }
    questions
}

#[derive(Default, Debug)]
struct Tally {
    equal: usize,
    refused: usize,
    broken: usize,
    later: usize,
    hanging: Vec<String>,
    different: Vec<String>,
}

impl Tally {
    fn count(&mut self, question: &Question, theirs: &str, ours: &str, last_year: i32) {
        match theirs {
            // Quartz accepts the expression and then fails or loops on it: there is no fire to
            // compare. What it fails on we refuse.
            "hangs" => self.hanging.push(question.line()),
            "broken" if ours == "invalid" => self.broken += 1,
            _ if theirs == ours && ours == "invalid" => self.refused += 1,
            "invalid" if steps_begin_after(&question.expression, last_year) => self.later += 1,
            _ if theirs == ours => self.equal += 1,
            _ => self.different.push(format!(
                "{:?} in {} after {}\n  ours   {ours}\n  quartz {theirs}",
                question.expression, question.zone, question.start
            )),
        }
    }
}

/// Whether the years have an item `2214/8` that starts after the last year in which Quartz fires: it
/// refuses it until that year comes into reach, which we, without a clock, do not.
fn steps_begin_after(expression: &str, last_year: i32) -> bool {
    let years = expression.split_whitespace().nth(6).unwrap_or_default();
    let starts = years.split(',').filter_map(|item| item.split_once('/')?.0.parse::<i32>().ok());
    starts.into_iter().any(|start| start > last_year)
}

fn compare(questions: &[Question]) -> Tally {
    let lines: Vec<_> = questions.iter().map(Question::line).collect();
    let mut answers = ask("--fires", &lines).into_iter();
    let last_year = answers.next().and_then(|year| year.parse().ok()).expect("the last year");
    let mut tally = Tally::default();
    for question in questions {
        let theirs = answers.next().expect("an answer to each question");
        tally.count(question, &theirs, &ours(question, last_year), last_year);
    }
    tally
}

fn from_environment<T: std::str::FromStr>(name: &str, default: T) -> T {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")),
        Err(_) => default,
    }
}

#[test]
fn generated_expressions_fire_as_in_quartz() {
    let cases = from_environment("FLOCKWORK_CRON_CASES", 2_000);
    let seed = from_environment("FLOCKWORK_CRON_SEED", 20_260_101);
    let tally = compare(&questions(cases, seed));
    println!("hanging in Quartz: {:?}", tally.hanging);
    println!(
        "seed {seed}: {} questions equal, {} refused by both, {} refused until the year comes into reach, \
         {} broken and {} hanging in Quartz, {} different",
        tally.equal,
        tally.refused,
        tally.later,
        tally.broken,
        tally.hanging.len(),
        tally.different.len()
    );
    let shown = tally.different.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(tally.different.is_empty(), "{} differ:\n{shown}", tally.different.len());
    // Otherwise the generator has lost its bite.
    assert!(tally.equal >= cases, "only {} fired", tally.equal);
    assert!(tally.refused >= cases / 5, "only {} were refused", tally.refused);
    assert!(tally.hanging.len() <= cases / 100, "not compared: {:?}", tally.hanging);
}

/// Forms whose meaning only Quartz itself could say, each from starts around clock changes.
#[test]
fn curious_expressions_fire_as_in_quartz() {
    let changes = changes();
    let mut questions = Vec::new();
    for expression in expressions::CURIOUS {
        for zone in ZONES.into_iter().chain([LONG_GAP]) {
            let near = changes[zone].first().copied().unwrap_or(STARTS.0);
            for start in [STARTS.0, near - DAY, near, near + 30 * DAY] {
                questions.push(Question { zone, start, expression: (*expression).to_owned() });
            }
        }
    }
    let tally = compare(&questions);
    assert!(tally.different.is_empty(), "{}", tally.different.join("\n"));
    assert_eq!(tally.hanging, Vec::<String>::new());
}

#[test]
fn gmt_offsets_are_read_as_java_reads_them() {
    let names = [
        "GMT",
        "GMT0",
        "GMT+0",
        "GMT-0",
        "GMT+8",
        "GMT+08",
        "GMT+08:00",
        "GMT+8:00",
        "GMT-8:30",
        "GMT+800",
        "GMT+0800",
        "GMT-0330",
        "GMT+00800",
        "GMT+23:59",
        "GMT+24:00",
        "GMT+2400",
        "GMT+08:60",
        "GMT+08:0",
        "GMT+08:000",
        "GMT+008:00",
        "GMT+:30",
        "GMT+",
        "GMT8",
        "GMTX",
        "GMT +8",
        "GMT+8 ",
        "GMT+8:00:00",
        "GMT+-8",
        "GMT+99999999999",
        "GMT+08:+1",
    ];
    let theirs = ask("--zones", &names.map(str::to_owned));
    let noon = "0 0 12 1 1 ?";
    for (name, offset) in names.into_iter().zip(theirs) {
        let zone = Zone::parse_elasticjob(name).expect("starts with GMT");
        let cron = Cron::parse(noon, &zone, DstPolicy::Quartz).expect("an expression");
        let after = Timestamp::from_millis(STARTS.0 * 1000 - 2 * DAY * 1000);
        let fire = cron.next_after(after).expect("a fire in January").as_millis() / 1000;
        assert_eq!((STARTS.0 + DAY / 2 - fire).to_string(), offset, "{name}");
    }
}
