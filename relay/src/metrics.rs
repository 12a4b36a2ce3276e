//! Counters and timers in the Prometheus text format.
