//! TCP to the first of several addresses that answers (RFC 8305, "Happy Eyeballs").

use std::{io, net::SocketAddr, time::Duration};
use tokio::{net::TcpStream, task::JoinSet, time::sleep};

/// How long one address has before the next is tried beside it.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Connects to whichever address answers first; each starts a moment after the one before it, or once that has failed.
///
/// # Errors
/// The first address's error if none answers.
pub(super) async fn connect(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    if let [only] = addresses {
        return TcpStream::connect(only).await;
    }
    let mut waiting = addresses.iter().copied().enumerate();
    let mut tries = JoinSet::new();
    let mut error: Option<(usize, io::Error)> = None;
    loop {
        let started = match waiting.next() {
            Some((place, address)) => {
                tries.spawn(async move { (place, TcpStream::connect(address).await) });
                true
            }
            None => false,
        };
        tokio::select! {
            Some(done) = tries.join_next() => match done {
                Ok((_, Ok(tcp))) => return Ok(tcp),
                Ok((place, Err(new))) => {
                    if error.as_ref().is_none_or(|(first, _)| place < *first) {
                        error = Some((place, new));
                    }
                }
                Err(_) => {}
            },
            () = sleep(ATTEMPT_DELAY), if started && waiting.len() > 0 => {}
            else => return Err(error.map_or_else(|| io::ErrorKind::NotFound.into(), |(_, error)| error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn an_address_that_refuses_does_not_keep_from_the_next() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let nobody = adit_testkit::port::Port::take();
        let closed = nobody.address();
        let tcp = connect(&[closed, good]).await.unwrap();
        assert_eq!(tcp.peer_addr().unwrap(), good);
        let error = connect(&[closed, closed]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn an_address_that_is_silent_loses_the_race() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        // A listener whose queue is full answers no SYN.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let full = socket.listen(1).unwrap();
        let silent = full.local_addr().unwrap();
        let mut held = vec![];
        // Its own connections are made within a moment, also on a busy machine.
        while let Ok(Ok(tcp)) = tokio::time::timeout(Duration::from_secs(1), TcpStream::connect(silent)).await
        {
            held.push(tcp);
        }
        let tcp = connect(&[silent, good]).await.unwrap();
        assert_eq!(tcp.peer_addr().unwrap(), good);
    }
}
