//! A client that speaks the tunnel's protocol as a test wants it to.

use crate::{
    fixture::{publish, tls},
    relay_fixture::RelayFixture,
};
use adit_protocol::possession::{EXPORTER_BYTES, EXPORTER_LABEL, message};
use adit_testkit::{
    http::{Http2Connection, Http2Frame, Service, frames::kind},
    region::RelayProcess,
};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use std::{path::Path, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

/// The host name of the hostile client's tunnel.
pub(crate) const EVIL: &str = "evil.adit.localhost";

/// A connection of a client that has not been let in yet.
pub(crate) struct RawClient {
    io: TlsStream<TcpStream>,
    key: Ed25519KeyPair,
}

impl RawClient {
    pub(crate) async fn connect(relay: &RelayProcess, ca: &Path, key: Ed25519KeyPair) -> Self {
        let tcp = TcpStream::connect(relay.https()).await.unwrap();
        Self { io: tls(ca, b"adit/1", "connect.adit.localhost", tcp).await.unwrap(), key }
    }

    fn signature(&self) -> String {
        let exporter =
            self.io.get_ref().1.export_keying_material([0; EXPORTER_BYTES], EXPORTER_LABEL, None).unwrap();
        BASE64_URL_SAFE_NO_PAD.encode(self.key.sign(&message(&exporter)))
    }

    /// A valid hello with this proof.
    pub(crate) fn hello(&self, proof: Value) -> Value {
        json!({
            "versions": [1], "mux": ["h2"], "clientVersion": "0.1.0", "proof": proof,
            "key": BASE64_URL_SAFE_NO_PAD.encode(self.key.public_key()), "signature": self.signature(),
            "instance": "in_evil", "tunnels": [{"tunnel": "tn_1", "kind": "http", "name": "evil"}],
        })
    }

    /// Sends these bytes and reads the answer; `None` when the relay ends the connection without one.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Option<Value> {
        // The relay may have heard enough before it has read all.
        let _ = self.io.write_all(bytes).await;
        let _ = self.io.flush().await;
        let reading = async {
            let length = self.io.read_u32().await.ok()?;
            let mut json = vec![0; length as usize];
            self.io.read_exact(&mut json).await.ok()?;
            Some(serde_json::from_slice(&json).unwrap())
        };
        tokio::time::timeout(Duration::from_secs(30), reading).await.expect("an answer or an end")
    }

    pub(crate) async fn send_hello(&mut self, hello: &Value) -> Option<Value> {
        self.send(&frame(&serde_json::to_vec(hello).unwrap())).await
    }
}

/// JSON behind its length, as the tunnel's protocol frames it.
pub(crate) fn frame(json: &[u8]) -> Vec<u8> {
    [&(json.len() as u32).to_be_bytes()[..], json].concat()
}

pub(crate) fn key() -> Ed25519KeyPair {
    Ed25519KeyPair::generate().unwrap()
}

/// The proof of a client that shows a token.
pub(crate) fn token(token: &str) -> Value {
    json!({"type": "token", "token": token})
}

/// A client of the account `foe`, with a credential and its key.
pub(crate) struct HostileClient {
    key: Vec<u8>,
    pub(crate) credential: Value,
}

impl HostileClient {
    /// Lets the account have a credential, by a session that has ended.
    async fn register(fixture: &RelayFixture) -> Self {
        let key = key();
        let document = key.to_pkcs8v1().unwrap().as_ref().to_vec();
        let mut client = RawClient::connect(&fixture.relay, &fixture.region.ca(), key).await;
        let mut hello = client.hello(token(&fixture.region.token(&fixture.relay, "foe", &[])));
        hello["tunnels"] = json!([]);
        let welcome = client.send_hello(&hello).await.unwrap();
        assert_eq!(welcome["type"], "welcome", "{welcome}");
        // Its first session ends before a test counts any.
        let mut http2 = Http2Connection::server(client.io, &[]).await.unwrap();
        let control = http2.receive_kind(kind::HEADERS).await.unwrap();
        http2.send(&Http2Frame::headers(control.stream, 0x1, &[(":status", "404")])).await.unwrap();
        while http2.receive().await.is_ok() {}
        Self { key: document, credential: json!({"type": "credential", "credential": welcome["credential"]}) }
    }

    pub(crate) async fn connect(&self, fixture: &RelayFixture) -> RawClient {
        let key = Ed25519KeyPair::from_pkcs8(&self.key).unwrap();
        RawClient::connect(&fixture.relay, &fixture.region.ca(), key).await
    }

    /// Shows its credential and asks for these tunnels; returns the answer.
    pub(crate) async fn request_tunnels(&self, fixture: &RelayFixture, tunnels: &Value) -> Value {
        let mut client = self.connect(fixture).await;
        let mut hello = client.hello(self.credential.clone());
        hello["tunnels"] = tunnels.clone();
        client.send_hello(&hello).await.unwrap()
    }

    /// Shows a token with a new key; returns the answer.
    pub(crate) async fn present_token(fixture: &RelayFixture, text: &str) -> Value {
        let mut client = RawClient::connect(&fixture.relay, &fixture.region.ca(), key()).await;
        let hello = client.hello(token(text));
        client.send_hello(&hello).await.unwrap()
    }

    /// Connects and is let in, with its tunnel open.
    pub(crate) async fn connect_session(&self, fixture: &RelayFixture) -> TlsStream<TcpStream> {
        let mut client = self.connect(fixture).await;
        let hello = client.hello(self.credential.clone());
        let welcome = client.send_hello(&hello).await.unwrap();
        assert_eq!(
            (&welcome["type"], welcome["opened"].as_array().map(Vec::len)),
            (&json!("welcome"), Some(1))
        );
        client.io
    }

    /// Connects, and waits for the relay's request for the control stream; returns its id too.
    pub(crate) async fn await_control(
        &self,
        fixture: &RelayFixture,
        settings: &[(u16, u32)],
    ) -> (Http2Connection<TlsStream<TcpStream>>, u32) {
        let io = self.connect_session(fixture).await;
        let mut http2 = Http2Connection::server(io, settings).await.unwrap();
        let control = http2.receive_kind(kind::HEADERS).await.unwrap();
        (http2, control.stream)
    }

    /// Connects, and opens the control stream.
    pub(crate) async fn open_session(
        &self,
        fixture: &RelayFixture,
        settings: &[(u16, u32)],
    ) -> Http2Connection<TlsStream<TcpStream>> {
        let (mut http2, control) = self.await_control(fixture, settings).await;
        http2.send(&Http2Frame::headers(control, 0, &[(":status", "200")])).await.unwrap();
        http2
    }
}

/// A relay that serves a service, and a hostile client beside it.
pub(crate) async fn start() -> (Service, RelayFixture, HostileClient) {
    let service = Service::start().await;
    let fixture = publish(service.address()).await;
    let hostile = HostileClient::register(&fixture).await;
    (service, fixture, hostile)
}
