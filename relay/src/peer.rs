//! Links between the relays of a region.
