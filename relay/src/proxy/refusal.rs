//! Why a consumer gets a page of the relay's own instead of the service's answer.

use super::{
    Proxy,
    answer::Answer,
    error_page::{Failure as Page, Requester},
    headers::BadRequest,
};
use crate::{
    accounts::LimitExceeded,
    ops::access_log::RequestId,
    routing::{route::NoRoute, upstream::Failure},
};
use adit_protocol::Code;
use http::Response;

/// A request that the relay answers itself.
#[derive(Debug)]
pub(super) struct Refusal {
    /// What the consumer is told.
    pub(crate) code: Code,
    bad: Option<BadRequest>,
    retry_after: Option<u32>,
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Self { code, bad: None, retry_after: None }
    }
}

impl From<BadRequest> for Refusal {
    fn from(bad: BadRequest) -> Self {
        Self { code: bad.code, bad: Some(bad), retry_after: None }
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        failure.code.into()
    }
}

impl From<NoRoute> for Refusal {
    fn from(none: NoRoute) -> Self {
        match none {
            NoRoute::Offline => Code::TunnelOffline.into(),
            NoRoute::Unknown => Code::UnknownHost.into(),
        }
    }
}

impl From<LimitExceeded> for Refusal {
    fn from(exceeded: LimitExceeded) -> Self {
        let seconds = exceeded.retry_after.map(|wait| wait.as_secs_f64().ceil().max(1.0) as u32);
        Self { code: exceeded.code, bad: None, retry_after: seconds }
    }
}

impl Refusal {
    /// Whether the request breaks a rule of HTTP.
    pub(super) fn is_bad_request(&self) -> bool {
        self.bad.is_some()
    }

    /// The response that says so.
    pub(super) fn page(
        &self,
        proxy: &Proxy,
        asker: Requester,
        host: Option<&str>,
        id: RequestId,
        now_us: u64,
    ) -> Response<Answer> {
        let mut page = Page::new(self.code, host, id, now_us);
        page.abuse = Some(proxy.abuse.as_str()).filter(|abuse| !abuse.is_empty());
        page.retry_after = self.retry_after;
        page.bad = self.bad.as_ref();
        page.response(asker).map(Answer::Page)
    }
}
