//! Who serves an endpoint now: in memory, or in Redis.
