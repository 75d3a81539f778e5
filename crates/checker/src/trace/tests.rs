use super::*;

fn lines() -> Vec<Line> {
    let fire = Fire { due: -5, source: "trigger".into() };
    let probe = Probe {
        node: 1,
        instance: "a@-@1".into(),
        job: "j \"x\"\n".into(),
        shard: 2,
        fire: fire.clone(),
        attempt: 1,
        epoch: u64::MAX,
    };
    let claim = Claim { fire, attempt: 1, nonce: u64::MAX, ..Claim::default() };
    let record = Record { claim: Some(claim), ..Record::default() };
    let change = RecordChange {
        job: "j".into(),
        shard: 2,
        index: 9,
        session: 3,
        guard: None,
        old: None,
        new: Some(record),
    };
    let call = Call {
        node: 1,
        instance: "a@-@1".into(),
        job: "j".into(),
        part: Part::Before,
        fire: Fire { due: 5, source: "misfire".into() },
        attempt: 2,
        epoch: 7,
    };
    let fire = call.fire.clone();
    let stage = StageChange {
        job: "j".into(),
        index: 8,
        session: 3,
        guard: Some(7),
        through: 5,
        asked: 4,
        answered: 0,
        stage: Some(Stage::Repeated { fire, attempt: 2 }),
    };
    let facts = [
        Fact::CallBegins(call.clone()),
        Fact::CallStopped(call.clone()),
        Fact::CallEnds { call, code: "TIMED_OUT".into() },
        Fact::Stage(Box::new(stage)),
        Fact::Start(probe.clone()),
        Fact::End { probe, code: "OK".into() },
        Fact::Record(Box::new(change)),
        Fact::Fault(Fault::LostAnswer { node: 0, index: None }),
        Fact::Healed,
        Fact::Over { wall: 1 },
    ];
    facts.into_iter().map(|fact| Line { at: 7, fact }).collect()
}

#[test]
fn a_trace_is_read_as_it_was_written() {
    assert_eq!(read(&write(&lines())), Ok(lines()));
}

#[test]
fn what_is_no_trace_is_refused_with_its_line() {
    assert_eq!(read(""), Err(NotATrace::Version { found: None }));
    let newer = "{\"flockwork-trace\":2}\n";
    assert_eq!(read(newer), Err(NotATrace::Version { found: Some(2) }));
    let damaged = write(&lines()).replace("\"k\":\"healed\"", "\"k\":\"hea");
    assert!(matches!(read(&damaged), Err(NotATrace::Line { line: 10, .. })));
}

/// Traces that older releases wrote are judged, and what has no listener is written as it was.
#[test]
fn what_is_said_of_no_listener_is_not_written() {
    let job = Fact::Job(Job { job: "j".into(), ..Job::default() });
    let config = Fact::Config(Config {
        job: "j".into(),
        index: 1,
        session: 1,
        guard: None,
        document: None,
        is_newer: false,
        listener: None,
    });
    for fact in [job, config] {
        let lines = vec![Line { at: 1, fact }];
        let text = write(&lines);
        assert!(!text.contains("listener"), "{text}");
        assert_eq!(read(&text), Ok(lines));
    }
}
