//! One line for each request that a consumer made.
