use super::*;
use rcgen::{CertificateParams, KeyPair};
use std::{fmt::Write, fs};

/// A directory with a relay.yaml and whatever files it names.
struct ConfigFolder(tempfile::TempDir);

impl ConfigFolder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn certificate(&self, name: &str) {
        let key = KeyPair::generate().unwrap();
        let cert =
            CertificateParams::new(vec!["adit.localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        self.file(&format!("{name}.pem"), cert.pem());
        self.file(&format!("{name}.key"), key.serialize_pem());
    }

    fn load(&self, text: impl AsRef<[u8]>, variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
        let path = self.file("relay.yaml", text);
        Config::load(Some(&path), pairs(variables))
    }

    /// The errors without the directory and the lines.
    fn errors(&self, text: impl AsRef<[u8]>, variables: &[(&str, &str)]) -> String {
        let errors = self.load(text, variables).expect_err("the configuration should have been refused");
        without_lines(&errors.to_string().replace(&format!("{}/", self.0.path().display()), ""))
    }
}

/// Errors without `line N: `.
fn without_lines(errors: &str) -> String {
    let mut parts = errors.split("line ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| match part.split_once(": ") {
        Some((number, rest)) if number.parse::<usize>().is_ok() => text + rest,
        _ => text + "line " + part,
    })
}

#[test]
fn errors_of_the_file_have_their_lines() {
    let place = ConfigFolder::new();
    let text = "domain: eu.example.com\nlimits:\n  tunnels: 1\n  names: 0\nlisen: {}\nlimits: {}\n";
    let errors = place.load(text, &[("ADIT_LANES", "0")]).unwrap_err().to_string();
    assert_eq!(
        errors.replace(&format!("{}/", place.0.path().display()), ""),
        "relay.yaml: line 2: limits: is set twice: keep one of them\n\
         relay.yaml: line 5: lisen: is not a known key; did you mean listen?\n\
         ADIT_LANES: 0 is not a whole number from 1 to 256"
    );
}

fn pairs(variables: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
    variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect::<Vec<_>>()
        .into_iter()
}

#[test]
fn a_domain_is_all_that_is_needed() {
    let place = ConfigFolder::new();
    let config = place.load("domain: adit.localhost\n", &[]).unwrap();
    let data_dir = place.0.path().join("adit-data");
    assert_eq!(config.domain, "adit.localhost");
    assert_eq!(config.listen.https, ["[::]:8443".parse().unwrap()]);
    assert_eq!(config.listen.http, Some(vec!["[::]:8080".parse().unwrap()]));
    assert_eq!(config.listen.ops, Some("127.0.0.1:9090".parse().unwrap()));
    assert_eq!(config.listen.peer, None);
    assert_eq!(config.listen.admin, Some(data_dir.join("admin.sock")));
    assert_eq!((config.public_port, config.plain_http, config.lanes), (8443, PlainHttp::Redirect, None));
    assert_eq!(config.registry, RegistryUrl::Memory);
    assert_eq!(config.store, StoreUrl::Sqlite(data_dir.join("adit.db")));
    assert_eq!((config.limits, config.access), (Limits::default(), Access::default()));
    assert_eq!(config.drain_timeout, Duration::from_secs(30));
    assert!(!data_dir.exists(), "nothing is written");
}

