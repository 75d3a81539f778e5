//! Names and identifiers.

use super::surface::Surface::{Argument, ElasticFile, File, Instance, NativeName};
use super::{Refused, Row, Taken};

pub(crate) fn rows() -> Vec<Row> {
    [plain(), strange(), long_and_others()].into_iter().flatten().collect()
}

fn elastic(row: Row, name: &str, code: &'static str) -> Row {
    row.on(ElasticFile, format!("jobName: {name}\nshardingTotalCount: 1\n"), Refused(code))
}

/// A bad name is one on both levels: ElasticJob takes more of them, but they could not be told
/// apart, shown or stored on every registry.
fn bad(row: Row, names: &[&str], code: &'static str) -> Row {
    names
        .iter()
        .fold(row, |row, name| elastic(row.on(NativeName, *name, Refused(code)), name, code))
}

fn plain() -> Vec<Row> {
    vec![
        bad(Row::new(1, "empty name"), &["''", "'   '"], "NAME_EMPTY"),
        bad(Row::new(2, "slashes"), &["a/b", "/a", "a/"], "NAME_CHAR").telling("'/' at byte 1"),
        bad(Row::new(3, "paths"), &[".", ".."], "NAME_RESERVED").on(NativeName, "a..b", Taken),
        bad(Row::new(4, "the registry's own"), &["zookeeper"], "NAME_RESERVED"),
        bad(
            Row::new(5, "control characters"),
            &[
                r#""a\0b""#,
                r#""a\tb""#,
                r#""a\nb""#,
                r#""\x01""#,
                r#""\x1f""#,
                r#""\x7f""#,
                r#""a\x85b""#,
            ],
            "NAME_CHAR",
        ),
        bad(Row::new(6, "surrogate pairs in Java"), &["emoji😀"], "NAME_CHAR").telling("at byte 5"),
        bad(
            Row::new(7, "private and special use"),
            &[r#""\uFFF0""#, r#""\uE000""#, r#""\uF8FF""#],
            "NAME_CHAR",
        ),
        Row::new(8, "Chinese").all(NativeName, &["中文作业"], Taken),
    ]
}

fn strange() -> Vec<Row> {
    vec![
        Row::new(9, "composed and decomposed")
            .on(File, "jobs:\n  caf\u{e9}: {}\n  cafe\u{301}: {}\n", Refused("NAME_CONFUSABLE"))
            .on(NativeName, "cafe\u{301}", Taken),
        bad(
            Row::new(10, "direction marks, zero width"),
            &[r#""a\u202Eb""#, r#""a\u200Bb""#],
            "NAME_CHAR",
        )
        .hiding("\u{202e}"),
        bad(Row::new(11, "case and full width"), &["ａ"], "NAME_CHAR").on(
            File,
            "jobs:\n  A: {}\n  a: {}\n",
            Taken,
        ),
    ]
}

fn long_and_others() -> Vec<Row> {
    let long = |length: usize| format!("\"{}\"", "x".repeat(length));
    vec![
        bad(
            Row::new(12, "long names"),
            &[&long(129), &long(1000), &long(100_000)],
            "NAME_TOO_LONG",
        )
        .telling("limit 128 bytes"),
        Row::new(13, "an argument that is no text")
            .on(Argument, "\u{ff}", Refused("ARG_NOT_UTF8"))
            .telling("\\xff"),
        Row::new(14, "percent-encoded names in a URL")
            .not_yet("there is no API that takes names in URLs"),
        Row::new(15, "a deleted job's name used again").not_yet(
            "no input by itself: claims carry epochs of the registry, tried in the simulation",
        ),
        Row::new(16, "instance ids").all(
            Instance,
            &["@-@", "a@-@b@-@c", "", "a@-@", "@-@b", "a/b@-@c"],
            Refused("nothing was said"),
        ),
        Row::new(17, "one name begins with another").on(
            File,
            "jobs:\n  job: {}\n  job1: {}\n",
            Taken,
        ),
    ]
}
