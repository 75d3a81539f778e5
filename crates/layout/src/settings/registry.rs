//! A registry's address.

use flockwork_core::config::{Code, Problem, duration};
use flockwork_registry::{Address, AddressError};
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
    /// Its servers, and the path under which all is kept.
    pub address: Address,
    /// Whether it names a session time-out, which then counts instead of the setting.
    pub names_timeout: bool,
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)?;
        match self.names_timeout {
            true => {
                let timeout = duration::format(self.address.session_timeout);
                write!(f, "?session_timeout={timeout}")
            }
            false => Ok(()),
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
            Self::ZooKeeper(cluster) | Self::Etcd(cluster) => cluster.fmt(f),
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
        Some(("zookeeper", _)) => cluster("zookeeper", text).map(RegistryUrl::ZooKeeper),
        Some(("etcd", _)) => cluster("etcd", text).map(RegistryUrl::Etcd),
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

fn cluster(scheme: &'static str, text: &str) -> Result<Cluster, Problem> {
    let address = Address::parse(scheme, text).map_err(|error| match error {
        AddressError::Secret => bad("", "it holds credentials"),
        AddressError::Form { why, .. } => bad(text, why),
    })?;
    // The one option there is.
    let names_timeout = text.split_once('?').is_some_and(|(_, options)| !options.is_empty());
    match SESSION_TIMEOUTS.contains(&address.session_timeout) {
        true => Ok(Cluster { address, names_timeout }),
        false => Err(bad(text, "session_timeout is not 2s to 10m")),
    }
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
