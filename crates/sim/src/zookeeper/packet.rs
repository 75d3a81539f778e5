//! What clients send and what servers answer, byte for byte, as `zookeeper.jute` has it. Written
//! apart from the client, so that a mistake is not made twice.

use super::tree::Node;
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Error codes of `KeeperException.Code`.
pub(super) mod code {
    pub(in super::super) const OK: i32 = 0;
    pub(in super::super) const AFTER_ANOTHER: i32 = -2;
    pub(in super::super) const UNIMPLEMENTED: i32 = -6;
    pub(in super::super) const NO_NODE: i32 = -101;
    pub(in super::super) const NO_AUTH: i32 = -102;
    pub(in super::super) const BAD_VERSION: i32 = -103;
    pub(in super::super) const EPHEMERAL_PARENT: i32 = -108;
    pub(in super::super) const EXISTS: i32 = -110;
    pub(in super::super) const NOT_EMPTY: i32 = -111;
    pub(in super::super) const EXPIRED: i32 = -112;
    pub(in super::super) const INVALID_ACL: i32 = -114;
    pub(in super::super) const NO_WATCHER: i32 = -121;
}

/// A connection's first packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) seen: i64,
    pub(super) timeout: i32,
    pub(super) session: i64,
    pub(super) password: Bytes,
}

/// A later packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) xid: i32,
    pub(super) call: Call,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Ping,
    Auth(Bytes),
    /// Persistent watches are set again.
    SetWatches(Vec<String>),
    Close,
    Exists(String),
    Data(String),
    Children(String),
    Sync(String),
    AddWatch(String),
    RemoveWatches(String),
    Write(Vec<Write>, Form),
    Unknown,
}

/// How a write is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Multi,
    /// With the path and the state of what was made.
    Created,
    /// With the state.
    Stat,
    Nothing,
}

/// A change, or what it depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Write {
    Check { path: String, version: i32 },
    Create { path: String, data: Bytes, flags: i32, is_owned: bool },
    Set { path: String, data: Bytes, version: i32 },
    Delete { path: String, version: i32 },
}

/// Bytes that are no packet: a server closes the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Garbled;

/// The largest packet a server takes (`jute.maxbuffer`).
const MAX_BUFFER: usize = 0xf_ffff;

/// Takes the next whole packet, without its length.
pub(super) fn next(arrived: &mut BytesMut) -> Result<Option<Bytes>, Garbled> {
    let Some(length) = arrived.first_chunk::<4>() else { return Ok(None) };
    let length = usize::try_from(i32::from_be_bytes(*length)).map_err(|_| Garbled)?;
    if length > MAX_BUFFER {
        return Err(Garbled);
    }
    if arrived.len() < 4 + length {
        return Ok(None);
    }
    arrived.advance(4);
    Ok(Some(arrived.split_to(length).freeze()))
}

pub(super) fn hello(mut from: Bytes) -> Result<Hello, Garbled> {
    if int(&mut from)? != 0 {
        return Err(Garbled);
    }
    Ok(Hello {
        seen: long(&mut from)?,
        timeout: int(&mut from)?,
        session: long(&mut from)?,
        password: buffer(&mut from)?,
    })
}

pub(super) fn asked(mut from: Bytes) -> Result<Asked, Garbled> {
    let (xid, opcode) = (int(&mut from)?, int(&mut from)?);
    let from = &mut from;
    let call = match opcode {
        11 => Call::Ping,
        100 => {
            let _kind = int(from)?;
            match text(from)?.as_str() {
                "digest" => Call::Auth(buffer(from)?),
                _ => Call::Unknown,
            }
        }
        105 => set_watches(from)?,
        -11 => Call::Close,
        3 => Call::Exists(path_and_flag(from)?),
        4 => Call::Data(path_and_flag(from)?),
        12 => Call::Children(path_and_flag(from)?),
        9 => Call::Sync(text(from)?),
        106 => match (text(from)?, int(from)?) {
            (path, 0) => Call::AddWatch(path),
            _ => Call::Unknown,
        },
        18 => match (text(from)?, int(from)?) {
            (path, 3) => Call::RemoveWatches(path),
            _ => Call::Unknown,
        },
        14 => Call::Write(multi(from)?, Form::Multi),
        15 | 19 => Call::Write(vec![write(opcode, from)?], Form::Created),
        5 => Call::Write(vec![write(opcode, from)?], Form::Stat),
        2 => Call::Write(vec![write(opcode, from)?], Form::Nothing),
        _ => return Ok(Asked { xid, call: Call::Unknown }),
    };
    if from.is_empty() { Ok(Asked { xid, call }) } else { Err(Garbled) }
}

