//! The claims of a token.

use super::{LimitOverrides, NamePattern, Permissions, TokenError, token::Token};
use adit_config::problem::{quoted, shown};
use adit_protocol::Kind;
use serde_json::{Map, Value};

/// Tolerated difference between clocks, in seconds.
pub(super) const CLOCK_LEEWAY_SECONDS: u64 = 60;
/// Maximum number of elements of an `aud` claim.
const MAX_AUDIENCES: usize = 64;
const MAX_KINDS: usize = 8;
/// The claim with Adit's permissions.
const ADIT_CLAIM: &str = "adit";

fn invalid_claim(text: impl Into<String>) -> TokenError {
    TokenError::Claims(text.into())
}

impl Token<'_> {
    /// A claim that has to be text.
    pub(super) fn text(&self, name: &str) -> Result<&str, TokenError> {
        match self.claims.get(name) {
            Some(Value::String(text)) if !text.is_empty() => Ok(text),
            Some(Value::String(_)) => Err(invalid_claim(format!("{name}: is empty"))),
            Some(other) => Err(invalid_claim(format!("{name}: {} is not text", shown(other)))),
            None => Err(invalid_claim(format!("{name}: is missing"))),
        }
    }

    /// A claim that is a time (RFC 7519 section 2, NumericDate); parts of a second are cut off.
    pub(super) fn time(&self, name: &str) -> Result<Option<u64>, TokenError> {
        let Some(value) = self.claims.get(name) else { return Ok(None) };
        let seconds = value.as_u64().or_else(|| match value.as_f64() {
            Some(float) if (0.0..9e15).contains(&float) => Some(float as u64),
            _ => None,
        });
        let rule = || invalid_claim(format!("{name}: {} is not a time in seconds since 1970", shown(value)));
        seconds.map(Some).ok_or_else(rule)
    }

    pub(super) fn check_audience(&self, expected: &str) -> Result<(), TokenError> {
        let named: Vec<&str> = match self.claims.get("aud") {
            None => return Err(invalid_claim("aud: is missing")),
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(all)) if all.len() <= MAX_AUDIENCES && all.iter().all(Value::is_string) => {
                all.iter().filter_map(Value::as_str).collect()
            }
            Some(other) => {
                let text = format!("aud: {} is not text or a list of up to {MAX_AUDIENCES}", shown(other));
                return Err(invalid_claim(text));
            }
        };
        if named.contains(&expected) {
            return Ok(());
        }
        Err(TokenError::Audience { named: named.join(", "), expected: expected.to_owned() })
    }

    /// Checks that the token has begun and is not over; answers with its end.
    pub(super) fn check_times(&self, now: u64) -> Result<u64, TokenError> {
        let expires = self.time("exp")?.ok_or_else(|| invalid_claim("exp: is missing"))?;
        for claim in ["nbf", "iat"] {
            let starts = self.time(claim)?.unwrap_or(0);
            if starts > now.saturating_add(CLOCK_LEEWAY_SECONDS) {
                return Err(TokenError::ClockSkew { claim, starts, now });
            }
        }
        if now >= expires.saturating_add(CLOCK_LEEWAY_SECONDS) {
            return Err(TokenError::Expired { expired: expires, now });
        }
        Ok(expires)
    }

    /// The permissions of the token; `otherwise` holds the defaults for claims that are absent.
    pub(super) fn permissions(&self, otherwise: Permissions) -> Result<Permissions, TokenError> {
        match self.claims.get(ADIT_CLAIM) {
            None => Ok(otherwise),
            Some(Value::Object(fields)) => permissions(fields, otherwise)
                .map_err(|problem| invalid_claim(format!("{ADIT_CLAIM}.{problem}"))),
            Some(other) => Err(invalid_claim(format!("{ADIT_CLAIM}: {} is not a mapping", shown(other)))),
        }
    }
}

fn permissions(fields: &Map<String, Value>, mut permissions: Permissions) -> Result<Permissions, String> {
    for (key, value) in fields {
        match key.as_str() {
            "names" => permissions.names = Some(read_list(key, value, Permissions::MAX_NAMES, read_pattern)?),
            "kinds" => permissions.kinds = read_list(key, value, MAX_KINDS, read_kind)?,
            "limits" => {
                let read = LimitOverrides::read(value);
                permissions.limits = read.map_err(|problem| format!("limits.{problem}"))?;
            }
            other => return Err(format!("{}: is not one of names, kinds and limits", quoted(other))),
        }
    }
    Ok(permissions)
}

fn read_list<T>(
    key: &str,
    value: &Value,
    most: usize,
    read: impl Fn(&Value) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let Value::Array(values) = value else { return Err(format!("{key}: {} is not a list", shown(value))) };
    if values.len() > most {
        return Err(format!("{key}: has {} elements, at most {most} are allowed", values.len()));
    }
    let at = |(index, value)| read(value).map_err(|problem| format!("{key}[{index}]: {problem}"));
    values.iter().enumerate().map(at).collect()
}

fn read_pattern(value: &Value) -> Result<NamePattern, String> {
    let pattern = value.as_str().unwrap_or_default().parse();
    pattern.map_err(|rule: super::InvalidPattern| format!("{} {rule}", shown(value)))
}

fn read_kind(value: &Value) -> Result<Kind, String> {
    serde_json::from_value(value.clone()).map_err(|_| format!("{} is not http or tcp", shown(value)))
}
