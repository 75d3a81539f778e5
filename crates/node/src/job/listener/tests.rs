use super::*;
use crate::names::JobIx;
use crate::outbox::{Change, JobChange, Purpose};
use crate::rig::{ME, OTHER, Rig, SESSION, at, config, entry, mirror};
use flockwork_layout::guarantee;
use flockwork_layout::record::{self, Stored};
use flockwork_registry::{Entry, Index};
use std::sync::Arc;

/// Due at the rig's time.
const DUE: Fire = Fire { due: at(10_000), source: Source::Schedule };

/// A job of two shards of this instance's, due each second, whose fires up to 9,000 ms are over.
struct Leading {
    rig: Rig,
    mirror: Mirror,
    config: Arc<JobConfig>,
    once: Once,
    listener: Listener,
    /// How often a key was written.
    writes: u32,
}

impl Leading {
    /// This instance leads, and has called the listener before.
    fn new() -> Self {
        let mut leading = Self::elected();
        leading.reconcile();
        leading.term().since = None;
        leading.stands(Stage::Closed);
        leading
    }

    /// This instance was elected, of which the calls have not heard.
    fn elected() -> Self {
        let lines = "shardingTotalCount: 2\nprops:\n  flockwork.every: 1s";
        let config = config(&format!("{lines}\n  flockwork.listener.before_timeout: 3s"));
        let mut rig = Rig::new();
        let mirror = mirror(&mut rig, &config);
        let (once, listener) = (Once::default(), Listener::default());
        let mut leading = Self { rig, mirror, config, once, listener, writes: 0 };
        leading.leads(ME, 4);
        for shard in 0..2 {
            leading.stores(shard, 9_000);
        }
        leading
    }

    fn leads(&mut self, who: &'static str, created: u64) {
        self.writes += 1;
        let stamp = Stamp { created: Index(created), modified: Index(created), version: 0 };
        let session = (who == ME).then_some(SESSION);
        self.mirror.holds(Facet::Leader, Some(Entry { value: who.into(), stamp, session }));
    }

    /// The fires of a shard are accounted up to an instant.
    fn stores(&mut self, shard: ShardIndex, watermark: i64) {
        self.writes += 1;
        let mut stored = Stored::default();
        stored.record.watermark = at(watermark);
        let entry = entry(record::encode(&stored), self.writes);
        self.mirror.holds(Facet::Record(shard), Some(entry));
    }

    fn stands(&mut self, stage: Stage) {
        self.stands_as(|document| document.stage = stage);
    }

    fn stands_as(&mut self, change: impl FnOnce(&mut Guarantee)) {
        self.writes += 1;
        let mut document = Guarantee { through: at(9_000), ..Guarantee::default() };
        change(&mut document);
        let entry = entry(guarantee::encode(&document), self.writes);
        self.mirror.holds(Facet::Once, Some(entry));
    }

    fn term(&mut self) -> &mut Term {
        self.listener.term.as_mut().expect("it leads")
    }

    fn reconcile(&mut self) {
        let Self { rig, mirror, config, once, listener, .. } = self;
        let mut by = By { mirror, once, config, memo: Memo::default(), clock_agrees: true };
        listener.reconcile(&mut rig.turn(), &mut by);
    }

    /// What was started since this was last asked: the part, the fire, the attempt.
    fn called(&mut self) -> Vec<(Part, Fire, u32)> {
        let effects = std::mem::take(&mut self.rig.effects);
        let started = effects.into_iter().filter_map(|effect| match effect {
            Effect::Start(run) => Some((run.part, run.fire, run.attempt)),
            _ => None,
        });
        started.collect()
    }

    /// What is written now, on the condition that this instance leads.
    fn written(&mut self) -> Option<Guarantee> {
        let sent: Vec<Change> = self.rig.sent();
        let change = sent.first()?;
        assert_eq!((sent.len(), change.purpose), (1, Purpose::Job(JobIx(0), JobChange::Once)));
        assert_eq!(self.rig.checked(change), [Facet::Leader]);
        match change.ops.last()? {
            Op::Set(_, value, Some(_)) => guarantee::decode(value).ok(),
            other => panic!("{other:?}"),
        }
    }

    fn ends(&mut self, ending: Ending) {
        let run = self.listener.run_id().expect("it is called");
        self.listener.ended(&mut self.rig.turn(), (run, Outcome::of(ending)));
    }
}

