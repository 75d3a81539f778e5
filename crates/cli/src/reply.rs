//! What a command answers, on standard output. A command whose answer could not be written has failed;
//! one whose reader has seen enough (`flockwork ps | head -1`) has not.

use crate::fault::{Exit, Fault};
use crate::output::{self, Reader};
use std::io;

/// Prints an answer, or a part of it; says whether anybody reads any more.
///
/// # Errors
/// If it cannot be written though somebody would read it, say on a full disk.
pub(crate) fn part(text: &str) -> Result<Reader, Fault> {
    output::write(text).map_err(|why| lost(&why))
}

/// Prints all of an answer.
///
/// # Errors
/// As [`part`].
pub(crate) fn whole(text: &str) -> Result<(), Fault> {
    part(text).map(|_| ())
}

/// Prints what a command has done. If that cannot be written, it is done all the same.
///
/// # Errors
/// As [`part`].
pub(crate) fn done(text: &str) -> Result<(), Fault> {
    whole(text).map_err(|fault| fault.hint("it was done; only what is told of it is lost"))
}

fn lost(why: &io::Error) -> Fault {
    Fault::new(Exit::Failed, "OUTPUT", format!("cannot write to standard output: {why}"))
}
