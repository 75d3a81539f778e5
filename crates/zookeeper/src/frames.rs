//! Packets out of a stream of bytes.

use crate::jute::DecodeError;
use bytes::{Buf, Bytes, BytesMut};

/// The largest packet taken from a server, in bytes: a list of two million children. What arrives
/// is kept as it arrives, so that a length alone costs nothing.
pub(crate) const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// What has arrived and is no whole packet yet.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    bytes: BytesMut,
}

impl Frames {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole packet, without its length.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, DecodeError> {
        let Some(start) = self.bytes.first_chunk::<4>() else { return Ok(None) };
        let length = i32::from_be_bytes(*start);
        let refused = DecodeError::Packet { length, limit: MAX_ANSWER };
        let size = usize::try_from(length).map_err(|_| refused.clone())?;
        if size > MAX_ANSWER {
            return Err(refused);
        }
        if self.bytes.len() < 4 + size {
            return Ok(None);
        }
        self.bytes.advance(4);
        Ok(Some(self.bytes.split_to(size).freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_length_that_cannot_be_is_an_error_at_once() {
        for length in [-1, i32::MIN, i32::MAX, 64 * 1024 * 1024 + 1] {
            let mut frames = Frames::default();
            frames.push(&length.to_be_bytes());
            let refused = DecodeError::Packet { length, limit: MAX_ANSWER };
            assert_eq!(frames.next(), Err(refused));
            assert!(frames.bytes.capacity() < 1024);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn packets_are_the_same_however_they_arrive(
            packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..9),
            piece in 1_usize..30,
        ) {
            let mut stream = Vec::new();
            for packet in &packets {
                stream.extend_from_slice(&u32::try_from(packet.len()).unwrap().to_be_bytes());
                stream.extend_from_slice(packet);
            }
            let (mut frames, mut found) = (Frames::default(), Vec::new());
            for piece in stream.chunks(piece) {
                frames.push(piece);
                while let Some(packet) = frames.next().unwrap() {
                    found.push(packet.to_vec());
                }
            }
            prop_assert_eq!(found, packets);
        }
    }
}