fn open() -> Stage {
    Stage::Open { fire: DUE, shards: 2 }
}

#[test]
fn who_does_not_lead_calls_nothing() {
    let mut leading = Leading::elected();
    leading.leads(OTHER, 5);
    leading.stands(Stage::Closed);
    leading.reconcile();
    assert_eq!((leading.called(), leading.written()), (vec![], None));
    assert!(!leading.listener.leads());
}

#[test]
fn nothing_is_called_while_anything_is_not_known() {
    let unknown = [Facet::Leader, Facet::Once, Facet::Record(1), Facet::Plan];
    for facet in unknown {
        let mut leading = Leading::new();
        leading.mirror.read(&mut leading.rig.turn(), facet.clone());
        leading.reconcile();
        assert_eq!((leading.called(), leading.written()), (vec![], None), "{facet:?}");
    }
}

#[test]
fn before_is_called_for_what_is_due_and_once() {
    let mut leading = Leading::new();
    for _ in 0..3 {
        leading.reconcile();
    }
    assert_eq!(leading.called(), [(Part::Before, DUE, 1)]);
    assert_eq!(leading.written(), None, "nothing is written for it");
    // All of it is accounted already.
    let mut leading = Leading::new();
    leading.stands_as(|document| document.through = at(10_000));
    leading.reconcile();
    assert_eq!(leading.called(), []);
}

#[test]
fn a_new_leader_counts_what_may_have_begun_before_it_was_elected() {
    for (due_since, attempt) in [(9_999, 1), (10_000, 2)] {
        let mut leading = Leading::elected();
        leading.stands(Stage::Closed);
        leading.rig.now.wall = at(due_since);
        leading.stands_as(|document| document.through = at(10_000));
        leading.reconcile();
        leading.stands(Stage::Closed);
        leading.rig.now.wall = at(10_000);
        leading.reconcile();
        if attempt == 1 {
            assert_eq!(leading.called(), [(Part::Before, DUE, 1)]);
            continue;
        }
        let stage = Stage::Repeated { fire: DUE, attempt };
        assert_eq!(leading.written().map(|it| it.stage), Some(stage));
        assert_eq!(leading.called(), [], "it is written first");
    }
}

#[test]
fn a_repetition_is_written_before_it_is_called_and_has_an_end() {
    for attempt in 2..=4 {
        let mut leading = Leading::new();
        leading.stands(Stage::Repeated { fire: DUE, attempt });
        leading.reconcile();
        assert_eq!(leading.called(), [], "another leader has written that");
        let stage = match attempt {
            4 => {
                let (fate, reason) = (Fate::Skipped, Reason::BeforeFailed);
                Stage::Passed(Passed { first: DUE.due, through: DUE.due, fate, reason })
            }
            _ => Stage::Repeated { fire: DUE, attempt: attempt + 1 },
        };
        let written = leading.written().expect("it is written");
        assert_eq!(written.stage, stage, "{attempt}");
        leading.once.removed();
        leading.stands_as(|document| *document = written);
        leading.reconcile();
        let called = if attempt == 4 { vec![] } else { vec![(Part::Before, DUE, attempt + 1)] };
        assert_eq!(leading.called(), called, "{attempt}");
    }
}

#[test]
fn what_follows_before_depends_on_its_end_and_on_the_rules() {
    let failed = || Ending::Error("no".to_owned());
    let (fate, reason) = (Fate::Skipped, Reason::BeforeFailed);
    let passed = Stage::Passed(Passed { first: DUE.due, through: DUE.due, fate, reason });
    let table = [
        (Ending::Succeeded, OnBeforeFailure::Skip, open()),
        (failed(), OnBeforeFailure::Run, open()),
        (failed(), OnBeforeFailure::Skip, passed),
    ];
    for (ending, on_failure, stage) in table {
        let mut leading = Leading::new();
        let rules = ListenerRules { on_failure, ..ListenerRules::default() };
        Arc::make_mut(&mut leading.config).listener = Some(rules);
        leading.reconcile();
        leading.ends(ending);
        leading.reconcile();
        let written = leading.written().expect("it is told");
        assert_eq!((written.stage, written.through), (stage, DUE.due));
        assert!(leading.listener.is_busy(), "nobody knows yet");
        leading.once.removed();
        leading.stands_as(|document| *document = written);
        leading.reconcile();
        assert!(!leading.listener.is_busy());
    }
}

