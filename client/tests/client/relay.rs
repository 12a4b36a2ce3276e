//! A relay of the tests' own: it speaks the protocol, and breaks it on demand.

use adit::{Client, ClientBuilder, Events, TunnelSpec, event::EventKind};
use adit_mux::{Opener, RecvStream, ResponseFuture, SendStream, StreamError};
use adit_protocol::{
    Account, Endpoint, Hello, HelloRefusal, Kind, MUX_H2, OpenedTunnel, Proof, RelayId, Reply, ToClient,
    ToRelay, TunnelId, VERSION, Welcome,
    control::{Lines, encode},
    frame,
    possession::{EXPORTER_BYTES, EXPORTER_LABEL, message},
};
use adit_testkit::port::Port;
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{Request, Response, request::Builder};
use rustls::pki_types::PrivateKeyDer;
use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// Nothing that a test waits for takes as long as this.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Waits for something that has to happen.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    timeout(DEADLINE, future).await.expect("it happens in time")
}

/// What a relay does with a hello.
pub(crate) enum Answer {
    /// Welcomes the client; the function may change the welcome.
    Welcome(Box<dyn FnOnce(&mut Welcome) + Send>),
    Reply(Reply),
    /// Sends these bytes in place of an answer, and nothing more.
    Bytes(Vec<u8>),
}

impl Answer {
    pub(crate) fn welcome() -> Self {
        Self::Welcome(Box::new(|_| {}))
    }

    pub(crate) fn refused(code: adit_protocol::Code, retry_after_ms: Option<u64>) -> Self {
        Self::Reply(Reply::Refused(HelloRefusal {
            code,
            message: format!("the test says {code}"),
            time: 1_800_000_000,
            min_version: Some("9.0.0".into()),
            retry_after_ms,
            provider: adit_protocol::hello::Provider {
                name: "Test".into(),
                abuse: "abuse@example.com".into(),
            },
            suspension: None,
            facts: Default::default(),
        }))
    }
}

type Policy = Box<dyn FnMut(&Hello) -> Answer + Send>;

/// A relay on a free port of this computer, for the region `adit.localhost`.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    pub(crate) folder: tempfile::TempDir,
    sessions: mpsc::Receiver<Session>,
    policy: Arc<Mutex<Policy>>,
    tls: TlsAcceptor,
    tell: mpsc::Sender<Session>,
    accepting: JoinHandle<()>,
    _port: Port,
}

/// One session, as the relay sees it. The connection breaks when this is dropped.
pub(crate) struct Session {
    pub(crate) hello: Hello,
    pub(crate) opener: Opener,
    pub(crate) tunnel: String,
    to: SendStream,
    from: RecvStream,
    lines: Lines,
    driver: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Relay {
    pub(crate) async fn start() -> Self {
        Self::with_policy(|_| Answer::welcome()).await
    }

    pub(crate) async fn with_policy(policy: impl FnMut(&Hello) -> Answer + Send + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let names = ["adit.localhost", "*.adit.localhost", "*.eu.example.test"].map(str::to_owned);
        let certificate = rcgen::generate_simple_self_signed(names).unwrap();
        std::fs::write(folder.path().join("ca.pem"), certificate.cert.pem()).unwrap();
        let key = PrivateKeyDer::Pkcs8(certificate.signing_key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.cert.der().clone()], key)
            .unwrap();
        config.alpn_protocols = vec![adit_protocol::ALPN.to_vec()];
        let tls = TlsAcceptor::from(Arc::new(config));
        // A port that stays this relay's while it is away.
        let port = Port::take();
        let address = port.address();
        let listener = TcpListener::bind(address).await.unwrap();
        let policy: Arc<Mutex<Policy>> = Arc::new(Mutex::new(Box::new(policy)));
        let (tell, sessions) = mpsc::channel(64);
        let accepting = tokio::spawn(accept(listener, tls.clone(), policy.clone(), tell.clone()));
        Self { address, folder, sessions, policy, tls, tell, accepting, _port: port }
    }

