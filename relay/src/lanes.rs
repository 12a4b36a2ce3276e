//! One single-threaded runtime for each core.
