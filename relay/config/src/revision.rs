//! The revision of a relay's configuration.

use aws_lc_rs::digest::{SHA256, digest};

/// The revision of a configuration: a digest of the contents of its files in any order, 16 hexadecimal digits. The relay and
/// the operator compute the same one.
pub fn of<'a>(files: impl Iterator<Item = &'a [u8]>) -> String {
    let mut digests: Vec<_> = files.map(|bytes| digest(&SHA256, bytes)).collect();
    digests.sort_by(|a, b| a.as_ref().cmp(b.as_ref()));
    let all: Vec<u8> = digests.iter().flat_map(|one| one.as_ref().to_vec()).collect();
    digest(&SHA256, &all).as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(files: &[&str]) -> String {
        of(files.iter().map(|text| text.as_bytes()))
    }

    #[test]
    fn a_revision_is_of_contents_and_not_of_their_order() {
        assert_eq!(revision(&["a", "b"]), revision(&["b", "a"]));
        assert_eq!(revision(&["a", "b"]).len(), 16);
        for other in [&["a"][..], &["ab"], &["a", "b", "b"], &["a", "c"], &[]] {
            assert_ne!(revision(&["a", "b"]), revision(other), "{other:?}");
        }
    }
}
