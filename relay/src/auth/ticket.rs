//! Resume tickets.

use super::Credential;
use adit_protocol::{Account, Endpoint, InstanceId};
use serde::{Deserialize, Serialize};

/// Maximum lifetime of a ticket, in seconds.
const MAX_TICKET_SECONDS: u64 = 24 * 3600;

/// What admits a client to its endpoint again at any relay of the region, without registry or store. It can be used as
/// often as the client likes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// The account.
    pub account: Account,
    /// The run of the client that it was given to.
    pub instance: InstanceId,
    /// The generation of the endpoint's owner.
    pub generation: u64,
    /// The client's Ed25519 public key.
    pub key: [u8; 32],
    /// When it ends, in seconds since 1970.
    pub expires: u64,
}

impl Ticket {
    /// A ticket that ends with its credential, or after 24 hours.
    pub fn new(
        credential: &Credential,
        endpoint: Endpoint,
        instance: InstanceId,
        generation: u64,
        now: u64,
    ) -> Self {
        Self {
            endpoint,
            account: credential.account.clone(),
            instance,
            generation,
            key: credential.key,
            expires: credential.expires.min(now.saturating_add(MAX_TICKET_SECONDS)),
        }
    }
}

/// A ticket that admits nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// This region did not make it for this account and key, or somebody changed it.
    #[error("ticket: was not made by this region for this client")]
    Invalid,
    /// It has expired.
    #[error("ticket: has expired")]
    Expired,
}

/// The sealed fields of a ticket. Account and key are not among them: they are authenticated as associated data.
#[derive(Serialize, Deserialize)]
pub(super) struct TicketPayload(Endpoint, InstanceId, u64, u64);

impl TicketPayload {
    pub(super) fn of(ticket: &Ticket) -> Self {
        Self(ticket.endpoint.clone(), ticket.instance.clone(), ticket.generation, ticket.expires)
    }

    pub(super) fn ticket(self, account: &Account, key: &[u8; 32]) -> Ticket {
        let Self(endpoint, instance, generation, expires) = self;
        Ticket { endpoint, account: account.clone(), instance, generation, key: *key, expires }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{CredentialLifetimes, credential::tests::grant};

    #[test]
    fn a_ticket_ends_with_its_credential_and_after_a_day() {
        let rules = CredentialLifetimes { managed: 3600, foreign: 3600 };
        let short = rules.credential(grant(true), [7; 32], 1000);
        let long = CredentialLifetimes::default().credential(grant(true), [7; 32], 1000);
        let ends = |credential, now| {
            Ticket::new(credential, Endpoint::Tcp(22), "i".parse().unwrap(), 1, now).expires
        };
        assert_eq!((ends(&short, 1000), ends(&long, 1000)), (4600, 1000 + MAX_TICKET_SECONDS));
        assert_eq!(ends(&long, u64::MAX), long.expires);
    }
}
