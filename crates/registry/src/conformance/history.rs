//! Writers that change one entry by compare-and-set while things go wrong, and the judge of what
//! they were told.
//!
//! Each commit replaces the entry's value and writes a line of a log that names the state it
//! replaced. If commits are linearizable the log is one chain, in the order of its indices, with
//! every confirmed commit in it and no refused one.

use super::Asked;
use crate::client::{Client, CommitError};
use crate::{Failure, Index, Key, Op, Scope, SessionId};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

/// What a writer was told of one commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It happened, as this commit.
    Done(Index),
    /// It did not happen.
    Not,
    /// It may have happened.
    Unknown,
}

/// One attempt.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Names it; unique.
    pub name: String,
    /// The greatest index anybody had been told when it began.
    pub after: Index,
    /// What its writer was told.
    pub told: Told,
}

/// One line of the log: which commit wrote it, on which state.
#[derive(Clone, Debug)]
pub struct Line {
    /// The attempt that wrote it.
    pub name: String,
    /// The commit that made it.
    pub index: Index,
    /// The state it says it replaced.
    pub on: Index,
}

/// Holds what was told against what is there, `first` being the state before all of it.
///
/// # Errors
/// The first thing wrong.
pub fn judge(attempts: &[Attempt], first: Index, log: &[Line]) -> Result<(), String> {
    let lines: BTreeMap<&str, &Line> = log.iter().map(|line| (line.name.as_str(), line)).collect();
    for attempt in attempts {
        let line = lines.get(attempt.name.as_str());
        match (attempt.told, line) {
            (Told::Done(index), Some(line)) if line.index == index => {}
            (Told::Done(_), _) => return Err(format!("{attempt:?} was confirmed, yet: {line:?}")),
            (Told::Not, Some(line)) => {
                return Err(format!("{attempt:?} was refused, yet: {line:?}"));
            }
            (Told::Not | Told::Unknown, _) => {}
        }
        if line.is_some_and(|line| line.index <= attempt.after) {
            return Err(format!("{attempt:?} took effect before it began: {line:?}"));
        }
    }
    let mut chain: Vec<&Line> = log.iter().collect();
    chain.sort_by_key(|line| line.index);
    let mut state = first;
    for line in chain {
        if line.on != state {
            return Err(format!("{line:?} replaced another state than {state:?}"));
        }
        state = line.index;
    }
    Ok(())
}

/// What one writer has done.
#[derive(Debug, Default)]
struct Deeds {
    attempts: Vec<Attempt>,
    sessions: Vec<SessionId>,
}

/// What a round of faults left, all of it linearizable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    /// Commits that were confirmed.
    pub done: usize,
    /// Commits whose answer was lost.
    pub unknown: usize,
    /// Sessions that it took, over all writers.
    pub sessions: usize,
}

/// Opens one more connection, as another process would.
type Open = Arc<dyn Fn() -> Asked<'static, Client> + Send + Sync>;

/// Writers at work.
pub struct Writers {
    open: Open,
    first: Index,
    stop: Arc<AtomicBool>,
    greatest: Arc<AtomicU64>,
    done: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<Deeds>>,
}

fn key(text: &str) -> Key {
    Key::new(text).expect("short")
}

async fn client(open: &Open) -> Client {
    let mut client = open().await;
    client.session().await.expect("nothing is wrong with the registry now");
    client
}

impl fmt::Debug for Writers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writers").field("count", &self.tasks.len()).finish_non_exhaustive()
    }
}

impl Writers {
    /// Makes `/state` and `/log`, and starts as many writers of them, each with a connection of its
    /// own.
    ///
    /// # Panics
    /// If the registry does not answer, or has these keys.
    pub async fn start<F>(open: F, count: usize) -> Self
    where
        F: Fn() -> Asked<'static, Client> + Send + Sync + 'static,
    {
        let open: Open = Arc::new(open);
        let mut setup = client(&open).await;
        let make = vec![Op::create(key("/state"), "first"), Op::create(key("/log"), "")];
        let first = setup.commit(make).await.expect("the place is new").index;
        setup.close().await;
        let mut writers = Self {
            open: Arc::clone(&open),
            first,
            stop: Arc::default(),
            greatest: Arc::new(AtomicU64::new(first.0)),
            done: Arc::default(),
            tasks: Vec::new(),
        };
        for number in 0..count {
            let client = client(&open).await;
            writers.tasks.push(tokio::spawn(write(
                number,
                client,
                Arc::clone(&writers.stop),
                Arc::clone(&writers.greatest),
                Arc::clone(&writers.done),
            )));
        }
        writers
    }

