//! What is written as an ElasticJob document reads back as the same job, whatever the job is.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

mod surprises;

use flockwork_core::config::{
    Amount, Draft, JobConfig, Level, ListenerDraft, Parameters, RetryDraft, check, field,
};
use flockwork_core::time::Timestamp;
use flockwork_layout::document::{Reading, decode, encode};
use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

const NOW: Timestamp = Timestamp::from_millis(1_795_305_600_000);

/// Texts that YAML could take for something else, and any other.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        select(surprises::SURPRISES).prop_map(str::to_owned),
        "\\PC{0,40}",
        any::<String>(),
        "x{70,200}( y{1,50}){0,5}"
    ]
}

/// Texts that a program takes as an argument.
fn argument() -> impl Strategy<Value = String> {
    text().prop_map(|text| text.replace('\0', "0"))
}

fn word(words: &'static [&'static str]) -> impl Strategy<Value = Option<String>> {
    of(select(words).prop_map(str::to_owned))
}

fn duration() -> impl Strategy<Value = Option<String>> {
    of((1_u64..3_600_000).prop_map(|millis| format!("{millis}ms")))
}

fn schedule() -> impl Strategy<Value = Draft> {
    let crons = vec![
        "0/5 * * * * ?",
        "*/10 * * * * ?",
        "0 0 0 L * ?",
        "0 0 0 30 2 ?",
        "0 0 12 ? * MON-FRI 2030",
    ];
    let zones = vec!["UTC", "GMT", "GMT+8", "GMT-03:30", "Asia/Shanghai", "Australia/Lord_Howe"];
    let cron =
        (select(crons), of(select(zones)), word(field::DST_WORDS)).prop_map(|(cron, zone, dst)| {
            Draft {
                cron: Some(cron.to_owned()),
                time_zone: zone.map(str::to_owned),
                dst,
                ..Draft::default()
            }
        });
    let every = (10_u64..31_622_400_000, of(-1_000_000_000_000_i64..4_000_000_000_000)).prop_map(
        |(every, anchor)| Draft {
            every: Some(format!("{every}ms")),
            anchor: anchor.map(|millis| Timestamp::from_millis(millis).to_string()),
            ..Draft::default()
        },
    );
    let at = (0_i64..4_000_000_000_000).prop_map(|millis| Draft {
        at: Some(Timestamp::from_millis(millis).to_string()),
        ..Draft::default()
    });
    let now = Just(Draft { at: Some("now".to_owned()), ..Draft::default() });
    prop_oneof![cron, every, at, now, Just(Draft::default())]
}

fn handling() -> impl Strategy<Value = Draft> {
    let retry = (of(0_i64..100), duration(), word(field::RETRY_ON_WORDS));
    let retry = retry.prop_map(|(times, backoff, on)| RetryDraft { times, backoff, on });
    let timeout = prop_oneof![duration(), Just(Some("none".to_owned()))];
    let ahead = of((0_u64..=10_000).prop_map(|millis| format!("{millis}ms")));
    let words =
        (word(field::OVERLAP_WORDS), word(&["none", "latest"]), word(field::SESSION_LOSS_WORDS));
    let listener = of((duration(), duration(), word(field::ON_FAILURE_WORDS)));
    let how_long = (timeout, ahead, listener);
    (of(any::<bool>()), of(any::<bool>()), retry, how_long, words).prop_map(
        |(
            misfire,
            failover,
            retry,
            (timeout, claim_ahead, listener),
            (overlap, catch_up, on_session_loss),
        )| Draft {
            misfire,
            failover,
            retry,
            timeout,
            // Nothing is claimed before a listener was called.
            claim_ahead: claim_ahead.filter(|_| listener.is_none()),
            listener: listener.map(|(before_timeout, after_timeout, on_failure)| ListenerDraft {
                before_timeout,
                after_timeout,
                on_failure,
            }),
            overlap,
            catch_up,
            on_session_loss,
            ..Draft::default()
        },
    )
}

fn texts() -> impl Strategy<Value = Draft> {
    let pairs = btree_map(0_u32..5, argument(), 0..4);
    let script = of((argument().prop_map(|text| format!("p{text}")), vec(argument(), 0..4)));
    let kept =
        (of(text()), vec(text(), 0..3), btree_map("[a-z]{1,8}(\\.[a-z]{1,5})?", text(), 0..4));
    (pairs, argument(), script, of(text()), of(text()), kept).prop_map(
        |(pairs, parameter, script, description, label, (error_handler, listeners, props))| Draft {
            shards: Some(5),
            parameters: Some(Parameters::Pairs(
                pairs.into_iter().map(|(k, v)| (k.to_string(), v)).collect(),
            )),
            parameter: Some(parameter),
            script: script.map(|(program, rest)| std::iter::once(program).chain(rest).collect()),
            description,
            label,
            error_handler,
            listeners,
            props,
            ..Draft::default()
        },
    )
}

fn job() -> impl Strategy<Value = JobConfig> {
    let rest = (word(field::STRATEGY_WORDS), any::<[bool; 3]>(), of(0_u64..1000), of(0_u64..1000));
    (schedule(), handling(), texts(), rest).prop_map(
        |(when, how, what, (strategy, flags, difference, reconcile))| {
            let draft = Draft {
                name: Some("job".to_owned()),
                cron: when.cron,
                time_zone: when.time_zone,
                dst: when.dst,
                every: when.every,
                anchor: when.anchor,
                at: when.at,
                misfire: how.misfire,
                failover: how.failover,
                retry: how.retry,
                timeout: how.timeout,
                claim_ahead: how.claim_ahead,
                listener: how.listener,
                overlap: how.overlap,
                catch_up: how.catch_up,
                on_session_loss: how.on_session_loss,
                strategy,
                static_sharding: Some(flags[0]),
                disabled: Some(flags[1]),
                overwrite: Some(flags[2]),
                max_time_difference: difference.map(|seconds| Amount::Text(format!("{seconds}s"))),
                reconcile_interval: reconcile.map(|minutes| Amount::Text(format!("{minutes}m"))),
                ..what
            };
            // The date that never comes is refused at the strict level only.
            let checked = check(&draft, Level::ElasticJob, NOW);
            checked.config.unwrap_or_else(|| panic!("{:?}", checked.problems))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_job_reads_back_as_it_was_written(config in job()) {
        let written = encode(&config);
        let reading = Reading {
            name: &config.name,
            implementation: &config.implementation,
            default_zone: Some("Europe/Paris"),
            now: NOW,
        };
        let read = decode(written.as_bytes(), reading);
        prop_assert!(read.config.is_some(), "{written}\n{:?}", read.problems);
        let read = read.config.unwrap();
        prop_assert_eq!(&read, &config, "{}", &written);
        prop_assert_eq!(encode(&read), written);
    }

    #[test]
    fn the_keys_are_in_order_and_known_to_elasticjob(config in job()) {
        let written = encode(&config);
        let document = flockwork_layout::yaml::parse(&written).unwrap();
        let root = document.root.unwrap();
        let keys: Vec<&str> = root.entries().unwrap().iter().map(|(key, _)| key.scalar().unwrap().text.as_str()).collect();
        prop_assert!(keys.is_sorted(), "{keys:?}");
        prop_assert!(keys.iter().all(|key| field::Field::ALL.iter().any(|field| field.elastic() == *key)), "{keys:?}");
        prop_assert!(!keys.contains(&"jobExecutorThreadPoolSizeProviderType"));
    }
}
