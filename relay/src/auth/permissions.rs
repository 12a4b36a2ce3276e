//! Permissions: what a client may open.

use super::{LimitOverrides, NamePattern};
use adit_config::Limits;
use adit_protocol::{Kind, Name};
use serde::{Deserialize, Serialize};

/// The names, kinds and limits that a token grants. They travel in the credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Permissions {
    /// The names that it may ask for; `None`: every name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<Vec<NamePattern>>,
    /// The kinds of tunnels.
    pub kinds: Vec<Kind>,
    /// Limits of its own.
    #[serde(default, skip_serializing_if = "LimitOverrides::is_empty")]
    pub limits: LimitOverrides,
}

impl Permissions {
    /// The most patterns that a token may have.
    pub const MAX_NAMES: usize = 64;

    /// What a managed token allows that says nothing: every name and every kind that the region offers. The provider
    /// made it for this account, and narrows it where it wants to.
    pub fn managed() -> Self {
        Self { names: None, kinds: Kind::ALL.to_vec(), limits: LimitOverrides::default() }
    }

    /// What a foreign token allows that says nothing: every name, `http` only. Its issuer may not know that it opens
    /// tunnels at all.
    pub fn foreign() -> Self {
        Self { kinds: vec![Kind::Http], ..Self::managed() }
    }

    /// Whether a name may be asked for.
    pub fn allows_name(&self, name: &Name) -> bool {
        self.names.as_ref().is_none_or(|names| names.iter().any(|pattern| pattern.matches(name.as_str())))
    }

    /// Whether tunnels of a kind may be opened.
    pub fn allows_kind(&self, kind: Kind) -> bool {
        self.kinds.contains(&kind)
    }

    /// A name that may be asked for, made of a random one: that one itself, or the first pattern that has a `*`, with
    /// the random name in its place. `None` if only fixed names are allowed.
    pub fn random_name(&self, random: &Name) -> Option<Name> {
        match &self.names {
            None => Some(random.clone()),
            Some(names) => names.iter().find_map(|pattern| pattern.fill(random.as_str())),
        }
    }

    /// The limits of a client with these permissions in a region with these limits.
    pub fn limits(&self, region: &Limits) -> Limits {
        self.limits.apply(region)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_allowed_by_any_pattern() {
        let name = |text: &str| text.parse::<Name>().unwrap();
        let some = |patterns: &[&str]| Permissions {
            names: Some(patterns.iter().map(|text| text.parse().unwrap()).collect()),
            ..Permissions::foreign()
        };
        assert!(Permissions::managed().allows_name(&name("shop")));
        let ci = some(&["shop", "ci-*"]);
        assert!(ci.allows_name(&name("shop")) && ci.allows_name(&name("ci-7")));
        assert!(!ci.allows_name(&name("blog")) && !some(&[]).allows_name(&name("shop")));
        assert_eq!(ci.random_name(&name("brisk-otter")), Some(name("ci-brisk-otter")));
        assert_eq!(some(&["shop"]).random_name(&name("brisk-otter")), None);
        assert!(!ci.allows_kind(Kind::Tcp) && Permissions::managed().allows_kind(Kind::Tcp));
    }

    #[test]
    fn permissions_survive_the_credential() {
        let all = Permissions::managed();
        let text = serde_json::to_string(&all).unwrap();
        assert_eq!(text, r#"{"kinds":["http","tcp"]}"#);
        assert_eq!(serde_json::from_str::<Permissions>(&text).unwrap(), all);
    }
}
