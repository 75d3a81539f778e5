//! The power fails: all that two processes wrote and synced is recorded, the record is cut at any
//! place, the disk is left as it may be then, and the registry is opened on it.

mod disk;
mod trace;

use crate::account::{Account, Open};
use crate::peer::{PATIENCE, PEER, Peer};
use crate::{key, rounds};
use disk::{Chance, Disk, Leaves};
use flockwork_registry::client::Client;
use flockwork_registry_embedded::{Embedded, Options};
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::{TempDir, tempdir};
use trace::Step;

const DATABASE: [&str; 3] = ["registry.db", "registry.db-wal", "registry.db-journal"];

const NAMES: [&str; 2] = ["one", "other"];

/// Bytes a disk writes whole: of old ones, and of new ones and pages of the kernel.
const SECTORS: [usize; 2] = [512, 4_096];

/// What was done, and by which steps.
struct Record {
    /// Below it the registry's directory was made.
    root: TempDir,
    steps: Vec<Step>,
}

impl Record {
    fn dir(root: &Path) -> PathBuf {
        root.join("data/registry")
    }

    fn make() -> Self {
        let root = tempdir().expect("there is room");
        let file = tempdir().expect("there is room");
        let record = file.path().join("record");
        work(&Self::dir(root.path()), &record);
        let text = fs::read_to_string(&record).expect("strace wrote it");
        let steps = trace::read(&text, root.path());
        Self { root, steps }
    }

    /// What the peers told in the first so many steps.
    fn accounts(&self, steps: usize) -> Vec<Account> {
        let mut told = BTreeMap::<&str, String>::new();
        for step in &self.steps[..steps] {
            if let Step::Tell(pipe, text) = step {
                told.entry(pipe).or_default().push_str(text);
            }
        }
        let lines = |text: &String| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let accounts = told.values().map(lines).map(|lines| {
            let named = |line: &String| line.strip_prefix("answer ").is_some();
            let name = NAMES[usize::from(!lines.iter().any(named))];
            Account::of(name, &lines)
        });
        accounts.filter(|account| !account.done.is_empty()).collect()
    }
}

/// Two processes make the directory, load it, let the write-ahead log be moved into the database, load
/// it again, and leave, the last one removing the write-ahead log.
fn work(dir: &Path, record: &Path) {
    let mut peers: Vec<Peer> = NAMES.iter().map(|_| Peer::start_waiting(dir)).collect();
    let mut strace = follow(&peers, record);
    peers[0].tell("go");
    peers[0].expect("live ");
    for above in ["/load", "/count", "/load/one", "/count/one", "/load/other", "/count/other"] {
        peers[0].tell(&format!("create {above} 1"));
        peers[0].expect("answer Committed");
    }
    peers[1].tell("go");
    peers[1].expect("live ");
    for _ in 0..2 {
        let before = database_length(dir);
        for (peer, name) in peers.iter_mut().zip(NAMES) {
            peer.tell(&format!("load {name} 4"));
        }
        // Above what makes an idle process move the log.
        peers.iter().for_each(|peer| (0..550).for_each(|_| drop(peer.expect("ack "))));
        peers.iter_mut().for_each(|peer| peer.tell("quiet"));
        await_checkpoint(dir, before);
    }
    peers.into_iter().for_each(|peer| drop(peer.close()));
    strace.wait().expect("it ends with those it follows");
}

/// Records what they do from now on, as one process sees it.
fn follow(peers: &[Peer], record: &Path) -> Child {
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-x", "-s", "1000000", "-e", trace::CALLS, "-e", "signal=none"]);
    command.arg("-o").arg(record).stderr(Stdio::null());
    for peer in peers {
        command.args(["-p", &peer.id().to_string()]);
    }
    let strace = command.spawn();
    let strace = strace.unwrap_or_else(|error| panic!("strace: {error}; run `cargo xtask setup`"));
    let followed = |peer: &Peer| {
        let status = fs::read_to_string(format!("/proc/{}/status", peer.id())).expect("it lives");
        !status.contains("TracerPid:\t0\n")
    };
    let deadline = Instant::now() + PATIENCE;
    while !peers.iter().all(followed) {
        assert!(Instant::now() < deadline, "strace cannot follow {PEER}");
        thread::sleep(Duration::from_millis(1));
    }
    strace
}

fn database_length(dir: &Path) -> u64 {
    fs::metadata(dir.join("registry.db")).map_or(0, |found| found.len())
}

/// Until the database holds more than before.
fn await_checkpoint(dir: &Path, before: u64) {
    let deadline = Instant::now() + PATIENCE;
    while database_length(dir) == before {
        assert!(Instant::now() < deadline, "the log is not moved into the database");
        thread::sleep(Duration::from_millis(5));
    }
    thread::sleep(Duration::from_millis(300));
}

/// Opens what a cut left, and holds what was told before it against what is there.
async fn recover(root: &Path, accounts: &[Account]) -> Result<Open, String> {
    let dir = Record::dir(root);
    let (registry, inbox) =
        Embedded::open(&dir, &Options::default()).map_err(|refused| refused.to_string())?;
    let mut client = Client::new(registry, inbox, PATIENCE);
    client.session().await.map_err(|failure| failure.to_string())?;
    let mut open = Open::default();
    for account in accounts {
        let Open { happened, not } = account.check(&mut client).await?;
        open = Open { happened: open.happened + happened, not: open.not + not };
    }
    let made = flockwork_registry::Op::create(key("/after"), "");
    client.commit(vec![made]).await.map_err(|error| format!("no further commit: {error}"))?;
    client.close().await;
    let database = Connection::open(dir.join("registry.db")).map_err(|error| error.to_string())?;
    let sound = database.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0));
    match sound {
        Ok(verdict) if verdict == "ok" => Ok(open),
        other => Err(format!("integrity: {other:?}")),
    }
}

