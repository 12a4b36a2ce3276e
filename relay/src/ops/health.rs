//! Liveness and readiness of a relay, with reasons.

use serde_json::json;
use std::{
    fmt::Write as _,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

/// The phase of a relay's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifecyclePhase {
    /// Opening back ends and sockets.
    Starting,
    /// Serving.
    Ready,
    /// Refusing new work, waiting for open work.
    Draining,
}

impl LifecyclePhase {
    fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
        }
    }
}

/// A component of a relay that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    /// A runtime that misses its tick. Without it the relay does not live.
    Lanes,
    /// A listener that died. Without it the relay does not live.
    Listeners,
    /// The registry: without it live tunnels go on, new claims are refused.
    Registry,
    /// The store: without it live tunnels go on, new names are refused.
    Store,
    /// The certificates: one of the store that cannot be served, or one that has expired.
    Certificate,
    /// Links to peers: one that no dial reaches.
    Peers,
}

impl Component {
    const ALL: [Self; 6] =
        [Self::Lanes, Self::Listeners, Self::Registry, Self::Store, Self::Certificate, Self::Peers];

    fn as_str(self) -> &'static str {
        match self {
            Self::Lanes => "lanes",
            Self::Listeners => "listeners",
            Self::Registry => "registry",
            Self::Store => "store",
            Self::Certificate => "certificate",
            Self::Peers => "peers",
        }
    }

    /// Whether the relay must be started anew when this part fails. The registry and the store being away is no
    /// reason: other relays would be no better off.
    fn is_vital(self) -> bool {
        matches!(self, Self::Lanes | Self::Listeners)
    }
}

/// The health of a relay, as the ops port reports it.
#[derive(Debug)]
pub struct Health {
    state: Mutex<HealthState>,
}

#[derive(Debug)]
struct HealthState {
    phase: LifecyclePhase,
    problems: [Option<(String, Instant)>; Component::ALL.len()],
}

impl Default for Health {
    fn default() -> Self {
        Self {
            state: Mutex::new(HealthState { phase: LifecyclePhase::Starting, problems: Default::default() }),
        }
    }
}

impl Health {
    fn state(&self) -> MutexGuard<'_, HealthState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the phase.
    pub fn enter(&self, phase: LifecyclePhase) {
        self.state().phase = phase;
    }

    /// The phase now.
    pub fn phase(&self) -> LifecyclePhase {
        self.state().phase
    }

    /// Sets the problem of a component; `None` when it works again. Its time counts from when it last worked.
    pub fn report(&self, part: Component, problem: Option<String>) {
        let mut state = self.state();
        let place = &mut state.problems[part as usize];
        *place = problem.map(|text| (text, place.as_ref().map_or_else(Instant::now, |(_, since)| *since)));
    }

    /// Whether nothing vital has failed.
    pub fn is_live(&self) -> bool {
        let state = self.state();
        Component::ALL.iter().all(|part| !part.is_vital() || state.problems[*part as usize].is_none())
    }

    /// Whether consumers and clients should be sent here.
    pub fn is_ready(&self) -> bool {
        self.phase() == LifecyclePhase::Ready && self.is_live()
    }

    pub(crate) fn live_text(&self) -> String {
        let mut text = if self.is_live() { "live\n" } else { "not live\n" }.to_owned();
        self.push_problems(&mut text, Component::is_vital);
        text
    }

    pub(super) fn ready_text(&self) -> String {
        let mut text = match (self.is_ready(), self.phase()) {
            (true, _) => "ready\n".to_owned(),
            (false, LifecyclePhase::Ready) => "not ready\n".to_owned(),
            (false, phase) => format!("not ready: {}\n", phase.as_str()),
        };
        self.push_problems(&mut text, |_| true);
        text
    }

    fn push_problems(&self, text: &mut String, wanted: impl Fn(Component) -> bool) {
        let state = self.state();
        for part in Component::ALL.into_iter().filter(|part| wanted(*part)) {
            if let Some((problem, since)) = &state.problems[part as usize] {
                let seconds = since.elapsed().as_secs();
                let _ = writeln!(text, "{}: {problem} (for {seconds} s)", part.as_str());
            }
        }
    }

    pub(super) fn to_json(&self) -> serde_json::Value {
        let (live, ready) = (self.is_live(), self.is_ready());
        let state = self.state();
        let problem = |part: Component| {
            let (problem, since) = state.problems[part as usize].as_ref()?;
            let seconds = since.elapsed().as_secs();
            Some(
                json!({"part": part.as_str(), "reason": problem, "forSeconds": seconds, "vital": part.is_vital()}),
            )
        };
        let problems: Vec<_> = Component::ALL.into_iter().filter_map(problem).collect();
        json!({"live": live, "ready": ready, "phase": state.phase.as_str(), "problems": problems})
    }
}
