use super::*;
use proptest::prelude::*;

/// Each line of variables, and all that is said about them.
const BAD_VARIABLES: &[(&[(&str, &str)], &str)] = &[
    (
        &[("ADIT_LISTEN_HTPS", ":1")],
        "ADIT_LISTEN_HTPS: no Adit program reads this variable; did you mean ADIT_LISTEN_HTTPS?",
    ),
    (
        &[("ADIT_TOKENFILE", "x")],
        "ADIT_TOKENFILE: no Adit program reads this variable; did you mean ADIT_TOKEN_FILE?",
    ),
    (&[("ADIT_LIMITS_TUNNELS", "-1")], "ADIT_LIMITS_TUNNELS: -1 is not a whole number from 1 to 10000"),
    (&[("ADIT_LIMITS_TUNNELS", "ten")], "ADIT_LIMITS_TUNNELS: \"ten\" is not a whole number from 1 to 10000"),
    (&[("ADIT_LIMITS_TUNNELS", "")], "ADIT_LIMITS_TUNNELS: is empty: give it a value or unset it"),
    (&[("ADIT_DOMAIN", "\u{fffd}")], "ADIT_DOMAIN: is not UTF-8 text"),
    (&[("ADIT_DOMAIN", "Eu.Example")], "ADIT_DOMAIN: \"Eu.Example\" is not in normal form: write eu.example"),
    (
        &[("ADIT_LOG", "info"), ("ADIT_LOG_LEVEL", "info")],
        "ADIT_LOG: is the same as ADIT_LOG_LEVEL: set one of them",
    ),
    (&[("ADIT_LISTEN_HTTP", ":8443")], "ADIT_LISTEN_HTTP: [::]:8443 is taken by listen.https, [::]:8443"),
    (&[("ADIT_TCP_PORTS_FIRST", "1")], "relay.yaml: tcpPorts.last: is missing"),
    (
        &[("ADIT_PROXY_PROTOCOL_TRUSTED_CIDRS", "10.0.0.0/8,,")],
        "ADIT_PROXY_PROTOCOL_TRUSTED_CIDRS[1]: \"\" is not a network, like 10.0.0.0/8 or 2001:db8::/32\nADIT_PROXY_PROTOCOL_TRUSTED_CIDRS[2]: \"\" is not a network, like 10.0.0.0/8 or 2001:db8::/32",
    ),
    (&[("ADIT_TLS_CERTIFICATES", "[{cert: relay.yaml}]")], "ADIT_TLS_CERTIFICATES[0].key: is missing"),
    (&[("ADIT_TLS_CERTIFICATES", "a.pem")], "ADIT_TLS_CERTIFICATES: \"a.pem\" is not a list"),
    (
        &[("ADIT_ACCESS_TOKENS_MANAGED", "{}"), ("ADIT_ACCESS_TOKENS_ISSUERS", "[]")],
        "ADIT_ACCESS_TOKENS_ISSUERS: has 0 elements: the minimum is 1",
    ),
    (
        &[("ADIT_STORE", "postgres:hunter2")],
        "ADIT_STORE: \"postgres:***\" is not a store: a store is 'sqlite:' with a path, or 'postgres://' with user, host and database",
    ),
];

#[test]
fn bad_variables_are_named() {
    let place = ConfigFolder::new();
    for (variables, expected) in BAD_VARIABLES {
        assert_eq!(place.errors("domain: adit.localhost\n", variables), *expected, "{variables:?}");
    }
}

#[test]
fn no_error_shows_a_password_that_stands_in_the_wrong_place() {
    let place = ConfigFolder::new();
    let mut refused = 0;
    for name in environment::names(&schema::of::<raw::RawConfig>()) {
        for url in ["mysql://u:hunter2@h/db", "redis://:hunter2@h:0/0", "postgres://u:hunter2@h:x/db"] {
            for value in
                [url.to_owned(), format!("a, {url}"), format!("{{a: \"{url}\"}}"), format!("[\"{url}\"]")]
            {
                let Err(errors) = place.load("domain: adit.localhost\n", &[(&name, &value)]) else {
                    continue;
                };
                assert!(!errors.to_string().contains("hunter2"), "{name}: {errors}");
                refused += 1;
            }
        }
    }
    assert!(refused > 200, "{refused}");
}

