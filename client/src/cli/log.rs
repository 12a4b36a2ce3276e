//! Events as plain log lines, for where there is no terminal: `2026-11-21T10:41:07Z connected relay=eu-7c9f latencyMs=12`.

use super::display_state::DisplayState;
use crate::event::{ClientState, Event, EventKind, Exchange, Session, SessionState, Time, TunnelState};

/// The line of an event; `None` if it says nothing that is worth one. `state` is the state before the event.
pub(super) fn line(event: &Event, state: &DisplayState, verbose: bool) -> Option<String> {
    let now = event.time;
    let mut line = Fields::new(now);
    match &event.kind {
        EventKind::ClientStarted { version, pid, config, .. } => {
            line.word("started")
                .field("version", version)
                .field("pid", pid)
                .option("config", config.as_ref());
        }
        EventKind::ClientState { state: is, reason, retry_at } => {
            let word = serde_json::to_value(is).ok()?;
            let word = word.as_str()?;
            let again = state.client == *is && state.reason == *reason;
            // This command has said already that it stops, and how to be faster.
            if word == "connected" || (again && !verbose) || state.client == ClientState::Stopping {
                return None;
            }
            line.word(word).option("reason", reason.as_ref()).option("retryInMs", wait(*retry_at, now));
        }
        EventKind::SessionState(session) => {
            if !verbose && !is_news(session, state) {
                return None;
            }
            line.word(match session.state {
                SessionState::Connecting => "dialling",
                SessionState::Connected => "connected",
                SessionState::Moving => "moving",
                SessionState::Closed => "closed",
            });
            line.field("relay", &session.relay);
            line.option("latencyMs", session.latency_ms).option("reason", session.reason.as_ref());
            if verbose {
                line.field("session", &session.session);
            }
        }
        EventKind::TunnelState(status) => {
            let tunnel = state.tunnel(&status.tunnel);
            let known = tunnel.is_some_and(|t| t.state == status.state && t.url == status.url);
            if (known && !verbose) || status.state == TunnelState::Connecting {
                return None;
            }
            line.word(match status.state {
                TunnelState::Connecting | TunnelState::Connected => "open",
                TunnelState::Refused => "refused",
                TunnelState::ServiceDown => "service_down",
                TunnelState::Limited => "limited",
                TunnelState::Paused => "paused",
                TunnelState::Closed => "tunnel_closed",
            });
            line.option("name", tunnel.and_then(|t| t.wanted.name.as_ref()))
                .option("url", status.url.as_ref());
            line.option("service", tunnel.map(|t| &t.wanted.service));
            line.option("code", status.code).option("reason", status.reason.as_ref());
        }
        EventKind::TunnelRemoved { tunnel, reason } => {
            line.word("removed").field("tunnel", tunnel).field("reason", reason);
        }
        EventKind::Request(exchange) | EventKind::Connection(exchange) if verbose => {
            let is_request = matches!(event.kind, EventKind::Request(_));
            exchange_fields(&mut line, exchange, is_request, state);
        }
        EventKind::ClientStopped { exit_code, reason } => {
            line.word("stopped").field("exitCode", exit_code).field("reason", reason);
        }
        _ => return None,
    }
    Some(line.0)
}

/// Whether a session's event changes the client's connection to its relay, which may be several sessions. A new one is
/// logged once its latency is known, which is a round trip later.
fn is_news(session: &Session, state: &DisplayState) -> bool {
    let relay = session.relay.to_string();
    let known = state.sessions.get(&session.session);
    let mut others = state
        .sessions
        .iter()
        .filter(|(id, view)| **id != session.session && view.relay == relay)
        .map(|(_, view)| view);
    match session.state {
        SessionState::Connecting => false,
        SessionState::Connected => {
            session.latency_ms.is_some()
                && known.is_none_or(|k| k.latency_ms.is_none())
                && others.all(|other| other.latency_ms.is_none())
        }
        SessionState::Moving => others.all(|other| other.state != SessionState::Moving),
        SessionState::Closed => {
            known.is_some() && others.next().is_none() && state.client != ClientState::Stopping
        }
    }
}

