//! The names of a Region's objects.

/// The names of the objects of the Region with this name.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a>(pub &'a str);

impl Names<'_> {
    /// The relays: their Deployment, Service, ConfigMap, ServiceAccount, PodDisruptionBudget, NetworkPolicy, and
    /// HorizontalPodAutoscaler.
    pub fn relay(self) -> String {
        format!("{}-relay", self.0)
    }

    /// The Service of the TCP ports.
    pub fn tcp(self) -> String {
        format!("{}-relay-tcp", self.0)
    }

    /// The managed registry: its Deployment, Service, Secret and NetworkPolicy.
    pub fn registry(self) -> String {
        format!("{}-registry", self.0)
    }

    /// The Secret of the keys that all relays share.
    pub fn keys(self) -> String {
        format!("{}-keys", self.0)
    }

    /// The Secret of the CA for links between relays; no pod has it.
    pub fn peer_ca(self) -> String {
        format!("{}-peer-ca", self.0)
    }

    /// The Secret of the certificate for links between relays.
    pub fn peer(self) -> String {
        format!("{}-peer", self.0)
    }

    /// The Secret of the development CA, which no pod has, and the ConfigMap of its certificate, which clients need.
    pub fn ca(self) -> String {
        format!("{}-ca", self.0)
    }

    /// The Secret of the development certificate.
    pub fn development(self) -> String {
        format!("{}-development", self.0)
    }
}
