//! Proof of possession: how a client shows in each hello that it holds its private key.
//!
//! Both sides take 32 bytes from the TLS connection with the exporter label [`EXPORTER_LABEL`] and no context (RFC 8446
//! section 7.5). The client signs [`message`] of them with Ed25519 (RFC 8032). A signature is valid on its own connection
//! alone: a credential cannot be used without its key.

/// The exporter label.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-adit-1";

/// The number of exported bytes.
pub const EXPORTER_BYTES: usize = 32;

/// The message that the client signs.
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
