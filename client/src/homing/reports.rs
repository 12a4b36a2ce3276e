//! What dials and sessions report, and what follows from it.

use super::{
    Homing, LINGER, RETRIES, Up,
    homes::Search,
    probe::probe_services,
    verdict::{self, MOST_RETRY, Verdict},
};
use crate::{
    dial::DialError,
    event::{self, ClientState, SessionState, What},
    problem::Problem,
    session::{Command, End, Key, Report},
    tunnels::LIMITED,
};
use adit_protocol::{Code, Elsewhere, Refused, ToClient, Welcome};
use std::time::Duration;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

/// A change of latency is reported if it is larger than this, and than a fourth of the last one.
const LATENCY_STEP_MS: u64 = 3;
/// A tunnel that is refused for now is not asked for again before this time.
const LEAST_RETRY: Duration = Duration::from_millis(100);

impl Homing {
    pub(super) fn handle(&mut self, key: Key, report: Report) -> Result<(), Problem> {
        match report {
            Report::Failed(error) => self.failed(key, error),
            Report::Elsewhere(elsewhere) => {
                self.live.remove(&key);
                self.elsewhere(key, &elsewhere);
                Ok(())
            }
            Report::Refused(refused, by_credential) => self.refused(key, &refused, by_credential),
            Report::Up(welcome, commands) => {
                self.up(key, &welcome, commands);
                Ok(())
            }
            Report::Said(message) => {
                self.said(key, message);
                Ok(())
            }
            Report::Latency(round_trip) => {
                self.latency(key, round_trip);
                Ok(())
            }
            Report::NotRenewed(problem) => {
                let problem = self.with_facts(*problem);
                self.shared.feed.send(What::Notice(problem));
                Ok(())
            }
            Report::Down(end) => self.down(key, end),
        }
    }

    fn failed(&mut self, key: Key, error: DialError) -> Result<(), Problem> {
        self.live.remove(&key);
        let now = Instant::now();
        self.homes.failed(key, now, None);
        tracing::debug!(error = &error as &dyn std::error::Error, "a dial failed");
        if error.is_final() && !self.ever_up {
            return Err(self.with_facts(error.problem(&self.shared.relay)));
        }
        self.tell_retry(error.reason());
        self.last_error = Some(error);
        Ok(())
    }

    fn elsewhere(&mut self, key: Key, elsewhere: &Elsewhere) {
        match self.homes.elsewhere(key, elsewhere, Instant::now()) {
            Search::GoesOn => {}
            Search::Ended => self.tell_home(),
            Search::InVain => {
                let reason = "single-homed: no second relay answers".to_owned();
                self.tell_state(ClientState::Connected, Some(reason), None);
            }
        }
    }

    /// The client is connected if it has all the relays that it should have.
    fn tell_home(&mut self) {
        if self.homes.is_served() && self.homes.is_home() {
            self.tell_state(ClientState::Connected, None, None);
        }
    }

    fn refused(&mut self, key: Key, refused: &Refused, by_credential: bool) -> Result<(), Problem> {
        self.live.remove(&key);
        let now = Instant::now();
        let has_token = self.shared.identity.has_token();
        match verdict::verdict(refused, by_credential && has_token) {
            Verdict::UseToken => {
                self.shared.identity.forget_credential();
                self.homes.dropped(key);
            }
            Verdict::Retry(after) => {
                self.homes.failed(key, now, after);
                self.tell_retry(refused.message.clone());
            }
            Verdict::Final => {
                self.homes.dropped(key);
                let problem = self.with_facts(verdict::problem(refused, crate::identity::now()));
                if !self.homes.is_served() {
                    return Err(problem);
                }
                if refused.code == Code::TooManySessions {
                    // What it has is what it may have.
                    self.homes.be_content(now);
                } else {
                    self.shared.feed.send(What::Notice(problem.clone()));
                    self.doomed = Some(problem);
                }
            }
        }
        Ok(())
    }

