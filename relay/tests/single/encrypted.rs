//! Redis and Postgres over TLS, with a private CA.

use crate::relay_fixture::{RelayFixture, region};
use adit_testkit::{http::Service, port::Port, postgres::Postgres, redis::Redis, wait::block_until};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::{path::PathBuf, time::Duration};

/// A CA and a certificate of it for servers on 127.0.0.1, as files and as text.
struct Authority {
    folder: tempfile::TempDir,
    certificate: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &ca).unwrap().pem();
        let authority = Self { folder, certificate, key: key.serialize_pem() };
        std::fs::write(authority.file("ca.pem"), ca.pem()).unwrap();
        std::fs::write(authority.file("server.pem"), &authority.certificate).unwrap();
        std::fs::write(authority.file("server.key"), &authority.key).unwrap();
        authority
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn path(&self, name: &str) -> String {
        self.file(name).display().to_string()
    }

    /// A Redis that takes TLS, and its URL.
    fn redis(&self) -> (Redis, Port, String) {
        let port = Port::take();
        let (number, cert, key, ca) = (
            port.number().to_string(),
            self.path("server.pem"),
            self.path("server.key"),
            self.path("ca.pem"),
        );
        let redis = Redis::start_with(&[
            "--tls-port",
            &number,
            "--tls-cert-file",
            &cert,
            "--tls-key-file",
            &key,
            "--tls-ca-cert-file",
            &ca,
            "--tls-auth-clients",
            "no",
        ]);
        let url = format!("rediss://127.0.0.1:{number}/0");
        (redis, port, url)
    }
}

fn postgres(authority: &Authority) -> Postgres {
    let mut postgres = Postgres::start();
    postgres.serve_tls(&authority.certificate, &authority.key);
    postgres
}

fn url(postgres: &Postgres, ca: &str) -> String {
    let plain = postgres.database();
    plain.replace("sslmode=disable", &format!("sslmode=verify-full&sslrootcert={ca}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_reaches_redis_and_postgres_over_tls() {
    let authority = Authority::new();
    let (redis, _port, registry) = authority.redis();
    let postgres = postgres(&authority);
    let region = region()
        .registry(registry)
        .store(url(&postgres, &authority.path("ca.pem")))
        .env("SSL_CERT_FILE", authority.path("ca.pem"));
    let service = Service::start().await;
    let fixture = RelayFixture::publishing(region, service.address()).await;
    fixture.assert_serves().await;
    assert!(redis.run("DBSIZE") != ":0", "the registry is in this Redis");
    let (_, ready) = fixture.relay.get_ops("/readyz").unwrap();
    assert!(!ready.contains("cannot be reached"), "{ready}");
}

#[test]
fn a_postgres_whose_certificate_is_not_trusted_is_not_used() {
    let (authority, other) = (Authority::new(), Authority::new());
    let postgres = postgres(&authority);
    let region = region().store(url(&postgres, &other.path("ca.pem")));
    let mut relay = region.spawn("a");
    let status = relay.child.wait(Duration::from_secs(60)).unwrap();
    let output = relay.child.output();
    assert_eq!(status.code(), Some(1), "{output}");
    assert!(output.contains("[store]") && output.to_lowercase().contains("certificate"), "{output}");
}

#[test]
fn a_redis_whose_certificate_is_not_trusted_gets_nothing() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (redis, _port, registry) = authority.redis();
    let postgres = Postgres::start();
    let region =
        region().registry(registry).store(postgres.database()).env("SSL_CERT_FILE", other.path("ca.pem"));
    // It serves all the same, and says what is wrong.
    let relay = region.start("a");
    block_until("the relay reports its registry", || {
        let (_, ready) = relay.get_ops("/readyz").unwrap_or_default();
        ready.contains("registry") && ready.contains("cannot be reached")
    });
    assert_eq!(redis.run("DBSIZE"), ":0");
}
