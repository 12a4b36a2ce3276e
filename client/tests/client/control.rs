//! What relay and client say to each other: credentials, tickets, closing.

use crate::relay::{Answer, Relay, event, http, now, soon};
use adit::{
    TunnelSpec,
    event::{ClientState, EventKind, SessionState, TunnelState},
};
use adit_protocol::{Code, Proof, RefusedTunnel, ToClient, ToRelay};
use adit_testkit::http::Service;
use std::{path::Path, time::Duration};

#[tokio::test]
async fn a_lost_session_comes_back_with_credential_ticket_and_name() {
    let (service, mut relay) = (Service::start().await, Relay::start().await);
    let (client, mut events, first) = relay.serve(http(service.address())).await;
    assert!(first.is_by_token());
    let (key, instance, tunnel) =
        (first.hello.key.clone(), first.hello.instance.clone(), first.tunnel.clone());
    assert!(first.hello.tunnels[0].ticket.is_none());
    drop(first);
    let second = relay.session().await;
    assert_eq!((&second.hello.key, &second.hello.instance, &second.tunnel), (&key, &instance, &tunnel));
    assert!(matches!(&second.hello.proof, Proof::Credential { credential } if credential == "credential 1"));
    assert_eq!(second.hello.tunnels[0].ticket, Some(format!("ticket for {tunnel}")));
    assert_eq!(second.get("/").await.1, b"hello");
    let mut states = vec![];
    event(&mut events, |what| {
        if let EventKind::ClientState { state, .. } = what {
            states.push(*state);
        }
        matches!(states[..], [.., ClientState::Reconnecting, ClientState::Connected]).then_some(())
    })
    .await;
    assert_eq!(client.url(&second.tunnel_id()).as_deref(), Some("https://shop.adit.localhost"));
}

#[tokio::test]
async fn a_random_name_is_asked_for_again_without_a_ticket() {
    let (service, mut relay) = (Service::start().await, Relay::start().await);
    relay.set_policy(|_| Answer::Welcome(Box::new(|welcome| welcome.opened[0].ticket.clear())));
    let mut spec = http(service.address());
    spec.name = None;
    let (_client, _events, first) = relay.serve(spec).await;
    assert_eq!((&first.hello.tunnels[0].name, first.hello.tunnels[0].any_name), (&None, false));
    drop(first);
    let second = relay.session().await;
    assert_eq!(second.hello.tunnels[0].name.as_deref(), Some("brisk-otter"));
    assert!(second.hello.tunnels[0].any_name);
}

#[tokio::test]
async fn a_relay_that_was_away_is_found_again() {
    let (service, mut relay) = (Service::start().await, Relay::start().await);
    let (_client, mut events, session) = relay.serve(http(service.address())).await;
    relay.go_away().await;
    drop(session);
    // Some tries have failed before it comes back.
    for _ in 0..3 {
        event(&mut events, |what| match what {
            EventKind::ClientState { state: ClientState::Reconnecting, reason, retry_at: Some(_) } => {
                (reason.as_deref() == Some("connection refused")).then_some(())
            }
            _ => None,
        })
        .await;
    }
    relay.come_back().await;
    assert_eq!(relay.session().await.get("/").await.1, b"hello");
}

#[tokio::test]
async fn a_credential_is_renewed_before_it_ends() {
    let (service, mut relay) = (Service::start().await, Relay::start().await);
    for with_token in [false, true] {
        relay.set_policy(move |_| {
            Answer::Welcome(Box::new(move |welcome| {
                welcome.credential_expires = now() + 3;
                welcome.renew_with_token = with_token;
            }))
        });
        let file = relay.folder.path().join("token");
        std::fs::write(&file, "first.token.x").unwrap();
        let client = relay.client().token_file(&file).tunnel(http(service.address())).start().unwrap();
        let mut session = relay.session().await;
        assert!(session.is_by_token());
        if with_token {
            std::fs::write(&file, "second.token.x").unwrap();
        }
        match (session.hear().await, with_token) {
            (Some(ToRelay::Renew { proof: Proof::Token { token } }), true) => {
                assert_eq!(token, "second.token.x");
            }
            (Some(ToRelay::Renew { proof: Proof::Credential { credential } }), false) => {
                assert_eq!(credential, "credential 1");
            }
            (other, _) => panic!("{other:?}"),
        }
        session.tell(&ToClient::Credential { credential: "credential 2".into(), expires: now() + 3600 });
        session.get("/").await;
        drop(session);
        let next = relay.session().await;
        assert!(
            matches!(&next.hello.proof, Proof::Credential { credential } if credential == "credential 2")
        );
        client.stop(Duration::ZERO).await;
    }
}

