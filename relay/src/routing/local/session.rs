//! One session: what the parts of a relay know of it.

use super::{POISONED, bulk_detector::BulkDetector, session_selection::SessionLoad};
use crate::{
    accounts::{AccountUsage, TunnelPermit},
    auth::Permissions,
    ops::metrics::GaugeGuard,
};
use adit_mux::{MAX_STREAMS, Opener, buffered::Traffic};
use adit_protocol::{Account, Code, Endpoint, InstanceId, SessionId, ToClient};
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How many commands may wait for a session's control stream.
pub(super) const COMMANDS: usize = 64;

/// One authenticated connection of a client to this relay.
#[derive(Debug)]
pub(crate) struct Session {
    /// Its id.
    pub(crate) id: SessionId,
    /// The lane that it lives on.
    pub(crate) lane: usize,
    /// Who the client is.
    pub(crate) account: Account,
    /// What the account uses.
    pub(crate) usage: Arc<AccountUsage>,
    /// What its credential allows.
    pub(crate) permissions: Permissions,
    /// The run of the client.
    pub(crate) instance: InstanceId,
    /// Where the client's connection comes from.
    pub(crate) remote: SocketAddr,
    /// The client's version.
    pub(crate) client_version: String,
    /// When it began, in seconds since 1970.
    pub(crate) since: u64,
    /// Opens streams to the client.
    pub(crate) opener: Opener,
    /// What moves on its connection.
    traffic: Traffic,
    bulk: BulkDetector,
    /// When its credential ends, in seconds since 1970.
    expires: AtomicU64,
    /// The last measured round trip in microseconds; 0 until there is one.
    pub(crate) round_trip_us: AtomicU32,
    endpoints: Mutex<HashMap<Endpoint, (TunnelPermit, GaugeGuard)>>,
    streams: AtomicUsize,
    /// How many streams have ever been opened.
    opened: AtomicU64,
    answered: CancellationToken,
    closing: AtomicBool,
    suspended: AtomicBool,
    /// Ends the session at once, without a word.
    pub(crate) cut: CancellationToken,
    commands: mpsc::Sender<Command>,
}

/// What other parts of the relay want of a session.
#[derive(Debug)]
pub(crate) enum Command {
    /// Tell the client.
    Tell(ToClient),
    /// End the session with this last message.
    Close(ToClient),
}

/// A place for one stream of a session; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct StreamPlace(Arc<Session>);

impl Session {
    /// A session whose commands arrive at the returned receiver.
    #[expect(clippy::too_many_arguments, reason = "each is a fact of the session, named where it is made")]
    pub(crate) fn new(
        id: SessionId,
        lane: usize,
        account: Account,
        usage: Arc<AccountUsage>,
        permissions: Permissions,
        instance: InstanceId,
        remote: SocketAddr,
        client_version: String,
        since: u64,
        opener: Opener,
        traffic: Traffic,
    ) -> (Arc<Self>, mpsc::Receiver<Command>) {
        let (commands, received) = mpsc::channel(COMMANDS);
        let session = Self {
            id,
            lane,
            account,
            usage,
            permissions,
            instance,
            remote,
            client_version,
            since,
            opener,
            traffic,
            bulk: BulkDetector::new(Instant::now()),
            round_trip_us: AtomicU32::new(0),
            expires: AtomicU64::new(0),
            endpoints: Mutex::default(),
            streams: AtomicUsize::new(0),
            opened: AtomicU64::new(0),
            answered: CancellationToken::new(),
            closing: AtomicBool::new(false),
            suspended: AtomicBool::new(false),
            cut: CancellationToken::new(),
            commands,
        };
        (Arc::new(session), received)
    }

    /// A place for one more stream, unless all [`MAX_STREAMS`] are taken.
    pub(crate) fn place(self: &Arc<Self>) -> Option<StreamPlace> {
        let taken = self.streams.fetch_add(1, Ordering::Relaxed);
        self.opened.fetch_add(1, Ordering::Relaxed);
        let place = StreamPlace(self.clone());
        (taken < MAX_STREAMS).then_some(place)
    }

    /// The endpoints that it serves, or served until a newer owner came.
    pub(crate) fn endpoints(&self) -> Vec<Endpoint> {
        self.endpoints.lock().expect(POISONED).keys().cloned().collect()
    }

    /// The session serves this endpoint from now on.
    pub(crate) fn hold(&self, endpoint: Endpoint, permit: TunnelPermit, open: GaugeGuard) {
        self.endpoints.lock().expect(POISONED).insert(endpoint, (permit, open));
    }

    /// The session serves this endpoint no longer.
    pub(crate) fn let_go(&self, endpoint: &Endpoint) {
        self.endpoints.lock().expect(POISONED).remove(endpoint);
    }

    /// When its credential ends, in seconds since 1970.
    pub(crate) fn expires(&self) -> u64 {
        self.expires.load(Ordering::Relaxed)
    }

    /// The credential has been renewed.
    pub(crate) fn set_expires(&self, expires: u64) {
        self.expires.store(expires, Ordering::Relaxed);
    }

    /// How many streams are open.
    pub(crate) fn streams(&self) -> usize {
        self.streams.load(Ordering::Relaxed)
    }

    /// What a further stream would be beside.
    pub(crate) fn load(&self, now: Instant) -> SessionLoad {
        let opened = self.opened.load(Ordering::Relaxed);
        let is_bulk = self.bulk.is_found(now, self.traffic.snapshot().bytes(), opened);
        SessionLoad { is_bulk, streams: self.streams() }
    }

    /// Waits until the client's first word has come, and with it what its SETTINGS say, or the session has ended.
    pub(crate) async fn answered(&self) {
        self.answered.cancelled().await;
    }

    /// Notes that nothing is to be waited for any more.
    pub(crate) fn set_answered(&self) {
        self.answered.cancel();
    }

    /// Whether the session takes no new streams any more.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// From now on the session takes no new streams.
    pub(crate) fn set_closing(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Notes that the session is suspended; answers whether that is news.
    pub(crate) fn suspend(&self) -> bool {
        !self.suspended.swap(true, Ordering::Relaxed)
    }

    /// Closes the session: a newer client of the account has taken an endpoint over, and with it the session's purpose.
    pub(crate) fn close_as_replaced(&self, endpoint: &Endpoint) {
        tracing::info!(session = %self.id, %endpoint, "replaced by a newer client");
        let message = format!("a newer client of the account has taken {endpoint} over");
        self.command(Command::Close(ToClient::close(Code::Replaced, message)));
    }

    /// Hands a command to the session. Answers whether it was taken: a client that reads nothing has a full queue.
    pub(crate) fn command(&self, command: Command) -> bool {
        self.commands.try_send(command).is_ok()
    }
}

impl StreamPlace {
    /// The session.
    pub(crate) fn session(&self) -> &Session {
        &self.0
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}
