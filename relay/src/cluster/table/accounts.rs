//! How much of the table each account has.

use crate::cluster::row::Row;
use adit_protocol::Account;
use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

/// What one account has in the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) rows: usize,
    pub(super) sessions: usize,
}

/// The shares of the accounts that have any.
#[derive(Debug, Default)]
pub(super) struct Accounts(RwLock<Shares>);

#[derive(Debug, Default)]
struct Shares {
    rows: usize,
    of: HashMap<Account, Share>,
}

impl Accounts {
    pub(super) fn of(&self, account: &Account) -> Share {
        self.0.read().unwrap_or_else(PoisonError::into_inner).of.get(account).copied().unwrap_or_default()
    }

    #[cfg(test)]
    pub(super) fn rows(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).rows
    }

    /// Takes over that one row has become another.
    pub(super) fn note(&self, before: Option<&Row>, after: Option<&Row>) {
        let mut shares = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(row) = before {
            shares.rows -= 1;
            if let Some(share) = shares.of.get_mut(&row.account) {
                share.rows -= 1;
                share.sessions -= row.sessions.len();
                if share.rows == 0 {
                    shares.of.remove(&row.account);
                }
            }
        }
        if let Some(row) = after {
            shares.rows += 1;
            let share = shares.of.entry(row.account.clone()).or_default();
            share.rows += 1;
            share.sessions += row.sessions.len();
        }
    }
}
