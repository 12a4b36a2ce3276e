//! Services and consumers that speak HTTP.
