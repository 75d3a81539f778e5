//! A node's lines on their way to standard output or standard error. Whoever pushes one never waits:
//! a reader that is slow, stuck or gone costs lines, and no fire.

use std::fmt::{self, Debug};
use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Bytes that may wait for the reader: some 5,000 lines, so that a terminal that is held for a moment
/// loses none, and memory that no host misses.
const ROOM: usize = 1 << 20;

/// How long a stream that takes nothing now (a terminal that another program made non-blocking) is
/// left alone.
const REST: Duration = Duration::from_millis(20);

/// Where lines are pushed to; clones push to the same stream.
#[derive(Clone)]
pub(crate) struct Outlet(Arc<Shared>);

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<u8>,
    is_writing: bool,
    /// Lines dropped since a line last said how many were.
    untold: u64,
    /// Lines dropped ever.
    dropped: u64,
}

impl Queue {
    fn drop_lines(&mut self, count: u64) {
        self.untold += count;
        self.dropped += count;
    }
}

/// What a stream's thread needs besides the lines.
pub(crate) struct Stream<W> {
    /// The thread's name.
    pub(crate) name: &'static str,
    /// Where the lines go.
    pub(crate) writer: W,
    /// The line that says how many were dropped.
    pub(crate) notice: fn(u64) -> String,
    /// Hears of a write that failed though somebody reads.
    pub(crate) failed: fn(&io::Error),
}

impl Outlet {
    /// Starts the thread that writes to a stream.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub(crate) fn start<W: Write + Send + 'static>(stream: Stream<W>) -> io::Result<Self> {
        let outlet = Self(Arc::default());
        let shared = Arc::clone(&outlet.0);
        thread::Builder::new().name(stream.name.into()).spawn(move || shared.pass_on(stream))?;
        Ok(outlet)
    }

    /// Takes whole lines, or drops and counts them if there is no room.
    pub(crate) fn push(&self, lines: &[u8]) {
        let mut queue = self.0.lock();
        if queue.waiting.len() + lines.len() > ROOM {
            return queue.drop_lines(count(lines));
        }
        queue.waiting.extend_from_slice(lines);
        self.0.changed.notify_all();
    }

    /// Waits until all is written, at most for so long.
    pub(crate) fn flush(&self, within: Duration) {
        let is_busy = |queue: &mut Queue| queue.is_writing || !queue.waiting.is_empty();
        let waited = self.0.changed.wait_timeout_while(self.0.lock(), within, is_busy);
        drop(waited);
    }

    /// How many lines were dropped since the start.
    pub(crate) fn dropped(&self) -> u64 {
        self.0.lock().dropped
    }
}

impl Write for Outlet {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        self.push(lines);
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Debug for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlet").finish_non_exhaustive()
    }
}

impl Shared {
    /// Every change of the queue leaves it whole, so a panic elsewhere is no reason to stop.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what is pushed, as long as the process lives.
    fn pass_on<W: Write>(&self, mut stream: Stream<W>) {
        let mut has_failed = false;
        loop {
            let (lines, untold) = self.take();
            let mut written = write(&mut stream.writer, &lines);
            let mut told = false;
            if written.is_ok() && untold > 0 {
                let notice = write(&mut stream.writer, (stream.notice)(untold).as_bytes());
                told = notice.is_ok();
                // The notice is no line of the node's: losing it drops none.
                written = notice.map_err(|(why, _)| (why, 0));
            }
            self.done(written.as_ref().map_or_else(|(_, lost)| *lost, |()| 0), untold, told);
            if let Err((why, _)) = written
                && why.kind() != ErrorKind::BrokenPipe
                && !std::mem::replace(&mut has_failed, true)
            {
                (stream.failed)(&why);
            }
        }
    }

    /// Waits for lines; takes them, and the number of those dropped after them.
    fn take(&self) -> (Vec<u8>, u64) {
        let is_idle = |queue: &mut Queue| queue.waiting.is_empty();
        let queue = self.changed.wait_while(self.lock(), is_idle);
        let mut queue = queue.unwrap_or_else(PoisonError::into_inner);
        queue.is_writing = true;
        (std::mem::take(&mut queue.waiting), queue.untold)
    }

    fn done(&self, lost: u64, untold: u64, told: bool) {
        let mut queue = self.lock();
        queue.is_writing = false;
        queue.drop_lines(lost);
        if told {
            queue.untold -= untold;
        }
        self.changed.notify_all();
    }
}

/// Writes all of it, or says how many lines did not get through.
fn write(writer: &mut impl Write, lines: &[u8]) -> Result<(), (io::Error, u64)> {
    let mut left = lines;
    while !left.is_empty() {
        match writer.write(left) {
            Ok(0) => return Err((ErrorKind::WriteZero.into(), count(left))),
            Ok(written) => left = &left[written..],
            Err(why) if why.kind() == ErrorKind::Interrupted => {}
            Err(why) if why.kind() == ErrorKind::WouldBlock => thread::sleep(REST),
            Err(why) => return Err((why, count(left))),
        }
    }
    writer.flush().map_err(|why| (why, count(lines)))
}

fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

    /// Far more than anything here takes.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// What reads when the test does, and may have gone away. It tells when a write begins.
    struct Reader(Sender<()>, SyncSender<Vec<u8>>);

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.send(());
            let sent = self.1.send(bytes.to_vec());
            sent.map(|()| bytes.len()).map_err(|_| ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn started() -> (Outlet, Receiver<()>, Receiver<Vec<u8>>) {
        let (begin, begun) = channel();
        let (sender, reader) = sync_channel(0);
        let notice = |dropped| format!("{dropped} dropped\n");
        let writer = Reader(begin, sender);
        let stream = Stream { name: "test", writer, notice, failed: |why| panic!("{why}") };
        (Outlet::start(stream).unwrap(), begun, reader)
    }

    fn read(reader: &Receiver<Vec<u8>>) -> String {
        String::from_utf8(reader.recv_timeout(PATIENCE).unwrap()).unwrap()
    }

    #[test]
    fn what_does_not_fit_is_dropped_counted_and_told_when_somebody_reads_again() {
        let (outlet, begun, reader) = started();
        outlet.push(b"first\n");
        begun.recv_timeout(PATIENCE).unwrap();
        // Nobody reads, and no push waits for it. There is room for one of these.
        let mut line = vec![b'x'; ROOM / 2];
        line.push(b'\n');
        (0..10).for_each(|_| outlet.push(&line));
        assert_eq!(outlet.dropped(), 9);
        assert_eq!(read(&reader), "first\n");
        assert_eq!(read(&reader).as_bytes(), line);
        assert_eq!(read(&reader), "9 dropped\n");
        outlet.push(b"last\n");
        assert_eq!(read(&reader), "last\n");
        outlet.flush(PATIENCE);
        assert_eq!(outlet.dropped(), 9);
    }

    #[test]
    fn lines_that_could_not_be_written_are_counted_and_more_may_be_pushed() {
        let (outlet, _, reader) = started();
        drop(reader);
        for lines in 1..=3 {
            outlet.push(b"line\n");
            outlet.flush(PATIENCE);
            assert_eq!(outlet.dropped(), lines);
        }
    }

    #[test]
    fn a_flush_ends_though_nobody_reads() {
        let (outlet, _, reader) = started();
        outlet.push(b"line\n");
        outlet.flush(Duration::from_millis(1));
        assert_eq!(read(&reader), "line\n");
    }
}
