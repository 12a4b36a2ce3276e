//! Private keys, sealed so that only one recipient can open them: HPKE (RFC 9180) with X25519, HKDF-SHA256 and AES-256-GCM.

use aws_lc_rs::{agreement, hkdf};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use rustls::crypto::{
    aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_256 as SUITE,
    hpke::{EncapsulatedSecret, Hpke, HpkePrivateKey, HpkePublicKey},
};
use std::fmt;

/// What the sealing is for: nothing that was sealed for something else can be opened as this.
const INFO: &[u8] = b"adit certificate keys 1";

/// A text that could not be sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The public key is not 32 bytes in base64url.
    #[error("the recipient's public key is not one")]
    PublicKey,
    /// It was sealed to somebody else, for something else, or was changed.
    #[error("cannot open what was sealed: it is not for this recipient, or it was changed")]
    Open,
}

/// Who opens what was sealed to it.
#[derive(Clone)]
pub struct SealingKey {
    private: [u8; 32],
    public: [u8; 32],
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingKey({})", self.public_text())
    }
}

struct Length;

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        32
    }
}

impl SealingKey {
    /// The key that follows from a secret of at least 32 random bytes: everybody who has the secret has this key.
    pub fn of(secret: &[u8]) -> Self {
        let mut private = [0; 32];
        hkdf::Salt::new(hkdf::HKDF_SHA256, b"adit")
            .extract(secret)
            .expand(&[INFO], Length)
            .and_then(|okm| okm.fill(&mut private))
            .expect("32 bytes are within what HKDF-SHA256 gives");
        let key = agreement::PrivateKey::from_private_key(&agreement::X25519, &private)
            .expect("any 32 bytes are a private key of X25519");
        let computed = key.compute_public_key().expect("a private key has a public one");
        let public = computed.as_ref().try_into().expect("a public key of X25519 has 32 bytes");
        Self { private, public }
    }

    /// The public key, in base64url.
    pub fn public_text(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.public)
    }

    /// Opens what was sealed to this key for the same purpose.
    ///
    /// # Errors
    /// [`SealError::Open`].
    pub fn open(&self, purpose: &str, sealed: &str) -> Result<Vec<u8>, SealError> {
        let decode = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| SealError::Open);
        let (secret, text) = sealed.split_once('.').ok_or(SealError::Open)?;
        let (secret, text) = (EncapsulatedSecret(decode(secret)?), decode(text)?);
        let private = HpkePrivateKey::from(self.private.to_vec());
        SUITE.open(&secret, INFO, purpose.as_bytes(), &text, &private).map_err(|_| SealError::Open)
    }
}

/// Seals a text to a public key, for one purpose: whoever opens it has to name the same.
///
/// # Errors
/// [`SealError::PublicKey`].
pub fn seal(public: &str, purpose: &str, text: &[u8]) -> Result<String, SealError> {
    let public = BASE64_URL_SAFE_NO_PAD.decode(public).map_err(|_| SealError::PublicKey)?;
    let (secret, sealed) = SUITE
        .seal(INFO, purpose.as_bytes(), text, &HpkePublicKey(public))
        .map_err(|_| SealError::PublicKey)?;
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    Ok(format!("{}.{}", encode(&secret.0), encode(&sealed)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn only_the_recipient_opens_it_and_only_for_the_same_purpose() {
        let (own, other) = (SealingKey::of(&[1; 32]), SealingKey::of(&[2; 32]));
        let sealed = seal(&own.public_text(), "a", b"secret").unwrap();
        assert_eq!(own.open("a", &sealed).unwrap(), b"secret");
        assert_eq!(SealingKey::of(&[1; 32]).open("a", &sealed).unwrap(), b"secret");
        assert_eq!(own.open("b", &sealed), Err(SealError::Open));
        assert_eq!(other.open("a", &sealed), Err(SealError::Open));
        assert_eq!(own.open("a", &sealed[1..]), Err(SealError::Open));
        assert_eq!(own.open("a", ""), Err(SealError::Open));
        assert_ne!(seal(&own.public_text(), "a", b"secret").unwrap(), sealed);
        assert!(!format!("{own:?}").contains(&BASE64_URL_SAFE_NO_PAD.encode(own.private)));
    }

    #[test]
    fn what_is_no_public_key_is_refused() {
        for bad in ["", "AAAA", "not base64!"] {
            assert_eq!(seal(bad, "a", b"x"), Err(SealError::PublicKey), "{bad}");
        }
    }
}
