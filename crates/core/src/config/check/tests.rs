use super::*;
use crate::config::{Amount, CatchUp, OnSessionLoss, Overlap, Parameters, Severity, Strategy};
use crate::execution::Work;
use crate::schedule::{Every, Once, Schedule};

const NOW: Timestamp = Timestamp::from_millis(1_795_305_600_000);

fn strict(edit: impl FnOnce(&mut Draft)) -> Checked {
    let mut draft = Draft::native("settle");
    edit(&mut draft);
    check(&draft, Level::Strict, NOW)
}

fn elastic(edit: impl FnOnce(&mut Draft)) -> Checked {
    let mut draft = Draft {
        words: Words::ElasticJob,
        name: Some("settle".to_owned()),
        implementation: Some("com.acme.Settle".to_owned()),
        shards: Some(3),
        ..Draft::default()
    };
    edit(&mut draft);
    check(&draft, Level::ElasticJob, NOW)
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn codes(checked: &Checked) -> Vec<(&'static str, Severity)> {
    checked.problems.iter().map(|p| (p.code.as_str(), p.severity)).collect()
}

#[test]
fn an_empty_native_job_takes_the_native_defaults() {
    let checked = strict(|_| ());
    assert_eq!(checked.problems, []);
    let config = checked.config.unwrap();
    assert_eq!((config.shards, config.misfire, config.monitor_execution), (1, true, true));
    assert_eq!((config.strategy, config.overlap), (Strategy::Sticky, Overlap::RunOnceAfter));
    assert_eq!(config.timeout, Some(DEFAULT_TIMEOUT));
    assert_eq!(config.reconcile_interval, Some(Duration::from_secs(600)));
    assert_eq!(
        (config.schedule, config.on_session_loss),
        (Schedule::OnTrigger, OnSessionLoss::Finish)
    );
    assert_eq!(config.implementation, "settle");
}

#[test]
fn an_elasticjob_document_takes_the_defaults_of_absent_keys() {
    let config = elastic(|_| ()).config.unwrap();
    assert_eq!((config.misfire, config.monitor_execution, config.timeout), (false, false, None));
    assert_eq!((config.strategy, config.overlap), (Strategy::Average, Overlap::Skip));
    assert_eq!((config.reconcile_interval, config.max_time_difference), (None, None));
    assert_eq!(config.implementation, "com.acme.Settle");
    assert_eq!(codes(&elastic(|d| d.shards = None)), [("SHARDS_RANGE", Severity::Error)]);
}

#[test]
fn all_problems_are_reported_at_once() {
    let checked = strict(|draft| {
        draft.name = some("a/b");
        draft.cron = some("* * *");
        draft.shards = Some(0);
        draft.timeout = some("10");
        draft.overlap = some("skp");
    });
    let expected = ["NAME_CHAR", "CRON_FIELDS", "SHARDS_RANGE", "VALUE_UNKNOWN", "DURATION"];
    assert_eq!(codes(&checked).iter().map(|(code, _)| *code).collect::<Vec<_>>(), expected);
    assert!(checked.config.is_none());
    let places: Vec<_> = checked.problems.iter().map(|p| p.place.as_str()).collect();
    assert_eq!(places[1..3], ["jobs.settle.cron", "jobs.settle.shards"]);
    assert!(checked.problems[3].hint.as_ref().unwrap().starts_with("did you mean skip?"));
}

#[test]
fn what_the_strict_level_refuses_is_a_warning_where_elasticjob_takes_it() {
    type Edit = fn(&mut Draft);
    let edits: [(&str, Edit); 8] = [
        ("CRON_EMPTY", |d| d.cron = some("")),
        ("PARAM_DUPLICATE", |d| d.parameters = Some(Parameters::Text("0=a,0=b".to_owned()))),
        ("PARAM_INDEX", |d| d.parameters = Some(Parameters::Text("7=a".to_owned()))),
        ("PARAM_SYNTAX", |d| d.parameters = Some(Parameters::Text("0=a,".to_owned()))),
        ("PARAM_CHAR", |d| d.parameter = some("a\0b")),
        ("PARAM_TOO_LONG", |d| d.parameter = Some("x".repeat(PARAMETER_BYTES + 1))),
        ("STRATEGY_UNKNOWN", |d| d.strategy = some("AVERAGE_ALOCATION")),
        ("CONFLICT", |d| (d.failover, d.monitor_execution) = (Some(true), Some(false))),
    ];
    for (code, edit) in edits {
        let refused = strict(edit);
        assert_eq!(codes(&refused), [(code, Severity::Error)]);
        assert!(refused.config.is_none(), "{code}");
        let taken = elastic(edit);
        assert_eq!(codes(&taken), [(code, Severity::Warning)]);
        assert!(taken.config.is_some(), "{code}");
    }
}

#[test]
fn failover_without_monitoring_has_no_effect_and_is_kept() {
    let config = elastic(|d| d.failover = Some(true)).config.unwrap();
    assert!(!config.failover && config.kept.failover_without_monitor);
}

#[test]
fn a_job_has_one_schedule() {
    assert_eq!(
        strict(|d| d.every = some("90s")).config.unwrap().schedule,
        Schedule::Every(Every { period_ms: 90_000, anchor: Timestamp::default() })
    );
    assert_eq!(strict(|d| d.at = some("now")).config.unwrap().schedule, Schedule::Once(Once::Now));
    let both = strict(|d| (d.every, d.cron) = (some("90s"), some("0 0 * * * ?")));
    assert_eq!(codes(&both), [("CONFLICT", Severity::Error)]);
    assert!(both.problems[0].message.contains("cron and every"));
    let past = strict(|d| d.at = some("2020-01-01T00:00:00Z"));
    assert_eq!(codes(&past), [("RANGE_ORDER", Severity::Warning)]);
}

#[test]
fn zones_are_names_or_offsets() {
    let zone = |checked: Checked| match checked.config.unwrap().schedule {
        Schedule::Cron(cron) => cron.zone().name().to_owned(),
        other => panic!("{other:?}"),
    };
    let hourly = || some("0 0 * * * ?");
    let native = |name: &str| strict(|d| (d.cron, d.time_zone) = (hourly(), some(name)));
    assert_eq!(zone(native("Asia/Shanghai")), "Asia/Shanghai");
    assert_eq!(zone(strict(|d| d.cron = hourly())), "UTC");
    for bad in ["UTC+8", "Mars/Phobos", "", "CST"] {
        assert_eq!(codes(&native(bad)), [("TZ_UNKNOWN", Severity::Error)], "{bad}");
    }
    let java = |name: &str| elastic(|d| (d.cron, d.time_zone) = (hourly(), some(name)));
    assert_eq!(zone(java("GMT+8")), "GMT+08:00");
    assert_eq!(zone(java("GMT+99:00")), "GMT");
    assert_eq!(codes(&java("GMT+99:00")), [("TZ_UNKNOWN", Severity::Warning)]);
    assert_eq!(codes(&java("Asia/Shanghai")), [("TZ_UNKNOWN", Severity::Error)]);
    let local = elastic(|d| (d.cron, d.default_zone) = (hourly(), some("Europe/Paris")));
    assert!(local.config.as_ref().unwrap().kept.no_time_zone);
    assert_eq!(zone(local), "Europe/Paris");
}

#[test]
fn a_run_that_may_go_on_elsewhere_is_stopped_when_its_session_is_lost() {
    let loss = |checked: Checked| checked.config.unwrap().on_session_loss;
    assert_eq!(loss(strict(|d| d.failover = Some(true))), OnSessionLoss::Stop);
    assert_eq!(loss(strict(|d| d.retry.times = Some(1))), OnSessionLoss::Stop);
    let told = strict(|d| (d.failover, d.on_session_loss) = (Some(true), some("finish")));
    assert_eq!(loss(told), OnSessionLoss::Finish);
}

#[test]
fn catching_up_and_skipping_contradict() {
    let both = strict(|d| (d.overlap, d.catch_up) = (some("skip"), some("all")));
    assert_eq!(codes(&both), [("CONFLICT", Severity::Error)]);
    let queued = strict(|d| (d.overlap, d.catch_up) = (some("queue"), some("all")));
    assert_eq!(queued.config.unwrap().catch_up, CatchUp::All);
}

#[test]
fn a_time_out_is_never_infinite_by_accident() {
    assert_eq!(codes(&strict(|d| d.timeout = some("0s"))), [("DURATION", Severity::Error)]);
    assert_eq!(codes(&strict(|d| d.timeout = some("8d"))), [("DURATION", Severity::Error)]);
    assert_eq!(strict(|d| d.timeout = some("none")).config.unwrap().timeout, None);
}

#[test]
fn a_script_is_a_program_and_its_arguments() {
    let argv = |list: &[&str]| Some(list.iter().map(|&a| a.to_owned()).collect::<Vec<_>>());
    let config = strict(|d| d.script = argv(&["./a.sh", "x y"])).config.unwrap();
    assert_eq!(config.implementation, "SCRIPT");
    for bad in [&[][..], &[""], &[" ", "a"]] {
        assert_eq!(codes(&strict(|d| d.script = argv(bad))), [("COMMAND", Severity::Error)]);
    }
    let nul = strict(|d| d.script = argv(&["a", "\0"]));
    assert_eq!(codes(&nul), [("PARAM_CHAR", Severity::Error)]);
    let java =
        |line: &str| elastic(|d| (d.implementation, d.command_line) = (some("SCRIPT"), some(line)));
    let config = java("sh 'z w'").config.unwrap();
    let Work::Script(script) = config.work.as_ref() else { panic!() };
    assert_eq!(script.argv, ["sh", "\"z w\""]);
    assert_eq!(config.kept.command_line.as_deref(), Some("sh 'z w'"));
    assert_eq!(codes(&java("sh 'z")), [("COMMAND", Severity::Error)]);
    assert_eq!(codes(&java("")), [("COMMAND", Severity::Error)]);
}

#[test]
fn whole_units_of_elasticjob_are_kept() {
    let text = |text: &str| Some(Amount::Text(text.to_owned()));
    assert_eq!(
        codes(&strict(|d| d.max_time_difference = text("1500ms"))),
        [("DURATION", Severity::Error)]
    );
    assert_eq!(
        strict(|d| d.reconcile_interval = text("0m")).config.unwrap().reconcile_interval,
        None
    );
    let config = elastic(|d| d.max_time_difference = Some(Amount::Count(0))).config.unwrap();
    assert_eq!(config.max_time_difference, Some(Duration::ZERO));
}
