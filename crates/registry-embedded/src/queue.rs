//! Requests on their way to the writing thread.

use crate::clock;
use flockwork_registry::{Op, Request, Ticket};
use std::collections::VecDeque;

/// Operations and bytes after which no further request joins a transaction, so that others get the
/// lock after some milliseconds.
const BATCH_OPS: usize = 2_048;
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// One request.
#[derive(Debug)]
pub(crate) struct Submitted {
    pub(crate) ticket: Ticket,
    pub(crate) request: Request,
    /// In which session's name; `None` before the first.
    pub(crate) session: Option<u64>,
    at: u64,
}

impl Submitted {
    pub(crate) fn is_commit(&self) -> bool {
        matches!(self.request, Request::Commit(_))
    }

    fn weight(&self) -> (usize, usize) {
        match &self.request {
            Request::Commit(ops) => (ops.len(), ops.iter().map(Op::bytes).sum()),
            _ => (1, 0),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: VecDeque<Submitted>,
    /// Taken and not answered yet.
    taken: usize,
    asleep: bool,
    /// Since when.
    closing: Option<u64>,
}

impl Queue {
    /// Whether the writing thread must be woken, or why the request is not taken.
    pub(crate) fn push(
        &mut self,
        ticket: Ticket,
        request: Request,
        session: Option<u64>,
        most: usize,
    ) -> Result<bool, String> {
        if self.closing.is_some() {
            return Err("the registry was closed".to_owned());
        }
        if self.waiting.len() + self.taken >= most {
            return Err(format!("{most} requests have no answer yet (max_in_flight is {most})"));
        }
        self.waiting.push_back(Submitted { ticket, request, session, at: clock::boot_millis() });
        Ok(std::mem::take(&mut self.asleep))
    }

    /// What is next: a commit, something else, or nothing.
    pub(crate) fn front_is_commit(&self) -> Option<bool> {
        self.waiting.front().map(Submitted::is_commit)
    }

    /// Since when the registry is being closed, if it is.
    pub(crate) fn closing(&self) -> Option<u64> {
        self.closing
    }

    /// Whether the writing thread may sleep: it will be woken by the next request.
    pub(crate) fn fall_asleep(&mut self) -> bool {
        self.asleep = self.waiting.is_empty() && self.closing.is_none();
        self.asleep
    }

    /// The next requests for one transaction, up to the first commit if it only reads.
    pub(crate) fn take(&mut self, reads_only: bool) -> Vec<Submitted> {
        let (mut ops, mut bytes) = (0, 0);
        let mut batch = Vec::new();
        while ops < BATCH_OPS && bytes < BATCH_BYTES {
            let Some(next) = self.waiting.pop_front_if(|next| !(reads_only && next.is_commit()))
            else {
                break;
            };
            let weight = next.weight();
            ops += weight.0;
            bytes += weight.1;
            batch.push(next);
        }
        self.taken = batch.len();
        batch
    }

    /// What was taken is answered. Said just before, as who reads an answer may ask at once.
    pub(crate) fn answered(&mut self) {
        self.taken = 0;
    }

    /// Takes the whole queue if its first was submitted before this: answers keep their order, so
    /// none may be answered before it.
    pub(crate) fn expire(&mut self, before: u64) -> Vec<Ticket> {
        match self.waiting.front() {
            Some(first) if first.at < before => self.drain(),
            _ => Vec::new(),
        }
    }

    pub(crate) fn close(&mut self) -> Vec<Ticket> {
        self.closing.get_or_insert_with(clock::boot_millis);
        self.drain()
    }

    fn drain(&mut self) -> Vec<Ticket> {
        self.waiting.drain(..).map(|waiting| waiting.ticket).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flockwork_registry::Key;

    fn full(queue: &mut Queue, requests: Vec<Request>) {
        for (ticket, request) in (0..).zip(requests) {
            queue.push(Ticket(ticket), request, None, 100).unwrap();
        }
    }

    #[test]
    fn a_reading_transaction_stops_at_the_first_commit() {
        let mut queue = Queue::default();
        let get = || Request::Get(Key::root());
        full(&mut queue, vec![get(), get(), Request::Commit(vec![]), get()]);
        assert_eq!(queue.take(true).len(), 2);
        assert_eq!(queue.front_is_commit(), Some(true));
        assert_eq!(queue.take(false).len(), 2);
    }

    #[test]
    fn what_is_taken_counts_as_under_way_until_it_is_answered() {
        let mut queue = Queue::default();
        full(&mut queue, vec![Request::Get(Key::root())]);
        assert_eq!(queue.take(true).len(), 1);
        let mut push = || queue.push(Ticket(1), Request::Get(Key::root()), None, 1);
        assert!(push().unwrap_err().contains("max_in_flight is 1"));
        queue.answered();
        let mut push = || queue.push(Ticket(1), Request::Get(Key::root()), None, 1);
        assert!(push().is_ok());
    }

    #[test]
    fn a_transaction_is_bounded_but_never_empty() {
        let mut queue = Queue::default();
        let many = || Request::Commit(vec![Op::CheckAbsent(Key::root()); BATCH_OPS]);
        full(&mut queue, vec![many(), many()]);
        assert_eq!(queue.take(false).len(), 1);
        assert_eq!(queue.take(false).len(), 1);
    }

    #[test]
    fn waiting_requests_expire_together() {
        let mut queue = Queue::default();
        full(&mut queue, vec![Request::Get(Key::root()), Request::Commit(vec![])]);
        assert_eq!(queue.expire(0), []);
        assert_eq!(queue.expire(u64::MAX), [Ticket(0), Ticket(1)]);
    }
}
