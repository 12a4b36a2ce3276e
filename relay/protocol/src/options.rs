//! What a tunnel's client asks of the relays that accept its consumers.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The options of a tunnel. They travel with its hello, with its row in the registry and with what peers answer, so that each
/// relay that accepts a consumer has them at the route. Empty unless a client says otherwise.
///
/// No option is defined yet. The first is a field of this type, with a default that means what its absence meant before;
/// nothing on the way has to know it. An option that this version does not know is kept and passed on as it came: a newer client
/// reaches a newer relay through older ones.
///
/// As JSON they are an object of at most [`TunnelOptions::MAX_BYTES`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Map<String, Value>", into = "Map<String, Value>")]
pub struct TunnelOptions {
    /// Options of later versions, by name.
    unknown: Map<String, Value>,
}

/// Options with more than [`TunnelOptions::MAX_BYTES`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a tunnel's options have at most {max} bytes as JSON, these have {bytes}", max = TunnelOptions::MAX_BYTES)]
pub struct OptionsTooLong {
    bytes: usize,
}

impl TunnelOptions {
    /// The most bytes that the options may have as JSON: each relay of a region holds those of all tunnels.
    pub const MAX_BYTES: usize = 1024;

    /// Whether there is no option.
    pub fn is_empty(&self) -> bool {
        self.unknown.is_empty()
    }
}

impl TryFrom<Map<String, Value>> for TunnelOptions {
    type Error = OptionsTooLong;

    fn try_from(unknown: Map<String, Value>) -> Result<Self, OptionsTooLong> {
        let bytes =
            if unknown.is_empty() { 2 } else { serde_json::to_vec(&unknown).map_or(0, |json| json.len()) };
        if bytes <= Self::MAX_BYTES { Ok(Self { unknown }) } else { Err(OptionsTooLong { bytes }) }
    }
}

impl From<TunnelOptions> for Map<String, Value> {
    fn from(options: TunnelOptions) -> Self {
        options.unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_a_later_version_are_kept() {
        let json = r#"{"later":{"list":[1,"ü",null]},"n":18446744073709551615}"#;
        let options: TunnelOptions = serde_json::from_str(json).unwrap();
        assert!(!options.is_empty());
        assert_eq!(serde_json::to_string(&options).unwrap(), json);
        assert_eq!(serde_json::from_str::<TunnelOptions>("{}").unwrap(), TunnelOptions::default());
    }

    #[test]
    fn options_are_an_object_of_bounded_size() {
        let of_length = |bytes: usize| format!(r#"{{"a":"{}"}}"#, "x".repeat(bytes - r#"{"a":""}"#.len()));
        assert!(serde_json::from_str::<TunnelOptions>(&of_length(TunnelOptions::MAX_BYTES)).is_ok());
        let error =
            serde_json::from_str::<TunnelOptions>(&of_length(TunnelOptions::MAX_BYTES + 1)).unwrap_err();
        assert!(error.to_string().contains("at most 1024 bytes as JSON, these have 1025"), "{error}");
        assert!(serde_json::from_str::<TunnelOptions>("[]").is_err());
    }
}
