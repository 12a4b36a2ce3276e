//! What a session needs of its TCP connection.

use std::io;
use tokio::net::TcpStream;

/// How many bytes may wait in the system before they are sent, beyond those that are on their way. Whatever waits there is
/// ahead of every later frame of any stream: on a line of 20 Mbit/s a whole [window](crate::STREAM_WINDOW_BYTES)
/// is 210 ms. The system takes up to 64 KiB more than this when it has room at all.
pub const UNSENT_BYTES: u32 = 16 * 1024;

/// Prepares a connection that will carry sessions: small frames do not wait for the acknowledgement of earlier ones, and
/// little waits in the system (`TCP_NOTSENT_LOWAT`, tcp(7); on Linux).
///
/// # Errors
/// When the system refuses; the connection works all the same.
pub fn prepare(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    #[cfg(any(target_os = "android", target_os = "linux"))]
    socket2::SockRef::from(tcp).set_tcp_notsent_lowat(UNSENT_BYTES)?;
    Ok(())
}
