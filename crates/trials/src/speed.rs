//! How fast a registry is: what is asked of it while time is taken, and how that is told.

use crate::key;
use flockwork_registry::client::Client;
use flockwork_registry::{Answer, Event, Op, Request, Scope, Ticket};
use std::collections::VecDeque;
use std::error::Error;
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// What may fail in a program that measures; whoever started it is told.
pub type Done<T = ()> = Result<T, Box<dyn Error>>;

/// A bound on each wait for an answer.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Requests under way at once.
pub const WINDOW: usize = 256;

/// Changes that are told to another node.
const EVENTS: usize = 1_000;

/// Prints a line: `figure NAME VALUE UNIT goal GOAL`.
///
/// # Errors
/// If nobody reads it.
pub fn figure(name: &str, value: f64, unit: &str, goal: &str) -> io::Result<()> {
    writeln!(io::stdout(), "figure {name} {value:.2} {unit} goal {goal}")
}

/// How many of them a second, by now.
#[must_use]
pub fn per_second(count: usize, began: Instant) -> f64 {
    count as f64 / began.elapsed().as_secs_f64()
}

/// Commits a second of one claim each: it checks whose the shard is (`/owner`) and says that it runs.
///
/// # Errors
/// If one is not confirmed.
pub async fn claims(client: &mut Client, parent: &str, count: usize) -> Done<f64> {
    let began = Instant::now();
    let mut under_way = VecDeque::new();
    for n in 0..count {
        if under_way.len() == WINDOW {
            committed(client, &mut under_way).await?;
        }
        let running = Op::create_for_session(key(&format!("{parent}/{n}")), "me");
        let ops = vec![Op::Check(key("/owner"), None), running];
        under_way.push_back(client.send(Request::Commit(ops)));
    }
    while !under_way.is_empty() {
        committed(client, &mut under_way).await?;
    }
    Ok(per_second(count, began))
}

async fn committed(client: &mut Client, under_way: &mut VecDeque<Ticket>) -> Done {
    let ticket = under_way.pop_front().ok_or("nothing is under way")?;
    match client.answer(ticket).await {
        Answer::Committed(_) => Ok(()),
        other => Err(format!("a claim was answered {other:?}").into()),
    }
}

/// From before a commit of `/event` until another node has been told, in milliseconds; the 99th of a
/// hundred.
///
/// # Errors
/// If it is not told.
pub async fn events(writer: &mut Client, mut watcher: Client) -> Done<f64> {
    watcher.watch(&key("/event"), Scope::Value).await?;
    watcher.kept();
    let mut took = Vec::with_capacity(EVENTS);
    for _ in 0..EVENTS {
        let began = Instant::now();
        let set = writer.send(Request::Commit(vec![Op::Set(key("/event"), "x".into(), None)]));
        while !matches!(watcher.next_event().await, Some(Event::Changed(..))) {
            if began.elapsed() > PATIENCE {
                return Err("a change was not told".into());
            }
        }
        took.push(began.elapsed().as_secs_f64() * 1_000.0);
        writer.answer(set).await;
    }
    watcher.close().await;
    took.sort_by(f64::total_cmp);
    Ok(took[EVENTS * 99 / 100])
}

/// Asks all of these at once, and waits for all answers.
///
/// # Errors
/// If one fails.
pub async fn all(client: &mut Client, requests: impl Iterator<Item = Request>) -> Done {
    let sent: Vec<Ticket> = requests.map(|request| client.send(request)).collect();
    for ticket in sent {
        if let Answer::Failed(why) = client.answer(ticket).await {
            return Err(why.into());
        }
    }
    Ok(())
}
