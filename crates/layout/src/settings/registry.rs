//! A registry's address.

use flockwork_core::config::{Code, Problem, duration};
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

/// Where the registry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistryUrl {
    /// In this process.
    Memory,
    /// On this host, in a directory; in the data directory if none is named.
    Embedded(Option<String>),
    /// A ZooKeeper ensemble.
    ZooKeeper(Cluster),
    /// An etcd cluster.
    Etcd(Cluster),
}

/// Where on a network a registry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Its servers, each with its port.
    pub servers: Vec<Server>,
    /// The path under which all is kept, without leading slash; empty for the root.
    pub root: String,
    /// The session time-out that the address asks for.
    pub session_timeout: Option<Duration>,
}

/// A server of a registry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Server {
    /// A name or an address; an IPv6 address without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<String> = self.servers.iter().map(Server::to_string).collect();
        f.write_str(&servers.join(","))?;
        if !self.root.is_empty() {
            write!(f, "/{}", self.root)?;
        }
        match self.session_timeout {
            Some(timeout) => write!(f, "?session_timeout={}", duration::format(timeout)),
            None => Ok(()),
        }
    }
}

impl fmt::Display for RegistryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory:"),
            Self::Embedded(directory) => {
                write!(f, "embedded:{}", directory.as_deref().unwrap_or(""))
            }
            Self::ZooKeeper(cluster) => write!(f, "zookeeper://{cluster}"),
            Self::Etcd(cluster) => write!(f, "etcd://{cluster}"),
        }
    }
}

/// As the setting `session_timeout`.
const SESSION_TIMEOUTS: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(2)..=Duration::from_secs(600);

const EXAMPLE: &str =
    "write memory:, embedded:DIR, zookeeper://host:2181,host:2181 or etcd://host:2379";

/// Reads `memory:`, `embedded:DIR`, `zookeeper://HOST:PORT,.../ROOT?session_timeout=4s` or the same
/// with `etcd://`.
///
/// # Errors
/// `REGISTRY_ADDR` with an example; `SECRET_LITERAL` for a password, which is not shown.
pub fn parse_registry_url(text: &str) -> Result<RegistryUrl, Problem> {
    if text.contains('@') {
        let problem =
            Problem::error(Code::SecretLiteral, "", "a registry's address holds credentials");
        return Err(
            problem.with_hint("addresses are shown and logged: leave user and password out")
        );
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) && !text.starts_with("embedded:") {
        return Err(bad(text, "white space stands in it"));
    }
    match text.split_once(':') {
        Some(("memory", "")) => Ok(RegistryUrl::Memory),
        Some(("embedded", directory)) => embedded(text, directory),
        Some(("zookeeper", rest)) => cluster(text, rest).map(RegistryUrl::ZooKeeper),
        Some(("etcd", rest)) => cluster(text, rest).map(RegistryUrl::Etcd),
        _ => Err(bad(text, "not a kind of registry")),
    }
}

fn bad(text: &str, why: &str) -> Problem {
    let message = format!("not a registry's address: {why}");
    Problem::error(Code::RegistryAddr, "", message).with_value(text).with_hint(EXAMPLE)
}

fn embedded(text: &str, directory: &str) -> Result<RegistryUrl, Problem> {
    if directory.contains('\0') || directory.starts_with("//") {
        return Err(bad(text, "not a directory"));
    }
    Ok(RegistryUrl::Embedded(Some(directory.to_owned()).filter(|text| !text.is_empty())))
}

fn cluster(text: &str, rest: &str) -> Result<Cluster, Problem> {
    let rest = rest.strip_prefix("//").ok_or_else(|| bad(text, "// is missing"))?;
    let (rest, query) =
        rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
    let (list, root) = rest.split_once('/').unwrap_or((rest, ""));
    let root_stands = root.is_empty() || crate::keys::Namespace::new(root).is_ok();
    if !root_stands {
        return Err(bad(text, "its path has an empty or relative part"));
    }
    let session_timeout = query.map(|query| session_timeout(text, query)).transpose()?;
    let (servers, root) = (servers(text, list)?, root.to_owned());
    Ok(Cluster { servers, root, session_timeout })
}

