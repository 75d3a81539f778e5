//! Writes correct histories of jobs that have a listener.

use crate::history::{CLIENT, Kept, LAST, Scribe, WALL};
use flockwork_checker::trace::{
    About, Call, Fact, Fault, Fire, Line, Listener, Part, Stage, StageChange,
};
use std::collections::BTreeMap;

/// One job that is due each five seconds, and one on request.
const JOBS: [Kept; 2] = [("kept", 5_000, 2), ("called", 0, 2)];
const LISTENER: Listener =
    Listener { before_timeout: 300, after_timeout: 2_000, runs_on_failure: false };

/// What becomes of a fire.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Course {
    Plain,
    /// `before` fails.
    Fails,
    /// `before` is told to stop.
    TimesOut,
    /// Who calls `before` dies.
    DiesBefore,
    /// Who calls `after` dies.
    DiesAfter,
    /// A shard is tried again.
    Retries,
}

struct Leading {
    scribe: Scribe,
    leader: usize,
    /// The commit that made it the leader, by job.
    epochs: BTreeMap<&'static str, u64>,
    stages: BTreeMap<&'static str, StageChange>,
}

/// A correct history.
pub(crate) fn listened(seed: u64) -> Vec<Line> {
    let scribe = Scribe::new(seed, &JOBS, Some(LISTENER));
    let mut leading =
        Leading { scribe, leader: 0, epochs: BTreeMap::new(), stages: BTreeMap::new() };
    leading.elect(0);
    for (job, ..) in JOBS {
        leading.stage(job, |it| it.through = WALL);
    }
    for second in 1..LAST {
        if second == 60 {
            leading.scribe.write(Fact::Healed);
        }
        leading.scribe.at = second * 1_000 + 5;
        let is_plain = second >= 55;
        if second % 5 == 0 {
            let course = leading.draw(is_plain);
            let due = WALL + i64::try_from(second * 1_000).unwrap();
            leading.fire("kept", &Fire { due, source: "schedule".into() }, course);
        } else if second == 62 || (second % 5 == 2 && second < 40) {
            leading.request("called");
        }
    }
    leading.scribe.close()
}

impl Leading {
    fn draw(&mut self, is_plain: bool) -> Course {
        match if is_plain { 9 } else { self.scribe.dice.roll(10) } {
            0 => Course::Fails,
            1 => Course::TimesOut,
            2 => Course::DiesBefore,
            3 => Course::DiesAfter,
            4 => Course::Retries,
            _ => Course::Plain,
        }
    }

    fn session(&self) -> u64 {
        self.scribe.processes[self.leader].session
    }

    fn elect(&mut self, node: usize) {
        self.leader = node;
        let process = self.scribe.processes[node].clone();
        for (job, ..) in JOBS {
            self.scribe.mark(job, About::Leader, process.session, Some(process.instance.clone()));
            self.epochs.insert(job, self.scribe.index);
        }
    }

    fn stage(&mut self, job: &'static str, edit: impl FnOnce(&mut StageChange)) {
        self.scribe.index += 1;
        self.scribe.at += 2;
        let (index, session) = (self.scribe.index, self.session());
        let first = StageChange {
            job: job.to_owned(),
            index: 0,
            session: 0,
            guard: None,
            through: 0,
            asked: 0,
            answered: 0,
            stage: Some(Stage::Closed),
        };
        let before = self.stages.get(job).cloned();
        let guard = before.as_ref().map(|before| before.index);
        let mut next = StageChange { index, session, guard, ..before.unwrap_or(first) };
        edit(&mut next);
        self.stages.insert(job, next.clone());
        self.scribe.write(Fact::Stage(Box::new(next)));
    }

    fn call(&mut self, job: &'static str, (part, fire, attempt): (Part, &Fire, u32)) -> Call {
        self.scribe.at += 1;
        let call = Call {
            node: u32::try_from(self.leader).unwrap(),
            instance: self.scribe.processes[self.leader].instance.clone(),
            job: job.to_owned(),
            part,
            fire: fire.clone(),
            attempt,
            epoch: self.epochs[job],
        };
        self.scribe.write(Fact::CallBegins(call.clone()));
        call
    }

    fn returns(&mut self, call: Call, code: &str) {
        self.scribe.at += 10;
        self.scribe.write(Fact::CallEnds { call, code: code.to_owned() });
    }

