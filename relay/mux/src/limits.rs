//! What both ends of a session keep to, whatever its transport.

/// The most streams that a session carries at once, its control stream not counted.
pub const MAX_STREAMS: usize = 1000;

/// How many bytes of one stream may be unread: what a reader that stalls can hold at the other end.
pub const STREAM_WINDOW_BYTES: u32 = 512 * 1024;
