//! Why a relay does not start, or ends by itself.

use super::{data_dir::DataDirError, service};
use crate::{
    auth::{IssuerKeysError, KeysError},
    certificates::{development::DevelopmentError, pem::CertificateError},
    cluster::{peer, registry::RegistryError},
    ops::{access_log, admin},
    public::listen::BindError,
};
use std::io;

/// Why a relay does not start, or ends before it is told to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The data folder.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The keys of tokens, credentials and tickets.
    #[error("cannot open the keys")]
    Keys(#[from] KeysError),
    /// The tokens' issuers.
    #[error("cannot use access.tokens")]
    Tokens(#[from] IssuerKeysError),
    /// The store.
    #[error("cannot open the store")]
    OpenStore(#[from] adit_store::OpenError),
    /// Its schema.
    #[error("cannot bring the store's schema up to date")]
    Migrate(#[from] adit_store::MigrateError),
    /// The registry.
    #[error("cannot open the registry")]
    Registry(#[from] RegistryError),
    /// A listener.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A certificate from files.
    #[error("cannot serve the certificate")]
    Certificate(#[from] CertificateError),
    /// The development CA.
    #[error("cannot use the development CA")]
    Development(#[from] DevelopmentError),
    /// The peer certificate.
    #[error("cannot link to peers")]
    Peer(#[from] peer::tls::PeerTlsError),
    /// TLS.
    #[error("cannot set TLS up")]
    Tls(#[from] rustls::Error),
    /// The access log.
    #[error("cannot open the access log")]
    AccessLog(#[from] access_log::AccessLogError),
    /// The admin socket.
    #[error("cannot open the admin socket")]
    Admin(#[from] admin::BindError),
    /// A thread or runtime.
    #[error("cannot start the runtimes")]
    Lanes(#[source] io::Error),
    /// The service loop gave up.
    #[error(transparent)]
    Unhealthy(#[from] service::Unhealthy),
}

impl ServeError {
    /// A stable word for what failed, in snake case.
    pub fn code(&self) -> &'static str {
        match self {
            Self::DataDir(DataDirError::InUse { .. }) => "data_dir_in_use",
            Self::DataDir(_) => "data_dir",
            Self::Keys(_) => "keys",
            Self::Tokens(_) => "tokens",
            Self::OpenStore(_) | Self::Migrate(_) => "store",
            Self::Registry(_) => "registry",
            Self::Bind(_) => "bind",
            Self::Certificate(_) | Self::Development(_) | Self::Tls(_) => "certificate",
            Self::Peer(_) => "peer",
            Self::AccessLog(_) => "access_log",
            Self::Admin(_) => "admin",
            Self::Lanes(_) => "lanes",
            Self::Unhealthy(_) => "unhealthy",
        }
    }
}

impl ServeError {
    /// The next step of whoever starts the relay: a command where there is one.
    pub fn next(&self) -> String {
        match self {
            Self::DataDir(error) => error.next(),
            Self::Keys(_) => {
                "correct or remove the file that is named, then start the relay again".to_owned()
            }
            Self::Tokens(_) => {
                "put the issuer's public keys (JWKS or PEM) into the file that is named".to_owned()
            }
            Self::OpenStore(_) | Self::Migrate(_) => {
                "check store: in relay.yaml, and that its file or database can be written".to_owned()
            }
            Self::Registry(_) => "check registry: in relay.yaml".to_owned(),
            Self::Bind(error) => error.next(),
            Self::Certificate(_) => "check tls.certificates: in relay.yaml".to_owned(),
            Self::Development(_) => "make dataDir a folder that the relay's user can write".to_owned(),
            Self::Peer(_) => "check peer: in relay.yaml".to_owned(),
            Self::AccessLog(_) => {
                "give accessLog.path a file that the relay's user can write, or -".to_owned()
            }
            Self::Admin(_) => "stop the other relay, or give listen.admin another path".to_owned(),
            Self::Tls(_) | Self::Lanes(_) => {
                "raise the limits of processes and open files (ulimit -a shows them)".to_owned()
            }
            Self::Unhealthy(_) => "start the relay again; if it happens again, give it more CPU".to_owned(),
        }
    }
}
