//! Whatever the bytes are, reading them ends with a job or with a reason, never with a panic.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

use flockwork_core::id::JobName;
use flockwork_core::time::Timestamp;
use flockwork_layout::{document, file};
use proptest::prelude::*;
use proptest::sample::Index;

const DOCUMENT: &str = "\
cron: 0/5 * * * * ?
failover: true
jobExtraConfigurations:
- !!org.apache.shardingsphere.elasticjob.kernel.tracing.yaml.YamlTracingConfiguration
  type: RDB
jobListenerTypes: [a, &x 'b', *x]
jobName: job
jobParameter: \"\\x41\\n\"
misfire: yes
monitorExecution: true
props: {script.command.line: \"a 'b c'\", flockwork.retry.times: '3', flockwork.schema: 1}
shardingItemParameters: 0=a,1=b
shardingTotalCount: 0x3
timeZone: GMT+08:00
zUnknown: |
  text
";

const FILE: &str = "\
node: {max_running: 3, scripts: {allow: [./a.sh]}}
defaults: &d {shards: 2}
jobs:
  a: {<<: *d, cron: \"0/5 * * * * ?\", parameters: {0: x, 1: \"${A}\"}}
  b:
    format: elasticjob
    shardingTotalCount: 3
    jobExtraConfigurations: [!!a.B {c: d}]
";

fn read_both(bytes: &[u8]) -> Result<(), TestCaseError> {
    let now = Timestamp::from_millis(1_795_305_600_000);
    let name = JobName::new("job").unwrap();
    let reading =
        document::Reading { name: &name, implementation: "SCRIPT", default_zone: None, now };
    let checked = document::decode(bytes, reading);
    let explained = checked.problems.iter().any(flockwork_core::config::Problem::is_error);
    prop_assert_ne!(checked.config.is_some(), explained);
    if let Some(config) = checked.config {
        let written = document::encode(&config);
        let again = document::decode(written.as_bytes(), reading);
        prop_assert_eq!(again.config.as_ref(), Some(&config), "{}\n{:?}", written, again.problems);
    }
    let environment = &|name: &str| (name == "A").then(|| "1".to_owned());
    let file =
        file::read(bytes, file::Reading { source: "x", now, default_zone: None, environment });
    prop_assert!(!file.is_refused() || file.jobs.is_empty());
    prop_assert!(
        !file.report().chars().any(|c| c.is_control() && c != '\n'),
        "{:?}",
        file.report()
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        read_both(&bytes)?;
    }

    #[test]
    fn yaml_like_texts_are_read(text in "(jobs|node|jobName|props|a|\\$\\{A\\}|[-:?&*!|>%@`'\"{}\\[\\], \n#~<0-9x.=]){0,60}") {
        read_both(text.as_bytes())?;
    }

    #[test]
    fn truncated_and_changed_documents_are_read(
        is_file in any::<bool>(),
        cut in any::<Index>(),
        changes in proptest::collection::vec((any::<Index>(), any::<u8>()), 0..4),
    ) {
        let mut bytes = if is_file { FILE } else { DOCUMENT }.as_bytes().to_vec();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        bytes.truncate(cut.index(bytes.len() * 2).max(1));
        read_both(&bytes)?;
    }
}

#[test]
fn the_samples_are_sound() {
    read_both(DOCUMENT.as_bytes()).unwrap();
    read_both(FILE.as_bytes()).unwrap();
    for cut in 0..=DOCUMENT.len() {
        read_both(&DOCUMENT.as_bytes()[..cut]).unwrap();
    }
}

#[test]
fn a_megabyte_of_anything_is_read() {
    for byte in *b"x[-:\"|\n\xff\0#" {
        read_both(&vec![byte; 1 << 20]).unwrap();
    }
}

/// Found by the generated documents: a key is shown as the place of what is wrong with it.
#[test]
fn a_control_character_in_a_key_is_not_shown() {
    let text = "jobName: job\n\"f\\tilover\": true\nshardingTotalCount: 1\n";
    read_both(text.as_bytes()).unwrap();
    read_both(b"\"f\\tilover\": 1\nnode: {\"m\\tx\": 1}\n").unwrap();
    read_both(b"jobs:\n  \"a\\e[31m\": {shards: 1}\n").unwrap();
}