#[test]
fn after_is_called_when_each_shard_is_done_and_closes_the_fire() {
    let mut leading = Leading::new();
    leading.term().opened = Some(DUE);
    leading.stands(open());
    leading.stores(0, 10_000);
    leading.reconcile();
    assert_eq!(leading.called(), [], "shard 1 is not done");
    leading.stores(1, 10_000);
    leading.reconcile();
    assert_eq!(leading.called(), [(Part::After, DUE, 1)]);
    // However it ends.
    leading.ends(Ending::Panicked("oh".to_owned()));
    leading.reconcile();
    assert_eq!(leading.written().map(|it| it.stage), Some(Stage::Closed));
    let Some(Hold { reason: Reason::Overlap, .. }) = leading.listener.hold else {
        panic!("fires due meanwhile were held up: {:?}", leading.listener.hold)
    };
}

#[test]
fn whoever_leads_no_more_tells_its_call_to_stop_and_nobody_how_it_ended() {
    let mut leading = Leading::new();
    leading.reconcile();
    leading.called();
    leading.leads(OTHER, 6);
    leading.reconcile();
    let cancels = leading.rig.effects.iter().filter(|it| matches!(it, Effect::Cancel(..)));
    assert_eq!(cancels.count(), 1);
    assert!(leading.listener.is_busy(), "its code goes on");
    leading.ends(Ending::Succeeded);
    leading.leads(ME, 7);
    leading.reconcile();
    let written = leading.written().map(|it| it.stage);
    assert_eq!(written, Some(Stage::Repeated { fire: DUE, attempt: 2 }), "it is called anew");
}

#[test]
fn a_call_that_takes_too_long_has_failed_and_any_other_that_is_stopped_is_called_again() {
    for (reason, stage) in [
        (CancelReason::TimedOut, None),
        (CancelReason::SessionLost, Some(Stage::Repeated { fire: DUE, attempt: 2 })),
    ] {
        let mut leading = Leading::new();
        leading.reconcile();
        leading.listener.cancel(&mut leading.rig.turn(), reason);
        leading.reconcile();
        let written = leading.written().map(|it| it.stage);
        match stage {
            None => assert!(matches!(written, Some(Stage::Passed(_))), "{written:?}"),
            Some(_) => assert_eq!(written, None, "its code goes on"),
        }
        leading.ends(Ending::Cancelled(reason));
        leading.reconcile();
        assert_eq!(leading.written().map(|it| it.stage), stage, "{reason:?}");
    }
}

#[test]
fn nothing_is_called_beside_a_call_that_does_not_stop_and_it_is_not_waited_for_for_ever() {
    let mut leading = Leading::new();
    leading.reconcile();
    leading.listener.cancel(&mut leading.rig.turn(), CancelReason::TimedOut);
    leading.called();
    leading.stands_as(|document| document.through = at(10_000));
    leading.rig.pass(1_000);
    leading.reconcile();
    assert_eq!(leading.called(), [], "it may end soon");
    leading.listener.overdue(&mut leading.rig.turn());
    leading.reconcile();
    assert_eq!(leading.called(), []);
    leading.reconcile();
    let written = leading.written().expect("the next fire's before has failed");
    let Stage::Passed(passed) = written.stage else { panic!("{written:?}") };
    assert_eq!((passed.reason, passed.through), (Reason::BeforeFailed, at(11_000)));
}

#[test]
fn a_request_opens_one_fire_that_no_other_run_has_the_instant_of() {
    let mut leading = Leading::new();
    leading.stands_as(|document| (document.asked, document.answered) = (8, 7));
    leading.reconcile();
    let asked = Fire { due: at(10_000), source: Source::Trigger };
    assert_eq!(leading.called(), [(Part::Before, asked, 1)]);
    leading.ends(Ending::Succeeded);
    leading.reconcile();
    let written = leading.written().expect("it is opened");
    assert_eq!((written.asked, written.answered, written.through), (8, 8, at(9_000)));
    // Every shard is switched off.
    let mut leading = Leading::new();
    leading.stands_as(|document| (document.asked, document.answered) = (8, 7));
    for shard in 0..2 {
        leading.mirror.holds(Facet::Disabled(shard), Some(entry("", 1)));
    }
    leading.reconcile();
    let written = leading.written().expect("it is dropped, and told so");
    assert_eq!((written.stage, written.answered), (Stage::Closed, 8));
    assert_eq!(leading.called(), []);
}

