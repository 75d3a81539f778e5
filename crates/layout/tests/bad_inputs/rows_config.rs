//! Configuration files and the settings of a node.

use super::surface::Surface::{Bytes, ElasticFile, File, Flag};
use super::{Refused, Row, Taken, Warned};

pub(crate) fn rows() -> Vec<Row> {
    [documents(), hostile(), addresses()].into_iter().flatten().collect()
}

const JOB: &str = "jobs:\n  a: {}\n";

fn documents() -> Vec<Row> {
    vec![
        Row::new(49, "files that are no text")
            .all(File, &["", "\n", "# only words\n"], Warned("REQUIRED"))
            .on(File, format!("\u{feff}{JOB}"), Taken)
            .on(File, JOB.replace('\n', "\r\n"), Taken)
            .on(Bytes, "\u{ff}\u{fe}j\0o\0b\0", Refused("CONFIG_READ"))
            .telling("not UTF-8 at byte 0")
            .not_yet(
                "a missing or unreadable path is told by the program, as settings::unreadable says",
            ),
        Row::new(50, "an unknown key")
            .native("shardingTotlaCount: 3", Refused("UNKNOWN_KEY"))
            .native("shrads: 3", Refused("UNKNOWN_KEY"))
            .telling("did you mean shards?")
            .elastic("shardingTotlaCount: 3\nshardingTotalCount: 3", Warned("UNKNOWN_KEY"))
            .telling("did you mean shardingTotalCount?")
            .on(File, format!("node: {{max_runing: 3}}\n{JOB}"), Refused("UNKNOWN_KEY"))
            .telling("did you mean max_running?")
            .on(File, format!("job: 1\n{JOB}"), Refused("UNKNOWN_KEY"))
            .telling("did you mean jobs?"),
        Row::new(51, "a key twice")
            .native("misfire: true\n    misfire: false", Refused("DUPLICATE_KEY"))
            .telling("at 4:5 and at 5:5")
            .elastic("misfire: true\nmisfire: false", Warned("DUPLICATE_KEY"))
            .on(File, "jobs:\n  a: {}\n  a: {}\n", Refused("DUPLICATE_KEY"))
            .on(File, "jobs: {}\njobs: {}\n", Refused("DUPLICATE_KEY")),
        surprises(),
    ]
}

fn surprises() -> Row {
    let row = Row::new(52, "YAML surprises");
    let row = ["no", "on", "08:30", "1_000", "0x10", "010", "'~'", "2026-01-01"]
        .iter()
        .fold(row, |row, text| row.native(format!("parameter: {text}"), Taken));
    let row = ["~", "null", ""]
        .iter()
        .fold(row, |row, text| row.native(format!("parameter: {text}"), Refused("TYPE")));
    let row = ["no", "on", "yes", "'true'", "1", "[]"]
        .iter()
        .fold(row, |row, text| row.native(format!("misfire: {text}"), Refused("TYPE")));
    let row = ["1_0", "0x10", "010", "1e1", "no", "{}"]
        .iter()
        .fold(row, |row, text| row.native(format!("retry: {{times: {text}}}"), Refused("TYPE")));
    row.elastic("misfire: no\nfailover: on", Taken)
        .elastic("shardingTotalCount: 0x10", Taken)
        .elastic("misfire: maybe", Refused("TYPE"))
        .elastic("label: ~", Taken)
}

fn bomb() -> String {
    let mut text = "jobs: {}\na0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..30 {
        let list = vec![format!("*a{}", level - 1); 9].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{list}]\n"));
    }
    text
}

