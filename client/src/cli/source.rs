//! Where events come from: a client, or a file that `adit --json` wrote.

use crate::{
    client::Client,
    event::{Event, EventKind, Time, TunnelState, TunnelStatus},
    event_queue::Events,
};
use adit_protocol::TunnelId;
use futures_util::FutureExt;
use std::{
    collections::VecDeque,
    io::{self, BufRead},
    path::Path,
    time::Duration,
};
use tokio::time::{Instant, sleep_until};

/// The longest line of a file that is replayed.
const MAX_LINE_BYTES: u64 = 64 * 1024;
/// The most events of one.
const MAX_EVENTS: usize = 1_000_000;

/// Where events come from.
pub(super) enum Source {
    /// A running client; `None` once it was asked to stop.
    Client(Option<Box<Client>>, Events),
    /// Events of an earlier run, at the speed at which they happened.
    Replay(Replay),
}

/// Events of an earlier run.
pub(super) struct Replay {
    events: VecDeque<Event>,
    /// Events that answer keys.
    answers: VecDeque<Event>,
    first: Time,
    began: Instant,
    began_at: Time,
}

impl Source {
    /// The events of a running client. With `requests`, of each request.
    pub(super) fn of_client(client: Client, requests: bool) -> Self {
        let events = client.events(requests);
        Self::Client(Some(Box::new(client)), events)
    }

    /// The next event; `None` at the end. It is safe to cancel.
    pub(super) async fn next(&mut self) -> Option<Event> {
        match self {
            Self::Client(_, events) => events.next().await,
            Self::Replay(replay) => replay.next().await,
        }
    }

    /// An event that is there already.
    pub(super) fn next_now(&mut self) -> Option<Event> {
        self.next().now_or_never().flatten()
    }

    /// How many events were dropped because they were not read in time.
    pub(super) fn dropped(&self) -> u64 {
        match self {
            Self::Client(_, events) => events.dropped(),
            Self::Replay(_) => 0,
        }
    }

    /// Pauses a tunnel, or lets its consumers through again.
    pub(super) fn pause(&mut self, tunnel: &TunnelId, pause: bool) {
        match self {
            Self::Client(Some(client), _) if pause => client.pause(tunnel),
            Self::Client(Some(client), _) => client.resume(tunnel),
            Self::Client(None, _) => {}
            Self::Replay(replay) => {
                replay.answers.push_back(Event::now(EventKind::TunnelState(TunnelStatus {
                    tunnel: tunnel.clone(),
                    state: if pause { TunnelState::Paused } else { TunnelState::Connected },
                    url: None,
                    name_granted: None,
                    code: None,
                    reason: None,
                    retry_at: None,
                })));
            }
        }
    }

    /// Stops the client: answers in flight have this time to end, then the events end.
    pub(super) fn stop(&mut self, grace: Duration) {
        match self {
            Self::Client(client, _) => {
                if let Some(client) = client.take() {
                    tokio::spawn(client.stop(grace));
                }
            }
            Self::Replay(replay) => replay.events.clear(),
        }
    }
}

impl Replay {
    /// Reads a file with one event a line.
    ///
    /// # Errors
    /// When the file cannot be read or a line is not an event.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        let mut file = io::BufReader::new(std::fs::File::open(path)?);
        let mut events = VecDeque::new();
        let mut line = String::new();
        while events.len() < MAX_EVENTS {
            line.clear();
            if io::Read::take(&mut file, MAX_LINE_BYTES).read_line(&mut line)? == 0 {
                break;
            }
            events.push_back(serde_json::from_str(&line)?);
        }
        let first = events.front().map_or(Time::from_unix_ms(0), |event: &Event| event.time);
        Ok(Self { events, answers: VecDeque::new(), first, began: Instant::now(), began_at: Time::now() })
    }

    async fn next(&mut self) -> Option<Event> {
        if let Some(answer) = self.answers.pop_front() {
            return Some(answer);
        }
        let after = self.events.front()?.time.since(self.first);
        sleep_until(self.began + after).await;
        let mut event = self.events.pop_front()?;
        // Times that lie ahead keep their distance.
        let shift = |time: &mut Time| *time = self.began_at + time.since(self.first);
        shift(&mut event.time);
        match &mut event.kind {
            EventKind::ClientState { retry_at: Some(at), .. } => shift(at),
            EventKind::TunnelState(TunnelStatus { retry_at: Some(at), .. }) => shift(at),
            _ => {}
        }
        Some(event)
    }
}
