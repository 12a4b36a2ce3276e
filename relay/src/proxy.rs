//! Copies between a consumer and a stream.

pub mod body;
pub mod ending;
pub mod error_page;
pub mod headers;
pub mod http;
pub mod redirect;
pub mod refusal;
pub mod tcp;
pub mod upgrade;
