//! How fast the registry is on this disk, with two processes, beside a bare SQLite loop:
//! `cargo run --release -p flockwork-registry-embedded --example embedded_speed [DIR]`.
//!
//! Each line reads `figure NAME VALUE UNIT goal >= NUMBER` (or `<=`).

use flockwork_registry::client::Client;
use flockwork_registry::{Answer, Event, Key, Op, Request, Scope, Ticket};
use flockwork_registry_embedded::{Embedded, Options};
use flockwork_trials::mirror;
use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

type Done<T = ()> = Result<T, Box<dyn Error>>;

const PATIENCE: Duration = Duration::from_secs(60);
/// Shards of the burst, in commits of a hundred, by two processes.
const CLAIMS: usize = 5_000;
const SHARDS_A_COMMIT: usize = 100;
/// Runs of each kind, in turn; the best counts, as others use the machine.
const RUNS: usize = 3;
/// Entries read again.
const MIRRORED: usize = 10_000;
/// Requests of a resync under way at once: half of what a connection takes.
const WINDOW: usize = 512;

fn main() -> Done {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [dir, "load", name] => runtime.block_on(load(Path::new(dir), name)),
        [dir, "claim", first] => runtime.block_on(claim(Path::new(dir), first.parse()?)),
        [dir, "stamp"] => runtime.block_on(stamp(Path::new(dir))),
        [dir, "hold"] => {
            runtime.block_on(async { mirror::hold(&mut join(Path::new(dir)).await?).await })
        }
        [dir] => runtime.block_on(measure(Path::new(dir))),
        _ => runtime.block_on(measure(&std::env::temp_dir())),
    }
}

fn figure(name: &str, value: f64, unit: &str, goal: &str) -> io::Result<()> {
    writeln!(io::stdout(), "figure {name} {value:.2} {unit} goal {goal}")
}

fn key(text: &str) -> Key {
    Key::new(text).expect("keys of this program read /part/part")
}

async fn join(dir: &Path) -> Done<Client> {
    let (registry, inbox) = Embedded::open(dir, &Options::default())?;
    let mut client = Client::new(registry, inbox, PATIENCE);
    client.session().await?;
    Ok(client)
}

async fn measure(parent: &Path) -> Done {
    let dir = parent.join(format!("flockwork-speed-{}", std::process::id()));
    let mut client = join(&dir).await?;
    let measured = measure_in(&dir, &mut client).await;
    client.close().await;
    std::fs::remove_dir_all(&dir)?;
    measured
}

async fn measure_in(dir: &Path, client: &mut Client) -> Done {
    for above in ["/load", "/job", "/fire"] {
        client.commit(vec![Op::create(key(above), "")]).await?;
    }
    let (mut rate, mut bare) = (0.0_f64, 0.0_f64);
    for run in 0..RUNS {
        bare = bare.max(bare_loop(&dir.join(format!("bare{run}.db")))?);
        let name = |letter: char| format!("{letter}{run}");
        let loads =
            [Peer::start(dir, &["load", &name('a')])?, Peer::start(dir, &["load", &name('b')])?];
        let mut together = 0.0;
        for mut load in loads {
            together += load.line()?.parse::<f64>()?;
        }
        rate = rate.max(together);
    }
    figure("embedded_bare_commits", bare, "commits/s", "none")?;
    figure("embedded_commits", rate, "commits/s", ">= 3000")?;
    figure("embedded_commits_of_bare", rate / bare, "x", ">= 0.8")?;
    let told = latencies(dir, client).await?;
    figure("embedded_watch_p50", percentile(&told, 50), "ms", "none")?;
    figure("embedded_watch_p99", percentile(&told, 99), "ms", "<= 10")?;
    figure("embedded_resync", resync(dir, client).await?, "s", "<= 1")?;
    burst(dir, client).await?;
    let dir = dir.to_str().ok_or("the directory's name is no text")?;
    mirror::measure(client, "embedded_mirror_bytes_a_node", &[dir, "hold"]).await
}

