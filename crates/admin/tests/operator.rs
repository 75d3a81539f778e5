//! Questions and orders over a memory registry, with a job as nodes leave it there.
#![allow(clippy::unwrap_used, reason = "a scene that cannot be set is a failed test")]

use flockwork_admin::{
    AdminError, Health, IneligibleRow, Operator, Removal, ShardHealth, ShardRow, Switch,
};
use flockwork_core::account::{Claim, ClaimState, Last, Record};
use flockwork_core::execution::{Fire, Source};
use flockwork_core::id::{InstanceId, JobName};
use flockwork_core::time::Timestamp;
use flockwork_layout::clock::{self, ClockNote};
use flockwork_layout::ineligible::{self, Reason};
use flockwork_layout::keys::{Facet, Namespace};
use flockwork_layout::plan::{self, Plan};
use flockwork_layout::record::{self, Stored};
use flockwork_registry::client::Client;
use flockwork_registry::memory::{Connected, Faults, MemoryRegistry, Options};
use flockwork_registry::{Failure, Limits, Op, Registry, Request, Ticket};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);
const PATIENCE: Duration = Duration::from_secs(5);
const CONFIG: &str = "jobName: settle\ncron: 0/5 * * * * ?\nshardingTotalCount: 2\n";

/// A registry, and someone who serves a job in it.
struct Scene {
    registry: MemoryRegistry,
    namespace: Namespace,
    job: JobName,
    me: InstanceId,
    serving: Client,
}

impl Scene {
    async fn new() -> Self {
        let registry = MemoryRegistry::new(Options::default());
        let (connection, inbox) = registry.connect();
        let mut scene = Self {
            registry,
            namespace: Namespace::new("ns").unwrap(),
            job: JobName::new("settle").unwrap(),
            me: InstanceId::new("10.0.0.1@-@7-a").unwrap(),
            serving: Client::new(connection, inbox, PATIENCE),
        };
        scene.fill().await;
        scene
    }

    async fn fill(&mut self) {
        let owned = |shard| (Facet::Owner(shard), self.me.to_string());
        let entries = [
            (Facet::Job, "settle".to_owned()),
            (Facet::Config, CONFIG.to_owned()),
            (Facet::Instances, String::new()),
            (Facet::Servers, String::new()),
            (Facet::Server("10.0.0.1".into()), "ENABLED".to_owned()),
            (Facet::Sharding, String::new()),
            (Facet::Shard(0), String::new()),
            owned(0),
            (Facet::Shard(1), String::new()),
            owned(1),
        ];
        let roots =
            [self.namespace.root(), self.namespace.own_root()].map(|key| Op::create(key, ""));
        let job = entries.map(|(facet, value)| Op::create(self.key(&facet), value));
        let own = [Facet::OwnJob, Facet::Records].map(|facet| Op::create(self.key(&facet), ""));
        let plan = Plan::new("s".into(), 2, NOW);
        let stored = [
            Op::create(self.key(&Facet::Plan), plan::encode(&plan)),
            Op::create(self.key(&Facet::Record(1)), record::encode(&ended())),
            Op::create_for_session(self.key(&Facet::Instance(self.me.clone())), ""),
        ];
        let ops = roots.into_iter().chain(job).chain(own).chain(stored).collect();
        self.serving.commit(ops).await.unwrap();
    }

    fn key(&self, facet: &Facet) -> flockwork_registry::Key {
        self.namespace.key(&self.job, facet)
    }

    fn operator(&self) -> (Operator, Faults) {
        let Connected { registry, inbox, faults } = self.registry.connect_faulty();
        (Operator::new(Client::new(registry, inbox, PATIENCE), self.namespace.clone()), faults)
    }

    async fn exists(&mut self, facet: &Facet) -> bool {
        let key = self.key(facet);
        self.serving.get(&key).await.unwrap().is_some()
    }
}

