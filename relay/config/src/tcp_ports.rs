//! The range of public TCP ports.

use crate::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The public TCP ports that tunnels of the kind `tcp` can have. Every relay of the region listens on all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TcpPorts {
    /// The first port.
    #[schemars(range(min = 1, max = 65535))]
    pub first: u16,
    /// The last port, at least the first; the range has at most 1000 ports.
    #[schemars(range(min = 1, max = 65535))]
    pub last: u16,
}

impl TcpPorts {
    /// The most ports that one range may have.
    pub const MAX: usize = 1000;

    /// Whether the range has this port.
    pub fn contains(&self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }

    /// All ports of the range, in order.
    pub fn iter(&self) -> impl Iterator<Item = u16> + use<> {
        self.first..=self.last
    }

    /// What is wrong with the fields together.
    pub fn problems(&self) -> Vec<Problem> {
        let Self { first, last } = *self;
        if last < first {
            return vec![Problem::value("last", last, format!("is less than first, {first}"))];
        }
        let count = usize::from(last - first) + 1;
        if count > Self::MAX {
            return vec![Problem::value(
                "last",
                last,
                format!("makes a range of {count} ports: at most {} are allowed", Self::MAX),
            )];
        }
        Vec::new()
    }
}