fn hostile() -> Vec<Row> {
    let limit = Refused("CONFIG_LIMIT");
    vec![
        Row::new(53, "bombs")
            .on(File, bomb(), limit)
            .on(ElasticFile, format!("jobName: a\n{}", bomb().replace("jobs: {}\n", "")), limit)
            .on(File, "jobs: &a\n  x: *a\n", limit)
            .on(File, "[".repeat(10_000), limit)
            .on(File, "{a: ".repeat(10_000), limit)
            .on(File, format!("jobs: {}", "- ".repeat(10_000)), Refused("CONFIG_SYNTAX"))
            .on(File, "x".repeat(100 << 20), limit)
            .telling("limit 1048576 bytes"),
        Row::new(54, "tags of programming languages")
            .native("parameter: !!java.lang.String x", Refused("TAG_FORBIDDEN"))
            .native("parameter: !!python/object:os.system x", Refused("TAG_FORBIDDEN"))
            .native("retry: !!java.util.Map {times: 1}", Refused("TAG_FORBIDDEN"))
            .native("parameter: !local x", Refused("TAG_FORBIDDEN"))
            .native("parameter: !!str 5", Taken)
            .elastic("label: !!javax.script.ScriptEngineManager x", Refused("TAG_FORBIDDEN"))
            .elastic(
                "jobExtraConfigurations: [!!org.apache.shardingsphere.elasticjob.X {a: b}]",
                Taken,
            ),
        Row::new(55, "environment variables")
            .native("parameter: ${UNSET_VAR}", Refused("ENV_MISSING"))
            .telling("UNSET_VAR")
            .native("parameter: '${OTHER} ${UNSET_VAR}'", Refused("ENV_MISSING"))
            .native("timeout: ${OTHER}", Refused("DURATION"))
            .native("parameter: ${NESTED}", Taken)
            .hiding("hunter2"),
        Row::new(56, "a secret where it can be read")
            .on(Flag, "registry=zookeeper://admin:hunter2@a:2181", Refused("SECRET_LITERAL"))
            .on(
                File,
                format!("node: {{registry: 'zookeeper://admin:hunter2@a:2181'}}\n{JOB}"),
                Refused("SECRET_LITERAL"),
            )
            .hiding("hunter2"),
        Row::new(57, "a file with a secret that all can read")
            .on(Flag, "registry-key-file=-----BEGIN PRIVATE KEY-----hunter2", Refused("SECRET_LITERAL"))
            .hiding("hunter2")
            .not_yet("a key or login file that others may read is refused when it is opened: papers_that_are_none_are_refused_at_once_by_their_name of the command"),
    ]
}

fn addresses() -> Vec<Row> {
    vec![
        Row::new(58, "ports")
            .on(Flag, "listen=127.0.0.1:0", Taken)
            .all(Flag, &["listen=127.0.0.1:-1", "listen=127.0.0.1:65536", "listen=127.0.0.1:80a"], Refused("PORT_RANGE"))
            .all(Flag, &["listen=0.0.0.0:8087", "listen=8087"], Refused("LISTEN_ADDR"))
            .not_yet("a port in use, or one that needs privileges, is told when it is bound"),
        Row::new(59, "registry addresses")
            .all(
                Flag,
                &[
                    "registry=localhost:2181/ns/../x", "registry=zk://", "registry=zookeeper://",
                    "registry=zookeeper://a:2181,a:2181", "registry=zookeeper://a:2181, b:2181",
                    "registry=zookeeper://a:2181:2181", "registry=zookeeper://::1:2181", "registry=",
                ],
                Refused("REGISTRY_ADDR"),
            )
            .telling("write memory:, embedded:DIR"),
        Row::new(60, "session time-outs")
            .all(Flag, &["session-timeout=10ms", "session-timeout=10d", "session-timeout=30"], Refused("DURATION"))
            .not_yet("what a server makes of it is told by the node that hears of it: a_session_time_out_that_the_server_cut_is_told_with_both_numbers of the command"),
        Row::new(61, "namespaces")
            .all(Flag, &["namespace=", "namespace=/", "namespace=a//b", "namespace=a/../b", "namespace=/a"], Refused("NAMESPACE"))
            .on(Flag, "namespace=a/b", Taken),
        Row::new(62, "contradictions")
            .native("failover: true\n    monitor_execution: false", Refused("CONFLICT"))
            .telling("failover: true and monitor_execution: false")
            .elastic("failover: true\nlabel: x", Taken)
            .native("overlap: skip\n    catch_up: all", Refused("CONFLICT"))
            .telling("overlap: skip")
            .native("cron: '0 0 0 * * ?'\n    every: 5s", Refused("CONFLICT"))
            .telling("cron and every")
            .on(File, "jobName: a\nshardingTotalCount: 1\nfailover: true\n", Warned("CONFLICT"))
            .telling("monitorExecution")
            .on(File, format!("node: {{scripts: {{allow: []}}}}\n{JOB}"), Refused("CONFLICT"))
            .telling("scripts.allow"),
        Row::new(63, "data directories")
            .not_yet("told by the embedded registry when it opens the directory"),
        Row::new(64, "two sources disagree")
            .on(File, format!("node: {{max_running: 3, drain_timeout: 1s}}\n{JOB}"), Taken)
            .not_yet("which source won is in Resolved::origins, tried there; the program prints it"),
    ]
}