#[test]
fn the_first_leader_makes_the_document_before_it_calls() {
    let mut leading = Leading::elected();
    leading.mirror.holds(Facet::Once, None);
    leading.reconcile();
    let change = leading.rig.sent_one();
    assert!(matches!(change.ops.last(), Some(Op::Create { .. })));
    assert!(leading.term().since.is_none(), "nobody called before");
    assert_eq!(leading.called(), []);
}

#[test]
fn a_fire_is_closed_without_shards_that_nobody_can_begin_but_not_at_once() {
    let mut leading = Leading::new();
    leading.stands(open());
    leading.stores(0, 10_000);
    leading.mirror.holds(Facet::Owner(1), None);
    leading.reconcile();
    assert_eq!((leading.called(), leading.written()), (vec![], None), "it is dealt anew by then");
    assert!(leading.rig.asked().contains(&Facet::Record(1)), "nobody here writes it");
    leading.stores(1, 9_000);
    leading.reconcile();
    assert_eq!(leading.written(), None);
    leading.rig.pass(5_000);
    leading.reconcile();
    let closing = Stage::Closing { fire: DUE, shards: 2 };
    assert_eq!(leading.written().map(|it| it.stage), Some(closing));
    leading.once.removed();
    leading.stands(closing);
    leading.rig.asked();
    leading.reconcile();
    assert_eq!(leading.called(), [], "what was read before may be older");
    let asked = leading.rig.asked();
    assert!(asked.contains(&Facet::Record(1)), "{asked:?}");
    for shard in 0..2 {
        leading.stores(shard, 10_000 - i64::from(shard) * 1_000);
    }
    leading.reconcile();
    assert_eq!(leading.called(), [(Part::After, DUE, 2)], "another leader has opened it");
}

#[test]
fn a_record_that_is_heard_of_makes_the_job_be_looked_at_once_no_shard_goes_on() {
    let mut leading = Leading::new();
    leading.stands(open());
    leading.reconcile();
    for (shard, is_looked_at) in [(0, false), (1, true)] {
        leading.stores(shard, 10_000);
        leading.rig.is_job_marked();
        let Leading { rig, mirror, config, listener, .. } = &mut leading;
        listener.heard(&mut rig.turn(), mirror, Some(config), shard);
        assert_eq!(leading.rig.is_job_marked(), is_looked_at, "{shard}");
    }
}

#[test]
fn a_call_is_awaited_as_long_as_its_fire_stands_where_it_was_begun() {
    let other = Fire { due: at(11_000), ..DUE };
    let asked = Fire { due: at(10_500), source: Source::Trigger };
    let passed = |through| {
        let (fate, reason) = (Fate::Skipped, Reason::Overlap);
        Stage::Passed(Passed { first: through, through, fate, reason })
    };
    // What is called for which fire, what stands, up to when, the requests; whether it is awaited.
    let table = [
        (Part::Before, DUE, Stage::Closed, 9_000, (0, 0), true),
        (Part::Before, DUE, Stage::Closed, 10_000, (0, 0), false),
        (Part::Before, DUE, passed(at(9_000)), 9_000, (0, 0), true),
        (Part::Before, DUE, Stage::Repeated { fire: DUE, attempt: 2 }, 9_000, (0, 0), true),
        (Part::Before, DUE, Stage::Repeated { fire: other, attempt: 2 }, 9_000, (0, 0), false),
        (Part::Before, DUE, open(), 10_000, (0, 0), false),
        (Part::Before, asked, Stage::Closed, 9_000, (8, 7), true),
        (Part::Before, asked, Stage::Closed, 9_000, (8, 8), false),
        (Part::After, DUE, open(), 10_000, (0, 0), true),
        (Part::After, other, open(), 10_000, (0, 0), false),
        (Part::After, DUE, Stage::Closing { fire: DUE, shards: 2 }, 10_000, (0, 0), true),
        (Part::After, DUE, Stage::Closed, 10_000, (0, 0), false),
    ];
    for (part, fire, stage, through, (asked, answered), is_awaited) in table {
        let mut leading = Leading::new();
        let leader = leading.term().stamp;
        let call = Call::begin(&mut leading.rig.turn(), &leading.config, (part, fire, 1), leader);
        let through = at(through);
        let document = Guarantee { through, stage, asked, answered, ..Guarantee::default() };
        assert_eq!(call.is_awaited(&document), is_awaited, "{part:?} of {fire:?} at {document:?}");
    }
}

