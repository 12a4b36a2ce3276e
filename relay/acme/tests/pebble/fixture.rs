//! A CA, a name server and a store.

use adit_acme::{
    Ca, CertificateState, Dns01, IssueProgress, Issuer, KeyAlgorithm, Proof, Request, SealingKey,
    dns::{Resolvers, TsigKey},
};
use adit_store::Store;
use adit_testkit::{
    bind::{Bind, KEY_NAME},
    pebble::{Pebble, PebbleOptions},
    wait::until_ok,
};
use std::time::Duration;
use tempfile::TempDir;

pub(crate) struct AcmeFixture {
    pub(crate) bind: Bind,
    pub(crate) pebble: Pebble,
    pub(crate) store: Store,
    folder: TempDir,
}

impl AcmeFixture {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut PebbleOptions)) -> Self {
        let bind = Bind::start();
        let mut behaviour = PebbleOptions::with_resolver(bind.address());
        change(&mut behaviour);
        let pebble = Pebble::start(behaviour);
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder).await;
        store.put_region("eu.example", &SealingKey::of(&[7; 32]).public_text()).await.unwrap();
        Self { bind, pebble, store, folder }
    }

    pub(crate) fn issuer(&self, holder: &str) -> Issuer {
        Issuer {
            store: self.store.clone(),
            operator_key: SealingKey::of(&[1; 32]),
            holder: holder.to_owned(),
            resolvers: Resolvers::new(&[self.bind.address()]),
            own_http: None,
            own_tls: None,
        }
    }

    /// Another process with the same store.
    pub(crate) async fn another(&self, holder: &str) -> Issuer {
        Issuer { store: open(&self.folder).await, ..self.issuer(holder) }
    }

    pub(crate) fn request(&self, names: &[&str]) -> Request {
        Request {
            id: names[0].to_owned(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            regions: vec![],
            ca: Ca {
                directory: self.pebble.directory(),
                email: Some("ops@example.test".to_owned()),
                bundle: Some(self.pebble.ca_text()),
                ..Ca::default()
            },
            proof: Proof::Dns01(Dns01::Rfc2136 {
                server: self.bind.address(),
                key: TsigKey::new(KEY_NAME, self.bind.key()).unwrap(),
            }),
            algorithm: KeyAlgorithm::EcdsaP256,
            rotate: true,
            renew_before: None,
            newer_than: None,
        }
    }

    pub(crate) async fn advance(&self, request: &Request) -> IssueProgress {
        self.issuer("one").advance(request).await.unwrap()
    }

    /// Advances a request until its certificate is issued.
    pub(crate) async fn until_issued(&self, request: &Request) -> IssueProgress {
        until_ok("the certificate is issued", async || {
            let progress = self.advance(request).await;
            if progress.state == CertificateState::Issued {
                return Ok(progress);
            }
            tokio::time::sleep(progress.next_check.min(Duration::from_secs(1))).await;
            Err(progress)
        })
        .await
    }
}

async fn open(folder: &TempDir) -> Store {
    let url = format!("sqlite:{}", folder.path().join("adit.db").display());
    let store = Store::open(&url.parse().unwrap()).unwrap();
    store.migrate().await.unwrap();
    store
}
