//! The configuration sections that relay.yaml and a Region share.