    /// Waits until so many more commits are confirmed.
    ///
    /// # Panics
    /// If that takes longer than a minute.
    pub async fn more(&self, commits: u64) {
        let wanted = self.done.load(Ordering::SeqCst) + commits;
        let wait = async {
            while self.done.load(Ordering::SeqCst) < wanted {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait).await.expect("they go on");
    }

    /// Stops them and judges what they were told by what is there.
    ///
    /// # Panics
    /// If it is not linearizable, or the registry does not answer now.
    pub async fn judged(self) -> Judged {
        self.stop.store(true, Ordering::SeqCst);
        let (mut attempts, mut sessions) = (Vec::new(), 0);
        for task in self.tasks {
            let deeds = task.await.expect("writers do not panic");
            attempts.extend(deeds.attempts);
            sessions += deeds.sessions.len();
        }
        let mut reader = client(&self.open).await;
        let settle = vec![Op::Set(key("/log"), "read".into(), None)];
        reader.commit(settle).await.expect("all is well again");
        let mut log = Vec::new();
        for name in reader.children(&key("/log")).await.expect("all is well").expect("it is there")
        {
            let line = reader.get(&key(&format!("/log/{name}"))).await.expect("all is well");
            let line = line.expect("nobody deletes it");
            let on = String::from_utf8_lossy(&line.value).parse().expect("an index");
            log.push(Line { name, index: line.stamp.created, on: Index(on) });
        }
        judge(&attempts, self.first, &log).expect("linearizable");
        let count = |told: fn(&Told) -> bool| attempts.iter().filter(|a| told(&a.told)).count();
        let done = count(|told| matches!(told, Told::Done(_)));
        Judged { done, unknown: count(|told| *told == Told::Unknown), sessions }
    }
}

async fn write(
    number: usize,
    mut client: Client,
    stop: Arc<AtomicBool>,
    greatest: Arc<AtomicU64>,
    done: Arc<AtomicU64>,
) -> Deeds {
    let (mut deeds, mut last) = (Deeds::default(), Index(0));
    let watched = client.watch(&key("/state"), Scope::Value).await;
    watched.expect("nothing is wrong yet");
    // Bounded, should nobody be left to stop it.
    for turn in 0..1_000_000 {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        client.kept();
        if let Ok(session) = client.session().await
            && deeds.sessions.last() != Some(&session)
        {
            deeds.sessions.push(session);
        }
        let Ok(Some(entry)) = client.get(&key("/state")).await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        assert!(entry.stamp.modified >= last, "read {:?} after {last:?}", entry.stamp);
        last = entry.stamp.modified;
        let name = format!("{number}-{turn}");
        let after = Index(greatest.load(Ordering::SeqCst));
        let ops = vec![
            Op::Set(key("/state"), name.clone().into(), Some(entry.stamp)),
            Op::create(key(&format!("/log/{name}")), entry.stamp.modified.0.to_string()),
        ];
        let told = match client.commit(ops).await {
            Ok(receipt) => {
                greatest.fetch_max(receipt.index.0, Ordering::SeqCst);
                done.fetch_add(1, Ordering::SeqCst);
                Told::Done(receipt.index)
            }
            Err(CommitError::Failed(Failure::Unknown(_))) => Told::Unknown,
            Err(CommitError::Refused(_) | CommitError::Failed(_)) => Told::Not,
        };
        if told != Told::Not {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        deeds.attempts.push(Attempt { name, after, told });
    }
    client.close().await;
    deeds
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(name: &str, after: u64, told: Told) -> Attempt {
        Attempt { name: name.into(), after: Index(after), told }
    }

    fn line(name: &str, index: u64, on: u64) -> Line {
        Line { name: name.into(), index: Index(index), on: Index(on) }
    }

    #[test]
    fn a_good_history_stands_whatever_became_of_the_unknown() {
        let attempts = [
            attempt("a", 1, Told::Done(Index(5))),
            attempt("b", 5, Told::Unknown),
            attempt("c", 5, Told::Not),
        ];
        let first = Index(1);
        assert_eq!(judge(&attempts, first, &[line("a", 5, 1)]), Ok(()));
        assert_eq!(judge(&attempts, first, &[line("b", 7, 5), line("a", 5, 1)]), Ok(()));
    }

    #[test]
    fn bad_histories_are_found() {
        let done = attempt("a", 1, Told::Done(Index(5)));
        let table = [
            (vec![done.clone()], vec![], "was confirmed"),
            (vec![done], vec![line("a", 6, 1)], "was confirmed"),
            (vec![attempt("a", 1, Told::Not)], vec![line("a", 5, 1)], "was refused"),
            (vec![attempt("a", 5, Told::Unknown)], vec![line("a", 5, 1)], "before it began"),
            (vec![], vec![line("a", 5, 1), line("b", 6, 1)], "another state"),
            (vec![], vec![line("a", 5, 2)], "another state"),
        ];
        for (attempts, log, wanted) in table {
            let found = judge(&attempts, Index(1), &log).unwrap_err();
            assert!(found.contains(wanted), "{found}");
        }
    }
}
