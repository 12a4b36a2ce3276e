//! The environment: which `ADIT_*` variables there are, and which only look like them.
//!
//! A variable with this prefix that no Adit program knows is a mistake that would go unseen, so that the programs refuse
//! to start with it. A program accepts what another one reads, because they share environments.

use crate::{nearest, problem::quoted};

/// What all names begin with.
pub const PREFIX: &str = "ADIT_";

/// What the client reads: its flags. `--port` has no variable, because Kubernetes sets `ADIT_PORT`.
pub const CLIENT: &[&str] = &[
    "ADIT_ALLOW",
    "ADIT_ANY_NAME",
    "ADIT_AUTH",
    "ADIT_CA",
    "ADIT_COLOR",
    "ADIT_CONFIG",
    "ADIT_DENY",
    "ADIT_FORCE",
    "ADIT_GIVE_UP_AFTER",
    "ADIT_HEADER",
    "ADIT_HOSTNAME",
    "ADIT_HOST_HEADER",
    "ADIT_INSPECT",
    "ADIT_JSON",
    "ADIT_NAME",
    "ADIT_PID",
    "ADIT_QUIET",
    "ADIT_RELAY",
    "ADIT_TOKEN",
    "ADIT_TOKEN_COMMAND",
    "ADIT_TOKEN_FILE",
    "ADIT_UPSTREAM_CA",
    "ADIT_UPSTREAM_PROTOCOL",
    "ADIT_VERBOSE",
];

/// What the relay reads: `ADIT_CONFIG`, and the keys of relay.yaml (see [`variable`]).
pub const RELAY: &[&str] = &[
    "ADIT_ACCESS_LOG_FORMAT",
    "ADIT_ACCESS_LOG_PATH",
    "ADIT_ACCESS_MINIMUM_CLIENT_VERSION",
    "ADIT_ACCESS_TOKENS_ISSUERS",
    "ADIT_ACCESS_TOKENS_MANAGED",
    "ADIT_CONFIG",
    "ADIT_CONNECTIONS",
    "ADIT_DATA_DIR",
    "ADIT_DOMAIN",
    "ADIT_DRAIN_TIMEOUT",
    "ADIT_KEYS_REGION",
    "ADIT_KEYS_TOKENS",
    "ADIT_LANES",
    "ADIT_LIMITS_BODY_BYTES",
    "ADIT_LIMITS_BUFFER_BYTES",
    "ADIT_LIMITS_BURST",
    "ADIT_LIMITS_NAMES",
    "ADIT_LIMITS_REQUESTS_PER_SECOND",
    "ADIT_LIMITS_RESPONSE_TIMEOUT",
    "ADIT_LIMITS_SESSIONS",
    "ADIT_LIMITS_STREAMS",
    "ADIT_LIMITS_TUNNELS",
    "ADIT_LISTEN_ADMIN",
    "ADIT_LISTEN_HTTP",
    "ADIT_LISTEN_HTTPS",
    "ADIT_LISTEN_OPS",
    "ADIT_LISTEN_PEER",
    "ADIT_LOG",
    "ADIT_LOG_FORMAT",
    "ADIT_LOG_LEVEL",
    "ADIT_NAME",
    "ADIT_PEER_ADVERTISE",
    "ADIT_PEER_CA",
    "ADIT_PEER_CERT",
    "ADIT_PEER_KEY",
    "ADIT_PLAIN_HTTP",
    "ADIT_PROVIDER_ABUSE",
    "ADIT_PROVIDER_NAME",
    "ADIT_PROXY_PROTOCOL_TRUSTED_CIDRS",
    "ADIT_PUBLIC_PORT",
    "ADIT_REGISTRY",
    "ADIT_STORE",
    "ADIT_TCP_PORTS_FIRST",
    "ADIT_TCP_PORTS_LAST",
    "ADIT_TLS_ACME_CA_BUNDLE",
    "ADIT_TLS_ACME_CHALLENGE",
    "ADIT_TLS_ACME_DNS_KEY",
    "ADIT_TLS_ACME_DNS_KEY_NAME",
    "ADIT_TLS_ACME_DNS_SERVER",
    "ADIT_TLS_ACME_EMAIL",
    "ADIT_TLS_ACME_EXTERNAL_ACCOUNT_KEY",
    "ADIT_TLS_ACME_EXTERNAL_ACCOUNT_KEY_ID",
    "ADIT_TLS_ACME_NAMES",
    "ADIT_TLS_ACME_PROFILE",
    "ADIT_TLS_ACME_RENEW_BEFORE",
    "ADIT_TLS_ACME_RESOLVERS",
    "ADIT_TLS_ACME_SERVER",
    "ADIT_TLS_CERTIFICATES",
];

/// What the operator reads beside `ADIT_LOG` and `ADIT_LOG_FORMAT`: its flags.
pub const OPERATOR: &[&str] = &[
    "ADIT_OPERATOR_CONCURRENCY",
    "ADIT_OPERATOR_DNS_RESOLVERS",
    "ADIT_OPERATOR_IDENTITY",
    "ADIT_OPERATOR_LEASE_NAME",
    "ADIT_OPERATOR_LEASE_NAMESPACE",
    "ADIT_OPERATOR_LISTEN_OPS",
    "ADIT_OPERATOR_NAMESPACE",
    "ADIT_OPERATOR_PROVIDER_ABUSE",
    "ADIT_OPERATOR_PROVIDER_NAME",
    "ADIT_OPERATOR_REGISTRY_IMAGE",
    "ADIT_OPERATOR_RELAY_IMAGE",
    "ADIT_OPERATOR_STORE_URL",
    "ADIT_OPERATOR_STORE_URL_FILE",
];

/// What `make` hands to everything that it starts, relays and clients among it.
pub const DEVELOPMENT: &[&str] = &["ADIT_BENCH_INSIDE", "ADIT_CACHE"];

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
    [RELAY, CLIENT, OPERATOR, DEVELOPMENT].iter().any(|names| names.contains(&name))
}

/// What is wrong with a variable that no Adit program reads, in words that follow its name. Its value is not shown.
pub fn unknown(name: &str) -> String {
    let all = RELAY.iter().chain(CLIENT).chain(OPERATOR).copied();
    match nearest(name, all) {
        Some(meant) => format!("no Adit program reads this variable; did you mean {meant}?"),
        None => format!(
            "no Adit program reads this variable: names that begin with {} are its own",
            quoted(PREFIX)
        ),
    }
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
    fn what_make_exports_is_known() {
        let makefile = include_str!("../../../Makefile");
        let exports = makefile.lines().filter_map(|line| line.strip_prefix("export ADIT_"));
        let names = exports.filter_map(|line| line.split([' ', '?', ':', '=']).next());
        for name in names {
            assert!(is_known(&format!("ADIT_{name}")), "{name}");
        }
        assert!(is_known("ADIT_CACHE"));
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
            "no Adit program reads this variable: names that begin with \"ADIT_\" are its own"
        );
    }
}