/// What SQLite does with one entry a transaction, synced, on one connection and set up as ours.
fn bare_loop(path: &Path) -> Done<f64> {
    let bare = rusqlite::Connection::open(path)?;
    bare.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -16384;
         PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = 8000;
         CREATE TABLE e (k TEXT PRIMARY KEY, v BLOB) WITHOUT ROWID;",
    )?;
    let mut begin = bare.prepare("BEGIN IMMEDIATE")?;
    let mut insert = bare.prepare("INSERT INTO e VALUES (?1, ?2)")?;
    let mut commit = bare.prepare("COMMIT")?;
    let began = Instant::now();
    let mut done = 0_u32;
    while began.elapsed() < Duration::from_secs(2) {
        begin.execute([])?;
        insert.execute((format!("/k/{done}"), "x".repeat(100)))?;
        commit.execute([])?;
        done += 1;
    }
    Ok(f64::from(done) / began.elapsed().as_secs_f64())
}

/// Commits one claim each, 32 under way, for three seconds.
async fn load(dir: &Path, name: &str) -> Done {
    let mut client = join(dir).await?;
    let mut sent = 0_u64;
    let mut send = |client: &mut Client| {
        sent += 1;
        let made = key(&format!("/load/{name}-{sent}"));
        client.send(Request::Commit(vec![Op::create(made, "x".repeat(100))]))
    };
    let mut under_way: std::collections::VecDeque<Ticket> =
        (0..32).map(|_| send(&mut client)).collect();
    let began = Instant::now();
    let mut done = 0_u32;
    while let Some(first) = under_way.pop_front() {
        match client.answer(first).await {
            Answer::Committed(_) => done += 1,
            other => return Err(format!("{other:?}").into()),
        }
        if began.elapsed() < Duration::from_secs(3) {
            under_way.push_back(send(&mut client));
        }
    }
    writeln!(io::stdout(), "{}", f64::from(done) / began.elapsed().as_secs_f64())?;
    client.close().await;
    Ok(())
}

/// Every 10 ms sets an entry to the time just before the commit was sent.
async fn stamp(dir: &Path) -> Done {
    let mut client = join(dir).await?;
    for _ in 0..500 {
        client.commit(vec![Op::Set(key("/job"), now().to_string().into(), None)]).await?;
        // The moment its answer came: the other process shall know by then, or soon.
        tokio::time::sleep(Duration::from_millis(7)).await;
    }
    client.close().await;
    Ok(())
}

/// Microseconds of a clock all processes share.
fn now() -> u64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// From before the other process sends the commit until this one is told, in milliseconds.
async fn latencies(dir: &Path, client: &mut Client) -> Done<Vec<f64>> {
    client.watch(&key("/job"), Scope::Value).await?;
    client.kept();
    let mut peer = Peer::start(dir, &["stamp"])?;
    let mut told = Vec::new();
    while told.len() < 490 {
        match client.next_event().await {
            Some(Event::Changed(..)) => {}
            Some(_) => continue,
            None => return Err("no change was told".into()),
        }
        let at = now();
        let entry = client.get(&key("/job")).await?.ok_or("/job is gone")?;
        let sent: u64 = String::from_utf8(entry.value.to_vec())?.parse()?;
        #[expect(clippy::cast_precision_loss, reason = "some milliseconds")]
        told.push(at.saturating_sub(sent) as f64 / 1_000.0);
    }
    peer.child.wait()?;
    client.unwatch(&key("/job"), Scope::Value).await?;
    Ok(told)
}

