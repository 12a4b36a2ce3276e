//! An issuer of tokens, for tests.

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rand::SystemRandom,
    rsa,
    signature::{
        self, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    },
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use std::sync::LazyLock;

/// An issuer with a key of each kind; their ids are `ed`, `ec` and `rsa`.
pub(super) struct TestIssuer {
    ed: Ed25519KeyPair,
    ec: EcdsaKeyPair,
    rsa: &'static signature::RsaKeyPair,
}

/// RSA keys take long to make, and no test needs two.
static RSA: LazyLock<signature::RsaKeyPair> =
    LazyLock::new(|| signature::RsaKeyPair::generate(rsa::KeySize::Rsa2048).unwrap());

impl TestIssuer {
    pub(super) fn new() -> Self {
        Self {
            ed: Ed25519KeyPair::generate().unwrap(),
            ec: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            rsa: &RSA,
        }
    }

    /// The public keys.
    pub(super) fn jwks(&self) -> Value {
        let text = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let point = self.ec.public_key().as_ref();
        let rsa = self.rsa.public_key();
        json!({ "keys": [
            { "kid": "ed", "kty": "OKP", "crv": "Ed25519", "use": "sig", "x": text(self.ed.public_key().as_ref()) },
            { "kid": "ec", "kty": "EC", "crv": "P-256", "x": text(&point[1..33]), "y": text(&point[33..]) },
            { "kid": "rsa", "kty": "RSA", "alg": "RS256", "n": text(rsa.modulus().big_endian_without_leading_zero()),
              "e": text(rsa.exponent().big_endian_without_leading_zero()) },
        ]})
    }

    /// The same keys in PEM.
    pub(super) fn pem(&self) -> String {
        [self.ed_public_der(), self.ec_public_der(), self.rsa_public_der()]
            .map(|der| pem("PUBLIC KEY", &der))
            .concat()
    }

    pub(super) fn ed_public_der(&self) -> Vec<u8> {
        AsDer::<PublicKeyX509Der<'_>>::as_der(self.ed.public_key()).unwrap().as_ref().to_vec()
    }

    fn ec_public_der(&self) -> Vec<u8> {
        AsDer::<PublicKeyX509Der<'_>>::as_der(self.ec.public_key()).unwrap().as_ref().to_vec()
    }

    pub(super) fn rsa_public_der(&self) -> Vec<u8> {
        AsDer::<PublicKeyX509Der<'_>>::as_der(self.rsa.public_key()).unwrap().as_ref().to_vec()
    }

    pub(super) fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match algorithm {
            "ES256" => self.ec.sign(&random, message).unwrap().as_ref().to_vec(),
            "RS256" => {
                let mut signature = vec![0; self.rsa.public_modulus_len()];
                self.rsa.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
            _ => self.ed.sign(message).as_ref().to_vec(),
        }
    }

    /// A token with the id of its key.
    pub(super) fn token(&self, algorithm: &str, claims: &Value) -> String {
        let id = match algorithm {
            "ES256" => "ec",
            "RS256" => "rsa",
            _ => "ed",
        };
        let header = json!({ "alg": algorithm, "kid": id, "typ": "JWT" });
        forge(&header.to_string(), &claims.to_string(), |message| self.sign(algorithm, message))
    }
}

/// A token of any header, claims and signature.
pub(super) fn forge(header: &str, claims: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let part = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let signed = format!("{}.{}", part(header.as_bytes()), part(claims.as_bytes()));
    format!("{signed}.{}", part(&sign(signed.as_bytes())))
}

/// A good signature of a key that nobody knows.
pub(super) fn sign_ed25519(message: &[u8]) -> Vec<u8> {
    Ed25519KeyPair::generate().unwrap().sign(message).as_ref().to_vec()
}

/// A section of a PEM file.
pub(super) fn pem(name: &str, der: &[u8]) -> String {
    let text = base64::prelude::BASE64_STANDARD.encode(der);
    format!("-----BEGIN {name}-----\n{text}\n-----END {name}-----\n")
}
