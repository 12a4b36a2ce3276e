//! The service loop: health, registration, leases.
