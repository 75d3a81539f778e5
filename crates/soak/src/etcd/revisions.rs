//! What each revision changed, read from the server's own history once all is over.
//!
//! How the registry spells keys and values is read here anew, from its documentation: below the root,
//! `/002/a/b` is the entry `/a/b`, whose value has 15 bytes in front, and `/session/` and a lease in
//! hexadecimal is a session's mark, which each of its commits puts anew.

use super::looks::Seen;
use crate::history::{Committed, KeyChange};
use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flockwork_registry::{Entry, Index, Key, SessionId, Stamp};
use serde_json::Value;
use std::collections::BTreeMap;

/// In front of a value: form, turn of the last set, turn of the making, version, revision of the
/// making, which is 0 for the value's own.
const HEADER: usize = 15;

/// A key of etcd's that a revision changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) revision: u64,
    pub(crate) key: String,
    /// Its value and its lease; none if it was deleted.
    pub(crate) put: Option<(Vec<u8>, u64)>,
}

/// Reads one message of a watch, as `etcdctl` prints it. One that is cut short by compaction is an
/// error: what is gone cannot be judged.
pub(crate) fn events(message: &Value) -> Result<Vec<Event>> {
    let compacted = message["CompactRevision"].as_i64().unwrap_or(0);
    ensure!(compacted == 0, "etcd has forgotten what came before revision {compacted}");
    ensure!(!message["Canceled"].as_bool().unwrap_or(false), "the watch was canceled");
    let events = message["Events"].as_array().map(Vec::as_slice).unwrap_or_default();
    events.iter().map(event).collect()
}

fn event(event: &Value) -> Result<Event> {
    let entry = &event["kv"];
    let bytes = |of: &str| STANDARD.decode(entry[of].as_str().unwrap_or_default());
    let revision = entry["mod_revision"].as_u64().context("an event without a revision")?;
    let is_put = event["type"].as_i64().unwrap_or(0) == 0;
    let lease = entry["lease"].as_i64().unwrap_or(0).cast_unsigned();
    let put = is_put.then(|| bytes("value").map(|value| (value, lease))).transpose()?;
    Ok(Event { revision, key: String::from_utf8(bytes("key")?)?, put })
}

/// What a key of etcd's stands for.
enum Thing {
    Entry(Key),
    Session(u64),
}

fn thing(root: &str, key: &str) -> Option<Thing> {
    let rest = key.strip_prefix(root)?.strip_prefix('/')?;
    if let Some(lease) = rest.strip_prefix("session/") {
        return u64::from_str_radix(lease, 16).ok().map(Thing::Session);
    }
    let (depth, key) = rest.split_at(rest.find('/')?);
    let is_entry = depth.len() == 3 && depth.bytes().all(|byte| byte.is_ascii_digit());
    Key::new(key).ok().filter(|_| is_entry).map(Thing::Entry)
}

fn index(revision: u64, turn: u8) -> Index {
    Index(revision << 8 | u64::from(turn))
}

fn entry(revision: u64, value: &[u8], lease: u64) -> Result<Entry> {
    let (header, value) = value.split_first_chunk::<HEADER>().context("a value without header")?;
    let [form, turn, made, v0, v1, v2, v3, since @ ..] = header;
    ensure!(*form == 1, "a value of form {form}");
    let since = match u64::from_be_bytes(*since) {
        0 => revision,
        since => since,
    };
    let version = u32::from_be_bytes([*v0, *v1, *v2, *v3]);
    let (created, modified) = (index(since, *made), index(revision, *turn));
    Ok(Entry {
        value: value.to_vec().into(),
        stamp: Stamp { created, modified, version },
        session: (lease != 0).then_some(SessionId(lease)),
    })
}

/// Carries revisions out, in order, each dated by what looks have shown; what came before the first
/// look came after `began`, what after the last one before `over`.
pub(crate) fn replay(
    events: &[Event],
    root: &str,
    seen: &Seen,
    (began, over): (i64, i64),
) -> Result<Vec<Committed>> {
    let (mut held, mut commits) = (BTreeMap::new(), Vec::new());
    for revision in events.chunk_by(|one, next| one.revision == next.revision) {
        let number = revision.first().map_or(0, |event| event.revision);
        let (after, by) = seen.bounds(number);
        let (at, until) = (after.unwrap_or(began), by.unwrap_or(over));
        let session = writer(revision, root);
        for (index, changes) in changes(revision, root, &mut held)? {
            commits.push(Committed { at, until: until.max(at), index, session, changes });
        }
    }
    Ok(commits)
}

/// The session that put its mark anew; or the one whose mark is gone, whose end it is.
fn writer(revision: &[Event], root: &str) -> u64 {
    let marks = revision.iter().filter_map(|event| match thing(root, &event.key)? {
        Thing::Session(session) => Some((event.put.is_none(), session)),
        Thing::Entry(_) => None,
    });
    marks.min().map_or(0, |(_, session)| session)
}

type Held = BTreeMap<Key, Entry>;

