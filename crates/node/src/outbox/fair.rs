//! A line in which no job stands in another's way. Of each job, so many things stand in the line or are under
//! way at a time; the rest of them wait behind the line, each until another is done. So what a job puts into
//! the line waits for a bounded number of things of each other job, however many these have to do.

use crate::names::JobIx;
use std::collections::{BTreeMap, VecDeque};

/// The line. What belongs to no job is not counted, and always stands in the line.
#[derive(Debug)]
pub(crate) struct Fair<T> {
    /// The most things of one job that stand in the line or are under way, unless they are put in again.
    most: u32,
    line: VecDeque<T>,
    /// How many things of each job stand in the line or are under way, by the job's position.
    counted: Vec<u32>,
    /// What waits behind the line; nothing of a job of which fewer than `most` are counted.
    behind: BTreeMap<JobIx, VecDeque<T>>,
}

impl<T> Fair<T> {
    pub(crate) fn new(most: u32) -> Self {
        let (line, counted, behind) = (VecDeque::new(), Vec::new(), BTreeMap::new());
        Self { most, line, counted, behind }
    }

    /// Puts a thing at the end of the line, or behind the line if enough of its job is ahead of it.
    pub(crate) fn push(&mut self, job: Option<JobIx>, thing: T) {
        if let Some(job) = job {
            let most = self.most;
            let counted = self.counted(job);
            if *counted >= most {
                return self.behind.entry(job).or_default().push_back(thing);
            }
            *counted += 1;
        }
        self.line.push_back(thing);
    }

    /// Puts a thing that was under way, or is needed by what stands there, at a place in the line.
    pub(crate) fn insert(&mut self, at: usize, job: Option<JobIx>, thing: T) {
        if let Some(job) = job {
            *self.counted(job) += 1;
        }
        self.line.insert(at, thing);
    }

    /// Takes the first thing out of the line. It is under way from here on.
    pub(crate) fn pop(&mut self) -> Option<T> {
        self.line.pop_front()
    }

    /// Notes that a thing is not under way any more: one that waited behind the line takes its place.
    pub(crate) fn is_done(&mut self, job: Option<JobIx>) {
        let Some(job) = job else { return };
        let most = self.most;
        let counted = self.counted(job);
        *counted = counted.saturating_sub(1);
        if *counted < most && !self.behind.is_empty() {
            self.move_up(job);
        }
    }

    fn move_up(&mut self, job: JobIx) {
        let Some(behind) = self.behind.get_mut(&job) else { return };
        if let Some(thing) = behind.pop_front() {
            self.line.push_back(thing);
            self.counted[job.position()] += 1;
        }
        if self.behind.get(&job).is_some_and(VecDeque::is_empty) {
            self.behind.remove(&job);
        }
    }

    /// Takes everything out, and nothing of it counts any more.
    pub(crate) fn take_all(&mut self, job_of: impl Fn(&T) -> Option<JobIx>) -> Vec<T> {
        for job in self.line.iter().filter_map(job_of) {
            let counted = &mut self.counted[job.position()];
            *counted = counted.saturating_sub(1);
        }
        let behind = std::mem::take(&mut self.behind).into_values().flatten();
        self.line.drain(..).chain(behind).collect()
    }

    /// Takes out of the line what belongs to no job and is as asked for. Says whether there was any.
    pub(crate) fn take_out(&mut self, is_one: impl Fn(&T) -> bool) -> bool {
        let before = self.line.len();
        self.line.retain(|thing| !is_one(thing));
        self.line.len() < before
    }

    /// The first thing in the line.
    pub(crate) fn front(&self) -> Option<&T> {
        self.line.front()
    }

    /// What stands in the line, the first one first.
    pub(crate) fn line(&self) -> &VecDeque<T> {
        &self.line
    }

    /// All that waits, in the line and behind it.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.line.iter().chain(self.behind.values().flatten())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.line.is_empty() && self.behind.is_empty()
    }

    fn counted(&mut self, job: JobIx) -> &mut u32 {
        let at = job.position();
        if self.counted.len() <= at {
            self.counted.resize(at + 1, 0);
        }
        &mut self.counted[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BIG: Option<JobIx> = Some(JobIx(0));
    const SMALL: Option<JobIx> = Some(JobIx(1));

    fn with_a_big_job(things: usize) -> Fair<(Option<JobIx>, usize)> {
        let mut fair = Fair::new(3);
        (0..things).for_each(|at| fair.push(BIG, (BIG, at)));
        fair
    }

    /// Takes all that may be taken, one after the other, each being done before the next is taken.
    fn in_order(fair: &mut Fair<(Option<JobIx>, usize)>) -> Vec<(Option<JobIx>, usize)> {
        let mut taken = Vec::new();
        while let Some(thing) = fair.pop() {
            fair.is_done(thing.0);
            taken.push(thing);
        }
        taken
    }

    #[test]
    fn a_job_waits_for_few_things_of_another_and_each_keeps_its_own_order() {
        let mut fair = with_a_big_job(100);
        (0..5).for_each(|at| fair.push(SMALL, (SMALL, at)));
        let taken = in_order(&mut fair);
        assert_eq!(taken.len(), 105);
        let ahead = taken.iter().position(|thing| *thing == (SMALL, 4));
        assert!(ahead.is_some_and(|at| at <= 3 + 2 * 5), "{ahead:?}");
        for job in [BIG, SMALL] {
            let own = taken.iter().filter(|thing| thing.0 == job).map(|thing| thing.1);
            assert!(own.is_sorted());
        }
        assert!(fair.is_empty());
    }

    #[test]
    fn what_is_under_way_counts_until_it_is_done() {
        let mut fair = with_a_big_job(5);
        let under_way: Vec<_> = std::iter::from_fn(|| fair.pop()).collect();
        assert_eq!(under_way.len(), 3);
        assert!(!fair.is_empty(), "two wait behind the line");
        fair.is_done(BIG);
        assert_eq!(fair.pop(), Some((BIG, 3)));
        assert_eq!(fair.pop(), None);
        // One that is put in again is ahead of those, and leaves them where they are.
        fair.insert(0, BIG, (BIG, 1));
        fair.is_done(BIG);
        assert_eq!((fair.pop(), fair.pop()), (Some((BIG, 1)), None));
        (0..3).for_each(|_| fair.is_done(BIG));
        assert_eq!((fair.pop(), fair.pop()), (Some((BIG, 4)), None));
        assert!(fair.is_empty());
    }

    #[test]
    fn what_belongs_to_no_job_never_waits_behind_the_line() {
        let mut fair = with_a_big_job(10);
        (0..10).for_each(|at| fair.push(None, (None, at)));
        assert_eq!(fair.line().len(), 13);
        assert!(fair.take_out(|thing| *thing == (None, 4)));
        assert!(!fair.take_out(|thing| *thing == (None, 4)));
        assert_eq!(fair.iter().count(), 10 + 9);
    }

    #[test]
    fn what_is_taken_back_counts_no_more() {
        let mut fair = with_a_big_job(10);
        assert_eq!(fair.pop(), Some((BIG, 0)));
        assert_eq!(fair.take_all(|thing| thing.0).len(), 9);
        assert!(fair.is_empty());
        (0..5).for_each(|at| fair.push(BIG, (BIG, at)));
        assert_eq!(fair.line().len(), 2, "one is under way");
    }
}
