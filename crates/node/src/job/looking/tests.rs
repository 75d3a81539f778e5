use super::*;
use crate::names::JobIx;
use crate::rig::{Rig, config};

const SCRIPT: &str =
    "shardingTotalCount: 2\nprops:\n  flockwork.every: 1s\n  script.command.line: /bin/a";

fn definition(lines: &str) -> Arc<JobConfig> {
    let definition = crate::rig::script(lines);
    assert!(names_a_script(&definition));
    definition
}

fn wanting(code: &'static str) -> Result<(), Hindrance> {
    Err(Hindrance::Script { code, text: String::new() })
}

/// What the edge was asked to look at: whether at anything, since this was last asked.
fn asked(rig: &mut Rig) -> Vec<bool> {
    let looks = rig.effects.drain(..).filter_map(|effect| match effect {
        Effect::Look(_, at) => Some(at.is_some()),
        _ => None,
    });
    looks.collect()
}

fn looking(found: &[Result<(), Hindrance>]) -> (Rig, Looking, Arc<JobConfig>) {
    let (mut rig, mut looking) = (Rig::new(), Looking::default());
    let at = definition(SCRIPT);
    looking.look_at(&mut rig.turn(), &at);
    for found in found {
        looking.found(&mut rig.turn(), &at, found.clone());
    }
    asked(&mut rig);
    rig.is_job_marked();
    (rig, looking, at)
}

fn code(looking: &mut Looking, now: Mono) -> &'static str {
    match looking.startable(now) {
        Startable::NotKnown => "not known",
        Startable::Yes => "yes",
        Startable::No(why) => why.code(),
    }
}

#[test]
fn a_script_is_looked_at_once_and_a_function_not_at_all() {
    let (mut rig, mut looking) = (Rig::new(), Looking::default());
    let function = config("shardingTotalCount: 2\nprops:\n  flockwork.every: 1s");
    looking.look_at(&mut rig.turn(), &function);
    assert!(asked(&mut rig).is_empty() && looking.allows(rig.now.mono, &function));
    for expected in [&[true][..], &[]] {
        looking.look_at(&mut rig.turn(), &definition(SCRIPT));
        assert_eq!(asked(&mut rig), expected);
    }
    looking.look_at(&mut rig.turn(), &function);
    assert_eq!(asked(&mut rig), [false], "no more");
    looking.stop(&mut rig.turn());
    assert!(asked(&mut rig).is_empty());
}

#[test]
fn the_first_answer_counts_at_once() {
    for (found, told) in [(Ok(()), "yes"), (wanting("X"), "X")] {
        let (mut rig, mut looking, at) = looking(&[]);
        assert_eq!(code(&mut looking, rig.now.mono), "not known");
        assert!(!looking.allows(rig.now.mono, &at));
        looking.found(&mut rig.turn(), &at, found);
        assert!(rig.is_job_marked());
        assert_eq!(code(&mut looking, rig.now.mono), told);
    }
}

#[test]
fn a_script_found_wanting_counts_for_the_grace_and_not_if_it_comes_back() {
    let (mut rig, mut looking, at) = looking(&[Ok(())]);
    for _ in 0..3 {
        looking.found(&mut rig.turn(), &at, wanting("X"));
        rig.pass(4_999);
        assert_eq!(code(&mut looking, rig.now.mono), "yes");
        looking.found(&mut rig.turn(), &at, Ok(()));
    }
    assert!(!rig.is_job_marked(), "nothing has changed");
    looking.found(&mut rig.turn(), &at, wanting("X"));
    rig.pass(3_000);
    looking.found(&mut rig.turn(), &at, wanting("Y"));
    rig.pass(2_000);
    while let Some(alarm) = rig.alarms.pop(rig.now.mono) {
        assert_eq!(alarm, Alarm::Looking(JobIx(0)));
        looking.has_waited(&mut rig.turn());
    }
    assert!(rig.is_job_marked());
    assert_eq!(code(&mut looking, rig.now.mono), "Y", "since the first of them");
    looking.found(&mut rig.turn(), &at, Ok(()));
    assert!(rig.is_job_marked() && looking.allows(rig.now.mono, &at), "at once");
}

#[test]
fn an_answer_is_waited_for_ten_seconds() {
    let (mut rig, mut looking, at) = looking(&[]);
    assert_eq!(rig.alarms.next().1, Some(Mono::from_millis(20_000)));
    rig.pass(9_999);
    looking.has_waited(&mut rig.turn());
    assert!(!rig.is_job_marked());
    rig.pass(1);
    looking.has_waited(&mut rig.turn());
    assert!(rig.is_job_marked());
    assert_eq!(code(&mut looking, rig.now.mono), "PROGRAM_UNREADABLE");
    looking.found(&mut rig.turn(), &at, Ok(()));
    assert_eq!(code(&mut looking, rig.now.mono), "yes", "it has come late");
}

#[test]
fn what_is_known_holds_for_another_definition_that_starts_alike() {
    let more_often = SCRIPT.replace("1s", "2s");
    let other_script = SCRIPT.replace("/bin/a", "/bin/b");
    let parameter = format!("{SCRIPT}\njobParameter: p");
    for (lines, told) in
        [(more_often, "yes"), (other_script, "not known"), (parameter, "not known")]
    {
        let (mut rig, mut looking, before) = looking(&[Ok(())]);
        let at = definition(&lines);
        assert!(!looking.allows(rig.now.mono, &at), "it was not asked for");
        looking.look_at(&mut rig.turn(), &at);
        assert_eq!(asked(&mut rig), [true]);
        assert_eq!(code(&mut looking, rig.now.mono), told, "{lines}");
        looking.found(&mut rig.turn(), &before, wanting("X"));
        rig.pass(6_000);
        assert_eq!(code(&mut looking, rig.now.mono), told, "an answer about the one before");
    }
}
