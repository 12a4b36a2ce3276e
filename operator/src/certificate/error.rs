//! Why a Certificate has no certificate.

use crate::{
    api_server::CallError,
    controller::{Blocked, ReconcileError},
};
use adit_store::StoreError;

/// Why a certificate could not be provided.
#[derive(Debug, thiserror::Error)]
pub(super) enum CertificateError {
    /// The Certificate or a Secret has a mistake.
    #[error("{}", .0.message)]
    Blocked(Blocked),
    /// A call to the API server failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The issuer failed.
    #[error(transparent)]
    Issuer(#[from] adit_acme::IssueError),
}

impl From<Blocked> for CertificateError {
    fn from(blocked: Blocked) -> Self {
        Self::Blocked(blocked)
    }
}

impl From<StoreError> for CertificateError {
    fn from(error: StoreError) -> Self {
        Self::Issuer(error.into())
    }
}

impl From<CertificateError> for ReconcileError {
    fn from(error: CertificateError) -> Self {
        match error {
            CertificateError::Call(error) => Self::Call(error),
            other => Self::Other("cannot provide the certificate", Box::new(other)),
        }
    }
}
