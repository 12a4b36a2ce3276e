//! The public keys that tokens are verified with.

use super::{TokenError, token::Token};
use jsonwebtoken::{Algorithm, DecodingKey};

mod file;
mod jwks;
pub(super) mod pem;

pub(super) use file::KeyFile;
pub use file::KeySetError;

/// The most keys of one issuer.
const MAX_KEYS: usize = 64;

/// The public keys of one issuer. Each is good for one algorithm, which follows from what kind of key it is: an Ed25519
/// key for EdDSA, one of P-256 for ES256, an RSA key of 2048 to 8192 bits for RS256.
#[derive(Debug)]
pub struct PublicKeys(Vec<PublicKey>);

#[derive(Debug)]
struct PublicKey {
    /// The key id (`kid`).
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

impl PublicKeys {
    /// Reads a JSON Web Key Set (RFC 7517) or public keys in PEM (RFC 7468). Keys that sign no tokens, or in a way that
    /// is not known, are passed over.
    ///
    /// # Errors
    /// It is neither, or has no key that can be used, or a private one: [`KeySetError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, KeySetError> {
        let keys = match bytes.trim_ascii_start().first() {
            Some(b'{') => jwks::parse(bytes)?,
            _ => pem::parse(bytes)?,
        };
        match keys.len() {
            0 => Err(KeySetError::NoKey),
            1..=MAX_KEYS => Ok(Self(keys)),
            _ => Err(KeySetError::TooMany),
        }
    }

    /// Ed25519 keys without ids.
    pub(super) fn ed25519(keys: &[[u8; 32]]) -> Self {
        let key = |key: &[u8; 32]| PublicKey {
            id: None,
            algorithm: Algorithm::EdDSA,
            key: DecodingKey::from_ed_der(key),
        };
        Self(keys.iter().map(key).collect())
    }

    /// Checks that a token was signed by the key that it names or, where it or the keys have no ids, by any.
    ///
    /// # Errors
    /// [`TokenError::Signature`], or [`TokenError::Algorithm`] if none of these keys is for the token's algorithm.
    pub(super) fn verify(&self, token: &Token<'_>) -> Result<(), TokenError> {
        let named = |key: &&PublicKey| match (&token.key_id, &key.id) {
            (Some(wanted), Some(id)) => wanted == id,
            _ => true,
        };
        let mut keys = self.0.iter().filter(named).peekable();
        if keys.peek().is_none() {
            return Err(TokenError::Signature);
        }
        let mut keys = keys.filter(|key| key.algorithm == token.algorithm).peekable();
        if keys.peek().is_none() {
            return Err(TokenError::other_algorithm(token.algorithm));
        }
        let signed_by = |key: &PublicKey| {
            // The algorithm is the key's; that the token says the same was checked before.
            let message = token.signed.as_bytes();
            jsonwebtoken::crypto::verify(token.signature, message, &key.key, key.algorithm)
        };
        if keys.any(|key| signed_by(key).unwrap_or(false)) { Ok(()) } else { Err(TokenError::Signature) }
    }
}

#[cfg(test)]
mod tests;