#[test]
fn every_key_arrives() {
    let place = ConfigFolder::new();
    for name in ["cert", "peer", "ca"] {
        place.certificate(name);
    }
    for name in ["region.key", "token.key", "id.json"] {
        place.file(name, "x");
    }
    let text = "
name: eu-1
domain: eu.example.com
dataDir: /var/lib/adit
publicPort: 443
plainHttp: serve
listen: {https: [\"127.0.0.1:8443\", \"[::1]:8443\"], http: \":80\", ops: off, peer: \":7443\", admin: off}
tcpPorts: {first: 20000, last: 20099}
registry: rediss://:hunter2@redis:6379/1
store: postgres://adit:hunter2@pg/adit
provider: {name: Example Corp, abuse: abuse@example.com}
access:
  tokens: {issuers: [{issuer: https://id.example, audience: adit, keys: id.json}]}
  minimumClientVersion: 0.3.0
limits: {tunnels: 1, bodyBytes: 10MB, bufferBytes: 8MiB, responseTimeout: 90s, burst: 5}
peer: {advertise: \"relay-0.example:7443\", ca: ca.pem, cert: peer.pem, key: peer.key}
keys: {region: region.key, tokens: token.key}
proxyProtocol: {trustedCIDRs: [10.0.0.0/8, \"2001:db8::/32\"]}
tls: {certificates: [{cert: cert.pem, key: cert.key}]}
drainTimeout: 2m
connections: 5000
lanes: 2
log: {format: json, level: \"info,adit_relay=debug\"}
accessLog: {format: json, path: access.log}
";
    let config = place.load(text, &[]).unwrap();
    let file = |name: &str| place.0.path().join(name);
    assert_eq!(config.name.as_ref().unwrap().as_str(), "eu-1");
    assert_eq!((config.public_port, config.plain_http, config.lanes), (443, PlainHttp::Serve, Some(2)));
    assert_eq!(config.connections, Some(5000));
    assert_eq!(config.listen.https.len(), 2);
    assert_eq!((config.listen.ops, config.listen.admin.clone()), (None, None));
    assert_eq!(config.tcp_ports, Some(TcpPorts { first: 20000, last: 20099 }));
    assert_eq!(config.registry, RegistryUrl::Redis(Secret::new("rediss://:hunter2@redis:6379/1")));
    assert_eq!(config.provider.abuse, "abuse@example.com");
    let Tokens::Issuers(issuers) = &config.access.tokens else { panic!("{:?}", config.access) };
    assert_eq!(issuers[0].keys, file("id.json"));
    assert_eq!((config.limits.body_bytes, config.limits.buffer_bytes), (Some(10_000_000), 8 << 20));
    assert_eq!((config.limits.response_timeout, config.limits.burst), (Duration::from_secs(90), Some(5)));
    assert_eq!(config.peer.as_ref().unwrap().cert, file("peer.pem"));
    assert_eq!(config.keys.as_ref().unwrap().tokens, file("token.key"));
    assert_eq!(config.trusted_proxies.len(), 2);
    assert_eq!(config.certificates[0].key, file("cert.key"));
    assert_eq!(config.drain_timeout, Duration::from_secs(120));
    assert_eq!(config.access_log.path, AccessLogPath::File(file("access.log")));
    assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
}

#[test]
fn a_variable_goes_before_the_file() {
    let place = ConfigFolder::new();
    let text = "domain: a.example\nlimits: {tunnels: 1}\naccess: {tokens: {issuers: []}}\n";
    let variables = [
        ("ADIT_DOMAIN", "b.example"),
        ("ADIT_LISTEN_HTTPS", "[::1]:1443, 127.0.0.1:1443"),
        ("ADIT_LIMITS_REQUESTS_PER_SECOND", "7"),
        ("ADIT_LIMITS_BUFFER_BYTES", "2097152"),
        ("ADIT_TCP_PORTS_FIRST", "20000"),
        ("ADIT_TCP_PORTS_LAST", "20001"),
        ("ADIT_ACCESS_TOKENS_MANAGED", "{}"),
        ("ADIT_PROXY_PROTOCOL_TRUSTED_CIDRS", "10.0.0.0/8,192.168.0.0/16"),
        ("ADIT_LOG", "debug"),
        ("ADIT_DATA_DIR", "data"),
        ("ADIT_NAME", "7"),
        // What the client reads, Kubernetes sets, and others have.
        ("ADIT_TOKEN_FILE", "token"),
        ("ADIT_CONFIG", "relay.yaml"),
        ("ADIT_PORT", "tcp://10.0.0.1:443"),
        ("ADIT_PUBLIC_PORT", "tcp://10.0.0.1:443"),
        ("ADIT_SERVICE_HOST", "10.0.0.1"),
        ("ADIT_PORT_443_TCP_ADDR", "10.0.0.1"),
        ("ADITIONAL", "x"),
    ];
    let config = place.load(text, &variables).unwrap();
    assert_eq!(config.domain, "b.example");
    assert_eq!(config.listen.https, ["[::1]:1443".parse().unwrap(), "127.0.0.1:1443".parse().unwrap()]);
    assert_eq!((config.limits.tunnels, config.limits.requests_per_second), (1, 7));
    assert_eq!((config.limits.buffer_bytes, config.public_port), (2 << 20, 1443));
    assert_eq!(config.tcp_ports, Some(TcpPorts { first: 20000, last: 20001 }));
    assert_eq!((config.access.tokens, config.trusted_proxies.len()), (Tokens::Managed {}, 2));
    assert_eq!((config.log.level.as_str(), config.name.unwrap().as_str()), ("debug", "7"));
    // Relative to the working directory, not to the file.
    assert_eq!(config.data_dir, PathBuf::from("data"));
}

#[test]
fn a_relay_can_do_without_a_file() {
    let config = Config::load(None, pairs(&[("ADIT_DOMAIN", "adit.localhost")])).unwrap();
    assert_eq!(config.data_dir, PathBuf::from("adit-data"));
    let errors = Config::load(None, pairs(&[("ADIT_LIMITS_TUNNELS", "-1")])).unwrap_err().to_string();
    assert_eq!(
        errors,
        "ADIT_LIMITS_TUNNELS: -1 is not a whole number from 1 to 10000\nADIT_DOMAIN: is missing"
    );
}

#[test]
fn the_configuration_of_the_benchmark_is_valid() {
    let text = include_str!("../../../bench/conf/adit-relay.yaml").replace("@WORK@", "/tmp");
    ConfigFolder::new().load(text, &[]).unwrap();
}

#[test]
fn keys_that_need_a_restart_are_named() {
    let place = ConfigFolder::new();
    for name in ["a", "b"] {
        place.certificate(name);
    }
    let before =
        place.load("domain: a.example\ntls: {certificates: [{cert: a.pem, key: a.key}]}\n", &[]).unwrap();
    for (text, expected) in [
        (
            "domain: a.example\nlimits: {tunnels: 3}\ntls: {certificates: [{cert: b.pem, key: b.key}]}\n",
            &[][..],
        ),
        (
            "domain: a.example\nlanes: 3\nlisten: {ops: off}\nstore: postgres://u:hunter2@h/db\n",
            &["listen.ops", "tls.certificates", "store", "lanes"],
        ),
    ] {
        let after = place.load(text, &[]).unwrap();
        assert_eq!(before.keys_that_need_restart(&after), expected, "{text}");
    }
}

/// Each line of a document, what it adds to a good configuration, and all that is said about it.
const BAD: &[(&str, &str)] = &[
    ("limits: {tunnels: -1}", "limits.tunnels: -1 is not a whole number from 1 to 10000"),
    ("limits: {tunnels: 0}", "limits.tunnels: 0 is not a whole number from 1 to 10000"),
    ("limits: {tunnels: 2147483648}", "limits.tunnels: 2147483648 is not a whole number from 1 to 10000"),
    ("limits: {tunnels: 1e2}", "limits.tunnels: 100.0 is not a whole number from 1 to 10000"),
    ("limits: {tunnels: many}", "limits.tunnels: \"many\" is not a whole number from 1 to 10000"),
    ("limits: {tunnels: }", "limits.tunnels: has no value: give it one, or leave the key out"),
    ("limits: {tunnels: .nan}", "limits.tunnels: NaN is not a finite number"),
    ("limits: {tunels: 3}", "limits.tunels: is not a known key; did you mean tunnels?"),
    ("limits: {tunnels: 1, tunnels: 2}", "limits.tunnels: is set twice: keep one of them"),
    ("limits: 5", "limits: 5 is not a mapping"),
    ("limits: {bufferBytes: 1KiB}", "limits.bufferBytes: 1KiB is not from 1MiB to 64GiB"),
    ("limits: {bodyBytes: 0}", "limits.bodyBytes: 0 would refuse every body: leave it out for no limit"),
    ("limits: {responseTimeout: 0s}", "limits.responseTimeout: 0s is not from 1s to 1h"),
    ("drainTimeout: 30", "drainTimeout: 30 needs a unit, for example 30s"),
    ("drainTimeout: '30'", "drainTimeout: \"30\" is a duration without a unit: write 30s"),
    (
        "drainTimeout: 30 seconds",
        "drainTimeout: \"30 seconds\" is not a duration, which is written like 500ms, 30s, 1m30s, 1h or 7d",
    ),
    ("drainTimeout: 2h", "drainTimeout: 2h is more than 1h"),
    ("name: EU 1", "name: \"EU 1\" is not a relay's name, which has 1 to 64 of a-z, 0-9, '-' and '_'"),
    ("publicPort: 0", "publicPort: 0 is not a whole number from 1 to 65535"),
    ("publicPort: 65536", "publicPort: 65536 is not a whole number from 1 to 65535"),
    ("plainHttp: redirct", "plainHttp: \"redirct\" is not one of redirect, serve; did you mean redirect?"),
    ("plainHttp: true", "plainHttp: true is not one of redirect, serve"),
    ("connections: 0", "connections: 0 is not a whole number from 1 to 10000000"),
    ("lanes: 0", "lanes: 0 is not a whole number from 1 to 256"),
    ("lisen: {}", "lisen: is not a known key; did you mean listen?"),
    ("listen: {https: 443}", "listen.https: 443 is not text or a list"),
    (
        "listen: {https: '443'}",
        "listen.https: \"443\" is only a port: write \":443\" for all addresses, \"127.0.0.1:443\" for this machine",
    ),
    ("listen: {https: ':65536'}", "listen.https: \":65536\" has a port that is not a number from 0 to 65535"),
    ("listen: {https: []}", "listen.https: has 0 elements: the minimum is 1"),
    (
        "listen: {https: [':1', 'localhost:2']}",
        "listen.https[1]: \"localhost:2\" is not an address and port to listen on, like \":443\", \"127.0.0.1:443\" or \"[::1]:443\"",
    ),
    (
        "listen: {https: off}",
        "listen.https: \"off\" is not an address and port to listen on, like \":443\", \"127.0.0.1:443\" or \"[::1]:443\"",
    ),
    ("listen: {http: [':1', off]}", "listen.http: has \"off\" beside addresses: give one or the other"),
    ("listen: {http: ':8443'}", "listen.http: [::]:8443 is taken by listen.https, [::]:8443"),
    ("listen: {http: '10.0.0.1:8443'}", "listen.http: 10.0.0.1:8443 is taken by listen.https, [::]:8443"),
    (
        "listen: {https: [':1', '127.0.0.1:1']}",
        "listen.https[1]: 127.0.0.1:1 is taken by listen.https[0], [::]:1",
    ),
    ("listen: {ops: ':8080'}", "listen.ops: [::]:8080 is taken by listen.http, [::]:8080"),
    ("listen: {peer: ':7443'}", "listen.peer: [::]:7443 needs the section peer"),
    ("listen: {admin: ''}", "listen.admin: \"\" is empty"),
    ("plainHttp: serve\nlisten: {http: off}", "plainHttp: \"serve\" has no effect while listen.http is off"),
    ("tcpPorts: {first: 2, last: 1}", "tcpPorts.last: 1 is less than first, 2"),
    (
        "tcpPorts: {first: 1000, last: 2000}",
        "tcpPorts.last: 2000 makes a range of 1001 ports: at most 1000 are allowed",
    ),
    ("tcpPorts: {first: 0, last: 1}", "tcpPorts.first: 0 is not a whole number from 1 to 65535"),
    ("tcpPorts: {first: 20000}", "tcpPorts.last: is missing"),
    (
        "tcpPorts: {first: 8080, last: 8090}",
        "listen.http: [::]:8080 is in the range of tcpPorts, 8080 to 8090",
    ),
    (
        "registry: memroy",
        "registry: \"***\" is not a registry: write memory:, redis://host:6379/0 or rediss://host:6379/0",
    ),
    (
        "registry: http://:hunter2@h",
        "registry: \"http://***@h\" is not a registry: write memory:, redis://host:6379/0 or rediss://host:6379/0",
    ),
    (
        "registry: redis:/:hunter2@h",
        "registry: \"redis:***\" is not a registry: write memory:, redis://host:6379/0 or rediss://host:6379/0",
    ),
    (
        "registry: redis://:hunter2@:6379",
        "registry: \"redis://***@:6379\" is not a registry: it has no valid host and port, like redis://host:6379/0",
    ),
    (
        "registry: redis://:hunter2@h:99999/0",
        "registry: \"redis://***@h:99999/0\" is not a registry: it has no valid host and port, like redis://host:6379/0",
    ),
    (
        "registry: redis://h/zero",
        "registry: \"redis://h/zero\" is not a registry: what follows host and port is not the number of a database",
    ),
    (
        "store: mysql://u:hunter2@h/db",
        "store: \"mysql://***@h/db\" is not a store: a store is 'sqlite:' with a path, or 'postgres://' with user, host and database",
    ),
    (
        "store: 'sqlite:'",
        "store: \"sqlite:***\" is not a store: 'sqlite:' must be followed by the path of a file, without '?'",
    ),
    ("provider: {name: ''}", "provider.name: \"\" is empty"),
    (
        "provider: {abuse: nobody}",
        "provider.abuse: \"nobody\" is not an e-mail address, like abuse@example.com",
    ),
    ("access: {tokens: managed}", "access.tokens: \"managed\" is not a mapping with one of managed, issuers"),
    ("access: {tokens: {mananged: {}}}", "access.tokens.mananged: is not a known key; did you mean managed?"),
    (
        "access: {tokens: {issuers: [{issuer: i, audience: a, keys: none.json}]}}",
        "access.tokens.issuers[0].keys: \"none.json\" cannot be read: No such file or directory (os error 2)",
    ),
    (
        "access: {tokens: {issuers: [{issuer: i, audience: a, keys: relay.yaml}, {issuer: i, audience: b, keys: relay.yaml}]}}",
        "access.tokens.issuers[1].issuer: \"i\" is there twice",
    ),
    (
        "access: {minimumClientVersion: 0.3}",
        "access.minimumClientVersion: 0.3 is not text: write it in quotes",
    ),
    (
        "keys: {region: none.key, tokens: relay.yaml}",
        "keys.region: \"none.key\" cannot be read: No such file or directory (os error 2)",
    ),
    ("keys: {region: '.', tokens: relay.yaml}", "keys.region: \".\" cannot be read: it is not a file"),
    (
        "peer: {advertise: 'h:1', ca: a.pem, cert: a.pem, key: a.key}",
        "peer: needs listen.peer, where the other relays arrive",
    ),
    (
        "listen: {peer: ':7443'}\npeer: {advertise: 'h', ca: a.pem, cert: a.pem, key: a.key}",
        "peer.advertise: \"h\" is not a host and port, like relay-0.example:7443 or [2001:db8::1]:7443",
    ),
    (
        "registry: redis://h",
        "store: is a SQLite file, which no other relay sees: with Redis it has to be postgres://\nkeys: is missing: with Redis all relays of the region need the same keys",
    ),
    (
        "proxyProtocol: {trustedCIDRs: [10.0.0.0]}",
        "proxyProtocol.trustedCIDRs[0]: \"10.0.0.0\" has no prefix length: write 10.0.0.0/32",
    ),
    (
        "proxyProtocol: {trustedCIDRs: [10.0.0.1/8]}",
        "proxyProtocol.trustedCIDRs[0]: \"10.0.0.1/8\" has bits set beyond its prefix: write 10.0.0.0/8",
    ),
    (
        "proxyProtocol: {trustedCIDRs: [10.0.0.0/33]}",
        "proxyProtocol.trustedCIDRs[0]: \"10.0.0.0/33\" is not a network, like 10.0.0.0/8 or 2001:db8::/32",
    ),
    ("tls: {certificates: [{cert: a.pem}]}", "tls.certificates[0].key: is missing"),
    (
        "tls: {certificates: [{cert: a.pem, key: a.key}, {cert: a.pem, key: b.key}]}",
        "tls.certificates[1].key: \"b.key\" is not the key of the certificate \"a.pem\"",
    ),
    (
        "tls: {certificates: [{cert: a.key, key: a.pem}]}",
        "tls.certificates[0].cert: \"a.key\" has no certificate in PEM form that can be read\ntls.certificates[0].key: \"a.pem\" has no private key in PEM form that can be read",
    ),
    (
        "tls: {certificates: [{cert: a.pem, key: a.pem}]}",
        "tls.certificates[0].key: \"a.pem\" has no private key in PEM form that can be read",
    ),
    (
        "tls: {certificates: [{cert: bad.pem, key: a.key}]}",
        "tls.certificates[0].cert: \"bad.pem\" has no certificate in PEM form that can be read",
    ),
    (
        "tls: {certificates: [{cert: a.pem, key: none.key}]}",
        "tls.certificates[0].key: \"none.key\" cannot be read: No such file or directory (os error 2)",
    ),
    (
        "tls: {certificates: [{cert: der.pem, key: der.pem}]}",
        "tls.certificates[0].cert: \"der.pem\" is not PEM; convert it with openssl x509 -inform der\ntls.certificates[0].key: \"der.pem\" is not PEM; convert it with openssl pkey -inform der",
    ),
    (
        "tls: {certificates: [{cert: none.pem, key: none.key}]}",
        "tls.certificates[0].cert: \"none.pem\" cannot be read: No such file or directory (os error 2)\ntls.certificates[0].key: \"none.key\" cannot be read: No such file or directory (os error 2)",
    ),
    (
        "log: {level: debgu}",
        "log.level: \"debgu\" is not off, error, warn, info, debug or trace, or directives like info,adit_relay=debug; did you mean debug?",
    ),
    ("log: {format: xml}", "log.format: \"xml\" is not one of text, json"),
    ("accessLog: {format: common}", "accessLog.format: \"common\" is not one of json, combined"),
    ("dataDir: relay.yaml", "dataDir: \"relay.yaml\" is not a directory"),
    ("dataDir: \"a\\0b\"", "dataDir: \"a\\0b\" has a zero byte"),
    ("\"a\\e[31m\\u202e\": 1", "a\\u{1b}[31m\\u{202e}: is not a known key; there are"),
];

#[test]
fn bad_values_are_named_with_field_value_and_rule() {
    let place = ConfigFolder::new();
    place.certificate("a");
    place.certificate("b");
    place.file("der.pem", [0x30, 0x82, 1, 0]);
    place.file("bad.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let mut wrong = String::new();
    for (text, expected) in BAD {
        let found = place.errors(format!("domain: adit.localhost\n{text}\n"), &[]);
        let expected: Vec<String> = expected.lines().map(|line| format!("relay.yaml: {line}")).collect();
        let expected = expected.join("\n");
        let fits = found == expected || (expected.ends_with("there are") && found.starts_with(&expected));
        if !fits {
            writeln!(wrong, "{text}\n  expected: {expected}\n  found:    {found}").unwrap();
        }
        assert!(!found.contains("hunter2"), "{found}");
    }
    assert!(wrong.is_empty(), "{wrong}");
}

mod hostile;
mod reference;