    fn up(&mut self, key: Key, welcome: &Welcome, commands: mpsc::Sender<Command>) {
        let now = Instant::now();
        let first = !self.ever_up;
        (self.ever_up, self.without, self.last_error) = (true, None, None);
        let shown = event::Session {
            session: welcome.session.clone(),
            relay: welcome.relay.clone(),
            region: welcome.region.clone(),
            state: SessionState::Connected,
            latency_ms: None,
            reason: None,
        };
        self.shared.feed.send(What::SessionState(shown.clone()));
        if let Some(live) = self.live.get_mut(&key) {
            live.up = Some(Up { commands, shown });
        }
        for refused in &welcome.refused {
            self.tunnel_refused(key, refused);
        }
        for left in self.homes.up(key, welcome, now) {
            // One that is too many itself serves nothing that others do not.
            let at = if left == key { now } else { now + LINGER };
            self.leave.push((at, left));
        }
        self.tell_home();
        if first {
            self.tell_state(ClientState::Connected, None, None);
            self.lanes[0].spawn(probe_services(self.shared.clone()));
        }
    }

    fn tunnel_refused(&mut self, key: Key, refused: &adit_protocol::RefusedTunnel) {
        let Some(tunnel) = self.shared.tunnel(&refused.tunnel) else { return };
        let after = refused.retry_after_ms.map(|ms| Duration::from_millis(ms).clamp(LEAST_RETRY, MOST_RETRY));
        tunnel.refused(refused.code, &refused.message, after);
        if let Some(at) = after.map(|after| Instant::now() + after).or(tunnel.retry_at())
            && self.again.len() < RETRIES
        {
            self.again.push((at, key, refused.tunnel.clone()));
        }
    }

    fn said(&mut self, key: Key, message: ToClient) {
        match message {
            ToClient::Move { .. } => {
                self.homes.moving(key);
                self.tell_session(key, SessionState::Moving, Some("relay drains".into()));
            }
            ToClient::Refused(refused) => self.tunnel_refused(key, &refused),
            ToClient::Closed { tunnel, code, message } => {
                if let Some(tunnel) = self.shared.tunnel(&tunnel) {
                    tunnel.close(code, &message);
                }
            }
            ToClient::Limited { code, limit, refused } => self.limited(code, limit, refused),
            ToClient::Relays { relays } => self.homes.relays(relays, Instant::now()),
            _ => {}
        }
    }

    fn limited(&self, code: Code, limit: u64, refused: u64) {
        let problem = Problem::new(code.as_str()).with("limit", limit).with("refused", refused);
        let open: Vec<_> = self.shared.tunnels.iter().filter(|tunnel| tunnel.is_open()).cloned().collect();
        for tunnel in &open {
            tunnel.limited(code, &problem.message);
        }
        self.shared.feed.send(What::Notice(problem));
        self.lanes[0].spawn(async move {
            sleep(LIMITED).await;
            open.iter().for_each(|tunnel| tunnel.refresh());
        });
    }

    fn latency(&mut self, key: Key, round_trip: Duration) {
        let Some(up) = self.live.get_mut(&key).and_then(|live| live.up.as_mut()) else { return };
        let ms = u64::try_from(round_trip.as_millis()).unwrap_or(u64::MAX);
        let changed = up.shown.latency_ms.is_none_or(|old| ms.abs_diff(old) > LATENCY_STEP_MS.max(old / 4));
        if changed {
            up.shown.latency_ms = Some(ms);
            self.shared.feed.send(What::SessionState(up.shown.clone()));
        }
    }

    pub(super) fn down(&mut self, key: Key, end: End) -> Result<(), Problem> {
        let now = Instant::now();
        let reason = match &end {
            End::Left => "left".to_owned(),
            End::Closed(Code::Draining, ..) => "relay drains".to_owned(),
            End::Closed(code, message, _) => format!("{message} [{code}]"),
            End::Lost(why) => why.clone(),
        };
        self.tell_session(key, SessionState::Closed, Some(reason.clone()));
        self.live.remove(&key);
        self.again.retain(|(_, of, _)| *of != key);
        self.leave.retain(|(_, of)| *of != key);
        let missed = self.homes.down(key, now);
        let last = [Code::Replaced, Code::Suspended, Code::UpgradeRequired];
        if let End::Closed(code, message, notice) = end
            && last.contains(&code)
        {
            let mut problem = Problem::new(code.as_str()).with("message", message);
            if let Some(notice) = notice {
                problem = verdict::suspended(problem, &notice);
            }
            return Err(self.with_facts(problem));
        }
        if !self.homes.is_served() && self.without.is_none() {
            self.without = Some(now);
        }
        if missed {
            self.tell_retry(reason);
        }
        Ok(())
    }
}
