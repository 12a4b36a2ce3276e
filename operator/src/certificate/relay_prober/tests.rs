//! Tests of probes.

use super::*;
use adit_acme::{KeyAlgorithm, certificate};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, pem::PemObject},
};
use serde_json::json;
use tokio::{io::AsyncReadExt, net::TcpListener};
use tokio_rustls::TlsAcceptor;

fn pod(address: &str, port: u16) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "eu-relay-1"},
        "spec": {"containers": [
            {"name": "side", "ports": [{"name": "http", "containerPort": 80}]},
            {"name": "relay", "ports": [{"name": "ops", "containerPort": 9}, {"name": "https", "containerPort": port}]},
        ]},
        "status": {"podIP": address},
    }))
    .unwrap()
}

fn relay(region: &str, id: &str) -> RelayStatus {
    RelayStatus {
        region: region.into(),
        relay: id.parse().unwrap(),
        started: 0,
        seen: 0,
        suspensions_version: 0,
        config_revision: String::new(),
        config_refused: None,
        draining: false,
        sessions: 0,
        tunnels: 0,
        registry_up: true,
        challenges_version: 0,
        served: vec![],
        certificate_problem: None,
    }
}

#[test]
fn a_pod_s_address_has_its_https_port() {
    assert_eq!(address(&pod("10.0.0.1", 1234)), Some("10.0.0.1:1234".parse().unwrap()));
    assert_eq!(address(&pod("fd00::1", 1234)), Some("[fd00::1]:1234".parse().unwrap()));
    assert_eq!(address(&Pod::default()), None, "a pod without an address");
}

#[test]
fn names_below_a_wildcard_are_tried_first() {
    let names = ["a.example", "b.example", "*.example", "c.example"].map(str::to_owned);
    assert_eq!(server_names(&names), ["adit-probe-certificate.example", "a.example", "b.example"]);
}

#[test]
fn each_pod_is_probed_once_and_relays_without_one_are_named() {
    let at = |port: u16| SocketAddr::from(([10, 0, 0, 1], port));
    let long = "a".repeat(40);
    let pods = vec![
        ("eu-relay-1".to_owned(), at(1)),
        ("eu-relay-12".to_owned(), at(2)),
        (format!("{long}-x"), at(3)),
        (format!("{long}-y"), at(4)),
    ];
    let pods = RelayPods { pods, load_balancers: ["10.0.0.0/8".parse().unwrap()].into() };
    let regions: RegionPods = Ok(BTreeMap::from([("eu".to_owned(), pods)]));
    let relays = [
        relay("eu", "eu-relay-1-00ff"),
        relay("eu", "eu-relay-1-00fe"),
        relay("eu", "eu-relay-3-00ff"),
        relay("eu", "standalone"),
        relay("us", "us-relay-1-00ff"),
    ];
    let (found, not_probed) = targets(&regions, &relays.iter().collect::<Vec<_>>());
    let found: Vec<_> =
        found.iter().map(|one| (&*one.relay, one.address, one.load_balancers.len())).collect();
    assert_eq!(found, [("eu-relay-1 of eu", at(1), 1)], "the pod's process before is not probed separately");
    let not_probed: Vec<_> = not_probed.iter().map(|one| &*one.relay).collect();
    assert_eq!(not_probed, ["eu-relay-3-00ff of eu", "standalone of eu", "us-relay-1-00ff of us"]);
    // Only the beginning of a long name is known: every pod that may be meant is probed.
    let meant = relay("eu", &format!("{long}-00ff"));
    assert_eq!(targets(&regions, &[&meant]).0.len(), 2);
    let unknown: RegionPods = Err("no answer".to_owned());
    let (found, not_probed) = targets(&unknown, &relays.iter().collect::<Vec<_>>());
    assert!(found.is_empty());
    assert!(not_probed.iter().all(|one| one.outcome == ProbeOutcome::NotProbed("no answer".to_owned())));
}

