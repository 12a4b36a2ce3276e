use super::*;
use crate::service::UpstreamProtocol;

/// What a text says, or its errors without their lines.
fn read(text: &str) -> Result<File, Vec<String>> {
    let without_line =
        |error: String| match error.strip_prefix("line ").and_then(|rest| rest.split_once(": ")) {
            Some((_, rest)) => rest.to_owned(),
            None => error,
        };
    let parsed = parse(text, Path::new("/etc/adit"));
    parsed.map_err(|errors| errors.into_iter().map(without_line).collect())
}

#[test]
fn errors_name_their_lines_in_the_order_of_the_text() {
    let errors = parse(
        "relay: eu.example.com\ntunnels:\n  web: {http: 0}\n  a: {tcp: 22, hostHeader: x}\nports: 1\n",
        Path::new("/"),
    )
    .unwrap_err();
    let lines: Vec<&str> = errors.iter().map(|error| error.split(": ").next().unwrap()).collect();
    assert_eq!(lines, ["line 3", "line 4", "line 5"], "{errors:#?}");
}

#[test]
fn tunnels_are_read_with_their_settings() {
    let file = read(
        "relay: eu.example.com\ntokenCommand: kubectl adit token -n tunnels --account ci\nca: ca.pem\n\
         giveUpAfter: 5m\ntunnels:\n  shop:\n    http: 3000\n    anyName: true\n    upstreamProtocol: http2\n  \
         ssh: {tcp: 22, enabled: false, port: 20022}\n",
    )
    .unwrap();
    assert_eq!(file.relay.as_ref().map(|r| r.to_string()).as_deref(), Some("eu.example.com"));
    assert_eq!(file.ca, Some(PathBuf::from("/etc/adit/ca.pem")));
    assert_eq!(file.give_up_after, Some(Duration::from_secs(300)));
    let [shop, ssh] = &file.tunnels[..] else { panic!("{file:?}") };
    assert_eq!((shop.key.as_str(), ssh.key.as_str()), ("shop", "ssh"));
    let (shop, ssh) = (&shop.spec, &ssh.spec);
    assert_eq!((shop.name.as_deref(), shop.any_name, shop.enabled), (Some("shop"), true, true));
    assert_eq!(
        (shop.service.to_string().as_str(), shop.upstream_protocol),
        ("http://127.0.0.1:3000", UpstreamProtocol::Http2)
    );
    assert_eq!(
        (ssh.service.to_string().as_str(), ssh.enabled, ssh.port),
        ("127.0.0.1:22", false, Some(20022))
    );
}

#[test]
fn all_errors_come_at_once_with_field_value_and_rule() {
    let errors = read(
        "relay: 10.0.0.1\ntokenFile: a\ntokenCommand: b\ntunnel: {}\ngiveUpAfter: 5\ntunnels:\n  \
         Shop: {http: 70000}\n  docs: {serve: ./public}\n  both: {http: 1, tcp: 2}\n  \
         ssh: {tcp: 22, hostHeader: a, enabled: yes please}\n  list: []\n",
    )
    .unwrap_err();
    for expected in [
        "relay: \"10.0.0.1\" is not a region: it is a domain, not an IP address: tunnels are names below it",
        "giveUpAfter: 5 needs a unit, for example 5s",
        "tokenCommand: give one token source, not two: tokenFile is there as well",
        "tunnels.Shop.http: \"70000\" is not a service: a port is a number from 1 to 65535",
        "tunnels.Shop: is not a name: a name has 1 to 63 of a-z, 0-9 and '-', with a letter or digit at both ends",
        "tunnels.docs: has no service: add http: or tcp: with a port",
        "tunnels.docs.serve: is not a key of this version of Adit: there are http, tcp, name, enabled, port",
        "tunnels.both.tcp: use http or tcp, not both",
        "tunnels.ssh.hostHeader: is not a key of this version of Adit: there are http, tcp, name, enabled, port",
        "tunnels.ssh.enabled: \"yes please\" is not true or false",
        "tunnels.list: write key: value, without dashes",
        "tunnel: is not a key of this version of Adit: did you mean tunnels?",
    ] {
        assert!(errors.iter().any(|e| e == expected), "{expected}\nnot in {errors:#?}");
    }
    assert_eq!(errors.len(), 12, "{errors:#?}");
}

