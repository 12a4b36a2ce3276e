//! The names of a Region's objects.

/// The names of the objects of the Region with this name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ObjectNames<'a>(pub &'a str);

impl ObjectNames<'_> {
    /// The relays' Deployment, Service, ConfigMap, ServiceAccount, PodDisruptionBudget, NetworkPolicy and
    /// HorizontalPodAutoscaler.
    pub(crate) fn relay(self) -> String {
        format!("{}-relay", self.0)
    }

    /// The Service of the TCP ports.
    pub(crate) fn tcp(self) -> String {
        format!("{}-relay-tcp", self.0)
    }

    /// The managed registry's Deployment, Service, Secret and NetworkPolicy.
    pub(crate) fn registry(self) -> String {
        format!("{}-registry", self.0)
    }

    /// The Secret with the keys that all relays share.
    pub(crate) fn keys(self) -> String {
        format!("{}-keys", self.0)
    }

    /// The Secret with the CA for links between relays. No pod mounts it.
    pub(crate) fn peer_ca(self) -> String {
        format!("{}-peer-ca", self.0)
    }

    /// The Secret with the certificate for links between relays.
    pub(crate) fn peer(self) -> String {
        format!("{}-peer", self.0)
    }

    /// The Secret with the development CA, which no pod mounts, and the ConfigMap with its certificate for clients.
    pub(crate) fn ca(self) -> String {
        format!("{}-ca", self.0)
    }

    /// The Secret with the development certificate.
    pub(crate) fn development(self) -> String {
        format!("{}-development", self.0)
    }
}
