//! Secrets in URLs, masked before they are written.

use super::text::Escape;

/// What stands in place of a secret.
const MASK: &[u8] = b"***";

/// A parameter that has one of these in its name is a secret.
const SECRET_NAME_PARTS: &[&[u8]] = &[
    b"token",
    b"secret",
    b"passw",
    b"signature",
    b"apikey",
    b"api_key",
    b"access_key",
    b"credential",
    b"session",
    b"jwt",
    b"assertion",
    b"authorization",
    b"private",
];
/// A parameter of exactly this name is a secret.
const SECRET_NAMES: &[&[u8]] = &[
    b"key",
    b"code",
    b"auth",
    b"sig",
    b"sid",
    b"pwd",
    b"pass",
    b"pin",
    b"otp",
    b"sas",
    b"ticket",
    b"samlresponse",
];

/// The most bytes of a parameter's name that are looked at.
const MAX_NAME_BYTES: usize = 64;

/// Writes a target or a URL: the values of secret parameters masked, a user's password too.
pub(super) fn push(out: &mut Vec<u8>, url: &[u8], escape: Escape) {
    let url = push_authority(out, url, escape);
    let Some(query) = url.iter().position(|b| *b == b'?') else {
        escape(out, url);
        return;
    };
    escape(out, &url[..=query]);
    let mut rest = &url[query + 1..];
    loop {
        let end = rest.iter().position(|b| matches!(b, b'&' | b';' | b'#')).unwrap_or(rest.len());
        push_parameter(out, &rest[..end], escape);
        if end == rest.len() {
            return;
        }
        escape(out, &rest[end..=end]);
        rest = &rest[end + 1..];
    }
}

fn push_parameter(out: &mut Vec<u8>, parameter: &[u8], escape: Escape) {
    match parameter.iter().position(|b| *b == b'=') {
        Some(equals) if equals + 1 < parameter.len() && is_secret(&parameter[..equals]) => {
            escape(out, &parameter[..=equals]);
            out.extend_from_slice(MASK);
        }
        _ => escape(out, parameter),
    }
}

/// `https://user:password@host/` keeps its host alone. Returns what follows the user.
fn push_authority<'a>(out: &mut Vec<u8>, url: &'a [u8], escape: Escape) -> &'a [u8] {
    if url.first() == Some(&b'/') {
        return url;
    }
    let Some(scheme) = url.windows(3).take(16).position(|w| w == b"://") else { return url };
    let start = scheme + 3;
    let end =
        url[start..].iter().position(|b| matches!(b, b'/' | b'?' | b'#')).map_or(url.len(), |e| start + e);
    let Some(at) = url[start..end].iter().rposition(|b| *b == b'@') else { return url };
    escape(out, &url[..start]);
    out.extend_from_slice(MASK);
    &url[start + at..]
}

/// Whether a parameter of this name, perhaps percent-encoded, holds a secret.
fn is_secret(name: &[u8]) -> bool {
    let mut plain = [0; MAX_NAME_BYTES];
    let mut len = 0;
    let mut at = 0;
    while at < name.len() && len < plain.len() {
        let (byte, step) = match name.get(at + 1..at + 3) {
            Some(&[high, low]) if name[at] == b'%' => match (hex(high), hex(low)) {
                (Some(high), Some(low)) => (high << 4 | low, 3),
                _ => (name[at], 1),
            },
            _ => (name[at], 1),
        };
        plain[len] = if byte == b'-' { b'_' } else { byte.to_ascii_lowercase() };
        len += 1;
        at += step;
    }
    let plain = &plain[..len];
    SECRET_NAMES.contains(&plain)
        || SECRET_NAME_PARTS.iter().any(|part| plain.windows(part.len()).any(|window| window == *part))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::access_log::text::json;

    fn masked(url: &str) -> String {
        let mut out = Vec::new();
        push(&mut out, url.as_bytes(), json);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn secrets_in_the_query_are_masked_and_the_rest_is_not() {
        assert_eq!(masked("/a?b=c&d"), "/a?b=c&d");
        assert_eq!(masked("/a?access_token=x&b=c&Password=y"), "/a?access_token=***&b=c&Password=***");
        assert_eq!(masked("/a?key=x;code=y#token=z"), "/a?key=***;code=***#token=***");
        assert_eq!(
            masked("/a?X-Amz-Signature=x&X-Amz-Credential=y&X-Amz-Date=1"),
            "/a?X-Amz-Signature=***&X-Amz-Credential=***&X-Amz-Date=1"
        );
        assert_eq!(
            masked("/a?%74oken=x&user%5Bpassword%5D=y&api-key=z"),
            "/a?%74oken=***&user%5Bpassword%5D=***&api-key=***"
        );
        assert_eq!(
            masked("/a?token=&token&keyboard=qwerty&%=1&%zz=2"),
            "/a?token=&token&keyboard=qwerty&%=1&%zz=2"
        );
        assert_eq!(masked("/token/secret"), "/token/secret");
        assert_eq!(masked("/a?token=x?token=y"), "/a?token=***");
        assert_eq!(masked("*"), "*");
        assert_eq!(masked(""), "");
    }

    #[test]
    fn a_referer_keeps_no_user() {
        assert_eq!(masked("https://me:pw@shop.example/a?token=x"), "https://***@shop.example/a?token=***");
        assert_eq!(masked("https://shop.example/@me"), "https://shop.example/@me");
        assert_eq!(masked("https://shop.example"), "https://shop.example");
    }

    proptest::proptest! {
        #[test]
        fn no_secret_is_ever_shown(before in "[a-z=&;?]{0,12}", name in "(token|api_key|x-secret|pass)") {
            let url = format!("/p?{before}&{name}=TOPSECRET&end=1");
            proptest::prop_assert!(!masked(&url).contains("TOPSECRET"), "{}", masked(&url));
        }
    }
}