#[test]
fn an_unknown_keys_value_is_not_shown() {
    let errors = read("token: hunter2\n").unwrap_err().join("\n");
    assert!(errors.contains("token:") && !errors.contains("hunter2"), "{errors}");
}

#[test]
fn what_is_no_mapping_is_refused_and_nothing_is_nothing() {
    assert_eq!(read("").unwrap(), File::default());
    for bad in ["- a", "text", "relay: a\nrelay: b", "a: [", "tunnels: [a]", "relay: !tag x"] {
        assert!(read(bad).is_err(), "{bad}");
    }
}

#[test]
fn no_more_tunnels_than_a_hello_can_open() {
    let text: String = (0..=MAX_TUNNELS).map(|i| format!("  t{i}: {{http: 1}}\n")).collect();
    assert_eq!(
        read(&format!("tunnels:\n{text}")).unwrap_err(),
        ["tunnels: has 101 entries: there may be 100"]
    );
}

#[test]
fn tunnels_stand_in_the_files_order() {
    let file =
        read("tunnels:\n  web: {http: 1}\n  api: {http: 2}\n  db: {tcp: 3}\n  a: {http: 4}\n").unwrap();
    let keys: Vec<&str> = file.tunnels.iter().map(|tunnel| tunnel.key.as_str()).collect();
    assert_eq!(keys, ["web", "api", "db", "a"]);
}

#[test]
fn a_tunnel_may_have_another_name_than_its_key() {
    let file = read("tunnels:\n  frontEnd:\n    http: :3000\n    name: shop\n").unwrap();
    let tunnel = &file.tunnels[0];
    assert_eq!((tunnel.key.as_str(), tunnel.spec.name.as_deref()), ("frontEnd", Some("shop")));
    assert_eq!(read("tunnels: {a: {http: 1, name: A B}}").unwrap_err().len(), 1);
}

#[test]
fn each_display_flag_is_a_key() {
    let file = read("json: true\nquiet: true\nforce: true\ncolor: never\n").unwrap();
    assert!(file.json && file.quiet && !file.verbose && file.force && file.color == Some(When::Never));
    assert_eq!(read("color: red\n").unwrap_err(), ["color: \"red\" is not one of auto, always, never"]);
    assert_eq!(
        read("quiet: true\nverbose: true\n").unwrap_err(),
        ["verbose: use quiet or verbose, not both"]
    );
}

#[test]
fn authorities_for_a_service_without_tls_are_refused() {
    let errors = read("tunnels: {shop: {http: 3000, upstreamCa: ca.pem}}").unwrap_err();
    assert_eq!(errors, ["tunnels.shop.upstreamCa: http://127.0.0.1:3000 does not speak TLS: write https://"]);
}

/// The key of a flag: `tokenFile` for `--token-file`.
fn key_of(flag: &str) -> String {
    let mut words = flag.split('-');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |key, word| key + &word[..1].to_uppercase() + &word[1..])
}

#[test]
fn each_flag_is_a_variable_and_a_key() {
    let keys = [&KEYS[..], &TUNNEL_KEYS, &HTTP_KEYS, &TCP_KEYS].concat();
    let command = crate::cli::args::command();
    let published = command.get_subcommands().filter(|c| ["http", "tcp", "start"].contains(&c.get_name()));
    for flag in published.flat_map(clap::Command::get_arguments).chain(command.get_arguments()) {
        let Some(name) = flag.get_long().filter(|name| !["help", "version", "config"].contains(name)) else {
            continue;
        };
        // Kubernetes sets ADIT_PORT for a Service of that name.
        assert!(flag.get_env().is_some() || name == "port", "--{name} is no variable");
        assert!(keys.contains(&key_of(name).as_str()), "--{name} is no key of adit.yaml");
    }
}
