//! The region's routing table, whole in every relay.
