//! The accounts that use a relay now.

use super::{AccountUsage, Limits};
use adit_protocol::Account;
use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Instant,
};

/// The accounts that use this relay now. A session asks once and keeps what it gets; a request that goes to another relay
/// asks itself, which takes a lock that is hardly ever written to.
#[derive(Debug)]
pub(crate) struct Accounts {
    epoch: Instant,
    accounts: RwLock<HashMap<Account, Arc<AccountUsage>>>,
}

impl Default for Accounts {
    fn default() -> Self {
        Self { epoch: Instant::now(), accounts: RwLock::default() }
    }
}

impl Accounts {
    /// What an account uses, for a session of its own. `limits` replace those of the account's earlier sessions: a token
    /// can carry limits, and the newest counts.
    pub(crate) fn get(&self, account: &Account, limits: &Limits) -> Arc<AccountUsage> {
        let found = self.visit(account, limits);
        found.set_limits(limits);
        found
    }

    /// What an account uses, for a request to one of its tunnels whose sessions are at other relays. `limits` are those of
    /// the region: they hold only where the account has no session that brought others.
    pub(crate) fn visit(&self, account: &Account, limits: &Limits) -> Arc<AccountUsage> {
        if let Some(found) = self.find(account) {
            return found;
        }
        let mut accounts = self.accounts.write().unwrap_or_else(PoisonError::into_inner);
        let entry = accounts.entry(account.clone());
        entry.or_insert_with(|| Arc::new(AccountUsage::new(limits, self.epoch))).clone()
    }

    /// The usage of an account, if it is known.
    pub(crate) fn find(&self, account: &Account) -> Option<Arc<AccountUsage>> {
        self.accounts.read().unwrap_or_else(PoisonError::into_inner).get(account).cloned()
    }

    /// All accounts, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<AccountUsage>> {
        self.accounts.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Forgets the accounts that nobody holds and whose requests have been made up for. To be called every few seconds;
    /// between two calls only accounts are added that have a session in the region.
    pub(crate) fn forget_idle(&self, now: Instant) {
        let mut accounts = self.accounts.write().unwrap_or_else(PoisonError::into_inner);
        // A count of one is the map's own. Nobody can take another one meanwhile: it would have to come from here.
        accounts.retain(|_, account| Arc::strong_count(account) > 1 || !account.is_idle(now));
    }

    /// How many accounts are known.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.accounts.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether no account is known.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_visit_leaves_the_limits_that_a_session_brought() {
        let accounts = Accounts::default();
        let (me, region) = (Account::managed("me"), Limits::default());
        let own = Limits { streams: 7, ..region.clone() };
        assert_eq!(accounts.visit(&me, &region).limits(), region);
        assert_eq!(accounts.get(&me, &own).limits(), own);
        assert_eq!(accounts.visit(&me, &region).limits(), own);
        assert_eq!(accounts.get(&me, &region).limits(), region, "the newest session's count");
    }

    #[test]
    fn an_account_is_forgotten_when_unused_and_nothing_is_owed() {
        let accounts = Accounts::default();
        let (me, other) = (Account::managed("me"), Account::managed("other"));
        let limits = Limits { requests_per_second: 1, ..Limits::default() };
        let held = accounts.get(&me, &limits);
        assert!(Arc::ptr_eq(&held, &accounts.get(&me, &limits)));
        assert!(!Arc::ptr_eq(&held, &accounts.get(&other, &limits)));
        let now = Instant::now();
        accounts.forget_idle(now);
        assert_eq!((accounts.len(), accounts.find(&other).is_none()), (1, true));
        let permit = held.try_session(0).unwrap();
        held.check_request(now).unwrap();
        drop(held);
        accounts.forget_idle(now + Duration::from_secs(2));
        assert_eq!(accounts.len(), 1, "the permit holds it");
        drop(permit);
        accounts.forget_idle(now);
        assert_eq!(accounts.len(), 1, "the request of this second would be forgotten");
        accounts.forget_idle(now + Duration::from_secs(1));
        assert!(accounts.is_empty());
    }
}
