//! The nodes of a run, what is done to them, and the diary of it.

use crate::clock::wall_millis;
use crate::jobs::Jobs;
use crate::nodes::{Node, Recipe};
use crate::process::Signal;
use crate::registry::{Registry, Trouble};
use anyhow::{Context, Result, ensure};
use flockwork_checker::Fact;
use flockwork_checker::trace::Fault;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How many runs a node has at a time, if nothing else is said.
const SLOTS: u64 = 256;

/// What was done and when, in the trace's words; instants are milliseconds since 1970 throughout.
#[derive(Debug, Default)]
pub struct Diary {
    /// Facts with their times.
    pub facts: Vec<(i64, Fact)>,
    /// Each process: its node, its instance, when it began, and where it logged.
    pub processes: Vec<(u32, String, i64, PathBuf)>,
    /// When processes that were told to stop had left in order.
    pub exits: Vec<(i64, u32, String)>,
    /// What should not have been, in words.
    pub complaints: Vec<String>,
    /// What was done, in words, with the proofs.
    pub strikes: Vec<String>,
}

impl Diary {
    fn fault(&mut self, at: i64, fault: Fault) {
        self.facts.push((at, Fact::Fault(fault)));
    }
}

/// Instants before 1970 do not happen.
pub(crate) fn unsigned(millis: i64) -> u64 {
    u64::try_from(millis).unwrap_or(0)
}

/// All nodes and their registry.
#[derive(Debug)]
pub struct Fleet {
    /// The registry.
    pub registry: Box<dyn Registry>,
    /// What was done.
    pub diary: Diary,
    flockwork: PathBuf,
    directory: PathBuf,
    jobs: Jobs,
    session: Duration,
    nodes: Vec<Option<Node>>,
    turns: u32,
}

impl Fleet {
    /// As many nodes that serve these jobs, none of them started.
    #[must_use]
    pub fn new(
        registry: Box<dyn Registry>,
        (flockwork, directory): (&Path, &Path),
        jobs: Jobs,
        (nodes, session): (u32, Duration),
    ) -> Self {
        Self {
            registry,
            diary: Diary::default(),
            flockwork: flockwork.to_owned(),
            directory: directory.to_owned(),
            jobs,
            session,
            nodes: (0..nodes).map(|_| None).collect(),
            turns: 0,
        }
    }

    /// The nodes' numbers.
    #[must_use]
    pub fn numbers(&self) -> Vec<u32> {
        (1..).take(self.nodes.len()).collect()
    }

    /// A node that is there.
    ///
    /// # Errors
    /// If it is not.
    pub fn node(&mut self, number: u32) -> Result<&mut Node> {
        self.slot(number)?.as_mut().with_context(|| format!("node {number} is not there"))
    }

    fn slot(&mut self, number: u32) -> Result<&mut Option<Node>> {
        let at = usize::try_from(number)?.checked_sub(1);
        at.and_then(|at| self.nodes.get_mut(at)).with_context(|| format!("no node {number}"))
    }

    /// Starts a node, under a name that no process had.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(&mut self, number: u32) -> Result<()> {
        ensure!(self.slot(number)?.is_none(), "node {number} is there already");
        let recipe = Recipe {
            flockwork: self.flockwork.clone(),
            jobs: self.jobs.file.clone(),
            directory: self.directory.clone(),
            flags: self.registry.flags(number),
        };
        self.turns += 1;
        let node = Node::start(&recipe, number, self.turns)?;
        let (instance, began) = (node.instance().to_owned(), node.began());
        let timeout = u64::try_from(self.session.as_millis())?;
        let fact = Fact::Node { node: number, instance: instance.clone(), slots: SLOTS, timeout };
        self.diary.facts.push((began, fact));
        for job in &self.jobs.jobs {
            let job = flockwork_checker::trace::Job { node: Some(number), ..job.clone() };
            self.diary.facts.push((began, Fact::Job(job)));
        }
        self.diary.processes.push((number, instance, began, node.log().to_owned()));
        *self.slot(number)? = Some(node);
        Ok(())
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// If the node is not there.
    pub fn kill(&mut self, number: u32) -> Result<String> {
        let node = self.slot(number)?.take().with_context(|| format!("no node {number}"))?;
        let instance = node.instance().to_owned();
        let at = wall_millis();
        let status = node.into_process().0.kill()?;
        self.diary.fault(at, Fault::Crash { node: number, instance, runs: 0 });
        Ok(format!("node {number}: {status}"))
    }

    /// Stops a node's process for a time; its scripts go on.
    ///
    /// # Errors
    /// If it does not stop, or the node is not there.
    pub fn pause(&mut self, number: u32, long: Duration) -> Result<String> {
        let node = self.node(number)?;
        let at = wall_millis();
        let proof = node.process().stop()?;
        std::thread::sleep(long);
        node.process().signal(Signal::CONT)?;
        let until = unsigned(wall_millis());
        self.diary.fault(at, Fault::Pause { node: number, until, runs_too: false });
        Ok(format!("node {number}: {proof} for {} ms", long.as_millis()))
    }

    /// Tells a node to stop, and waits until it has. That it does so in order is checked.
    ///
    /// # Errors
    /// If the node is not there, or does not end.
    pub fn drain(&mut self, number: u32) -> Result<String> {
        let mut node = self.slot(number)?.take().with_context(|| format!("no node {number}"))?;
        let status = node.drain()?;
        let printed = node.printed()?;
        let at = wall_millis();
        match status.success() && printed.ends_with("stopped: every run has ended\n") {
            true => self.diary.exits.push((at, number, node.instance().to_owned())),
            false => {
                let last = printed.lines().last().unwrap_or_default();
                let what =
                    format!("node {number} was told to stop and ended with {status}: {last}");
                self.diary.complaints.push(what);
            }
        }
        Ok(format!("node {number}: {status}"))
    }

    /// Troubles the registry for a time.
    ///
    /// # Errors
    /// If it cannot be troubled, or does not recover.
    pub fn trouble(&mut self, trouble: Trouble, number: u32, long: Duration) -> Result<String> {
        let at = wall_millis();
        let begun = self.registry.trouble(trouble, number)?;
        std::thread::sleep(long);
        let seen = self.registry.relieve(trouble, number)?;
        let until = unsigned(wall_millis());
        let (node, in_flight) = (number, begun.in_flight);
        self.diary.fault(
            at,
            match trouble {
                Trouble::Killed => Fault::RegistryAway { until, restarts: true },
                Trouble::Still => Fault::RegistryAway { until, restarts: false },
                Trouble::Cut => Fault::Cut { node, until, in_flight },
                Trouble::NoRequests => Fault::OneWay { node, until, up: true, in_flight },
                Trouble::NoAnswers => Fault::OneWay { node, until, up: false, in_flight },
            },
        );
        Ok(format!("{} for {} ms, {seen}", begun.proof, wall_millis() - at))
    }

    /// Starts whatever is not there.
    ///
    /// # Errors
    /// If a node does not start.
    pub fn start_all(&mut self) -> Result<()> {
        for number in self.numbers() {
            if self.slot(number)?.is_none() {
                self.start(number)?;
            }
        }
        Ok(())
    }

    /// Ends all that are there, in order.
    ///
    /// # Errors
    /// If one does not end.
    pub fn drain_all(&mut self) -> Result<()> {
        for number in self.numbers() {
            if self.slot(number)?.is_some() {
                self.drain(number)?;
            }
        }
        Ok(())
    }
}
