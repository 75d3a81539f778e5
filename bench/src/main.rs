//! Measurements, each printed with its goal: `figure NAME VALUE UNIT goal <= NUMBER` or `>=`.

mod cron;
mod definitions;
mod events;
mod idle;
mod joining;
mod lateness;
mod listener;

use mimalloc::MiMalloc;
use std::io::Write;
use std::process::{Command, ExitCode};

/// A measurement: prints its figures as they come.
type Figures = fn(&mut dyn Write) -> std::io::Result<()>;

const USAGE: &str = "usage: flockwork-bench core \
    [cron|events|definitions|memory[-ahead]|embedded[-ahead]|other|idle|listener|joining]";

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// What each name measures.
const CORE: [(&str, Figures); 11] = [
    ("cron", cron::run),
    ("events", events::run),
    ("definitions", definitions::run),
    ("memory", lateness::memory),
    ("memory-ahead", lateness::memory_ahead),
    ("embedded", lateness::embedded),
    ("embedded-ahead", lateness::embedded_ahead),
    ("other", lateness::other),
    ("idle", idle::run),
    ("listener", listener::run),
    ("joining", joining::run),
];

fn main() -> ExitCode {
    // A process that is one of the nodes of a measurement does that, and nothing below.
    lateness::serve_if_asked();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let measured = match words.as_slice() {
        ["core"] => CORE.iter().try_for_each(|(name, _)| in_own_process(name)),
        ["core", name] => match CORE.iter().find(|(known, _)| known == name) {
            Some((_, figures)) => figures(&mut std::io::stdout()),
            None => return usage(),
        },
        _ => return usage(),
    };
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}

/// Each measurement has a process of its own: what one leaves in the allocator's hands (a million
/// definitions, freed) would be tidied up in the time of the next.
fn in_own_process(name: &str) -> std::io::Result<()> {
    let status = Command::new(std::env::current_exe()?).args(["core", name]).status()?;
    match status.success() {
        true => Ok(()),
        false => Err(std::io::Error::other(format!("{name}: {status}"))),
    }
}
