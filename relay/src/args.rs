//! The command line of adit-relay.
