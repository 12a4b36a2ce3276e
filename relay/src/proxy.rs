//! Copies between a consumer and a stream.

pub mod body;
pub mod error_page;
pub mod headers;
pub mod http;
pub mod redirect;
pub mod refusal;
pub mod request_record;
pub mod tcp;
pub mod upgrade;