    pub(crate) fn set_policy(&self, policy: impl FnMut(&Hello) -> Answer + Send + 'static) {
        *self.policy.lock().unwrap() = Box::new(policy);
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    pub(crate) fn region(&self) -> String {
        format!("adit.localhost:{}", self.address.port())
    }

    /// A client of this relay, still without a tunnel.
    pub(crate) fn client(&self) -> ClientBuilder {
        Client::builder().relay(self.region()).ca(self.ca()).token("a.b.c")
    }

    /// A client with one tunnel, its events, and its first session.
    pub(crate) async fn serve(&mut self, spec: TunnelSpec) -> (Client, Events, Session) {
        let client = self.client().tunnel(spec).start().unwrap();
        let events = client.events(true);
        let session = self.session().await;
        (client, events, session)
    }

    /// The next session.
    pub(crate) async fn session(&mut self) -> Session {
        soon(self.sessions.recv()).await.expect("the relay runs")
    }

    /// Whether no session comes for a while.
    pub(crate) async fn is_left_alone(&mut self, time: Duration) -> bool {
        timeout(time, self.sessions.recv()).await.is_err()
    }

    /// Listens no more.
    pub(crate) async fn go_away(&mut self) {
        self.accepting.abort();
        let _ = (&mut self.accepting).await;
    }

    /// Listens again at the same address.
    pub(crate) async fn come_back(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.accepting =
            tokio::spawn(accept(listener, self.tls.clone(), self.policy.clone(), self.tell.clone()));
    }
}

async fn accept(
    listener: TcpListener,
    tls: TlsAcceptor,
    policy: Arc<Mutex<Policy>>,
    tell: mpsc::Sender<Session>,
) {
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        let (tls, policy, tell) = (tls.clone(), policy.clone(), tell.clone());
        tokio::spawn(async move {
            if let Some(session) = greet(tcp, tls, policy).await {
                let _ = tell.send(session).await;
            }
        });
    }
}

async fn greet(tcp: TcpStream, tls: TlsAcceptor, policy: Arc<Mutex<Policy>>) -> Option<Session> {
    tcp.set_nodelay(true).unwrap();
    let mut io = tls.accept(tcp).await.ok()?;
    let hello = read_hello(&mut io).await?;
    let answer = (policy.lock().unwrap())(&hello);
    let reply = match answer {
        Answer::Bytes(bytes) => {
            io.write_all(&bytes).await.ok()?;
            io.flush().await.ok()?;
            // The client ends it.
            let _ = io.read(&mut [0; 16]).await;
            return None;
        }
        Answer::Reply(reply) => reply,
        Answer::Welcome(change) => {
            let mut welcome = welcome(&hello);
            change(&mut welcome);
            Reply::Welcome(Box::new(welcome))
        }
    };
    io.write_all(&frame::encode(&reply).unwrap()).await.ok()?;
    io.flush().await.ok()?;
    if !matches!(reply, Reply::Welcome(_)) {
        let _ = io.shutdown().await;
        return None;
    }
    let tunnel = hello.tunnels.first().map_or_else(String::new, |tunnel| tunnel.tunnel.to_string());
    let (mut opener, _, driver) = adit_mux::open(io).await.ok()?;
    let driver = tokio::spawn(async move {
        let _ = driver.await;
    });
    let control =
        Request::post("https://adit/").header(adit_protocol::stream::CONTROL, "1").body(()).unwrap();
    let (response, to) = opener.send_request(control, false).ok()?;
    let from = response.await.ok()?.into_body();
    Some(Session { hello, opener, tunnel, to, from, lines: Lines::default(), driver })
}

async fn read_hello(io: &mut TlsStream<TcpStream>) -> Option<Hello> {
    let mut prefix = [0; frame::PREFIX_BYTES];
    io.read_exact(&mut prefix).await.ok()?;
    let mut json = vec![0; frame::length(prefix).unwrap()];
    io.read_exact(&mut json).await.ok()?;
    let hello: Hello = frame::decode(&json).unwrap();
    let exporter = io.get_ref().1.export_keying_material([0; EXPORTER_BYTES], EXPORTER_LABEL, None).unwrap();
    let key = BASE64_URL_SAFE_NO_PAD.decode(&hello.key).unwrap();
    let signature = BASE64_URL_SAFE_NO_PAD.decode(&hello.signature).unwrap();
    UnparsedPublicKey::new(&ED25519, key)
        .verify(&message(&exporter), &signature)
        .expect("the hello is signed for this connection");
    Some(hello)
}

/// The welcome that a region of one relay with one session a client gives.
fn welcome(hello: &Hello) -> Welcome {
    let opened = hello.tunnels.iter().map(|ask| {
        let (endpoint, url) = match ask.kind {
            Kind::Http => {
                let host = format!("{}.adit.localhost", ask.name.as_deref().unwrap_or("brisk-otter"));
                (Endpoint::host(&host), format!("https://{host}"))
            }
            Kind::Tcp => {
                let port = ask.port.unwrap_or(20022);
                (Endpoint::Tcp(port), format!("tcp://adit.localhost:{port}"))
            }
        };
        let ticket = format!("ticket for {}", ask.tunnel);
        OpenedTunnel { tunnel: ask.tunnel.clone(), endpoint, url, ticket, name_refused: None }
    });
    Welcome {
        version: VERSION,
        mux: MUX_H2.into(),
        relay: "relay-a".parse().unwrap(),
        region: "adit.localhost".into(),
        session: format!("s-{}", rand::random::<u32>()).parse().unwrap(),
        sessions: 1,
        relays: 1,
        account: Account::managed("me"),
        credential: "credential 1".into(),
        credential_expires: now() + 3600,
        renew_with_token: false,
        opened: opened.collect(),
        refused: vec![],
        provider: Default::default(),
    }
}

