//! What a server sends.

use crate::Code;
use crate::jute::{DecodeError, Reader};
use crate::request::{Request, opcode};
use bytes::Bytes;

/// The state of a node (`Stat`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// The transaction that made it.
    pub czxid: i64,
    /// The transaction that last gave it data.
    pub mzxid: i64,
    /// When it was last given data, by the clock of the server that led then: milliseconds since
    /// 1970-01-01T00:00:00Z.
    pub mtime: i64,
    /// How often it was given data.
    pub version: i32,
    /// How often its children changed.
    pub cversion: i32,
    /// The session it lives with; 0 for none, and other marks for containers and TTL nodes.
    pub ephemeral_owner: i64,
    /// How many bytes it holds.
    pub data_length: i32,
    /// How many children it has.
    pub num_children: i32,
}

/// What `ephemeral_owner` holds for a container (`EphemeralType.CONTAINER_EPHEMERAL_OWNER`).
const CONTAINER: i64 = i64::MIN;

/// Its highest byte for a TTL node (`EphemeralType.EXTENDED_MASK`); no server has this id then.
const EXTENDED: u8 = 0xff;

impl Stat {
    /// The session it lives with, if any.
    #[must_use]
    pub fn session(&self) -> Option<i64> {
        let extended = self.ephemeral_owner.to_be_bytes()[0] == EXTENDED;
        let owner = self.ephemeral_owner;
        (owner != 0 && owner != CONTAINER && !extended).then_some(owner)
    }

    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        let (czxid, mzxid) = (from.long("czxid")?, from.long("mzxid")?);
        let (_ctime, mtime) = (from.long("ctime")?, from.long("mtime")?);
        let (version, cversion) = (from.int("version")?, from.int("cversion")?);
        let _aversion = from.int("aversion")?;
        let ephemeral_owner = from.long("ephemeralOwner")?;
        let (data_length, num_children) = (from.int("dataLength")?, from.int("numChildren")?);
        let _pzxid = from.long("pzxid")?;
        Ok(Self {
            czxid,
            mzxid,
            mtime,
            version,
            cversion,
            ephemeral_owner,
            data_length,
            num_children,
        })
    }
}

/// The result of one operation of a multi.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpResult {
    /// It was done.
    Done,
    /// A node was given data; its state.
    Set(Stat),
    /// A node was made; its whole path.
    Created(String),
    /// The multi was refused; [`Code::RUNTIME_INCONSISTENCY`] where another operation is why, and
    /// code 0 before that one.
    Refused(Code),
}

/// A successful reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It was done.
    Done,
    /// A node was made; its whole path.
    Created(String),
    /// The state of a node.
    Stat(Stat),
    /// A node's data and state.
    Data(Bytes, Stat),
    /// The names of its children in no order, and its state.
    Children(Vec<String>, Stat),
    /// The results of a multi's operations, in their order.
    Multi(Vec<OpResult>),
}

/// What a reply to a request holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Nothing,
    Created,
    Stat,
    Data,
    Children,
    Multi,
}

impl Form {
    pub(crate) fn of(request: &Request) -> Self {
        match request {
            Request::Create(_) => Self::Created,
            Request::Exists(_) | Request::SetData { .. } => Self::Stat,
            Request::GetData(_) => Self::Data,
            Request::GetChildren(_) => Self::Children,
            Request::Multi(_) => Self::Multi,
            Request::Delete { .. }
            | Request::Sync(_)
            | Request::AddWatch(_)
            | Request::RemoveWatches(_) => Self::Nothing,
        }
    }

    pub(crate) fn decode(self, from: &mut Reader) -> Result<Reply, DecodeError> {
        Ok(match self {
            // `addWatch` and `sync` send a record that says nothing.
            Self::Nothing => Reply::Done,
            Self::Created => Reply::Created(from.text("path")?),
            Self::Stat => Reply::Stat(Stat::decode(from)?),
            Self::Data => Reply::Data(from.buffer("data")?, Stat::decode(from)?),
            Self::Children => Reply::Children(from.texts("children")?, Stat::decode(from)?),
            Self::Multi => Reply::Multi(multi(from)?),
        })
    }
}

