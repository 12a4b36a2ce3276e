//! The program `adit` against a relay: what it prints, how it ends.

use crate::relay::{Answer, DEADLINE, Relay, soon};
use adit_protocol::Code;
use adit_testkit::http::Service;
use serde_json::Value;
use std::{
    path::Path,
    process::{ExitStatus, Stdio},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines},
    net::TcpListener,
    process::{Child, ChildStdout, Command},
};

/// The program with nothing of this computer's user. It is killed when it is dropped.
fn adit(home: &Path, relay: &Relay, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_adit"));
    command.args(arguments.split(' ')).arg("--relay").arg(relay.region()).arg("--ca").arg(relay.ca());
    command.current_dir(home).env_clear().env("HOME", home).env("XDG_RUNTIME_DIR", home.join("run"));
    command.env("ADIT_TOKEN", "a.b.c").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.kill_on_drop(true);
    command
}

fn lines(child: &mut Child) -> Lines<BufReader<ChildStdout>> {
    BufReader::new(child.stdout.take().unwrap()).lines()
}

fn signal(child: &Child, signal: rustix::process::Signal) {
    let pid = i32::try_from(child.id().unwrap()).unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal).unwrap();
}

async fn ended(child: &mut Child) -> ExitStatus {
    soon(child.wait()).await.unwrap()
}

async fn said(child: &mut Child) -> String {
    let mut text = String::new();
    soon(child.stderr.take().unwrap().read_to_string(&mut text)).await.unwrap();
    text
}

#[tokio::test]
async fn the_first_line_is_the_url_and_it_answers() {
    let home = tempfile::tempdir().unwrap();
    let (service, mut relay) = (Service::start().await, Relay::start().await);
    let arguments = format!("http {} --name shop", service.address());
    let mut child = adit(home.path(), &relay, &arguments).spawn().unwrap();
    let session = relay.session().await;
    let url = soon(lines(&mut child).next_line()).await.unwrap().unwrap();
    assert_eq!(url, "https://shop.adit.localhost");
    assert_eq!(session.get("/request").await.0.status(), 200);
    signal(&child, rustix::process::Signal::TERM);
    session.ended().await;
    assert_eq!(ended(&mut child).await.code(), Some(0));
}

#[tokio::test]
async fn each_refusal_ends_with_its_exit_code_and_words() {
    let relay = Relay::start().await;
    for (code, exit_code, words) in [
        (Code::TokenSignature, 3, "adit.localhost refused the token [token_signature]"),
        (Code::TokenExpired, 3, "[token_expired]"),
        (Code::TokenUsed, 3, "[token_used]"),
        (Code::ClockSkew, 3, "min slow [clock_skew]"),
        (Code::TooManySessions, 4, "[too_many_sessions]"),
        (Code::Suspended, 5, "  next:  write to abuse@example.com and name the complaint"),
        (Code::UpgradeRequired, 6, "  why:   the relay needs 9.0.0 or later"),
    ] {
        let home = tempfile::tempdir().unwrap();
        relay.set_policy(move |_| Answer::refused(code, None));
        let output = soon(adit(home.path(), &relay, "http 3000").output()).await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(words), "{code}: {said}");
        assert_eq!((output.status.code(), output.stdout.len()), (Some(exit_code), 0), "{code}");
    }
}

#[tokio::test]
async fn a_taken_name_is_refused_and_any_name_takes_another() {
    let relay = Relay::with_policy(|hello| {
        let asked = hello.tunnels[0].clone();
        Answer::Welcome(Box::new(move |welcome| {
            if asked.any_name {
                welcome.opened[0].url = "https://brisk-otter.adit.localhost".into();
                welcome.opened[0].name_refused = Some(Code::NameTaken);
            } else {
                welcome.opened.clear();
                welcome.refused = vec![adit_protocol::RefusedTunnel {
                    tunnel: asked.tunnel,
                    code: Code::NameTaken,
                    message: "shop belongs to another account".into(),
                    retry_after_ms: None,
                }];
            }
        }))
    })
    .await;
    let home = tempfile::tempdir().unwrap();
    let refused = soon(adit(home.path(), &relay, "http 3000 --name shop -q").output()).await.unwrap();
    assert_eq!(
        String::from_utf8(refused.stderr).unwrap(),
        "error: the name \"shop\" belongs to another account [name_taken]\n  \
         next:  choose another --name, or leave it out for a random one\n"
    );
    assert_eq!(refused.status.code(), Some(4));
    let mut child = adit(home.path(), &relay, "http 3000 --name shop --any-name").spawn().unwrap();
    let url = soon(lines(&mut child).next_line()).await.unwrap().unwrap();
    assert_eq!(url, "https://brisk-otter.adit.localhost");
}

