//! The durable, global store of a provider: SQLite or Postgres.
