//! A script's output: drained always, kept up to a cap, its end remembered, its progress lines read.

use flockwork_core::execution::OUTPUT_TAIL_BYTES;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// What a line of progress starts with: `flockwork: processed rows=10 bytes=2048`.
const PROGRESS: &[u8] = b"flockwork: processed ";

/// A longer line is no line of progress.
const PROGRESS_LINE_BYTES: usize = 128;

/// What becomes of the output of one script.
#[derive(Debug)]
pub(super) struct Capture {
    path: Option<PathBuf>,
    file: Option<File>,
    cap: u64,
    /// All bytes so far, kept or not.
    pub(super) total: u64,
    kept: u64,
    tail: Vec<u8>,
    line: Vec<u8>,
    line_is_long: bool,
    pub(super) rows: u64,
    pub(super) bytes: u64,
    pub(super) error: Option<String>,
}

impl Capture {
    pub(super) fn new(path: Option<PathBuf>, cap: u64) -> Self {
        Self {
            path,
            file: None,
            cap,
            total: 0,
            kept: 0,
            tail: Vec::new(),
            line: Vec::new(),
            line_is_long: false,
            rows: 0,
            bytes: 0,
            error: None,
        }
    }

    /// Takes the next piece. Whatever happens to the file, the script is not held up.
    pub(super) fn take(&mut self, chunk: &[u8]) {
        self.total = self.total.saturating_add(chunk.len() as u64);
        self.remember(chunk);
        self.read_progress(chunk);
        if let Err(error) = self.keep(chunk) {
            self.error = Some(error.to_string());
            self.path = None;
            self.file = None;
        }
    }

    /// Ends the file with a line that says so if there was more than it holds.
    pub(super) fn finish(&mut self) {
        if self.total <= self.kept || self.error.is_some() {
            return;
        }
        let Some(file) = &mut self.file else { return };
        let note = format!("\n[truncated at {} bytes of {}]\n", self.kept, self.total);
        if let Err(error) = file.write_all(note.as_bytes()) {
            self.error = Some(error.to_string());
        }
    }

    pub(super) fn tail(&self) -> String {
        tail_text(&self.tail)
    }

    fn keep(&mut self, chunk: &[u8]) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let room = usize::try_from(self.cap.saturating_sub(self.kept)).unwrap_or(usize::MAX);
        let kept = &chunk[..chunk.len().min(room)];
        if kept.is_empty() {
            return Ok(());
        }
        if self.file.is_none() {
            // A link put in its place is not followed.
            let open = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
                .open(path)?;
            self.file = Some(open);
        }
        if let Some(file) = &mut self.file {
            file.write_all(kept)?;
            self.kept += kept.len() as u64;
        }
        Ok(())
    }

    fn remember(&mut self, chunk: &[u8]) {
        let from = chunk.len().saturating_sub(OUTPUT_TAIL_BYTES);
        self.tail.extend_from_slice(&chunk[from..]);
        let excess = self.tail.len().saturating_sub(OUTPUT_TAIL_BYTES);
        self.tail.drain(..excess);
    }

    fn read_progress(&mut self, chunk: &[u8]) {
        let mut rest = chunk;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.extend_line(&rest[..end]);
            self.end_line();
            rest = &rest[end + 1..];
        }
        self.extend_line(rest);
    }

    /// Takes the line so far for a whole one: at its end, or at the end of an output that is known to be
    /// whole, whose last line needs none.
    pub(super) fn end_line(&mut self) {
        if !self.line_is_long
            && let Some((rows, bytes)) = progress_in(&self.line)
        {
            self.rows = self.rows.saturating_add(rows);
            self.bytes = self.bytes.saturating_add(bytes);
        }
        self.line.clear();
        self.line_is_long = false;
    }

    fn extend_line(&mut self, part: &[u8]) {
        if self.line.len() + part.len() > PROGRESS_LINE_BYTES {
            self.line_is_long = true;
        }
        if !self.line_is_long {
            self.line.extend_from_slice(part);
        }
    }
}

/// What a line of progress adds; nothing for any other line, and for one with a word too many.
fn progress_in(line: &[u8]) -> Option<(u64, u64)> {
    let words = std::str::from_utf8(line.strip_prefix(PROGRESS)?).ok()?;
    let (mut rows, mut bytes) = (0, 0);
    for word in words.split_ascii_whitespace() {
        match word.split_once('=')? {
            ("rows", n) => rows = n.parse().ok()?,
            ("bytes", n) => bytes = n.parse().ok()?,
            _ => return None,
        }
    }
    Some((rows, bytes))
}

