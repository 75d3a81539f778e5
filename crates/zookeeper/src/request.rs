//! What is sent: requests, and the packets a session sends by itself.

use crate::jute::Writer;
use bytes::Bytes;

/// The number of a request on its connection; negative ones are the protocol's own.
pub(crate) const XID_EVENT: i32 = -1;
pub(crate) const XID_AUTH: i32 = -4;
pub(crate) const XID_SET_WATCHES: i32 = -8;

/// The codes of the operations (`ZooDefs.OpCode`).
pub(crate) mod opcode {
    pub(crate) const CREATE: i32 = 1;
    pub(crate) const DELETE: i32 = 2;
    pub(crate) const EXISTS: i32 = 3;
    pub(crate) const GET_DATA: i32 = 4;
    pub(crate) const SET_DATA: i32 = 5;
    pub(crate) const SYNC: i32 = 9;
    pub(crate) const GET_CHILDREN2: i32 = 12;
    pub(crate) const CHECK: i32 = 13;
    pub(crate) const MULTI: i32 = 14;
    pub(crate) const CREATE2: i32 = 15;
    pub(crate) const REMOVE_WATCHES: i32 = 18;
    pub(crate) const CREATE_CONTAINER: i32 = 19;
    pub(crate) const CREATE_TTL: i32 = 21;
    pub(crate) const AUTH: i32 = 100;
    pub(crate) const SET_WATCHES2: i32 = 105;
    pub(crate) const ADD_WATCH: i32 = 106;
    pub(crate) const CLOSE_SESSION: i32 = -11;
    pub(crate) const ERROR: i32 = -1;
}

/// Any version, where one is compared.
pub const ANY_VERSION: i32 = -1;

/// The largest packet a server takes if nobody says otherwise (`jute.maxbuffer`), without its
/// length.
pub const MAX_PACKET: usize = 0xf_ffff;

/// How a node is made (`CreateMode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateMode {
    /// Until it is deleted.
    Persistent,
    /// Until it is deleted or its session ends.
    Ephemeral,
    /// Persistent, with ten digits appended.
    PersistentSequential,
    /// Ephemeral, with ten digits appended.
    EphemeralSequential,
    /// Until it has had children and has none any more.
    Container,
}

impl CreateMode {
    fn flags(self) -> i32 {
        match self {
            Self::Persistent => 0,
            Self::Ephemeral => 1,
            Self::PersistentSequential => 2,
            Self::EphemeralSequential => 3,
            Self::Container => 4,
        }
    }
}

/// Who may do what with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acl {
    /// Anyone may do everything (`world:anyone`).
    Open,
    /// Who made it may do everything, nobody else anything (`auth`): the server puts the digest of
    /// the connection there.
    Creator,
}

/// All permissions: read, write, create, delete, admin.
const ALL: i32 = 31;

/// One operation of a [`Request::Multi`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Refuse unless the node exists and has this version.
    Check {
        /// Where.
        path: String,
        /// [`ANY_VERSION`] or the one it must have.
        version: i32,
    },
    /// Make a node.
    Create(Create),
    /// Give it data.
    SetData {
        /// Where.
        path: String,
        /// What it holds then.
        data: Bytes,
        /// [`ANY_VERSION`] or the one it must have.
        version: i32,
    },
    /// Delete a node without children.
    Delete {
        /// Where.
        path: String,
        /// [`ANY_VERSION`] or the one it must have.
        version: i32,
    },
}

