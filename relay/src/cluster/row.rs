//! The rows of the region's table, the claims of sessions and the records of relays.

use adit_protocol::{Account, Endpoint, InstanceId, RelayId, SessionId, TunnelId, TunnelOptions};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The most endpoints that a region can have. Rows beyond it are refused, or ignored when another relay sends them.
pub(crate) const MAX_ROWS: usize = 262_144;

/// The most sessions that serve one endpoint.
pub(crate) const MAX_SESSIONS: usize = 64;

/// The most relays of a region. Relays beyond it are not used.
pub(crate) const MAX_RELAYS: usize = 1_024;

/// How long a relay that is not heard of is believed in, in time with contact to the registry.
pub(crate) const RELAY_TTL: Duration = Duration::from_secs(6);

/// One endpoint and who serves it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// The public address.
    pub(crate) endpoint: Endpoint,
    /// The account that owns it.
    pub(crate) account: Account,
    /// The client's run that owns it.
    pub(crate) instance: InstanceId,
    /// The store's number of this ownership: the greater one wins.
    pub(crate) generation: u64,
    /// The tunnel that streams to it name.
    pub(crate) tunnel: TunnelId,
    /// The tunnel's options.
    pub(crate) options: TunnelOptions,
    /// The sessions that serve it, in order of their ids, at most [`MAX_SESSIONS`]; never empty in the table.
    pub(crate) sessions: Vec<RowSession>,
}

/// One session of a [`Row`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RowSession {
    /// The session.
    pub(crate) session: SessionId,
    /// The relay that holds it.
    pub(crate) relay: RelayId,
}

/// What a relay says of itself with every beat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RelayRecord {
    /// The relay.
    pub(crate) relay: RelayId,
    /// Where other relays reach it: `host:port` of its peer listener, at most 300 bytes.
    pub(crate) peer: Option<String>,
    /// How many sessions it holds.
    pub(crate) sessions: u32,
    /// How many streams are open in them.
    pub(crate) streams: u32,
    /// It takes no new sessions and streams, and is about to leave.
    pub(crate) draining: bool,
}

impl RelayRecord {
    /// The most bytes of [`RelayRecord::peer`].
    pub(crate) const MAX_PEER_BYTES: usize = 300;
}

/// A claim that one session serves an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    /// The public address.
    pub(crate) endpoint: Endpoint,
    /// The account that owns it.
    pub(crate) account: Account,
    /// The client's run.
    pub(crate) instance: InstanceId,
    /// The store's number of this ownership.
    pub(crate) generation: u64,
    /// The tunnel.
    pub(crate) tunnel: TunnelId,
    /// The tunnel's options.
    pub(crate) options: TunnelOptions,
    /// The session, unique within the region.
    pub(crate) session: SessionId,
    /// The relay that holds the session: the one whose registry this is.
    pub(crate) relay: RelayId,
}

impl Claim {
    /// The row that this claim alone makes.
    pub(crate) fn row(&self) -> Row {
        Row {
            endpoint: self.endpoint.clone(),
            account: self.account.clone(),
            instance: self.instance.clone(),
            generation: self.generation,
            tunnel: self.tunnel.clone(),
            options: self.options.clone(),
            sessions: vec![self.row_session()],
        }
    }

    pub(crate) fn row_session(&self) -> RowSession {
        RowSession { session: self.session.clone(), relay: self.relay.clone() }
    }
}

impl Row {
    /// Whether the claim is of this row's owner and ownership.
    pub(crate) fn is_of(&self, claim: &Claim) -> bool {
        self.generation == claim.generation
            && self.account == claim.account
            && self.instance == claim.instance
    }

    /// Whether this row's owner goes before the claim: by a greater generation, or by an equal one of another owner.
    pub(crate) fn supersedes(&self, claim: &Claim) -> bool {
        self.generation > claim.generation || (self.generation == claim.generation && !self.is_of(claim))
    }
}