/// A TLS server for one name; with `header` it expects a PROXY header first. Returns its address and fingerprint.
async fn server(name: &str, header: bool) -> (SocketAddr, String) {
    let names = [name.to_owned()];
    let now = time::OffsetDateTime::now_utc();
    let (chain, key) = certificate::self_signed(&names, KeyAlgorithm::EcdsaP256, now).unwrap();
    let fingerprint = certificate::facts(&chain).unwrap().fingerprint;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let signing =
        rustls::sign::CertifiedKey::from_der(certificate::chain(&chain).unwrap(), key, &provider).unwrap();
    let mut by_name = rustls::server::ResolvesServerCertUsingSni::new();
    by_name.add(name, signing).unwrap();
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let acceptor =
        TlsAcceptor::from(Arc::new(config.with_no_client_auth().with_cert_resolver(Arc::new(by_name))));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            if header {
                let mut line = [0; 15];
                tcp.read_exact(&mut line).await.unwrap();
                assert_eq!(&line, b"PROXY UNKNOWN\r\n");
            }
            if let Ok(mut tls) = acceptor.accept(tcp).await {
                let _ = tls.read(&mut [0; 1]).await;
            }
        }
    });
    (address, fingerprint)
}

fn prober() -> RelayProber {
    let config = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
    RelayProber::new(Client::try_from(config).unwrap(), None).unwrap()
}

#[tokio::test]
async fn a_probe_tells_what_a_handshake_shows() {
    let (prober, names) = (prober(), ["a.example".to_owned()]);
    let target = |address| Target { relay: "a".to_owned(), address, load_balancers: [].into() };
    let (address, fingerprint) = server("a.example", false).await;
    assert_eq!(prober.probe_one(&target(address), &names, &fingerprint).await, ProbeOutcome::Serves);
    assert_eq!(
        prober.probe_one(&target(address), &names, "00").await,
        ProbeOutcome::ServesOther(fingerprint.clone())
    );
    let refused = prober.probe_one(&target(address), &["b.example".to_owned()], &fingerprint).await;
    assert!(matches!(&refused, ProbeOutcome::Refuses(why) if why.contains("b.example")), "{refused:?}");
    let both = ["b.example".to_owned(), "a.example".to_owned()];
    assert_eq!(
        prober.probe_one(&target(address), &both, &fingerprint).await,
        ProbeOutcome::Serves,
        "one name is enough"
    );
    let closed = adit_testkit::port::Port::take();
    let not_probed = prober.probe_one(&target(closed.address()), &names, &fingerprint).await;
    assert!(
        matches!(&not_probed, ProbeOutcome::NotProbed(why) if why.contains("no TLS server answers")),
        "{not_probed:?}"
    );
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let not_probed = prober.probe_one(&target(silent.local_addr().unwrap()), &names, &fingerprint).await;
    assert!(
        matches!(&not_probed, ProbeOutcome::NotProbed(why) if why.contains("did not answer")),
        "{not_probed:?}"
    );
}

#[tokio::test]
async fn a_relay_that_expects_a_proxy_header_gets_one() {
    let (address, fingerprint) = server("a.example", true).await;
    let names = ["a.example".to_owned()];
    let load_balancers = ["127.0.0.0/8".parse().unwrap()].into();
    let target = Target { relay: "a".to_owned(), address, load_balancers };
    assert_eq!(prober().probe_one(&target, &names, &fingerprint).await, ProbeOutcome::Serves);
}

#[tokio::test]
async fn without_the_api_server_every_relay_is_named_as_not_probed() {
    let stored = StoredCertificate {
        id: "c".into(),
        names: vec!["a.example".into()],
        regions: vec![],
        chain: String::new(),
        fingerprint: "aa".into(),
        not_before: 0,
        not_after: 0,
        revision: 1,
        issued_at: 0,
        made_for: String::new(),
    };
    let relays = [relay("eu", "b-00ff"), relay("eu", "a-00ff")];
    let probes = prober().probe(&stored, &relays.iter().collect::<Vec<_>>()).await;
    assert_eq!(probes.iter().map(|one| &*one.relay).collect::<Vec<_>>(), ["a-00ff of eu", "b-00ff of eu"]);
    let is_not_probed = |one: &ProbeResult| matches!(&one.outcome, ProbeOutcome::NotProbed(why) if why.contains("cannot find its pod"));
    assert!(probes.iter().all(is_not_probed), "{probes:?}");
}