fn session_timeout(text: &str, query: &str) -> Result<Duration, Problem> {
    let value = query
        .strip_prefix("session_timeout=")
        .ok_or_else(|| bad(text, "the one option is session_timeout"))?;
    let timeout = duration::parse(value).map_err(|_| bad(text, "session_timeout is no time"))?;
    match SESSION_TIMEOUTS.contains(&timeout) {
        true => Ok(timeout),
        false => Err(bad(text, "session_timeout is not 2s to 10m")),
    }
}

fn servers(text: &str, list: &str) -> Result<Vec<Server>, Problem> {
    let servers: Vec<Server> =
        list.split(',').map(|one| server(text, one)).collect::<Result<_, _>>()?;
    let distinct: BTreeSet<&Server> = servers.iter().collect();
    if distinct.len() < servers.len() {
        return Err(bad(text, "a server stands in it twice"));
    }
    Ok(servers)
}

fn server(text: &str, one: &str) -> Result<Server, Problem> {
    let bracketed = one.strip_prefix('[').and_then(|rest| rest.split_once("]:"));
    let (host, port) = match bracketed {
        Some((host, port)) if host.parse::<std::net::Ipv6Addr>().is_ok() => (host, port),
        Some(_) => return Err(bad(text, "not an IPv6 address between brackets")),
        None => one.split_once(':').ok_or_else(|| bad(text, "a server has no port"))?,
    };
    if port.contains(':') {
        return Err(bad(text, "a server has two ports; an IPv6 address stands between brackets"));
    }
    let letters = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    if host.is_empty() || (bracketed.is_none() && !host.chars().all(letters)) {
        return Err(bad(text, "a server has no name"));
    }
    let number =
        port.bytes().all(|b| b.is_ascii_digit()).then(|| port.parse::<u16>().ok()).flatten();
    let port =
        number.filter(|port| *port > 0).ok_or_else(|| bad(text, "a port is not 1 to 65535"))?;
    Ok(Server { host: host.to_lowercase(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_it_was_read() {
        for text in [
            "memory:",
            "embedded:",
            "embedded:./my data",
            "zookeeper://a:2181,b:2181,[::1]:2181/apps/jobs",
            "zookeeper://10.0.0.1:2181",
            "zookeeper://a:2181?session_timeout=4s",
            "zookeeper://a:2181/jobs?session_timeout=2m",
            "etcd://etcd-0:2379",
            "etcd://a:2379,b:2379/apps?session_timeout=10s",
        ] {
            assert_eq!(parse_registry_url(text).map(|url| url.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn other_addresses_are_refused_with_an_example() {
        for text in [
            "",
            "x",
            "localhost:2181/ns/../x",
            "zk://",
            "zookeeper:",
            "zookeeper://",
            "zookeeper://a",
            "zookeeper://a:2181,",
            "zookeeper://a:2181,A:2181",
            "zookeeper://a :2181",
            "zookeeper://a:2181:2181",
            "zookeeper://::1:2181",
            "zookeeper://[::1]",
            "zookeeper://a:0",
            "zookeeper://a:65536",
            "zookeeper://a:+1",
            "zookeeper://a:2181/ns/../x",
            "zookeeper://a:1//x",
            "zookeeper://a:1?x=1",
            "zookeeper://a:1?session_timeout=1s",
            "zookeeper://a:1?session_timeout=soon",
            "etcd://a:2379/../x",
            "memory:x",
            "embedded://x",
        ] {
            let problem = parse_registry_url(text).expect_err(text);
            assert_eq!(
                (problem.code, problem.hint.as_deref()),
                (Code::RegistryAddr, Some(EXAMPLE)),
                "{text}"
            );
        }
    }

    #[test]
    fn a_password_in_an_address_is_refused_and_not_shown() {
        let problem = parse_registry_url("zookeeper://admin:hunter2@a:2181").unwrap_err();
        assert_eq!(problem.code, Code::SecretLiteral);
        assert!(!problem.to_string().contains("hunter2"));
    }
}
