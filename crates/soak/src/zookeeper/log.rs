//! The transaction log of a ZooKeeper server: what was committed, in order, in whose name.
//!
//! A file is `ZKLG`, version 2 and a database id, and then a record for each transaction: its Adler-32
//! sum, its length, its bytes, and `B`. What follows the last is zeros, or a record that a kill cut
//! off, which no client was told of. (`org.apache.zookeeper.server.persistence.FileTxnLog`.)

use super::jute::Jute;
use anyhow::{Context, Result, bail, ensure};
use std::path::Path;

const MAGIC: &[u8] = b"ZKLG";
const VERSION: i32 = 2;
const END_OF_RECORD: u8 = b'B';
const REFUSED: i32 = -1;

/// One transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Txn {
    /// The session in whose name.
    pub session: u64,
    /// The number that the session's client gave to its request.
    pub cxid: i32,
    /// Its number.
    pub zxid: u64,
    /// When its server took it up, before it was on the disk: milliseconds since 1970.
    pub time: i64,
    /// What it did, in order. Nothing of a transaction that was refused.
    pub ops: Vec<Op>,
}

/// One thing that a transaction did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// A node was made.
    Create {
        /// Which.
        path: String,
        /// What it holds.
        data: Vec<u8>,
        /// Whether it lives with the session.
        ephemeral: bool,
    },
    /// A node was given a value.
    Set {
        /// Which.
        path: String,
        /// What it holds.
        data: Vec<u8>,
        /// How often it was given one by then.
        version: i32,
    },
    /// A node was deleted.
    Delete {
        /// Which.
        path: String,
    },
    /// The session began.
    Open {
        /// Its time-out in milliseconds.
        timeout: i32,
    },
    /// The session ended, and all that lived with it.
    Close,
}

/// Reads all files of a directory, in order.
///
/// # Errors
/// If one cannot be read, or is not such a log, or says what this release does not know.
pub fn read_all(directory: &Path) -> Result<Vec<Txn>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name().into_string().unwrap_or_default();
        if let Some(first) = name.strip_prefix("log.") {
            files.push((u64::from_str_radix(first, 16).with_context(|| name.clone())?, name));
        }
    }
    files.sort();
    let mut all: Vec<Txn> = Vec::new();
    for (_, name) in files {
        let bytes = std::fs::read(directory.join(&name))?;
        for txn in read(&bytes).with_context(|| name.clone())? {
            let last = all.last().map_or(0, |txn| txn.zxid);
            ensure!(txn.zxid > last, "{name}: {:x} stands after {last:x}", txn.zxid);
            all.push(txn);
        }
    }
    Ok(all)
}

/// Reads one file.
///
/// # Errors
/// As [`read_all`].
pub fn read(file: &[u8]) -> Result<Vec<Txn>> {
    let mut jute = Jute(file);
    if file.iter().all(|byte| *byte == 0) {
        // Killed before its first word was on the disk.
        return Ok(Vec::new());
    }
    ensure!(jute.take(MAGIC.len())? == MAGIC, "no transaction log");
    let version = jute.int()?;
    ensure!(version == VERSION, "a log of version {version}");
    jute.long()?;
    let mut all = Vec::new();
    while let Some(bytes) = record(&mut jute) {
        all.push(txn(bytes).with_context(|| format!("transaction {}", all.len()))?);
    }
    Ok(all)
}

/// The next record's bytes; none if it is not whole, which ends the file.
fn record<'a>(jute: &mut Jute<'a>) -> Option<&'a [u8]> {
    let sum = jute.long().ok()?;
    let bytes = jute.buffer().ok().filter(|bytes| !bytes.is_empty())?;
    let end = jute.take(1).ok()?;
    (end == [END_OF_RECORD] && sum == i64::from(adler32(bytes))).then_some(bytes)
}

fn adler32(bytes: &[u8]) -> u32 {
    const MODULUS: u32 = 65_521;
    let (mut low, mut high) = (1_u32, 0_u32);
    for byte in bytes {
        low = (low + u32::from(*byte)) % MODULUS;
        high = (high + low) % MODULUS;
    }
    high << 16 | low
}

fn txn(bytes: &[u8]) -> Result<Txn> {
    let mut jute = Jute(bytes);
    let session = jute.long()?.cast_unsigned();
    let cxid = jute.int()?;
    let zxid = jute.long()?.cast_unsigned();
    let time = jute.long()?;
    let kind = jute.int()?;
    let mut ops = Vec::new();
    match kind {
        14 => {
            for _ in 0..jute.int()? {
                let (kind, bytes) = (jute.int()?, jute.buffer()?);
                if kind == REFUSED {
                    // Those before it are written down as they would have been, and none was done.
                    ops.clear();
                    break;
                }
                ops.extend(op(kind, &mut Jute(bytes))?);
            }
        }
        _ => ops.extend(op(kind, &mut jute)?),
    }
    Ok(Txn { session, cxid, zxid, time, ops })
}

