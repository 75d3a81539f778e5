//! Where input comes in, and what is answered there.

use super::Expected;
use flockwork_core::config::Problem;
use flockwork_core::id::{InstanceId, JobName};
use flockwork_core::time::Timestamp;
use flockwork_layout::settings::{self, Resolved, Written};
use flockwork_layout::{document, file};

/// 2026-11-22T00:00:00Z.
const NOW: Timestamp = Timestamp::from_millis(1_795_305_600_000);

/// Where input comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Surface {
    /// The fields of a native job, as YAML.
    Native,
    /// The name of a native job, as YAML.
    NativeName,
    /// The keys of an ElasticJob document, as YAML.
    Elastic,
    /// A whole ElasticJob document as a file.
    ElasticFile,
    /// A whole native file.
    File,
    /// Bytes that are no text: each character is one byte.
    Bytes,
    /// A setting on the command line: `flag=value`.
    Flag,
    /// An instance's id.
    Instance,
    /// An argument: each character is one byte.
    Argument,
}

impl Surface {
    /// Whether its problems have a line and a column.
    pub(crate) fn has_positions(self) -> bool {
        matches!(self, Self::Native | Self::NativeName | Self::Elastic | Self::ElasticFile)
    }
}

/// What was answered.
pub(crate) struct Answer {
    pub(crate) problems: Vec<Problem>,
    pub(crate) taken: bool,
    pub(crate) millis: i64,
}

impl Answer {
    pub(crate) fn report(&self) -> String {
        self.problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
    }

    /// The first error, else the first warning.
    pub(crate) fn summary(&self) -> Expected {
        let error = self.problems.iter().find(|problem| problem.is_error());
        match (error, self.problems.first()) {
            (Some(problem), _) => Expected::Refused(problem.code.as_str()),
            (None, _) if !self.taken => Expected::Refused("nothing was said"),
            (None, Some(problem)) => Expected::Warned(problem.code.as_str()),
            (None, None) => Expected::Taken,
        }
    }
}

/// The processor's time of this thread in milliseconds: a busy machine does not count.
fn cpu_time() -> i64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec * 1000 + time.tv_nsec / 1_000_000
}

pub(crate) fn answer(surface: Surface, input: &str) -> Answer {
    let start = cpu_time();
    let (problems, taken) = asked(surface, input);
    Answer { problems, taken, millis: cpu_time() - start }
}

fn asked(surface: Surface, input: &str) -> (Vec<Problem>, bool) {
    let bytes = || input.chars().map(|c| u8::try_from(c).unwrap()).collect::<Vec<u8>>();
    match surface {
        Surface::Native => read(format!("jobs:\n  job:\n    shards: 3\n    {input}\n").as_bytes()),
        Surface::NativeName => read(format!("jobs:\n  ? {input}\n  : {{}}\n").as_bytes()),
        Surface::ElasticFile | Surface::File => read(input.as_bytes()),
        Surface::Bytes => read(&bytes()),
        Surface::Elastic => elastic(input),
        Surface::Flag => flag(input),
        Surface::Instance => {
            let instance = InstanceId::new(input);
            (Vec::new(), instance.is_ok())
        }
        Surface::Argument => {
            use std::os::unix::ffi::OsStrExt as _;
            let bytes = bytes();
            let read = settings::text_of_argument(std::ffi::OsStr::from_bytes(&bytes));
            (read.clone().err().into_iter().collect(), read.is_ok())
        }
    }
}

fn read(bytes: &[u8]) -> (Vec<Problem>, bool) {
    let environment = &|name: &str| match name {
        "NESTED" => Some("${OTHER}".to_owned()),
        "OTHER" => Some("hunter2".to_owned()),
        _ => None,
    };
    let reading = file::Reading { source: "x.yaml", now: NOW, default_zone: None, environment };
    let file = file::read(bytes, reading);
    let resolved = settings::resolve(&file.node, &|_| None, &|_| None);
    let taken = !file.is_refused();
    (file.problems.into_iter().chain(resolved.problems).collect(), taken)
}

fn elastic(input: &str) -> (Vec<Problem>, bool) {
    let count = if input.contains("shardingTotalCount") { "" } else { "shardingTotalCount: 3\n" };
    let text = format!("jobName: job\nmonitorExecution: true\n{count}{input}\n");
    let name = JobName::new("job").unwrap();
    let reading = document::Reading {
        name: &name,
        implementation: "com.acme.Job",
        default_zone: None,
        now: NOW,
    };
    let checked = document::decode(text.as_bytes(), reading);
    (checked.problems, checked.config.is_some())
}

fn flag(input: &str) -> (Vec<Problem>, bool) {
    let (name, value) = input.split_once('=').unwrap();
    let flags = |flag: &str| (flag == name).then(|| value.to_owned());
    let Resolved { settings, problems, .. } =
        settings::resolve(&Written::default(), &|_| None, &flags);
    (problems, settings.is_some())
}
