//! What a program registers to be called once before and once after each fire of a job.

use crate::Context;
use crate::job::{AsyncJob, JobFuture};
use std::fmt;
use std::sync::Arc;

/// Code beside a job that is called once for each fire in the whole cluster, on one of the nodes that serve
/// the job: before its first shard starts, and after its last has ended. On the program's own runtime.
///
/// What [`Context::epoch`] and [`Context::attempt`] are for a shard's run, they are for these calls: a call
/// whose node dies is repeated on another node with the attempt raised, so what a listener does must stand
/// being done twice, and what it writes should be refused where a greater epoch was seen.
///
/// At a cancel, for instance at the call's time-out, [`Context::cancelled`] completes; a call that has not
/// ended when the worker's grace is over is dropped at its next `await`. Code that never awaits cannot be
/// dropped and belongs on a thread of its own, such as `tokio::task::spawn_blocking` gives.
pub trait Listener: Send + Sync + 'static {
    /// Called before any shard of the fire starts; all of them wait for its end. An error, a panic and a
    /// time-out (10 s unless the job says otherwise) are a failure: the fire is then skipped or run, as the
    /// job's `on_failure` says. Where its node dies it is repeated at most three times, and has then failed.
    ///
    /// Does nothing unless a listener says otherwise.
    fn before(&self, context: Context) -> JobFuture<'_> {
        nothing(context)
    }

    /// Called once every shard of the fire has ended, however it did. Its failure is reported and changes
    /// nothing; the job's next fire waits for its end, or its time-out (10 min unless the job says
    /// otherwise). Once its end is written it is never called for the fire again; it is where its node dies
    /// before that.
    ///
    /// Does nothing unless a listener says otherwise.
    fn after(&self, context: Context) -> JobFuture<'_> {
        nothing(context)
    }
}

fn nothing<'a>(_: Context) -> JobFuture<'a> {
    Box::pin(std::future::ready(Ok(())))
}

impl fmt::Debug for dyn Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}

/// One of a listener's methods.
pub(crate) type Method = for<'a> fn(&'a (dyn Listener + 'static), Context) -> JobFuture<'a>;

/// One method of a listener as an async function, so that it is run as one.
pub(crate) struct Listening {
    pub(crate) listener: Arc<dyn Listener>,
    pub(crate) method: Method,
}

impl AsyncJob for Listening {
    fn run(&self, context: Context) -> JobFuture<'_> {
        (self.method)(&*self.listener, context)
    }
}