#[tokio::test]
async fn the_first_interrupt_lets_an_answer_end_the_second_does_not() {
    // A service that answers when the test says so.
    let service = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let arguments = format!("http {} --json", service.local_addr().unwrap());
    for patient in [true, false] {
        let home = tempfile::tempdir().unwrap();
        let mut relay = Relay::start().await;
        let mut child = adit(home.path(), &relay, &arguments).spawn().unwrap();
        let session = relay.session().await;
        let mut lines = lines(&mut child);
        let get = session.get("/");
        tokio::pin!(get);
        // The client also looks whether the service is there: such a connection brings no request.
        let asked = async {
            loop {
                let (mut connection, _) = service.accept().await.unwrap();
                if connection.read(&mut [0; 1024]).await.unwrap() > 0 {
                    return connection;
                }
            }
        };
        let mut connection = tokio::select! {
            connection = soon(asked) => connection,
            _ = &mut get => panic!("nobody has answered"),
        };
        signal(&child, rustix::process::Signal::INT);
        soon(async {
            while let Some(line) = lines.next_line().await.unwrap() {
                let event: Value = serde_json::from_str(&line).unwrap();
                if event["state"] == "stopping" {
                    return;
                }
            }
            panic!("it says that it stops");
        })
        .await;
        if patient {
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone";
            soon(tokio::io::AsyncWriteExt::write_all(&mut connection, answer)).await.unwrap();
            let (head, body) = soon(&mut get).await;
            assert_eq!((head.status().as_u16(), body.as_slice()), (200, b"done".as_slice()));
            assert_eq!(ended(&mut child).await.code(), Some(0));
        } else {
            // Within 100 ms of the first it would be the same signal, delivered twice.
            tokio::time::sleep(std::time::Duration::from_millis(150)).await;
            signal(&child, rustix::process::Signal::INT);
            assert_eq!(ended(&mut child).await.code(), Some(130));
        }
    }
}

#[tokio::test]
async fn start_goes_on_without_a_refused_tunnel_and_says_why() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("adit.yaml"), "tunnels: {docs: {http: 1}, shop: {http: 2}}\n").unwrap();
    let mut relay = Relay::with_policy(|hello| {
        let docs = hello.tunnels.iter().find(|t| t.name.as_deref() == Some("docs")).map(|t| t.tunnel.clone());
        Answer::Welcome(Box::new(move |welcome| {
            let Some(docs) = docs else { return };
            welcome.opened.retain(|opened| opened.tunnel != docs);
            welcome.refused = vec![adit_protocol::RefusedTunnel {
                tunnel: docs,
                code: Code::NameTaken,
                message: "docs belongs to another account".into(),
                retry_after_ms: None,
            }];
        }))
    })
    .await;
    let mut child = adit(home.path(), &relay, "start").spawn().unwrap();
    let _session = relay.session().await;
    let url = soon(lines(&mut child).next_line()).await.unwrap().unwrap();
    assert_eq!(url, "https://shop.adit.localhost");
    signal(&child, rustix::process::Signal::TERM);
    assert_eq!(ended(&mut child).await.code(), Some(0));
    let said = said(&mut child).await;
    assert!(said.contains("error: the name \"docs\" belongs to another account [name_taken]\n"), "{said}");
}

