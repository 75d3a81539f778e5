//! What reading cron expressions and finding their next fires costs, beside the crate `cron` and
//! the real Quartz.

use flockwork_core::schedule::{Cron, DstPolicy, Zone};
use flockwork_core::time::Timestamp;
use std::hint::black_box;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr as _;
use std::time::Instant;

/// 2026-01-01T00:00:00Z.
const START: i64 = 1_767_225_600_000;
/// 2100-01-01T00:00:00Z: walks from fire to fire start again there.
const END: i64 = 4_102_444_800_000;
/// Rounds are short and many, so that most of them pass without another process taking the core.
const STEPS: u32 = 500;
const ROUNDS: usize = 401;

/// Name, expression, and how many nanoseconds a next fire in UTC may take.
const NEXT: [(&str, &str, Option<u32>); 4] = [
    ("every_5s", "0/5 * * * * ?", Some(300)),
    ("last_friday", "0 15 10 ? * 6L", Some(2_000)),
    ("daily_noon", "0 0 12 * * ?", None),
    ("leap_day", "0 0 0 29 2 ?", None),
];

/// Prints the figures of cron expressions.
pub(crate) fn run(out: &mut dyn Write) -> io::Result<()> {
    for (name, expression, goal) in NEXT {
        let goal = goal.map_or_else(String::new, |goal| format!(" goal <= {goal}"));
        writeln!(out, "figure cron_next_{name} {:.0} ns{goal}", ours(expression, "UTC"))?;
    }
    for (name, expression, _) in NEXT {
        let took = ours(expression, "America/New_York");
        writeln!(out, "figure cron_next_{name}_new_york {took:.0} ns")?;
    }
    parsing(out)?;
    beside_the_crate(out)?;
    beside_quartz(out)
}

/// Nanoseconds a step, the median of rounds.
fn nanoseconds(mut round: impl FnMut()) -> f64 {
    (0..ROUNDS).for_each(|_| round());
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let began = Instant::now();
            round();
            began.elapsed().as_secs_f64() * 1e9 / f64::from(STEPS)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

fn ours(expression: &str, zone: &str) -> f64 {
    let zone = Zone::parse(zone).expect("a zone of the table");
    let cron = Cron::parse(expression, &zone, DstPolicy::Quartz).expect("one of the table");
    let start = Timestamp::from_millis(START);
    nanoseconds(|| {
        let mut after = start;
        for _ in 0..STEPS {
            let next = black_box(&cron).next_after(black_box(after)).unwrap_or(start);
            after = if next.as_millis() > END { start } else { next };
        }
        black_box(after);
    })
}

fn parsing(out: &mut dyn Write) -> io::Result<()> {
    let zone = Zone::utc();
    for (name, expression, _) in NEXT {
        let took = nanoseconds(|| {
            for _ in 0..STEPS {
                let cron = Cron::parse(black_box(expression), &zone, DstPolicy::Quartz);
                black_box(&cron);
            }
        });
        writeln!(out, "figure cron_parse_{name} {took:.0} ns")?;
    }
    million(out)
}

/// Definitions as a file holds them: the text is read, its zone looked up, the strict level asked
/// and the first fire computed.
fn million(out: &mut dyn Write) -> io::Result<()> {
    const DEFINITIONS: usize = 1_000_000;
    let zones = ["UTC", "Asia/Shanghai", "America/New_York", "Europe/Paris"];
    let texts: Vec<_> = (0..DEFINITIONS).map(|i| (definition(i), zones[i / 7 % 4])).collect();
    let now = Timestamp::from_millis(START);
    let before = resident();
    let began = Instant::now();
    let read: Vec<_> = texts
        .iter()
        .map(|(text, zone)| {
            let zone = Zone::parse(zone).expect("a zone of the list");
            let cron = Cron::parse(text, &zone, DstPolicy::Quartz).expect("a valid expression");
            assert!(cron.strict_objections(now).is_empty(), "{text}");
            let next = cron.next_after(now).expect("a fire");
            (cron, next)
        })
        .collect();
    let took = began.elapsed();
    let bytes = (resident() - before) as f64 / DEFINITIONS as f64;
    writeln!(out, "figure cron_million_definitions {:.2} s goal <= 4", took.as_secs_f64())?;
    writeln!(out, "figure cron_bytes_a_schedule {bytes:.0} bytes goal <= 300")?;
    drop(read);
    Ok(())
}

fn definition(i: usize) -> String {
    let (second, minute, hour) = (i % 60, i / 60 % 60, i / 3600 % 24);
    match i % 6 {
        0 => format!("{second} {minute} {hour} * * ?"),
        1 => format!("{second} {minute}/15 * * * ?"),
        2 => format!("{second} {minute} {hour} ? * MON-FRI"),
        3 => format!("{second} {minute} {hour} ? * {}L", i % 7 + 1),
        4 => format!("{second} {minute} {hour} L-{} * ?", i % 28),
        _ => format!("{second}/{} * * * * ?", i % 30 + 1),
    }
}

fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0_u64) * 4096
}

fn beside_the_crate(out: &mut dyn Write) -> io::Result<()> {
    for (name, expression, _) in NEXT {
        let Ok(schedule) = ::cron::Schedule::from_str(expression) else {
            writeln!(out, "the crate cron does not read {expression}")?;
            continue;
        };
        let start = chrono::DateTime::from_timestamp_millis(START).expect("in range");
        let took = nanoseconds(|| {
            let mut after = start;
            for _ in 0..STEPS {
                let next = black_box(&schedule).after(black_box(&after)).next().unwrap_or(start);
                after = if next.timestamp_millis() > END { start } else { next };
            }
            black_box(after);
        });
        writeln!(out, "figure crate_cron_next_{name} {took:.0} ns")?;
    }
    Ok(())
}

fn beside_quartz(out: &mut dyn Write) -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(PathBuf::from);
    let root = root.unwrap_or_default();
    let jars = root.join("target/oracles/quartz");
    if !jars.join("quartz-2.3.2.jar").is_file() {
        return writeln!(out, "Quartz is not measured: `cargo xtask setup` fetches it");
    }
    let mut oracle = Command::new("java")
        .arg("-cp")
        .arg(jars.join("*"))
        .arg(root.join("oracles/quartz/QuartzOracle.java"))
        .arg("--bench")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdin = oracle.stdin.take().ok_or_else(|| io::Error::other("no pipe"))?;
    for (name, expression, _) in NEXT {
        writeln!(stdin, "{name}\t{expression}")?;
    }
    drop(stdin);
    let output = oracle.wait_with_output()?;
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let (name, took) = line.split_once('\t').unwrap_or((line, "?"));
        writeln!(out, "figure quartz_next_{name} {took} ns")?;
    }
    Ok(())
}
