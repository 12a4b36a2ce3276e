//! Locks of accounts: one task of this process creates an account at a CA while the others that need it wait.

use adit_system::POISONED;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, Weak},
};

type AccountLock = Arc<tokio::sync::Mutex<()>>;

/// The lock of an account that may have to be created: the same one for all tasks that ask for it at once.
pub(crate) fn account_lock(account: &str) -> AccountLock {
    static LOCKS: Mutex<BTreeMap<String, Weak<tokio::sync::Mutex<()>>>> = Mutex::new(BTreeMap::new());
    let mut locks = LOCKS.lock().expect(POISONED);
    locks.retain(|_, lock| lock.strong_count() > 0);
    if let Some(lock) = locks.get(account).and_then(Weak::upgrade) {
        return lock;
    }
    let lock = AccountLock::default();
    locks.insert(account.to_owned(), Arc::downgrade(&lock));
    lock
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_wait_only_for_those_with_the_same_account() {
        let first = account_lock("a");
        assert!(Arc::ptr_eq(&first, &account_lock("a")));
        assert!(!Arc::ptr_eq(&first, &account_lock("b")));
    }
}
