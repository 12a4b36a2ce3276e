//! A JWT in compact form (RFC 7519, RFC 7515 section 7.1), taken apart and not yet believed.

use super::{
    TokenError,
    json::{JsonObject, ObjectError},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

/// The most characters of a token that are read.
pub(super) const MAX_BYTES: usize = 16 * 1024;

/// A token, taken apart.
#[derive(Debug)]
pub(super) struct Token<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<String>,
    pub(super) claims: Map<String, Value>,
    /// Header and claims, as they were signed.
    pub(super) signed: &'a str,
    /// The signature in base64url.
    pub(super) signature: &'a str,
}

impl<'a> Token<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, TokenError> {
        if text.len() > MAX_BYTES {
            return Err(TokenError::Malformed("is longer than 16384 bytes"));
        }
        let three_parts =
            TokenError::Malformed("is not a signed JWT, which has three parts with dots between");
        let Some((signed, signature)) = text.rsplit_once('.') else { return Err(three_parts) };
        let Some((header, claims)) = signed.split_once('.').filter(|(_, claims)| !claims.contains('.'))
        else {
            return Err(three_parts);
        };
        let header = decode(header)
            .and_then(|json| JsonObject::parse(&json).ok())
            .ok_or(TokenError::Malformed("has a header that is not a JSON object in base64url"))?;
        let (algorithm, key_id) = read_header(&header.0)?;
        if decode(signature).is_none() {
            return Err(TokenError::Malformed("has a signature that is not base64url"));
        }
        let claims = decode(claims).ok_or(ObjectError::Malformed).and_then(|json| JsonObject::parse(&json));
        let claims = claims.map_err(|error| match error {
            ObjectError::Malformed => {
                TokenError::Malformed("has claims that are not a JSON object in base64url")
            }
            ObjectError::Duplicate(key) => TokenError::Claims(format!("{key} is there twice")),
        })?;
        Ok(Self { algorithm, key_id, claims: claims.0, signed, signature })
    }
}

fn read_header(header: &Map<String, Value>) -> Result<(Algorithm, Option<String>), TokenError> {
    if header.contains_key("crit") {
        return Err(TokenError::Malformed("has a header with crit, and this relay knows no extension"));
    }
    let algorithm = match header.get("alg") {
        Some(Value::String(name)) => match name.as_str() {
            // RFC 9864 gives EdDSA with this curve a name of its own.
            "EdDSA" | "Ed25519" => Algorithm::EdDSA,
            "ES256" => Algorithm::ES256,
            "RS256" => Algorithm::RS256,
            other => return Err(TokenError::unknown_algorithm(other)),
        },
        _ => return Err(TokenError::Malformed("has a header without alg")),
    };
    match header.get("kid") {
        None => Ok((algorithm, None)),
        Some(Value::String(id)) => Ok((algorithm, Some(id.clone()))),
        Some(_) => Err(TokenError::Malformed("has a header with a kid that is not text")),
    }
}

fn decode(part: &str) -> Option<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD.decode(part).ok()
}