#[test]
fn all_errors_come_at_once_from_file_and_variables() {
    let place = ConfigFolder::new();
    let text = "domian: a\nlimits: {tunnels: -1}\nlisten: {http: off}\nplainHttp: serve\nkeys: {region: none, tokens: none}\n";
    assert_eq!(
        place.errors(text, &[("ADIT_LANES", "0"), ("ADIT_LANSE", "2")]),
        "ADIT_LANSE: no Adit program reads this variable; did you mean ADIT_LANES?
relay.yaml: domian: is not a known key; did you mean domain?
ADIT_LANES: 0 is not a whole number from 1 to 256
relay.yaml: limits.tunnels: -1 is not a whole number from 1 to 10000
relay.yaml: domain: is missing
relay.yaml: keys.region: \"none\" cannot be read: No such file or directory (os error 2)
relay.yaml: keys.tokens: \"none\" cannot be read: No such file or directory (os error 2)
relay.yaml: plainHttp: \"serve\" has no effect while listen.http is off"
    );
}

#[test]
fn files_that_are_no_configuration_are_refused() {
    let place = ConfigFolder::new();
    let refused = |path: &Path| {
        let text = Config::load(Some(path), std::iter::empty()).unwrap_err().to_string();
        text.replace(&path.display().to_string(), "FILE")
    };
    assert_eq!(
        refused(&place.0.path().join("none")),
        "FILE: cannot be opened: No such file or directory (os error 2)"
    );
    assert_eq!(refused(place.0.path()), "FILE: cannot be read: Is a directory (os error 21)");
    assert_eq!(refused(Path::new("/dev/zero")), "FILE: has more than 262144 bytes");
    assert_eq!(refused(&place.file("a", b"a: \xff")), "FILE: is not UTF-8 text: byte 3 is wrong");
    assert_eq!(refused(&place.file("b", "")), "FILE: domain: is missing");
    assert_eq!(refused(&place.file("c", "- a\n")), "FILE: is a list: write key: value, without dashes");
    assert_eq!(
        refused(&place.file("d", "[".repeat(1000))),
        "FILE: is nested too deep: the maximum is 24 levels"
    );
    assert!(refused(&place.file("e", "a: [\n")).starts_with("FILE: line 2: "));
    assert_eq!(
        refused(&place.file("f", "domain: a\n---\ndomain: b\n")),
        "FILE: line 2: a second document begins; remove the line ---"
    );
    assert_eq!(
        Config::load(Some(&place.file("g", "a: 1\n".repeat(10_000))), std::iter::empty())
            .unwrap_err()
            .iter()
            .len(),
        100
    );
}

fn value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(|value| serde_json::json!(value)),
        "[a-z0-9:/.@*\\[\\]-]{0,20}".prop_map(Into::into),
        ".{0,20}".prop_map(Into::into),
        prop_oneof![
            Just(":443"),
            Just("off"),
            Just("memory:"),
            Just("redis://h"),
            Just("30s"),
            Just("/dev/null")
        ]
        .prop_map(Into::into),
    ];
    let key = prop_oneof![
        "[a-zA-Z]{0,10}",
        prop_oneof![
            Just("domain"),
            Just("listen"),
            Just("https"),
            Just("http"),
            Just("tcpPorts"),
            Just("first"),
            Just("last"),
            Just("access"),
            Just("tokens"),
            Just("issuers"),
            Just("managed"),
            Just("keys"),
            Just("limits"),
            Just("tls"),
            Just("certificates"),
            Just("cert"),
            Just("key"),
            Just("peer"),
            Just("ca"),
            Just("registry"),
            Just("store"),
            Just("tunnels"),
            Just("bodyBytes"),
            Just("drainTimeout"),
            Just("proxyProtocol"),
            Just("trustedCIDRs"),
        ]
        .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..8)
                .prop_map(|fields| serde_json::Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_document_panics(document in value()) {
        let place = ConfigFolder::new();
        let _ = place.load(serde_yaml::to_string(&document).unwrap(), &[]);
    }

    #[test]
    fn no_text_panics(text in "(domain: a.b\n)?[a-zA-Z0-9:{}\\[\\],.&*!|> \n'\"-]{0,120}") {
        let _ = ConfigFolder::new().load(text, &[]);
    }

    #[test]
    fn no_variable_panics(index in any::<prop::sample::Index>(), value in "[a-z0-9:/.@*,{}\\[\\]-]{0,30}|.{0,30}") {
        let names = environment::names(&schema::of::<raw::RawConfig>());
        let _ = ConfigFolder::new().load("domain: adit.localhost\n", &[(index.get(&names).as_str(), &value)]);
    }
}
