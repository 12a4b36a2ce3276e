//! The keys that seal credentials and tickets.

use adit_acme::SealingKey;
use base64::{Engine, prelude::BASE64_STANDARD};
use std::fmt;

/// The most keys of one region: the new and the old one of a rotation, and some that were forgotten.
const MAX_KEYS: usize = 4;

/// The keys that seal credentials and tickets: 32 random bytes each, the same at every relay of a region.
///
/// The file has one key a line in base64, for example from `openssl rand -base64 32`. To change the key without sending
/// clients back for a new token, add the new one as the second line at every relay, then make it the first, then take
/// the old one out: each step ends once every relay has been started with it.
#[derive(Clone, PartialEq, Eq)]
pub struct RegionKeys(Vec<[u8; 32]>);

/// A region key file that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRegionKey {
    /// No line has a key.
    #[error("has no key: it needs 32 random bytes in base64, as openssl rand -base64 32 prints them")]
    Empty,
    /// A line is something else.
    #[error("line {line} is not 32 bytes in base64")]
    Line {
        /// Counted from 1.
        line: usize,
    },
    /// There are more than a rotation needs.
    #[error("has more than {MAX_KEYS} keys")]
    TooMany,
}

impl RegionKeys {
    /// A new random key.
    pub(super) fn generate() -> Self {
        let mut key = [0; 32];
        aws_lc_rs::rand::fill(&mut key).expect("the system has random bytes");
        Self(vec![key])
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// [`InvalidRegionKey`]; no error shows what the file has.
    pub fn parse(text: &[u8]) -> Result<Self, InvalidRegionKey> {
        let lines = text.split(|b| *b == b'\n').map(<[u8]>::trim_ascii).enumerate();
        let keys: Vec<[u8; 32]> = lines
            .filter(|(_, line)| !line.is_empty())
            .map(|(index, line)| {
                let bytes = BASE64_STANDARD.decode(line).ok().and_then(|bytes| bytes.try_into().ok());
                bytes.ok_or(InvalidRegionKey::Line { line: index + 1 })
            })
            .collect::<Result<_, _>>()?;
        match keys.len() {
            0 => Err(InvalidRegionKey::Empty),
            1..=MAX_KEYS => Ok(Self(keys)),
            _ => Err(InvalidRegionKey::TooMany),
        }
    }

    /// The file's text.
    pub(super) fn to_text(&self) -> String {
        self.0.iter().map(|key| BASE64_STANDARD.encode(key) + "\n").collect()
    }

    /// The keys to which private keys of certificates are sealed, one for each region key.
    pub fn sealing_keys(&self) -> Vec<SealingKey> {
        self.0.iter().map(|key| SealingKey::of(key)).collect()
    }

    /// The keys, at least one; the first seals.
    pub(super) fn each(&self) -> impl Iterator<Item = &[u8; 32]> {
        self.0.iter()
    }
}

impl fmt::Debug for RegionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RegionKeys(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_one_key_a_line() {
        let keys = RegionKeys(vec![[1; 32], [2; 32]]);
        assert_eq!(RegionKeys::parse(keys.to_text().as_bytes()), Ok(keys.clone()));
        let spaced = format!("\n  {}\r\n\n", keys.to_text().replace('\n', "\r\n"));
        assert_eq!(RegionKeys::parse(spaced.as_bytes()), Ok(keys.clone()));
        assert_eq!(RegionKeys::parse(b" \n"), Err(InvalidRegionKey::Empty));
        assert_eq!(RegionKeys::parse(b"\nAAAA"), Err(InvalidRegionKey::Line { line: 2 }));
        assert_eq!(RegionKeys::parse(&[0xff; 32]), Err(InvalidRegionKey::Line { line: 1 }));
        let many = keys.to_text().repeat(3);
        assert_eq!(RegionKeys::parse(many.as_bytes()), Err(InvalidRegionKey::TooMany));
        assert_eq!(format!("{keys:?}"), "RegionKeys(***)");
        assert_ne!(RegionKeys::generate(), RegionKeys::generate());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            RegionKeys::parse(&bytes).ok();
        }
    }
}
