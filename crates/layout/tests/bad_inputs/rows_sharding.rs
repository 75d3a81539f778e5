//! Sharding and parameters.

use super::{Refused, Row, Taken, Warned};

pub(crate) fn rows() -> Vec<Row> {
    [counts_and_parameters(), texts_and_strategies()].into_iter().flatten().collect()
}

/// The parameters of a job with three shards, in both forms.
fn parameters(row: Row, text: &str, code: &'static str, elastic: super::Expected) -> Row {
    row.native(format!("parameters: '{text}'"), Refused(code))
        .elastic(format!("shardingItemParameters: '{text}'"), elastic)
}

fn counts_and_parameters() -> Vec<Row> {
    let mut counts = Row::new(38, "how many shards");
    for (text, native, elastic) in [
        ("0", "SHARDS_RANGE", Refused("SHARDS_RANGE")),
        ("-1", "SHARDS_RANGE", Refused("SHARDS_RANGE")),
        ("100001", "SHARDS_RANGE", Refused("SHARDS_RANGE")),
        ("1000000000", "SHARDS_RANGE", Refused("SHARDS_RANGE")),
        ("1.5", "TYPE", Refused("TYPE")),
        ("'3'", "TYPE", Taken),
        (".nan", "TYPE", Refused("TYPE")),
        ("99999999999999999999", "TYPE", Refused("TYPE")),
    ] {
        counts = counts
            .on(super::Surface::File, format!("jobs:\n  a:\n    shards: {text}\n"), Refused(native))
            .elastic(format!("shardingTotalCount: {text}"), elastic);
    }
    let mut shapes = Row::new(40, "which shard");
    for text in ["a=b", "0", "=a", "0=a,,1=b", "0=", " "] {
        shapes = parameters(shapes, text, "PARAM_SYNTAX", Refused("PARAM_SYNTAX"));
    }
    shapes = parameters(shapes, "0=a,", "PARAM_SYNTAX", Warned("PARAM_SYNTAX"));
    for text in ["3=x", "-1=a"] {
        shapes =
            parameters(shapes, text, "PARAM_INDEX", Warned("PARAM_INDEX")).telling("limit 0 to 2");
    }
    vec![
        counts,
        parameters(
            Row::new(39, "a shard twice"),
            "0=a,0=b",
            "PARAM_DUPLICATE",
            Warned("PARAM_DUPLICATE"),
        )
        .native("parameters: {0: a, 0: b}", Refused("PARAM_DUPLICATE")),
        shapes.native("parameters: {x: a}", Refused("PARAM_INDEX")),
        parameters(
            Row::new(41, "a comma or = in a text"),
            "0=a=b",
            "PARAM_SYNTAX",
            Refused("PARAM_SYNTAX"),
        )
        .native("parameters: {0: 'a=b,c'}", Taken),
        Row::new(42, "fewer parameters than shards")
            .native("parameters: {1: b}", Taken)
            .elastic("shardingItemParameters: 1=b", Taken),
    ]
}

fn texts_and_strategies() -> Vec<Row> {
    let long = "x".repeat(131_072);
    vec![
        Row::new(43, "too long for a program")
            .native(format!("parameter: {long}"), Refused("PARAM_TOO_LONG"))
            .elastic(format!("jobParameter: {long}"), Warned("PARAM_TOO_LONG"))
            .native(format!("script: [./a.sh, {long}]"), Refused("PARAM_TOO_LONG"))
            .telling("limit 65536 bytes"),
        Row::new(44, "NUL")
            .native(r#"parameter: "a\0b""#, Refused("PARAM_CHAR"))
            .native(r#"parameters: {0: "a\0b"}"#, Refused("PARAM_CHAR"))
            .native(r#"script: ["a\0b"]"#, Refused("PARAM_CHAR"))
            .elastic(r#"jobParameter: "a\0b""#, Warned("PARAM_CHAR")),
        Row::new(45, "an unknown strategy")
            .native("strategy: averge", Refused("STRATEGY_UNKNOWN"))
            .telling("did you mean average?")
            .elastic("jobShardingStrategyType: AVERAGE_ALOCATION", Warned("STRATEGY_UNKNOWN"))
            .telling("did you mean AVG_ALLOCATION?")
            .elastic("jobShardingStrategyType: avg_allocation", Taken),
        Row::new(46, "a strategy's state names unknown instances").not_yet(
            "no input: strategies keep no state of their own, an assignment is replaced whole",
        ),
        Row::new(47, "more shards while running").not_yet(
            "no bad input: a changed count is in force from the next fire, tried with the plan",
        ),
        Row::new(48, "a disabled job is triggered")
            .not_yet("answered where triggers are taken, not where definitions are read"),
    ]
}
