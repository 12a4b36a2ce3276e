//! Retries after failures that soon pass: a refused nonce, a CA that does not answer.

use crate::client::CallError;
use instant_acme::Error;
use std::time::Duration;

/// The maximum number of tries of an operation whose nonce is refused. The ACME crate tries three times within each.
const MAX_NONCE_TRIES: usize = 12;
/// The maximum number of tries of an operation that cannot connect. A CA that restarts is soon back.
const MAX_CONNECT_TRIES: usize = 20;
/// The delay between those.
const CONNECT_RETRY_DELAY: Duration = Duration::from_secs(1);

/// The delay before another try, if one may succeed.
pub(crate) fn retry_delay(
    error: &Error,
    nonces: &mut usize,
    connects: &mut usize,
    names: usize,
) -> Option<Duration> {
    match error {
        Error::Api(problem) if problem.r#type.as_deref().is_some_and(|kind| kind.ends_with(":badNonce")) => {
            *nonces += 1;
            (*nonces < MAX_NONCE_TRIES + names).then_some(Duration::ZERO)
        }
        Error::Other(other) => match other.downcast_ref::<CallError>()? {
            CallError::Connect(..) | CallError::Broken(..) => {
                *connects += 1;
                (*connects < MAX_CONNECT_TRIES).then_some(CONNECT_RETRY_DELAY)
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
                Err(error) => match $crate::retry::retry_delay(&error, &mut nonces, &mut connects, $names) {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => break Err($crate::error::IssueError::from(error)),
                },
                Ok(done) => break Ok(done),
            }
        }
    }};
}

pub(crate) use attempt;
