//! A CA, a name server, and an issuer that works as the operator does.

use adit_acme::{
    Ca, CertificateState, Dns01, Issuer, KeyAlgorithm, Proof, Request, SealingKey,
    dns::{Resolvers, TsigKey},
};
use adit_relay::auth::RegionKeys;
use adit_store::{Store, StoredCertificate};
use adit_testkit::{
    bind::{Bind, KEY_NAME},
    pebble::{Pebble, PebbleOptions},
    region::{DOMAIN, TestRegion},
    wait::until_async,
};
use std::{
    net::SocketAddr,
    process::{Command, Stdio},
};

/// SHA-256 of the certificate that is served for a name, written as in the store.
pub(crate) fn served_fingerprint(address: SocketAddr, name: &str) -> String {
    let script = "openssl s_client -connect \"$0\" -servername \"$1\" </dev/null 2>/dev/null \
                  | openssl x509 -noout -fingerprint -sha256 2>/dev/null";
    let output = Command::new("sh")
        .args(["-c", script, &address.to_string(), name])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.trim().rsplit('=').next().unwrap_or_default().replace(':', "").to_ascii_lowercase()
}

/// A CA and a name server.
pub(crate) struct Authorities {
    pub(crate) bind: Bind,
    pub(crate) pebble: Pebble,
}

impl Authorities {
    pub(crate) fn start(http: u16, tls: u16) -> Self {
        let bind = Bind::start();
        let options =
            PebbleOptions { http_port: http, tls_port: tls, ..PebbleOptions::with_resolver(bind.address()) };
        Self { pebble: Pebble::start(options), bind }
    }

    fn ca(&self) -> Ca {
        Ca { directory: self.pebble.directory(), bundle: Some(self.pebble.ca_text()), ..Ca::default() }
    }

    /// An issuer of the domain's wildcard into a store, by dns-01.
    pub(crate) async fn issuer(&self, store: Store, region: &TestRegion) -> Operator {
        let keys = RegionKeys::parse(region.key().as_bytes()).unwrap();
        let public = keys.sealing_keys()[0].public_text();
        store.put_region(DOMAIN, &public).await.unwrap();
        let key = TsigKey::new(KEY_NAME, self.bind.key()).unwrap();
        let request = Request {
            id: "wildcard".to_owned(),
            names: vec![DOMAIN.to_owned(), format!("*.{DOMAIN}")],
            regions: vec![],
            ca: self.ca(),
            proof: Proof::Dns01(Dns01::Rfc2136 { server: self.bind.address(), key }),
            algorithm: KeyAlgorithm::EcdsaP256,
            rotate: true,
            renew_before: None,
            newer_than: Some(u64::MAX),
        };
        let issuer = Issuer {
            store,
            operator_key: SealingKey::of(&[1; 32]),
            holder: "test".to_owned(),
            resolvers: Resolvers::new(&[self.bind.address()]),
            own_http: None,
            own_tls: None,
        };
        Operator { issuer, request }
    }
}

/// Issues into the store that relays read.
pub(crate) struct Operator {
    pub(crate) issuer: Issuer,
    pub(crate) request: Request,
}

impl Operator {
    /// Issues another certificate.
    pub(crate) async fn issue(&self) -> StoredCertificate {
        let progress = self.issuer.advance(&self.request).await.unwrap();
        assert_eq!(progress.state, CertificateState::Issued, "{:?}", progress.order);
        progress.stored.unwrap()
    }

    /// Waits until so many relays have confirmed this fingerprint, and no other.
    pub(crate) async fn until_confirmed(&self, relays: usize, fingerprint: &str) {
        until_async("every relay confirms", async || {
            let seen = self.issuer.store.relays_seen().await.unwrap_or_default();
            seen.len() == relays && seen.iter().all(|relay| relay.served == [fingerprint])
        })
        .await;
    }
}
