//! Made histories: what is dated badly is told, and no date makes a breach or unmakes one.

use super::*;
use crate::fleet::Diary;
use crate::gather::{Seen, gather};
use crate::history::KeyChange;
use crate::probes::Ran;
use flockwork_checker::Fact;
use flockwork_checker::story::Stories;
use flockwork_core::account::{Counts, Record};
use flockwork_core::execution::{Fire, Source};
use flockwork_core::id::{InstanceId, JobName};
use flockwork_core::time::Timestamp;
use flockwork_layout::record::{Stored, encode};
use flockwork_registry::{Index, SessionId, Stamp};
use std::path::Path;

const ONE: &str = "10.0.0.1@-@1-a";
const TWO: &str = "10.0.0.2@-@2-b";
const OVER: i64 = 1_000_000;
/// The commit that closes the first claim.
const CLOSED: u64 = 6;

fn namespace() -> Namespace {
    Namespace::new("n").unwrap()
}

fn claim(by: &str, nonce: u64) -> Claim {
    let at = Timestamp::from_millis(0);
    let (instance, state) = (InstanceId::new(by).unwrap(), ClaimState::Held);
    let fire = Fire { due: at, source: Source::Schedule };
    Claim { fire, attempt: 1, crashes: 0, instance, nonce, at, mark_lasts: true, state }
}

fn record(claim: Option<Claim>, ran: u64) -> Entry {
    let counts = Counts { ran, succeeded: ran, ..Counts::default() };
    let record = Record { claim, counts, ..Record::default() };
    let value = encode(&Stored { record, ..Stored::default() });
    Entry { value, stamp: Stamp::default(), session: None }
}

/// A change of the shard's record from one claim to another, as the commit of this number.
fn committed(
    index: u64,
    (at, until): (i64, i64),
    [old, new]: [Option<(&str, u64)>; 2],
) -> Committed {
    let facet = Facet::Record(0);
    let key = namespace().key(&JobName::new("a").unwrap(), &facet);
    let entry = |modified, of: Option<(&str, u64)>| {
        // Each run is over once its claim is closed.
        let ran = u64::from(modified >= CLOSED);
        let mut entry = record(of.map(|(by, nonce)| claim(by, nonce)), ran);
        entry.stamp.modified = Index(modified);
        Some(entry)
    };
    let session = if new.is_some_and(|(by, _)| by == TWO) { 2 } else { 1 };
    let (old, new) = (entry(index - 1, old), entry(index, new));
    let changes = vec![KeyChange { key, guard: None, old, new }];
    Committed { at, until, index, session, changes }
}

fn wrote(at: i64, epoch: u64, end: Option<&str>) -> Wrote {
    let (instance, job) = (ONE.to_owned(), "a".to_owned());
    let ran = Ran { pid: 1, instance, job, shard: 0, due: 0, epoch, attempt: 1 };
    Wrote { at, ran, end: end.map(str::to_owned) }
}

/// Both instances are there, the first under session 1.
fn registered(number: u64, by: &str) -> Committed {
    let facet = Facet::Instance(InstanceId::new(by).unwrap());
    let key = namespace().key(&JobName::new("a").unwrap(), &facet);
    let session = Some(SessionId(number));
    let new = Some(Entry { value: "{}".into(), stamp: Stamp::default(), session });
    let changes = vec![KeyChange { key, guard: None, old: None, new }];
    Committed { at: 1, until: 1, index: number, session: number, changes }
}

/// What is breached, in words, and whether it is said that it cannot be dated.
fn judged(
    commits: &[Committed],
    still: &[(i64, i64)],
    wrote: &[Wrote],
) -> (Option<String>, Dated, Vec<i64>) {
    let all = [registered(1, ONE), registered(2, TWO)].into_iter().chain(commits.iter().cloned());
    let mut history =
        History { commits: all.collect(), still: still.to_vec(), ..History::default() };
    let namespace = namespace();
    let dated = settle(&mut history, wrote, &namespace);
    let process = |number, of: &str| (number, of.to_owned(), 0, Path::new("/dev/null").to_owned());
    let node = |node, of: &str| {
        (0, Fact::Node { node, instance: of.to_owned(), slots: 1, timeout: 4_000 })
    };
    let diary = Diary {
        facts: vec![node(1, ONE), node(2, TWO)],
        processes: vec![process(1, ONE), process(2, TWO)],
        ..Diary::default()
    };
    let (namespace, history) = (&namespace, &history);
    let seen = Seen { diary: &diary, history, wrote, namespace, healed: OVER - 1, over: OVER };
    let mut trace = gather(&seen).unwrap();
    trace.push(flockwork_checker::Line {
        at: 0,
        fact: Fact::Unseen(flockwork_checker::Unseen::Guards),
    });
    trace.rotate_right(1);
    let verdict = p01_one_holder::judge(&trace, &Stories::read(&trace));
    let breach = match verdict {
        Verdict::Invalid(witness) => Some(witness.what),
        Verdict::Valid | Verdict::Unknown(_) => None,
    };
    let dates = history.commits.iter().skip(2).map(|committed| committed.at).collect();
    (breach, dated, dates)
}

const MINE: Option<(&str, u64)> = Some((ONE, 7));
const NEXT: Option<(&str, u64)> = Some((ONE, 8));

/// A run from claim to close: the bounds of both, when it started and ended.
fn run(
    made: (i64, i64),
    closed: (i64, i64),
    [start, end]: [i64; 2],
) -> (Vec<Committed>, Vec<Wrote>) {
    let commits = vec![committed(5, made, [None, MINE]), committed(6, closed, [MINE, None])];
    (commits, vec![wrote(start, 5, None), wrote(end, 5, Some("OK"))])
}

