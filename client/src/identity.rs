//! The client's identity: its key, the id of this run, and the credential that relays issued.

pub(crate) mod file;

use crate::{problem::Problem, token::TokenSource};
use adit_protocol::{
    InstanceId, Proof, Welcome,
    possession::{self, EXPORTER_BYTES},
};
use adit_system::clock::now;
use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{Ed25519KeyPair, KeyPair},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use file::{SavedIdentity, StateFile};
use std::sync::{Mutex, MutexGuard};

/// A credential that ends within this many seconds is not used for a new session.
const MIN_CREDENTIAL_LIFETIME_S: u64 = 10;

/// A credential that a relay issued for a token, bound to the client's key.
#[derive(Clone)]
struct Credential {
    text: String,
    /// Seconds since 1970.
    expires: u64,
    /// The digest of the token that bought it: another token is another identity.
    token: Option<String>,
}

/// The client's identity. Its secrets stay inside.
pub(crate) struct Identity {
    instance: InstanceId,
    key: Ed25519KeyPair,
    tokens: Option<TokenSource>,
    credential: Mutex<Option<Credential>>,
    file: Option<StateFile>,
}

/// The proof of one hello.
pub(crate) struct PresentedProof {
    pub(crate) proof: Proof,
    /// The digest of the token that the proof stands on.
    token: Option<String>,
}

impl PresentedProof {
    /// The token's claims, as facts for a problem. A credential has none: only relays can read it.
    pub(crate) fn claims(&self) -> Vec<(&'static str, String)> {
        match &self.proof {
            Proof::Token { token } => crate::token::claims(token),
            Proof::Credential { .. } => vec![],
        }
    }

    /// Whether it was a credential rather than a token.
    pub(crate) fn is_credential(&self) -> bool {
        matches!(self.proof, Proof::Credential { .. })
    }
}

fn token_digest(token: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, token.as_bytes()))
}

/// A random identifier: the prefix and 16 letters and digits.
pub(crate) fn random_id<T: std::str::FromStr>(prefix: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let random: [u8; 16] = rand::random();
    let text: String = random.iter().map(|b| char::from(LETTERS[usize::from(*b) % LETTERS.len()])).collect();
    format!("{prefix}{text}").parse().expect("letters and digits are an identifier")
}

impl Identity {
    /// A new run of a client. With a file, the key and the credential of an earlier run go on.
    ///
    /// # Errors
    /// `internal` if the system gives no key.
    pub(crate) fn new(tokens: Option<TokenSource>, file: Option<StateFile>) -> Result<Self, Problem> {
        let failed = |_| Problem::new("internal").with("message", "the system makes no Ed25519 key");
        let saved = file.as_ref().and_then(StateFile::load);
        let (key, credential) = match saved.and_then(|saved| Some((saved.key_pair()?, saved))) {
            Some((key, saved)) => {
                let expires = saved.expires;
                (key, Some(Credential { text: saved.credential, expires, token: saved.token }))
            }
            None => (Ed25519KeyPair::generate().map_err(failed)?, None),
        };
        Ok(Self { instance: random_id("in_"), key, tokens, credential: Mutex::new(credential), file })
    }

    /// The id of this run.
    pub(crate) fn instance(&self) -> &InstanceId {
        &self.instance
    }

