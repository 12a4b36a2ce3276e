//! One line for each request that a consumer made, and the id by which it is found again.

pub mod request_id;

pub use request_id::{RequestId, RequestIds, now_us};
