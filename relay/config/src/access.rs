//! Who may open tunnels.

use crate::{Invalid, Problem, Version};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The name of the format of an issuer in schemas.
pub const ISSUER_FORMAT: &str = "issuer";
/// The maximum number of issuers of a region.
pub const MAX_ISSUERS: usize = 16;

/// Who may open tunnels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Access {
    /// Which tokens are accepted.
    pub tokens: Tokens,
    /// The oldest client that is served. Absent: every client that speaks the protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum_client_version: Option<Version>,
}

/// Which tokens are accepted. Exactly one of its fields is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Tokens {
    /// The provider's own, signed with its token key (`adit-relay token`).
    Managed {},
    /// JWTs (RFC 7519) of other issuers, 1 to 16.
    Issuers(#[schemars(length(min = 1, max = 16))] Vec<Issuer>),
}

impl Default for Tokens {
    fn default() -> Self {
        Self::Managed {}
    }
}

/// Another issuer whose JWTs are accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Issuer {
    /// The `iss` claim, for example `https://id.example.com`.
    #[schemars(extend("format" = ISSUER_FORMAT))]
    pub issuer: String,
    /// What the `aud` claim has to contain.
    #[schemars(length(min = 1, max = 256))]
    pub audience: String,
    /// The file of its public keys: a JSON Web Key Set (RFC 7517) or PEM.
    #[schemars(extend("format" = crate::PATH_FORMAT))]
    pub keys: PathBuf,
}

/// Checks an `iss` claim: the account's name is made of it, and `adit` is the provider's own.
pub(crate) fn check_issuer(text: &str) -> Result<(), Invalid> {
    let rule = match text {
        "" => "is empty",
        "adit" => "stands for the provider's own tokens: write tokens: {managed: {}}",
        _ if text.len() > 256 => "is too long: an issuer has at most 256 bytes",
        _ if text.contains('|') || text.chars().any(char::is_control) => "has a '|' or a control character",
        _ => return Ok(()),
    };
    Err(Invalid::new(rule))
}

impl Access {
    /// What is wrong with the fields together.
    pub fn problems(&self) -> Vec<Problem> {
        let Tokens::Issuers(issuers) = &self.tokens else { return Vec::new() };
        let mut problems = Vec::new();
        for (index, issuer) in issuers.iter().enumerate() {
            if issuers[..index].iter().any(|earlier| earlier.issuer == issuer.issuer) {
                let problem = Problem::value("issuer", format_args!("{:?}", issuer.issuer), "is there twice");
                problems.push(problem.within(index).within("issuers").within("tokens"));
            }
        }
        problems
    }
}
