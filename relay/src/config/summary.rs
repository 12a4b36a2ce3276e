//! The summary of a configuration.

use super::{AccessLogPath, Config, PlainHttp, RegistryUrl, Tokens};
use adit_config::{duration, secret, size};
use std::{fmt::Display, path::Path};

impl Config {
    /// The configuration without secrets, as names and values for a table.
    pub fn summary(&self) -> Vec<(&'static str, String)> {
        let name =
            self.name.as_ref().map_or("the host's name and random letters".to_owned(), ToString::to_string);
        let tcp_ports = self.tcp_ports.map(|ports| format!("{} to {}", ports.first, ports.last));
        let lanes = self.lanes.map_or("one a core".to_owned(), |lanes| lanes.to_string());
        let connections =
            self.connections.map_or("as file descriptors allow".to_owned(), |most| most.to_string());
        let keys = self.keys.as_ref().map(|keys| list([keys.region.display(), keys.tokens.display()]));
        let log = format!("{}, as {}", self.log.level, lower(self.log.format));
        let mut lines = vec![
            ("name", name),
            ("domain", self.domain.clone()),
            ("data", self.data_dir.display().to_string()),
            ("https", format!("{}; URLs have port {}", list(&self.listen.https), self.public_port)),
            ("http", self.http()),
            ("ops", self.listen.ops.map_or_else(off, |address| address.to_string())),
            ("peer", self.peer()),
            ("admin", self.listen.admin.as_deref().map_or_else(off, shown)),
            ("tcp ports", tcp_ports.unwrap_or_else(off)),
            ("registry", self.registry()),
            ("store", self.store.to_string()),
            ("certificates", self.certificates()),
            ("keys", keys.unwrap_or_else(|| format!("made in {}", self.data_dir.display()))),
            ("access", self.access()),
        ];
        lines.extend(self.limits());
        lines.extend([
            ("connections", connections),
            ("lanes", lanes),
            ("drain", format!("at most {}", duration::display(self.drain_timeout))),
            ("log", log),
            ("access log", self.access_log()),
        ]);
        if !self.trusted_proxies.is_empty() {
            lines.push(("PROXY protocol", format!("from {}", list(&self.trusted_proxies))));
        }
        if !self.provider.name.is_empty() || !self.provider.abuse.is_empty() {
            lines.push((
                "provider",
                list([&self.provider.name, &self.provider.abuse].iter().filter(|s| !s.is_empty())),
            ));
        }
        lines
    }

    fn http(&self) -> String {
        let does = match self.plain_http {
            PlainHttp::Redirect => "redirects to https",
            PlainHttp::Serve => "serves as https does",
        };
        self.listen.http.as_ref().map_or_else(off, |addresses| format!("{}; {does}", list(addresses)))
    }

    fn peer(&self) -> String {
        match (self.listen.peer, &self.peer) {
            (Some(address), Some(peer)) => format!("{address}; others dial {}", peer.advertise),
            _ => off(),
        }
    }

    fn registry(&self) -> String {
        match &self.registry {
            RegistryUrl::Memory => "in memory: a region of one relay".to_owned(),
            RegistryUrl::Redis(url) => secret::masked(url.expose()),
        }
    }

    fn certificates(&self) -> String {
        match self.certificates.as_slice() {
            [] => format!("development CA: clients need --ca {}", self.data_dir.join("ca.pem").display()),
            pairs => list(pairs.iter().map(|pair| pair.cert.display())),
        }
    }

    fn access(&self) -> String {
        let tokens = match &self.access.tokens {
            Tokens::Managed {} => "tokens of adit-relay token".to_owned(),
            Tokens::Issuers(issuers) => {
                format!("tokens of {}", list(issuers.iter().map(|issuer| &issuer.issuer)))
            }
        };
        match &self.access.minimum_client_version {
            Some(version) => format!("{tokens}; clients from {version}"),
            None => tokens,
        }
    }

    fn limits(&self) -> [(&'static str, String); 3] {
        let limits = &self.limits;
        let counts = [(limits.tunnels, "tunnels"), (limits.sessions, "sessions"), (limits.names, "names")];
        let burst = limits.burst.unwrap_or(limits.requests_per_second);
        let body = limits
            .body_bytes
            .map_or("any size".to_owned(), |bytes| format!("up to {}", size::display(bytes)));
        [
            ("limits", list(counts.map(|(count, of)| format!("{count} {of}")))),
            (
                "",
                format!(
                    "{} streams, {} requests/s, {burst} at once",
                    limits.streams, limits.requests_per_second
                ),
            ),
            (
                "",
                format!(
                    "{} unread, bodies of {body}, answers within {}",
                    size::display(limits.buffer_bytes),
                    duration::display(limits.response_timeout)
                ),
            ),
        ]
    }

    fn access_log(&self) -> String {
        let path = match &self.access_log.path {
            AccessLogPath::Off => return off(),
            AccessLogPath::Stdout => "stdout".to_owned(),
            AccessLogPath::File(path) => shown(path),
        };
        format!("{path}, as {}", lower(self.access_log.format))
    }
}

fn off() -> String {
    "off".to_owned()
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn lower(value: impl std::fmt::Debug) -> String {
    format!("{value:?}").to_lowercase()
}

fn list<T: Display>(values: impl IntoIterator<Item = T>) -> String {
    values.into_iter().map(|value| value.to_string()).collect::<Vec<_>>().join(", ")
}