/// A node to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Create {
    /// Where; the start of its name if digits are appended.
    pub path: String,
    /// What it holds.
    pub data: Bytes,
    /// How long it lives, and what it is called.
    pub mode: CreateMode,
    /// Who may do what with it.
    pub acl: Acl,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Make a node: [`Reply::Created`](crate::Reply::Created).
    Create(Create),
    /// Delete a node: [`Reply::Done`](crate::Reply::Done).
    Delete {
        /// Where.
        path: String,
        /// [`ANY_VERSION`] or the one it must have.
        version: i32,
    },
    /// Whether a node exists: [`Reply::Stat`](crate::Reply::Stat).
    Exists(String),
    /// Its data: [`Reply::Data`](crate::Reply::Data).
    GetData(String),
    /// Give it data: [`Reply::Stat`](crate::Reply::Stat).
    SetData {
        /// Where.
        path: String,
        /// What it holds then.
        data: Bytes,
        /// [`ANY_VERSION`] or the one it must have.
        version: i32,
    },
    /// Its children: [`Reply::Children`](crate::Reply::Children).
    GetChildren(String),
    /// Let this server catch up with the leader: [`Reply::Done`](crate::Reply::Done).
    Sync(String),
    /// All or nothing: [`Reply::Multi`](crate::Reply::Multi).
    Multi(Vec<Op>),
    /// Watch a node and its children's names until told otherwise (`addWatch`, persistent):
    /// [`Reply::Done`](crate::Reply::Done). The session watches again after each reconnect.
    AddWatch(String),
    /// Stop watching: [`Reply::Done`](crate::Reply::Done).
    RemoveWatches(String),
}

impl Request {
    /// The packet, with its length.
    pub(crate) fn encode(&self, xid: i32) -> Bytes {
        let mut to = Writer::new();
        to.int(xid).int(self.opcode());
        match self {
            Self::Create(create) => create.encode(&mut to),
            Self::Delete { path, version } => {
                to.text(path).int(*version);
            }
            Self::Exists(path) | Self::GetData(path) | Self::GetChildren(path) => {
                to.text(path).boolean(false);
            }
            Self::SetData { path, data, version } => {
                to.text(path).buffer(data).int(*version);
            }
            Self::Sync(path) => {
                to.text(path);
            }
            Self::Multi(ops) => multi(ops, &mut to),
            Self::AddWatch(path) => {
                to.text(path).int(ADD_PERSISTENT);
            }
            Self::RemoveWatches(path) => {
                to.text(path).int(REMOVE_ANY);
            }
        }
        to.finish()
    }

    /// The length of the packet, without the four bytes that say it: what a server compares with
    /// its `jute.maxbuffer`.
    #[must_use]
    pub fn packet_bytes(&self) -> usize {
        self.encode(0).len() - 4
    }

    /// Whether a server answers it only with its leader's part in it.
    pub(crate) fn is_the_leaders(&self) -> bool {
        match self {
            Self::Create(_) | Self::Delete { .. } | Self::SetData { .. } => true,
            Self::Multi(_) | Self::Sync(_) => true,
            Self::Exists(_)
            | Self::GetData(_)
            | Self::GetChildren(_)
            | Self::AddWatch(_)
            | Self::RemoveWatches(_) => false,
        }
    }

    fn opcode(&self) -> i32 {
        match self {
            Self::Create(create) if create.mode == CreateMode::Container => {
                opcode::CREATE_CONTAINER
            }
            Self::Create(_) => opcode::CREATE2,
            Self::Delete { .. } => opcode::DELETE,
            Self::Exists(_) => opcode::EXISTS,
            Self::GetData(_) => opcode::GET_DATA,
            Self::SetData { .. } => opcode::SET_DATA,
            Self::GetChildren(_) => opcode::GET_CHILDREN2,
            Self::Sync(_) => opcode::SYNC,
            Self::Multi(_) => opcode::MULTI,
            Self::AddWatch(_) => opcode::ADD_WATCH,
            Self::RemoveWatches(_) => opcode::REMOVE_WATCHES,
        }
    }
}

/// `AddWatchMode.PERSISTENT`: not recursive.
const ADD_PERSISTENT: i32 = 0;

/// `WatcherType.Any`; removing a part of a persistent watch breaks the rest (ZOOKEEPER-4471).
const REMOVE_ANY: i32 = 3;

