//! An address to listen on.

use flockwork_core::config::{Code, Problem};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Reads `ADDRESS:PORT`; port 0 stands for a free one.
///
/// # Errors
/// `PORT_RANGE` for a port that is none, `LISTEN_ADDR` for an address that is none or that others
/// can reach: there is no authentication yet.
pub fn parse_listen(text: &str) -> Result<SocketAddr, Problem> {
    let bad = |why: &str| {
        let problem = Problem::error(Code::ListenAddr, "", why).with_value(text);
        problem.with_hint("write 127.0.0.1:8087 or [::1]:8087")
    };
    let (host, port) = text.rsplit_once(':').ok_or_else(|| bad("the port is missing"))?;
    let address = match host {
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        _ => {
            let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            let address = match bracketed {
                Some(inner) => inner.parse::<Ipv6Addr>().map(IpAddr::V6).ok(),
                None => host.parse::<Ipv4Addr>().map(IpAddr::V4).ok(),
            };
            address.ok_or_else(|| bad("not an address"))?
        }
    };
    let port = parse_port(port)?;
    if !address.is_loopback() {
        let problem = bad("others could reach it, and there is no authentication yet");
        return Err(problem.with_limit("loopback addresses"));
    }
    Ok(SocketAddr::new(address, port))
}

/// Reads a port: 0 to 65535, in digits.
///
/// # Errors
/// `PORT_RANGE`.
pub fn parse_port(text: &str) -> Result<u16, Problem> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().ok_or_else(|| {
        let problem = Problem::error(Code::PortRange, "", "not a port").with_value(text);
        problem.with_limit("0 to 65535, 0 for a free one")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_host_is_listened_on() {
        for (text, expected) in [
            ("127.0.0.1:8087", "127.0.0.1:8087"),
            ("localhost:0", "127.0.0.1:0"),
            ("[::1]:80", "[::1]:80"),
        ] {
            assert_eq!(parse_listen(text).map(|a| a.to_string()), Ok(expected.to_owned()));
        }
        for (text, code) in [
            ("0.0.0.0:8087", Code::ListenAddr),
            ("10.0.0.1:8087", Code::ListenAddr),
            ("::1:8087", Code::ListenAddr),
            ("example.com:80", Code::ListenAddr),
            ("8087", Code::ListenAddr),
            ("127.0.0.1:-1", Code::PortRange),
            ("127.0.0.1:65536", Code::PortRange),
            ("127.0.0.1:80a", Code::PortRange),
            ("127.0.0.1:", Code::PortRange),
        ] {
            assert_eq!(parse_listen(text).map_err(|p| p.code), Err(code), "{text}");
        }
    }
}
