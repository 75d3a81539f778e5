//! When revisions came to be, as etcd does not say: one who asks the server for its revision all the
//! while, on a connection of its own, and notes what the clock showed before and after.
//!
//! A look that was sent at `a` and is answered with revision 7 at `b` proves that 7 was there by `b`, and
//! that 8 came after `a`: whoever learnt of 8 did so after `a` as well. However slow a look is, what
//! it proves is so; only its bounds are wider.

use crate::clock::wall_millis;
use anyhow::{Context, Result, bail, ensure};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long is waited between two looks: the bounds are about twice as far apart. One takes less than
/// a millisecond of a processor.
const EVERY: Duration = Duration::from_millis(3);

/// How long an answer may take before another connection is tried: a server that went away without
/// a word would hold it up for ever.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// A read of nothing from the server's own memory: its header tells the revision.
const QUESTION: &str = r#"{"key":"AA==","serializable":true,"count_only":true}"#;

/// One revision as it was seen, once or in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    revision: u64,
    /// When the first answer with it had come: milliseconds since 1970.
    first_heard: i64,
    /// When the last question was sent that was answered with it.
    last_sent: i64,
}

/// What looks have shown.
#[derive(Debug, Default)]
pub(crate) struct Seen(Vec<Look>);

impl Seen {
    fn note(&mut self, sent: i64, revision: u64, heard: i64) -> Result<()> {
        match self.0.last_mut() {
            Some(last) if last.revision == revision => last.last_sent = sent,
            Some(last) if last.revision > revision => {
                bail!("revision {revision} was seen after {}", last.revision)
            }
            _ => self.0.push(Look { revision, first_heard: heard, last_sent: sent }),
        }
        Ok(())
    }

    /// Between which instants a revision came to be, as far as looks tell.
    pub(crate) fn bounds(&self, revision: u64) -> (Option<i64>, Option<i64>) {
        let at = self.0.partition_point(|look| look.revision < revision);
        let before = at.checked_sub(1).map(|before| self.0[before].last_sent);
        (before, self.0.get(at).map(|look| look.first_heard))
    }

    /// The newest revision.
    pub(crate) fn newest(&self) -> Option<u64> {
        self.0.last().map(|look| look.revision)
    }
}

/// Looks, until it is ended.
#[derive(Debug)]
pub(crate) struct Looks {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Seen>>>,
}

impl Looks {
    /// At a server that may come and go.
    pub(crate) fn begin(server: SocketAddr) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let thread = std::thread::spawn(move || look(server, &over));
        Self { is_over, thread: Some(thread) }
    }

    /// All that was seen, and one last look, at a server that runs.
    pub(crate) fn end(mut self) -> Result<Seen> {
        self.is_over.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("it is ended once")?;
        thread.join().map_err(|_| anyhow::anyhow!("who looks at revisions panicked"))?
    }
}

impl Drop for Looks {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

fn look(server: SocketAddr, over: &AtomicBool) -> Result<Seen> {
    let (mut seen, mut connection) = (Seen::default(), None);
    while !over.load(Ordering::Relaxed) {
        let sent = wall_millis();
        // What fails tells nothing, and is tried anew.
        match ask(server, &mut connection) {
            Ok(revision) => seen.note(sent, revision, wall_millis())?,
            Err(_) => connection = None,
        }
        std::thread::sleep(EVERY);
    }
    let sent = wall_millis();
    let revision = ask(server, &mut None).context("the last look at etcd's revision")?;
    seen.note(sent, revision, wall_millis())?;
    Ok(seen)
}

/// Asks over HTTP, on the connection there is or a new one.
fn ask(server: SocketAddr, connection: &mut Option<BufReader<TcpStream>>) -> Result<u64> {
    let stream = match connection {
        Some(stream) => stream,
        None => {
            let stream = TcpStream::connect_timeout(&server, ANSWERS_WITHIN)?;
            stream.set_read_timeout(Some(ANSWERS_WITHIN))?;
            stream.set_nodelay(true)?;
            connection.insert(BufReader::new(stream))
        }
    };
    let length = QUESTION.len();
    let question = format!(
        "POST /v3/kv/range HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{QUESTION}"
    );
    stream.get_mut().write_all(question.as_bytes())?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        ensure!(stream.read_line(&mut line)? > 0, "the connection ended");
        match line.trim_end().to_ascii_lowercase().split_once(": ") {
            Some(("content-length", text)) => length = text.parse()?,
            Some(_) => {}
            None if line == "\r\n" => break,
            None => ensure!(line.contains(" 200 "), "{line}"),
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    let body: serde_json::Value = serde_json::from_slice(&body)?;
    let revision = body["header"]["revision"].as_str().context("an answer without a revision")?;
    Ok(revision.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_lies_between_the_last_look_without_it_and_the_first_with_it() {
        let mut seen = Seen::default();
        for (sent, revision, heard) in [(10, 3, 12), (20, 3, 90), (95, 6, 97), (99, 6, 101)] {
            seen.note(sent, revision, heard).unwrap();
        }
        let table = [
            (2, (None, Some(12))),
            (3, (None, Some(12))),
            (4, (Some(20), Some(97))),
            (6, (Some(20), Some(97))),
            (7, (Some(99), None)),
        ];
        for (revision, bounds) in table {
            assert_eq!(seen.bounds(revision), bounds, "{revision}");
        }
        assert_eq!(seen.newest(), Some(6));
        assert!(seen.note(110, 5, 111).is_err(), "revisions do not go back");
    }
}
