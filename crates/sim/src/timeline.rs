//! A seed's story for people.

use crate::outcome::Outcome;
use flockwork_checker::timeline::told;
use std::fmt::Write;

/// Writes a seed's story, a line for each thing that happened; of one job alone, if asked to.
///
/// # Errors
/// What the writer says.
pub fn write(outcome: &Outcome, job: Option<&str>, out: &mut impl Write) -> std::fmt::Result {
    let mut said = outcome.said.iter().peekable();
    for (number, line) in outcome.trace.iter().enumerate() {
        while let Some((at, host, text)) = said.next_if(|(at, ..)| *at <= line.at) {
            if job.is_none_or(|job| text.contains(job)) {
                writeln!(out, "        {:>9.3} n{host}   {text}", seconds(*at))?;
            }
        }
        if let Some(text) = told(line, job) {
            writeln!(out, "{number:>7} {:>9.3} {text}", seconds(line.at))?;
        }
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "for people; a seed lasts minutes")]
fn seconds(millis: u64) -> f64 {
    millis as f64 / 1_000.0
}
