//! Sessions: how one is begun, taken up again, and proven alive.

use crate::batch::Mark;
use crate::clock::boot_millis;
use crate::place::Place;
use crate::server::{Fault, Server};
use crate::stored::{When, encode};
use crate::wire::{Compare, Header, Op, Put, Relation, Target, Txn, With};
use crate::wire::{Does, Renewed};
use bytes::Bytes;
use flockwork_registry::Key;
use std::time::Duration;

/// A session that stands on a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stands {
    pub(crate) mark: Mark,
    /// Milliseconds of `CLOCK_BOOTTIME`; 0 if it is not proven.
    pub(crate) trusted_until: u64,
    /// Which data it is in.
    pub(crate) cluster: u64,
    /// For how long it lives without a renewal.
    pub(crate) timeout: Duration,
}

/// Why none stands.
#[derive(Clone, Debug)]
pub(crate) enum Fails {
    /// The session is over.
    Ended,
    /// The session is over, as the servers have lost what they knew: from when they are, for people.
    Loss(String),
    Fault(Fault),
}

impl From<Fault> for Fails {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::NoLease => Self::Ended,
            fault => Self::Fault(fault),
        }
    }
}

fn header(header: Option<Header>) -> Result<Header, Fault> {
    header.ok_or_else(|| Fault::Lost("the server answers without a header".to_owned()))
}

/// Which part of a lease's time is not trusted: the servers measure it by their clock and the node
/// by its own. Quartz drifts by some 100 parts in a million and NTP slews by 500 at the most, so two
/// hosts' clocks stay far within one part in 64.
const CLOCK_MARGIN: u64 = 64;

fn seconds(ttl: i64) -> Duration {
    Duration::from_secs(u64::try_from(ttl).unwrap_or(0))
}

fn after(sent: u64, ttl: i64) -> u64 {
    let lasts = u64::try_from(ttl).unwrap_or(0).saturating_mul(1_000);
    sent.saturating_add(lasts - lasts.div_ceil(CLOCK_MARGIN))
}

fn compare(key: Bytes, relation: Relation, target: Target, with: With) -> Compare {
    let (relation, target) = (relation as i32, target as i32);
    Compare { relation, target, key, with: Some(with), end: Bytes::new() }
}

/// Begins a session: a lease, the session's key under it, and the tree's root if there is none.
pub(crate) async fn begin(
    server: &Server,
    place: &Place,
    timeout: Duration,
) -> Result<Stands, Fails> {
    let sent = boot_millis();
    let granted = server.grant(timeout).await?;
    make_root(server, place).await?;
    let mark = Mark { lease: granted.lease, revision: 0 };
    let opened = server.txn(Txn { compares: Vec::new(), then: vec![mark.put(place)] }).await?;
    let Header { revision, cluster, .. } = header(opened.header)?;
    let mark = Mark { revision, ..mark };
    let (trusted_until, timeout) = (after(sent, granted.ttl), seconds(granted.ttl));
    Ok(Stands { mark, trusted_until, cluster, timeout })
}

async fn make_root(server: &Server, place: &Place) -> Result<(), Fault> {
    let key = place.entry(&Key::root());
    let put = Put { key: key.clone(), value: encode(When::Here(0), 0, 0, b""), ..Put::default() };
    let then = vec![Op { does: Some(Does::Put(put)) }];
    let absent = compare(key, Relation::Equal, Target::Version, With::Version(0));
    server.txn(Txn { compares: vec![absent], then }).await.map(|_| ())
}

async fn keep_alive(server: &Server, place: &Place, mark: Mark) -> Result<Renewed, Fails> {
    match server.keep_alive(mark.lease).await {
        Ok(renewed) if renewed.ttl > 0 => Ok(renewed),
        Ok(_) | Err(Fault::NoLease) => Err(said_dead(server, place, mark).await?),
        Err(fault) => Err(fault.into()),
    }
}

/// A leader answers renewals out of its memory, and in older releases it may say that there is no
/// lease before it has applied that there is one (etcd issue 6978). So this alone is no proof. The
/// session is over once its mark is gone, which a majority says; while it is there, the lease is
/// revoked first, and the mark goes with it.
async fn said_dead(server: &Server, place: &Place, mark: Mark) -> Result<Fails, Fault> {
    let read = server.range(place.session(mark.lease)).await?;
    if read.entries.is_empty() {
        return Ok(Fails::Ended);
    }
    match server.revoke(mark.lease).await {
        Ok(()) | Err(Fault::NoLease) => Ok(Fails::Ended),
        Err(fault) => Err(fault),
    }
}