impl Create {
    fn encode(&self, to: &mut Writer) {
        let (scheme, id) = match self.acl {
            Acl::Open => ("world", "anyone"),
            Acl::Creator => ("auth", ""),
        };
        to.text(&self.path).buffer(&self.data);
        to.length(1).int(ALL).text(scheme).text(id);
        to.int(self.mode.flags());
    }
}

fn multi(ops: &[Op], to: &mut Writer) {
    for op in ops {
        // `create` rather than `create2`: the Stat of the latter is wrong before 3.8.2
        // (ZOOKEEPER-4026), and nobody asks for it.
        let code = match op {
            Op::Check { .. } => opcode::CHECK,
            Op::Create(create) if create.mode == CreateMode::Container => opcode::CREATE_CONTAINER,
            Op::Create(_) => opcode::CREATE,
            Op::SetData { .. } => opcode::SET_DATA,
            Op::Delete { .. } => opcode::DELETE,
        };
        to.int(code).boolean(false).int(-1);
        match op {
            Op::Check { path, version } | Op::Delete { path, version } => {
                to.text(path).int(*version);
            }
            Op::Create(create) => create.encode(to),
            Op::SetData { path, data, version } => {
                to.text(path).buffer(data).int(*version);
            }
        }
    }
    to.int(-1).boolean(true).int(-1);
}

pub(crate) fn close_session(xid: i32) -> Bytes {
    let mut to = Writer::new();
    to.int(xid).int(opcode::CLOSE_SESSION);
    to.finish()
}

pub(crate) fn auth(scheme: &str, secret: &[u8]) -> Bytes {
    let mut to = Writer::new();
    to.int(XID_AUTH).int(opcode::AUTH).int(0).text(scheme).buffer(secret);
    to.finish()
}

/// Bytes of paths in one `setWatches2`, far below the smallest `jute.maxbuffer` in use.
const WATCH_CHUNK: usize = 120 * 1024;

/// Packets that watch all these paths again, each below 128 KiB.
pub(crate) fn set_watches<'a>(seen: i64, paths: impl Iterator<Item = &'a str>) -> Vec<Bytes> {
    let mut packets = Vec::new();
    let (mut chunk, mut size) = (Vec::new(), 0);
    for path in paths {
        let needs = 4 + path.len();
        if size + needs > WATCH_CHUNK && !chunk.is_empty() {
            packets.push(set_some(seen, &std::mem::take(&mut chunk)));
            size = 0;
        }
        size += needs;
        chunk.push(path);
    }
    if !chunk.is_empty() {
        packets.push(set_some(seen, &chunk));
    }
    packets
}

fn set_some(seen: i64, paths: &[&str]) -> Bytes {
    let mut to = Writer::new();
    to.int(XID_SET_WATCHES).int(opcode::SET_WATCHES2).long(seen);
    // Data, exist and child watches: we have none.
    to.length(0).length(0).length(0);
    to.length(paths.len());
    for path in paths {
        to.text(path);
    }
    // Recursive ones: none either.
    to.length(0);
    to.finish()
}

/// How a connection starts.
pub(crate) struct Hello<'a> {
    pub(crate) seen: i64,
    /// Milliseconds.
    pub(crate) timeout: i32,
    /// Zero for a new session.
    pub(crate) session: i64,
    pub(crate) password: &'a [u8],
}

