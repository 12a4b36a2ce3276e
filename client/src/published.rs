//! A tunnel of a running client: its specification, what relays granted, and the health of its service.

use crate::{
    event::{self, EventKind, Time, TunnelState, TunnelStatus},
    event_queue::EventQueue,
    problem::Problem,
    service::{TunnelSpec, tls::ServiceTls},
};
use adit_protocol::{Code, Endpoint, OpenTunnel, OpenedTunnel, TunnelId};
use std::{
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// Time that a tunnel counts as limited after a refusal; relays report refusals once a second.
pub(crate) const LIMITED_DURATION: Duration = Duration::from_millis(1500);

/// The answers of relays about a tunnel.
#[derive(Clone, Debug, Default)]
struct Grant {
    /// How many sessions serve it.
    sessions: usize,
    endpoint: Option<Endpoint>,
    url: Option<String>,
    ticket: Option<String>,
    name_refused: Option<Code>,
    /// Why it was refused, and when it is asked for again; never without a time.
    refused: Option<(Code, String, Option<Instant>)>,
    closed: Option<(Code, String)>,
    limited: Option<(Code, String, Instant)>,
    /// The service's fault, if it has one.
    fault: Option<ServiceFault>,
    reported: Option<TunnelStatus>,
}

/// A fault of a tunnel's service, with the reason for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ServiceFault {
    /// `service_down` or `service_protocol`.
    code: Code,
    reason: String,
}

/// Whether a service is known to have a fault, without a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum ServiceHealth {
    Good,
    /// It takes no connections.
    Down,
    /// It takes connections and does not answer with HTTP.
    NotHttp,
}

/// One tunnel of this client.
#[derive(Debug)]
pub(crate) struct PublishedTunnel {
    pub(crate) id: TunnelId,
    pub(crate) spec: TunnelSpec,
    pub(crate) event_queue: EventQueue,
    /// How to speak TLS with the service, if it does.
    pub(crate) tls: Option<ServiceTls>,
    paused: AtomicBool,
    health: AtomicU8,
    grant: Mutex<Grant>,
}

impl PublishedTunnel {
    /// A tunnel that no relay has granted yet.
    ///
    /// # Errors
    /// `config_invalid` when the service's authorities cannot be read.
    pub(crate) fn new(id: TunnelId, spec: TunnelSpec, event_queue: EventQueue) -> Result<Self, Problem> {
        let tls = ServiceTls::new(&spec)?;
        let (paused, health, grant) = (AtomicBool::new(false), AtomicU8::new(0), Mutex::default());
        Ok(Self { id, spec, event_queue, tls, paused, health, grant })
    }

