//! The occasion of a frame.

use super::super::number::Clock;
use crate::event::Time;

/// The terminal and time that a frame is made for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    /// The present.
    pub(crate) now: Time,
    /// The terminal's columns.
    pub(crate) width: usize,
    /// The terminal's rows.
    pub(crate) height: usize,
    /// The local time zone.
    pub(crate) clock: Clock,
    /// Whether there is a keyboard: only then are keys shown.
    pub(crate) keys: bool,
}