#[tokio::test]
async fn a_client_that_starts_again_goes_on_with_its_credential() {
    let (service, mut relay) = (Service::start().await, Relay::start().await);
    let state = relay.folder.path().join("state");
    let mut keys = vec![];
    for by_token in [true, false] {
        let client = relay.client().state_dir(&state).tunnel(http(service.address())).start().unwrap();
        let session = relay.session().await;
        assert_eq!(session.is_by_token(), by_token);
        keys.push(session.hello.key.clone());
        client.stop(Duration::ZERO).await;
    }
    assert_eq!(keys[0], keys[1]);
    // A relay with another key does not know the credential: then the token has to do.
    relay.set_policy(|hello| match hello.proof {
        Proof::Credential { .. } => Answer::refused(Code::CredentialInvalid, None),
        Proof::Token { .. } => Answer::welcome(),
    });
    let _client = relay.client().state_dir(&state).tunnel(http(service.address())).start().unwrap();
    assert!(relay.session().await.is_by_token());
}

async fn refused_with(code: Code) -> (adit::Problem, Vec<ClientState>) {
    let relay = Relay::with_policy(move |_| Answer::refused(code, None)).await;
    let client = relay.client().tunnel(http(relay.address)).start().unwrap();
    let mut events = client.events(false);
    let problem = soon(client.closed()).await.unwrap_err();
    let mut states = vec![];
    while let Some(event) = soon(events.next()).await {
        match event.kind {
            EventKind::ClientState { state, .. } => states.push(state),
            EventKind::Error(told) => assert!(told.fatal && told.code == problem.code),
            _ => {}
        }
    }
    (problem, states)
}

#[tokio::test]
async fn refusals_that_nothing_changes_end_the_client_with_the_reason() {
    let (problem, states) = refused_with(Code::UpgradeRequired).await;
    assert_eq!((problem.code.as_str(), problem.exit_code()), ("upgrade_required", 6));
    assert_eq!(problem.why.as_deref(), Some("the relay needs 9.0.0 or later"));
    assert_eq!(states.last(), Some(&ClientState::UpgradeRequired));
    let (problem, states) = refused_with(Code::Suspended).await;
    assert_eq!((problem.code.as_str(), problem.exit_code()), ("suspended", 5));
    assert_eq!(problem.next.as_deref(), Some("write to abuse@example.com and name the complaint"));
    assert_eq!(states.last(), Some(&ClientState::Suspended));
    let (problem, _) = refused_with(Code::TokenSignature).await;
    assert_eq!(problem.message, "adit.localhost refused the token");
    assert_eq!(problem.exit_code(), 3);
}

#[tokio::test]
async fn a_refusal_for_now_is_tried_again() {
    let mut refusals = 3;
    let service = Service::start().await;
    let mut relay = Relay::with_policy(move |_| {
        refusals -= 1;
        if refusals >= 0 { Answer::refused(Code::RegistryUnavailable, Some(10)) } else { Answer::welcome() }
    })
    .await;
    let (_client, _events, session) = relay.serve(http(service.address())).await;
    assert_eq!(session.get("/").await.1, b"hello");
}

#[tokio::test]
async fn a_client_that_was_replaced_ends_and_does_not_come_back() {
    let mut relay = Relay::start().await;
    for whole in [false, true] {
        let client = relay.client().tunnel(http(relay.address)).start().unwrap();
        let mut session = relay.session().await;
        let message = "another client".to_owned();
        session.tell(&if whole {
            ToClient::Close { code: Code::Replaced, message, suspension: None }
        } else {
            ToClient::Closed { tunnel: session.tunnel_id(), code: Code::Replaced, message }
        });
        let problem = soon(client.closed()).await.unwrap_err();
        assert_eq!((problem.code.as_str(), problem.exit_code()), ("replaced", 4));
        assert!(relay.is_left_alone(Duration::from_millis(300)).await);
    }
}

