//! Limits that a token carries.

use adit_config::{Limits, check_format, schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::LazyLock;

/// The schema of [`Limits`], which has all ranges.
static SCHEMA: LazyLock<Value> = LazyLock::new(schema::of::<Limits>);

/// The limits that a token replaces, with the keys and values of the `limits` section of relay.yaml.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LimitOverrides(Map<String, Value>);

impl LimitOverrides {
    /// Reads limits from JSON.
    ///
    /// # Errors
    /// A key that is not known, or a value of another type or outside its range: where, and what is wrong.
    pub(super) fn read(value: &Value) -> Result<Self, String> {
        let checked = schema::check(&SCHEMA, value, check_format);
        if let Some(problem) = checked.problems.first() {
            return Err(problem.to_string());
        }
        let overrides = Self(value.as_object().cloned().unwrap_or_default());
        match overrides.merged(&Limits::default()) {
            Ok(limits) => limits.problems().first().map_or(Ok(overrides), |problem| Err(problem.to_string())),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Whether nothing is replaced.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The region's limits with these in their place.
    pub fn apply(&self, region: &Limits) -> Limits {
        if self.is_empty() {
            return region.clone();
        }
        // A credential of a newer relay may hold what this one does not know: then the region's limits hold.
        self.merged(region).unwrap_or_else(|_| region.clone())
    }

    fn merged(&self, region: &Limits) -> Result<Limits, serde_json::Error> {
        let mut merged = serde_json::to_value(region)?;
        if let Some(fields) = merged.as_object_mut() {
            fields.extend(self.0.clone());
        }
        serde_json::from_value(merged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_token_s_limit_replaces_that_of_the_region_alone() {
        let region = Limits { sessions: 7, body_bytes: Some(100), ..Limits::default() };
        let overrides = LimitOverrides::read(&json!({"tunnels": 3, "bodyBytes": "2MiB"})).unwrap();
        let limits = overrides.apply(&region);
        assert_eq!(limits, Limits { tunnels: 3, body_bytes: Some(2 << 20), ..region.clone() });
        assert_eq!(LimitOverrides::default().apply(&region), region);
    }

    #[test]
    fn limits_outside_their_range_are_refused_by_name() {
        for (value, said) in [
            (json!({"tunnels": 0}), "tunnels: 0 is not a whole number from 1 to 10000"),
            (json!({"tunnel": 1}), "tunnel: is not a known key; did you mean tunnels?"),
            (json!({"sessions": "many"}), "sessions: \"many\" is not a whole number from 1 to 10000"),
            (json!({"bufferBytes": 1}), "bufferBytes: 1B is not from 1MiB to 64GiB"),
            (json!({"bodyBytes": "0B"}), "bodyBytes: 0 would refuse every body: leave it out for no limit"),
        ] {
            assert_eq!(LimitOverrides::read(&value).unwrap_err(), said);
        }
        for bad in
            [json!([]), json!(1), json!({"streams": 1e3}), json!({"streams": -1}), json!({"burst": null})]
        {
            assert!(LimitOverrides::read(&bad).is_err(), "{bad}");
        }
    }
}
