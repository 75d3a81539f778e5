//! Waiting for the registry at the start.

use super::{EngineError, Outside};
use crate::connect::{Connect, FIRST_BACKOFF, LONGEST_BACKOFF, Link, NoLink};
use crate::handle::{Command, Unavailable};
use flockwork_node::Report;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};

/// A connection, and the orders that came before there was one.
pub(super) struct Connected {
    pub(super) link: Link,
    pub(super) commands: Vec<Command>,
}

/// Connects, however long it takes; `None` if the node is told to stop first.
pub(super) async fn connected(
    mut connect: Box<dyn Connect>,
    outside: &mut Outside,
) -> Result<Option<Connected>, EngineError> {
    let registry = connect.describe();
    let mut commands = Vec::new();
    let mut backoff = FIRST_BACKOFF;
    loop {
        // A try may block for as long as another process holds the registry, and must not hold up
        // what else runs on this thread.
        let tried = spawn_blocking(move || {
            let link = connect.connect();
            (connect, link)
        });
        let why = match tried.await {
            Ok((_, Ok(link))) => return Ok(Some(Connected { link, commands })),
            Ok((_, Err(NoLink::Refused(text)))) => {
                return Err(EngineError::Registry { registry, text });
            }
            Ok((again, Err(NoLink::Away(text)))) => {
                connect = again;
                text
            }
            Err(failed) => return Err(super::ended(failed)),
        };
        let text = format!("{registry} is away: {why}; trying again in {backoff:?}");
        let report = Report::Trouble { job: None, code: "REGISTRY_AWAY", text };
        outside.audience.tell(outside.clock.now().wall, report);
        if !waited(backoff, &why, outside, &mut commands).await {
            return Ok(None);
        }
        backoff = backoff.saturating_mul(2).min(LONGEST_BACKOFF);
    }
}

/// Waits for so long; false if the node is told to stop meanwhile. Questions are answered by what is
/// known, orders are kept for later.
async fn waited(
    backoff: Duration,
    why: &str,
    outside: &mut Outside,
    commands: &mut Vec<Command>,
) -> bool {
    let until = Instant::now() + backoff;
    loop {
        tokio::select! {
            biased;
            _ = outside.drained.wait_for(|drain| *drain) => return false,
            Some(command) = outside.commanded.recv() => match command {
                Command::Status(answer) => {
                    let _ = answer.send(Err(Unavailable::NoRegistry(why.to_owned())));
                }
                Command::Trigger(_, answer) => {
                    let _ = answer.send(Err(Unavailable::NoRegistry(why.to_owned())));
                }
                order => commands.push(order),
            },
            () = sleep_until(until) => return true,
        }
    }
}
