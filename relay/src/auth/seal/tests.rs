use super::*;
use crate::auth::{CredentialLifetimes, NamePattern, credential::tests::grant};
use adit_protocol::Endpoint;
use proptest::prelude::*;

const DAY: u64 = 24 * 3600;
const KEY: [u8; 32] = [7; 32];

fn keys(bytes: &[u8]) -> RegionKeys {
    use base64::prelude::BASE64_STANDARD;
    let lines: Vec<String> = bytes.iter().map(|byte| BASE64_STANDARD.encode([*byte; 32])).collect();
    RegionKeys::parse(lines.join("\n").as_bytes()).unwrap()
}

fn seal() -> ProofSealer {
    ProofSealer::new(&keys(&[1]))
}

fn credential() -> Credential {
    CredentialLifetimes::default().credential(grant(false), KEY, 1_000_000)
}

fn ticket() -> Ticket {
    let endpoint = Endpoint::host("shop.eu.example.com");
    Ticket::new(&credential(), endpoint, "in_4k2p".parse().unwrap(), 42, 1_000_000)
}

#[test]
fn any_relay_of_the_region_opens_what_another_has_sealed() {
    let (text, mine) = (seal().credential(&credential()), credential());
    let opened = seal().open_credential(&text, 1_000_000).unwrap();
    assert_eq!(Credential { id: mine.id.clone(), ..opened }, mine);
    let text = seal().ticket(&ticket());
    let (account, key) = (ticket().account, KEY);
    assert_eq!(seal().open_ticket(&text, &account, &key, 1_000_000), Ok(ticket()));
    assert_ne!(seal().ticket(&ticket()), text, "no two have one nonce");
    assert!(text.len() < 200, "100 tickets have to fit into a hello: {}", text.len());
}

#[test]
fn what_is_over_is_not_taken() {
    let (credential_text, ticket_text) = (seal().credential(&credential()), seal().ticket(&ticket()));
    let ends = 1_000_000 + DAY + super::super::EXPIRY_LEEWAY_SECONDS;
    let account = ticket().account;
    assert!(seal().open_credential(&credential_text, ends - 1).is_ok());
    assert_eq!(seal().open_credential(&credential_text, ends), Err(CredentialError::Expired { ago: 60 }));
    assert!(seal().open_ticket(&ticket_text, &account, &KEY, ends - 1).is_ok());
    assert_eq!(seal().open_ticket(&ticket_text, &account, &KEY, ends), Err(TicketError::Expired));
}

#[test]
fn a_ticket_is_of_use_to_its_account_and_key_only() {
    let text = seal().ticket(&ticket());
    let other = Account::managed("you");
    for (account, key) in [(&other, KEY), (&ticket().account, [8; 32])] {
        assert_eq!(seal().open_ticket(&text, account, &key, 1_000_000), Err(TicketError::Invalid));
    }
    let split = |issuer: &str, subject: &str| Account { issuer: issuer.into(), subject: subject.into() };
    assert_ne!(ticket_context(&split("a", "bc"), &KEY), ticket_context(&split("ab", "c"), &KEY));
}

#[test]
fn keys_rotate_without_a_client_noticing() {
    let (old, both, swapped, new) = (
        ProofSealer::new(&keys(&[1])),
        ProofSealer::new(&keys(&[1, 2])),
        ProofSealer::new(&keys(&[2, 1])),
        ProofSealer::new(&keys(&[2])),
    );
    let opens =
        |by: &ProofSealer, from: &ProofSealer| by.open_credential(&from.credential(&credential()), 0).is_ok();
    for (by, from) in [(&both, &old), (&old, &both), (&swapped, &both), (&both, &swapped), (&new, &swapped)] {
        assert!(opens(by, from));
    }
    assert!(!opens(&new, &old) && !opens(&old, &new));
}

#[test]
fn what_was_made_elsewhere_or_changed_is_not_taken() {
    let text = seal().credential(&credential());
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(&text).unwrap();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        let changed = BASE64_URL_SAFE_NO_PAD.encode(changed);
        assert_eq!(seal().open_credential(&changed, 0), Err(CredentialError::Invalid), "byte {at}");
    }
    for end in 0..text.len() {
        assert_eq!(seal().open_credential(&text[..end], 0), Err(CredentialError::Invalid), "first {end}");
    }
    let as_ticket = seal().open_ticket(&text, &credential().account, &KEY, 0);
    assert_eq!(as_ticket, Err(TicketError::Invalid), "another purpose");
    let as_credential = seal().open_credential(&seal().ticket(&ticket()), 0);
    assert_eq!(as_credential, Err(CredentialError::Invalid));
    for odd in ["=", "ä", " ", &format!("{text}A"), &format!("{text}="), &"A".repeat(1 << 20)] {
        assert_eq!(seal().open_credential(odd, 0), Err(CredentialError::Invalid));
        assert_eq!(seal().open_ticket(odd, &credential().account, &KEY, 0), Err(TicketError::Invalid));
    }
}

#[test]
fn the_longest_of_all_can_be_opened() {
    let names: Vec<NamePattern> =
        (0..64).map(|n| format!("{n:02}{}*", "a".repeat(60)).parse().unwrap()).collect();
    let mut credential = credential();
    credential.account = Account { issuer: "i".repeat(256), subject: "\"".repeat(256) };
    credential.permissions.names = Some(names);
    let text = seal().credential(&credential);
    assert_eq!(seal().open_credential(&text, 0), Ok(credential.clone()));
    let endpoint = Endpoint::host(&["a".repeat(63).as_str(); 4].join(".")[..253]);
    let mut ticket = Ticket::new(&credential, endpoint, "i".repeat(64).parse().unwrap(), u64::MAX, 0);
    ticket.expires = u64::MAX;
    let text = seal().ticket(&ticket);
    assert_eq!(seal().open_ticket(&text, &ticket.account, &KEY, u64::MAX - 1), Ok(ticket));
}

proptest! {
    #[test]
    fn no_text_panics(text in ".{0,200}", bytes: Vec<u8>, now: u64) {
        for text in [text, BASE64_URL_SAFE_NO_PAD.encode(bytes)] {
            prop_assert!(seal().open_credential(&text, now).is_err());
            prop_assert!(seal().open_ticket(&text, &credential().account, &KEY, now).is_err());
        }
    }
}
