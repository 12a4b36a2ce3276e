//! The section tls.acme.

use super::{Validator, shown};
use crate::config::{
    Acme, PairError, files,
    raw::{Challenge, RawAcme, RawDns, RawExternalAccount},
};
use adit_acme::{
    Binding, Ca, Dns01, Proof,
    dns::{InvalidTsigKey, TsigKey},
};
use adit_config::{DnsName, Path as Field, problem::quoted};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use std::path::Path;

/// A valid key in base64 and base64url, for a configuration that is only looked at.
const UNCHECKED_SECRET: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

impl Validator<'_> {
    pub(super) fn acme(&mut self, raw: RawAcme, domain: &DnsName) -> Option<Acme> {
        let own = domain.as_str();
        let names = if raw.names.is_empty() {
            let second = if raw.challenge == Challenge::Dns01 { "*" } else { "connect" };
            vec![own.to_owned(), format!("{second}.{own}")]
        } else {
            raw.names
        };
        self.acme_names(&names, raw.challenge);
        let proof = match (raw.challenge, raw.dns) {
            (Challenge::Dns01, Some(dns)) => self.dns(dns).map(Proof::Dns01),
            (Challenge::Dns01, None) => {
                self.problem("tls.acme.challenge", "\"dns01\" needs the section tls.acme.dns");
                None
            }
            (_, Some(_)) => {
                self.problem("tls.acme.dns", "has no effect without challenge: dns01");
                None
            }
            (Challenge::Http01, None) => Some(Proof::Http01),
            (Challenge::TlsAlpn01, None) => Some(Proof::TlsAlpn01),
        };
        let bundle = raw.ca_bundle.map(|path| {
            let path = self.path("tls.acme.caBundle", &path);
            match files::load_certificates(&path) {
                Ok(_) => {}
                Err(PairError::Cert(error)) => {
                    self.unreadable(Field::keys("tls.acme.caBundle"), &path, &error);
                }
                Err(error) => self.problem("tls.acme.caBundle", format!("{} {error}", shown(&path))),
            }
            std::fs::read_to_string(&path).unwrap_or_default()
        });
        let binding = raw.external_account.map(|account| self.binding(account));
        if binding == Some(None) {
            return None;
        }
        let ca = Ca {
            directory: raw.server,
            email: raw.email,
            binding: binding.flatten(),
            bundle,
            profile: raw.profile,
        };
        let renew_before = raw.renew_before.map(|before| before.0.as_secs());
        Some(Acme { names, ca, proof: proof?, renew_before, resolvers: raw.resolvers })
    }

    fn acme_names(&mut self, names: &[String], challenge: Challenge) {
        for (index, name) in names.iter().enumerate() {
            let field = Field::keys("tls.acme.names").join(index);
            let mut problem = |text: String| {
                self.problems
                    .push(adit_config::Problem::new(field.clone(), format!("{} {text}", quoted(name))));
            };
            if names[..index].contains(name) {
                problem("is there twice".to_owned());
            }
            if name.starts_with("*.") && challenge != Challenge::Dns01 {
                problem("is a wildcard, which only the challenge dns01 can prove".to_owned());
            }
        }
    }

    /// A secret from a file of one line; [`UNCHECKED_SECRET`] in place of one that this user may not read.
    fn secret(&mut self, field: &str, path: &Path) -> Option<String> {
        let path = self.file(Field::keys(field), path);
        if self.unchecked.contains(&path) {
            return Some(UNCHECKED_SECRET.to_owned());
        }
        let text = files::open(&path).ok().and_then(|_| std::fs::read_to_string(&path).ok())?;
        Some(text.trim().to_owned())
    }

    fn dns(&mut self, raw: RawDns) -> Option<Dns01> {
        let secret = self.secret("tls.acme.dns.key", &raw.key)?;
        match TsigKey::new(&raw.key_name, &secret) {
            Ok(key) => Some(Dns01::Rfc2136 { server: raw.server, key }),
            Err(error @ InvalidTsigKey::Name) => {
                self.problem("tls.acme.dns.keyName", format!("{}: {error}", quoted(&raw.key_name)));
                None
            }
            Err(error @ InvalidTsigKey::Key) => {
                let path = self.path("tls.acme.dns.key", &raw.key);
                self.problem("tls.acme.dns.key", format!("{}: {error}", shown(&path)));
                None
            }
        }
    }

    fn binding(&mut self, raw: RawExternalAccount) -> Option<Binding> {
        let field = "tls.acme.externalAccount.key";
        let secret = self.secret(field, &raw.key)?;
        match BASE64_URL_SAFE_NO_PAD.decode(secret.trim_end_matches('=')) {
            Ok(key) if !key.is_empty() => Some(Binding { key_id: raw.key_id, key }),
            _ => {
                let path = self.path(field, &raw.key);
                self.problem(field, format!("{} is not a key in base64url", shown(&path)));
                None
            }
        }
    }
}
