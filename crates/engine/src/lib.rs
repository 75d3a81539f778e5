//! Does what the node decides: one loop per node feeds the state machine and carries out what it
//! wants done.
//!
//! In reading order: who the node is ([`identity`]), the two clocks ([`clock`]), how long the loop may sleep (`timer`), how a
//! registry is found ([`connect`]), who runs user code ([`executor`], [`pulse`]) and looks at its scripts (`findings`), what the loop is asked from
//! outside ([`handle`], `trigger`), the loop itself ([`engine`]), and who is told what happened
//! ([`report`], [`journal`], [`metrics`]). [`signals`] is for programs that want to be stopped by
//! signals; nothing here installs a handler unasked.

pub mod clock;
pub mod connect;
pub mod engine;
pub mod executor;
mod findings;
pub mod handle;
pub mod identity;
pub mod journal;
pub mod metrics;
pub mod pulse;
pub mod report;
pub mod signals;
mod timer;

pub use clock::{Clock, SystemClock};
pub use connect::{Connect, Connecting, Link, NoLink};
pub use engine::{EngineError, Running, Start, Stopped};
pub use executor::{Endings, Executor, WorkerExecutor};
pub use handle::{Handle, Unavailable};
pub use metrics::Metrics;
pub use pulse::{Pulse, Watch};
pub use report::{Reported, Reporter, Subscription, Told};
