//! An etcd server as a registry: killed and stopped.

mod server;

use crate::history::History;
use crate::registry::{Begun, Registry, Trouble};
use anyhow::{Result, bail};
use server::Server;
use std::path::Path;
use std::time::Duration;

/// Below which the nodes' keys lie.
const ROOT: &str = "/soak";

/// A server.
#[derive(Debug)]
pub struct Etcd {
    server: Server,
    session: Duration,
}

impl Etcd {
    /// Starts one on free ports of this host.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn start(at: &Path, session: Duration) -> Result<Self> {
        Ok(Self { server: Server::start(&at.join("etcd"))?, session })
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
        let proof = match trouble {
            Trouble::Killed => self.server.kill()?,
            Trouble::Still => self.server.stop()?,
            _ => bail!("the ways to the server cannot be troubled"),
        };
        Ok(Begun { in_flight: 0, proof })
    }

    fn relieve(&mut self, trouble: Trouble, _: u32) -> Result<String> {
        match trouble {
            Trouble::Killed => self.server.run()?,
            _ => self.server.go_on()?,
        }
        Ok("it serves again".to_owned())
    }

    fn history(&mut self) -> Result<History> {
        bail!("etcd's revisions have no dates: what it committed cannot be judged");
    }

    /// All that has a lease, the sessions' own marks included.
    fn mortal_keys(&mut self) -> Result<usize> {
        let all = self.server.ask(&["get", "", "--prefix"])?;
        let entries = all["kvs"].as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(entries.iter().filter(|entry| entry["lease"].as_i64().unwrap_or(0) != 0).count())
    }
}
