//! Runs that start together.
//!
//! Each task that is spawned while a thread of the runtime sleeps wakes that thread. With thousands of
//! runs due at one instant, waking and falling asleep again would cost more than the runs, and whoever
//! starts them pays. So only the first wakes one: what that has woken spawns all that have come meanwhile.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use tokio::runtime::Handle;

/// So many are spawned before some of them may run: a quarter of what a thread of the runtime keeps for
/// itself (256).
const AT_ONCE: usize = 64;

/// What becomes a task.
pub(crate) trait Start: Send + 'static {
    /// Its code. Dropping what is started before, or the code, must tell whoever waits.
    fn code(self) -> impl Future<Output = ()> + Send + 'static;
}

/// Starts that wait to be spawned. Bounded by whoever starts runs (`max_running`).
pub(crate) struct Burst<S> {
    state: Arc<Mutex<State<S>>>,
}

struct State<S> {
    waiting: VecDeque<S>,
    /// Whether a task is there that spawns what waits.
    is_served: bool,
}

impl<S> Default for Burst<S> {
    fn default() -> Self {
        let state = State { waiting: VecDeque::new(), is_served: false };
        Self { state: Arc::new(Mutex::new(state)) }
    }
}

impl<S: Start> Burst<S> {
    /// Starts a task on `runtime` soon, in the order of the calls.
    pub(crate) fn start(&self, runtime: &Handle, start: S) {
        let mut state = lock(&self.state);
        state.waiting.push_back(start);
        if !std::mem::replace(&mut state.is_served, true) {
            drop(state);
            let state = Some(Arc::clone(&self.state));
            let server = Server { state };
            runtime.spawn(server.serve());
        }
    }
}

/// The task that spawns what waits.
struct Server<S> {
    /// None once nothing waits any more.
    state: Option<Arc<Mutex<State<S>>>>,
}

impl<S: Start> Server<S> {
    async fn serve(mut self) {
        while self.spawn_some() {
            let_others().await;
        }
    }

    /// Spawns some of what waits; whether more does. This task is over before the last of them can run:
    /// code that does not yield would else hold up all that starts later.
    fn spawn_some(&mut self) -> bool {
        let Some(shared) = &self.state else { return false };
        let mut state = lock(shared);
        let most = state.waiting.len().min(AT_ONCE);
        let some: Vec<S> = state.waiting.drain(..most).collect();
        let is_more = !state.waiting.is_empty();
        state.is_served = is_more;
        drop(state);
        if !is_more {
            self.state = None;
        }
        for start in some {
            tokio::spawn(start.code());
        }
        is_more
    }
}

/// Comes back as a task that any thread may take, where tokio's own `yield_now` waits until this
/// thread has nothing else to do.
async fn let_others() {
    let mut has_waited = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut has_waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl<S> Drop for Server<S> {
    /// The runtime shuts down: what waits will not be spawned, and is dropped to tell so.
    fn drop(&mut self) {
        let Some(shared) = self.state.take() else { return };
        let mut state = lock(&shared);
        state.is_served = false;
        let lost = std::mem::take(&mut state.waiting);
        drop(state);
        drop(lost);
    }
}

/// A panic while the lock was held is a bug of this file alone; the queue is still whole.
fn lock<S>(state: &Mutex<State<S>>) -> MutexGuard<'_, State<S>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    const LONG: Duration = Duration::from_secs(30);

    /// Tells its number when it runs, or that it was dropped before.
    struct Probe {
        number: usize,
        tell: mpsc::Sender<(usize, bool)>,
        has_run: bool,
    }

    impl Start for Probe {
        async fn code(mut self) {
            self.has_run = true;
        }
    }

    impl Drop for Probe {
        fn drop(&mut self) {
            let _ = self.tell.send((self.number, self.has_run));
        }
    }

    fn probe(number: usize, tell: &mpsc::Sender<(usize, bool)>) -> Probe {
        Probe { number, tell: tell.clone(), has_run: false }
    }

    #[test]
    fn all_are_run_however_many_come_at_once_or_later() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build();
        let runtime = runtime.unwrap();
        let (tell, told) = mpsc::channel();
        let burst = Burst::default();
        for round in 0..50 {
            for number in 0..200 {
                burst.start(runtime.handle(), probe(round * 200 + number, &tell));
            }
            // Until the last has run, and what spawned them is about to end: the next ones race with that.
            let mut numbers: Vec<_> = (0..200).map(|_| told.recv_timeout(LONG).unwrap()).collect();
            numbers.sort_unstable();
            let all: Vec<_> = (round * 200..(round + 1) * 200).map(|n| (n, true)).collect();
            assert_eq!(numbers, all);
        }
    }

    /// Says that it has begun, and may then stand still until it is told to go on.
    struct Still {
        tell: mpsc::Sender<()>,
        go_on: Option<mpsc::Receiver<()>>,
    }

    impl Start for Still {
        async fn code(self) {
            let _ = self.tell.send(());
            if let Some(go_on) = &self.go_on {
                let _ = go_on.recv_timeout(LONG);
                let _ = self.tell.send(());
            }
        }
    }

    #[test]
    fn code_that_blocks_its_thread_holds_no_other_start_up() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build();
        let runtime = runtime.unwrap();
        let (burst, (tell, told), (go, go_on)) =
            (Burst::default(), mpsc::channel(), mpsc::channel());
        burst.start(runtime.handle(), Still { tell: tell.clone(), go_on: Some(go_on) });
        told.recv_timeout(LONG).unwrap();
        for _ in 0..200 {
            burst.start(runtime.handle(), Still { tell: tell.clone(), go_on: None });
        }
        for _ in 0..200 {
            told.recv_timeout(LONG).unwrap();
        }
        assert!(told.try_recv().is_err(), "the first still stands");
        go.send(()).unwrap();
        told.recv_timeout(LONG).unwrap();
    }

    #[test]
    fn on_one_thread_they_run_in_their_order() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (tell, told) = mpsc::channel();
        let burst = Burst::default();
        for number in 0..100 {
            burst.start(runtime.handle(), probe(number, &tell));
        }
        runtime.block_on(async {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
        });
        let told: Vec<_> = told.try_iter().collect();
        assert_eq!(told, (0..100).map(|number| (number, true)).collect::<Vec<_>>());
    }

    #[test]
    fn a_runtime_that_is_gone_drops_what_waits_and_what_comes() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (tell, told) = mpsc::channel();
        let (burst, handle) = (Burst::default(), runtime.handle().clone());
        burst.start(&handle, probe(0, &tell));
        burst.start(&handle, probe(1, &tell));
        drop(runtime);
        burst.start(&handle, probe(2, &tell));
        let told: Vec<_> = told.try_iter().collect();
        assert_eq!(told, [(0, false), (1, false), (2, false)]);
    }
}
