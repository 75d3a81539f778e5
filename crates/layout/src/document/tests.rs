use super::*;
use flockwork_core::config::{JobConfig, Severity, Strategy};
use flockwork_core::execution::Work;
use flockwork_core::schedule::Schedule;

/// What ElasticJob 3.0.5 writes for a job with everything set.
const FULL: &str = "\
cron: 0/5 * * * * ?
description: ''
disabled: false
failover: true
jobErrorHandlerType: LOG
jobExecutorThreadPoolSizeProviderType: CPU
jobExtraConfigurations:
- !!org.apache.shardingsphere.elasticjob.kernel.tracing.yaml.YamlTracingConfiguration
  tracingStorageConfiguration: !!org.apache.shardingsphere.elasticjob.tracing.rdb.yaml.YamlDataSourceConfiguration
    dataSourceClassName: com.zaxxer.hikari.HikariDataSource
    props: {username: sa, maximumPoolSize: '10'}
  type: RDB
jobListenerTypes:
- simple
jobName: settle
jobParameter: ''
jobShardingStrategyType: ODEVITY
label: night
maxTimeDiffSeconds: -1
misfire: true
monitorExecution: true
overwrite: false
props:
  script.command.line: /bin/echo hello
  email.port: '25'
reconcileIntervalMinutes: 10
shardingItemParameters: 0=a,1=b
shardingTotalCount: 3
staticSharding: false
timeZone: GMT+08:00
";

fn reading(name: &JobName) -> Reading<'_> {
    let now = Timestamp::from_millis(1_795_305_600_000);
    Reading { name, implementation: "SCRIPT", default_zone: None, now }
}

fn read_as(text: &str) -> Checked {
    decode(text.as_bytes(), reading(&JobName::new("settle").unwrap()))
}

fn job(text: &str) -> JobConfig {
    let checked = read_as(text);
    checked.config.unwrap_or_else(|| panic!("{:?}", checked.problems))
}

#[test]
fn a_document_of_elasticjob_is_read_and_written_back() {
    let config = job(FULL);
    assert_eq!(read_as(FULL).problems, []);
    assert_eq!((config.shards, config.failover, config.strategy), (3, true, Strategy::Parity));
    assert_eq!(config.kept.props.get("email.port").map(String::as_str), Some("25"));
    let Work::Script(script) = config.work.as_ref() else { panic!() };
    assert_eq!(script.argv, ["/bin/echo", "hello"]);
    let Schedule::Cron(cron) = &config.schedule else { panic!() };
    assert_eq!((cron.expression(), cron.zone().name()), ("0/5 * * * * ?", "GMT+08:00"));
    // Java writes the properties in the order of their hashes, and quotes with single quotes.
    let sorted = FULL.replace(
        "  script.command.line: /bin/echo hello\n  email.port: '25'\n",
        "  email.port: '25'\n  script.command.line: /bin/echo hello\n",
    );
    let sorted = sorted.replace("''", "\"\"").replace("'25'", "\"25\"");
    assert_eq!(encode(&config), sorted);
    assert_eq!(job(&encode(&config)), config);
}

#[test]
fn the_smallest_document_has_all_primitives_and_nothing_empty() {
    let text = "jobName: settle\nshardingTotalCount: 1\nprops: {script.command.line: a}\n";
    assert_eq!(
        encode(&job(text)),
        "description: \"\"\ndisabled: false\nfailover: false\njobName: settle\njobParameter: \"\"\n\
         jobShardingStrategyType: AVG_ALLOCATION\nmaxTimeDiffSeconds: -1\nmisfire: false\n\
         monitorExecution: false\noverwrite: false\nprops:\n  script.command.line: a\n\
         reconcileIntervalMinutes: 0\nshardingItemParameters: \"\"\nshardingTotalCount: 1\n\
         staticSharding: false\n"
    );
}

#[test]
fn tracing_is_kept_byte_by_byte_with_its_tags() {
    let kept = job(FULL).kept.extra_configurations.unwrap();
    assert!(FULL.contains(&format!("jobExtraConfigurations:{kept}\n")), "{kept}");
    // Between brackets it is written anew, on one line.
    let flow = "{jobName: settle, shardingTotalCount: 1, props: {script.command.line: a}, \
                jobExtraConfigurations: [!!org.Acme {a: 'b', c: 1, d: \"x: y\"}]}";
    let config = job(flow);
    let kept = config.kept.extra_configurations.clone().unwrap();
    assert_eq!(kept, " [!!org.Acme {a: \"b\", c: 1, d: \"x: y\"}]");
    assert_eq!(job(&encode(&config)), config);
}

