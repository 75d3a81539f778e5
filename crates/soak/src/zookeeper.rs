//! A ZooKeeper server as a registry: killed, stopped, and reached by each node through a proxy of its
//! own. What it committed is read from its transaction log.

mod jute;
pub mod log;
mod proxy;
mod replay;
mod server;
mod wire;

use crate::history::History;
use crate::registry::{Begun, Registry, Trouble};
use anyhow::{Context, Result, ensure};
use flockwork_checker::trace::Unseen;
use proxy::{Proxy, Way};
use replay::Demands;
use server::Server;
use std::path::Path;
use std::time::Duration;

/// Below which the nodes' keys lie.
const ROOT: &str = "/soak";

/// A server, and a way to it for each node.
#[derive(Debug)]
pub struct ZooKeeper {
    server: Server,
    proxies: Vec<Proxy>,
    session: Duration,
}

impl ZooKeeper {
    /// Starts one on free ports of this host.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn start(at: &Path, nodes: u32, session: Duration) -> Result<Self> {
        let server = Server::start(&at.join("zookeeper"))?;
        let proxies = (0..nodes).map(|_| Proxy::before(server.address()));
        let proxies = proxies.collect::<Result<_>>()?;
        Ok(Self { server, proxies, session })
    }

    /// Where the server itself listens.
    #[must_use]
    pub fn address(&self) -> std::net::SocketAddr {
        self.server.address()
    }

    fn proxy(&self, node: u32) -> &Proxy {
        let at = usize::try_from(node).unwrap_or(0).saturating_sub(1);
        &self.proxies[at.min(self.proxies.len() - 1)]
    }

    /// What passed on all ways, joined.
    fn seen(&self) -> (Demands, History, usize) {
        let (mut demands, mut history, mut unread) = (Demands::new(), History::default(), 0);
        for proxy in &self.proxies {
            let seen = proxy.take_seen();
            for (request, demanded) in seen.demands {
                demands.entry(request).or_default().extend(demanded);
            }
            history.proofs.extend(seen.proofs);
            unread += seen.unread;
        }
        (demands, history, unread)
    }
}

impl Registry for ZooKeeper {
    fn name(&self) -> &'static str {
        "zookeeper"
    }

    fn flags(&self, node: u32) -> Vec<String> {
        let address = self.proxy(node).address();
        let millis = self.session.as_millis();
        let url = format!("zookeeper://{address}{ROOT}?session_timeout={millis}ms");
        vec!["--registry".to_owned(), url]
    }

    fn troubles(&self) -> &'static [Trouble] {
        &[Trouble::Killed, Trouble::Still, Trouble::Cut, Trouble::NoRequests, Trouble::NoAnswers]
    }

    fn trouble(&mut self, trouble: Trouble, node: u32) -> Result<Begun> {
        Ok(match trouble {
            Trouble::Killed => Begun { in_flight: 0, proof: self.server.kill()? },
            Trouble::Still => Begun { in_flight: 0, proof: self.server.stop()? },
            Trouble::Cut => {
                let (connections, in_flight) = self.proxy(node).cut();
                ensure!(connections > 0, "node {node} had no connection to cut");
                let proof = format!("{connections} connections dropped");
                Begun { in_flight: u32::try_from(in_flight)?, proof }
            }
            Trouble::NoRequests | Trouble::NoAnswers => {
                let in_flight = self.proxy(node).hold(way(trouble));
                let proof = format!("held up, {in_flight} requests under way");
                Begun { in_flight: u32::try_from(in_flight)?, proof }
            }
        })
    }

    fn relieve(&mut self, trouble: Trouble, node: u32) -> Result<String> {
        match trouble {
            Trouble::Killed => self.server.run()?,
            Trouble::Still => self.server.go_on()?,
            Trouble::Cut => {
                let refused = self.proxy(node).open();
                return Ok(format!("{refused} more refused"));
            }
            Trouble::NoRequests | Trouble::NoAnswers => {
                let waited = self.proxy(node).let_pass();
                ensure!(waited > 0, "nothing of node {node} was held up");
                return Ok(format!("{waited} packets waited"));
            }
        }
        Ok("it serves again".to_owned())
    }

    fn history(&mut self) -> Result<History> {
        // Its log is written to the end of what it acknowledged, however it ends.
        self.server.kill()?;
        let log = log::read_all(&self.server.log_directory()).context("the transaction log")?;
        let (demands, mut history, unread) = self.seen();
        let replayed = replay::replay(&log, ROOT, &demands);
        history.commits = replayed.commits;
        history.proofs.sort_by_key(|proof| proof.at);
        if replayed.unseen_requests > 0 || unread > 0 {
            history.unseen.push(Unseen::Guards);
        }
        Ok(history)
    }

    fn mortal_keys(&mut self) -> Result<usize> {
        let text = self.server.says("mntr");
        let count = text.lines().find_map(|line| line.strip_prefix("zk_ephemerals_count"));
        Ok(count.context("the server does not say how many ephemerals it has")?.trim().parse()?)
    }
}

fn way(trouble: Trouble) -> Way {
    if trouble == Trouble::NoRequests { Way::Up } else { Way::Down }
}
