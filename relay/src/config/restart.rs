//! The keys of relay.yaml that need a restart.

use super::{Config, Peer};

impl Config {
    /// The keys whose values in `new` take effect only when the relay restarts, in the order of relay.yaml.
    ///
    /// `limits`, `access`, and the certificates and keys of `tls.certificates` and `peer` take effect without one.
    pub fn keys_that_need_restart(&self, new: &Self) -> Vec<&'static str> {
        let advertise = |config: &Self| config.peer.as_ref().map(|peer: &Peer| peer.advertise.clone());
        let changes = [
            ("domain", self.domain != new.domain),
            ("name", self.name != new.name),
            ("dataDir", self.data_dir != new.data_dir),
            ("listen.https", self.listen.https != new.listen.https),
            ("listen.http", self.listen.http != new.listen.http),
            ("listen.ops", self.listen.ops != new.listen.ops),
            ("listen.peer", self.listen.peer != new.listen.peer),
            ("listen.admin", self.listen.admin != new.listen.admin),
            ("publicPort", self.public_port != new.public_port),
            ("plainHttp", self.plain_http != new.plain_http),
            ("tcpPorts", self.tcp_ports != new.tcp_ports),
            ("tls.certificates", new.certificates.is_empty() && !self.certificates.is_empty()),
            // Its secrets are not part of this text: their files are read at the start.
            ("tls.acme", format!("{:?}", self.acme) != format!("{:?}", new.acme)),
            ("provider", self.provider != new.provider),
            ("registry", self.registry != new.registry),
            ("store", self.store != new.store),
            ("peer.advertise", advertise(self) != advertise(new)),
            ("keys", self.keys != new.keys),
            ("proxyProtocol.trustedCIDRs", self.trusted_proxies != new.trusted_proxies),
            ("drainTimeout", self.drain_timeout != new.drain_timeout),
            ("connections", self.connections != new.connections),
            ("lanes", self.lanes != new.lanes),
            ("log", self.log != new.log),
            ("accessLog", self.access_log != new.access_log),
        ];
        changes.into_iter().filter(|(_, changed)| *changed).map(|(key, _)| key).collect()
    }
}