/// The end of an output as text of at most [`OUTPUT_TAIL_BYTES`]: control characters but line
/// feed and tab are spelt out (`\x1b`), so that showing it does nothing to a terminal, and what is
/// no UTF-8 is replaced.
pub(crate) fn tail_text(raw: &[u8]) -> String {
    let start = raw.iter().position(|byte| byte & 0xc0 != 0x80).unwrap_or(raw.len());
    let text = String::from_utf8_lossy(&raw[start.min(3)..]);
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => safe.push(character),
            '\r' => {}
            // Direction marks turn the text around them as much as an escape does.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                let _ = write!(safe, "\\u{{{:x}}}", u32::from(character));
            }
            _ if character.is_control() => {
                let _ = write!(safe, "\\x{:02x}", u32::from(character));
            }
            _ => safe.push(character),
        }
    }
    let from = safe.ceil_char_boundary(safe.len().saturating_sub(OUTPUT_TAIL_BYTES));
    safe.split_off(from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capture(chunks: &[&[u8]]) -> Capture {
        let mut capture = Capture::new(None, 0);
        for chunk in chunks {
            capture.take(chunk);
        }
        capture
    }

    #[test]
    fn the_tail_is_the_end_cut_at_a_character() {
        let long = "é".repeat(3000);
        for shift in [&b""[..], b"x"] {
            let tail = capture(&[long.as_bytes(), shift]).tail();
            assert!(tail.len() <= OUTPUT_TAIL_BYTES && tail.len() > OUTPUT_TAIL_BYTES - 4);
            assert!(tail.trim_end_matches('x').chars().all(|c| c == 'é'), "{tail:?}");
        }
    }

    #[test]
    fn control_characters_and_bad_bytes_are_shown_not_sent() {
        let tail = capture(&[b"a\x1b[31mred\x00\r\n\tz\xff\xe2\x80\xae"]).tail();
        assert_eq!(tail, "a\\x1b[31mred\\x00\n\tz\u{fffd}\\u{202e}");
        let escapes = capture(&[&[0x1b; 5000]]).tail();
        assert!(escapes.len() <= OUTPUT_TAIL_BYTES);
    }

    #[test]
    fn progress_lines_count_however_they_are_cut() {
        let line = b"noise\nflockwork: processed rows=10 bytes=2048\nmore";
        for cut in 0..line.len() {
            let (head, end) = line.split_at(cut);
            let capture = capture(&[head, end]);
            assert_eq!((capture.rows, capture.bytes), (10, 2048), "cut at {cut}");
        }
    }

    #[test]
    fn the_last_line_needs_no_newline_once_the_output_is_whole() {
        for (output, rows) in [
            (&b"flockwork: processed rows=5"[..], 5),
            (b"flockwork: processed rows=5\n", 5),
            (b"flockwork: processed rows=2\nflockwork: processed rows=5", 7),
            (b"flockwork: processed rows=2\nflockwork: proc", 2),
        ] {
            let mut capture = capture(&[output]);
            capture.end_line();
            capture.end_line();
            assert_eq!(capture.rows, rows, "{}", String::from_utf8_lossy(output));
        }
        assert_eq!(capture(&[b"flockwork: processed rows=5"]).rows, 0, "it may go on: rows=50");
    }

    #[test]
    fn other_lines_are_no_progress() {
        for line in [
            "flockwork: processed rows=ten\n",
            "flockwork: processed rows=1 columns=2\n",
            " flockwork: processed rows=1\n",
            "flockwork: processed rows=-1\n",
        ] {
            assert_eq!(capture(&[line.as_bytes()]).rows, 0, "{line}");
        }
        let long = format!("flockwork: processed rows=1{}\n", " ".repeat(200));
        assert_eq!(capture(&[long.as_bytes()]).rows, 0);
    }

    #[test]
    fn the_file_holds_the_cap_and_says_that_there_was_more() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.log");
        let mut capture = Capture::new(Some(path.clone()), 10);
        capture.take(b"0123456");
        capture.take(b"789abcdef");
        capture.take(&[b'x'; 1000]);
        capture.finish();
        let kept = std::fs::read_to_string(path).unwrap();
        assert_eq!(kept, "0123456789\n[truncated at 10 bytes of 1016]\n");
        assert_eq!(capture.total, 1016);
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named_and_holds_nothing_up() {
        let mut capture = Capture::new(Some("/nonexistent/out.log".into()), 10);
        capture.take(b"abc");
        capture.take(b"def\n");
        assert!(capture.error.is_some());
        assert_eq!(capture.tail(), "abcdef\n");
    }
}
