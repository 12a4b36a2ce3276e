//! The loop that sends HTTP requests, Upgrades and TCP connections to an upstream, and sends them again where that is allowed.

use super::Proxy;
use crate::{
    ops::metrics::Count,
    routing::{
        route::Route,
        upstream::{self, Failure, Handled, Upstream},
    },
};
use http::Method;

/// Maximum attempts for one request.
const MAX_ATTEMPTS: usize = 2;

/// After which failures a request may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RetryPolicy {
    /// After each: the method is idempotent (RFC 9110 section 9.2.2).
    AnyFailure,
    /// After those that show that it was not processed.
    Unprocessed,
    /// After none: its body has been taken.
    Never,
}

impl RetryPolicy {
    /// The policy of an HTTP request. Its body can be sent once only.
    pub(super) fn of_request(method: &Method, is_body_taken: bool) -> Self {
        let is_idempotent = method.is_safe() || *method == Method::PUT || *method == Method::DELETE;
        match (is_body_taken, is_idempotent) {
            (true, _) => Self::Never,
            (false, true) => Self::AnyFailure,
            (false, false) => Self::Unprocessed,
        }
    }

    /// Whether another attempt is allowed after this many.
    fn allows_retry(self, attempts: usize, handled: Handled) -> bool {
        attempts < MAX_ATTEMPTS
            && match self {
                Self::AnyFailure => true,
                Self::Unprocessed => handled == Handled::No,
                Self::Never => false,
            }
    }
}

/// What is sent to an upstream, once or twice.
pub(super) trait Attempt: Send {
    /// The upstream's answer.
    type Answer: Send;
    /// Why there is none.
    type Error: From<Failure> + Send;

    /// Sends it to the upstream and waits for the head of the answer. It is not sent again after the last attempt.
    fn run(
        &mut self,
        upstream: &Upstream,
        is_last: bool,
    ) -> impl Future<Output = Result<Self::Answer, AttemptError<Self::Error>>> + Send;

    /// After which failures it may be sent again, as far as it was sent by now.
    fn retry_policy(&self) -> RetryPolicy;
}

/// Why an attempt has no answer.
#[derive(Debug)]
pub(super) enum AttemptError<E> {
    /// The upstream failed: the policy decides whether another may be tried.
    Upstream(Failure),
    /// No other upstream would do better.
    Final(E),
}

impl<E> From<Failure> for AttemptError<E> {
    fn from(failure: Failure) -> Self {
        Self::Upstream(failure)
    }
}

/// Selects an upstream and sends to it; after a failure that allows it, to one that was not tried.
///
/// # Errors
/// Why there is no answer.
pub(super) async fn send<A: Attempt>(
    proxy: &Proxy,
    route: &Route,
    attempt: &mut A,
) -> Result<(A::Answer, Upstream), A::Error> {
    let mut tried = vec![];
    loop {
        let upstream = upstream::select(&proxy.routing, route, &tried).await?;
        let attempts = tried.len() + 1;
        let failure = match attempt.run(&upstream, attempts == MAX_ATTEMPTS).await {
            Ok(answer) => return Ok((answer, upstream)),
            Err(AttemptError::Final(error)) => return Err(error),
            Err(AttemptError::Upstream(failure)) => failure,
        };
        if !attempt.retry_policy().allows_retry(attempts, failure.handled) {
            return Err(failure.into());
        }
        proxy.telemetry.lane().metrics.count(Count::Retries);
        tried.push(upstream.who);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_does_no_harm_is_sent_again() {
        use Handled::{Maybe, No};
        for (method, is_body_taken, after_maybe, after_no) in [
            ("GET", false, true, true),
            ("HEAD", false, true, true),
            ("OPTIONS", false, true, true),
            ("TRACE", false, true, true),
            ("PUT", false, true, true),
            ("DELETE", false, true, true),
            ("POST", false, false, true),
            ("PATCH", false, false, true),
            ("CONNECT", false, false, true),
            ("OTHER", false, false, true),
            ("GET", true, false, false),
            ("PUT", true, false, false),
            ("POST", true, false, false),
        ] {
            let policy = RetryPolicy::of_request(&method.parse().unwrap(), is_body_taken);
            let allowed = [Maybe, No].map(|handled| policy.allows_retry(1, handled));
            assert_eq!(allowed, [after_maybe, after_no], "{method}, body taken: {is_body_taken}");
            assert!(!policy.allows_retry(MAX_ATTEMPTS, No), "{method} after the last attempt");
        }
    }
}
