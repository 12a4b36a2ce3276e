//! Certificates and the TLS side of the public listeners.
