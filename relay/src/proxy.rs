//! Copies between a consumer and a stream.

pub mod error_page;
pub mod headers;
