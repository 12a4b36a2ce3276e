//! Values that are written as text in a format of their own.

use std::{borrow::Cow, str::FromStr};

/// The name of the format of a path in schemas.
pub const PATH_FORMAT: &str = "path";

/// Text that breaks the rule of its format. It reads as what follows the value: `is not a duration, like 30s`.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub struct Invalid(Cow<'static, str>);

impl Invalid {
    /// The broken rule, as a phrase that follows the value.
    pub fn new(rule: impl Into<Cow<'static, str>>) -> Self {
        Self(rule.into())
    }
}

/// Implements `JsonSchema` for a type that is written as text. The schema is inlined where it is used.
macro_rules! inline_schema {
    ($type:ty, $name:literal, $schema:tt) => {
        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!($schema)
            }
        }
    };
}

pub(crate) use inline_schema;

/// Checks a text against one of this crate's formats, named by `format` in schemas.
///
/// # Errors
/// The rule that the text breaks. An unknown format accepts every text.
pub fn check_format(format: &str, text: &str) -> Result<(), Invalid> {
    match format {
        crate::access::ISSUER_FORMAT => crate::access::check_issuer(text),
        crate::duration::FORMAT => crate::duration::parse(text).map(drop),
        crate::name::FORMAT => crate::DnsName::from_str(text).map(drop),
        PATH_FORMAT => check_path(text),
        crate::size::FORMAT => crate::size::parse(text).map(drop),
        crate::version::FORMAT => crate::Version::from_str(text).map(drop),
        _ => Ok(()),
    }
}

fn check_path(text: &str) -> Result<(), Invalid> {
    let rule = match text {
        "" => "is empty",
        _ if text.len() > 4095 => "is too long: a path has at most 4095 bytes",
        _ if text.contains('\0') => "has a zero byte",
        _ => return Ok(()),
    };
    Err(Invalid::new(rule))
}
