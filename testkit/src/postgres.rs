//! A real PostgreSQL server.