fn multi(from: &mut Reader) -> Result<Vec<OpResult>, DecodeError> {
    let mut results = Vec::new();
    // Each turn takes nine bytes at least, so the packet bounds them.
    loop {
        let (code, done) = (from.int("operation")?, from.boolean("done")?);
        let _err = from.int("err")?;
        if done {
            return Ok(results);
        }
        results.push(match code {
            opcode::CREATE => OpResult::Created(from.text("path")?),
            opcode::CREATE2 | opcode::CREATE_CONTAINER | opcode::CREATE_TTL => {
                let path = from.text("path")?;
                Stat::decode(from)?;
                OpResult::Created(path)
            }
            opcode::SET_DATA => OpResult::Set(Stat::decode(from)?),
            opcode::DELETE | opcode::CHECK => OpResult::Done,
            opcode::ERROR => OpResult::Refused(Code(from.int("error")?)),
            other => {
                return Err(DecodeError::Value { what: "operation", value: i64::from(other) });
            }
        });
    }
}

/// What stands before each packet a server sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) xid: i32,
    /// The last transaction this server knows of; not positive where it says nothing.
    pub(crate) zxid: i64,
    pub(crate) code: Code,
}

impl Header {
    pub(crate) fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        let (xid, zxid) = (from.int("xid")?, from.long("zxid")?);
        Ok(Self { xid, zxid, code: Code(from.int("err")?) })
    }
}

/// The answer to a connection's first packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Welcome {
    /// Milliseconds; not positive if the session has ended.
    pub(crate) timeout: i32,
    pub(crate) session: i64,
    pub(crate) password: Bytes,
}

impl Welcome {
    pub(crate) fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        let _version = from.int("protocolVersion")?;
        let (timeout, session) = (from.int("timeOut")?, from.long("sessionId")?);
        // A last byte tells whether the server is read-only, which only who asked for one meets.
        Ok(Self { timeout, session, password: from.buffer("passwd")? })
    }
}

/// What happened to a watched node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was made.
    Created,
    /// It was deleted.
    Deleted,
    /// It was given data.
    Data,
    /// A child was made or deleted.
    Children,
}

