//! Credentials and tickets as text that only relays of the region can make and read.
//!
//! `base64url(version || nonce || AES-256-GCM(JSON) || tag)`. Each purpose has a key of its own, derived from the
//! region's key with HKDF-SHA-256 (RFC 5869). Version, purpose and, for tickets, account and client's key are
//! authenticated with it (RFC 5116). Nonces are random: one region key is good for 2^32 texts of one purpose.

use super::{
    Credential, CredentialError, RegionKeys, Ticket, TicketError,
    ticket::{self, TicketPayload},
};
use adit_protocol::Account;
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey},
    hkdf,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Serialize, de::DeserializeOwned};

/// The most characters of a credential that are read: all that a token of the longest kind can bring fits.
const MAX_CREDENTIAL_CHARS: usize = 32 * 1024;
/// The most characters of a ticket that are read.
const MAX_TICKET_CHARS: usize = 1024;
const VERSION: u8 = 1;
const NONCE_BYTES: usize = 12;
const SALT: &[u8] = b"adit region key";

/// Makes and opens credentials and tickets. The first of the region's keys seals, each of them opens.
#[derive(Debug)]
pub struct ProofSealer {
    credentials: Vec<PurposeKey>,
    tickets: Vec<PurposeKey>,
}

impl ProofSealer {
    /// Derives what it needs from the region's keys.
    pub fn new(keys: &RegionKeys) -> Self {
        let sealers = |purpose| keys.each().map(|key| PurposeKey::new(key, purpose)).collect();
        Self { credentials: sealers("credential"), tickets: sealers("ticket") }
    }

    /// A credential as text.
    pub fn credential(&self, credential: &Credential) -> String {
        self.credentials[0].seal(credential, &[])
    }

    /// Opens a credential. Its key has to be compared with the client's by the caller.
    ///
    /// # Errors
    /// It is not one of this region, or it is over: [`CredentialError`].
    pub fn open_credential(&self, text: &str, now: u64) -> Result<Credential, CredentialError> {
        let opened = open::<Credential>(&self.credentials, text, MAX_CREDENTIAL_CHARS, &[]);
        let credential = opened.filter(|credential| credential.account.is_valid());
        let credential = credential.ok_or(CredentialError::Invalid)?;
        credential.check(now).map(|()| credential)
    }

    /// A ticket as text.
    pub fn ticket(&self, ticket: &Ticket) -> String {
        self.tickets[0].seal(&TicketPayload::of(ticket), &ticket_context(&ticket.account, &ticket.key))
    }

    /// Opens a ticket that was made for this account and key. Its instance has to be compared by the caller.
    ///
    /// # Errors
    /// It is not one of this region and client, or it is over: [`TicketError`].
    pub fn open_ticket(
        &self,
        text: &str,
        account: &Account,
        key: &[u8; 32],
        now: u64,
    ) -> Result<Ticket, TicketError> {
        let opened = open::<ticket::TicketPayload>(
            &self.tickets,
            text,
            MAX_TICKET_CHARS,
            &ticket_context(account, key),
        );
        let ticket = opened.ok_or(TicketError::Invalid)?.ticket(account, key);
        if now >= ticket.expires.saturating_add(super::EXPIRY_LEEWAY_SECONDS) {
            return Err(TicketError::Expired);
        }
        Ok(ticket)
    }
}

/// Two accounts never give the same bytes: the issuer's length and the key's end the parts.
fn ticket_context(account: &Account, key: &[u8; 32]) -> Vec<u8> {
    let issuer = account.issuer.as_bytes();
    [key.as_slice(), &(issuer.len() as u64).to_be_bytes(), issuer, account.subject.as_bytes()].concat()
}

fn open<T: DeserializeOwned>(sealers: &[PurposeKey], text: &str, max: usize, context: &[u8]) -> Option<T> {
    if text.len() > max {
        return None;
    }
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
    sealers.iter().find_map(|sealer| sealer.open(&bytes, context))
}

/// One key for one purpose.
#[derive(Debug)]
struct PurposeKey {
    purpose: &'static str,
    key: RandomizedNonceKey,
}

impl PurposeKey {
    fn new(region_key: &[u8; 32], purpose: &'static str) -> Self {
        let mut key = [0; 32];
        hkdf::Salt::new(hkdf::HKDF_SHA256, SALT)
            .extract(region_key)
            .expand(&[purpose.as_bytes()], hkdf::HKDF_SHA256)
            .and_then(|derived| derived.fill(&mut key))
            .expect("HKDF-SHA-256 gives 32 bytes");
        let key = RandomizedNonceKey::new(&AES_256_GCM, &key).expect("AES-256 has keys of 32 bytes");
        Self { purpose, key }
    }

    fn seal(&self, value: &impl Serialize, context: &[u8]) -> String {
        let mut inside = serde_json::to_vec(value).expect("credentials and tickets are plain JSON");
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(self.associated_data(context)), &mut inside)
            .expect("AES-GCM seals what fits into memory, and the system has random bytes");
        BASE64_URL_SAFE_NO_PAD.encode([&[VERSION], nonce.as_ref().as_slice(), &inside].concat())
    }

    fn open<T: DeserializeOwned>(&self, bytes: &[u8], context: &[u8]) -> Option<T> {
        let (version, rest) = bytes.split_first()?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_BYTES)?;
        if *version != VERSION {
            return None;
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let authenticated = Aad::from(self.associated_data(context));
        let inside = self.key.open_in_place(nonce, authenticated, &mut sealed).ok()?;
        serde_json::from_slice(inside).ok()
    }

    fn associated_data(&self, context: &[u8]) -> Vec<u8> {
        [&[VERSION], self.purpose.as_bytes(), &[0], context].concat()
    }
}

#[cfg(test)]
mod tests;
