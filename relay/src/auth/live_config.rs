//! The parts of the configuration that change without a restart.

use super::{IssuerKeysError, Keys, TokenVerifier};
use crate::config::Config;
use adit_config::{Limits, Version};

/// The parts of the configuration that are in use and can change.
#[derive(Debug)]
pub(crate) struct LiveConfig {
    /// The limits of an account whose token sets no others.
    pub limits: Limits,
    /// The oldest client that is served.
    pub minimum_client_version: Option<Version>,
    /// Verifies tokens.
    pub tokens: TokenVerifier,
}

impl LiveConfig {
    /// The parts of a configuration.
    ///
    /// # Errors
    /// [`IssuerKeysError`]: the keys of an issuer.
    pub(crate) fn new(config: &Config, keys: &Keys) -> Result<Self, IssuerKeysError> {
        Ok(Self {
            limits: config.limits.clone(),
            minimum_client_version: config.access.minimum_client_version.clone(),
            tokens: TokenVerifier::new(&config.access, keys, &config.domain)?,
        })
    }
}