fn exchange_fields(line: &mut Fields, exchange: &Exchange, is_request: bool, state: &DisplayState) {
    line.word(if is_request { "request" } else { "connection" });
    line.option("name", state.tunnel(&exchange.tunnel).and_then(|t| t.wanted.name.as_ref()));
    line.option("method", exchange.method.as_ref()).option("path", exchange.path.as_ref());
    line.option("status", exchange.status).option("durationMs", exchange.duration_ms);
    line.field("bytesIn", exchange.bytes_in).field("bytesOut", exchange.bytes_out);
    line.option("consumer", exchange.consumer.as_ref()).field("id", &exchange.id);
}

fn wait(at: Option<Time>, now: Time) -> Option<u128> {
    at.map(|at| at.since(now).as_millis())
}

/// A line that grows by words and fields.
struct Fields(String);

impl Fields {
    fn new(now: Time) -> Self {
        Self(now.to_seconds())
    }

    fn word(&mut self, word: &str) -> &mut Self {
        self.0.extend([" ", word]);
        self
    }

    fn field(&mut self, key: &str, value: impl ToString) -> &mut Self {
        let value = value.to_string();
        let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '=');
        self.0.extend([" ", key, "="]);
        if !value.is_empty() && value.chars().all(plain) {
            self.0.push_str(&value);
        } else {
            self.0.push_str(&format!("{value:?}"));
        }
        self
    }

    fn option(&mut self, key: &str, value: Option<impl ToString>) -> &mut Self {
        if let Some(value) = value {
            self.field(key, value);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::{super::script, *};

    fn log(words: &[&str], verbose: bool) -> Vec<String> {
        let mut state = script::state(&[]);
        let mut lines = vec![];
        for words in words {
            let event = script::at(0, script::event_kind(words, script::START));
            lines.extend(line(&event, &state, verbose));
            state.apply(&event);
        }
        lines
    }

    #[test]
    fn what_changes_is_logged_once() {
        let lines = log(
            &[
                "connecting connect.eu.example.com",
                "tunnel shop 3000",
                "session s1 eu-7c9f connected",
                "connected",
                "session s1 eu-7c9f connected 12",
                "session s2 eu-7c9f connected 13",
                "session s1 eu-7c9f connected 19",
                "open shop https://shop.eu.example.com",
                "open shop https://shop.eu.example.com",
                "down shop 127.0.0.1:3000 refuses connections",
                "request shop GET 200 12 4100 /",
                "session s2 eu-7c9f closed",
                "session s1 eu-7c9f closed",
                "reconnecting in 800",
                "reconnecting in 1600",
            ],
            false,
        );
        assert_eq!(
            lines,
            [
                "2026-11-21T10:41:07Z connecting reason=connect.eu.example.com",
                "2026-11-21T10:41:07Z connected relay=eu-7c9f latencyMs=12",
                "2026-11-21T10:41:07Z open name=shop url=https://shop.eu.example.com service=http://127.0.0.1:3000",
                "2026-11-21T10:41:07Z service_down name=shop service=http://127.0.0.1:3000 code=service_down \
                 reason=\"127.0.0.1:3000 refuses connections\"",
                "2026-11-21T10:41:07Z closed relay=eu-7c9f",
                "2026-11-21T10:41:07Z reconnecting retryInMs=800",
            ]
        );
    }

    #[test]
    fn verbose_lines_have_each_request() {
        let lines = log(&["tunnel shop 3000", "request shop GET 200 12 4100 /a b\"c"], true);
        assert_eq!(lines.len(), 1);
        assert!(
            lines[0].contains(
                " request name=shop method=GET path=\"/a b\\\"c\" status=200 durationMs=12 bytesIn=0"
            ),
            "{lines:?}"
        );
    }
}
