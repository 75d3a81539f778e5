//! What lines that a run's code logs carry.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use flockwork_core::execution::{Fire, Part, Run, RunId, Source, Work};
use flockwork_core::id::{Epoch, InstanceId, JobName};
use flockwork_core::time::Timestamp;
use flockwork_worker::{BoxError, Function, Listener, Settings, Worker};
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::oneshot;
use tracing::field::{Field, Visit};
use tracing::span;

const LONG: Duration = Duration::from_secs(30);

/// Writes each new span as a line.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Spans {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let mut line = Line(attributes.metadata().name().to_owned());
        attributes.record(&mut line);
        let mut lines = self.0.lock().unwrap();
        lines.push(line.0);
        span::Id::from_u64(lines.len() as u64)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push_str(&format!(" {}={value:?}", field.name()));
    }
}

fn run_of(part: Part) -> Arc<Run> {
    Arc::new(Run {
        id: RunId(1),
        job: JobName::new("job").unwrap(),
        part,
        shard: 0,
        shards: 4,
        fire: Fire { due: Timestamp::from_millis(1_767_225_600_000), source: Source::Schedule },
        attempt: 1,
        epoch: Epoch(77),
        instance: InstanceId::new("10.0.0.1@-@4711-9f3c").unwrap(),
        shard_parameter: None,
        job_parameter: String::new(),
        timeout: None,
        work: Arc::new(Work::Function),
    })
}

#[tokio::test]
async fn a_run_names_its_shard_and_a_call_of_the_listener_its_part() {
    struct Silent;
    impl Listener for Silent {}
    // This runtime has one thread, and what the worker starts runs on it.
    let spans = Spans::default();
    let _set = tracing::subscriber::set_default(spans.clone());
    let worker = Worker::new(Settings::default(), tokio::runtime::Handle::current());
    let job = JobName::new("job").unwrap();
    worker.register(job.clone(), Function::from_async(async |_| Ok::<_, BoxError>(())));
    worker.listen(job, Arc::new(Silent));
    for part in [Part::Before, Part::Shard, Part::After] {
        let (tell, told) = oneshot::channel();
        worker.start(run_of(part), move |outcome| tell.send(outcome).unwrap());
        tokio::time::timeout(LONG, told).await.unwrap().unwrap();
    }
    let fire = "fire=2026-01-01T00:00:00Z epoch=77";
    let expected = [
        format!("listener job=job part=\"before\" {fire}"),
        format!("run job=job shard=0 {fire}"),
        format!("listener job=job part=\"after\" {fire}"),
    ];
    let made: Vec<_> = spans.0.lock().unwrap().clone();
    let ours = |line: &&String| line.starts_with("listener") || line.starts_with("run ");
    assert_eq!(made.iter().filter(ours).collect::<Vec<_>>(), expected.iter().collect::<Vec<_>>());
}