/// Where to cut: anywhere, just after something was acknowledged, before a sync ends, and while the
/// database is made.
fn places(record: &Record, count: usize, chance: &mut Chance) -> Vec<usize> {
    let like = |like: fn(&Step) -> bool| {
        let steps = record.steps.iter().enumerate();
        steps.filter_map(|(at, step)| like(step).then_some(at)).collect::<Vec<usize>>()
    };
    let told = like(|step| matches!(step, Step::Tell(_, text) if text.starts_with("ack ")));
    let synced = like(|step| matches!(step, Step::SyncEnds(_)));
    let made = told[0];
    let mut places: Vec<_> = (0..count)
        .map(|number| match number % 4 {
            0 => chance.below(record.steps.len() + 1),
            1 => told[chance.below(told.len())] + 1,
            2 => synced[chance.below(synced.len())],
            _ => chance.below(made),
        })
        .collect();
    places.sort_unstable();
    places
}

/// What some cuts led to.
#[derive(Debug, Default)]
struct Cuts {
    /// With something of the database or its log that was written and not synced.
    pending: usize,
    /// Acknowledged before the cut, over all cuts.
    done: usize,
    open: Open,
    broken: Vec<String>,
}

async fn cut(record: &Record, count: usize, lies: bool) -> Cuts {
    let (root, mut chance) = (record.root.path(), Chance(0x5EED_0000 + count as u64));
    let dir = Record::dir(root);
    let (mut disk, mut at, mut cuts) = (Disk::new(root, lies), 0, Cuts::default());
    for (number, place) in places(record, count, &mut chance).into_iter().enumerate() {
        record.steps[at..place].iter().for_each(|step| disk.step(step));
        at = place;
        let leaves = match number % 5 {
            0 => Leaves::Nothing,
            1 => Leaves::All,
            2 => Leaves::Prefix,
            other => Leaves::Sectors(SECTORS[other - 3]),
        };
        let left = tempdir().expect("there is room");
        disk.cut(root, left.path(), leaves, &mut chance);
        let accounts = record.accounts(place);
        cuts.pending += usize::from(DATABASE.iter().any(|name| disk.has_pending(&dir.join(name))));
        cuts.done += accounts.iter().map(|account| account.done.len()).sum::<usize>();
        match recover(left.path(), &accounts).await {
            Ok(Open { happened, not }) => {
                cuts.open.happened += happened;
                cuts.open.not += not;
            }
            Err(broken) => cuts.broken.push(format!("after {place} steps, {leaves:?}: {broken}")),
        }
    }
    cuts
}

/// The record is whole: by it alone, all files are as they are.
fn tells_all(record: &Record) {
    let mut disk = Disk::new(record.root.path(), false);
    record.steps.iter().for_each(|step| disk.step(step));
    let now = disk.now();
    for (path, content) in &now {
        let found = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(found == *content, "{} is not as recorded", path.display());
    }
    assert!(now.contains_key(Record::dir(record.root.path()).join("registry.db").as_path()));
}

fn count(record: &Record, like: impl Fn(&Step) -> bool) -> usize {
    record.steps.iter().filter(|step| like(step)).count()
}

/// The record has what is dangerous: the log moved, begun anew, and removed.
fn has_the_dangers(record: &Record) {
    let is = |path: &Path, name: &str| path.ends_with(name);
    let (wal, database) = ("registry.db-wal", "registry.db");
    let moved = |step: &Step| matches!(step, Step::Write(path, ..) if is(path, database));
    let begun = |step: &Step| matches!(step, Step::Write(path, 0, _) if is(path, wal));
    let removed = |step: &Step| matches!(step, Step::Remove(path) if is(path, wal));
    assert!(count(record, moved) > 20, "the log was not moved");
    assert!(count(record, begun) >= 2, "the log was not begun anew");
    assert!(count(record, removed) >= 1, "the log was not removed");
}

#[tokio::test]
async fn what_was_acknowledged_before_the_power_failed_is_there_and_a_disk_that_lies_is_found_out()
{
    let rounds = rounds(40);
    let record = Record::make();
    tells_all(&record);
    has_the_dangers(&record);
    let cuts = cut(&record, rounds, false).await;
    let Cuts { pending, done, open, broken } = cuts;
    assert!(broken.is_empty(), "{broken:#?}");
    let lying = cut(&record, rounds.min(40), true).await.broken.len();
    println!(
        "power cut: {rounds} cuts of a record of {} steps, {pending} with writes that were not \
         synced; all of {done} acknowledged commits were there each time, of those in flight {} \
         were and {} were not; without its syncs the same record lost some in {lying} of {} cuts",
        record.steps.len(),
        open.happened,
        open.not,
        rounds.min(40)
    );
    assert!(pending * 4 > rounds && done > 0 && open.not > 0);
    assert!(lying * 4 >= rounds.min(40), "only {lying} cuts of a disk that lies were found out");
}
