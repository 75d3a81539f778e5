//! What is yet to happen, in order of time; what happens at the same time, in an order of the seed.

use crate::dice::Dice;
use crate::zookeeper;
use flockwork_core::execution::RunId;
use flockwork_core::id::JobName;
use flockwork_node::{Event, TriggerId};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A host's place in the list.
pub(crate) type HostAt = usize;

/// A job's place in the list.
pub(crate) type JobAt = usize;

/// Something that happens.
#[derive(Clone, Debug)]
pub(crate) enum Happens {
    /// A process starts.
    Start(HostAt),
    /// To one start of a host's process.
    Host(HostAt, u64, Within),
    /// A message arrives at the registry.
    Arrives(HostAt),
    /// A host goes on after standing still.
    Resume(HostAt),
    /// The registry looks for sessions that are over.
    Expire,
    /// The registry is there again; its sessions have all their time, if it restarted.
    RegistryBack(bool),
    /// Changes that were held back are told.
    Spill(HostAt),
    /// A process is told to stop.
    Drain(HostAt),
    /// What is left of a removed job is swept away.
    Sweep(JobAt, u8),
    /// A definition of a newer release is taken back.
    PutBack(JobAt),
    /// A host can start the script of a job from now on, or no more.
    Script(HostAt, JobAt, bool),
    /// A host's wall clock is set right.
    ClockRight(HostAt),
    /// Something goes wrong.
    Strike(Kind),
    /// Everything is well from here on.
    Heal,
    /// Something happens to servers that are simulated to the byte.
    Wire(zookeeper::Happens),
    /// The end.
    Over,
}

/// What happens within a process, and waits while it stands still.
#[derive(Clone, Debug)]
pub(crate) enum Within {
    /// The node is told something.
    Told(Event),
    /// A message from the registry arrives.
    Heard,
    /// The node asked to be woken.
    Wake(u64),
    /// What was kept back is sent.
    Flush,
    /// The session is to be renewed.
    Beat(u64),
    /// A connection is to be made.
    Connect(u64),
    /// The connection is found to be dead.
    Noticed(u64),
    /// User code comes to its end.
    RunEnds(RunId, u64),
    /// The drain takes too long.
    DrainOver,
    /// The edge looks at the script of a job.
    Looks(JobName),
    /// The node must have told what became of a request, when it is looked for the n-th time.
    AskedBy(TriggerId, u8),
    /// Something happens to its registry's client, where that is the real one.
    Wire(zookeeper::Within),
}

/// Kinds of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Crash,
    Restart,
    Pause,
    Cut,
    Slow,
    Operator,
    Jobs,
    Clock,
    Registry,
    Full,
    Rolling,
    Jumble,
}

impl Kind {
    pub(crate) const ALL: [Self; 12] = [
        Self::Crash,
        Self::Restart,
        Self::Pause,
        Self::Cut,
        Self::Slow,
        Self::Operator,
        Self::Jobs,
        Self::Clock,
        Self::Registry,
        Self::Full,
        Self::Rolling,
        Self::Jumble,
    ];
}

/// The queue.
#[derive(Debug)]
pub(crate) struct Queue {
    heap: BinaryHeap<Entry>,
    sequence: u64,
    ties: Dice,
}

#[derive(Debug)]
struct Entry {
    order: Reverse<(u64, u64, u64)>,
    happens: Happens,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order.cmp(&other.order)
    }
}

impl Queue {
    pub(crate) fn new(ties: Dice) -> Self {
        Self { heap: BinaryHeap::new(), sequence: 0, ties }
    }

    pub(crate) fn push(&mut self, at: u64, happens: Happens) {
        self.sequence += 1;
        let order = Reverse((at, self.ties.bits(), self.sequence));
        self.heap.push(Entry { order, happens });
    }

    pub(crate) fn pop(&mut self) -> Option<(u64, Happens)> {
        let Entry { order: Reverse((at, ..)), happens } = self.heap.pop()?;
        Some((at, happens))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_orders_and_the_seed_breaks_ties() {
        let order = |seed| {
            let mut queue = Queue::new(Dice::new(seed));
            for (at, host) in [(5, 0), (1, 1), (5, 2), (5, 3), (5, 4)] {
                queue.push(at, Happens::Start(host));
            }
            let popped = std::iter::from_fn(|| queue.pop());
            popped.map(|(at, happens)| format!("{at} {happens:?}")).collect::<Vec<_>>()
        };
        assert_eq!(order(1), order(1));
        assert!(order(1)[0].starts_with("1 "));
        assert!((2..20).any(|seed| order(seed) != order(1)));
    }
}
