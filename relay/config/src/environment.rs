//! `ADIT_*` variables: which the programs read, and how they are named.
//!
//! A variable with this prefix that no Adit program reads is a mistake that would go unseen, so the programs refuse to
//! start with it. Each program accepts what the others read, because they share environments. They do not depend on each
//! other: each derives the list of its own variables from its flags and keys, and its tests hold the file of that list
//! equal to the derivation (`BLESS=1 cargo test -p CRATE variables` writes the file).

use crate::nearest;
use std::collections::BTreeSet;

/// The prefix of all variables.
pub const PREFIX: &str = "ADIT_";

/// The variables of each program, one a line.
const LISTS: [&str; 3] = [
    include_str!("environment/adit.txt"),
    include_str!("environment/adit-relay.txt"),
    include_str!("environment/adit-operator.txt"),
];

/// The text of a list in `environment/`: the names in order, each once, one a line.
pub fn list(names: impl IntoIterator<Item = String>) -> String {
    names.into_iter().collect::<BTreeSet<_>>().into_iter().map(|name| name + "\n").collect()
}

/// The variable of a key: `tcpPorts.first` is `ADIT_TCP_PORTS_FIRST`.
pub fn variable(key: &str) -> String {
    let mut name = PREFIX.to_owned();
    let mut previous = None::<char>;
    for c in key.chars() {
        let word_begins = previous.is_some_and(|previous| !previous.is_ascii_uppercase() && previous != '.');
        if c == '.' || (c.is_ascii_uppercase() && word_begins) {
            name.push('_');
        }
        if c != '.' {
            name.push(c.to_ascii_uppercase());
        }
        previous = Some(c);
    }
    name
}

/// Whether any Adit program reads a variable.
pub fn is_known(name: &str) -> bool {
    known().any(|known| known == name)
}

/// The message about a variable that no Adit program reads; it follows the name. It does not show the value, which may be
/// a secret.
pub fn unknown(name: &str) -> String {
    let unprefixed = |name: &'static str| name.strip_prefix(PREFIX).unwrap_or(name);
    match nearest(name.strip_prefix(PREFIX).unwrap_or(name), known().map(unprefixed)) {
        Some(meant) => format!("no Adit program reads this variable; did you mean {PREFIX}{meant}?"),
        None => format!("no Adit program reads this variable; unset it ({PREFIX}* is reserved)"),
    }
}

fn known() -> impl Iterator<Item = &'static str> {
    LISTS.into_iter().flat_map(str::lines)
}

/// Whether a variable is one that Kubernetes sets for a Service whose name begins with `adit`, as for links between
/// containers: `ADIT_SERVICE_HOST`, `ADIT_PORT=tcp://10.0.0.1:443`, `ADIT_RELAY_PORT_443_TCP_ADDR`.
pub fn is_service_link(name: &str, value: &str) -> bool {
    let Some(rest) = name.strip_prefix("ADIT") else { return false };
    let protocol = |word: &str| matches!(word, "TCP" | "UDP" | "SCTP");
    if rest.ends_with("_SERVICE_HOST") || rest.ends_with("_SERVICE_PORT") || rest.contains("_SERVICE_PORT_") {
        return true;
    }
    if rest.ends_with("_PORT")
        && value.split_once("://").is_some_and(|(scheme, _)| protocol(&scheme.to_uppercase()))
    {
        return true;
    }
    let words: Vec<&str> = rest.split('_').collect();
    words
        .windows(3)
        .any(|window| window[0] == "PORT" && window[1].parse::<u16>().is_ok() && protocol(window[2]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_one_variable_each() {
        for (key, name) in [
            ("domain", "ADIT_DOMAIN"),
            ("listen.https", "ADIT_LISTEN_HTTPS"),
            ("tcpPorts.first", "ADIT_TCP_PORTS_FIRST"),
            ("limits.requestsPerSecond", "ADIT_LIMITS_REQUESTS_PER_SECOND"),
            ("proxyProtocol.trustedCIDRs", "ADIT_PROXY_PROTOCOL_TRUSTED_CIDRS"),
        ] {
            assert_eq!(variable(key), name);
        }
    }

    #[test]
    fn service_links_are_told_from_mistakes() {
        for (name, value) in [
            ("ADIT_SERVICE_HOST", "10.0.0.1"),
            ("ADIT_SERVICE_PORT", "443"),
            ("ADIT_SERVICE_PORT_HTTPS", "443"),
            ("ADIT_PORT", "tcp://10.0.0.1:443"),
            ("ADIT_PORT_443_TCP", "tcp://10.0.0.1:443"),
            ("ADIT_PORT_443_TCP_PROTO", "tcp"),
            ("ADIT_PORT_443_TCP_PORT", "443"),
            ("ADIT_PORT_443_TCP_ADDR", "10.0.0.1"),
            ("ADIT_RELAY_PORT_53_UDP_ADDR", "10.0.0.1"),
            ("ADIT_EU_REDIS_SERVICE_HOST", "10.0.0.1"),
            // A Service named adit-public.
            ("ADIT_PUBLIC_PORT", "tcp://10.0.0.1:443"),
        ] {
            assert!(is_service_link(name, value), "{name}");
        }
        for (name, value) in
            [("ADIT_PUBLIC_PORT", "443"), ("ADIT_PORTS", "1"), ("ADIT_LISTEN_HTTPS", ":443"), ("X", "")]
        {
            assert!(!is_service_link(name, value), "{name}");
        }
    }

    #[test]
    fn an_unknown_variable_is_named_with_its_neighbour() {
        assert!(is_known("ADIT_TOKEN_FILE") && is_known("ADIT_STORE") && !is_known("ADIT_TOKENFILE"));
        assert_eq!(
            unknown("ADIT_TOKENFILE"),
            "no Adit program reads this variable; did you mean ADIT_TOKEN_FILE?"
        );
        assert_eq!(
            unknown("ADIT_XYZZY_PLUGH_FROTZ_BLORB"),
            "no Adit program reads this variable; unset it (ADIT_* is reserved)"
        );
    }
    #[test]
    fn variables_of_flags_that_do_not_exist_are_unknown() {
        for flag in ["AUTH", "ALLOW", "DENY", "HEADER", "HOSTNAME", "INSPECT", "PID"] {
            assert!(!is_known(&format!("ADIT_{flag}")), "{flag}");
        }
    }

    #[test]
    fn a_list_has_each_name_once_and_in_order() {
        assert_eq!(list(["B", "A", "B"].map(str::to_owned)), "A\nB\n");
        for text in LISTS {
            assert_eq!(text, list(text.lines().map(str::to_owned)));
        }
    }
}
