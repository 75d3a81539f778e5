//! Where the servers of a registry are: `SCHEME://h1:2181,h2:2181/root?session_timeout=4s`.

use crate::Key;
use std::fmt;
use std::time::Duration;

/// The longest root, so that what a commit takes in a packet is known: see the registries' `LIMITS`.
const ROOT_BYTES: usize = 256;

/// Shorter time-outs no server grants.
const SHORTEST: Duration = Duration::from_millis(200);

/// Longer ones leave a dead node's work waiting.
const LONGEST: Duration = Duration::from_secs(600);

/// Where a registry on a network is. It holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// What kind it is: `zookeeper`, `etcd`.
    pub scheme: &'static str,
    /// `host:port` of each server; an IPv6 address between brackets.
    pub servers: Vec<String>,
    /// The path all keys lie below: `/a/b`, or empty for none.
    pub root: String,
    /// The session time-out asked for; the servers have the last word.
    pub session_timeout: Duration,
}

/// A text that is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It holds a secret, which is not repeated.
    #[error(
        "a registry's address holds credentials; addresses are shown and logged: put the password \
         into a file or the environment"
    )]
    Secret,
    /// It is written differently.
    #[error(
        "not an address of {scheme}: {text:?}: {why}; write \
         {scheme}://host:port,host:port/root?session_timeout=4s"
    )]
    Form {
        /// What kind was wanted.
        scheme: &'static str,
        /// What was written.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl Address {
    /// What sessions ask for if nobody says otherwise.
    pub const SESSION_TIMEOUT: Duration = Duration::from_secs(4);

    /// Reads an address of one kind.
    ///
    /// # Errors
    /// [`AddressError`], which says what is wrong and how to write it.
    pub fn parse(scheme: &'static str, text: &str) -> Result<Self, AddressError> {
        if text.contains('@') {
            return Err(AddressError::Secret);
        }
        let shown = || text.chars().take(200).collect();
        parts(scheme, text).map_err(|why| AddressError::Form { scheme, text: shown(), why })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.servers.join(","), self.root)
    }
}

fn parts(scheme: &'static str, text: &str) -> Result<Address, &'static str> {
    let rest = text.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://"));
    let rest = rest.ok_or("it is of another kind")?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (list, root) = rest.split_once('/').unwrap_or((rest, ""));
    let servers: Vec<String> = list
        .split(',')
        .map(|one| server(one).map(|()| one.to_lowercase()))
        .collect::<Result<_, _>>()?;
    if servers.iter().enumerate().any(|(at, one)| servers[..at].contains(one)) {
        return Err("a server stands in it twice");
    }
    let root = if root.is_empty() { String::new() } else { format!("/{root}") };
    if !root.is_empty() && (Key::new(&root).is_err() || root.len() > ROOT_BYTES) {
        return Err("its path has an empty or relative part, or more than 256 bytes");
    }
    let mut address = Address { scheme, servers, root, session_timeout: Address::SESSION_TIMEOUT };
    for option in query.split('&').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("session_timeout", value)) => address.session_timeout = timeout(value)?,
            _ => return Err("the one option is session_timeout"),
        }
    }
    Ok(address)
}

fn server(one: &str) -> Result<(), &'static str> {
    let (host, port) = one.rsplit_once(':').ok_or("a server has no port")?;
    let port = port.bytes().all(|byte| byte.is_ascii_digit()).then(|| port.parse::<u16>());
    if !matches!(port, Some(Ok(1..))) {
        return Err("a port is not 1 to 65535");
    }
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let letters = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    match bracketed {
        Some(inner) if inner.parse::<std::net::Ipv6Addr>().is_ok() => Ok(()),
        Some(_) => Err("not an IPv6 address between brackets"),
        None if host.contains(':') => Err("an IPv6 address stands between brackets"),
        None if !host.is_empty() && host.chars().all(letters) => Ok(()),
        None => Err("a server has no name"),
    }
}

fn timeout(text: &str) -> Result<Duration, &'static str> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| "session_timeout is no time, such as 4s")?;
    let time = match unit {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.saturating_mul(60)),
        _ => return Err("session_timeout has no unit: ms, s or m"),
    };
    match (SHORTEST..=LONGEST).contains(&time) {
        true => Ok(time),
        false => Err("session_timeout is not within 200ms to 10m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Address, AddressError> {
        Address::parse("zookeeper", text)
    }

    #[test]
    fn an_address_is_read_whole() {
        let address = parse("zookeeper://ZK1:2181,[::1]:2182/a/b?session_timeout=900ms");
        let address = address.unwrap();
        assert_eq!(address.servers, ["zk1:2181", "[::1]:2182"]);
        assert_eq!(address.root, "/a/b");
        assert_eq!(address.session_timeout, Duration::from_millis(900));
        assert_eq!(address.to_string(), "zookeeper://zk1:2181,[::1]:2182/a/b");
        let plain = parse("zookeeper://h:1").unwrap();
        assert_eq!((plain.root.as_str(), plain.session_timeout), ("", Address::SESSION_TIMEOUT));
        assert_eq!(parse("zookeeper://h:1/").unwrap(), plain);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let table = [
            ("zk://h:1", "another kind"),
            ("zookeeper://h", "no port"),
            ("zookeeper://h:0", "1 to 65535"),
            ("zookeeper://h:65536", "1 to 65535"),
            ("zookeeper://h:+1", "1 to 65535"),
            ("zookeeper://:1", "no name"),
            ("zookeeper://a b:1", "no name"),
            ("zookeeper://::1:1", "between brackets"),
            ("zookeeper://[x]:1", "between brackets"),
            ("zookeeper://h:1,H:1", "twice"),
            ("zookeeper://h:1,", "no port"),
            ("zookeeper://h:1//a", "relative"),
            ("zookeeper://h:1/a/../b", "relative"),
            ("zookeeper://h:1/a/", "relative"),
            ("zookeeper://h:1/a?digest=u:p", "session_timeout"),
            ("zookeeper://h:1/a?session_timeout=4", "unit"),
            ("zookeeper://h:1/a?session_timeout=fast", "no time"),
            ("zookeeper://h:1/a?session_timeout=1ms", "within"),
            ("zookeeper://h:1/a?session_timeout=99999999999999999999s", "no time"),
        ];
        for (text, why) in table {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(parse(&format!("zookeeper://h:1/{}", "x".repeat(256))).is_err());
    }

    #[test]
    fn a_secret_is_refused_and_not_repeated() {
        let error = parse("zookeeper://user:hunter2@h:1").unwrap_err();
        assert_eq!(error, AddressError::Secret);
        assert!(!error.to_string().contains("hunter2"));
    }
}