#[tokio::test]
async fn status_counts_the_relays_and_shows_the_url() {
    let home = tempfile::tempdir().unwrap();
    let mut relay = Relay::start().await;
    let mut child = adit(home.path(), &relay, "tcp 22").spawn().unwrap();
    let _session = relay.session().await;
    soon(lines(&mut child).next_line()).await.unwrap().unwrap();
    let ask = async {
        loop {
            let mut status = Command::new(env!("CARGO_BIN_EXE_adit"));
            status.args(["status", "22"]).current_dir(home.path()).env_clear();
            status.env("XDG_RUNTIME_DIR", home.path().join("run"));
            let output = status.output().await.unwrap();
            let table = String::from_utf8(output.stdout).unwrap();
            if table.contains("tcp://adit.localhost:20022") && table.ends_with(" 1\n") {
                return table;
            }
        }
    };
    let table = tokio::time::timeout(DEADLINE, ask).await.unwrap();
    let row: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!((row[1], row[2]), ("tcp://adit.localhost:20022", "127.0.0.1:22"));
}

#[tokio::test]
async fn what_a_relay_says_cannot_steer_the_terminal() {
    let evil = "\u{1b}]0;title\u{7}\u{1b}[2J\r\nadit: all is well";
    let home = tempfile::tempdir().unwrap();
    let (service, mut relay) = (Service::start().await, Relay::start().await);
    relay.set_policy(move |_| {
        Answer::Welcome(Box::new(move |welcome| {
            welcome.opened[0].url = format!("https://shop.adit.localhost{evil}");
            welcome.provider.name = evil.into();
        }))
    });
    let arguments = format!("http {} --name shop", service.address());
    let mut child = adit(home.path(), &relay, &arguments).spawn().unwrap();
    let mut session = relay.session().await;
    let url = soon(lines(&mut child).next_line()).await.unwrap().unwrap();
    assert!(url.starts_with("https://shop.adit.localhost") && !url.contains(char::is_control), "{url:?}");
    session.tell(&adit_protocol::ToClient::Close {
        code: Code::Suspended,
        message: evil.into(),
        suspension: None,
    });
    let said = said(&mut child).await;
    assert!(said.lines().all(|line| !line.contains(char::is_control)), "{said:?}");
    assert!(said.lines().all(|line| !line.starts_with("adit: all is well")), "{said:?}");
    assert_eq!(ended(&mut child).await.code(), Some(5));
}

#[tokio::test]
async fn the_client_goes_through_the_proxy_of_its_environment() {
    let home = tempfile::tempdir().unwrap();
    let (service, mut relay) = (Service::start().await, Relay::start().await);
    let to = relay.address;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = listener.local_addr().unwrap();
    let (heard, mut asked) = tokio::sync::mpsc::channel(16);
    let proxying = tokio::spawn(async move {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let heard = heard.clone();
            tokio::spawn(async move {
                let mut head = vec![];
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(near.read_u8().await.unwrap());
                }
                heard.send(String::from_utf8(head).unwrap()).await.unwrap();
                near.write_all(b"HTTP/1.1 200 OK\r\nVia: test\r\n\r\n").await.unwrap();
                let mut far = tokio::net::TcpStream::connect(to).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    let mut command = Command::new(env!("CARGO_BIN_EXE_adit"));
    // No name server knows this region: only the proxy leads there.
    let region = format!("eu.example.test:{}", to.port());
    command.args(["http", &service.address().to_string(), "--relay", &region, "--ca"]).arg(relay.ca());
    command.current_dir(home.path()).env_clear().env("HOME", home.path()).env("ADIT_TOKEN", "a.b.c");
    command.env("HTTPS_PROXY", format!("http://me:pass@{proxy}"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let session = relay.session().await;
    let head = soon(asked.recv()).await.unwrap();
    let port = to.port();
    assert!(head.starts_with(&format!("CONNECT connect.eu.example.test:{port} HTTP/1.1\r\n")), "{head}");
    assert!(head.contains("\r\nProxy-Authorization: Basic bWU6cGFzcw==\r\n"), "{head}");
    assert_eq!(session.get("/").await.1, b"hello");
    signal(&child, rustix::process::Signal::TERM);
    session.ended().await;
    assert_eq!(ended(&mut child).await.code(), Some(0));
    assert!(!said(&mut child).await.contains("pass"));
    proxying.abort();
}