#[tokio::test]
async fn a_tunnel_that_is_refused_lets_the_others_run() {
    let service = Service::start().await;
    let mut relay = Relay::with_policy(|_| {
        Answer::Welcome(Box::new(|welcome| {
            if welcome.opened.len() == 2 {
                let taken = welcome.opened.remove(0);
                welcome.refused.push(RefusedTunnel {
                    tunnel: taken.tunnel,
                    code: Code::NameTaken,
                    message: "taken".into(),
                    retry_after_ms: None,
                });
            }
        }))
    })
    .await;
    let mut other = http(service.address());
    other.name = Some("other".into());
    let client = relay.client().tunnel(http(service.address())).tunnel(other).start().unwrap();
    let mut events = client.events(false);
    let session = relay.session().await;
    let status = event(&mut events, |what| match what {
        EventKind::TunnelState(status) if status.state == TunnelState::Refused => Some(status.clone()),
        _ => None,
    })
    .await;
    assert_eq!((status.tunnel, status.code), (client.tunnels()[0].clone(), Some(Code::NameTaken)));
    drop(session);
    let mut session = relay.session().await;
    assert_eq!(session.hello.tunnels.len(), 1, "it is not asked for again");
    session.tell(&ToClient::Closed {
        tunnel: client.tunnels()[1].clone(),
        code: Code::NameTaken,
        message: "taken, too".into(),
    });
    let problem = soon(client.closed()).await.unwrap_err();
    assert_eq!((problem.code.as_str(), problem.exit_code()), ("name_taken", 4));
}

#[tokio::test]
async fn a_tunnel_refused_for_now_is_asked_for_on_the_same_session() {
    let service = Service::start().await;
    let mut relay = Relay::with_policy(|_| {
        Answer::Welcome(Box::new(|welcome| {
            let opened = welcome.opened.remove(0);
            welcome.refused.push(RefusedTunnel {
                tunnel: opened.tunnel,
                code: Code::StoreUnavailable,
                message: "the store is away".into(),
                retry_after_ms: Some(20),
            });
        }))
    })
    .await;
    let (_client, mut events, mut session) = relay.serve(http(service.address())).await;
    let Some(ToRelay::Open(ask)) = session.hear().await else { panic!("no tunnel is asked for") };
    session.tell(&ToClient::Refused(RefusedTunnel {
        tunnel: ask.tunnel.clone(),
        code: Code::StoreUnavailable,
        message: "still away".into(),
        retry_after_ms: Some(20),
    }));
    let Some(ToRelay::Open(ask)) = session.hear().await else { panic!("no tunnel is asked for") };
    session.tell(&ToClient::Opened(adit_protocol::OpenedTunnel {
        tunnel: ask.tunnel,
        endpoint: adit_protocol::Endpoint::host("shop.adit.localhost"),
        url: "https://shop.adit.localhost".into(),
        ticket: "t".into(),
        name_refused: None,
    }));
    event(&mut events, |what| {
        matches!(what, EventKind::TunnelState(status) if status.state == TunnelState::Connected).then_some(())
    })
    .await;
    assert_eq!(session.get("/").await.1, b"hello");
}

#[tokio::test]
async fn limits_are_told_and_over_after_a_moment() {
    let (service, mut relay) = (Service::start().await, Relay::start().await);
    let (_client, mut events, mut session) = relay.serve(http(service.address())).await;
    session.tell(&ToClient::Limited { code: Code::RateLimited, limit: 200, refused: 14 });
    let mut states = vec![];
    event(&mut events, |what| {
        if let EventKind::TunnelState(status) = what {
            states.push((status.state, status.reason.clone()));
        }
        matches!(states[..], [.., (TunnelState::Limited, _), (TunnelState::Connected, _)]).then_some(())
    })
    .await;
    let reason = states[states.len() - 2].1.as_deref();
    assert_eq!(reason, Some("200 requests/s reached; 14 consumers got 429"));
}

