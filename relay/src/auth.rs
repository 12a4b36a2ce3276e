//! Authentication of clients: tokens, credentials, tickets and the keys behind them.
//!
//! A client proves itself once with a token ([`TokenVerifier`]); the relay gives it a credential for it that is bound to the
//! client's own key ([`Credential`]), and a ticket for each tunnel ([`Ticket`]). Both are sealed with the region's key
//! ([`ProofSealer`]), so that any relay of the region can open them without asking anyone.

mod claim;
mod credential;
mod json;
mod keys;
mod limits;
mod live_config;
mod mint;
mod pattern;
mod permissions;
mod possession;
mod public_keys;
mod region_key;
mod seal;
mod ticket;
mod token;
mod token_error;
mod token_key;
mod tokens;

#[cfg(test)]
mod bad_tokens;
#[cfg(test)]
mod test_issuer;

pub use credential::{Credential, CredentialError, CredentialLifetimes, EXPIRY_LEEWAY_SECONDS};
pub use keys::{Keys, KeysError};
pub use limits::LimitOverrides;
pub(crate) use live_config::LiveConfig;
pub use mint::{MintError, TokenRequest, mint};
pub use pattern::{InvalidPattern, NamePattern};
pub use permissions::Permissions;
pub use possession::{PossessionError, client_key, verify_possession};
pub use public_keys::{KeySetError, PublicKeys};
pub use region_key::{InvalidRegionKey, RegionKeys};
pub use seal::ProofSealer;
pub use ticket::{Ticket, TicketError};
pub use token_error::TokenError;
pub use token_key::{InvalidTokenKey, TokenKeys};
pub use tokens::{IssuerKeysError, TokenGrant, TokenVerifier};
