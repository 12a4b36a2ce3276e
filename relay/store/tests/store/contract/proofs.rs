//! Tokens that are used up, and credentials that are bound to a key.

use crate::fixture::{NOW, StoreFixture};
use adit_protocol::Account;
use adit_store::{BindCredentialError, BoundCredential, TOKEN_REPEAT_SECONDS, UseTokenError};

pub(crate) async fn a_token_is_used_once_but_for_a_lost_reply(fixture: StoreFixture) {
    let (store, other_relay) = (fixture.open().await, fixture.open().await);
    let ada = Account::managed("ada");
    let expires = NOW + 900;
    store.use_token(&ada, "t-1", "key-1", expires, NOW).await.unwrap();
    let thief = other_relay.use_token(&ada, "t-1", "key-2", expires, NOW).await;
    assert!(matches!(thief, Err(UseTokenError::Used)));
    let other_account = store.use_token(&Account::managed("bob"), "t-1", "key-1", expires, NOW).await;
    assert!(matches!(other_account, Err(UseTokenError::Used)));

    let last = NOW + TOKEN_REPEAT_SECONDS;
    other_relay.use_token(&ada, "t-1", "key-1", expires, last).await.expect("the first answer may be lost");
    let late = store.use_token(&ada, "t-1", "key-1", expires, last + 1).await;
    assert!(matches!(late, Err(UseTokenError::Used)), "a repeated use does not make the time longer");
    store.use_token(&ada, "t-2", "key-1", expires, NOW).await.unwrap();
}

pub(crate) async fn tokens_of_other_issuers_are_other_tokens(fixture: StoreFixture) {
    let store = fixture.open().await;
    let foreign = |issuer: &str| Account { issuer: issuer.to_owned(), subject: "ada".to_owned() };
    store.use_token(&Account::managed("ada"), "t-1", "key-1", NOW + 900, NOW).await.unwrap();
    store.use_token(&foreign("https://id.example"), "t-1", "key-2", NOW + 900, NOW).await.unwrap();
    store.use_token(&foreign("https://id.test"), "t-1", "key-3", NOW + 900, NOW).await.unwrap();
}

fn credential(id: &str, account: &str, key: &str, expires: u64) -> BoundCredential {
    BoundCredential { id: id.to_owned(), account: Account::managed(account), key: key.to_owned(), expires }
}

pub(crate) async fn a_credential_stays_with_its_key(fixture: StoreFixture) {
    let (store, other_relay) = (fixture.open().await, fixture.open().await);
    let first = credential("c-1", "ada", "key-1", NOW + 100);
    store.bind_credential(&first, NOW).await.unwrap();
    other_relay.bind_credential(&first, NOW).await.expect("a lost reply is repeated");
    other_relay
        .bind_credential(&credential("c-1", "ada", "key-1", NOW + 200), NOW + 50)
        .await
        .expect("it is renewed");
    for foreign in
        [credential("c-1", "ada", "key-2", NOW + 300), credential("c-1", "bob", "key-1", NOW + 300)]
    {
        let bound = store.bind_credential(&foreign, NOW).await;
        assert!(matches!(bound, Err(BindCredentialError::Bound)), "{foreign:?}");
    }
    store.bind_credential(&credential("c-2", "bob", "key-1", NOW + 100), NOW).await.unwrap();

    assert!(store.revoke_credential("c-1", NOW).await.unwrap());
    assert_eq!(store.credentials_revoked(NOW + 199).await.unwrap().ids, ["c-1"], "it ends with its renewal");
    assert!(store.credentials_revoked(NOW + 200).await.unwrap().ids.is_empty());
}

pub(crate) async fn revoked_credentials_are_told_until_they_end(fixture: StoreFixture) {
    let (store, other_relay) = (fixture.open().await, fixture.open().await);
    assert_eq!(store.credentials_revoked(NOW).await.unwrap().version, 0);
    for (id, expires) in [("c-2", NOW + 200), ("c-1", NOW + 100), ("c-3", NOW + 300)] {
        store.bind_credential(&credential(id, "ada", "key-1", expires), NOW).await.unwrap();
    }
    assert_eq!(store.credentials_revoked(NOW).await.unwrap().version, 0, "binding is no change of this set");
    assert!(store.revoke_credential("c-2", NOW).await.unwrap());
    assert!(store.revoke_credential("c-1", NOW).await.unwrap());
    let revoked = other_relay.credentials_revoked(NOW).await.unwrap();
    assert_eq!((revoked.version, revoked.ids), (2, vec!["c-1".to_owned(), "c-2".to_owned()]));
    assert!(store.revoke_credential("c-1", NOW + 1).await.unwrap(), "revoked already");
    assert!(!store.revoke_credential("c-9", NOW).await.unwrap(), "unknown");
    assert_eq!(store.credentials_revoked(NOW).await.unwrap().version, 2, "neither changed anything");
    assert_eq!(store.credentials_revoked(NOW + 100).await.unwrap().ids, ["c-2"], "c-1 has ended by itself");

    let back = store.bind_credential(&credential("c-1", "ada", "key-1", NOW + 900), NOW).await;
    assert!(matches!(back, Err(BindCredentialError::Revoked)));
    assert_eq!(
        store.credentials_revoked(NOW + 100).await.unwrap().ids,
        ["c-2"],
        "its end is not moved either"
    );
}