#[tokio::test]
async fn a_client_that_stops_says_so_and_lets_answers_end() {
    let (service, mut relay) = (Service::start().await, Relay::start().await);
    let (client, mut events, mut session) = relay.serve(http(service.address())).await;
    let (response, _) = session.open(session.request("GET", "/drip/10/30").body(()).unwrap(), true).await;
    let body = soon(response).await.unwrap().into_body();
    let stopping = tokio::spawn(client.stop(Duration::from_secs(20)));
    assert!(matches!(session.hear().await, Some(ToRelay::Bye {})));
    assert_eq!(soon(crate::relay::read_all(body)).await.unwrap().len(), 50);
    assert!(session.hear().await.is_none());
    soon(stopping).await.unwrap();
    session.ended().await;
    let mut last = None;
    while let Some(event) = soon(events.next()).await {
        if let EventKind::SessionState(session) = event.kind {
            last = Some(session.state);
        }
    }
    assert_eq!(last, Some(SessionState::Closed));
}

#[tokio::test]
async fn a_client_that_stops_does_not_wait_for_ever() {
    let (service, mut relay) = (Service::start().await, Relay::start().await);
    let (client, _events, session) = relay.serve(http(service.address())).await;
    let (response, _) = session.open(session.request("GET", "/hang").body(()).unwrap(), true).await;
    soon(client.stop(Duration::from_millis(100))).await;
    assert!(soon(response).await.is_err());
}

#[tokio::test]
async fn an_unknown_authority_is_named() {
    let (relay, other) = (Relay::start().await, Relay::start().await);
    let client = relay.client().ca(other.ca()).tunnel(http(relay.address)).start().unwrap();
    let problem = soon(client.closed()).await.unwrap_err();
    assert_eq!((problem.code.as_str(), problem.exit_code()), ("ca_unknown", 2));
    assert_eq!(problem.message, "cannot verify adit.localhost");
    let why = format!(
        "its certificate comes from \"rcgen self signed cert\", which {} does not hold",
        other.ca().display()
    );
    assert_eq!(problem.why, Some(why));
}

#[tokio::test]
async fn a_relay_that_nobody_reaches_is_given_up_in_time() {
    let mut relay = Relay::start().await;
    relay.go_away().await;
    let give_up = Duration::from_millis(300);
    let client = relay.client().give_up_after(give_up).tunnel(http(relay.address)).start().unwrap();
    let problem = soon(client.closed()).await.unwrap_err();
    assert_eq!((problem.code.as_str(), problem.exit_code()), ("relay_unreachable", 7));
    assert_eq!(problem.why.as_deref(), Some("connection refused"));
}

#[tokio::test]
async fn all_errors_are_told_at_once_and_nothing_is_started() {
    let error =
        adit::Client::builder().relay("127.0.0.1").ca(Path::new("/no/such/file")).start().unwrap_err();
    let text = error.to_string();
    for part in [
        "relay: it is a domain, not an IP",
        "ca: /no/such/file does not exist",
        "tunnels: a client has 1 to 100",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let relay = Relay::start().await;
    let mut spec: TunnelSpec = http(relay.address);
    spec.name = Some("www".into());
    let error = relay.client().tunnel(spec.clone()).start().unwrap_err();
    assert_eq!(error.problems()[0].code, "name_reserved");
    spec.name = Some("a_b".into());
    let error = relay.client().tunnel(spec).start().unwrap_err();
    assert_eq!(error.problems()[0].code, "name_invalid");
}

#[tokio::test]
async fn one_tunnel_takes_a_few_lines() {
    let (service, mut relay) = (Service::start().await, Relay::start().await);
    let opening = adit::Tunnel::http(service.address().to_string())
        .relay(relay.region())
        .ca(relay.ca())
        .token("a.b.c")
        .open();
    let (tunnel, session) = tokio::join!(opening, relay.session());
    let tunnel = tunnel.unwrap();
    assert_eq!(tunnel.url(), "https://brisk-otter.adit.localhost");
    assert_eq!(session.get("/").await.1, b"hello");
    tunnel.close(Duration::from_secs(5)).await;
    session.ended().await;

    relay.set_policy(|_| Answer::refused(Code::TokenExpired, None));
    let refused = adit::Tunnel::tcp("22").relay(relay.region()).ca(relay.ca()).token("a.b.c").open().await;
    assert!(
        matches!(refused, Err(adit::tunnel::OpenError::Refused(problem)) if problem.code == "token_expired")
    );
    let wrong = adit::Tunnel::http("no port").open().await;
    assert!(matches!(wrong, Err(adit::tunnel::OpenError::Service { .. })));
}