/// Joins anew, and watches and reads all entries of a mirror, in seconds.
async fn resync(dir: &Path, client: &mut Client) -> Done<f64> {
    client.commit(vec![Op::create(key("/mirror"), "")]).await?;
    let keys: Vec<Key> = (0..MIRRORED).map(|n| key(&format!("/mirror/{n:05}"))).collect();
    for some in keys.chunks(WINDOW) {
        let make = some.iter().map(|key| Op::create(key.clone(), vec![b'x'; 100]));
        client.commit(make.collect()).await?;
    }
    let began = Instant::now();
    let mut anew = join(dir).await?;
    let names = anew.children(&key("/mirror")).await?.ok_or("/mirror is gone")?;
    let keys: Vec<Key> = names.iter().map(|name| key(&format!("/mirror/{name}"))).collect();
    let mut read = 0;
    for some in keys.chunks(WINDOW / 2) {
        let asked = some
            .iter()
            .flat_map(|key| [Request::Watch(key.clone(), Scope::Value), Request::Get(key.clone())]);
        let sent: Vec<Ticket> = asked.map(|request| anew.send(request)).collect();
        for ticket in sent {
            match anew.answer(ticket).await {
                Answer::Done => {}
                Answer::Entry(Some(_)) => read += 1,
                other => return Err(format!("{other:?}").into()),
            }
        }
    }
    let took = began.elapsed().as_secs_f64();
    anew.close().await;
    match read {
        MIRRORED => Ok(took),
        _ => Err(format!("{read} of {MIRRORED} entries were read").into()),
    }
}

fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

/// Two processes claim all shards of 5,000 jobs at the same moment, each half.
async fn burst(dir: &Path, client: &mut Client) -> Done {
    let jobs: Vec<usize> = (0..CLAIMS).collect();
    for some in jobs.chunks(300) {
        let ops = some
            .iter()
            .flat_map(|job| [key(&format!("/job/j{job}")), key(&format!("/fire/j{job}"))]);
        client.commit(ops.map(|key| Op::create(key, "")).collect()).await?;
    }
    let mut peers = [
        Peer::start(dir, &["claim", "0"])?,
        Peer::start(dir, &["claim", &(CLAIMS / 2).to_string()])?,
    ];
    for peer in &mut peers {
        peer.line()?;
    }
    for peer in &mut peers {
        peer.child.stdin.take().map_or(Ok(()), |mut go| go.write_all(b"go\n"))?;
    }
    let mut slowest = 0.0_f64;
    for peer in &mut peers {
        slowest = slowest.max(peer.line()?.parse()?);
    }
    figure("embedded_burst_of_5000_claims", slowest, "ms", "<= 100")?;
    Ok(())
}

/// Claims its half when told to: for each shard a check, the fire's record and the running mark.
async fn claim(dir: &Path, first: usize) -> Done {
    let mut client = join(dir).await?;
    let mut checked = Vec::new();
    for job in first..first + CLAIMS / 2 {
        let entry = client.get(&key(&format!("/job/j{job}"))).await?.ok_or("a job is gone")?;
        checked.push((job, entry.stamp));
    }
    writeln!(io::stdout(), "ready")?;
    io::stdin().lines().next();
    let began = Instant::now();
    let sent: Vec<Ticket> = checked
        .chunks(SHARDS_A_COMMIT)
        .map(|some| {
            let ops = some.iter().flat_map(|(job, stamp)| {
                [
                    Op::Check(key(&format!("/job/j{job}")), Some(*stamp)),
                    Op::create(key(&format!("/fire/j{job}/2026-11-22T02:00:00Z")), "x".repeat(60)),
                    Op::create_for_session(key(&format!("/job/j{job}/running")), "x".repeat(20)),
                ]
            });
            client.send(Request::Commit(ops.collect()))
        })
        .collect();
    for ticket in sent {
        match client.answer(ticket).await {
            Answer::Committed(_) => {}
            other => return Err(format!("{other:?}").into()),
        }
    }
    writeln!(io::stdout(), "{}", began.elapsed().as_secs_f64() * 1_000.0)?;
    io::stdin().lines().next();
    client.close().await;
    Ok(())
}

/// This program again, as another process.
struct Peer {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Peer {
    fn start(dir: &Path, arguments: &[&str]) -> Done<Self> {
        let program: PathBuf = std::env::current_exe()?;
        let mut command = Command::new(program);
        command.arg(dir).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let output = child.stdout.take().ok_or("its output is piped")?;
        Ok(Self { child, output: BufReader::new(output) })
    }

    fn line(&mut self) -> Done<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
