//! Jute, ZooKeeper's serialisation: big-endian numbers, and lengths before buffers and vectors.
//!
//! Whatever a server sends is read within the bytes it sent: no length makes us allocate before the
//! bytes are there.

use bytes::{BufMut, Bytes, BytesMut};

/// Why bytes are not what the protocol says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end before the record does.
    #[error("{what} ends early: {needed} bytes are needed, {left} are left")]
    Truncated {
        /// Which field.
        what: &'static str,
        /// How many bytes it needs.
        needed: usize,
        /// How many are left.
        left: usize,
    },
    /// A length that no record has.
    #[error("{what} has length {length}")]
    Length {
        /// Which field.
        what: &'static str,
        /// The length found.
        length: i32,
    },
    /// A text that is no UTF-8.
    #[error("{what} is not UTF-8")]
    Text {
        /// Which field.
        what: &'static str,
    },
    /// A packet above the largest one taken.
    #[error("a packet of {length} bytes was announced, at most {limit} are taken")]
    Packet {
        /// The length announced.
        length: i32,
        /// The largest length taken.
        limit: usize,
    },
    /// A value that the protocol does not have there.
    #[error("{what} is {value}, which the protocol does not have")]
    Value {
        /// Which field.
        what: &'static str,
        /// The value found.
        value: i64,
    },
}

/// Reads records off bytes.
#[derive(Debug)]
pub(crate) struct Reader {
    bytes: Bytes,
}

impl Reader {
    /// Reads these from their start.
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self { bytes }
    }

    /// How many bytes are left.
    pub(crate) fn left(&self) -> usize {
        self.bytes.len()
    }

    fn take(&mut self, what: &'static str, needed: usize) -> Result<Bytes, DecodeError> {
        let left = self.bytes.len();
        match needed <= left {
            true => Ok(self.bytes.split_to(needed)),
            false => Err(DecodeError::Truncated { what, needed, left }),
        }
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(&self.take(what, N)?);
        Ok(array)
    }

    pub(crate) fn int(&mut self, what: &'static str) -> Result<i32, DecodeError> {
        self.array(what).map(i32::from_be_bytes)
    }

    pub(crate) fn long(&mut self, what: &'static str) -> Result<i64, DecodeError> {
        self.array(what).map(i64::from_be_bytes)
    }

    pub(crate) fn boolean(&mut self, what: &'static str) -> Result<bool, DecodeError> {
        let [byte] = self.array(what)?;
        Ok(byte != 0)
    }

    /// A buffer; one that is absent (length -1) is empty.
    pub(crate) fn buffer(&mut self, what: &'static str) -> Result<Bytes, DecodeError> {
        match self.int(what)? {
            -1 => Ok(Bytes::new()),
            length => {
                let needed =
                    usize::try_from(length).map_err(|_| DecodeError::Length { what, length })?;
                self.take(what, needed)
            }
        }
    }

    pub(crate) fn text(&mut self, what: &'static str) -> Result<String, DecodeError> {
        let bytes = self.buffer(what)?;
        std::str::from_utf8(&bytes).map(str::to_owned).map_err(|_| DecodeError::Text { what })
    }

    /// A vector of texts; one that is absent (length -1) is empty.
    pub(crate) fn texts(&mut self, what: &'static str) -> Result<Vec<String>, DecodeError> {
        let length = match self.int(what)? {
            -1 => return Ok(Vec::new()),
            length => length,
        };
        let count = usize::try_from(length).map_err(|_| DecodeError::Length { what, length })?;
        // Each takes four bytes at least, so a vector cannot be longer than that.
        let needed = count.saturating_mul(4);
        if needed > self.left() {
            return Err(DecodeError::Truncated { what, needed, left: self.left() });
        }
        (0..count).map(|_| self.text(what)).collect()
    }
}

/// Writes one packet: its length stands before it once it is finished.
#[derive(Debug)]
pub(crate) struct Writer {
    bytes: BytesMut,
}

impl Writer {
    pub(crate) fn new() -> Self {
        let mut bytes = BytesMut::with_capacity(64);
        bytes.put_i32(0);
        Self { bytes }
    }

    pub(crate) fn int(&mut self, value: i32) -> &mut Self {
        self.bytes.put_i32(value);
        self
    }

    pub(crate) fn long(&mut self, value: i64) -> &mut Self {
        self.bytes.put_i64(value);
        self
    }

    pub(crate) fn boolean(&mut self, value: bool) -> &mut Self {
        self.bytes.put_u8(u8::from(value));
        self
    }

    pub(crate) fn buffer(&mut self, value: &[u8]) -> &mut Self {
        self.length(value.len());
        self.bytes.put_slice(value);
        self
    }

    pub(crate) fn text(&mut self, value: &str) -> &mut Self {
        self.buffer(value.as_bytes())
    }

    pub(crate) fn length(&mut self, length: usize) -> &mut Self {
        self.int(i32::try_from(length).expect("a packet is below the largest one by far"))
    }

    /// The packet with its length before it.
    pub(crate) fn finish(mut self) -> Bytes {
        let length = i32::try_from(self.bytes.len() - 4).expect("a packet is below 2 GiB");
        self.bytes[..4].copy_from_slice(&length.to_be_bytes());
        self.bytes.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reader(bytes: &[u8]) -> Reader {
        Reader::new(Bytes::copy_from_slice(bytes))
    }

    #[test]
    fn lengths_that_lie_are_errors() {
        let long = reader(&[0, 0, 0, 9, 1]).buffer("data");
        assert_eq!(long, Err(DecodeError::Truncated { what: "data", needed: 9, left: 1 }));
        let negative = reader(&(-2_i32).to_be_bytes()).buffer("data");
        assert_eq!(negative, Err(DecodeError::Length { what: "data", length: -2 }));
        let negative = reader(&i32::MIN.to_be_bytes()).texts("children");
        assert_eq!(negative, Err(DecodeError::Length { what: "children", length: i32::MIN }));
        let huge = reader(&i32::MAX.to_be_bytes()).texts("children");
        assert!(matches!(huge, Err(DecodeError::Truncated { .. })), "{huge:?}");
        let text = reader(&[0, 0, 0, 1, 0xff]).text("path");
        assert_eq!(text, Err(DecodeError::Text { what: "path" }));
    }

    #[test]
    fn what_is_absent_is_empty() {
        assert_eq!(reader(&[255; 4]).buffer("data"), Ok(Bytes::new()));
        assert_eq!(reader(&[255; 4]).texts("children"), Ok(vec![]));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_written_is_read_back(int: i32, long: i64, flag: bool, text: String) {
            let mut writer = Writer::new();
            writer.int(int).long(long).boolean(flag).text(&text);
            let packet = writer.finish();
            let mut reader = Reader::new(packet.clone());
            let length = usize::try_from(reader.int("length").unwrap()).unwrap();
            prop_assert_eq!(length, packet.len() - 4);
            prop_assert_eq!(reader.int("int").unwrap(), int);
            prop_assert_eq!(reader.long("long").unwrap(), long);
            prop_assert_eq!(reader.boolean("flag").unwrap(), flag);
            prop_assert_eq!(reader.text("text").unwrap(), text);
            prop_assert_eq!(reader.left(), 0);
        }
    }
}
