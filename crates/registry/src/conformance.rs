//! The contract as named cases: one suite each registry passes.
//!
//! A registry's crate brings a [`Fixture`] and runs [`run_all`]; what a case needs beyond plain
//! connections it asks of [`Control`]. A power that a fixture lacks makes the case *not applicable*
//! with the reason; it never passes in silence.

mod barrier;
mod commits;
pub mod history;
mod indices;
mod limits;
mod reads;
mod scale;
mod scene;
mod sequence;
mod sessions;
mod stamps;
mod tree;
mod unknown;
mod watches;

pub use scene::{Scene, Stop};

use crate::memory::Loss;
use crate::{Inbox, Key, Registry};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// How long one case may take. The largest makes ten thousand entries; a registry that syncs each
/// batch to a slow disk needs seconds for it.
const CASE_BOUND: Duration = Duration::from_secs(60);

/// A future of something the suite asks for.
pub type Asked<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A power this fixture does not have, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotApplicable(pub String);

/// What a fixture was asked for and did, or cannot do.
pub type Tried<'a> = Asked<'a, Result<(), NotApplicable>>;

/// One connection and the power over it.
#[derive(Debug)]
pub struct Link {
    /// Where requests go.
    pub registry: Arc<dyn Registry>,
    /// Where all comes back.
    pub inbox: Inbox,
    /// What can be made to happen to it.
    pub control: Box<dyn Control>,
}

/// Connections to one registry.
pub trait Fixture: fmt::Debug + Send + Sync {
    /// A key that exists and that nobody else uses: one for each run of the suite.
    fn root(&self) -> Key;

    /// A new connection with a session of its own, as another process would have it.
    fn connect(&self) -> Asked<'_, Link>;

    /// How long to wait for a single answer or event, and for entries to vanish with a session.
    fn patience(&self) -> Duration {
        Duration::from_secs(10)
    }
}

/// What can be made to happen to a connection. By default, nothing.
pub trait Control: fmt::Debug + Send + Sync {
    /// Ends the session as if its time-out had passed; returns once the registry has ended it. The
    /// connection opens the next by itself.
    fn end_session(&self) -> Tried<'_> {
        cannot("sessions cannot be ended from outside here")
    }

    /// Makes the next request's answer get lost.
    fn lose_next_answer(&self, _loss: Loss) -> Tried<'_> {
        cannot("answers cannot be lost on request here")
    }

    /// Stops telling the node anything, as if its process stood still; it can still submit, as a
    /// process does that has not heard what happened meanwhile.
    fn pause(&self) -> Tried<'_> {
        cannot("connections cannot be paused here")
    }

    /// Lets it hear all that waited.
    fn resume(&self) -> Tried<'_> {
        cannot("connections cannot be paused here")
    }

    /// Keeps answers back until [`release_answers`](Self::release_answers).
    fn hold_answers(&self) -> Tried<'_> {
        cannot("answers cannot be held back here")
    }

    /// Lets them go.
    fn release_answers(&self) -> Tried<'_> {
        cannot("answers cannot be held back here")
    }

    /// Cuts the way to the registry, for less than the session's time-out.
    fn cut(&self) -> Tried<'_> {
        cannot("the way to the registry cannot be cut here")
    }

    /// Opens it again.
    fn heal(&self) -> Tried<'_> {
        cannot("the way to the registry cannot be cut here")
    }

    /// Lets reads and watches be up to this many commits behind.
    fn lag(&self, _commits: u64) -> Tried<'_> {
        cannot("reads cannot be made to lag here")
    }

    /// Takes the registry's room away.
    fn fill(&self) -> Tried<'_> {
        cannot("the registry's room cannot be taken here")
    }

    /// Gives it back.
    fn make_room(&self) -> Tried<'_> {
        cannot("the registry's room cannot be taken here")
    }
}

fn cannot(why: &str) -> Tried<'_> {
    Box::pin(std::future::ready(Err(NotApplicable(why.to_owned()))))
}

/// One claim about a registry.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The claim, e.g. `commits_are_all_or_nothing`. Unique.
    pub name: &'static str,
    run: for<'a> fn(&'a Scene<'a>) -> Asked<'a, Result<(), Stop>>,
}

/// How a case went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The claim held.
    Passed,
    /// The fixture lacks a power the case needs.
    NotApplicable(String),
    /// The claim did not hold, or could not be tried.
    Failed(String),
}

/// How all cases went, in their order.
#[derive(Clone, Debug, Default)]
pub struct Report(Vec<(&'static str, Outcome)>);

impl Report {
    /// Every case with its outcome.
    #[must_use]
    pub fn outcomes(&self) -> &[(&'static str, Outcome)] {
        &self.0
    }

    /// The outcome of one case; `None` if there is no such case.
    #[must_use]
    pub fn of(&self, name: &str) -> Option<&Outcome> {
        self.0.iter().find(|(case, _)| *case == name).map(|(_, outcome)| outcome)
    }

    /// The names of the cases that failed.
    #[must_use]
    pub fn failed(&self) -> Vec<&'static str> {
        self.named(|outcome| matches!(outcome, Outcome::Failed(_)))
    }

    /// The names of the cases that could not be tried.
    #[must_use]
    pub fn not_applicable(&self) -> Vec<&'static str> {
        self.named(|outcome| matches!(outcome, Outcome::NotApplicable(_)))
    }

    fn named(&self, which: impl Fn(&Outcome) -> bool) -> Vec<&'static str> {
        self.0.iter().filter(|(_, outcome)| which(outcome)).map(|(name, _)| *name).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, outcome) in &self.0 {
            match outcome {
                Outcome::Passed => writeln!(f, "passed          {name}")?,
                Outcome::NotApplicable(why) => writeln!(f, "not applicable  {name}: {why}")?,
                Outcome::Failed(why) => writeln!(f, "FAILED          {name}: {why}")?,
            }
        }
        Ok(())
    }
}

/// Every case, in reading order.
pub fn cases() -> impl Iterator<Item = &'static Case> {
    let files: [&'static [Case]; 12] = [
        commits::CASES,
        indices::CASES,
        stamps::CASES,
        tree::CASES,
        sequence::CASES,
        sessions::CASES,
        watches::CASES,
        barrier::CASES,
        unknown::CASES,
        reads::CASES,
        limits::CASES,
        scale::CASES,
    ];
    files.into_iter().flatten()
}

/// Tries every case, each under a key of its own.
pub async fn run_all(fixture: &dyn Fixture) -> Report {
    let mut report = Report::default();
    for case in cases() {
        report.0.push((case.name, run(fixture, case).await));
    }
    report
}

/// Tries one case.
pub async fn run(fixture: &dyn Fixture, case: &Case) -> Outcome {
    let tried = async {
        let scene = Scene::set(fixture, case.name).await?;
        (case.run)(&scene).await
    };
    match tokio::time::timeout(CASE_BOUND, tried).await {
        Ok(Ok(())) => Outcome::Passed,
        Ok(Err(Stop::NotApplicable(why))) => Outcome::NotApplicable(why),
        Ok(Err(Stop::Failed(why))) => Outcome::Failed(why),
        Err(_) => Outcome::Failed(format!("not done within {CASE_BOUND:?}")),
    }
}
