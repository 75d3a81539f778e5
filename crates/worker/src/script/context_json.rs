//! The context as ElasticJob hands it to a script: the bytes that Gson writes.

use flockwork_core::config::JobConfig;
use flockwork_core::execution::{Fire, Part, Run, RunId, Source};
use flockwork_core::id::{Epoch, InstanceId, ShardIndex};
use flockwork_core::time::Timestamp;
use std::fmt::Write as _;
use std::sync::Arc;

/// One line of JSON: ElasticJob's fields in ElasticJob's order, members without a value left out,
/// and what is special in HTML escaped, as Gson does unless told otherwise.
#[must_use]
pub fn context_json(run: &Run) -> String {
    let mut json = String::from("{\"jobName\":");
    string(&mut json, run.job.as_str());
    json.push_str(",\"taskId\":");
    string(&mut json, &run.task_id());
    // Writing to a String cannot fail.
    let _ = write!(json, ",\"shardingTotalCount\":{}", run.shards);
    json.push_str(",\"jobParameter\":");
    string(&mut json, &run.job_parameter);
    let _ = write!(json, ",\"shardingItem\":{}", run.shard);
    if let Some(parameter) = &run.shard_parameter {
        json.push_str(",\"shardingParameter\":");
        string(&mut json, parameter);
    }
    json.push('}');
    json
}

/// An instance with a name as long as that of any on IPv4.
const LONG_INSTANCE: &str = "255.255.255.255@-@4194304-0123456789abcdef";

/// The context of that shard of a job whose context is the longest, and which shard that is: what fits
/// for this one fits for all.
///
/// # Panics
/// Never: the instance's name is a constant that is one.
#[must_use]
pub fn longest_context(job: &JobConfig) -> (ShardIndex, String) {
    let escaped = |text: &str| {
        let mut json = String::new();
        string(&mut json, text);
        json.len()
    };
    let longest = job.shard_parameters.iter().map(|(shard, text)| (escaped(text), *shard)).max();
    let shard = longest.map_or(job.shards.saturating_sub(1), |(_, shard)| shard);
    let run = Run {
        id: RunId(0),
        job: job.name.clone(),
        part: Part::Shard,
        shard,
        shards: job.shards,
        fire: Fire { due: Timestamp::from_millis(0), source: Source::Schedule },
        attempt: 1,
        epoch: Epoch(0),
        instance: InstanceId::new(LONG_INSTANCE).expect("a constant that is an instance's name"),
        shard_parameter: job.shard_parameters.get(&shard).cloned(),
        job_parameter: job.job_parameter.clone(),
        timeout: None,
        work: Arc::clone(&job.work),
    };
    (shard, context_json(&run))
}

fn string(json: &mut String, text: &str) {
    json.push('"');
    for character in text.chars() {
        match character {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\t' => json.push_str("\\t"),
            '\u{8}' => json.push_str("\\b"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\u{c}' => json.push_str("\\f"),
            '\0'..='\u{1f}' | '<' | '>' | '&' | '=' | '\'' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(json, "\\u{:04x}", u32::from(character));
            }
            _ => json.push(character),
        }
    }
    json.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::run_of;

    #[test]
    fn the_observed_bytes_of_elasticjob() {
        let mut run = run_of("s1");
        run.instance = flockwork_core::id::InstanceId::new("10.77.0.1@-@16389").unwrap();
        (run.shard, run.shards) = (0, 1);
        run.job_parameter = "a=b".to_owned();
        run.shard_parameter = Some("x".to_owned());
        assert_eq!(
            context_json(&run),
            r#"{"jobName":"s1","taskId":"s1@-@0@-@READY@-@10.77.0.1@-@16389","shardingTotalCount":1,"jobParameter":"a\u003db","shardingItem":0,"shardingParameter":"x"}"#
        );
    }

    #[test]
    fn a_missing_parameter_is_left_out_and_an_empty_one_is_not() {
        let mut run = run_of("s1");
        run.shard_parameter = None;
        run.job_parameter = String::new();
        let json = context_json(&run);
        assert!(!json.contains("shardingParameter") && json.contains(r#""jobParameter":"","#));
    }

    #[test]
    fn what_gson_escapes_is_escaped_and_nothing_else() {
        let cases = [
            ("<>&='", r"\u003c\u003e\u0026\u003d\u0027"),
            ("\"\\/\t\u{8}\n\r\u{c}", "\\\"\\\\/\\t\\b\\n\\r\\f"),
            ("\0\u{1f}\u{7f}", "\\u0000\\u001f\u{7f}"),
            ("中文😀é\u{2028}\u{2029}", "中文😀é\\u2028\\u2029"),
        ];
        for (text, expected) in cases {
            let mut json = String::new();
            string(&mut json, text);
            assert_eq!(json, format!("\"{expected}\""));
            let back: String = serde_json::from_str(&json).unwrap();
            assert_eq!(back, text);
        }
    }
}