    fn grant(&self) -> MutexGuard<'_, Grant> {
        self.grant.lock().expect("no code panics while it holds this lock")
    }

    /// The request for the next hello; `None` for a tunnel that is disabled or has ended.
    pub(crate) fn open_request(&self) -> Option<OpenTunnel> {
        let grant = self.grant();
        let refused_for_good = matches!(&grant.refused, Some((_, _, None)));
        if !self.spec.enabled || grant.closed.is_some() || (refused_for_good && grant.sessions == 0) {
            return None;
        }
        let mut ask = OpenTunnel {
            tunnel: self.id.clone(),
            kind: self.spec.kind(),
            name: self.spec.name.clone().filter(|_| !self.spec.kind().is_by_port()),
            any_name: self.spec.any_name,
            port: self.spec.port,
            ticket: grant.ticket.clone(),
            options: self.spec.relay_options.clone(),
        };
        match &grant.endpoint {
            // What was granted is asked for again, so that a name survives a ticket that has ended.
            Some(endpoint) if endpoint.port().is_some() => ask.port = endpoint.port(),
            Some(endpoint) if ask.name.is_none() || grant.name_refused.is_some() => {
                ask.name = endpoint.as_host().and_then(|host| host.split('.').next()).map(str::to_owned);
                ask.any_name = true;
            }
            _ => {}
        }
        Some(ask)
    }

    /// Records that one more session serves it.
    pub(crate) fn add_session(&self, opened: &OpenedTunnel) {
        let mut grant = self.grant();
        grant.sessions += 1;
        grant.refused = None;
        grant.endpoint = Some(opened.endpoint.clone());
        grant.url = Some(opened.url.clone());
        grant.ticket = Some(opened.ticket.clone());
        if grant.name_refused.is_none() {
            grant.name_refused = opened.name_refused;
        }
        self.report(&mut grant);
    }

    /// Records that one session less serves it.
    pub(crate) fn remove_session(&self) {
        let mut grant = self.grant();
        grant.sessions = grant.sessions.saturating_sub(1);
        self.report(&mut grant);
    }

    /// Records a relay's refusal. Returns whether it is final.
    pub(crate) fn refuse(&self, code: Code, message: &str, retry_after: Option<Duration>) -> bool {
        let mut grant = self.grant();
        let mut retry = retry_after.map(|after| Instant::now() + after);
        if code == Code::PortUnavailable && self.spec.port.is_none() && grant.endpoint.take().is_some() {
            // The port that it had is gone, but any will do.
            grant.ticket = None;
            retry = retry.or(Some(Instant::now()));
        }
        if grant.sessions > 0 {
            return false;
        }
        grant.refused = Some((code, message.to_owned(), retry));
        self.report(&mut grant);
        retry.is_none()
    }

    /// Records that a relay has closed it; it is not opened again.
    pub(crate) fn close(&self, code: Code, message: &str) {
        let mut grant = self.grant();
        grant.closed = Some((code, message.to_owned()));
        self.report(&mut grant);
    }

    /// When a refused tunnel is asked for again; `None` if it is not.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.grant().refused.as_ref().and_then(|(_, _, retry)| *retry)
    }

    /// Records that a limit of the account refused consumers.
    pub(crate) fn set_limited(&self, code: Code, reason: &str) {
        let mut grant = self.grant();
        grant.limited = Some((code, reason.to_owned(), Instant::now() + LIMITED_DURATION));
        self.report(&mut grant);
    }

    /// Pauses it, so that consumers get 503, or resumes it.
    pub(crate) fn set_paused(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
        self.report(&mut self.grant());
    }

    /// Whether it is paused.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    /// The service takes connections.
    pub(crate) fn set_service_up(&self) {
        self.clear_fault(ServiceHealth::Down);
    }

    /// The service answers with HTTP.
    pub(crate) fn set_service_answers(&self) {
        self.clear_fault(ServiceHealth::NotHttp);
    }

    /// The service does not take connections.
    pub(crate) fn set_service_down(&self, reason: String) {
        self.set_fault(ServiceHealth::Down, Code::ServiceDown, reason);
    }

    /// The service answers with something that is not HTTP, until it does.
    pub(crate) fn set_service_protocol(&self, reason: String) {
        self.set_fault(ServiceHealth::NotHttp, Code::ServiceProtocol, reason);
    }

    fn clear_fault(&self, health: ServiceHealth) {
        // Nearly always there is none, and this is on each request's way.
        if self.health.load(Ordering::Relaxed) == health as u8 {
            self.health.store(ServiceHealth::Good as u8, Ordering::Relaxed);
            let mut grant = self.grant();
            grant.fault = None;
            self.report(&mut grant);
        }
    }

    fn set_fault(&self, health: ServiceHealth, code: Code, reason: String) {
        self.health.store(health as u8, Ordering::Relaxed);
        let mut grant = self.grant();
        grant.fault = Some(ServiceFault { code, reason });
        self.report(&mut grant);
    }

    /// Whether the service was down when it was last needed.
    pub(crate) fn is_down(&self) -> bool {
        self.health.load(Ordering::Relaxed) == ServiceHealth::Down as u8
    }

    /// Its public URL; `None` before a relay has granted it.
    pub(crate) fn url(&self) -> Option<String> {
        self.grant().url.clone()
    }

    /// Whether consumers reach it now.
    pub(crate) fn is_open(&self) -> bool {
        self.grant().sessions > 0
    }

    /// Why it has ended; `None` while it may be served.
    pub(crate) fn end_problem(&self) -> Option<Problem> {
        let grant = self.grant();
        let (code, message) = match (&grant.closed, &grant.refused) {
            (Some((code, message)), _) => (*code, message),
            (None, Some((code, message, None))) if grant.sessions == 0 => (*code, message),
            _ => return None,
        };
        let mut problem = Problem::new(code.as_str())
            .with("message", message.as_str())
            .with("service", self.spec.service.to_string())
            .with("kind", self.spec.kind().to_string());
        if let Some(name) = &self.spec.name {
            problem = problem.with("name", name.as_str());
        }
        if let Some(port) = self.spec.port {
            problem = problem.with("port", port);
        }
        if let Some(url) = &grant.url {
            problem = problem.with("url", url.as_str());
        }
        Some(problem)
    }

    /// Reports its state if it has changed.
    pub(crate) fn refresh(&self) {
        self.report(&mut self.grant());
    }

    fn report(&self, grant: &mut Grant) {
        let status = self.status(grant);
        if grant.reported.as_ref() != Some(&status) {
            grant.reported = Some(status.clone());
            self.event_queue.send(EventKind::TunnelState(status));
        }
    }

    fn status(&self, grant: &mut Grant) -> TunnelStatus {
        if grant.limited.as_ref().is_some_and(|(_, _, until)| *until <= Instant::now()) {
            grant.limited = None;
        }
        let asked_for_name = self.spec.name.is_some() && !self.spec.kind().is_by_port();
        let mut status = TunnelStatus {
            tunnel: self.id.clone(),
            state: TunnelState::Connected,
            url: grant.url.clone(),
            name_granted: (asked_for_name && grant.url.is_some()).then_some(grant.name_refused.is_none()),
            code: grant.name_refused,
            reason: None,
            retry_at: None,
        };
        let mut set = |state, code: Option<Code>, reason: Option<String>| {
            status.state = state;
            status.code = code.or(status.code);
            status.reason = reason;
        };
        if let Some((code, message)) = &grant.closed {
            set(TunnelState::Closed, Some(*code), Some(message.clone()));
        } else if let Some((code, message, retry)) = &grant.refused {
            set(TunnelState::Refused, Some(*code), Some(message.clone()));
            status.retry_at = retry.map(time_at);
        } else if grant.sessions == 0 {
            set(TunnelState::Connecting, None, None);
        } else if self.is_paused() {
            set(TunnelState::Paused, None, None);
        } else if let Some(fault) = &grant.fault {
            set(TunnelState::ServiceDown, Some(fault.code), Some(fault.reason.clone()));
        } else if let Some((code, reason, _)) = &grant.limited {
            set(TunnelState::Limited, Some(*code), Some(reason.clone()));
        }
        status
    }

    /// Its specification as an event.
    pub(crate) fn description(&self) -> event::Tunnel {
        event::Tunnel {
            tunnel: self.id.clone(),
            name: self.spec.name.clone(),
            kind: self.spec.kind(),
            service: self.spec.service.to_string(),
            enabled: self.spec.enabled,
            options: self.spec.options(),
        }
    }
}

/// The time of day at a moment of this process's clock.
pub(crate) fn time_at(instant: Instant) -> Time {
    Time::now() + instant.saturating_duration_since(Instant::now())
}
