//! Writing numbers and text into a line, without the machinery of `fmt`.

use std::net::IpAddr;

/// The most bytes of a header that a line repeats.
const MAX_HEADER_BYTES: usize = 1024;

/// Writes a piece of text in the escaping of the line's format.
pub(super) type Escape = fn(&mut Vec<u8>, &[u8]);

pub(super) fn push_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Three digits.
pub(super) fn push_thousandths(out: &mut Vec<u8>, number: u32) {
    let digit = |n: u32| b'0' + (n % 10) as u8;
    out.extend_from_slice(&[digit(number / 100), digit(number / 10), digit(number)]);
}

pub(super) fn push_address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            for (i, octet) in address.octets().into_iter().enumerate() {
                if i > 0 {
                    out.push(b'.');
                }
                push_number(out, u64::from(octet));
            }
        }
        IpAddr::V6(address) => {
            use std::io::Write as _;
            let _ = write!(out, "{address}");
        }
    }
}

/// Text as JSON wants it within quotes. Bytes that are not UTF-8 become the characters of the same number.
pub(super) fn json(out: &mut Vec<u8>, text: &[u8]) {
    let raw_above_ascii = text.is_ascii() || std::str::from_utf8(text).is_ok();
    escaped(
        out,
        text,
        |b| b < 0x20 || b == b'"' || b == b'\\' || b == 0x7f || (b >= 0x80 && !raw_above_ascii),
        |out, b| match b {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', b]),
            b => {
                out.extend_from_slice(b"\\u00");
                push_hex(out, b);
            }
        },
    );
}

/// Text as Apache writes it within quotes.
pub(super) fn apache(out: &mut Vec<u8>, text: &[u8]) {
    escaped(
        out,
        text,
        |b| !(0x20..0x7f).contains(&b) || b == b'"' || b == b'\\',
        |out, b| match b {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', b]),
            b => {
                out.extend_from_slice(b"\\x");
                push_hex(out, b);
            }
        },
    );
}

/// Copies what needs no escaping in one piece.
fn escaped(out: &mut Vec<u8>, mut text: &[u8], needs: impl Fn(u8) -> bool, push: impl Fn(&mut Vec<u8>, u8)) {
    while let Some(at) = text.iter().position(|b| needs(*b)) {
        out.extend_from_slice(&text[..at]);
        push(out, text[at]);
        text = &text[at + 1..];
    }
    out.extend_from_slice(text);
}

fn push_hex(out: &mut Vec<u8>, byte: u8) {
    let digit = |n: u8| b"0123456789abcdef"[usize::from(n & 15)];
    out.extend_from_slice(&[digit(byte >> 4), digit(byte)]);
}

/// A header's bytes, cut where they are too long.
pub(super) fn truncate(value: &http::HeaderValue) -> &[u8] {
    let bytes = value.as_bytes();
    if bytes.len() <= MAX_HEADER_BYTES {
        return bytes;
    }
    // A cut within a character would make the rest look as if it were not UTF-8.
    let mut end = MAX_HEADER_BYTES;
    while end > MAX_HEADER_BYTES - 4 && bytes[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    &bytes[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(push: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        push(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_and_addresses_read_as_fmt_writes_them() {
        for number in [0, 9, 10, 4_100, u64::MAX] {
            assert_eq!(made(|out| push_number(out, number)), number.to_string());
        }
        assert_eq!(made(|out| push_thousandths(out, 7)), "007");
        for address in ["203.0.113.70", "0.0.0.0", "2001:db8::1"] {
            assert_eq!(made(|out| push_address(out, address.parse().unwrap())), address);
        }
    }

    #[test]
    fn apache_escapes_what_a_terminal_would_act_on() {
        assert_eq!(made(|out| apache(out, b"a\"b\\c\x1b[31m\xff")), "a\\\"b\\\\c\\x1b[31m\\xff");
    }

    proptest::proptest! {
        #[test]
        fn json_reads_back(bytes in proptest::collection::vec(0_u8..=255, 0..60)) {
            let text = made(|out| { out.push(b'"'); json(out, &bytes); out.push(b'"'); });
            let back: String = serde_json::from_str(&text).unwrap();
            let expected = match std::str::from_utf8(&bytes) {
                Ok(text) => text.to_owned(),
                Err(_) => bytes.iter().map(|b| char::from(*b)).collect(),
            };
            proptest::prop_assert_eq!(back, expected);
        }
    }
}
