//! Proof of possession of the client's key.

use adit_protocol::{
    Code,
    possession::{EXPORTER_BYTES, message},
};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

/// A key or signature of a hello that is not right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PossessionError {
    /// The key is not text of an Ed25519 public key.
    #[error("key: is not 32 bytes in base64url without padding")]
    Key,
    /// The signature was not made by the key over this connection.
    #[error("signature: was not made with this key on this connection")]
    Signature,
}

impl PossessionError {
    /// The code for the client.
    pub fn code(self) -> Code {
        match self {
            Self::Key => Code::BadHello,
            Self::Signature => Code::PossessionFailed,
        }
    }
}

/// Reads a client's public key as it stands in a hello.
///
/// # Errors
/// [`PossessionError::Key`].
pub fn client_key(text: &str) -> Result<[u8; 32], PossessionError> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| PossessionError::Key)?;
    bytes.try_into().map_err(|_| PossessionError::Key)
}

/// Checks that a signature was made with a client's key over what [`adit_protocol::possession`] describes.
///
/// # Errors
/// [`PossessionError::Signature`].
pub fn verify_possession(
    key: &[u8; 32],
    exporter: &[u8; EXPORTER_BYTES],
    signature: &[u8],
) -> Result<(), PossessionError> {
    let key = UnparsedPublicKey::new(&ED25519, key);
    key.verify(&message(exporter), signature).map_err(|_| PossessionError::Signature)
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

    #[test]
    fn only_the_keys_own_signature_over_this_connection_counts() {
        let pair = Ed25519KeyPair::generate().unwrap();
        let text = BASE64_URL_SAFE_NO_PAD.encode(pair.public_key());
        let key = client_key(&text).unwrap();
        let signature = pair.sign(&message(&[7; 32]));
        let signature = signature.as_ref();
        assert_eq!(verify_possession(&key, &[7; 32], signature), Ok(()));
        let no = Err(PossessionError::Signature);
        assert_eq!(verify_possession(&key, &[8; 32], signature), no, "another connection");
        assert_eq!(verify_possession(&[1; 32], &[7; 32], signature), no, "another key");
        assert_eq!(verify_possession(&key, &[7; 32], &signature[..63]), no);
        assert_eq!(verify_possession(&key, &[7; 32], pair.sign(&[7; 32]).as_ref()), no, "another message");
        for bad in ["", "x", &text[1..], &format!("{text}="), &format!("{text}AA")] {
            assert_eq!(client_key(bad), Err(PossessionError::Key), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(key: [u8; 32], exporter: [u8; 32], signature: Vec<u8>, text: String) {
            proptest::prop_assert!(verify_possession(&key, &exporter, &signature).is_err());
            client_key(&text).ok();
        }
    }
}