/// What became of entries, commit by commit: several may share a revision.
fn changes(
    revision: &[Event],
    root: &str,
    held: &mut Held,
) -> Result<BTreeMap<u64, Vec<KeyChange>>> {
    let mut by_commit: BTreeMap<u64, Vec<KeyChange>> = BTreeMap::new();
    let mut gone = Vec::new();
    for event in revision {
        let Some(Thing::Entry(key)) = thing(root, &event.key) else { continue };
        let Some((value, lease)) = &event.put else {
            gone.push((key, event.revision));
            continue;
        };
        let new = entry(event.revision, value, *lease).with_context(|| key.to_string())?;
        let old = held.insert(key.clone(), new.clone());
        is_whole(&key, old.as_ref(), &new)?;
        let index = new.stamp.modified.0;
        by_commit.entry(index).or_default().push(KeyChange {
            key,
            guard: None,
            old,
            new: Some(new),
        });
    }
    for (key, number) in gone {
        let old = held.remove(&key);
        let commit = nearest(&by_commit, &key).unwrap_or(index(number, 0).0);
        by_commit.entry(commit).or_default().push(KeyChange { key, guard: None, old, new: None });
    }
    Ok(by_commit)
}

/// Of what is deleted etcd keeps no turn. It is taken for a part of the commit that put what is
/// closest to it by name.
fn nearest(by_commit: &BTreeMap<u64, Vec<KeyChange>>, key: &Key) -> Option<u64> {
    let common = |change: &KeyChange| {
        let both = key.as_str().bytes().zip(change.key.as_str().bytes());
        both.take_while(|(a, b)| a == b).count()
    };
    let closest = |changes: &[KeyChange]| changes.iter().map(common).max();
    by_commit.iter().max_by_key(|(_, changes)| closest(changes)).map(|(index, _)| *index)
}

/// A history with a state that nobody saw proves nothing.
fn is_whole(key: &Key, old: Option<&Entry>, new: &Entry) -> Result<()> {
    let Some(old) = old else { return Ok(()) };
    let follows = new.stamp.version == old.stamp.version + 1 || new.stamp.version == 0;
    if old.stamp.created == new.stamp.created && !follows {
        let (was, is) = (old.stamp.version, new.stamp.version);
        bail!(
            "{key}: version {is} follows {was}: a state was replaced within its own transaction, \
             and nobody saw it"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(revision: u64, key: &str, (turn, version): (u8, u8), lease: u64) -> Event {
        let mut value = vec![1, turn, turn, 0, 0, 0, version];
        value.extend(if version == 0 { 0_u64 } else { 2 }.to_be_bytes());
        value.extend(b"v");
        Event { revision, key: key.to_owned(), put: Some((value, lease)) }
    }

    fn mark(revision: u64, lease: u64) -> Event {
        Event { revision, key: format!("/r/session/{lease:016x}"), put: Some((vec![], lease)) }
    }

    fn gone(event: Event) -> Event {
        Event { put: None, ..event }
    }

    #[test]
    fn commits_that_share_a_revision_are_told_apart_and_named_by_the_mark() {
        let deleted = gone(put(3, "/r/002/a/t", (0, 0), 0));
        let events = [
            put(2, "/r/001/a", (0, 0), 0),
            put(2, "/r/002/a/t", (0, 0), 7),
            mark(2, 7),
            put(3, "/r/001/a", (1, 1), 0),
            put(3, "/r/001/b", (0, 0), 0),
            deleted,
            mark(3, 7),
            // Its end takes its keys along; another's numbers mean nothing.
            gone(mark(4, 7)),
            gone(put(4, "/r/001/b", (0, 0), 0)),
            put(5, "/r/next/a", (0, 0), 0),
        ];
        let commits = replay(&events, "/r", &Seen::default(), (5, 9)).unwrap();
        let told: Vec<_> = commits
            .iter()
            .map(|c| {
                let keys = c.changes.iter().map(|it| (it.key.as_str(), it.new.is_some()));
                (c.index, c.session, keys.collect::<Vec<_>>())
            })
            .collect();
        let expected = [
            (2 << 8, 7, vec![("/a", true), ("/a/t", true)]),
            (3 << 8, 7, vec![("/b", true)]),
            (3 << 8 | 1, 7, vec![("/a", true), ("/a/t", false)]),
            (4 << 8, 7, vec![("/b", false)]),
        ];
        assert_eq!(told, expected);
        assert!(commits.iter().all(|c| (c.at, c.until) == (5, 9)), "nobody looked");
        let session = commits[0].changes[1].new.as_ref().and_then(|new| new.session);
        assert_eq!(session, Some(SessionId(7)));
    }

    #[test]
    fn a_state_that_nobody_saw_is_an_error() {
        let events = [put(2, "/r/001/a", (0, 0), 0), put(3, "/r/001/a", (0, 2), 0)];
        let error = replay(&events, "/r", &Seen::default(), (0, 1)).unwrap_err();
        assert!(error.to_string().contains("version 2 follows 0"), "{error}");
    }

    #[test]
    fn what_was_compacted_away_is_an_error_by_name() {
        let message = serde_json::json!({"CompactRevision": 3, "Canceled": true, "Events": []});
        let error = events(&message).unwrap_err().to_string();
        assert!(error.contains("forgotten what came before revision 3"), "{error}");
    }

    #[test]
    fn messages_are_read_as_etcdctl_prints_them() {
        let message = serde_json::json!({"CompactRevision": 0, "Canceled": false, "Events": [
            {"kv": {"key": "Yw==", "mod_revision": 5, "value": "eA==", "lease": 77}},
            {"type": 1, "kv": {"key": "YQ==", "mod_revision": 6}},
        ]});
        let c = Event { revision: 5, key: "c".to_owned(), put: Some((b"x".to_vec(), 77)) };
        let a = Event { revision: 6, key: "a".to_owned(), put: None };
        assert_eq!(events(&message).unwrap(), [c, a]);
    }
}
