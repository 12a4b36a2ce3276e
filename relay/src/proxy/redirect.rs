//! What plain HTTP gets where it is not served: the same address by HTTPS.

use super::{Proxy, answer::Answer, headers::Target};
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, Uri, header};

/// 308 keeps method and body (RFC 9110 section 15.4.9).
pub(super) fn response(proxy: &Proxy, target: &Target, uri: &Uri) -> Response<Answer> {
    let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let port = if proxy.routing.public_port == 443 {
        String::new()
    } else {
        format!(":{}", proxy.routing.public_port)
    };
    let location = format!("https://{}{port}{path}", target.host());
    let mut response = Response::new(Answer::Page(Bytes::new()));
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}
