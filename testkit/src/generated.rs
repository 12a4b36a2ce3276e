//! Files in the repository that a test derives from the code.

use std::{fs, path::Path};

/// Asserts that a file, named from the root of the repository, holds this text. With `BLESS=1` in the environment it
/// writes the file first.
///
/// # Panics
/// If the file differs; the message says how to write it.
pub fn assert_generated(file: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, text).expect("the repository can be written");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == text, "{file} is stale: run this test with BLESS=1 and commit the file");
}
