//! One at a time: who makes an account at a CA has the others of this process wait for it, as they want the same one.

use adit_system::POISONED;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, Weak},
};

type Turn = Arc<tokio::sync::Mutex<()>>;

/// The lock of an account that may have to be made, the same for all who ask for it at once.
pub(crate) fn turn(account: &str) -> Turn {
    static TURNS: Mutex<BTreeMap<String, Weak<tokio::sync::Mutex<()>>>> = Mutex::new(BTreeMap::new());
    let mut turns = TURNS.lock().expect(POISONED);
    turns.retain(|_, turn| turn.strong_count() > 0);
    if let Some(turn) = turns.get(account).and_then(Weak::upgrade) {
        return turn;
    }
    let turn = Turn::default();
    turns.insert(account.to_owned(), Arc::downgrade(&turn));
    turn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_of_one_account_wait_for_each_other_alone() {
        let first = turn("a");
        assert!(Arc::ptr_eq(&first, &turn("a")));
        assert!(!Arc::ptr_eq(&first, &turn("b")));
    }
}
