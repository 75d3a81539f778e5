//! Measurements, each printed with its goal: `figure NAME VALUE UNIT goal <= NUMBER` or `>=`.

mod core;
mod cron;
mod idle;
mod lateness;

use std::io::Write;
use std::process::ExitCode;

/// A measurement: prints its figures as they come.
type Figures = fn(&mut dyn Write) -> std::io::Result<()>;

/// What each name measures.
const CORE: [(&str, Figures); 4] =
    [("cron", cron::run), ("core", core::run), ("lateness", lateness::run), ("idle", idle::run)];

fn main() -> ExitCode {
    // A process that is one of the nodes of a measurement does that, and nothing below.
    lateness::serve_if_asked();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let chosen: Vec<Figures> = match words.as_slice() {
        ["core"] => CORE.iter().map(|(_, figures)| *figures).collect(),
        ["core", name] => {
            CORE.iter().filter(|(known, _)| known == name).map(|(_, figures)| *figures).collect()
        }
        _ => Vec::new(),
    };
    if chosen.is_empty() {
        eprintln!("usage: flockwork-bench core [cron|core|lateness|idle]");
        return ExitCode::from(2);
    }
    let mut out = std::io::stdout();
    for figures in chosen {
        if let Err(why) = figures(&mut out) {
            eprintln!("error: {why}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
