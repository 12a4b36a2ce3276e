//! Signatures of updates (RFC 8945), with HMAC-SHA256.

use super::message::{write_name, write_u16};
use aws_lc_rs::hmac;
use base64::{Engine, prelude::BASE64_STANDARD};
use std::{fmt, sync::Arc};

const ALGORITHM: &str = "hmac-sha256";
/// By how many seconds two clocks may differ.
const FUDGE: u16 = 300;
/// The number of the record type.
const TSIG: u16 = 250;
/// The class of TSIG records.
const ANY: u16 = 255;

/// The key that updates are signed with.
#[derive(Clone)]
pub struct TsigKey {
    name: String,
    key: Arc<hmac::Key>,
}

/// A TSIG key that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTsigKey {
    /// The name is not one of DNS.
    #[error("the key's name is not a name of DNS")]
    Name,
    /// The key is not base64 of at least 16 bytes.
    #[error("the key is not at least 16 bytes in base64, as tsig-keygen prints them")]
    Key,
}

impl fmt::Debug for TsigKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TsigKey({}, ***)", self.name)
    }
}

impl TsigKey {
    /// A key for HMAC-SHA256, as name servers write it: in base64.
    ///
    /// # Errors
    /// [`InvalidTsigKey`].
    pub fn new(name: &str, key: &str) -> Result<Self, InvalidTsigKey> {
        write_name(&mut Vec::new(), name).ok_or(InvalidTsigKey::Name)?;
        let bytes = BASE64_STANDARD.decode(key.trim()).map_err(|_| InvalidTsigKey::Key)?;
        if bytes.len() < 16 {
            return Err(InvalidTsigKey::Key);
        }
        Ok(Self { name: name.to_ascii_lowercase(), key: Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &bytes)) })
    }

    /// A message with its signature behind it.
    pub(super) fn sign(&self, message: &[u8], id: u16, now: u64) -> Vec<u8> {
        let name = |out: &mut Vec<u8>, name: &str| {
            write_name(out, name).expect("both names were checked when the key was made");
        };
        let time = &now.to_be_bytes()[2..];
        // What is signed: the message, then the variables of RFC 8945 section 4.3.3.
        let mut signed = message.to_vec();
        name(&mut signed, &self.name);
        write_u16(&mut signed, ANY);
        signed.extend([0; 4]);
        name(&mut signed, ALGORITHM);
        signed.extend(time);
        write_u16(&mut signed, FUDGE);
        signed.extend([0; 4]);
        let mac = hmac::sign(&self.key, &signed);

        let mut data = Vec::new();
        name(&mut data, ALGORITHM);
        data.extend(time);
        write_u16(&mut data, FUDGE);
        write_u16(&mut data, 32);
        data.extend_from_slice(mac.as_ref());
        write_u16(&mut data, id);
        data.extend([0; 4]);

        let mut out = message.to_vec();
        // One additional record more.
        out[11] += 1;
        name(&mut out, &self.name);
        write_u16(&mut out, TSIG);
        write_u16(&mut out, ANY);
        out.extend([0; 4]);
        write_u16(&mut out, u16::try_from(data.len()).expect("a signature is short"));
        out.extend(data);
        out
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
