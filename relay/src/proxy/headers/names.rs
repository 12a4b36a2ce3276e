//! Header names that end at the relay.

/// Whether `name` is `wanted`, also when written with `_` in place of `-`. Services that turn names into variables
/// (CGI, WSGI, PHP) cannot tell the two apart.
fn same(name: &[u8], wanted: &[u8]) -> bool {
    name.len() == wanted.len() && begins(name, wanted)
}

fn begins(name: &[u8], wanted: &[u8]) -> bool {
    name.len() >= wanted.len() && name.iter().zip(wanted).all(|(n, w)| n == w || (*n == b'_' && *w == b'-'))
}

/// `name` is `wanted` with a `_` in it, and so an attempt to be taken for it.
fn alias(name: &[u8], wanted: &[u8]) -> bool {
    name != wanted && same(name, wanted)
}

/// Whether a header of either direction belongs to one connection alone (RFC 9110 section 7.6.1), or to Adit.
pub(super) fn ends_here(name: &[u8]) -> bool {
    match name.first() {
        Some(b'a') => begins(name, b"adit-"),
        Some(b'c') => name == b"connection",
        Some(b'k') => same(name, b"keep-alive"),
        Some(b'p') => begins(name, b"proxy-") || name == b"proxy",
        Some(b't') => name == b"te" || same(name, b"transfer-encoding"),
        Some(b'u') => name == b"upgrade",
        _ => false,
    }
}

/// Whether a consumer's header must not reach the service: what ends here, and what the relay alone may say.
/// `proxy` is among them because CGI would make it `HTTP_PROXY`.
pub(super) fn is_stripped(name: &[u8]) -> bool {
    match name.first() {
        Some(b'c') => name == b"connection" || alias(name, b"content-length"),
        Some(b'e') => name == b"expect",
        Some(b'f') => name == b"forwarded",
        Some(b'h') => name == b"host" || same(name, b"http2-settings"),
        Some(b'x') => begins(name, b"x-forwarded") || same(name, b"x-real-ip"),
        _ => ends_here(name),
    }
}

/// Whether a trailer would change how a message is framed, routed or attributed after the fact (RFC 9110 section 6.5.1).
pub(super) fn is_forbidden_trailer(name: &[u8]) -> bool {
    is_stripped(name) || same(name, b"content-length") || name == b"trailer"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_underscores_are_no_way_round() {
        for stripped in [
            "connection",
            "keep-alive",
            "keep_alive",
            "proxy-connection",
            "proxy_authorization",
            "proxy",
            "te",
            "transfer-encoding",
            "transfer_encoding",
            "upgrade",
            "expect",
            "host",
            "http2-settings",
            "forwarded",
            "x-forwarded-for",
            "x_forwarded_for",
            "x-forwarded_proto",
            "x-forwarded",
            "x-forwarded-anything",
            "x-real-ip",
            "x_real-ip",
            "adit-tunnel",
            "adit_tunnel",
            "adit-",
            "content_length",
        ] {
            assert!(is_stripped(stripped.as_bytes()), "{stripped}");
        }
        for kept in [
            "content-length",
            "content-type",
            "cookie",
            "authorization",
            "via",
            "x-request-id",
            "x-real",
            "aditx",
            "adit",
            "user-agent",
            "accept",
            "trailer",
            "te-x",
            "upgrade-insecure-requests",
            "",
            "x-forwarde",
        ] {
            assert!(!is_stripped(kept.as_bytes()), "{kept}");
        }
    }
}
