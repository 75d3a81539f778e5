//! Writing to standard output so that a closed pipe is an end and not a panic, and so that names
//! and outputs from elsewhere cannot steer a terminal.
//!
//! A command waits until its answer is read. A node waits for no reader: from [`go_live`] on what it
//! writes goes through an [`Outlet`] for each stream.

use crate::outlet::{Outlet, Stream};
use std::fmt::Write as _;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::OnceLock;
use std::time::Duration;

/// How long the last lines may take to be written when the process is about to end: a terminal that
/// is stuck is not worth more.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(1);

/// Whether anybody reads what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// As far as is known.
    There,
    /// Nobody reads any more (`flockwork ps | head -1`).
    Gone,
}

/// The two streams of a node.
#[derive(Debug)]
struct Live {
    stdout: Outlet,
    stderr: Outlet,
}

/// Set once, by a process that becomes a node.
static LIVE: OnceLock<Live> = OnceLock::new();

/// From now on nobody in this process waits for who reads its output. `notice` makes the line of the
/// log that says how many of its lines were dropped. Returns where the log goes.
///
/// # Errors
/// If the system has no thread left.
pub(crate) fn go_live(notice: fn(u64) -> String) -> io::Result<Outlet> {
    let started = || -> io::Result<Live> {
        let stdout = Outlet::start(Stream {
            name: "stdout",
            writer: io::stdout(),
            notice: |lines| format!("... {lines} lines left out: nobody read them in time\n"),
            failed: |why| {
                tracing::error!(target: "flockwork", "cannot write to standard output: {why}");
            },
        })?;
        // If standard error fails there is nobody left to tell but the metric.
        let (name, writer) = ("stderr", io::stderr());
        let stderr = Outlet::start(Stream { name, writer, notice, failed: |_| {} })?;
        Ok(Live { stdout, stderr })
    };
    let started = started()?;
    Ok(LIVE.get_or_init(|| started).stderr.clone())
}

/// Lines that a node had to drop since its start, by stream.
pub(crate) fn dropped() -> Vec<(&'static str, u64)> {
    let of =
        |live: &Live| vec![("stdout", live.stdout.dropped()), ("stderr", live.stderr.dropped())];
    LIVE.get().map(of).unwrap_or_default()
}

/// Gives the last lines of a node a moment to be read.
pub(crate) fn last_words() {
    if let Some(live) = LIVE.get() {
        live.stdout.flush(LAST_WORDS);
        live.stderr.flush(LAST_WORDS);
    }
}

/// Writes a text to standard output at once; a node's to its outlet, which never fails.
///
/// # Errors
/// If it cannot be written though somebody would read it, say on a full disk.
pub(crate) fn write(text: &str) -> io::Result<Reader> {
    if let Some(live) = LIVE.get() {
        live.stdout.push(text.as_bytes());
        return Ok(Reader::There);
    }
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    match written {
        Ok(()) => Ok(Reader::There),
        Err(why) if why.kind() == ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(why) => Err(why),
    }
}

/// Writes a text to standard error; if that is closed too there is nobody left to tell.
pub(crate) fn complain(text: &str) {
    match LIVE.get() {
        Some(live) => {
            live.stderr.push(text.as_bytes());
            live.stderr.flush(LAST_WORDS);
        }
        None => {
            let _ = io::stderr().lock().write_all(text.as_bytes());
        }
    }
}

/// Writes a line of a node to standard error without waiting for who reads it.
pub(crate) fn note(line: &str) {
    match LIVE.get() {
        Some(live) => live.stderr.push(line.as_bytes()),
        None => {
            let _ = io::stderr().lock().write_all(line.as_bytes());
        }
    }
}

/// A text whose control characters are shown and not obeyed; tabs stay.
pub(crate) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => safe.push(c),
            '\n' => safe.push_str("\\n"),
            '\r' => safe.push_str("\\r"),
            c if c.is_control() || is_direction_mark(c) => {
                let _ = write!(safe, "{}", c.escape_unicode());
            }
            c => safe.push(c),
        }
    }
    safe
}

/// Marks that turn what follows them around, so that it reads like something else.
fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The colours of live output, or none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colour {
    Plain,
    Coloured,
}

/// What a word means, so that its colour follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Busy,
    Late,
    Bad,
    Quiet,
}

impl Colour {
    /// Coloured on a terminal, unless `NO_COLOR` is set to anything or the terminal is a dumb one.
    pub(crate) fn of_stdout() -> Self {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        match std::io::stdout().is_terminal() && !is_set("NO_COLOR") && !is_dumb {
            true => Self::Coloured,
            false => Self::Plain,
        }
    }

    /// The text in the colour of its meaning.
    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        if self == Self::Plain {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Good => "32",
            Tone::Busy => "36",
            Tone::Late => "33",
            Tone::Bad => "31;1",
            Tone::Quiet => "2",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// Lines of cells in columns as wide as their widest cell, two spaces apart.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = head.iter().map(|&cell| cell.to_owned()).collect();
    let all: Vec<&Vec<String>> = std::iter::once(&head).chain(rows).collect();
    let width = |column: usize| {
        all.iter().map(|row| row.get(column).map_or(0, |cell| cell.chars().count())).max()
    };
    let widths: Vec<usize> = (0..head.len()).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in all {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_and_not_obeyed() {
        assert_eq!(escaped("a\u{1b}]0;x\u{7}\nb\u{202e}"), "a\\u{1b}]0;x\\u{7}\\nb\\u{202e}");
        assert_eq!(escaped("中文 é\t."), "中文 é\t.");
    }

    #[test]
    fn without_colour_nothing_is_added() {
        assert_eq!(Colour::Plain.paint(Tone::Bad, "failed"), "failed");
        assert!(Colour::Coloured.paint(Tone::Bad, "failed").starts_with('\u{1b}'));
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["a".to_owned(), "1".to_owned()], vec!["long".to_owned(), String::new()]];
        assert_eq!(table(&["JOB", "N"], &rows), "JOB   N\na     1\nlong\n");
    }
}
