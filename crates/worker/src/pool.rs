//! Threads for code that blocks: at most so many, kept a while, made when needed.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a thread without work is kept: longer than the pause of a job due every few seconds.
const IDLE: Duration = Duration::from_secs(10);

type Task = Box<dyn FnOnce() + Send>;

/// A bounded set of threads with one queue. What does not find a thread waits in order; the queue
/// itself is bounded by whoever starts runs (`max_running`).
#[derive(Clone)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    work: Condvar,
    max_threads: usize,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Task>,
    threads: usize,
    idle: usize,
}

impl Pool {
    pub(crate) fn new(max_threads: usize) -> Self {
        let max_threads = max_threads.max(1);
        Self {
            shared: Arc::new(Shared { state: Mutex::default(), work: Condvar::new(), max_threads }),
        }
    }

    /// Runs `task` on one of the threads.
    ///
    /// # Errors
    /// The system's, where there is no thread at all and none can be made; the task is dropped.
    pub(crate) fn execute(&self, task: Task) -> io::Result<()> {
        let mut state = self.shared.lock();
        state.queue.push_back(task);
        if state.idle >= state.queue.len() || state.threads >= self.shared.max_threads {
            self.shared.work.notify_one();
            return Ok(());
        }
        state.threads += 1;
        drop(state);
        let shared = Arc::clone(&self.shared);
        let made = std::thread::Builder::new()
            .name("flockwork-job".to_owned())
            .spawn(move || shared.serve());
        match made {
            Ok(_detached) => Ok(()),
            Err(error) => self.shared.thread_missing(error),
        }
    }
}

impl Shared {
    /// A panic while the lock was held is a bug of this file alone; the queue is still whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn thread_missing(&self, error: io::Error) -> io::Result<()> {
        let mut state = self.lock();
        state.threads -= 1;
        if state.threads > 0 {
            // Another thread will come to it.
            return Ok(());
        }
        let lost = std::mem::take(&mut state.queue);
        drop(state);
        drop(lost);
        Err(error)
    }

    fn serve(&self) {
        while let Some(task) = self.next() {
            // Whoever waits for the task learns it from what the task drops; the thread goes on.
            if catch_unwind(AssertUnwindSafe(task)).is_err() {
                tracing::error!("a run's bookkeeping panicked");
            }
        }
    }

    fn next(&self) -> Option<Task> {
        let mut state = self.lock();
        loop {
            if let Some(task) = state.queue.pop_front() {
                return Some(task);
            }
            state.idle += 1;
            let (back, waited) =
                self.work.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
            state = back;
            state.idle -= 1;
            if waited.timed_out() && state.queue.is_empty() {
                state.threads -= 1;
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn no_more_threads_than_allowed_and_nothing_is_lost() {
        let pool = Pool::new(3);
        let (tell, told) = mpsc::channel();
        for n in 0..100 {
            let tell = tell.clone();
            let task = move || tell.send((n, std::thread::current().id())).unwrap();
            pool.execute(Box::new(task)).unwrap();
        }
        let done: Vec<_> = (0..100).map(|_| told.recv_timeout(LONG).unwrap()).collect();
        let mut threads: Vec<_> = done.iter().map(|(_, id)| format!("{id:?}")).collect();
        threads.sort();
        threads.dedup();
        assert!(threads.len() <= 3, "{threads:?}");
        let mut numbers: Vec<_> = done.iter().map(|(n, _)| *n).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn a_panic_costs_no_thread() {
        let pool = Pool::new(1);
        let (tell, told) = mpsc::channel();
        pool.execute(Box::new(|| panic!("on purpose"))).unwrap();
        pool.execute(Box::new(move || tell.send(()).unwrap())).unwrap();
        told.recv_timeout(LONG).unwrap();
    }

    #[test]
    fn a_second_task_does_not_wait_for_the_first_while_threads_are_allowed() {
        let pool = Pool::new(2);
        let (release, wait) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        pool.execute(Box::new(move || assert!(wait.recv_timeout(LONG).is_err()))).unwrap();
        pool.execute(Box::new(move || tell.send(()).unwrap())).unwrap();
        told.recv_timeout(LONG).unwrap();
        drop(release);
    }
}
