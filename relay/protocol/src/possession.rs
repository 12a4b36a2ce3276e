//! How a client shows in each hello that it holds its private key.
//!
//! Both sides take 32 bytes from the TLS connection with the exporter label [`EXPORTER_LABEL`] and no context (RFC 8446
//! section 7.5). The client signs [`message`] of them with Ed25519 (RFC 8032). A signature is so of no use on
//! another connection: whoever copies a credential without its key cannot use it.

/// The exporter label.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-adit-1";

/// How many bytes are exported.
pub const EXPORTER_BYTES: usize = 32;

/// What the client signs.
pub fn message(exporter: &[u8; EXPORTER_BYTES]) -> Vec<u8> {
    [b"adit hello 1\0".as_slice(), exporter].concat()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_message_binds_the_connection() {
        assert_ne!(super::message(&[0; 32]), super::message(&[1; 32]));
    }
}
