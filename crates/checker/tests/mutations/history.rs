//! Writes correct histories: what a registry and its nodes would leave behind if all were well.

use flockwork_checker::trace::{
    About, Claim, Config, Fact, Fault, Fire, Job, Last, Line, Listener, Mark, Plan, Probe, Record,
    RecordChange, When,
};
use std::collections::BTreeMap;

/// A small generator, so that a history is told by its seed alone.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % sides
    }
}

/// Where the wall clock stands when the trace begins; a whole second.
pub(crate) const WALL: i64 = 1_772_323_200_000;

/// The second at which the first fires are not run any more.
pub(crate) const LAST: u64 = 170;
/// The session of someone outside.
pub(crate) const CLIENT: u64 = 999;

/// A job: its name, how often it is due, on request if that is zero, and its shards.
pub(crate) type Kept = (&'static str, u64, u32);

/// The jobs: one due each second that is tried again, one each five seconds that is not, one on
/// request.
const JOBS: [Kept; 3] = [("often", 1_000, 2), ("seldom", 5_000, 1), ("asked", 0, 1)];

#[derive(Clone)]
pub(crate) struct Process {
    pub(crate) instance: String,
    pub(crate) session: u64,
}

pub(crate) struct Shard {
    pub(crate) record: Record,
    last: Option<u64>,
}

pub(crate) struct Scribe {
    pub(crate) lines: Vec<Line>,
    pub(crate) dice: Dice,
    pub(crate) at: u64,
    pub(crate) index: u64,
    nonce: u64,
    jobs: &'static [Kept],
    listener: Option<Listener>,
    pub(crate) processes: Vec<Process>,
    pub(crate) shards: BTreeMap<(&'static str, u32), Shard>,
}

/// A correct history.
pub(crate) fn correct(seed: u64) -> Vec<Line> {
    let mut scribe = Scribe::new(seed, &JOBS, None);
    for second in 1..LAST {
        if second == 60 {
            scribe.write(Fact::Healed);
        }
        scribe.at = second * 1_000 + 5;
        for (job, period, shards) in JOBS {
            for shard in 0..shards {
                if period == 0 {
                    if second < 40 && scribe.dice.roll(4) == 0 {
                        scribe.asked(job, shard);
                    }
                } else if scribe.at % period < 1_000 {
                    scribe.due(job, shard, period, second >= 55);
                }
            }
        }
        if second == 20 {
            scribe.clock_was_ahead("seldom", 5_000);
        }
    }
    scribe.close()
}

impl Scribe {
    /// A history of these jobs, in which nothing has run yet.
    pub(crate) fn new(seed: u64, jobs: &'static [Kept], listener: Option<Listener>) -> Self {
        let mut scribe = Self {
            lines: vec![],
            dice: Dice(seed),
            at: 0,
            index: 0,
            nonce: 0,
            jobs,
            listener,
            processes: vec![],
            shards: BTreeMap::new(),
        };
        scribe.open();
        scribe
    }

    /// One process stops in order; then the history is over.
    pub(crate) fn close(mut self) -> Vec<Line> {
        self.at = LAST * 1_000 + 100;
        self.stop(2);
        self.at = LAST * 1_000 + 6_000;
        self.write(Fact::Over { wall: WALL + i64::try_from(self.at).unwrap() });
        self.lines
    }

    pub(crate) fn write(&mut self, fact: Fact) {
        self.lines.push(Line { at: self.at, fact });
    }

    fn open(&mut self) {
        for (job, period, shards) in self.jobs.iter().copied() {
            let when = match period {
                0 => When::OnTrigger,
                period => When::Every { period, anchor: 0 },
            };
            let schedule = format!("{when:?}");
            let tried_again = job == "often" || self.listener.is_some();
            let name = job.to_owned();
            self.write(Fact::Job(Job {
                job: name.clone(),
                when,
                schedule: schedule.clone(),
                shards,
                failover: tried_again,
                retries: if tried_again { 2 } else { 0 },
                listener: self.listener,
                ..Job::default()
            }));
            self.index += 1;
            let (index, spans) = (self.index, vec![(0, WALL)]);
            self.write(Fact::Plan(Plan {
                job: name,
                index,
                schedule,
                shards,
                spans,
                past: vec![],
                unknown: vec![],
            }));
            self.index += 1;
            let config = Config {
                job: job.to_owned(),
                index: self.index,
                session: CLIENT,
                guard: None,
                document: Some(job.to_owned()),
                is_newer: false,
                listener: self.listener,
            };
            self.write(Fact::Config(config.clone()));
            self.index += 1;
            let guard = Some(config.index);
            self.write(Fact::Config(Config { index: self.index, guard, ..config }));
            for shard in 0..shards {
                let unknown = if job == "seldom" { vec!["later".to_owned()] } else { vec![] };
                let record = Record { unknown, ..Record::default() };
                self.shards.insert((job, shard), Shard { record, last: None });
            }
        }
        for node in 0..3 {
            self.processes.push(Process { instance: String::new(), session: 0 });
            self.join(node);
        }
    }

    /// A process starts under a new id.
    pub(crate) fn join(&mut self, node: usize) {
        self.index += 1;
        let process =
            Process { instance: format!("10.0.0.{node}@-@{}", self.index), session: self.index };
        let number = u32::try_from(node).unwrap();
        self.write(Fact::Node {
            node: number,
            instance: process.instance.clone(),
            slots: 10,
            timeout: 6_000,
        });
        for (job, ..) in self.jobs.iter().copied() {
            let given = self.lines.iter().find_map(|line| match &line.fact {
                Fact::Job(given) if given.job == job => Some(given.clone()),
                _ => None,
            });
            self.write(Fact::Job(Job { node: Some(number), ..given.unwrap() }));
            self.register(job, &process, true);
        }
        let session = process.session;
        self.write(Fact::Trust { node: number, session, until: 1_000_000 });
        self.processes[node] = process;
        if node == 0 {
            self.deal();
        }
    }

    /// All shards belong to the first process.
    fn deal(&mut self) {
        let value = self.processes[0].instance.clone();
        for (job, _, shards) in self.jobs.iter().copied() {
            for shard in 0..shards {
                self.mark(job, About::Owner(shard), CLIENT, Some(value.clone()));
            }
        }
    }

    pub(crate) fn mark(&mut self, job: &str, about: About, session: u64, value: Option<String>) {
        self.index += 1;
        let (job, index) = (job.to_owned(), self.index);
        self.write(Fact::Mark(Mark { job, index, session, about, value, lives_with: None }));
    }

    /// A process is told to stop, and has nothing to do.
    fn stop(&mut self, node: usize) {
        let number = u32::try_from(node).unwrap();
        self.write(Fact::Drain { node: number });
        let process = self.processes[node].clone();
        for (job, ..) in self.jobs.iter().copied() {
            self.register(job, &process, false);
        }
        self.write(Fact::Exit { node: number, instance: process.instance });
    }

    pub(crate) fn register(&mut self, job: &str, process: &Process, is_there: bool) {
        self.index += 1;
        let mark = Mark {
            job: job.to_owned(),
            index: self.index,
            session: process.session,
            about: About::Instance(process.instance.clone()),
            value: is_there.then(String::new),
            lives_with: is_there.then_some(process.session),
        };
        self.write(Fact::Mark(mark));
    }

    pub(crate) fn change(&mut self, at: (&'static str, u32), session: u64, new: Record) -> u64 {
        self.index += 1;
        let index = self.index;
        let shard = self.shards.get_mut(&at).unwrap();
        let guard = shard.last.replace(index);
        let old = std::mem::replace(&mut shard.record, new.clone());
        let change = RecordChange {
            job: at.0.to_owned(),
            shard: at.1,
            index,
            session,
            guard,
            old: guard.map(|_| old),
            new: Some(new),
        };
        self.write(Fact::Record(Box::new(change)));
        index
    }

    fn due(&mut self, job: &'static str, shard: u32, period: u64, is_plain: bool) {
        let due = WALL + i64::try_from(self.at / period * period).unwrap();
        let roll = if is_plain { 9 } else { self.dice.roll(10) };
        if roll == 0 {
            return; // It stays pending, and is made up for by the next.
        }
        if roll == 1 {
            let mut record = self.catch_up((job, shard), due, period);
            record.counts.skipped += 1;
            let session = self.processes[0].session;
            self.change((job, shard), session, record);
            return;
        }
        let mut record = self.catch_up((job, shard), due, period);
        record.counts.ran += 1;
        self.run((job, shard), record, Fire { due, source: "schedule".into() }, roll);
    }

    /// What was left pending before `due` is misfired.
    pub(crate) fn catch_up(&self, at: (&'static str, u32), due: i64, period: u64) -> Record {
        let mut record = self.shards[&at].record.clone();
        let after = record.watermark.max(WALL);
        record.counts.misfired += u64::try_from(due - after).unwrap().div_ceil(period) - 1;
        record.watermark = due;
        record
    }

    /// A node runs a fire of an hour later, and goes back when its clock does.
    fn clock_was_ahead(&mut self, job: &'static str, period: i64) {
        let at = (job, 0);
        let clock = |offset| Fact::Clock { node: 0, offset, drift: 0 };
        self.write(clock(3_600_000));
        let now = WALL + i64::try_from(self.at).unwrap();
        let due = (now + 3_600_000) / period * period;
        let mut record = self.catch_up(at, due, u64::try_from(period).unwrap());
        record.counts.ran += 1;
        let mut claim = self.claim(record, Fire { due, source: "schedule".into() }, 1, 0, 0);
        claim.claim.as_mut().unwrap().at = Some(now + 3_600_000);
        let probe = self.start(at, claim, 0);
        self.finish(at, probe, 0, "OK", None);
        self.write(clock(0));
        let mut record = self.shards[&at].record.clone();
        record.counts.misfired -= u64::try_from((due - 1) / period - now / period).unwrap();
        record.watermark = now;
        record.ran = vec![(due - period + 1, due)];
        let session = self.processes[0].session;
        self.change(at, session, record);
    }

    fn asked(&mut self, job: &'static str, shard: u32) {
        let node = usize::try_from(self.dice.roll(3)).unwrap();
        let process = self.processes[node].clone();
        let about = About::Trigger(process.instance.clone());
        self.mark(job, about.clone(), CLIENT, Some(String::new()));
        let mut record = self.shards[&(job, shard)].record.clone();
        record.counts.ran += 1;
        record.counts.triggered += 1;
        let due = WALL + i64::try_from(self.at).unwrap();
        let fire = Fire { due, source: "trigger".into() };
        let claim = self.claim(record, fire, 1, 0, node);
        let probe = self.start((job, shard), claim, node);
        self.finish((job, shard), probe, node, "OK", None);
        self.mark(job, about, process.session, None);
    }

    fn run(&mut self, at: (&'static str, u32), record: Record, fire: Fire, roll: u64) {
        let node = usize::try_from(self.dice.roll(3)).unwrap();
        let before = self.shards[&at].record.clone();
        let claim = self.claim(record, fire, 1, 0, node);
        if roll == 2 {
            let session = self.processes[node].session;
            self.change(at, session, claim.clone());
            self.change(at, session, before);
        }
        match roll {
            3 if at.0 == "often" => self.crash(at, claim, node),
            4 | 5 if at.0 == "often" => self.retry(at, claim, node),
            6 => {
                let probe = self.start(at, claim, node);
                self.finish(at, probe, node, "ERROR", None);
            }
            _ => {
                let probe = self.start(at, claim, node);
                self.finish(at, probe, node, "OK", None);
            }
        }
    }

    pub(crate) fn claim(
        &mut self,
        mut on: Record,
        fire: Fire,
        attempt: u32,
        crashes: u32,
        node: usize,
    ) -> Record {
        self.nonce += 1;
        let instance = self.processes[node].instance.clone();
        let (nonce, at) = (self.nonce, WALL + i64::try_from(self.at).unwrap());
        on.claim =
            Some(Claim { fire, attempt, crashes, instance, nonce, at: Some(at), released: None });
        on
    }

    pub(crate) fn start(&mut self, at: (&'static str, u32), record: Record, node: usize) -> Probe {
        let claim = record.claim.clone().unwrap();
        let session = self.processes[node].session;
        self.at += 3;
        let epoch = self.change(at, session, record);
        self.at += 1;
        let probe = Probe {
            node: u32::try_from(node).unwrap(),
            instance: claim.instance,
            job: at.0.to_owned(),
            shard: at.1,
            fire: claim.fire,
            attempt: claim.attempt,
            epoch,
        };
        self.write(Fact::Start(probe.clone()));
        probe
    }

    pub(crate) fn finish(
        &mut self,
        at: (&'static str, u32),
        probe: Probe,
        node: usize,
        code: &str,
        released: Option<String>,
    ) {
        self.at += 5;
        self.write(Fact::End { probe, code: code.to_owned() });
        self.at += 2;
        let mut record = self.shards[&at].record.clone();
        match code {
            "OK" => record.counts.ok += 1,
            _ => record.counts.failed += 1,
        }
        let session = self.processes[node].session;
        close(&mut record, code, released);
        self.change(at, session, record);
    }

    pub(crate) fn retry(&mut self, at: (&'static str, u32), claim: Record, node: usize) {
        let probe = self.start(at, claim, node);
        let fire = probe.fire.clone();
        let other = (node + 1) % 3;
        let to = self.processes[other].instance.clone();
        self.finish(at, probe, node, "ERROR", Some(to));
        let again = self.claim(self.shards[&at].record.clone(), fire, 2, 0, other);
        let probe = self.start(at, again, other);
        self.finish(at, probe, other, "OK", None);
    }

    /// The process dies during its run; another finds it and runs the shard again.
    fn crash(&mut self, at: (&'static str, u32), claim: Record, node: usize) {
        let probe = self.start(at, claim, node);
        let dead = self.processes[node].clone();
        let number = u32::try_from(node).unwrap();
        let instance = dead.instance.clone();
        self.write(Fact::Fault(Fault::Crash { node: number, instance, runs: 1 }));
        for (job, ..) in self.jobs.iter().copied() {
            self.register(job, &dead, false);
        }
        let other = (node + 1) % 3;
        let mut record = self.shards[&at].record.clone();
        record.counts.crashed += 1;
        close(&mut record, "CRASHED", None);
        let again = self.claim(record, probe.fire, 2, 1, other);
        let probe = self.start(at, again, other);
        self.finish(at, probe, other, "OK", None);
        self.join(node);
    }
}

fn close(record: &mut Record, code: &str, released: Option<String>) {
    let claim = record.claim.take().unwrap();
    record.last = Some(Last {
        fire: claim.fire.clone(),
        attempt: claim.attempt,
        instance: claim.instance.clone(),
        nonce: claim.nonce,
        code: code.to_owned(),
    });
    record.claim = released.map(|to| Claim { released: Some(to), ..claim });
}
