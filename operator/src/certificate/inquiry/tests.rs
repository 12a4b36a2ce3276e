//! Who is asked, and what an answer says.

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

fn relay(region: &str, id: &str) -> RelaySeen {
    RelaySeen {
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
fn a_pod_s_address_is_that_of_its_port_https() {
    assert_eq!(address(&pod("10.0.0.1", 1234)), Some("10.0.0.1:1234".parse().unwrap()));
    assert_eq!(address(&pod("fd00::1", 1234)), Some("[fd00::1]:1234".parse().unwrap()));
    assert_eq!(address(&Pod::default()), None, "it has no address yet");
}

#[test]
fn what_is_below_a_wildcard_is_asked_for_first_and_of_many_names_only_some() {
    let names = ["a.example", "b.example", "*.example", "c.example"].map(str::to_owned);
    assert_eq!(questions(&names), ["adit-probe-certificate.example", "a.example", "b.example"]);
}

#[test]
fn each_pod_is_asked_once_and_who_has_none_here_is_named() {
    let at = |port: u16| SocketAddr::from(([10, 0, 0, 1], port));
    let long = "a".repeat(40);
    let pods = vec![
        ("eu-relay-1".to_owned(), at(1)),
        ("eu-relay-12".to_owned(), at(2)),
        (format!("{long}-x"), at(3)),
        (format!("{long}-y"), at(4)),
    ];
    let place = Place { pods, trusted: ["10.0.0.0/8".parse().unwrap()].into() };
    let places: Places = Ok(BTreeMap::from([("eu".to_owned(), place)]));
    let relays = [
        relay("eu", "eu-relay-1-00ff"),
        relay("eu", "eu-relay-1-00fe"),
        relay("eu", "eu-relay-3-00ff"),
        relay("eu", "standalone"),
        relay("us", "us-relay-1-00ff"),
    ];
    let (found, unasked) = targets(&places, &relays.iter().collect::<Vec<_>>());
    let found: Vec<_> =
        found.iter().map(|(who, address, trusted)| (&**who, *address, trusted.len())).collect();
    assert_eq!(
        found,
        [("eu-relay-1 of eu", at(1), 1)],
        "the process before of the same pod is not asked apart"
    );
    let unasked: Vec<_> = unasked.iter().map(|one| &*one.who).collect();
    assert_eq!(unasked, ["eu-relay-3-00ff of eu", "standalone of eu", "us-relay-1-00ff of us"]);
    // Of a long name only the beginning is known: whoever may be meant is asked.
    let meant = relay("eu", &format!("{long}-00ff"));
    assert_eq!(targets(&places, &[&meant]).0.len(), 2);
    let away: Places = Err("the API server is away".to_owned());
    let (found, unasked) = targets(&away, &relays.iter().collect::<Vec<_>>());
    assert!(found.is_empty());
    assert!(unasked.iter().all(|one| one.answer == Answer::Unasked("the API server is away".to_owned())));
}

/// A TLS server for one name; with `header`, one that wants a PROXY header first. Gives its address and fingerprint.
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

fn inquiry() -> Inquiry {
    let config = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
    Inquiry::new(Client::try_from(config).unwrap(), None).unwrap()
}

#[tokio::test]
async fn an_answer_is_what_a_handshake_shows() {
    let (asking, names) = (inquiry(), ["a.example".to_owned()]);
    let (address, fingerprint) = server("a.example", false).await;
    assert_eq!(asking.ask_one(address, &[], &names, &fingerprint).await, Answer::Serves);
    assert_eq!(asking.ask_one(address, &[], &names, "00").await, Answer::Other(fingerprint.clone()));
    let refused = asking.ask_one(address, &[], &["b.example".to_owned()], &fingerprint).await;
    assert!(matches!(&refused, Answer::Refuses(why) if why.contains("b.example")), "{refused:?}");
    let both = ["b.example".to_owned(), "a.example".to_owned()];
    assert_eq!(asking.ask_one(address, &[], &both, &fingerprint).await, Answer::Serves, "one name is enough");
    let closed = adit_testkit::port::Port::take();
    let unasked = asking.ask_one(closed.address(), &[], &names, &fingerprint).await;
    assert!(matches!(&unasked, Answer::Unasked(why) if why.contains("no TLS server answers")), "{unasked:?}");
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let unasked = asking.ask_one(silent.local_addr().unwrap(), &[], &names, &fingerprint).await;
    assert!(matches!(&unasked, Answer::Unasked(why) if why.contains("did not answer")), "{unasked:?}");
}

#[tokio::test]
async fn a_relay_that_takes_the_operator_for_a_load_balancer_gets_its_header() {
    let (address, fingerprint) = server("a.example", true).await;
    let (names, trusted) = (["a.example".to_owned()], ["127.0.0.0/8".parse().unwrap()]);
    assert_eq!(inquiry().ask_one(address, &trusted, &names, &fingerprint).await, Answer::Serves);
}

#[tokio::test]
async fn without_the_api_server_nobody_is_asked_and_all_are_named() {
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
    let asked = inquiry().ask(&stored, &relays.iter().collect::<Vec<_>>()).await;
    assert_eq!(asked.iter().map(|one| &*one.who).collect::<Vec<_>>(), ["a-00ff of eu", "b-00ff of eu"]);
    let sees_none =
        |one: &Asked| matches!(&one.answer, Answer::Unasked(why) if why.contains("cannot see its pod"));
    assert!(asked.iter().all(sees_none), "{asked:?}");
}