fn set_watches(from: &mut Bytes) -> Result<Call, Garbled> {
    let _seen = long(from)?;
    let (data, exists, children) = (texts(from)?, texts(from)?, texts(from)?);
    let (persistent, recursive) = (texts(from)?, texts(from)?);
    let only_persistent = [data, exists, children, recursive].iter().all(Vec::is_empty);
    Ok(if only_persistent { Call::SetWatches(persistent) } else { Call::Unknown })
}

fn path_and_flag(from: &mut Bytes) -> Result<String, Garbled> {
    let path = text(from)?;
    // No one-shot watch is asked for.
    if byte(from)? == 0 { Ok(path) } else { Err(Garbled) }
}

fn multi(from: &mut Bytes) -> Result<Vec<Write>, Garbled> {
    let mut writes = Vec::new();
    loop {
        let (opcode, is_done, _error) = (int(from)?, byte(from)? != 0, int(from)?);
        if is_done {
            return Ok(writes);
        }
        writes.push(write(opcode, from)?);
    }
}

fn write(opcode: i32, from: &mut Bytes) -> Result<Write, Garbled> {
    let path = text(from)?;
    if !path.starts_with('/') || path.ends_with('/') {
        return Err(Garbled);
    }
    Ok(match opcode {
        13 => Write::Check { path, version: int(from)? },
        2 => Write::Delete { path, version: int(from)? },
        5 => Write::Set { path, data: buffer(from)?, version: int(from)? },
        1 | 15 | 19 => {
            let data = buffer(from)?;
            let mut is_owned = false;
            for _ in 0..int(from)? {
                let (_permissions, scheme, _id) = (int(from)?, text(from)?, text(from)?);
                is_owned |= scheme == "auth";
            }
            Write::Create { path, data, flags: int(from)?, is_owned }
        }
        _ => return Err(Garbled),
    })
}

fn int(from: &mut Bytes) -> Result<i32, Garbled> {
    from.try_get_i32().map_err(|_| Garbled)
}

fn long(from: &mut Bytes) -> Result<i64, Garbled> {
    from.try_get_i64().map_err(|_| Garbled)
}

fn byte(from: &mut Bytes) -> Result<u8, Garbled> {
    from.try_get_u8().map_err(|_| Garbled)
}

fn buffer(from: &mut Bytes) -> Result<Bytes, Garbled> {
    let length = usize::try_from(int(from)?).map_err(|_| Garbled)?;
    if length > from.len() {
        return Err(Garbled);
    }
    Ok(from.split_to(length))
}

fn text(from: &mut Bytes) -> Result<String, Garbled> {
    String::from_utf8(buffer(from)?.into()).map_err(|_| Garbled)
}

fn texts(from: &mut Bytes) -> Result<Vec<String>, Garbled> {
    (0..int(from)?).map(|_| text(from)).collect()
}

/// A packet in the making.
pub(super) struct Packet(BytesMut);

impl Packet {
    fn new() -> Self {
        let mut bytes = BytesMut::with_capacity(128);
        bytes.put_i32(0);
        Self(bytes)
    }

    /// The answer to a request.
    pub(super) fn reply(xid: i32, zxid: i64, error: i32) -> Self {
        let mut packet = Self::new();
        packet.0.put_i32(xid);
        packet.0.put_i64(zxid);
        packet.int(error)
    }