#[test]
fn what_is_being_opened_is_open_to_own_shards_in_the_leaders_session_alone() {
    let other = flockwork_registry::SessionId(9);
    let asked = Fire { due: at(10_000), source: Source::Trigger };
    // Whether somebody asked for the fire, how before ended, the session; whether own shards may run it.
    let table = [
        (false, Ending::Succeeded, Some(SESSION), true),
        (false, Ending::Succeeded, Some(other), false),
        (false, Ending::Succeeded, None, false),
        (false, Ending::Error("no".to_owned()), Some(SESSION), false),
        (true, Ending::Succeeded, Some(SESSION), false),
    ];
    for (is_asked, ending, session, may_run) in table {
        let mut leading = Leading::new();
        leading.stands_as(|document| document.asked = u64::from(is_asked));
        leading.reconcile();
        let rules = ListenerRules::default();
        assert_eq!(leading.listener.opens(rules, session), None, "it is being called");
        leading.ends(ending);
        let (opens, stamp) = (leading.listener.opens(rules, session), leading.term().stamp);
        let fire = if is_asked { asked } else { DUE };
        assert_eq!(opens, may_run.then_some(Gate::Opening(fire, stamp)), "{is_asked} {session:?}");
    }
}

/// The process stood still: the session's trust was over before the code was to start, and that was heard of
/// first.
#[test]
fn a_call_that_was_told_to_stop_and_was_not_started_either_leaves_no_place_behind() {
    for reason in [CancelReason::SessionLost, CancelReason::TimedOut] {
        let mut leading = Leading::new();
        leading.reconcile();
        let run = leading.listener.run_id().expect("it is called");
        leading.listener.cancel(&mut leading.rig.turn(), reason);
        leading.listener.not_started(&mut leading.rig.turn(), run);
        assert_eq!(leading.rig.capacity.running(), 0, "{reason:?}");
        assert_eq!(leading.listener.run_id(), None, "{reason:?}");
    }
}

#[test]
fn a_request_that_was_called_for_twice_is_over_and_the_next_has_a_fire_of_its_own() {
    let mut leading = Leading::new();
    leading.stands_as(|document| (document.asked, document.answered) = (8, 7));
    leading.reconcile();
    let run = leading.listener.run_id().expect("it is called");
    leading.listener.cancel(&mut leading.rig.turn(), CancelReason::SessionLost);
    leading.listener.ended(&mut leading.rig.turn(), (run, Outcome::of(Ending::Succeeded)));
    leading.reconcile();
    let first = Fire { due: at(10_000), source: Source::Trigger };
    let repeated = Stage::Repeated { fire: first, attempt: 2 };
    assert_eq!(leading.written().map(|it| it.stage), Some(repeated));
    leading.once.removed();
    // It was opened and closed, and somebody asks once more.
    leading.stands_as(|document| {
        (document.asked, document.answered, document.newest) = (9, 8, first.due);
    });
    leading.rig.effects.clear();
    leading.reconcile();
    let next = Fire { due: at(10_001), ..first };
    assert_eq!(leading.called(), [(Part::Before, next, 1)]);
}

#[test]
fn a_shard_that_the_job_lost_during_the_fire_may_have_begun_unseen() {
    let mut leading = Leading::new();
    leading.stands(Stage::Open { fire: DUE, shards: 2 });
    leading.stores(0, 10_000);
    Arc::make_mut(&mut leading.config).shards = 1;
    let schedule = leading.config.schedule_fingerprint();
    let plan = flockwork_layout::plan::Plan::new(schedule.into(), 1, at(1_000));
    let plan = entry(flockwork_layout::plan::encode(&plan), 9);
    leading.mirror.holds(Facet::Plan, Some(plan));
    leading.mirror.lists(Facet::Sharding, &["0", "1"]);
    leading.reconcile();
    assert_eq!((leading.called(), leading.written()), (vec![], None));
    // The leader has taken it away.
    leading.mirror.lists(Facet::Sharding, &["0"]);
    leading.reconcile();
    assert_eq!(leading.called().len(), 1);
}

#[test]
fn what_a_leader_before_has_begun_is_open_whatever_the_document_says() {
    let mut leading = Leading::new();
    leading.stores(0, 10_000);
    leading.reconcile();
    assert_eq!(leading.written().map(|it| it.stage), Some(open()));
    assert_eq!(leading.called(), []);
}
