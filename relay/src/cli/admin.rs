//! `adit-relay admin`: the client side of the admin API.

pub mod act;
pub mod client;
pub mod complaints;
pub mod table;

#[cfg(test)]
mod tests;
