//! One of three under load stands still, round after round: with the lock, without it, for a moment,
//! beyond its session, until its death.

use crate::account::Account;
use crate::peer::{Peer, TIMEOUT};
use crate::stop::{names_holder, session_refused};
use crate::{acknowledged, join, prepare, rounds};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::tempdir;

/// After `CONT` or a death others go on within a second; here is room for a loaded host.
const GO_ON: Duration = Duration::from_secs(3);

#[derive(Clone, Copy, Debug)]
enum Stop {
    /// While it holds the lock; then it goes on.
    Holding,
    /// While it holds the lock; then it dies.
    HoldingTillDeath,
    Moment,
    BeyondSession,
}

/// Of ten, four hold the lock.
fn next(round: usize) -> Stop {
    match round % 10 {
        0 | 4 | 8 => Stop::Holding,
        2 => Stop::HoldingTillDeath,
        5 => Stop::BeyondSession,
        _ => Stop::Moment,
    }
}

/// What the rounds met.
#[derive(Debug, Default)]
struct Met {
    holding: usize,
    died: usize,
    beyond: usize,
    slowest: Duration,
}

struct Loaded {
    name: String,
    peer: Peer,
}

struct Three {
    dir: PathBuf,
    peers: Vec<Loaded>,
    dead: Vec<Account>,
    started: usize,
    met: Met,
}

impl Three {
    fn another(&mut self) -> Loaded {
        let name = format!("s{}", self.started);
        self.started += 1;
        let mut peer = Peer::live(&self.dir);
        peer.tell(&format!("load {name} 4"));
        peer.expect("ack ");
        Loaded { name, peer }
    }

    fn others(&self, than: usize) -> impl Iterator<Item = &Peer> {
        self.peers.iter().enumerate().filter(move |(at, _)| *at != than).map(|(_, it)| &it.peer)
    }

    fn lock(&self) -> PathBuf {
        self.dir.join("registry.lock")
    }

    fn round(&mut self, round: usize) {
        let at = round % self.peers.len();
        let peer = &self.peers[at].peer;
        match next(round) {
            Stop::Holding => {
                peer.stop_while(true, &self.lock());
                self.stand_still_behind(at);
                let continued = Instant::now();
                self.peers[at].peer.go_on();
                self.go_on_since(continued, usize::MAX);
            }
            Stop::HoldingTillDeath => {
                peer.stop_while(true, &self.lock());
                self.stand_still_behind(at);
                self.kill(at);
            }
            Stop::Moment => {
                peer.stop_while(false, &self.lock());
                self.others(at).for_each(|other| go_on_beside(other, TIMEOUT / 15));
                let continued = Instant::now();
                self.peers[at].peer.go_on();
                self.go_on_since(continued, usize::MAX);
            }
            Stop::BeyondSession => {
                peer.stop_while(false, &self.lock());
                self.others(at).for_each(|other| go_on_beside(other, TIMEOUT));
                let peer = &self.peers[at].peer;
                peer.go_on();
                session_refused(peer);
                peer.expect("ack ");
                self.met.beyond += 1;
            }
        }
    }

    /// All others say who holds the lock, and nothing happens.
    fn stand_still_behind(&mut self, holder: usize) {
        let stopped = &self.peers[holder].peer;
        assert!(stopped.holds(&self.lock()), "the kernel says so");
        for other in self.others(holder) {
            names_holder(other, stopped);
        }
        for other in self.others(holder) {
            let meanwhile = other.listen(Duration::from_millis(150));
            assert_eq!(acknowledged(&meanwhile), Vec::<u64>::new());
        }
        self.met.holding += 1;
    }

    fn kill(&mut self, at: usize) {
        let victim = self.peers.remove(at);
        let killed = Instant::now();
        self.dead.push(Account::of(&victim.name, &victim.peer.kill()));
        self.go_on_since(killed, usize::MAX);
        let another = self.another();
        self.peers.insert(at, another);
        self.met.died += 1;
    }

    /// All but one are at work again.
    fn go_on_since(&mut self, since: Instant, but: usize) {
        for other in self.others(but) {
            other.expect("ack ");
        }
        let took = since.elapsed();
        assert!(took < GO_ON, "they went on only after {took:?}");
        self.met.slowest = self.met.slowest.max(took);
    }

    fn close(self) -> Vec<Account> {
        let closed = self.peers.into_iter().map(|it| Account::of(&it.name, &it.peer.close()));
        closed.chain(self.dead).collect()
    }
}

/// It commits beside one that stands still without the lock.
fn go_on_beside(other: &Peer, time: Duration) {
    other.listen(Duration::from_millis(1));
    let heard = other.listen(time);
    assert!(acknowledged(&heard).len() > 1, "{heard:?}");
    assert_eq!(heard.iter().find(|line| line.starts_with("ended")), None);
}

fn started(dir: &Path, names: usize) -> Three {
    let (dir, met) = (dir.to_owned(), Met::default());
    let mut three = Three { dir, peers: vec![], dead: vec![], started: 0, met };
    for _ in 0..names {
        let peer = three.another();
        three.peers.push(peer);
    }
    three
}

#[tokio::test]
async fn a_process_that_stands_still_stops_nobody_for_longer_and_nothing_is_lost_or_doubled() {
    let (dir, rounds) = (tempdir().unwrap(), rounds(10));
    let mut client = join(dir.path());
    let names: Vec<String> = (0..rounds + 3).map(|number| format!("s{number}")).collect();
    prepare(&mut client, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut three = started(dir.path(), 3);
    for round in 0..rounds {
        three.round(round);
    }
    let met = std::mem::take(&mut three.met);
    let accounts = three.close();
    for account in &accounts {
        account.holds(&mut client).await;
    }
    let sum = |of: fn(&Account) -> usize| accounts.iter().map(of).sum::<usize>();
    let (done, refused) = (sum(|it| it.done.len()), sum(|it| it.refused.len()));
    let ended = sum(|it| it.ended);
    let Met { holding, died, beyond, slowest } = met;
    println!(
        "stood still: {rounds} rounds, {holding} with the lock of which {died} died with it, {beyond} \
         beyond the session; others went on after at most {slowest:?}; all of {done} acknowledged \
         commits are there, none of {refused} refused, none twice"
    );
    assert!(holding * 5 >= rounds, "only {holding} of {rounds} held the lock");
    assert_eq!(ended, beyond, "whose session ended was stopped beyond it");
    assert!(refused >= beyond);
}
