//! The memory store against a naive model, and its time.

use bytes::Bytes;
use flockwork_registry::memory::{Options, Store};
use flockwork_registry::{Answer, Event, Failure, Index, Key, Lifetime, Op, Request, Scope};
use flockwork_registry::{SessionId, Why};
use std::collections::BTreeMap;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_millis(100);

fn key(text: &str) -> Key {
    Key::new(text).expect("the tests spell keys")
}

fn commit(store: &mut Store, session: SessionId, ops: Vec<Op>) -> Answer {
    store.apply(session, Request::Commit(ops))
}

/// A small generator, so that a failing run is told by its seed alone.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % sides
    }
}

/// The tree as one map; a commit works on a copy of it.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    entries: BTreeMap<String, (Vec<u8>, Option<SessionId>)>,
    made: BTreeMap<String, u64>,
}

impl Model {
    fn has(&self, key: &str) -> bool {
        key == "/" || self.entries.contains_key(key)
    }

    fn below(&self, key: &str) -> usize {
        let start = if key == "/" { key.to_owned() } else { format!("{key}/") };
        self.entries.keys().filter(|k| k.starts_with(&start)).count()
    }

    fn run(&mut self, session: SessionId, op: &Op) -> Result<(), Why> {
        let at = op.key().as_str().to_owned();
        match op {
            Op::Check(..) if !self.has(&at) => Err(Why::Absent),
            Op::CheckAbsent(_) if self.has(&at) => Err(Why::Exists),
            Op::Check(..) | Op::CheckAbsent(_) => Ok(()),
            Op::Create { value, lifetime, sequence, .. } => {
                let above = op.key().parent().expect("not the root").to_string();
                if !self.has(&above) {
                    return Err(Why::NoParent);
                }
                if self.entries.get(&above).is_some_and(|e| e.1.is_some()) {
                    return Err(Why::SessionParent);
                }
                let made = self.made.entry(above).or_default();
                let at = if *sequence { format!("{at}{made:010}") } else { at };
                if self.entries.contains_key(&at) {
                    return Err(Why::Exists);
                }
                *made += 1;
                let owner = (*lifetime == Lifetime::Session).then_some(session);
                self.entries.insert(at, (value.to_vec(), owner));
                Ok(())
            }
            Op::Set(_, value, _) => {
                let held = self.entries.get_mut(&at).ok_or(Why::Absent)?;
                held.0 = value.to_vec();
                Ok(())
            }
            Op::Delete(..) if !self.has(&at) => Err(Why::Absent),
            Op::Delete(..) if self.below(&at) > 0 => Err(Why::NotEmpty),
            Op::Delete(..) => {
                self.entries.remove(&at);
                self.made.remove(&at);
                Ok(())
            }
        }
    }

    fn end(&mut self, session: SessionId) {
        self.entries.retain(|_, (_, owner)| *owner != Some(session));
    }
}

fn any_key(dice: &mut Dice) -> Key {
    let depth = 1 + dice.roll(3);
    key(&(0..depth).map(|_| format!("/{}", dice.roll(3))).collect::<String>())
}

fn any_op(dice: &mut Dice) -> Op {
    let at = any_key(dice);
    let value = Bytes::from(vec![u8::try_from(dice.roll(256)).expect("below 256")]);
    match dice.roll(10) {
        0 => Op::Check(at, None),
        1 => Op::CheckAbsent(at),
        2..6 => {
            let lifetime = if dice.roll(4) == 0 { Lifetime::Session } else { Lifetime::Lasting };
            Op::Create { key: at, value, lifetime, sequence: dice.roll(4) == 0 }
        }
        6 | 7 => Op::Set(at, value, None),
        _ => Op::Delete(at, None),
    }
}

fn held(store: &Store) -> BTreeMap<String, (Vec<u8>, Option<SessionId>)> {
    let below_root = store.entries().filter(|(key, _)| key.as_str() != "/");
    below_root.map(|(k, e)| (k.to_string(), (e.value.to_vec(), e.session))).collect()
}

fn children_agree(store: &Store) {
    for (parent, _) in store.entries() {
        let below = store.entries().filter(|(k, _)| k.parent().as_ref() == Some(parent));
        let names: Vec<String> = below.map(|(k, _)| k.name().to_owned()).collect();
        assert_eq!(store.children(parent), Some(names), "{parent}");
    }
}

