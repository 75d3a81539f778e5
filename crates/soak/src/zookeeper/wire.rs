//! What passes between a node and its server: requests, for what they demand, and answers, for what
//! they prove.

use super::jute::Jute;
use super::replay::{Demand, Demands};
use crate::clock::wall_millis;
use crate::history::Proof;
use anyhow::{Result, ensure};
use std::collections::HashMap;

/// Proofs of one session closer together than this are taken for one: milliseconds.
const APART: i64 = 100;

const MULTI: i32 = 14;

/// All that was seen on all connections of one node.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) demands: Demands,
    pub(crate) proofs: Vec<Proof>,
    /// Packets that could not be read.
    pub(crate) unread: usize,
}

/// One connection.
#[derive(Debug, Default)]
pub(crate) struct Talk {
    session: u64,
    timeout: i64,
    /// When the requests without answers passed.
    sent: HashMap<i32, i64>,
    greeting_sent: i64,
    is_greeted: bool,
    is_answered: bool,
    proven: i64,
}

impl Talk {
    /// How many requests have no answer yet.
    pub(crate) fn in_flight(&self) -> usize {
        self.sent.len()
    }

    /// A packet on its way to the server.
    pub(crate) fn up(&mut self, packet: &[u8], seen: &mut Seen) {
        if !std::mem::replace(&mut self.is_greeted, true) {
            self.greeting_sent = wall_millis();
            return;
        }
        if self.request(packet, seen).is_err() {
            seen.unread += 1;
        }
    }

    fn request(&mut self, packet: &[u8], seen: &mut Seen) -> Result<()> {
        let mut jute = Jute(packet);
        let (xid, kind) = (jute.int()?, jute.int()?);
        let sent = wall_millis();
        self.sent.insert(xid, sent);
        if kind == MULTI {
            let versions = demanded(&mut jute)?;
            let demand = Demand { sent, versions };
            seen.demands.entry((self.session, xid)).or_default().push(demand);
        }
        Ok(())
    }

    /// A packet on its way to the node.
    pub(crate) fn down(&mut self, packet: &[u8], seen: &mut Seen) {
        let answered = match std::mem::replace(&mut self.is_answered, true) {
            false => self.welcome(packet),
            true => Jute(packet).int().map(|xid| self.sent.remove(&xid)),
        };
        match answered {
            Ok(Some(sent)) if self.session != 0 => self.prove(sent, seen),
            Ok(_) => {}
            Err(_) => seen.unread += 1,
        }
    }

    fn welcome(&mut self, packet: &[u8]) -> Result<Option<i64>> {
        let mut jute = Jute(packet);
        jute.int()?;
        self.timeout = i64::from(jute.int()?);
        self.session = jute.long()?.cast_unsigned();
        // A session that has ended is answered with no time at all.
        Ok((self.timeout > 0).then_some(self.greeting_sent))
    }

    /// The server had heard of the session when it answered, which was after the request passed.
    fn prove(&mut self, sent: i64, seen: &mut Seen) {
        let at = wall_millis();
        if at - self.proven >= APART {
            self.proven = at;
            let until = sent + self.timeout + APART;
            seen.proofs.push(Proof { at, session: self.session, until });
        }
    }
}

/// Which version each change of a multi demands of its path.
fn demanded(jute: &mut Jute<'_>) -> Result<Vec<(String, i32)>> {
    let mut demanded = Vec::new();
    loop {
        let (kind, is_done) = (jute.int()?, jute.truth()?);
        jute.int()?;
        if is_done {
            return Ok(demanded);
        }
        match kind {
            // Create, and what answers with a stat, or is a container.
            1 | 15 | 19 => {
                jute.text()?;
                jute.buffer()?;
                jute.skip_acl()?;
                jute.int()?;
            }
            2 => demanded.push((jute.text()?, jute.int()?)),
            5 => {
                let path = jute.text()?;
                jute.buffer()?;
                demanded.push((path, jute.int()?));
            }
            13 => {
                jute.text()?;
                jute.int()?;
            }
            other => ensure!(false, "an operation of kind {other} in a multi"),
        }
    }
}