    /// Who leads dies; the next one leads.
    fn die(&mut self) {
        self.scribe.at += 5;
        let dead = self.scribe.processes[self.leader].clone();
        let node = u32::try_from(self.leader).unwrap();
        let instance = dead.instance.clone();
        self.scribe.write(Fact::Fault(Fault::Crash { node, instance, runs: 0 }));
        for (job, ..) in JOBS {
            self.scribe.register(job, &dead, false);
            self.scribe.mark(job, About::Leader, dead.session, None);
        }
        self.scribe.join(self.leader);
        self.elect((self.leader + 1) % 3);
    }

    fn fire(&mut self, job: &'static str, fire: &Fire, course: Course) {
        let mut call = self.call(job, (Part::Before, fire, 1));
        if course == Course::DiesBefore {
            self.die();
            let again = Stage::Repeated { fire: fire.clone(), attempt: 2 };
            self.stage(job, |it| it.stage = Some(again));
            call = self.call(job, (Part::Before, fire, 2));
        }
        match course {
            Course::Fails => {
                self.returns(call, "ERROR");
                return self.pass(job, fire);
            }
            Course::TimesOut => {
                self.scribe.at += 300;
                self.scribe.write(Fact::CallStopped(call.clone()));
                self.returns(call, "TIMED_OUT");
                return self.pass(job, fire);
            }
            _ => self.returns(call, "OK"),
        }
        let open = Stage::Open { fire: fire.clone(), shards: 2 };
        let due = fire.due;
        let is_asked = fire.is_triggered();
        self.stage(job, |it| {
            it.stage = Some(open);
            match is_asked {
                true => it.answered = it.asked,
                false => it.through = due,
            }
        });
        for shard in 0..2 {
            self.run(job, shard, fire, course);
        }
        let mut call = self.call(job, (Part::After, fire, 1));
        if course == Course::DiesAfter {
            self.die();
            call = self.call(job, (Part::After, fire, 2));
        }
        self.returns(call, "OK");
        self.stage(job, |it| it.stage = Some(Stage::Closed));
    }

    /// `before` has failed: no shard runs.
    fn pass(&mut self, job: &'static str, fire: &Fire) {
        let due = fire.due;
        let (fate, reason) = ("skipped".to_owned(), "BEFORE_FAILED".to_owned());
        let passed = Stage::Passed { first: due, through: due, fate, reason };
        self.stage(job, |it| (it.through, it.stage) = (due, Some(passed)));
        for shard in 0..2 {
            let mut record = self.scribe.catch_up((job, shard), due, 5_000);
            record.counts.skipped += 1;
            let session = self.scribe.processes[0].session;
            self.scribe.change((job, shard), session, record);
        }
    }

    fn run(&mut self, job: &'static str, shard: u32, fire: &Fire, course: Course) {
        let at = (job, shard);
        let mut record = match fire.is_triggered() {
            true => self.scribe.shards[&at].record.clone(),
            false => self.scribe.catch_up(at, fire.due, 5_000),
        };
        record.counts.ran += 1;
        record.counts.triggered += u64::from(fire.is_triggered());
        let node = usize::try_from(self.scribe.dice.roll(3)).unwrap();
        let claim = self.scribe.claim(record, fire.clone(), 1, 0, node);
        if course == Course::Retries && shard == 0 {
            return self.scribe.retry(at, claim, node);
        }
        let probe = self.scribe.start(at, claim, node);
        self.scribe.finish(at, probe, node, "OK", None);
    }

    /// Somebody asks an instance, which notes that for the whole job.
    fn request(&mut self, job: &'static str) {
        let node = usize::try_from(self.scribe.dice.roll(3)).unwrap();
        let process = self.scribe.processes[node].clone();
        let about = About::Trigger(process.instance.clone());
        self.scribe.mark(job, about.clone(), CLIENT, Some(String::new()));
        let asked = self.scribe.index;
        self.stage(job, |it| (it.asked, it.session) = (asked, process.session));
        self.scribe.mark(job, about, process.session, None);
        let due = WALL + i64::try_from(self.scribe.at).unwrap();
        self.fire(job, &Fire { due, source: "trigger".into() }, Course::Plain);
    }
}
