//! The configuration of a relay: relay.yaml and ADIT_* variables, validated before any socket opens.
