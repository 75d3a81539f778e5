//! Schedules and time.

use super::{Refused, Row, Taken, Warned};

pub(crate) fn rows() -> Vec<Row> {
    [fields(), meaning(), zones_and_durations()].into_iter().flatten().collect()
}

fn cron(expression: &str) -> String {
    format!("cron: \"{expression}\"")
}

/// Refused by Quartz, and so on both levels.
fn refused(row: Row, expressions: &[&str], code: &'static str) -> Row {
    expressions.iter().fold(row, |row, one| row.both(&cron(one), code, Refused(code)))
}

/// Taken by Quartz, refused by the strict level.
fn doubtful(row: Row, expressions: &[&str], code: &'static str) -> Row {
    expressions.iter().fold(row, |row, one| row.both(&cron(one), code, Warned(code)))
}

fn taken(row: Row, expressions: &[&str]) -> Row {
    expressions.iter().fold(row, |row, one| row.native(cron(one), Taken).elastic(cron(one), Taken))
}

fn fields() -> Vec<Row> {
    vec![
        doubtful(Row::new(18, "empty"), &["", "   "], "CRON_EMPTY")
            .native("disabled: false", Taken),
        doubtful(
            refused(Row::new(19, "4 or 8 fields"), &["* * * *", "x"], "CRON_FIELDS"),
            &["0 0 0 1 1 ? 2099 9"],
            "CRON_FIELDS",
        )
        .native(cron("* * * *"), Refused("CRON_FIELDS"))
        .telling("expected 6 or 7, got 4"),
        refused(Row::new(20, "5 fields, as Unix has them"), &["0 2 * * *"], "CRON_FIELDS")
            .telling("add seconds"),
        refused(
            Row::new(21, "outside the range"),
            &[
                "60 * * * * ?",
                "0 60 * * * ?",
                "0 0 24 * * ?",
                "0 0 0 32 * ?",
                "0 0 0 0 * ?",
                "0 0 0 1 13 ?",
                "0 0 0 ? * 8",
            ],
            "CRON_RANGE",
        )
        .telling("limit 1 to 7"),
        doubtful(Row::new(22, "step 0"), &["0 0/0 * * * ?", "0 */0 * * * ?"], "CRON_STEP"),
        taken(Row::new(23, "wrapped range"), &["0 59-1 * * * ?"]),
    ]
}

fn meaning() -> Vec<Row> {
    vec![
        doubtful(Row::new(24, "never fires"), &["0 0 0 30 2 ?", "0 0 0 31 4 ?"], "CRON_NEVER"),
        doubtful(Row::new(25, "year in the past"), &["0 0 0 1 1 ? 1999"], "CRON_NEVER"),
        taken(Row::new(26, "leap day"), &["0 0 0 29 2 ?"]),
        refused(
            Row::new(27, "both days, or none"),
            &["0 0 0 1 1 1", "0 0 0 ? * ?", "0 0 0 * * *"],
            "CRON_DOM_DOW",
        ),
        taken(Row::new(28, "Quartz steps"), &["0 0/5 14 * * ?"]),
        refused(
            taken(
                Row::new(29, "last, nearest, nth"),
                &["0 0 0 L * ?", "0 0 0 15W * ?", "0 0 0 ? * 2#1", "0 0 0 ? * 6L", "0 0 0 LW * ?"],
            ),
            &["0 0 0 ? * 2#6"],
            "CRON_RANGE",
        ),
        refused(
            taken(Row::new(30, "names"), &["0 0 0 ? * MON-FRI", "0 0 0 ? * mon", "0 0 0 1 jan ?"]),
            &["0 0 0 ? * LUN", "0 0 0 1 MAI ?"],
            "CRON_SYNTAX",
        ),
        Row::new(31, "long expressions")
            .native(cron(&format!("0 {} * * * ?", "1,".repeat(5_000))), Refused("TOO_LONG"))
            .elastic(cron(&format!("0 {} * * * ?", "1,".repeat(5_000))), Refused("TOO_LONG"))
            .native(cron(&"0".repeat(900_000)), Refused("TOO_LONG"))
            .telling("limit 256 bytes"),
        taken(Row::new(32, "every second"), &["* * * * * ?"])
            .not_yet("a quota of jobs belongs to an API"),
    ]
}

fn zones_and_durations() -> Vec<Row> {
    let zone = |name: &str| format!("{}\n    time_zone: {name}", cron("0 0 2 * * ?"));
    let java = |name: &str| format!("{}\ntimeZone: {name}", cron("0 0 2 * * ?"));
    let mut zones = Row::new(33, "unknown or ambiguous zones");
    for name in ["UTC+8", "Mars/Phobos", "CST", "EST"] {
        zones = zones
            .native(zone(name), Refused("TZ_UNKNOWN"))
            .elastic(java(name), Refused("TZ_UNKNOWN"));
    }
    zones = zones
        .native(zone("''"), Refused("TZ_UNKNOWN"))
        .elastic(java("''"), Taken)
        .elastic(java("GMT+25:00"), Warned("TZ_UNKNOWN"))
        .native(zone("CST"), Refused("TZ_UNKNOWN"))
        .telling("Asia/Shanghai");
    let mut durations = Row::new(35, "durations");
    for text in ["10", "-5s", "1e9s", "5 minutes", "∞", "5m5", "8d", "0s"] {
        durations = durations
            .native(format!("timeout: {text}"), Refused("DURATION"))
            .elastic(format!("props: {{flockwork.timeout: '{text}'}}"), Refused("DURATION"));
    }
    vec![
        zones,
        Row::new(34, "fires in a gap or overlap of clocks")
            .native(zone("America/New_York"), Taken)
            .native(format!("{}\n    dst: sane", cron("0 30 2 * * ?")), Taken),
        durations,
        Row::new(36, "an end before the start, or in the past")
            .native("at: 2020-01-01T00:00:00Z", Warned("RANGE_ORDER"))
            .native("at: 2020-13-01T00:00:00Z", Refused("TIMESTAMP"))
            .native("at: 2027-01-01T00:00:00", Refused("TIMESTAMP"))
            .not_yet("a job has no end; a single instant in the past is told, and not due again"),
        Row::new(37, "catching up")
            .native("catch_up: everything", Refused("VALUE_UNKNOWN"))
            .native("retry: {times: 101}", Refused("LIMIT"))
            .native("retry: {backoff: 2h}", Refused("DURATION"))
            .not_yet(
                "catching up has no window of its own: it is bounded to 1,000 fires, by design",
            ),
    ]
}
