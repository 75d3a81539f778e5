//! Who a node is: the address of its host, its process, and a number drawn at its start.

use flockwork_core::id::{BadInstanceId, INSTANCE_DELIMITER, InstanceId};
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use rustix::rand::{GetRandomFlags, getrandom};
use std::io;
use std::net::Ipv4Addr;

/// The IPv4 address by which other hosts know this one: that of the first interface that is up, no
/// loopback and no alias (`eth0:1`), as ElasticJob chooses it; `None` if there is no such.
/// Addresses of the host's own network segment (169.254.0.0/16) say nothing and are passed over.
///
/// # Errors
/// What the kernel says.
pub fn server_address() -> io::Result<Option<Ipv4Addr>> {
    let usable = getifaddrs()?.find_map(|interface| {
        let up = interface.flags.contains(InterfaceFlags::IFF_UP);
        let loopback = interface.flags.contains(InterfaceFlags::IFF_LOOPBACK);
        let address = interface.address?.as_sockaddr_in()?.ip();
        let alias = interface.interface_name.contains(':');
        (up && !loopback && !alias && !address.is_link_local()).then_some(address)
    });
    Ok(usable)
}

/// An id for this process, unique to this start of it: `{server}@-@{pid}-{nonce}`. The nonce has 64
/// bits of the system's randomness, as process ids come again (in a container always the same).
///
/// # Errors
/// [`BadInstanceId`], if `server` may not stand in one.
pub fn instance_id(server: &str) -> Result<InstanceId, BadInstanceId> {
    InstanceId::new(&format!("{server}{INSTANCE_DELIMITER}{}-{:016x}", std::process::id(), nonce()))
}

fn nonce() -> u64 {
    let mut bytes = [0_u8; 8];
    let mut filled = 0;
    while filled < bytes.len() {
        match getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            // A signal came before the system's randomness was ready, in the first second of a boot.
            Err(rustix::io::Errno::INTR) => {}
            // Before Linux 3.17 there is no such call; the standard library's keys are as random.
            Err(_) => return hashed(),
        }
    }
    u64::from_ne_bytes(bytes)
}

fn hashed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_starts_have_two_ids() {
        let (one, two) = (instance_id("10.0.0.1").unwrap(), instance_id("10.0.0.1").unwrap());
        assert_ne!(one, two);
        assert_eq!(one.server(), "10.0.0.1");
        let pid = format!("10.0.0.1@-@{}-", std::process::id());
        assert!(one.as_str().starts_with(&pid), "{one}");
    }

    #[test]
    fn an_address_that_could_not_be_parsed_back_is_refused() {
        for bad in ["", "a/b", "a@-@b"] {
            assert!(instance_id(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_loopback_is_no_address_for_others() {
        assert!(server_address().unwrap().is_none_or(|address| !address.is_loopback()));
    }
}
