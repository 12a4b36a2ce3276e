use super::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

struct Running {
    address: std::net::SocketAddr,
    health: Arc<Health>,
    _stop: tokio_util::sync::DropGuard,
}

async fn start() -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (health, stop) = (Arc::new(Health::default()), CancellationToken::new());
    let metrics = Arc::new(Metrics::new("0.1.0"));
    metrics.lane();
    tokio::spawn(serve(listener, Arc::clone(&health), metrics, stop.clone()));
    Running { address, health, _stop: stop.drop_guard() }
}

impl Running {
    async fn send(&self, head: &str) -> String {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        socket.write_all(format!("{head}\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

#[tokio::test]
async fn a_relay_is_ready_from_its_start_to_its_drain() {
    let relay = start().await;
    let starting = relay.send("GET /readyz HTTP/1.1").await;
    assert!(
        starting.starts_with("HTTP/1.1 503 ") && starting.ends_with("\r\n\r\nnot ready: starting\n"),
        "{starting}"
    );
    assert!(relay.send("GET /livez HTTP/1.1").await.ends_with("\r\n\r\nlive\n"));
    relay.health.enter(LifecyclePhase::Ready);
    let ready = relay.send("GET /readyz HTTP/1.1").await;
    assert!(ready.starts_with("HTTP/1.1 200 ") && ready.ends_with("\r\n\r\nready\n"), "{ready}");
    relay.health.enter(LifecyclePhase::Draining);
    assert!(relay.send("GET /readyz HTTP/1.1").await.ends_with("not ready: draining\n"));
}

#[tokio::test]
async fn a_store_that_is_away_is_said_and_does_not_stop_serving() {
    let relay = start().await;
    relay.health.enter(LifecyclePhase::Ready);
    relay.health.report(Component::Store, Some("connection refused".to_owned()));
    let ready = relay.send("GET /readyz HTTP/1.1").await;
    assert!(
        ready.starts_with("HTTP/1.1 200 ") && ready.contains("store: connection refused (for "),
        "{ready}"
    );
    let json = relay.send("GET /readyz HTTP/1.1\r\nAccept: application/json").await;
    let json: serde_json::Value = serde_json::from_str(json.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!((&json["ready"], &json["phase"]), (&true.into(), &"ready".into()));
    assert_eq!(json["problems"][0]["part"], "store");
    assert_eq!(json["problems"][0]["vital"], false);
    relay.health.report(Component::Store, None);
    assert!(relay.send("GET /readyz HTTP/1.1").await.ends_with("\r\n\r\nready\n"));
}

#[tokio::test]
async fn a_lane_that_hangs_ends_both() {
    let relay = start().await;
    relay.health.enter(LifecyclePhase::Ready);
    relay.health.report(Component::Lanes, Some("lane 1 missed its tick".to_owned()));
    for path in ["/livez", "/readyz"] {
        let answer = relay.send(&format!("GET {path} HTTP/1.1")).await;
        assert!(
            answer.starts_with("HTTP/1.1 503 ") && answer.contains("lanes: lane 1 missed its tick"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn metrics_and_wrong_requests() {
    let relay = start().await;
    let metrics = relay.send("GET /metrics HTTP/1.1").await;
    assert!(
        metrics.contains("content-type: application/openmetrics-text") && metrics.contains("# EOF"),
        "{metrics}"
    );
    assert!(relay.send("HEAD /metrics HTTP/1.1").await.ends_with("\r\n\r\n"));
    let post = relay.send("POST /readyz HTTP/1.1").await;
    assert!(post.starts_with("HTTP/1.1 405 ") && post.contains("allow: GET, HEAD"), "{post}");
    assert!(relay.send("GET /other HTTP/1.1").await.starts_with("HTTP/1.1 404 "));
    let long = format!("GET /{} HTTP/1.1", "x".repeat(20_000));
    let answer = relay.send(&long).await;
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
}

#[tokio::test]
async fn many_connections_wait_for_each_other() {
    let relay = start().await;
    let idle: Vec<TcpStream> = {
        let mut idle = Vec::new();
        for _ in 0..CONNECTION_LIMITS.connections {
            idle.push(TcpStream::connect(relay.address).await.unwrap());
        }
        idle
    };
    let mut waiting = TcpStream::connect(relay.address).await.unwrap();
    waiting.write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    drop(idle);
    let mut answer = String::new();
    tokio::time::timeout(Duration::from_secs(60), waiting.read_to_string(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert!(answer.ends_with("live\n"), "{answer}");
}
