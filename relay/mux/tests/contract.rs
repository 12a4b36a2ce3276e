//! What every transport does alike: run against each of them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use adit_mux::{
    AcceptStreams, ConnectProtocol, OpenStreams, RecvStream, ResetReason, StreamError,
    body::{self, StreamBody, send_bytes},
};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody as Frames};
use std::time::Duration;
use tokio::{io::duplex, task::JoinHandle, time::timeout};

const PIPE_BYTES: usize = 1 << 20;
const MAX_WAIT: Duration = Duration::from_secs(10);

/// Both ends of a connection by HTTP/2, which goes on as long as the handle's task.
async fn http2() -> (impl OpenStreams, impl AcceptStreams + 'static, JoinHandle<()>) {
    let (near, far) = duplex(PIPE_BYTES);
    let (opener, _, driver) = adit_mux::open(near).await.unwrap();
    let driver = tokio::spawn(async move {
        let _ = driver.await;
    });
    // The accepting side starts once the driver has sent the other's preface.
    let (acceptor, _) = adit_mux::accept(far).await.unwrap();
    (opener, acceptor, driver)
}

/// Serves each stream by what its path asks for, until the connection ends.
async fn serve(mut acceptor: impl AcceptStreams) {
    while let Some(Ok((request, mut respond))) = acceptor.accept().await {
        let protocol = request.extensions().get::<ConnectProtocol>().cloned();
        let path = request.uri().path().to_owned();
        let mut response = Response::new(());
        if let Some(protocol) = &protocol {
            response.headers_mut().insert("protocol", protocol.as_str().parse().unwrap());
        }
        match path.as_str() {
            "/refuse" => respond.send_reset(ResetReason::RefusedStream),
            "/cancel" => respond.send_reset(ResetReason::Cancel),
            "/full" => respond.send_reset(ResetReason::EnhanceYourCalm),
            "/drain" => {
                acceptor.drain();
                respond.send_response(response, true).unwrap();
            }
            "/fill" => {
                let mut send = respond.send_response(response, false).unwrap();
                // Streams move only while the acceptor is polled: not here.
                tokio::spawn(
                    async move { send_bytes(&mut send, Bytes::from_static(&[7; 5000]), true).await },
                );
            }
            _ => {
                let send = respond.send_response(response, false).unwrap();
                tokio::spawn(body::send(StreamBody::new(request.into_body(), None), send));
            }
        }
    }
}

fn get(path: &str) -> Request<()> {
    Request::get(format!("https://service{path}")).body(()).unwrap()
}

async fn answer_of(opener: &impl OpenStreams, path: &str) -> Result<Response<RecvStream>, StreamError> {
    let (response, _) = opener.open(get(path), true).await?;
    timeout(MAX_WAIT, response).await.unwrap()
}

/// The whole contract.
async fn check(opener: impl OpenStreams, acceptor: impl AcceptStreams + 'static) {
    let serving = tokio::spawn(serve(acceptor));
    bytes_and_trailers_travel_both_ways(&opener).await;
    resets_keep_their_reason(&opener).await;
    unread_bytes_are_counted(&opener).await;
    an_extended_connect_names_its_protocol(&opener).await;
    a_drained_connection_opens_nothing_new(&opener).await;
    timeout(MAX_WAIT, serving).await.unwrap().unwrap();
}

async fn bytes_and_trailers_travel_both_ways(opener: &impl OpenStreams) {
    let (response, send) = opener.open(get("/echo"), false).await.unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("sum", "9".parse().unwrap());
    let data = Bytes::from(vec![3; 200_000]);
    let frames = [http_body::Frame::data(data.clone()), http_body::Frame::trailers(trailers.clone())];
    let sent = Frames::new(futures_util::stream::iter(frames.map(Ok::<_, std::convert::Infallible>)));
    let sending = tokio::spawn(body::send(sent, send));
    let answered = timeout(MAX_WAIT, response).await.unwrap().unwrap();
    let collected = StreamBody::new(answered.into_body(), None).collect().await.unwrap();
    assert_eq!(collected.trailers(), Some(&trailers));
    assert!(collected.to_bytes() == data);
    assert_eq!(sending.await.unwrap().unwrap(), 200_000);
}

async fn resets_keep_their_reason(opener: &impl OpenStreams) {
    for (path, reason, is_unprocessed) in [
        ("/refuse", ResetReason::RefusedStream, true),
        ("/cancel", ResetReason::Cancel, false),
        ("/full", ResetReason::EnhanceYourCalm, false),
    ] {
        let error = answer_of(opener, path).await.unwrap_err();
        assert!(error.is_reset() && error.is_remote() && !error.is_go_away(), "{path}: {error:?}");
        assert_eq!((error.reason(), error.is_unprocessed()), (Some(reason), is_unprocessed), "{path}");
    }
}

async fn unread_bytes_are_counted(opener: &impl OpenStreams) {
    let mut stream = answer_of(opener, "/fill").await.unwrap().into_body();
    let unread = stream.unread();
    let mut received = 0;
    while let Some(data) = timeout(MAX_WAIT, stream.data()).await.unwrap() {
        received += data.unwrap().len();
    }
    assert_eq!((received, unread.get()), (5000, 5000));
    stream.release(5000);
    assert_eq!(unread.get(), 0);
}

async fn an_extended_connect_names_its_protocol(opener: &impl OpenStreams) {
    assert!(opener.allows_extended_connect());
    let mut head = get("/echo");
    *head.method_mut() = Method::CONNECT;
    head.extensions_mut().insert(ConnectProtocol::from("websocket"));
    let (response, mut send) = opener.open(head, false).await.unwrap();
    let answered = timeout(MAX_WAIT, response).await.unwrap().unwrap();
    assert_eq!(
        (answered.status(), &answered.headers()["protocol"]),
        (StatusCode::OK, &"websocket".parse().unwrap())
    );
    send.send_data(Bytes::new(), true).unwrap();
}

async fn a_drained_connection_opens_nothing_new(opener: &impl OpenStreams) {
    assert!(!opener.has_ended());
    let (mut open, mut send) = opener.open(get("/echo"), false).await.unwrap();
    answer_of(opener, "/drain").await.unwrap();
    let refused = timeout(MAX_WAIT, async {
        loop {
            match answer_of(opener, "/echo").await {
                Ok(_) => tokio::task::yield_now().await,
                Err(error) => return error,
            }
        }
    });
    let error = refused.await.unwrap();
    assert!(error.is_go_away(), "{error:?}");
    send_bytes(&mut send, Bytes::from_static(b"open before"), true).await.unwrap();
    let answered = timeout(MAX_WAIT, &mut open).await.unwrap().unwrap();
    let echoed = StreamBody::new(answered.into_body(), None).collect().await.unwrap().to_bytes();
    assert_eq!(echoed, "open before");
}

#[tokio::test]
async fn http2_keeps_the_contract() {
    let (opener, acceptor, driver) = http2().await;
    check(opener.clone(), acceptor).await;
    timeout(MAX_WAIT, driver).await.unwrap().unwrap();
    assert!(opener.has_ended());
}