#[test]
fn wide_bounds_make_no_breach_of_a_right_run() {
    // When each was seen at the earliest and at the latest; all in order all the while.
    let table = [
        ("exact", (10, 10), (40, 40), [20, 30]),
        ("its claim was seen after its start", (10, 25), (32, 40), [20, 30]),
        ("its close was seen before its end", (10, 15), (25, 40), [20, 30]),
        ("both were seen by one look", (5, 50), (5, 50), [20, 30]),
    ];
    for (what, made, closed, code) in table {
        let (commits, wrote) = run(made, closed, code);
        let (breach, dated, dates) = judged(&commits, &[], &wrote);
        assert_eq!((breach, dated.doubtful), (None, vec![]), "{what}");
        assert!(dates[0] <= code[0] && dates[1] >= code[1], "{what}: {dates:?}");
        assert!(dates[0] >= made.0 && dates[1] <= closed.1, "{what}: {dates:?}");
    }
}

#[test]
fn a_breach_that_is_proven_is_found_however_wide_the_bounds_are() {
    let closed = "closed while its code runs";
    let before = "before its claim was committed";
    let table = [
        ("closed for certain before its end", (5, 15), (18, 29), [20, 30], closed),
        ("started for certain before its claim", (21, 40), (30, 60), [20, 50], before),
        ("closed before its start", (5, 9), (10, 15), [20, 30], closed),
    ];
    for (what, made, close, code, wanted) in table {
        let (commits, wrote) = run(made, close, code);
        let (breach, ..) = judged(&commits, &[], &wrote);
        assert!(breach.as_ref().is_some_and(|found| found.contains(wanted)), "{what}: {breach:?}");
    }
}

#[test]
fn what_a_later_commit_proves_of_an_earlier_one_counts() {
    // The next claim's code ran at 40, so its claim and all before it had been committed by then;
    // yet the first run ended at 50.
    let wide = (10, 90);
    let commits = [
        committed(5, (5, 5), [None, MINE]),
        committed(6, wide, [MINE, None]),
        committed(7, wide, [None, NEXT]),
    ];
    let start = wrote(6, 5, None);
    let code = |ended| [start.clone(), wrote(ended, 5, Some("OK")), wrote(40, 7, None)];
    let (breach, ..) = judged(&commits, &[], &code(50));
    assert!(breach.is_some_and(|found| found.contains("closed while its code runs")));
    let (breach, _, dates) = judged(&commits, &[], &code(39));
    assert_eq!((breach, dates), (None, vec![5, 39, 39]));
}

#[test]
fn a_start_after_its_claim_was_taken_is_found_unless_it_can_have_been_before() {
    let found = |bounds| {
        // By the end of its session.
        let mut gone = Committed { session: 1, ..registered(4, ONE) };
        (gone.at, gone.until) = (8, 8);
        for change in &mut gone.changes {
            change.old = change.new.take();
        }
        let taken = committed(CLOSED, bounds, [MINE, Some((TWO, 9))]);
        let commits = [committed(3, (5, 5), [None, MINE]), gone, taken];
        judged(&commits, &[], &[wrote(30, 3, None)]).0
    };
    assert_eq!(found((10, 29)).as_deref(), Some("code started after its claim was closed (Taken)"));
    assert_eq!(found((10, 60)), None);
}

#[test]
fn a_commit_that_was_moved_far_is_told_and_the_verdict_is_unknown() {
    let (commits, wrote) = run((5, 5), (10, 5_000), [6, 4_000]);
    let verdicts = |still: &[(i64, i64)]| {
        let (breach, dated, _) = judged(&commits, still, &wrote);
        assert_eq!(breach, None);
        let mut verdicts = [(p01_one_holder::NAME, Verdict::Valid), ("P5 other", Verdict::Valid)];
        dated.weigh(&mut verdicts);
        assert!(verdicts[1].1.is_valid());
        (dated.doubtful, verdicts[0].1.clone())
    };
    let (doubtful, verdict) = verdicts(&[]);
    assert_eq!(doubtful, ["commit 6 may have been 3990 ms earlier"]);
    assert!(verdict.to_string().starts_with("unknown: 1 commits cannot be dated"), "{verdict}");
    // Nothing was committed while the server was gone: only 50 ms are left.
    assert_eq!(verdicts(&[(50, 3_990)]), (vec![], Verdict::Valid));
}

#[test]
fn doubt_takes_no_breach_back() {
    let dated = Dated { doubtful: vec!["commit 6".to_owned()], ..Dated::default() };
    let breach = Verdict::breach(&[], 0, "closed while its code runs");
    let mut verdicts = [(p01_one_holder::NAME, breach.clone())];
    dated.weigh(&mut verdicts);
    assert_eq!(verdicts[0].1, breach);
    // Nor does it hide what else is not known.
    verdicts[0].1 = Verdict::Unknown("no guards".to_owned());
    dated.weigh(&mut verdicts);
    assert_eq!(
        verdicts[0].1.to_string(),
        "unknown: no guards; 1 commits cannot be dated: commit 6"
    );
}

#[test]
fn only_what_is_open_counts_as_width() {
    let table = [
        (0, 100, vec![], 100),
        (0, 100, vec![(10, 90)], 20),
        (0, 100, vec![(-50, 20), (95, 200)], 75),
        (0, 100, vec![(200, 300), (-9, 0)], 100),
        (0, 100, vec![(-9, 200)], 0),
    ];
    for (from, until, still, expected) in table {
        assert_eq!(open(from, until, &still), expected, "{still:?}");
    }
}
