//! Rules between fields: contradictions, and values without effect.

use super::Validator;
use crate::config::{Keys, Listen, Peer, PlainHttp, RegistryUrl};
use adit_config::{Path as Field, Problem, TcpPorts};
use adit_store::StoreUrl;
use std::net::{IpAddr, SocketAddr};

impl Validator<'_> {
    /// Checks that no two listeners have the same port. Port 0 never collides.
    pub(super) fn check_overlaps(&mut self, listen: &Listen, tcp_ports: Option<TcpPorts>) {
        let one = |name: &'static str, address: &Option<SocketAddr>| {
            address.map(|address| (Field::keys(name), address))
        };
        let list = |name: &'static str, addresses: &[SocketAddr]| {
            let field = Field::keys(name);
            let single = addresses.len() == 1;
            let named = addresses.iter().enumerate();
            named
                .map(|(index, address)| (if single { field.clone() } else { field.join(index) }, *address))
                .collect::<Vec<_>>()
        };
        let mut taken = list("listen.https", &listen.https);
        taken.extend(list("listen.http", listen.http.as_deref().unwrap_or_default()));
        taken.extend(one("listen.ops", &listen.ops));
        taken.extend(one("listen.peer", &listen.peer));
        for (index, (field, address)) in taken.iter().enumerate() {
            let other = taken[..index].iter().find(|(_, other)| overlap(*other, *address));
            if let Some((other_field, other)) = other {
                let text = format!("{address} is taken by {other_field}, {other}");
                self.problems.push(Problem::new(field.clone(), text));
            }
            if let Some(ports) = tcp_ports.filter(|ports| ports.contains(address.port())) {
                let text =
                    format!("{address} is in the range of tcpPorts, {} to {}", ports.first, ports.last);
                self.problems.push(Problem::new(field.clone(), text));
            }
        }
    }

    pub(super) fn check_contradictions(
        &mut self,
        listen: Option<&Listen>,
        plain_http: PlainHttp,
        registry: Option<&RegistryUrl>,
        store: Option<&StoreUrl>,
        (peer, keys): (&Option<Peer>, &Option<Keys>),
    ) {
        let Some(listen) = listen else { return };
        if plain_http == PlainHttp::Serve && listen.http.is_none() {
            self.problem("plainHttp", "\"serve\" has no effect while listen.http is off");
        }
        if self.is_sound(&["peer", "listen.peer"]) {
            match (listen.peer, peer) {
                (Some(address), None) => {
                    self.problem("listen.peer", format!("{address} needs the section peer"));
                }
                (None, Some(_)) => self.problem("peer", "needs listen.peer, where the other relays arrive"),
                _ => {}
            }
        }
        let Some(registry) = registry.filter(|_| self.is_sound(&["registry"])) else { return };
        match registry {
            RegistryUrl::Memory if peer.is_some() && self.is_sound(&["peer"]) => {
                self.problem("peer", "has no effect with the registry memory:, which no other relay sees");
            }
            RegistryUrl::Memory => {}
            RegistryUrl::Redis(_) => {
                if self.is_sound(&["store"]) && matches!(store, Some(StoreUrl::Sqlite(_))) {
                    self.problem(
                        "store",
                        "is a SQLite file, which no other relay sees: with Redis it has to be postgres://",
                    );
                }
                if self.is_sound(&["keys"]) && keys.is_none() {
                    self.problem(
                        "keys",
                        "is missing: with Redis all relays of the region need the same keys",
                    );
                }
            }
        }
    }
}

/// Whether two listeners collide.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    if a.port() != b.port() || a.port() == 0 {
        return false;
    }
    let all = |ip: IpAddr| ip == IpAddr::from([0u16; 8]);
    let covers = |ip: IpAddr, other: IpAddr| all(ip) || (ip.is_unspecified() && other.is_ipv4());
    let (a, b) = (a.ip().to_canonical(), b.ip().to_canonical());
    a == b || covers(a, b) || covers(b, a)
}