#[test]
fn random_commits_leave_what_a_naive_model_leaves() {
    for seed in 0..200 {
        let mut dice = Dice(seed);
        let mut store = Store::default();
        let mut model = Model::default();
        let mut sessions = [store.open(0, TIMEOUT), store.open(0, TIMEOUT)];
        for _ in 0..60 {
            let who = usize::try_from(dice.roll(2)).unwrap();
            if dice.roll(20) == 0 {
                store.end(sessions[who]);
                model.end(sessions[who]);
                sessions[who] = store.open(0, TIMEOUT);
            }
            let ops: Vec<Op> = (0..=dice.roll(4)).map(|_| any_op(&mut dice)).collect();
            let mut next = model.clone();
            let refused = ops
                .iter()
                .enumerate()
                .find_map(|(at, op)| next.run(sessions[who], op).err().map(|why| (at, why)));
            match commit(&mut store, sessions[who], ops) {
                Answer::Committed(_) => {
                    assert_eq!(refused, None, "seed {seed}");
                    model = next;
                }
                Answer::Refused(r) => assert_eq!(refused, Some((r.at, r.why)), "seed {seed}"),
                other => panic!("seed {seed}: {other:?}"),
            }
            assert_eq!(held(&store), model.entries, "seed {seed}");
        }
        children_agree(&store);
    }
}

#[test]
fn earlier_states_can_be_read_again() {
    for seed in 0..100 {
        let mut dice = Dice(seed);
        let mut store = Store::new(Options { history: 50, ..Options::default() });
        let session = store.open(0, TIMEOUT);
        let keys: Vec<Key> = (0..8).map(|_| any_key(&mut dice)).chain([Key::root()]).collect();
        let mut seen = vec![];
        for _ in 0..40 {
            let ops = (0..=dice.roll(3)).map(|_| any_op(&mut dice)).collect();
            commit(&mut store, session, ops);
            let of = |k: &Key| (store.get(k).cloned(), store.children(k));
            let state: Vec<_> = keys.iter().map(of).collect();
            seen.push((store.index(), state));
        }
        for (index, state) in seen {
            for (k, (entry, children)) in keys.iter().zip(state) {
                let read = store.read_at(session, index, Request::Get(k.clone()));
                assert_eq!(read, Answer::Entry(entry), "seed {seed}: {k} at {index:?}");
                let read = store.read_at(session, index, Request::Children(k.clone()));
                assert_eq!(read, Answer::Children(children), "seed {seed}: {k} at {index:?}");
            }
        }
    }
}

#[test]
fn a_session_not_renewed_ends_with_its_entries_in_a_commit_of_their_own() {
    let mut store = Store::default();
    let (one, two) = (store.open(0, TIMEOUT), store.open(0, TIMEOUT));
    commit(&mut store, one, vec![Op::create_for_session(key("/here"), "")]);
    store.apply(two, Request::Watch(key("/here"), Scope::Value));
    assert_eq!(store.renew(60, two), Ok(160));
    assert_eq!((store.expire(99), store.next_expiry()), (vec![], Some(100)));
    assert_eq!(store.expire(100), [one]);
    assert_eq!((store.get(&key("/here")), store.index()), (None, Index(2)));
    assert_eq!(store.take_events(two), [Event::Changed(key("/here"), Scope::Value)]);
    let ended = Failure::SessionEnded(one);
    assert_eq!(commit(&mut store, one, vec![]), Answer::Failed(ended.clone()));
    assert_eq!(store.renew(100, one), Err(ended));
}

#[test]
fn with_restarting_versions_a_stamp_does_not_see_a_recreation() {
    for (versions_restart, seen) in [(true, true), (false, false)] {
        let mut store = Store::new(Options { versions_restart, ..Options::default() });
        let session = store.open(0, TIMEOUT);
        commit(&mut store, session, vec![Op::create(key("/a"), "old")]);
        let stamp = store.get(&key("/a")).unwrap().stamp;
        let again = vec![Op::Delete(key("/a"), None), Op::create(key("/a"), "new")];
        commit(&mut store, session, again);
        let answer = commit(&mut store, session, vec![Op::Check(key("/a"), Some(stamp))]);
        assert_eq!(matches!(answer, Answer::Committed(_)), seen);
    }
}

#[test]
fn changes_nobody_takes_become_one_resync() {
    let mut store = Store::default();
    let session = store.open(0, TIMEOUT);
    store.apply(session, Request::Watch(Key::root(), Scope::Value));
    for _ in 0..70_000 {
        commit(&mut store, session, vec![Op::Set(Key::root(), Bytes::new(), None)]);
    }
    let events = store.take_events(session);
    assert_eq!(events.first(), Some(&Event::Resync));
    assert!(events.len() < 65_537);
}
