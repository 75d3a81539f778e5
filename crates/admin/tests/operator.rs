//! Questions and orders over a memory registry, with a job as nodes leave it there.
#![allow(clippy::unwrap_used, reason = "a scene that cannot be set is a failed test")]

use flockwork_admin::{AdminError, Health, Operator, ShardHealth, ShardRow, Switch};
use flockwork_core::account::{Claim, ClaimState, Last, Record};
use flockwork_core::execution::{Fire, Source};
use flockwork_core::id::{InstanceId, JobName};
use flockwork_core::time::Timestamp;
use flockwork_layout::clock::{self, ClockNote};
use flockwork_layout::keys::{Facet, Namespace};
use flockwork_layout::plan::{self, Plan};
use flockwork_layout::record::{self, Stored};
use flockwork_registry::client::Client;
use flockwork_registry::memory::{Connected, Faults, MemoryRegistry, Options};
use flockwork_registry::{Failure, Op};
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
    let record = Record { last: Some(last), ..Record::default() };
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
async fn what_is_not_there_is_answered_with_what_may_have_been_meant() {
    let scene = Scene::new().await;
    let (mut operator, _) = scene.operator();
    let error = operator.job("setle", NOW).await.unwrap_err();
    assert_eq!(error.code(), "JOB_NOT_FOUND");
    assert_eq!(error.hint().unwrap(), "did you mean settle?");
    assert_eq!(operator.remove("setle").await.unwrap_err().code(), "JOB_NOT_FOUND");
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

#[tokio::test]
async fn a_removed_job_leaves_nothing_behind() {
    let mut scene = Scene::new().await;
    let (mut operator, _) = scene.operator();
    operator.remove("settle").await.unwrap();
    assert!(!scene.exists(&Facet::Job).await);
    assert!(!scene.exists(&Facet::OwnJob).await);
    assert!(operator.jobs(NOW).await.unwrap().is_empty());
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