fn ended() -> Stored {
    let last = Last {
        fire: Fire { due: NOW, source: Source::Schedule },
        attempt: 1,
        instance: InstanceId::new("10.0.0.1@-@7-a").unwrap(),
        nonce: 1,
        started: NOW,
        ended: NOW,
        code: "EXIT".into(),
        text: "exit code 3".into(),
        output_tail: "no table\n".into(),
        rows: 0,
        bytes: 0,
    };
    let record = Record { last: Some(last.into()), ..Record::default() };
    Stored { record, ..Stored::default() }
}

#[tokio::test]
async fn a_served_job_is_listed_and_described() {
    let scene = Scene::new().await;
    let (mut operator, _) = scene.operator();
    let rows = operator.jobs(NOW).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].health, rows[0].shards, rows[0].instances), (Health::Ok, Some(2), 1));
    assert_eq!(rows[0].next, Some(NOW.plus(Duration::from_secs(5))));
    let detail = operator.job("settle", NOW).await.unwrap();
    assert_eq!(detail.next.len(), 5);
    assert_eq!(detail.shards[0].health, ShardHealth::Pending);
    assert_eq!(detail.shards[1].last.as_ref().unwrap().code, "EXIT");
}

#[tokio::test]
async fn a_run_that_does_not_stop_is_shown_overdue() {
    let scene = Scene::new().await;
    let (mut operator, _) = scene.operator();
    let mut detail = operator.job("settle", NOW).await.unwrap();
    let claim = Claim {
        fire: Fire { due: NOW, source: Source::Schedule },
        attempt: 1,
        crashes: 0,
        instance: scene.me.clone(),
        nonce: 1,
        at: NOW,
        mark_lasts: false,
        state: ClaimState::Held,
    };
    let shard = ShardRow { claim: Some(claim), ..detail.shards[0].clone() };
    let later = |seconds| NOW.plus(Duration::from_secs(seconds));
    assert!(!detail.is_overdue(&shard, later(100_000)), "it may run for ever");
    detail.definition.config.as_mut().unwrap().timeout = Some(Duration::from_secs(30));
    assert!(!detail.is_overdue(&shard, later(40)), "it has ten seconds to stop");
    assert!(detail.is_overdue(&shard, later(41)));
    assert!(!detail.is_overdue(&detail.shards[1], later(41)), "it has ended");
}

