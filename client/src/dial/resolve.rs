//! A host's addresses, in the order in which they are tried.

use super::error::DialError;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The most addresses that are tried.
const MAX_ADDRESSES: usize = 16;

/// The addresses of a host, families in turn as RFC 8305 section 4 has it.
///
/// `local` names are not asked for: they are this computer (RFC 6761 section 6.3).
pub(super) async fn resolve(host: &str, port: u16, local: bool) -> Result<Vec<SocketAddr>, DialError> {
    if local {
        return Ok(vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]);
    }
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![(address, port).into()]);
    }
    let found = tokio::net::lookup_host((host, port))
        .await
        .map_err(|source| DialError::Resolve { host: host.to_owned(), source })?;
    let addresses = interleave(found.collect());
    if addresses.is_empty() {
        return Err(DialError::NoAddress { host: host.to_owned() });
    }
    Ok(addresses)
}

fn interleave(found: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = found.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = found.into_iter().partition(|a| a.is_ipv6() == first_is_v6);
    let mut second = second.into_iter();
    let mut addresses = vec![];
    for address in first {
        addresses.push(address);
        addresses.extend(second.next());
    }
    addresses.extend(second);
    addresses.truncate(MAX_ADDRESSES);
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns_and_the_systems_first_choice_stays_first() {
        let list = |text: &[&str]| text.iter().map(|a| a.parse().unwrap()).collect::<Vec<SocketAddr>>();
        assert_eq!(
            interleave(list(&["[::1]:1", "[::2]:1", "1.1.1.1:1", "[::3]:1", "2.2.2.2:1"])),
            list(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"])
        );
        assert_eq!(
            interleave(list(&["1.1.1.1:1", "2.2.2.2:1", "[::1]:1"])),
            list(&["1.1.1.1:1", "[::1]:1", "2.2.2.2:1"])
        );
    }

    #[tokio::test]
    async fn local_names_are_this_computer() {
        let addresses = resolve("connect.no.such.adit.localhost", 7, true).await.unwrap();
        assert!(addresses.iter().all(|a| a.ip().is_loopback() && a.port() == 7));
    }
}
