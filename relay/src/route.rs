//! From a consumer's Host to an endpoint.