    /// One with nothing in it.
    #[cfg(test)]
    pub(super) fn bare() -> Self {
        Self::new()
    }

    /// The answer to the first packet; without a session it is refused.
    pub(super) fn welcome(session: Option<(i64, i32)>) -> Self {
        let (id, timeout) = session.unwrap_or_default();
        let packet = Self::new().int(0).int(timeout);
        let mut packet = packet.long(id).buffer(&password(id));
        packet.0.put_u8(0);
        packet
    }

    /// Tells who watches; `zxid` is -1 before 3.9.
    pub(super) fn event(zxid: i64, kind: i32, path: &str) -> Self {
        // The state is "connected".
        Self::reply(-1, zxid, 0).int(kind).int(3).buffer(path.as_bytes())
    }

    pub(super) fn int(mut self, value: i32) -> Self {
        self.0.put_i32(value);
        self
    }

    fn long(mut self, value: i64) -> Self {
        self.0.put_i64(value);
        self
    }

    pub(super) fn flag(mut self, value: bool) -> Self {
        self.0.put_u8(u8::from(value));
        self
    }

    pub(super) fn buffer(mut self, value: &[u8]) -> Self {
        self.length(value.len());
        self.0.put_slice(value);
        self
    }

    fn length(&mut self, length: usize) {
        self.0.put_i32(i32::try_from(length).unwrap_or(i32::MAX));
    }

    pub(super) fn names<'a>(mut self, names: impl ExactSizeIterator<Item = &'a str>) -> Self {
        self.length(names.len());
        names.fold(self, |packet, name| packet.buffer(name.as_bytes()))
    }

    pub(super) fn stat(self, node: &Node) -> Self {
        let small = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
        let children = small(node.children.len());
        // What is kept counts children made; what is told counts those taken away, too.
        let cversion = node.made.wrapping_mul(2).wrapping_sub(children);
        self.long(node.czxid)
            .long(node.mzxid)
            .long(0)
            .long(node.mtime)
            .int(node.version)
            .int(cversion)
            .int(0)
            .long(node.owner)
            .int(small(node.data.len()))
            .int(children)
            .long(node.pzxid)
    }

    /// The packet with its length before it.
    pub(super) fn finish(mut self) -> Bytes {
        let length = i32::try_from(self.0.len() - 4).unwrap_or(i32::MAX);
        self.0[..4].copy_from_slice(&length.to_be_bytes());
        self.0.freeze()
    }
}

/// What proves that a session is one's own.
pub(super) fn password(session: i64) -> [u8; 16] {
    let mut password = [0x5a; 16];
    password[..8].copy_from_slice(&(session ^ 0x0b3d_5ec2_e7b3_91a1).to_be_bytes());
    password
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_taken_once_it_is_whole() {
        let sent = Packet::reply(7, 9, 0).finish();
        let mut arrived = BytesMut::new();
        for (at, byte) in sent.iter().enumerate() {
            assert_eq!(next(&mut arrived), Ok(None), "{at}");
            arrived.put_u8(*byte);
        }
        assert_eq!(next(&mut arrived), Ok(Some(sent.slice(4..))));
        assert!(arrived.is_empty());
        assert_eq!(next(&mut BytesMut::from(&[0xff_u8; 4][..])), Err(Garbled));
    }

    #[test]
    fn what_is_left_over_or_missing_makes_a_packet_garbled() {
        let sync = Packet::new().int(3).int(9).buffer(b"/").finish().slice(4..);
        assert_eq!(asked(sync.clone()), Ok(Asked { xid: 3, call: Call::Sync("/".into()) }));
        for cut in 0..sync.len() {
            assert_eq!(asked(sync.slice(..cut)), Err(Garbled), "{cut}");
        }
        let longer = [&sync[..], &[0]].concat();
        assert_eq!(asked(longer.into()), Err(Garbled));
    }
}
