//! Logs on standard error, by `tracing`. Who logs never waits for who reads: see `outlet`.

use crate::fault::{Exit, Fault};
use crate::{clock, output};
use serde_json::json;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// What is logged if nothing else is said: what each run does stands on standard output already.
pub(crate) const DEFAULT_FILTER: &str = "info,flockwork=warn";

/// Starts logging for the whole process, as text or (`is_json`) as one JSON object a line.
pub(crate) fn start(filter: &str, is_json: bool) -> Result<(), Fault> {
    let filter = EnvFilter::builder().parse(filter).map_err(|why| {
        Fault::new(Exit::Usage, "LOG_FILTER", format!("log filter {filter:?}: {why}"))
            .hint("write a level or target=level, e.g. info,flockwork=debug")
    })?;
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let is_coloured = std::io::stderr().is_terminal() && !no_colour;
    let outlet = output::go_live(if is_json { dropped_json } else { dropped_text });
    let outlet = outlet.map_err(|why| {
        Fault::new(Exit::Failed, "RUNTIME", format!("cannot start threads: {why}"))
    })?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || outlet.clone())
        // Such an error would be printed to the stream it is about, by a thread that must not wait.
        .log_internal_errors(false)
        .with_ansi(is_coloured);
    // A second subscriber is never set: this is the process's main function.
    let _ = match is_json {
        false => lines.try_init(),
        true => lines.json().flatten_event(true).try_init(),
    };
    Ok(())
}

const DROPPED: &str = "log lines were dropped, as nobody read them in time";

fn dropped_text(lines: u64) -> String {
    format!("{}  WARN flockwork: {lines} {DROPPED}\n", clock::now())
}

fn dropped_json(lines: u64) -> String {
    let line = json!({
        "timestamp": clock::now().to_string(),
        "level": "WARN",
        "message": format!("{lines} {DROPPED}"),
        "dropped": lines,
        "target": "flockwork",
    });
    format!("{line}\n")
}