    /// The public key as it stands in a hello.
    pub(crate) fn public_key(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.key.public_key())
    }

    /// The signature that binds a hello to its connection.
    pub(crate) fn sign(&self, exporter: &[u8; EXPORTER_BYTES]) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.key.sign(&possession::message(exporter)))
    }

    fn credential(&self) -> MutexGuard<'_, Option<Credential>> {
        self.credential.lock().expect("no code panics while it holds this lock")
    }

    /// The proof for the next hello: the credential while it is valid, else a token.
    ///
    /// # Errors
    /// `token_missing`, or why the token cannot be read.
    pub(crate) async fn present(&self) -> Result<PresentedProof, Problem> {
        let usable = self.credential().clone().filter(|c| c.expires > now() + MIN_CREDENTIAL_LIFETIME_S);
        let Some(credential) = usable else {
            self.check_state_file()?;
            return self.present_token().await;
        };
        // A token that differs from the one that bought the credential may be another account's. Commands give a new
        // one each time, and a file that is gone says nothing.
        if let (Some(bought_by), Some(source)) = (&credential.token, &self.tokens)
            && !matches!(source, TokenSource::Command(_))
            && let Ok(token) = source.read().await
            && token_digest(&token) != *bought_by
        {
            return Ok(PresentedProof { token: Some(token_digest(&token)), proof: Proof::Token { token } });
        }
        Ok(PresentedProof {
            proof: Proof::Credential { credential: credential.text },
            token: credential.token,
        })
    }

    /// Fails if a token would be spent whose credential cannot be kept. A token command gives a fresh token each time.
    fn check_state_file(&self) -> Result<(), Problem> {
        let spends_token = matches!(self.tokens, Some(TokenSource::Text(_) | TokenSource::File(_)));
        match self.file.as_ref().filter(|_| spends_token) {
            Some(file) => file.check_writable(),
            None => Ok(()),
        }
    }

    /// The proof for a renewal that needs no token: the present credential, even shortly before it expires.
    ///
    /// # Errors
    /// As [`Identity::present_token`], if there is none.
    pub(crate) async fn present_credential(&self) -> Result<PresentedProof, Problem> {
        let credential = self.credential().clone();
        match credential {
            Some(credential) => Ok(PresentedProof {
                proof: Proof::Credential { credential: credential.text },
                token: credential.token,
            }),
            None => self.present_token().await,
        }
    }

    /// A fresh token.
    ///
    /// # Errors
    /// `token_missing`, or why it cannot be read.
    pub(crate) async fn present_token(&self) -> Result<PresentedProof, Problem> {
        let source = self.tokens.as_ref().ok_or_else(|| Problem::new("token_missing"))?;
        let token = source.read().await?;
        Ok(PresentedProof { token: Some(token_digest(&token)), proof: Proof::Token { token } })
    }

    /// Whether there is a token to fall back on when a credential is refused.
    pub(crate) fn has_token(&self) -> bool {
        self.tokens.is_some()
    }

    /// Drops a credential that a relay refused.
    pub(crate) fn forget_credential(&self) {
        *self.credential() = None;
    }

    /// Keeps the credential of a welcome.
    pub(crate) fn keep_welcome(&self, presented: &PresentedProof, welcome: &Welcome) {
        self.keep_credential(presented, welcome.credential.clone(), welcome.credential_expires);
    }

    /// Keeps a credential that a relay issued for this proof.
    pub(crate) fn keep_credential(&self, presented: &PresentedProof, text: String, expires: u64) {
        let kept = {
            let mut credential = self.credential();
            // Sessions renew one by one: the one that lasts longest serves all, unless the identity has changed.
            if credential.as_ref().is_some_and(|old| old.expires > expires && old.token == presented.token) {
                return;
            }
            credential.insert(Credential { text, expires, token: presented.token.clone() }).clone()
        };
        if let Some(file) = &self.file {
            let saved = SavedIdentity::new(&self.key, kept.text, kept.expires, kept.token);
            if let Err(error) = saved.and_then(|saved| file.save(&saved)) {
                tracing::warn!(error = %error, "the credential cannot be kept for the next start");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(token: &str) -> Option<TokenSource> {
        Some(TokenSource::Text(token.into()))
    }

    #[tokio::test]
    async fn a_credential_serves_until_it_ends_or_the_token_changes() {
        let folder = tempfile::tempdir().unwrap();
        let file = || Some(StateFile::new(folder.path(), "eu.example.com"));
        let first = Identity::new(text("a.a.a"), file()).unwrap();
        let presented = first.present().await.unwrap();
        assert!(matches!(&presented.proof, Proof::Token { token } if token == "a.a.a"));
        first.keep_credential(&presented, "sealed".into(), now() + 1000);
        assert!(first.present().await.unwrap().is_credential());

        let second = Identity::new(text("a.a.a"), file()).unwrap();
        assert_eq!(second.public_key(), first.public_key());
        assert_ne!(second.instance(), first.instance());
        assert!(second.present().await.unwrap().is_credential());
        assert!(Identity::new(None, file()).unwrap().present().await.unwrap().is_credential());
        let other = Identity::new(text("b.b.b"), file()).unwrap();
        assert!(!other.present().await.unwrap().is_credential());

        first.keep_credential(&presented, "late".into(), now() + 5);
        assert!(first.present().await.unwrap().is_credential(), "the longer one stays");
        first.forget_credential();
        assert!(!first.present().await.unwrap().is_credential());
        first.keep_credential(&presented, "late".into(), now() + 5);
        assert!(!first.present().await.unwrap().is_credential(), "too short for a session");
    }

    #[tokio::test]
    async fn no_token_is_spent_whose_credential_cannot_be_kept() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        let file = || Some(StateFile::new(&folder.path().join("file/adit"), "eu.example.com"));
        let problem = Identity::new(text("a.a.a"), file()).unwrap().present().await.err().unwrap();
        assert_eq!((problem.code.as_str(), problem.exit_code()), ("state_unwritable", 2));
        assert!(problem.message.ends_with("file/adit"), "{problem}");
        let command = Some(TokenSource::Command("echo a.b.c".into()));
        assert!(Identity::new(command, file()).unwrap().present().await.is_ok());
    }
}
