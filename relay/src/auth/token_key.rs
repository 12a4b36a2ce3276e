//! The key that signs the provider's own tokens.

use super::public_keys::{PublicKeys, pem};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine, prelude::BASE64_STANDARD};
use rustls::pki_types::pem::{PemObject, SectionKind};
use std::{fmt, sync::Arc};

/// The most keys of one file.
const MAX_KEYS: usize = 4;

/// The Ed25519 keys of the provider's own tokens, in PEM: private keys in PKCS#8 (RFC 5958), public ones as
/// SubjectPublicKeyInfo (RFC 8410).
///
/// Tokens of each of them are accepted; the first private one signs. A relay needs public keys only, where tokens are
/// made elsewhere.
#[derive(Clone)]
pub struct TokenKeys {
    signing: Option<Arc<Ed25519KeyPair>>,
    public: Vec<[u8; 32]>,
}

/// A token key file that cannot be used. No error shows what the file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTokenKey {
    /// It is not PEM, or has no section of a known kind.
    #[error("has no key in PEM form, as openssl genpkey -algorithm ed25519 prints it")]
    Empty,
    /// A key is not one of Ed25519, or is in another form.
    #[error("has a key that is not an Ed25519 key in PKCS#8 form")]
    Kind,
    /// There are more than a rotation needs.
    #[error("has more than {MAX_KEYS} keys")]
    TooMany,
}

impl TokenKeys {
    /// Reads a file's text.
    ///
    /// # Errors
    /// [`InvalidTokenKey`].
    pub fn parse(text: &[u8]) -> Result<Self, InvalidTokenKey> {
        let mut keys = Self { signing: None, public: vec![] };
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text) {
            let (kind, der) = section.map_err(|_| InvalidTokenKey::Empty)?;
            let public = match kind {
                SectionKind::PrivateKey => {
                    let pair = Ed25519KeyPair::from_pkcs8(&der).map_err(|_| InvalidTokenKey::Kind)?;
                    let public = public_key(&pair);
                    keys.signing.get_or_insert_with(|| Arc::new(pair));
                    public
                }
                SectionKind::PublicKey => pem::ed25519(&der).ok_or(InvalidTokenKey::Kind)?,
                SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey => return Err(InvalidTokenKey::Kind),
                _ => continue,
            };
            keys.public.push(public);
        }
        match keys.public.len() {
            0 => Err(InvalidTokenKey::Empty),
            1..=MAX_KEYS => Ok(keys),
            _ => Err(InvalidTokenKey::TooMany),
        }
    }

    /// The text of a file with a new key.
    pub(super) fn generate() -> String {
        let pair = Ed25519KeyPair::generate().expect("the system has random bytes");
        let der = pair.to_pkcs8v1().expect("an Ed25519 key has a PKCS#8 form");
        let text = BASE64_STANDARD.encode(der.as_ref());
        format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")
    }

    /// Whether it can sign.
    pub fn is_private(&self) -> bool {
        self.signing.is_some()
    }

    /// Signs a message with the first private key.
    pub(super) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        Some(self.signing.as_ref()?.sign(message).as_ref().to_vec())
    }

    /// The public keys.
    pub(super) fn public(&self) -> PublicKeys {
        PublicKeys::ed25519(&self.public)
    }
}

fn public_key(pair: &Ed25519KeyPair) -> [u8; 32] {
    pair.public_key().as_ref().try_into().expect("an Ed25519 public key has 32 bytes")
}

impl fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKeys").field("keys", &self.public.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What openssl genpkey -algorithm ed25519 and openssl pkey -pubout printed.
    const OPENSSL: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
-----END PRIVATE KEY-----
";
    const OPENSSL_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
-----END PUBLIC KEY-----
";

    #[test]
    fn keys_of_openssl_are_read() {
        let private = TokenKeys::parse(OPENSSL.as_bytes()).unwrap();
        let public = TokenKeys::parse(OPENSSL_PUBLIC.as_bytes()).unwrap();
        // The pair of RFC 8032 section 7.1, test 1.
        assert_eq!(private.public, public.public);
        assert!(private.is_private() && !public.is_private() && public.sign(b"x").is_none());
        assert!(!format!("{private:?}").contains("157"));
    }

    #[test]
    fn the_first_private_key_signs_and_all_are_known() {
        let (new, text) = (TokenKeys::generate(), format!("{OPENSSL_PUBLIC}{OPENSSL}"));
        let both = TokenKeys::parse(format!("{new}{text}").as_bytes()).unwrap();
        assert_eq!(both.public.len(), 3);
        let signed = TokenKeys::parse(new.as_bytes()).unwrap().sign(b"x");
        assert_eq!(both.sign(b"x"), signed);
    }

    #[test]
    fn other_files_are_refused() {
        let section = |name: &str, der: &[u8]| {
            format!("-----BEGIN {name}-----\n{}\n-----END {name}-----\n", BASE64_STANDARD.encode(der))
        };
        for (text, error) in [
            (String::new(), InvalidTokenKey::Empty),
            ("secret".to_owned(), InvalidTokenKey::Empty),
            (OPENSSL[..60].to_owned(), InvalidTokenKey::Empty),
            (section("CERTIFICATE", b"x"), InvalidTokenKey::Empty),
            (section("PRIVATE KEY", b"x"), InvalidTokenKey::Kind),
            (section("EC PRIVATE KEY", b"x"), InvalidTokenKey::Kind),
            (section("PUBLIC KEY", b"x"), InvalidTokenKey::Kind),
            (OPENSSL.repeat(5), InvalidTokenKey::TooMany),
        ] {
            assert_eq!(TokenKeys::parse(text.as_bytes()).unwrap_err(), error, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "(-----BEGIN (PRIVATE|PUBLIC) KEY-----\n[A-Za-z0-9+/=\n]{0,99}\n?-----END (PRIVATE|PUBLIC) KEY-----)?.{0,20}") {
            TokenKeys::parse(text.as_bytes()).ok();
        }
    }
}
