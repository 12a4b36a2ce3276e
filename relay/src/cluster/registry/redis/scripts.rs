//! The scripts and their arguments.

use super::{super::Claim, wire};
use crate::cluster::table::{MAX_RELAYS, MAX_ROWS, MAX_SESSIONS, RELAY_TTL, RelayRecord, Release};
use adit_protocol::{Endpoint, RelayId};
use redis::{Script, ScriptInvocation};

/// Time without any relay after which Redis deletes the region's keys, in milliseconds.
const IDLE_REGION_TTL_MS: u64 = 60_000;

macro_rules! script {
    ($file:literal) => {
        Script::new(concat!(include_str!("prelude.lua"), include_str!($file)))
    };
}

#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) rows: String,
    pub(super) changes: String,
    pub(super) relays: String,
    open: Script,
    claim: Script,
    release: Script,
    beat: Script,
    reap: Script,
}

impl Scripts {
    pub(super) fn new(region: &str) -> Self {
        Self {
            rows: format!("{{{region}}}:rows"),
            changes: format!("{{{region}}}:changes"),
            relays: format!("{{{region}}}:relays"),
            open: script!("open.lua"),
            claim: script!("claim.lua"),
            release: script!("release.lua"),
            beat: script!("beat.lua"),
            reap: script!("reap.lua"),
        }
    }

    fn prepare<'a>(&'a self, script: &'a Script) -> ScriptInvocation<'a> {
        let mut call = script.prepare_invoke();
        call.key(&self.rows).key(&self.changes).key(&self.relays);
        call
    }

    pub(super) fn open(&self) -> ScriptInvocation<'_> {
        self.prepare(&self.open)
    }

    pub(super) fn claim(&self, claims: &[Claim]) -> ScriptInvocation<'_> {
        let mut call = self.prepare(&self.claim);
        call.arg(MAX_ROWS).arg(MAX_SESSIONS);
        for claim in claims {
            call.arg(wire::claim(claim));
        }
        call
    }

    pub(super) fn release(&self, me: &RelayId, releases: &[Release]) -> ScriptInvocation<'_> {
        let mut call = self.prepare(&self.release);
        call.arg(me.as_str());
        for release in releases {
            call.arg(release.endpoint.to_string())
                .arg(wire::generation(release.generation))
                .arg(release.session.as_str());
        }
        call
    }

    pub(super) fn beat(&self, record: &RelayRecord) -> ScriptInvocation<'_> {
        let mut call = self.prepare(&self.beat);
        call.arg(record.relay.as_str())
            .arg(wire::record_text(record))
            .arg(RELAY_TTL.as_millis().to_string())
            .arg(IDLE_REGION_TTL_MS)
            .arg(MAX_RELAYS);
        call
    }

    /// `leaves`: it goes of itself; `is_last`: there are no endpoints of it beside these.
    pub(super) fn reap(
        &self,
        relay: &RelayId,
        leaves: bool,
        is_last: bool,
        endpoints: &[Endpoint],
    ) -> ScriptInvocation<'_> {
        let mut call = self.prepare(&self.reap);
        call.arg(relay.as_str()).arg(u8::from(leaves)).arg(u8::from(is_last));
        for endpoint in endpoints {
            call.arg(endpoint.to_string());
        }
        call
    }
}
