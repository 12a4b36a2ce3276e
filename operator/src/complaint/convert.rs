//! The same choices as the API and the store name them. The store does not know Kubernetes, so each has its own types.

use adit_api::complaint as api;

/// A decision, for the store.
pub(super) fn decision(decision: api::Decision) -> adit_store::Decision {
    match decision {
        api::Decision::Pending => adit_store::Decision::Pending,
        api::Decision::Acknowledged => adit_store::Decision::Acknowledged,
        api::Decision::Dismissed => adit_store::Decision::Dismissed,
        api::Decision::Lifted => adit_store::Decision::Lifted,
    }
}

/// A scope, for the store.
pub(super) fn scope(scope: api::Scope) -> adit_store::Scope {
    match scope {
        api::Scope::Account => adit_store::Scope::Account,
        api::Scope::Hostname => adit_store::Scope::Hostname,
    }
}

/// A phase, for the API.
pub(super) fn phase(phase: adit_store::Phase) -> api::Phase {
    match phase {
        adit_store::Phase::Open => api::Phase::Open,
        adit_store::Phase::Enforcing => api::Phase::Enforcing,
        adit_store::Phase::Enforced => api::Phase::Enforced,
        adit_store::Phase::Lifted => api::Phase::Lifted,
        adit_store::Phase::Dismissed => api::Phase::Dismissed,
        adit_store::Phase::Expired => api::Phase::Expired,
    }
}
