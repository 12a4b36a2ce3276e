//! The ops port: /livez, /readyz and /metrics.