/// Takes a session up again on another connection.
///
/// Its mark is put anew: whatever an earlier connection sent, and nobody knows what became of it,
/// either has happened by now or finds another mark than it wants and never will. A mark from before
/// the last one that was confirmed is a backup's: indices under it would go backwards.
pub(crate) async fn resume(server: &Server, place: &Place, mark: Mark) -> Result<Stands, Fails> {
    let sent = boot_millis();
    let renewed = keep_alive(server, place, mark).await?;
    let (own, before) = (place.session(mark.lease), With::Modified(mark.revision - 1));
    let compares = vec![compare(own, Relation::Greater, Target::Modified, before)];
    let fenced = server.txn(Txn { compares, then: vec![mark.put(place)] }).await?;
    if !fenced.succeeded {
        return Err(without_mark(server, place, mark).await?);
    }
    let Header { revision, cluster, .. } = header(fenced.header)?;
    let trusted_until = proven(sent, &renewed, header(fenced.header)?)?;
    let mark = Mark { revision, ..mark };
    Ok(Stands { mark, trusted_until, cluster, timeout: seconds(renewed.ttl) })
}

/// The mark is not as it was, or later: why.
async fn without_mark(server: &Server, place: &Place, mark: Mark) -> Result<Fails, Fault> {
    let read = server.range(place.session(mark.lease)).await?;
    let Some(found) = read.entries.first().map(|found| found.modified) else {
        return Ok(Fails::Ended);
    };
    if found >= mark.revision {
        return Err(Fault::Lost("another transaction of this session came late".to_owned()));
    }
    let why = format!(
        "the servers have lost what they knew: this session's last commit there is of revision \
         {found}, {} was confirmed; were they restored from a backup?",
        mark.revision
    );
    give_up(server, mark).await;
    Ok(Fails::Loss(why))
}

/// Ends a session that is not gone on with, so that what lives with it vanishes; if that fails, it
/// does so at the end of its time-out.
pub(crate) async fn give_up(server: &Server, mark: Mark) {
    if let Err(fault) = server.revoke(mark.lease).await
        && !matches!(fault, Fault::NoLease)
    {
        let why = fault.why();
        tracing::warn!(session = %mark.session(), "the session ends by its time-out only: {why}");
    }
}

/// Renews a session; says until when it is trusted, 0 if that is not proven.
pub(crate) async fn renew(server: &Server, place: &Place, mark: Mark) -> Result<u64, Fails> {
    let sent = boot_millis();
    let renewed = keep_alive(server, place, mark).await?;
    let read = server.range(place.session(mark.lease)).await?;
    if read.entries.is_empty() {
        return Err(Fails::Ended);
    }
    Ok(proven(sent, &renewed, header(read.header)?)?)
}

/// A leader renews leases by itself, and one that has been deposed does not know it at first; the
/// new leader counts from its own beginning. What was answered to a renewal is proof only if the
/// leader of then led still after it. The server writes its raft term into the answer before it has
/// the lease renewed, and `later` is of a question asked after it that a majority confirmed: with
/// the same term in both there was no other leader between.
fn proven(sent: u64, renewed: &Renewed, later: Header) -> Result<u64, Fault> {
    let then = header(renewed.header)?;
    Ok(if then.term == later.term { after(sent, renewed.ttl) } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewal_counts_from_its_sending_and_only_under_one_leader() {
        let at = |term| Header { term, revision: 1, cluster: 1 };
        let renewed = Renewed { header: Some(at(4)), ttl: 3 };
        // Three seconds but for a part in 64.
        assert_eq!(proven(1_000, &renewed, at(4)).unwrap(), 3_953);
        assert_eq!(proven(1_000, &renewed, at(5)).unwrap(), 0);
        let bare = Renewed { header: None, ttl: 3 };
        assert!(proven(1_000, &bare, at(4)).is_err());
    }

    #[test]
    fn trust_ends_before_the_lease_does_by_a_clock_that_is_off() {
        assert_eq!([0, -1].map(|ttl| after(7, ttl)), [7, 7]);
        for ttl in [1_i64, 2, 5, 60, 86_400] {
            let (lease, trusted) = (ttl.unsigned_abs() * 1_000, after(0, ttl));
            assert!(trusted * 1_010 < lease * 1_000 && trusted * 100 > lease * 98, "{ttl}");
        }
        assert!(after(u64::MAX - 1, i64::MAX) > u64::MAX - 2);
    }
}