#[test]
fn what_names_anchors_elsewhere_is_written_anew() {
    let text = format!("{FULL}later: &x {{a: 1}}\nmuch_later: *x\n");
    let config = job(&text);
    assert_eq!(config.kept.unknown["much_later"], " {a: 1}");
    assert_eq!(job(&encode(&config)), config);
}

#[test]
fn keys_of_a_newer_release_are_kept_and_told() {
    let text = format!("{FULL}zNewKey:\n  a: [1, two]\n");
    let checked = read_as(&text);
    let problem = &checked.problems[0];
    assert_eq!((problem.code, problem.severity), (Code::UnknownKey, Severity::Warning));
    assert_eq!(problem.position.map(|p| p.line), u32::try_from(FULL.lines().count() + 1).ok());
    let written = encode(&checked.config.unwrap());
    assert!(written.ends_with("zNewKey:\n  a: [1, two]\n"), "{written}");
}

#[test]
fn older_documents_are_read_by_their_own_keys() {
    let text =
        FULL.replace("jobExecutorThreadPoolSizeProviderType", "jobExecutorServiceHandlerType");
    let config = job(&text);
    let written = encode(&config);
    assert!(written.contains("jobExecutorServiceHandlerType: CPU\n"), "{written}");
    assert!(!written.contains("jobExecutorThreadPoolSizeProviderType"));
}

#[test]
fn empty_texts_are_absent_ones() {
    let text = FULL
        .replace("cron: 0/5 * * * * ?", "cron: ''")
        .replace("label: night", "label: ''")
        .replace("timeZone: GMT+08:00", "timeZone: ''");
    let config = job(&text);
    assert_eq!((config.schedule, config.label), (Schedule::OnTrigger, None));
}

#[test]
fn yaml_1_1_means_what_java_makes_of_it() {
    let text = "jobName: settle\nshardingTotalCount: '0x10'\nmisfire: yes\nfailover: Off\n\
                monitorExecution: on\nprops: {script.command.line: a, n: 010, b: yes, s: '010'}\n";
    let config = job(text);
    assert_eq!((config.shards, config.misfire, config.failover), (16, true, false));
    assert_eq!((config.kept.props["n"].as_str(), config.kept.props["b"].as_str()), ("8", "true"));
    assert_eq!(config.kept.props["s"], "010");
    assert!(encode(&config).contains("s: \"010\""));
}

#[test]
fn a_newer_schema_refuses_its_job_alone() {
    let text =
        FULL.replace("  email.port: '25'\n", "  flockwork.schema: '99'\n  flockwork.warp: '9'\n");
    let checked = read_as(&text);
    assert!(checked.config.is_none());
    let [problem] = checked.problems.as_slice() else { panic!("{:?}", checked.problems) };
    assert_eq!(problem.code, Code::UnsupportedSchema);
    assert_eq!(problem.hint.as_deref(), Some("upgrade this node"));
}

#[test]
fn a_definition_of_another_job_is_refused() {
    let checked = read_as(&FULL.replace("jobName: settle", "jobName: other"));
    assert!(checked.config.is_none());
    assert_eq!(
        (checked.problems[0].code, checked.problems[0].place.as_str()),
        (Code::Conflict, "jobName")
    );
}

#[test]
fn what_is_no_definition_says_why() {
    for (bytes, code) in [
        (&b""[..], Code::Required),
        (b"  \n", Code::Required),
        (b"null", Code::Required),
        (b"[]", Code::Type),
        (b"\"x\"", Code::Type),
        (b"jobName: [", Code::ConfigSyntax),
        (b"\xff\xfe", Code::ConfigRead),
        (b"\x1f\x8b\x08", Code::ConfigRead),
        (b"jobName: !!java.lang.String x", Code::TagForbidden),
        (b"shardingTotalCount: 1.5", Code::Type),
        (b"misfire: maybe", Code::Type),
        (b"props: [a]", Code::Type),
    ] {
        let checked = decode(bytes, reading(&JobName::new("settle").unwrap()));
        assert!(checked.config.is_none());
        assert_eq!(checked.problems[0].code, code, "{:?}", String::from_utf8_lossy(bytes));
    }
}
