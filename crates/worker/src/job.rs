//! What a program registers as a job: an async function, or a blocking one.

use crate::Context;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// Any error a job may end with; its text is shown and kept with the outcome.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How a job's own code ends. A panic is an outcome too and reaches nobody else.
pub type JobResult = Result<(), BoxError>;

/// The future of one run.
pub type JobFuture<'a> = Pin<Box<dyn Future<Output = JobResult> + Send + 'a>>;

/// A job that blocks its thread. It runs on a thread of its own, never on the runtime's.
///
/// Nothing can stop it from outside: at a cancel it sees [`Context::is_cancelled`] and should
/// return soon. Until it has returned its run counts as running, and the shard may by then run
/// elsewhere, so what it writes must carry [`Context::epoch`] and be refused where a greater one
/// was seen.
///
/// Every `Fn(&Context) -> Result<(), E>` is one.
pub trait Job: Send + Sync + 'static {
    /// Runs one shard of one fire.
    ///
    /// # Errors
    /// Whatever went wrong: the run counts as failed, and its text is the reason.
    fn run(&self, context: &Context) -> JobResult;
}

impl<F, E> Job for F
where
    F: Fn(&Context) -> Result<(), E> + Send + Sync + 'static,
    E: Into<BoxError>,
{
    fn run(&self, context: &Context) -> JobResult {
        self(context).map_err(Into::into)
    }
}

/// A job that awaits, on the program's own runtime.
///
/// At a cancel [`Context::cancelled`] completes; a run that has not ended when the worker's grace
/// is over is dropped at its next `await`. Code that never awaits cannot be dropped and belongs in
/// a [`Job`].
///
/// Every `Fn(Context) -> impl Future<Output = Result<(), E>>` is one.
pub trait AsyncJob: Send + Sync + 'static {
    /// Runs one shard of one fire. The future gives an error where the run failed; its text is
    /// the reason.
    fn run(&self, context: Context) -> JobFuture<'_>;
}

impl<F, T, E> AsyncJob for F
where
    F: Fn(Context) -> T + Send + Sync + 'static,
    T: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<BoxError> + 'static,
{
    fn run(&self, context: Context) -> JobFuture<'_> {
        let work = self(context);
        Box::pin(async move { work.await.map_err(Into::into) })
    }
}

/// A registered function of either kind.
#[derive(Clone)]
pub enum Function {
    /// Runs on the program's runtime.
    Async(Arc<dyn AsyncJob>),
    /// Runs on a thread of the worker's.
    Blocking(Arc<dyn Job>),
}

impl Function {
    /// An async function, or whatever implements [`AsyncJob`].
    pub fn awaiting(job: impl AsyncJob) -> Self {
        Self::Async(Arc::new(job))
    }

    /// An async closure; spelt out so that the compiler can tell the closure's argument.
    pub fn from_async<F, T, E>(closure: F) -> Self
    where
        F: Fn(Context) -> T + Send + Sync + 'static,
        T: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        Self::awaiting(closure)
    }

    /// A blocking function, or whatever implements [`Job`].
    pub fn blocking(job: impl Job) -> Self {
        Self::Blocking(Arc::new(job))
    }

    /// A blocking closure; spelt out so that the compiler can tell the closure's argument.
    pub fn from_blocking<F, E>(closure: F) -> Self
    where
        F: Fn(&Context) -> Result<(), E> + Send + Sync + 'static,
        E: Into<BoxError> + 'static,
    {
        Self::blocking(closure)
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Async(_) => "Function::Async",
            Self::Blocking(_) => "Function::Blocking",
        })
    }
}
