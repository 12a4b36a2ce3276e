//! Values that are written as text in a format of their own.

use std::borrow::Cow;

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
