//! A connection's bytes on their way: split anywhere, late, cut off in the middle.

use super::ensemble::ServerAt;
use crate::dice::Dice;
use crate::queue::HostAt;
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

/// One direction: bytes in order, and the end.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    /// When each piece arrives; no bytes are the end.
    pieces: VecDeque<(u64, Bytes)>,
    sent: u64,
    arrived: u64,
    /// Nothing more goes in.
    is_shut: bool,
}

impl Pipe {
    /// Sends bytes that arrive then; says at which instants something arrives of which nobody was
    /// told yet.
    pub(crate) fn send(&mut self, at: u64, bytes: Bytes) -> Option<u64> {
        if self.is_shut {
            return None;
        }
        self.sent += bytes.len() as u64;
        self.is_shut = bytes.is_empty();
        let last = self.pieces.back().map(|(arrives, _)| *arrives);
        let arrives = last.unwrap_or(0).max(at);
        self.pieces.push_back((arrives, bytes));
        (last != Some(arrives)).then_some(arrives)
    }

    /// What has arrived by now, as one piece; and whether the end has.
    pub(crate) fn receive(&mut self, now: u64) -> (Bytes, bool) {
        let mut all = BytesMut::new();
        let mut first = Bytes::new();
        while let Some((_, bytes)) = self.pieces.pop_front_if(|(arrives, _)| *arrives <= now) {
            self.arrived += bytes.len() as u64;
            if bytes.is_empty() {
                return (joined(first, &all), true);
            }
            match first.is_empty() && all.is_empty() {
                true => first = bytes,
                false => all.extend_from_slice(&bytes),
            }
        }
        (joined(first, &all), false)
    }

    /// Cuts it: so many of the bytes under way still arrive, and nothing after them.
    pub(crate) fn cut(&mut self, dice: &mut Dice) {
        let under_way = self.sent - self.arrived;
        let mut left = dice.below(under_way + 1);
        self.is_shut = true;
        for (_, bytes) in &mut self.pieces {
            let kept = left.min(bytes.len() as u64);
            left -= kept;
            bytes.truncate(usize::try_from(kept).unwrap_or(0));
        }
        // What is empty now would be taken for an orderly end.
        self.pieces.retain(|(_, bytes)| !bytes.is_empty());
        self.sent =
            self.arrived + self.pieces.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>();
    }

    /// How many bytes were sent in all.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }
}

fn joined(first: Bytes, rest: &BytesMut) -> Bytes {
    if rest.is_empty() {
        return first;
    }
    let mut all = BytesMut::from(&first[..]);
    all.extend_from_slice(rest);
    all.freeze()
}

/// A multi that was sent, until its connection is over.
#[derive(Debug)]
pub(crate) struct Sent {
    /// Its packet.
    pub(crate) packet: Bytes,
    /// Which transaction it was, once it is done.
    pub(crate) done: Option<i64>,
    /// Where its answer ends among the bytes sent back.
    pub(crate) answered: Option<u64>,
}

/// A connection, both ways.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) host: HostAt,
    pub(crate) server: ServerAt,
    pub(crate) up: Pipe,
    pub(crate) down: Pipe,
    /// The multis whose answers have not all arrived, in order.
    pub(crate) multis: VecDeque<Sent>,
    /// The next answer to a multi is cut off on its way.
    pub(crate) is_doomed: bool,
    /// No way leads through any more; neither end knows.
    pub(crate) is_cut: bool,
    pub(crate) client_left: bool,
    pub(crate) server_left: bool,
}

impl Line {
    pub(crate) fn new(host: HostAt, server: ServerAt) -> Self {
        Self {
            host,
            server,
            up: Pipe::default(),
            down: Pipe::default(),
            multis: VecDeque::new(),
            is_doomed: false,
            is_cut: false,
            client_left: false,
            server_left: false,
        }
    }

    /// Cuts it anywhere, both ways.
    pub(crate) fn sever(&mut self, dice: &mut Dice) {
        if !self.is_cut {
            self.is_cut = true;
            self.up.cut(dice);
            self.down.cut(dice);
        }
    }

    /// Nothing more goes in at either end; what is under way arrives.
    pub(crate) fn shut(&mut self) {
        self.is_cut = true;
        (self.up.is_shut, self.down.is_shut) = (true, true);
    }

    /// Forgets the multis whose answers have arrived.
    pub(crate) fn forget_answered(&mut self) {
        let arrived = self.down.arrived;
        let is_told = |sent: &mut Sent| sent.answered.is_some_and(|end| end <= arrived);
        while self.multis.pop_front_if(is_told).is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_in_order_and_then_the_end() {
        let mut pipe = Pipe::default();
        assert_eq!(pipe.send(5, Bytes::from("ab")), Some(5));
        assert_eq!(pipe.send(3, Bytes::from("c")), None, "nothing overtakes");
        assert_eq!(pipe.send(9, Bytes::new()), Some(9));
        assert_eq!(pipe.send(9, Bytes::from("late")), None);
        assert_eq!(pipe.receive(4), (Bytes::new(), false));
        assert_eq!(pipe.receive(5), (Bytes::from("abc"), false));
        assert_eq!(pipe.receive(9), (Bytes::new(), true));
    }

    #[test]
    fn a_cut_leaves_any_beginning_of_what_is_under_way() {
        let mut lengths = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let mut pipe = Pipe::default();
            pipe.send(1, Bytes::from("arrived"));
            pipe.receive(1);
            for piece in ["ab", "cde", "f"] {
                pipe.send(2, Bytes::from(piece));
            }
            pipe.cut(&mut Dice::new(seed));
            assert_eq!(pipe.send(2, Bytes::from("more")), None);
            let (left, is_end) = pipe.receive(2);
            assert!(b"abcdef".starts_with(&left) && !is_end);
            lengths.insert(left.len());
        }
        assert_eq!(lengths.len(), 7);
    }
}
