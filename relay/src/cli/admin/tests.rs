use super::{
    act::{self, AdminAction, Consent},
    client,
};
use crate::{
    cli::{CliError, ExitReason},
    ops::admin::{Admin, AdminSocket, BindError, Page, SessionView, TunnelView, serve},
};
use adit_protocol::{Account, Endpoint, Kind};
use std::{
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::Arc,
    sync::atomic::{AtomicUsize, Ordering},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};
use tokio_util::sync::CancellationToken;

fn session(i: usize) -> SessionView {
    SessionView {
        session: format!("s-{i:04}").parse().unwrap(),
        account: Account::managed("me"),
        instance: "i-1".parse().unwrap(),
        client_version: "0.1.0".to_owned(),
        address: "203.0.113.7:50000".to_owned(),
        lane: 0,
        tunnels: vec!["tn_1".parse().unwrap()],
        streams: 2,
        opened_at: 1_795_257_667,
        expires_at: 1_795_257_700,
    }
}

fn tunnel() -> TunnelView {
    TunnelView {
        tunnel: "tn_1".parse().unwrap(),
        endpoint: Endpoint::host("shop.eu.example.com"),
        url: "https://shop.eu.example.com".to_owned(),
        kind: Kind::Http,
        account: Account::managed("me"),
        generation: 1,
        sessions: vec!["s-0001".parse().unwrap()],
        streams: 2,
        opened_at: 1_795_257_667,
    }
}

struct Running {
    path: PathBuf,
    drains: Arc<AtomicUsize>,
    server: tokio::task::JoinHandle<()>,
    stop: CancellationToken,
    _folder: tempfile::TempDir,
}

fn start(sessions: usize) -> Running {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let (drains, stop) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
    let counted = Arc::clone(&drains);
    let admin = Admin {
        sessions: Box::new(move || (0..sessions).rev().map(session).collect()),
        tunnels: Box::new(|| vec![tunnel()]),
        close_session: Box::new(|id| id.as_str() == "s-0001"),
        store: adit_store::Store::open(
            &format!("sqlite:{}", folder.path().join("adit.db").display()).parse().unwrap(),
        )
        .unwrap(),
        drain: Box::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        }),
    };
    let socket = AdminSocket::bind(&path).unwrap();
    let server = tokio::spawn(serve(socket, Arc::new(admin), stop.clone()));
    Running { path, drains, server, stop, _folder: folder }
}

