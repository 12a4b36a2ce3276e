//! Two regions: an account that is suspended is offline in both.

use crate::fixture::{
    Provider, against, client_of, client_problem, client_without_token, complaint, http_tunnel, judge,
    unix_now, until_enforced, until_open,
};
use adit::TunnelSpec;
use adit_protocol::Kind;
use adit_store::{Decision, Filing, Scope, Subject};
use adit_testkit::wait::{until, until_ok};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspended_account_is_offline_and_stays_out_in_all_regions() {
    let provider = Provider::start().await;
    let state = tempfile::tempdir().unwrap();
    let eve = provider.client(&provider.eu, "eve", "shop").await;
    let there = client_of(&provider.us, "eve")
        .state_dir(state.path())
        .tunnel(http_tunnel(provider.service.address(), "shop"));
    let there = there.start().unwrap();
    until_open(&there).await;
    let bob = provider.client(&provider.us, "bob", "blog").await;
    let (shop, us_shop, blog) =
        (provider.eu.host("shop"), provider.us.host("shop"), provider.us.host("blog"));
    provider.eu.until_served(&shop).await;
    provider.us.until_served(&us_shop).await;
    provider.us.until_served(&blog).await;

    let subject = Subject::of_url(&format!("https://{shop}/login")).unwrap();
    let acknowledged = judge(&provider.store, &complaint("cpl-1", subject, Decision::Acknowledged)).await;
    until_enforced(&provider.store, &acknowledged).await;
    // From now on nobody is served, wherever they enter.
    assert_eq!(provider.eu.statuses(&shop).await, [403, 403]);
    assert_eq!(provider.us.statuses(&us_shop).await, [403, 403]);
    assert_eq!(provider.us.statuses(&blog).await, [200, 200]);
    for client in [&eve, &there] {
        let problem = client_problem(client).await;
        assert_eq!((problem.code.as_str(), problem.exit_code()), ("suspended", 5));
        assert_eq!(problem.why.as_deref(), Some("phishing, complaint cpl-1"));
        assert_eq!(problem.next.as_deref(), Some("write to abuse@example.com and name the complaint"));
    }
    let closed = provider.store.judge(&acknowledged.filing, unix_now()).await.unwrap().sessions_closed;
    assert!(closed >= 2, "{closed} sessions were closed");

    // The credential that it has, another name, another token, another region.
    let by_credential = client_without_token(&provider.us)
        .state_dir(state.path())
        .tunnel(http_tunnel(provider.service.address(), "shop"));
    assert_eq!(client_problem(&by_credential.start().unwrap()).await.code, "suspended");
    for fleet in [&provider.eu, &provider.us] {
        let again =
            client_of(fleet, "eve").tunnel(http_tunnel(provider.service.address(), "other")).start().unwrap();
        assert_eq!(client_problem(&again).await.code, "suspended");
    }

    let lifted = judge(&provider.store, &Filing { decision: Decision::Lifted, ..acknowledged.filing }).await;
    until("every relay knows", || {
        provider.relays().all(|relay| relay.metric("adit_suspensions_version") >= lifted.version)
    })
    .await;
    let _back = provider.client(&provider.eu, "eve", "shop").await;
    provider.eu.until_served(&shop).await;
    drop(bob);
}

/// Opens a connection through a TCP tunnel; returns the consumer's end and the service's. `None` if the relay knows no tunnel
/// at this port.
async fn connected(port: SocketAddr, listener: &TcpListener) -> Option<(TcpStream, TcpStream)> {
    let mut stream = TcpStream::connect(port).await.ok()?;
    stream.write_all(b"hello").await.ok()?;
    let mut byte = [0; 1];
    tokio::select! {
        accepted = listener.accept() => {
            let (mut service, _) = accepted.unwrap();
            let mut heard = [0; 5];
            service.read_exact(&mut heard).await.unwrap();
            Some((stream, service))
        }
        // Nobody has answered: what can be read is its end.
        _ = stream.peek(&mut byte) => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_under_way_is_cut() {
    let provider = Provider::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let spec = TunnelSpec::new(adit::service::Service::parse(Kind::Tcp, &address).unwrap());
    let eve = client_of(&provider.eu, "eve").tunnel(spec).start().unwrap();
    until_open(&eve).await;
    let url = eve.url(&eve.tunnels()[0]).unwrap();
    let port: u16 = url.rsplit(':').next().unwrap().parse().unwrap();
    // By the relay with the session, and by the other one.
    let mut streams = vec![];
    for relay in &provider.eu.relays {
        let connected = until_ok("the relay knows the port", || async {
            connected(relay.tcp(port), &listener).await.ok_or(&relay.name)
        });
        streams.push(connected.await);
    }
    let acknowledged =
        judge(&provider.store, &complaint("cpl-1", against("eve"), Decision::Acknowledged)).await;
    until_enforced(&provider.store, &acknowledged).await;
    for (mut stream, mut service) in streams {
        let mut buffer = [0; 16];
        let cut = tokio::time::timeout(Duration::from_secs(30), stream.read(&mut buffer)).await.unwrap();
        assert!(cut.is_err(), "the consumer sees that it was cut: {cut:?}");
        let end = tokio::time::timeout(Duration::from_secs(30), service.read(&mut buffer)).await.unwrap();
        assert!(end.is_err() || matches!(end, Ok(0)), "{end:?}");
    }
    assert_eq!(client_problem(&eve).await.code, "suspended");
    let late = async {
        let mut late = TcpStream::connect(provider.eu.relays[0].tcp(port)).await?;
        late.read(&mut [0; 16]).await
    };
    let refused = tokio::time::timeout(Duration::from_secs(30), late).await.unwrap();
    assert!(refused.is_err() || matches!(refused, Ok(0)), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_hostname_goes_and_the_other_stays() {
    let provider = Provider::start().await;
    let builder = client_of(&provider.eu, "eve").tunnel(http_tunnel(provider.service.address(), "bad"));
    let eve = builder.tunnel(http_tunnel(provider.service.address(), "good")).start().unwrap();
    let tunnels = eve.tunnels().to_vec();
    until("both are open", || tunnels.iter().all(|tunnel| eve.url(tunnel).is_some())).await;
    let (bad, good) = (provider.eu.host("bad"), provider.eu.host("good"));
    let subject = Subject::of_hostname(&bad).unwrap();
    let filing = Filing { scope: Scope::Hostname, ..complaint("cpl-1", subject, Decision::Acknowledged) };
    let acknowledged = judge(&provider.store, &filing).await;
    until_enforced(&provider.store, &acknowledged).await;
    assert_eq!(provider.eu.statuses(&bad).await, [403, 403]);
    // The other tunnel comes back.
    provider.eu.until_served(&good).await;
    assert_eq!(provider.eu.statuses(&bad).await, [403, 403]);
    // Nobody else gets it either.
    let bob = client_of(&provider.eu, "bob")
        .tunnel(http_tunnel(provider.service.address(), "bad"))
        .start()
        .unwrap();
    let problem = client_problem(&bob).await;
    assert_eq!((problem.code.as_str(), problem.exit_code()), ("suspended", 5));
    assert!(problem.why.unwrap().contains("phishing, complaint cpl-1; write to abuse@example.com"));
}
