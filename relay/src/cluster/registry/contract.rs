//! What both registries do alike: each test runs with each of them, in a region of several relays.

mod claims;
mod races;
mod region;
mod relays;

/// Makes of each function a test with each registry.
macro_rules! contract {
    ($($(#[$attribute:meta])* $name:ident,)*) => {
        mod memory {
            $($(#[$attribute])* #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::cluster::registry::contract::region::Region::memory()).await;
            })*
        }
        mod redis {
            $($(#[$attribute])* #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::cluster::registry::contract::region::Region::redis()).await;
            })*
        }
    };
}
use contract;
pub(super) use region::{Region, Relay, within};