/// Reads a notification; `None` for kinds that say nothing of a node.
pub(crate) fn notification(from: &mut Reader) -> Result<Option<(Change, String)>, DecodeError> {
    let (kind, _state) = (from.int("type")?, from.int("state")?);
    let path = from.text("path")?;
    let change = match kind {
        1 => Change::Created,
        2 => Change::Deleted,
        3 => Change::Data,
        4 => Change::Children,
        // -1: the state of the connection; 5 to 7: a watch was taken away, which was asked for.
        -1 | 5..=7 => return Ok(None),
        other => return Err(DecodeError::Value { what: "event", value: i64::from(other) }),
    };
    Ok(Some((change, path)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(hex: &str) -> Bytes {
        let digits: Vec<char> = hex.chars().filter(|c| !c.is_whitespace()).collect();
        let byte = |pair: &[char]| u8::from_str_radix(&String::from_iter(pair), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }

    const STAT: &str = "0000000000000011 0000000000000012 0000000000000001 0000000000000002
        00000003 00000004 00000005 0100000000000006 00000007 00000008 0000000000000013";

    fn stat() -> Stat {
        Stat {
            czxid: 0x11,
            mzxid: 0x12,
            mtime: 2,
            version: 3,
            cversion: 4,
            ephemeral_owner: 0x0100_0000_0000_0006,
            data_length: 7,
            num_children: 8,
        }
    }

    #[test]
    fn replies_are_read_to_the_byte() {
        let table = [
            (Form::Created, format!("000000022f61 {STAT}"), Reply::Created("/a".into())),
            (Form::Stat, STAT.to_owned(), Reply::Stat(stat())),
            (Form::Data, format!("0000000164 {STAT}"), Reply::Data(Bytes::from("d"), stat())),
            (
                Form::Children,
                format!("00000002 0000000162 0000000161 {STAT}"),
                Reply::Children(vec!["b".into(), "a".into()], stat()),
            ),
            (Form::Nothing, "00000000".to_owned(), Reply::Done),
        ];
        for (form, hex, wanted) in table {
            assert_eq!(form.decode(&mut Reader::new(bytes(&hex))), Ok(wanted));
        }
    }

    #[test]
    fn results_of_a_multi_are_read_to_the_byte() {
        let hex = format!(
            "0000000d 00 00000000
             00000001 00 00000000 000000022f61
             00000013 00 00000000 000000022f62 {STAT}
             00000005 00 00000000 {STAT}
             00000002 00 00000000
             ffffffff 00 ffffff99 ffffff99
             ffffffff 01 ffffffff"
        );
        let done = || OpResult::Done;
        let wanted = vec![
            done(),
            OpResult::Created("/a".into()),
            OpResult::Created("/b".into()),
            OpResult::Set(stat()),
            done(),
            OpResult::Refused(Code::BAD_VERSION),
        ];
        assert_eq!(Form::Multi.decode(&mut Reader::new(bytes(&hex))), Ok(Reply::Multi(wanted)));
        let unknown = bytes("00000063 00 00000000");
        let refused = Form::Multi.decode(&mut Reader::new(unknown));
        assert_eq!(refused, Err(DecodeError::Value { what: "operation", value: 0x63 }));
    }

    #[test]
    fn a_welcome_and_a_notification_are_read_to_the_byte() {
        let hex = "00000000 00000fa0 000000000000001f 00000002 0707 00";
        let welcome = Welcome { timeout: 4000, session: 0x1f, password: bytes("0707") };
        assert_eq!(Welcome::decode(&mut Reader::new(bytes(hex))), Ok(welcome));
        let told =
            |kind| notification(&mut Reader::new(bytes(&format!("{kind} 00000003 000000022f61"))));
        assert_eq!(told("00000002"), Ok(Some((Change::Deleted, "/a".into()))));
        assert_eq!(told("ffffffff"), Ok(None));
        assert!(told("00000063").is_err());
    }

    #[test]
    fn containers_and_ttl_nodes_live_with_no_session() {
        let of = |ephemeral_owner| Stat { ephemeral_owner, ..Stat::default() }.session();
        assert_eq!(of(0), None);
        assert_eq!(of(i64::MIN), None);
        assert_eq!(of(-2), None);
        assert_eq!(of(0x0100_0000_0000_0006), Some(0x0100_0000_0000_0006));
        assert_eq!(of(i64::MIN + 5), Some(i64::MIN + 5));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_bytes_make_a_reader_panic(bytes: Vec<u8>) {
            let bytes = Bytes::from(bytes);
            let reader = || Reader::new(bytes.clone());
            for form in [Form::Created, Form::Stat, Form::Data, Form::Children, Form::Multi] {
                drop(form.decode(&mut reader()));
            }
            drop(Header::decode(&mut reader()));
            drop(Welcome::decode(&mut reader()));
            drop(notification(&mut reader()));
        }

        #[test]
        fn what_is_cut_short_is_an_error(cut in 0_usize..150) {
            let hex = format!("00000002 0000000162 0000000161 {STAT}");
            let whole = bytes(&hex);
            prop_assume!(cut < whole.len());
            let short = Form::Children.decode(&mut Reader::new(whole.slice(..cut)));
            prop_assert!(matches!(short, Err(DecodeError::Truncated { .. })), "{:?}", short);
        }
    }
}
