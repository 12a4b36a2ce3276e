//! The key that signs updates (TSIG, RFC 8945).

use super::parse_name;
use base64::{Engine, prelude::BASE64_STANDARD};
use hickory_proto::rr::{TSigner, rdata::tsig::TsigAlgorithm};
use std::fmt;

/// The number of seconds by which two clocks may differ.
const FUDGE: u16 = 300;
/// The minimum length of a key in bytes.
const MIN_KEY_BYTES: usize = 16;

/// A TSIG key for HMAC-SHA256.
#[derive(Clone)]
pub struct TsigKey {
    pub(super) signer: TSigner,
}

/// A TSIG key that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTsigKey {
    /// The name is not a domain name.
    #[error("the key's name is not a domain name")]
    Name,
    /// The key is not base64 of at least 16 bytes.
    #[error("the key is not at least 16 bytes in base64, as tsig-keygen prints them")]
    Key,
}

impl fmt::Debug for TsigKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TsigKey({}, ***)", super::name_text(self.signer.signer_name()))
    }
}

impl TsigKey {
    /// A key by its name and its bytes in base64, as name servers write them.
    ///
    /// # Errors
    /// [`InvalidTsigKey`].
    pub fn new(name: &str, key: &str) -> Result<Self, InvalidTsigKey> {
        let name = parse_name(name).ok_or(InvalidTsigKey::Name)?;
        let bytes = BASE64_STANDARD.decode(key.trim()).map_err(|_| InvalidTsigKey::Key)?;
        if bytes.len() < MIN_KEY_BYTES {
            return Err(InvalidTsigKey::Key);
        }
        let signer = TSigner::new(bytes, TsigAlgorithm::HmacSha256, name, FUDGE);
        Ok(Self { signer: signer.expect("HMAC-SHA256 is supported") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_a_name_and_enough_bytes() {
        let good = BASE64_STANDARD.encode([1; 32]);
        assert!(TsigKey::new("adit.", &good).is_ok());
        assert_eq!(TsigKey::new("", &good).map(drop), Err(InvalidTsigKey::Name));
        for bad in ["", "AAAA", "not base64"] {
            assert_eq!(TsigKey::new("adit", bad).map(drop), Err(InvalidTsigKey::Key), "{bad}");
        }
        let shown = format!("{:?}", TsigKey::new("adit", &good));
        assert_eq!(shown, "Ok(TsigKey(adit, ***))");
    }
}
