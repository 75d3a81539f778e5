//! An etcd server as a registry: killed and stopped. What it committed is read from its own revisions,
//! which it keeps as long as nobody has it compact them; when, by looks at it all the while.

mod looks;
mod revisions;
mod server;

use crate::clock::wall_millis;
use crate::history::History;
use crate::registry::{Begun, Registry, Trouble};
use anyhow::{Context, Result, bail};
use flockwork_checker::trace::Unseen;
use looks::Looks;
use server::Server;
use std::path::Path;
use std::time::Duration;

/// Below which the nodes' keys lie.
const ROOT: &str = "/soak";

/// How long after the kernel has said that it stands still another thread of it may still be on its
/// way out of a system call: milliseconds, a hundred times what it takes.
const SETTLES: i64 = 10;

/// A server.
#[derive(Debug)]
pub struct Etcd {
    server: Server,
    session: Duration,
    began: i64,
    looks: Option<Looks>,
    /// Since when it is gone, or stands still.
    still_since: Option<i64>,
    still: Vec<(i64, i64)>,
}

impl Etcd {
    /// Starts one on free ports of this host.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn start(at: &Path, session: Duration) -> Result<Self> {
        let began = wall_millis();
        let server = Server::start(&at.join("etcd"))?;
        let looks = Some(Looks::begin(server.address()));
        Ok(Self { server, session, began, looks, still_since: None, still: Vec::new() })
    }
}

impl Registry for Etcd {
    fn name(&self) -> &'static str {
        "etcd"
    }

    fn flags(&self, _: u32) -> Vec<String> {
        let (address, millis) = (self.server.address(), self.session.as_millis());
        let url = format!("etcd://{address}{ROOT}?session_timeout={millis}ms");
        vec!["--registry".to_owned(), url]
    }

    fn troubles(&self) -> &'static [Trouble] {
        &[Trouble::Killed, Trouble::Still]
    }

    fn trouble(&mut self, trouble: Trouble, _: u32) -> Result<Begun> {
        let (proof, settles) = match trouble {
            Trouble::Killed => (self.server.kill()?, 0),
            Trouble::Still => (self.server.stop()?, SETTLES),
            _ => bail!("the ways to the server cannot be troubled"),
        };
        self.still_since = Some(wall_millis() + settles);
        Ok(Begun { in_flight: 0, proof })
    }

    fn relieve(&mut self, trouble: Trouble, _: u32) -> Result<String> {
        self.still.extend(self.still_since.take().map(|since| (since, wall_millis())));
        match trouble {
            Trouble::Killed => self.server.run()?,
            _ => self.server.go_on()?,
        }
        Ok("it serves again".to_owned())
    }

    fn history(&mut self) -> Result<History> {
        let seen = self.looks.take().context("it is asked once")?.end()?;
        let over = wall_millis();
        let newest = seen.newest().context("nobody looked")?;
        let changes = self.server.changes(newest)?;
        let commits = revisions::replay(&changes, ROOT, &seen, (self.began, over))?;
        let still = std::mem::take(&mut self.still);
        let unseen = vec![Unseen::Guards, Unseen::Trust];
        Ok(History { commits, still, unseen, ..History::default() })
    }

    /// All that has a lease, the sessions' own marks included.
    fn mortal_keys(&mut self) -> Result<usize> {
        let all = self.server.ask(&["get", "", "--prefix"])?;
        let entries = all["kvs"].as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(entries.iter().filter(|entry| entry["lease"].as_i64().unwrap_or(0) != 0).count())
    }
}