/// One operation; none of one that changes nothing: a check, a refusal, a change of rights.
fn op(kind: i32, jute: &mut Jute<'_>) -> Result<Option<Op>> {
    Ok(match kind {
        REFUSED | 7 | 13 => None,
        -10 => Some(Op::Open { timeout: jute.int()? }),
        -11 => Some(Op::Close),
        1 | 15 => {
            let (path, data) = (jute.text()?, jute.buffer()?.to_vec());
            jute.skip_acl()?;
            Some(Op::Create { path, data, ephemeral: jute.truth()? })
        }
        // A container, and one that is kept for a time.
        19 | 21 => {
            let (path, data) = (jute.text()?, jute.buffer()?.to_vec());
            Some(Op::Create { path, data, ephemeral: false })
        }
        2 | 20 => Some(Op::Delete { path: jute.text()? }),
        5 => {
            let (path, data) = (jute.text()?, jute.buffer()?.to_vec());
            Some(Op::Set { path, data, version: jute.int()? })
        }
        other => bail!("a transaction of kind {other}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(records: &[&[u8]]) -> Vec<u8> {
        let mut file = MAGIC.to_vec();
        file.extend(VERSION.to_be_bytes());
        file.extend(0_i64.to_be_bytes());
        for bytes in records {
            file.extend(i64::from(adler32(bytes)).to_be_bytes());
            file.extend(i32::try_from(bytes.len()).unwrap().to_be_bytes());
            file.extend_from_slice(bytes);
            file.push(END_OF_RECORD);
        }
        file
    }

    fn close(zxid: i64) -> Vec<u8> {
        let mut bytes = 7_i64.to_be_bytes().to_vec();
        bytes.extend(3_i32.to_be_bytes());
        bytes.extend(zxid.to_be_bytes());
        bytes.extend(1_000_i64.to_be_bytes());
        bytes.extend((-11_i32).to_be_bytes());
        bytes
    }

    #[test]
    fn what_a_kill_cut_off_ends_the_log_and_spoils_nothing_before_it() {
        let whole = file(&[&close(1), &close(2)]);
        for cut in 0..close(2).len() + 13 {
            let mut torn = whole[..whole.len() - cut].to_vec();
            torn.extend([0; 64]);
            let zxids: Vec<u64> = read(&torn).unwrap().iter().map(|txn| txn.zxid).collect();
            assert_eq!(zxids, if cut == 0 { vec![1, 2] } else { vec![1] }, "cut {cut}");
        }
    }

    #[test]
    fn a_sum_that_is_wrong_ends_the_log() {
        let mut bent = file(&[&close(1), &close(2)]);
        let last = bent.len() - 2;
        bent[last] ^= 1;
        assert_eq!(read(&bent).unwrap().len(), 1);
    }

    #[test]
    fn of_a_refused_multi_nothing_was_done() {
        let delete = [&2_i32.to_be_bytes()[..], &6_i32.to_be_bytes(), &2_i32.to_be_bytes(), b"/a"];
        let refused =
            [&(-1_i32).to_be_bytes()[..], &4_i32.to_be_bytes(), &(-101_i32).to_be_bytes()];
        let multi = |count: i32, parts: &[&[u8]]| {
            let mut bytes = close(1);
            bytes.truncate(bytes.len() - 4);
            bytes.extend(14_i32.to_be_bytes());
            bytes.extend(count.to_be_bytes());
            parts.iter().for_each(|part| bytes.extend_from_slice(part));
            read(&file(&[&bytes])).unwrap().remove(0).ops
        };
        assert_eq!(multi(1, &delete), [Op::Delete { path: "/a".into() }]);
        assert_eq!(multi(2, &[&delete[..], &refused[..]].concat()), []);
    }

    #[test]
    fn what_is_no_log_and_what_nobody_knows_are_refused() {
        assert!(read(b"ZKSN0000000000000000").is_err());
        let mut strange = close(1);
        let kind = strange.len() - 4;
        strange[kind..].copy_from_slice(&99_i32.to_be_bytes());
        assert!(read(&file(&[&strange])).is_err());
        assert_eq!(read(&[0; 100]).unwrap(), []);
    }

    #[test]
    fn adler_32_is_the_known_one() {
        assert_eq!(adler32(b"Wikipedia"), 0x11E6_0398);
    }
}
