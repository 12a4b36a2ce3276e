use super::*;
use serde_json::{Value, json};

fn event(what: EventKind) -> Event {
    Event { v: VERSION, time: Time::from_unix_ms(1_795_257_667_250), kind: what }
}

fn tunnel() -> TunnelId {
    "tn_1".parse().unwrap()
}

#[test]
fn each_event_is_one_flat_object_with_version_time_and_name() {
    let state = event(EventKind::ClientState {
        state: ClientState::UpgradeRequired,
        reason: Some("0.3.0 or later".into()),
        retry_at: None,
    });
    assert_eq!(
        serde_json::to_value(state).unwrap(),
        json!({"v": 1, "time": "2026-11-21T10:41:07.250Z", "event": "client.state", "state": "upgradeRequired",
               "reason": "0.3.0 or later"})
    );
    let down = event(EventKind::TunnelState(TunnelStatus {
        tunnel: tunnel(),
        state: TunnelState::ServiceDown,
        url: Some("https://shop.eu.example.com".into()),
        name_granted: Some(true),
        code: Some(Code::ServiceDown),
        reason: None,
        retry_at: Some(Time::from_unix_ms(0)),
    }));
    assert_eq!(
        serde_json::to_value(down).unwrap(),
        json!({"v": 1, "time": "2026-11-21T10:41:07.250Z", "event": "tunnel.state", "tunnel": "tn_1",
               "state": "serviceDown", "url": "https://shop.eu.example.com", "nameGranted": true,
               "code": "service_down", "retryAt": "1970-01-01T00:00:00.000Z"})
    );
}

#[test]
fn every_event_has_the_documented_name_and_survives_json() {
    let described = Tunnel {
        tunnel: tunnel(),
        name: Some("shop".into()),
        kind: Kind::Http,
        service: "http://127.0.0.1:3000".into(),
        enabled: true,
        options: serde_json::Map::new(),
    };
    let exchange = Exchange {
        tunnel: tunnel(),
        id: "01JD9W7K3".into(),
        consumer: Some("203.0.113.9".into()),
        method: Some("GET".into()),
        path: Some("/".into()),
        status: Some(200),
        duration_ms: Some(12),
        bytes_in: 0,
        bytes_out: 4100,
    };
    let session = Session {
        session: "s1".parse().unwrap(),
        relay: "eu-7c9f".parse().unwrap(),
        region: "eu.example.com".into(),
        state: SessionState::Moving,
        latency_ms: Some(12),
        reason: None,
    };
    let started = EventKind::ClientStarted { version: "0.1.0".into(), pid: 1, config: None, inspect: None };
    let named = [
        ("client.started", started),
        ("session.state", EventKind::SessionState(session)),
        ("tunnel.added", EventKind::TunnelAdded(described.clone())),
        ("tunnel.config", EventKind::TunnelConfig(described)),
        ("tunnel.removed", EventKind::TunnelRemoved { tunnel: tunnel(), reason: "asked".into() }),
        ("request", EventKind::Request(exchange.clone())),
        ("connection", EventKind::Connection(exchange)),
        ("notice", EventKind::Notice(Problem::new("dns_elsewhere"))),
        ("error", EventKind::Error(Problem::new("name_taken").with("name", "shop"))),
        ("client.stopped", EventKind::ClientStopped { exit_code: 4, reason: "no tunnel is left".into() }),
    ];
    for (name, what) in named {
        let event = event(what);
        let text = serde_json::to_string(&event).unwrap();
        assert!(!text.contains('\n'));
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["event"], name);
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event, "{text}");
    }
}

#[test]
fn times_order_add_and_never_overflow() {
    let end = Time::from_unix_ms(u64::MAX);
    assert_eq!(end.to_string(), "9999-12-31T23:59:59.999Z");
    assert_eq!(end + std::time::Duration::MAX, end);
    let start = Time::from_unix_ms(1_795_257_667_250);
    assert_eq!(start.to_seconds(), "2026-11-21T10:41:07Z");
    assert_eq!((start + std::time::Duration::from_secs(2)).since(start).as_millis(), 2000);
    assert_eq!(start.since(end).as_millis(), 0);
}
