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
    let facts = [
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
    assert!(matches!(read(&damaged), Err(NotATrace::Line { line: 6, .. })));
}
