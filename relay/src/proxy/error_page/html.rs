//! Failures for people.

use super::{Failure, text};
use base64::Engine;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, header};
use std::{fmt::Write as _, sync::LazyLock};

static STYLE: &str = include_str!("style.css");

/// Nothing but this page's own style may load, and no other page may frame it.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, STYLE.as_bytes());
    let hash = base64::engine::general_purpose::STANDARD.encode(digest);
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).expect("only printable ASCII")
});

/// `try_again`: the request was a GET or a HEAD, so that a link repeats it.
pub(super) fn response(failure: &Failure<'_>, try_again: bool) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(page(failure, try_again)));
    *response.status_mut() = failure.status();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(HeaderName::from_static("x-robots-tag"), HeaderValue::from_static("noindex"));
    response
}

fn page(failure: &Failure<'_>, try_again: bool) -> String {
    let words = text::of(failure.code);
    let status = failure.status().as_u16();
    let heading = heading(words.heading, failure.host);
    let mut page = String::with_capacity(STYLE.len() + 2048);
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{status}: {heading}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<main>\n<p class=\"status\">{status}</p>\n<h1>{heading}</h1>\n"
    );
    page.push_str("<p>");
    match failure.bad {
        Some(bad) => {
            page.push_str("It is refused: ");
            push_escaped(&mut page, bad.why);
            page.push('.');
        }
        None => push_escaped(&mut page, words.detail),
    }
    page.push_str("</p>\n");
    if try_again && failure.retry_after().is_some() {
        page.push_str("<p><a class=\"again\" href=\"\">Try again</a></p>\n");
    }
    if let Some(owner) = words.owner {
        page.push_str("<details>\n<summary>Is this yours?</summary>\n<p>");
        push_with_commands(&mut page, owner);
        page.push_str("</p>\n</details>\n");
    }
    page.push_str("</main>\n");
    push_footer(&mut page, failure);
    page.push_str("</body>\n</html>\n");
    page
}

fn heading(heading: &str, host: Option<&str>) -> String {
    let mut text = String::new();
    if heading.starts_with(' ') {
        push_escaped(&mut text, host.unwrap_or("This site"));
    }
    push_escaped(&mut text, heading);
    text
}

fn push_footer(page: &mut String, failure: &Failure<'_>) {
    let _ = write!(page, "<footer>\n<ul>\n<li>Request <code>{}</code></li>\n", failure.request_id);
    let seconds = (failure.now_us / 1_000_000).min(i64::MAX as u64) as i64;
    if let Ok(time) = time::OffsetDateTime::from_unix_timestamp(seconds) {
        let (date, clock) = (time.date(), time.time());
        let (h, m, s) = (clock.hour(), clock.minute(), clock.second());
        let _ = writeln!(
            page,
            "<li><time datetime=\"{date}T{h:02}:{m:02}:{s:02}Z\">{date} {h:02}:{m:02}:{s:02} UTC</time></li>"
        );
    }
    if let Some(abuse) = failure.abuse.filter(|abuse| !abuse.is_empty()) {
        let scheme = if abuse.contains("://") { "" } else { "mailto:" };
        let _ = write!(page, "<li><a href=\"{scheme}");
        push_escaped(page, abuse);
        page.push_str("\">Report abuse</a></li>\n");
    }
    page.push_str("</ul>\n</footer>\n");
}

fn push_with_commands(page: &mut String, text: &str) {
    for (i, part) in text.split('`').enumerate() {
        let tags = if i % 2 == 1 { ("<code>", "</code>") } else { ("", "") };
        page.push_str(tags.0);
        push_escaped(page, part);
        page.push_str(tags.1);
    }
}

fn push_escaped(page: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => page.push_str("&amp;"),
            '<' => page.push_str("&lt;"),
            '>' => page.push_str("&gt;"),
            '"' => page.push_str("&quot;"),
            '\'' => page.push_str("&#39;"),
            c => page.push(c),
        }
    }
}
