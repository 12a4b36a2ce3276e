//! Tries after failures that soon pass: a nonce that was refused, a CA that is not at home.

use crate::client::CallError;
use instant_acme::Error;
use std::time::Duration;

/// How often an operation is tried whose nonce was refused: the ACME crate tries three times within each.
const NONCE_TRIES: usize = 12;
/// How often one is tried that found nobody at home: a CA that starts anew is soon back.
const CONNECT_TRIES: usize = 20;
/// The pause between those.
const CONNECT_PAUSE: Duration = Duration::from_secs(1);

/// Whether another try may do better, and the pause before it.
pub(crate) fn again(
    error: &Error,
    nonces: &mut usize,
    connects: &mut usize,
    names: usize,
) -> Option<Duration> {
    match error {
        Error::Api(problem) if problem.r#type.as_deref().is_some_and(|kind| kind.ends_with(":badNonce")) => {
            *nonces += 1;
            (*nonces < NONCE_TRIES + names).then_some(Duration::ZERO)
        }
        Error::Other(other) => match other.downcast_ref::<CallError>()? {
            CallError::Connect(..) | CallError::Broken(..) => {
                *connects += 1;
                (*connects < CONNECT_TRIES).then_some(CONNECT_PAUSE)
            }
            _ => None,
        },
        // What instant-acme says of a nonce that it could not get: the server is in trouble, which may pass.
        _ => None,
    }
}

/// Tries an operation until it succeeds or another try is of no use.
macro_rules! attempt {
    ($names:expr, $operation:expr) => {{
        let (mut nonces, mut connects) = (0, 0);
        loop {
            match $operation {
                Err(error) => match $crate::retry::again(&error, &mut nonces, &mut connects, $names) {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => break Err($crate::failure::Failure::from(error)),
                },
                Ok(done) => break Ok(done),
            }
        }
    }};
}

pub(crate) use attempt;
