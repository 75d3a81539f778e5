//! Ninety-two cases observed on Quartz 2.3.2: each fires here when it fires there.

use flockwork_core::schedule::{Cron, DstPolicy, Zone};
use flockwork_core::time::Timestamp;

struct Case<'t> {
    expression: &'t str,
    zone: Zone,
    start: Timestamp,
    /// Instants, at last `none` where there are no more; or `refused`.
    answer: &'t str,
}

fn cases() -> impl Iterator<Item = Case<'static>> {
    let lines = include_str!("schedule_quartz_cases.txt").lines();
    lines.filter(|line| !line.starts_with('#')).map(|line| {
        let parts: Vec<_> = line.split(" | ").collect();
        let [expression, zone, start, answer] = parts[..] else { panic!("not a case: {line}") };
        Case {
            expression,
            zone: Zone::parse(zone).expect("a zone of the table"),
            start: start.parse().expect("an instant of the table"),
            answer,
        }
    })
}

fn answer(case: &Case<'_>, asked: usize) -> String {
    let Ok(cron) = Cron::parse(case.expression, &case.zone, DstPolicy::Quartz) else {
        return "refused".to_owned();
    };
    let mut instants = Vec::new();
    let mut after = case.start;
    for _ in 0..asked {
        let Some(next) = cron.next_after(after) else {
            instants.push("none".to_owned());
            break;
        };
        instants.push(next.to_string());
        after = next;
    }
    instants.join(" ")
}

#[test]
fn every_observed_case_fires_as_quartz_fired() {
    let mut compared = 0;
    let mut wrong = Vec::new();
    for case in cases() {
        let ours = answer(&case, case.answer.split(' ').count());
        if ours != case.answer {
            wrong.push(format!("{}\n  ours   {ours}\n  quartz {}", case.expression, case.answer));
        }
        compared += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(compared, 92);
}