impl Hello<'_> {
    pub(crate) fn encode(&self) -> Bytes {
        let mut to = Writer::new();
        to.int(0).long(self.seen).int(self.timeout).long(self.session).buffer(self.password);
        to.boolean(false);
        to.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn create(path: &str, mode: CreateMode, acl: Acl) -> Create {
        Create { path: path.to_owned(), data: Bytes::from_static(b"d"), mode, acl }
    }

    /// Length, xid 1, opcode, then the record as `zookeeper.jute` has it.
    #[test]
    fn requests_are_spelled_to_the_byte() {
        let path = || "/a".to_owned();
        let data = || Bytes::from_static(b"d");
        let world = "000000010000001f00000005776f726c6400000006616e796f6e65";
        let auth = "000000010000001f000000046175746800000000";
        let made = |code: &str, acl: &str, flags: &str| {
            format!("{code}000000022f610000000164{acl}{flags}")
        };
        let table = [
            (
                Request::Create(create("/a", CreateMode::Ephemeral, Acl::Open)),
                made("0000000f", world, "00000001"),
            ),
            (
                Request::Create(create("/a", CreateMode::Container, Acl::Creator)),
                made("00000013", auth, "00000004"),
            ),
            (Request::Delete { path: path(), version: 7 }, "00000002000000022f6100000007".into()),
            (Request::Exists(path()), "00000003000000022f6100".into()),
            (Request::GetData(path()), "00000004000000022f6100".into()),
            (
                Request::SetData { path: path(), data: data(), version: ANY_VERSION },
                "00000005000000022f610000000164ffffffff".into(),
            ),
            (Request::GetChildren(path()), "0000000c000000022f6100".into()),
            (Request::Sync(path()), "00000009000000022f61".into()),
            (Request::AddWatch(path()), "0000006a000000022f6100000000".into()),
            (Request::RemoveWatches(path()), "00000012000000022f6100000003".into()),
        ];
        for (request, wanted) in table {
            let packet = request.encode(1);
            let length = format!("{:08x}", packet.len() - 4);
            assert_eq!(hex(&packet), format!("{length}00000001{wanted}"), "{request:?}");
            assert_eq!(request.packet_bytes(), packet.len() - 4);
        }
    }

    #[test]
    fn a_multi_is_spelled_to_the_byte() {
        let ops = vec![
            Op::Check { path: "/a".into(), version: 3 },
            Op::Create(create("/b", CreateMode::EphemeralSequential, Acl::Open)),
            Op::SetData { path: "/c".into(), data: Bytes::new(), version: -1 },
            Op::Delete { path: "/d".into(), version: -1 },
        ];
        let wanted = [
            "00000002",
            "0000000e",
            "0000000d",
            "00ffffffff",
            "000000022f61",
            "00000003",
            "00000001",
            "00ffffffff",
            "000000022f62",
            "0000000164",
            "000000010000001f00000005776f726c6400000006616e796f6e65",
            "00000003",
            "00000005",
            "00ffffffff",
            "000000022f63",
            "00000000",
            "ffffffff",
            "00000002",
            "00ffffffff",
            "000000022f64",
            "ffffffff",
            "ffffffff",
            "01ffffffff",
        ];
        assert_eq!(hex(&Request::Multi(ops).encode(2)[4..]), wanted.concat());
    }

    #[test]
    fn what_a_session_sends_by_itself_is_spelled_to_the_byte() {
        assert_eq!(hex(&close_session(9)), "0000000800000009fffffff5");
        let digest = "0000001dfffffffc0000006400000000000000066469676573740000000375";
        assert_eq!(hex(&auth("digest", b"u:p")), format!("{digest}3a70"));
        let hello = Hello { seen: 5, timeout: 4000, session: 0x1f, password: &[7; 2] };
        let wanted = "0000001f00000000000000000000000500000fa0000000000000001f00000002070700";
        assert_eq!(hex(&hello.encode()), wanted);
        let again = set_watches(5, ["/a"].into_iter());
        let wanted = "0000002afffffff8000000690000000000000005000000000000000000000000";
        assert_eq!(again.len(), 1);
        assert_eq!(hex(&again[0]), format!("{wanted}00000001000000022f6100000000"));
    }

    #[test]
    fn many_watches_are_set_in_packets_below_128_kib() {
        let paths: Vec<String> = (0..5_000).map(|n| format!("/{n:0>99}")).collect();
        let packets = set_watches(1, paths.iter().map(String::as_str));
        assert!(packets.iter().all(|packet| packet.len() < 128 * 1024));
        let bytes: usize = packets.iter().map(|packet| packet.len() - 40).sum();
        assert_eq!(bytes, 5_000 * 104);
        assert_eq!(set_watches(1, std::iter::empty()).len(), 0);
    }
}