/// Sends bytes as they are; what is read until the relay closes.
async fn raw(relay: &Running, head: &str, body: &[u8]) -> String {
    let mut stream = UnixStream::connect(&relay.path).await.unwrap();
    let head = format!("{head}\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    // The relay may answer and close before it has read everything.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn lists_come_page_by_page_and_whole() {
    let relay = start(2_500);
    let all = client::sessions(&relay.path).await.unwrap();
    assert_eq!(all, (0..2_500).map(session).collect::<Vec<_>>());
    assert_eq!(client::tunnels(&relay.path).await.unwrap(), [tunnel()]);
    let page = raw(&relay, "GET /v1/sessions?limit=2&after=s-0001 HTTP/1.1", b"").await;
    let page: Page<SessionView> = serde_json::from_str(page.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(page, Page { items: vec![session(2), session(3)], next: Some("s-0003".to_owned()) });
}

#[tokio::test]
async fn people_get_a_table_and_scripts_json() {
    let relay = start(1);
    let table = client::print_sessions(&relay.path, false, 1_795_257_667 + 300).await.unwrap();
    let expected = "SESSION  ACCOUNT  ADDRESS            CLIENT  TUNNELS  STREAMS  AGE\n\
                    s-0000   me       203.0.113.7:50000  0.1.0   1        2        5m\n";
    assert_eq!(table, expected);
    let json = client::print_tunnels(&relay.path, true, 0).await.unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[0]["openedAt"], "2026-11-21T10:41:07Z");
    assert_eq!(json[0]["endpoint"], "shop.eu.example.com");
}

#[tokio::test]
async fn sessions_are_closed_and_the_relay_drained() {
    let relay = start(2);
    client::post(&relay.path, "/v1/sessions/s-0001/close").await.unwrap();
    let missing = client::post(&relay.path, "/v1/sessions/s-0009/close").await.unwrap_err();
    assert_eq!(missing.to_string(), "the relay refused: session: this relay has no session s-0009 (404)");
    assert_eq!(CliError::from(missing).exit, ExitReason::Refused);
    client::post(&relay.path, "/v1/drain").await.unwrap();
    assert!(raw(&relay, "POST /v1/drain HTTP/1.1", b"{}").await.starts_with("HTTP/1.1 202 "));
    assert_eq!(relay.drains.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn what_ends_something_is_said_first_and_done_only_with_consent() {
    let relay = start(2);
    let close = AdminAction::Close("s-0001".parse().unwrap());
    let asked = "close session s-0001 of me: 1 tunnel, 2 open streams";
    let never = |_: &str| panic!("nobody is asked");
    let no =
        act::carry_out(&relay.path, &AdminAction::Drain, Consent::Ask, false, |_| false).await.unwrap_err();
    assert_eq!((no.exit, no.code), (ExitReason::Usage, "unconfirmed"));
    let would =
        act::carry_out(&relay.path, &AdminAction::Drain, Consent::DryRun, false, never).await.unwrap();
    assert_eq!(would, "would drain the relay and end it: 2 sessions, 1 tunnel, 4 open streams\n");
    assert_eq!(relay.drains.load(Ordering::Relaxed), 0);
    let done = act::carry_out(&relay.path, &close, Consent::Ask, false, |effect| effect == asked).await;
    assert_eq!(done.unwrap(), "closing session s-0001 of me: 1 tunnel, 2 open streams\n");
    let done = act::carry_out(&relay.path, &AdminAction::Drain, Consent::Given, true, never).await.unwrap();
    let done: serde_json::Value = serde_json::from_str(&done).unwrap();
    let expected = serde_json::json!(
        {"action": "drain", "sessions": 2, "tunnels": 1, "streams": 4, "dryRun": false}
    );
    assert_eq!((done, relay.drains.load(Ordering::Relaxed)), (expected, 1));
    let missing = AdminAction::Close("s-0009".parse().unwrap());
    let missing = act::carry_out(&relay.path, &missing, Consent::Given, false, never).await.unwrap_err();
    assert_eq!((missing.exit, missing.code), (ExitReason::Refused, "admin_refused"));
}

#[tokio::test]
async fn bad_calls_are_refused_and_change_nothing() {
    let relay = start(2);
    let deep = format!("{{\"a\":{}", "[".repeat(30_000));
    let large = vec![b' '; 10 * 1024 * 1024];
    let calls: [(&str, &[u8], u16, &str); 11] = [
        ("GET /v1/drain HTTP/1.1", b"", 405, "method: it must be POST"),
        ("POST /v1/sessions HTTP/1.1", b"", 405, "method: it must be GET"),
        ("GET /v2/sessions HTTP/1.1", b"", 404, "path: "),
        ("GET / HTTP/1.1", b"", 404, "path: "),
        ("GET /v1/sessions?page=-1 HTTP/1.1", b"", 400, "\\\"page\\\": unknown parameter"),
        ("POST /v1/sessions/S%20/close HTTP/1.1", b"", 400, "session: "),
        ("POST /v1/drain HTTP/1.1", b"{\"force\":true}", 400, "unknown field `force`"),
        ("POST /v1/drain HTTP/1.1", b"[1", 400, "body: "),
        ("POST /v1/drain HTTP/1.1", deep.as_bytes(), 400, "body: "),
        ("POST /v1/drain HTTP/1.1", &large, 413, "body: it must have at most 65536 bytes"),
        ("POST /v1/drain HTTP/1.1\r\nContent-Type: text/plain", b"{}", 415, "content-type: "),
    ];
    for (head, body, status, words) in calls {
        let answer = raw(&relay, head, body).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{head}: {answer}");
        assert!(answer.contains("application/problem+json") && answer.contains(words), "{head}: {answer}");
    }
    assert_eq!(relay.drains.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn the_socket_is_private_and_goes_with_the_relay() {
    let relay = start(0);
    let mode = std::fs::metadata(&relay.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(matches!(AdminSocket::bind(&relay.path), Err(BindError::InUse(_))));
    assert!(relay.path.exists(), "the one that runs keeps its socket");
    relay.stop.cancel();
    relay.server.await.unwrap();
    assert!(!relay.path.exists());
    let error = client::sessions(&relay.path).await.unwrap_err();
    assert_eq!(CliError::from(error).exit, ExitReason::Unreachable);
}

#[tokio::test]
async fn what_a_dead_relay_left_is_replaced_and_a_file_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    drop(AdminSocket::bind(&path).unwrap());
    std::fs::write(&path, "precious").unwrap();
    assert!(matches!(AdminSocket::bind(&path), Err(BindError::NotASocket(_))));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}