#[tokio::test]
async fn what_instances_say_of_their_clocks_is_shown() {
    let mut scene = Scene::new().await;
    let note = ClockNote { limit: 2_000, ahead: Some(10_000), differs: true };
    let other = InstanceId::new("10.0.0.2@-@7-b").unwrap();
    let ops = vec![
        Op::create(scene.key(&Facet::Clocks), ""),
        Op::create_for_session(scene.key(&Facet::Clock(scene.me.clone())), clock::encode(&note)),
        Op::create_for_session(scene.key(&Facet::Clock(other)), &br#"{"v":9}"#[..]),
    ];
    scene.serving.commit(ops).await.unwrap();
    let (mut operator, _) = scene.operator();
    let clocks = operator.job("settle", NOW).await.unwrap().clocks;
    assert_eq!((&clocks[0].instance, clocks[0].note.as_ref()), (&scene.me, Ok(&note)));
    assert!(clocks[1].note.is_err(), "a newer form is told as not readable");
}

#[tokio::test]
async fn a_job_that_nobody_may_serve_waits_and_each_says_why() {
    let mut scene = Scene::new().await;
    let other = InstanceId::new("10.0.0.2@-@7-b").unwrap();
    let reason = Reason { code: "SCRIPT_NOT_ALLOWED".into(), text: "name it".into() };
    let says = ineligible::encode(std::slice::from_ref(&reason));
    let ops = vec![
        Op::create(scene.key(&Facet::Ineligibles), ""),
        Op::create_for_session(scene.key(&Facet::Ineligible(other.clone())), says),
        Op::create_for_session(scene.key(&Facet::Ineligible(scene.me.clone())), r#"{"v":9}"#),
    ];
    scene.serving.commit(ops).await.unwrap();
    let (mut operator, _) = scene.operator();
    let row = operator.jobs(NOW).await.unwrap().remove(0);
    assert!(row.health == Health::Ok && row.ineligible.is_empty(), "somebody serves it");
    let detail = operator.job("settle", NOW).await.unwrap();
    let says = |n: usize| (&detail.ineligible[n].instance, detail.ineligible[n].reasons.as_deref());
    assert!(says(0).0 == &scene.me && says(0).1.is_err(), "a newer form is told as not readable");
    assert_eq!(says(1), (&other, Ok(&[reason][..])));

    let gone = Op::Delete(scene.key(&Facet::Instance(scene.me.clone())), None);
    scene.serving.commit(vec![gone]).await.unwrap();
    let row = operator.jobs(NOW).await.unwrap().remove(0);
    assert_eq!(row.health, Health::Waiting);
    let codes: Vec<_> = IneligibleRow::codes(&row.ineligible).into_iter().collect();
    assert_eq!(codes, ["SCRIPT_NOT_ALLOWED"]);
    assert_eq!(operator.job("settle", NOW).await.unwrap().health, Health::Waiting);
}

#[tokio::test]
async fn what_is_not_there_is_answered_with_what_may_have_been_meant() {
    let scene = Scene::new().await;
    let (mut operator, _) = scene.operator();
    let error = operator.job("setle", NOW).await.unwrap_err();
    assert_eq!(error.code(), "JOB_NOT_FOUND");
    assert_eq!(error.hint().unwrap(), "did you mean settle?");
    let error = operator.remove("setle", Removal::default(), NOW).await.unwrap_err();
    assert_eq!(error.code(), "JOB_NOT_FOUND");
    let shard = Switch::Shard("settle".into(), 2);
    assert_eq!(operator.switch(&shard, false, NOW).await.unwrap_err().code(), "SHARD_NOT_FOUND");
    let server = Switch::Server("10.0.0.9".into());
    let error = operator.switch(&server, false, NOW).await.unwrap_err();
    assert_eq!(error.hint().unwrap(), "there are 10.0.0.1");
}

#[tokio::test]
async fn a_job_whose_instance_left_is_crashed_and_cannot_be_triggered() {
    let mut scene = Scene::new().await;
    let instance = scene.key(&Facet::Instance(scene.me.clone()));
    scene.serving.commit(vec![Op::Delete(instance, None)]).await.unwrap();
    let (mut operator, _) = scene.operator();
    let detail = operator.job("settle", NOW).await.unwrap();
    assert_eq!(
        (detail.health, detail.shards[0].health),
        (Health::Crashed, ShardHealth::ShardingFlag)
    );
    assert_eq!(operator.trigger("settle").await.unwrap_err().code(), "NOT_SERVED");
}

#[tokio::test]
async fn a_trigger_asks_each_instance_once_until_it_has_seen_it() {
    let mut scene = Scene::new().await;
    let (mut operator, _) = scene.operator();
    assert_eq!(operator.trigger("settle").await.unwrap().asked, [scene.me.clone()]);
    assert!(scene.exists(&Facet::Trigger(scene.me.clone())).await);
    assert_eq!(operator.trigger("settle").await.unwrap().coalesced, [scene.me.clone()]);
}

#[tokio::test]
async fn a_registry_that_is_away_is_told_as_away_and_not_as_empty() {
    let scene = Scene::new().await;
    let (mut operator, faults) = scene.operator();
    faults.refuse(1, &Failure::NotSent("away".into()));
    let error = operator.jobs(NOW).await.unwrap_err();
    assert!(matches!(error, AdminError::Unavailable(_)), "{error}");
    faults.refuse(1, &Failure::NotSent("away".into()));
    let error = operator.job("settle", NOW).await.unwrap_err();
    assert!(matches!(error, AdminError::Unavailable(_)), "{error}");
}

#[tokio::test]
async fn a_job_is_disabled_on_all_its_servers_and_enabled_again() {
    let scene = Scene::new().await;
    let (mut operator, _) = scene.operator();
    let job = Switch::Job("settle".into());
    assert_eq!(operator.switch(&job, false, NOW).await.unwrap()[0].place, "10.0.0.1");
    assert_eq!(operator.jobs(NOW).await.unwrap()[0].health, Health::Disabled);
    assert_eq!(operator.trigger("settle").await.unwrap_err().code(), "JOB_DISABLED");
    operator.switch(&Switch::Server("10.0.0.1".into()), true, NOW).await.unwrap();
    assert_eq!(operator.jobs(NOW).await.unwrap()[0].health, Health::Ok);
    // Said twice it is still so.
    operator.switch(&job, true, NOW).await.unwrap();
}

#[tokio::test]
async fn a_shard_is_switched_off_and_on() {
    let mut scene = Scene::new().await;
    let (mut operator, _) = scene.operator();
    let shard = Switch::Shard("settle".into(), 1);
    for _ in 0..2 {
        operator.switch(&shard, false, NOW).await.unwrap();
        assert!(scene.exists(&Facet::Disabled(1)).await);
    }
    let detail = operator.job("settle", NOW).await.unwrap();
    assert_eq!(detail.shards[1].health, ShardHealth::Disabled);
    for _ in 0..2 {
        operator.switch(&shard, true, NOW).await.unwrap();
        assert!(!scene.exists(&Facet::Disabled(1)).await);
    }
}

/// A claim of shard 0 that an instance holds.
async fn hold(scene: &mut Scene, instance: &InstanceId) {
    let claim = Claim {
        fire: Fire { due: NOW, source: Source::Schedule },
        attempt: 1,
        crashes: 0,
        instance: instance.clone(),
        nonce: 77,
        at: NOW,
        mark_lasts: false,
        state: ClaimState::Held,
    };
    let record = Record { claim: Some(claim), ..Record::default() };
    let stored = record::encode(&Stored { record, ..Stored::default() });
    let key = scene.key(&Facet::Record(0));
    scene.serving.commit(vec![Op::create(key, stored)]).await.unwrap();
}

#[tokio::test]
async fn a_removed_job_leaves_its_records_until_they_are_removed_on_purpose() {
    let mut scene = Scene::new().await;
    let (mut operator, _) = scene.operator();
    let removed = operator.remove("settle", Removal::default(), NOW).await.unwrap();
    // What the scene has made of it, below the namespace.
    assert_eq!((removed.entries, removed.records, removed.was_defined), (11, 1, true));
    assert!(!scene.exists(&Facet::Job).await);
    assert!(scene.exists(&Facet::Record(1)).await && scene.exists(&Facet::Plan).await);
    assert!(operator.jobs(NOW).await.unwrap().is_empty());
    let detail = operator.job("settle", NOW).await.unwrap();
    assert_eq!((detail.health, detail.shards.len()), (Health::Removed, 1));
    assert_eq!(detail.shards[0].last.as_ref().unwrap().code, "EXIT");
    // Again: nothing more to do, and nothing is lost by it.
    let again = operator.remove("settle", Removal::default(), NOW).await.unwrap();
    assert_eq!((again.entries, again.records, again.was_defined), (0, 1, false));
    let removal = Removal { with_records: true, ..Removal::default() };
    let removed = operator.remove("settle", removal, NOW).await.unwrap();
    assert_eq!((removed.records, removed.with_records), (1, true));
    assert!(!scene.exists(&Facet::OwnJob).await);
    assert_eq!(operator.job("settle", NOW).await.unwrap_err().code(), "JOB_NOT_FOUND");
    let error = operator.remove("settle", removal, NOW).await.unwrap_err();
    assert_eq!(error.code(), "JOB_NOT_FOUND");
}

#[tokio::test(start_paused = true)]
async fn runs_in_flight_are_waited_for_and_told() {
    let mut scene = Scene::new().await;
    let me = scene.me.clone();
    hold(&mut scene, &me).await;
    let (mut operator, _) = scene.operator();
    let key = scene.key(&Facet::Record(0));
    let ending = async {
        // The node has heard of it, and its run ends.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let last = Last {
            nonce: 77,
            code: "REMOVED".into(),
            ..Last::clone(&ended().record.last.unwrap())
        };
        let record = Record { last: Some(last.into()), ..Record::default() };
        let stored = record::encode(&Stored { record, ..Stored::default() });
        scene.serving.commit(vec![Op::Set(key, stored, None)]).await.unwrap();
    };
    let (removed, ()) = tokio::join!(operator.remove("settle", Removal::default(), NOW), ending);
    let runs = removed.unwrap().runs;
    assert_eq!(runs.len(), 1);
    assert_eq!((runs[0].shard, runs[0].due, &runs[0].instance), (0, NOW, &me));
    assert_eq!(runs[0].ended.as_deref(), Some("REMOVED"));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_does_not_end_or_whose_instance_is_gone_is_closed() {
    for (instance, waited) in [("10.0.0.1@-@7-a", 6), ("10.0.0.9@-@7-gone", 0)] {
        let mut scene = Scene::new().await;
        hold(&mut scene, &InstanceId::new(instance).unwrap()).await;
        let (mut operator, _) = scene.operator();
        let began = tokio::time::Instant::now();
        let removed = operator.remove("settle", Removal::default(), NOW).await.unwrap();
        assert_eq!(began.elapsed().as_secs(), waited, "{instance}");
        assert_eq!(removed.runs[0].ended, None);
        let detail = operator.job("settle", NOW).await.unwrap();
        assert_eq!(detail.shards[0].claim, None);
        assert_eq!(detail.shards[0].last.as_ref().unwrap().code, "REMOVED");
    }
}

/// A way on which nothing goes through any more after so many requests.
#[derive(Debug)]
struct Cut {
    registry: Arc<dyn Registry>,
    left: AtomicUsize,
}

impl Registry for Cut {
    fn submit(&self, ticket: Ticket, request: Request) {
        let one_less = |left: usize| left.checked_sub(1);
        if self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok() {
            self.registry.submit(ticket, request);
        }
    }

    fn limits(&self) -> Limits {
        // Few, so that there are many points.
        Limits { max_ops: 4, ..self.registry.limits() }
    }

    fn describe(&self) -> String {
        self.registry.describe()
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.registry.close()
    }
}

/// The way to the registry breaks at each point once; the same order again completes it.
#[tokio::test(start_paused = true)]
async fn an_interrupted_removal_is_completed_by_the_same_order() {
    let removal = Removal { with_records: true, patience: Duration::ZERO };
    let mut interrupted = 0;
    for at in 0..200 {
        let mut scene = Scene::new().await;
        let me = scene.me.clone();
        hold(&mut scene, &me).await;
        let (registry, inbox) = scene.registry.connect();
        let cut = Arc::new(Cut { registry, left: AtomicUsize::new(at) });
        let mut operator =
            Operator::new(Client::new(cut, inbox, PATIENCE), scene.namespace.clone());
        match operator.remove("settle", removal, NOW).await {
            Ok(_) => break,
            Err(AdminError::Unavailable(_) | AdminError::OutcomeUnknown { .. }) => {}
            Err(why) => panic!("at {at}: {why}"),
        }
        interrupted += 1;
        let (mut operator, _) = scene.operator();
        match operator.remove("settle", removal, NOW).await {
            Ok(removed) => assert!(removed.with_records),
            // All was gone already.
            Err(why) => assert_eq!(why.code(), "JOB_NOT_FOUND", "at {at}"),
        }
        for facet in [Facet::Job, Facet::Config, Facet::OwnJob, Facet::Record(0)] {
            assert!(!scene.exists(&facet).await, "{facet:?} is left, at {at}");
        }
    }
    assert!(interrupted > 10, "only {interrupted} points");
}

#[tokio::test]
async fn a_definition_that_cannot_be_read_spoils_only_its_job() {
    let mut scene = Scene::new().await;
    let key = scene.namespace.key(&JobName::new("broken").unwrap(), &Facet::Job);
    let config = scene.namespace.key(&JobName::new("broken").unwrap(), &Facet::Config);
    let ops = vec![Op::create(key, ""), Op::create(config, &b"\xff\xfe"[..])];
    scene.serving.commit(ops).await.unwrap();
    let (mut operator, _) = scene.operator();
    let healths: Vec<Health> =
        operator.jobs(NOW).await.unwrap().iter().map(|row| row.health).collect();
    assert_eq!(healths, [Health::InvalidConfig, Health::Ok]);
}
