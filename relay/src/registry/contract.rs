//! What both registries do alike.