pub(crate) fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

pub(crate) fn relay_id(id: &str) -> RelayId {
    id.parse().unwrap()
}

/// A policy of several relays behind one address, each of them for `sessions` sessions: dials reach them in turn.
pub(crate) fn relays_in_turn(
    names: &'static [&'static str],
    sessions: u8,
) -> impl FnMut(&Hello) -> Answer + Send {
    let mut next = 0;
    move |hello| {
        let name = names[next % names.len()];
        next += 1;
        answer_as(name, u32::try_from(names.len()).unwrap(), sessions, hello)
    }
}

/// What the relay of this name answers, one of so many.
pub(crate) fn answer_as(name: &'static str, relays: u32, sessions: u8, hello: &Hello) -> Answer {
    let others_only = !hello.only.is_empty() && !hello.only.contains(&relay_id(name));
    if others_only || hello.avoid.contains(&relay_id(name)) {
        let elsewhere = adit_protocol::HelloRedirect { relay: relay_id(name), relays };
        return Answer::Reply(Reply::Elsewhere(elsewhere));
    }
    Answer::Welcome(Box::new(move |welcome| {
        welcome.relay = relay_id(name);
        welcome.relays = relays;
        welcome.sessions = sessions;
    }))
}

impl Session {
    pub(crate) fn is_by_token(&self) -> bool {
        matches!(self.hello.proof, Proof::Token { .. })
    }

    pub(crate) fn tunnel_id(&self) -> TunnelId {
        self.tunnel.parse().unwrap()
    }

    /// A request for the session's tunnel.
    pub(crate) fn request(&self, method: &str, path: &str) -> Builder {
        Request::builder()
            .method(method)
            .uri(format!("https://shop.adit.localhost{path}"))
            .header("adit-tunnel", &self.tunnel)
            .header("adit-request-id", "rq1")
            .header("x-forwarded-for", "203.0.113.9")
    }

    /// Opens a stream.
    pub(crate) async fn open(&self, request: Request<()>, end: bool) -> (ResponseFuture, SendStream) {
        let mut opener = soon(self.opener.clone().ready()).await.unwrap();
        opener.send_request(request, end).unwrap()
    }

    /// One exchange without a request body.
    pub(crate) async fn get(&self, path: &str) -> (Response<()>, Vec<u8>) {
        let (response, _) = self.open(self.request("GET", path).body(()).unwrap(), true).await;
        let (head, body) = soon(response).await.unwrap().into_parts();
        (Response::from_parts(head, ()), soon(read_all(body)).await.unwrap())
    }

    /// Says something on the control stream.
    pub(crate) fn tell(&mut self, message: &ToClient) {
        self.tell_bytes(encode(message).unwrap());
    }

    pub(crate) fn tell_bytes(&mut self, bytes: Vec<u8>) {
        self.to.send_data(bytes.into(), false).unwrap();
    }

    /// What the client says next; `None` once it has ended the control stream.
    pub(crate) async fn hear(&mut self) -> Option<ToRelay> {
        loop {
            if let Some(message) = self.lines.next().unwrap() {
                return Some(message);
            }
            let chunk = soon(self.from.data()).await?.ok()?;
            self.from.release(chunk.len());
            self.lines.push(&chunk).unwrap();
        }
    }

    /// Waits until the client has ended the connection.
    pub(crate) async fn ended(mut self) {
        soon(&mut self.driver).await.unwrap();
    }
}

/// All bytes of a stream, or why it broke.
pub(crate) async fn read_all(mut stream: RecvStream) -> Result<Vec<u8>, StreamError> {
    let mut all = vec![];
    while let Some(chunk) = stream.data().await {
        let chunk = chunk?;
        stream.release(chunk.len());
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}

/// The next event for which the function has an answer.
pub(crate) async fn event<T>(events: &mut Events, mut wanted: impl FnMut(&EventKind) -> Option<T>) -> T {
    soon(async {
        loop {
            let event = events.next().await.expect("the client runs");
            if let Some(found) = wanted(&event.kind) {
                return found;
            }
        }
    })
    .await
}

/// A tunnel to a service on this computer.
pub(crate) fn http(address: SocketAddr) -> TunnelSpec {
    let mut spec = TunnelSpec::new(adit::Service::parse(Kind::Http, &address.to_string()).unwrap());
    spec.name = Some("shop".into());
    spec
}

/// A tunnel to a TCP service on this computer.
pub(crate) fn tcp(address: SocketAddr) -> TunnelSpec {
    TunnelSpec::new(adit::Service::parse(Kind::Tcp, &address.to_string()).unwrap())
}
