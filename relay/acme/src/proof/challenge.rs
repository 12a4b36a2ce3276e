//! What the CA asks for one name.

/// A challenge of the CA for one name.
#[derive(Clone, Debug)]
pub(crate) struct Challenge {
    /// The name, without a wildcard.
    pub(crate) name: String,
    /// The CA's token.
    pub(crate) token: String,
    /// The key authorization.
    pub(crate) answer: String,
    /// Its digest as a TXT record has it.
    pub(crate) text: String,
}
