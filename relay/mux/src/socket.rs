//! The TCP options of a connection that carries sessions.

use std::io;
use tokio::net::TcpStream;

/// The value of `TCP_NOTSENT_LOWAT`: how many unsent bytes the kernel queues, beyond those in flight. They are ahead of every
/// later frame of any stream: on a line of 20 Mbit/s a whole [window](crate::STREAM_WINDOW_BYTES) takes 210 ms. The kernel
/// accepts up to 64 KiB more than this once it accepts any.
pub const NOTSENT_LOWAT_BYTES: u32 = 16 * 1024;

/// Sets `TCP_NODELAY`, so that small frames do not wait for acknowledgements, and on Linux `TCP_NOTSENT_LOWAT` to
/// [`NOTSENT_LOWAT_BYTES`] (tcp(7)).
///
/// # Errors
/// The system's refusal. The connection can be used nevertheless.
pub fn configure(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    #[cfg(any(target_os = "android", target_os = "linux"))]
    socket2::SockRef::from(tcp).set_tcp_notsent_lowat(NOTSENT_LOWAT_BYTES)?;
    Ok(())
}
