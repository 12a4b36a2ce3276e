//! A line in the combined format, with the request id behind it: `%h - - %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i" ID`.
//!
//! Log readers that know the combined format pass over what stands behind it.

use super::{
    LogEntry, redact,
    stamp::TimestampCache,
    text::{apache, push_address, push_number, truncate},
};

pub(super) fn push(out: &mut Vec<u8>, entry: &LogEntry<'_>, stamp: &mut TimestampCache) {
    push_address(out, entry.consumer.ip());
    out.extend_from_slice(b" - - [");
    stamp.push_apache(out, entry.time_us);
    out.extend_from_slice(b"] \"");
    apache(out, entry.method.as_bytes());
    out.push(b' ');
    // The format has no field for the host: an absolute target keeps it, and log readers understand it.
    if entry.version.is_some() {
        out.extend_from_slice(if entry.secure { b"https://" } else { b"http://" });
    }
    apache(out, entry.host.as_bytes());
    redact::push(out, entry.target.as_bytes(), apache);
    out.push(b' ');
    out.extend_from_slice(entry.protocol().as_bytes());
    out.extend_from_slice(b"\" ");
    push_or_dash(out, entry.status.map(u64::from));
    out.push(b' ');
    push_or_dash(out, Some(entry.bytes_out).filter(|bytes| *bytes > 0));
    out.extend_from_slice(b" \"");
    match entry.referer {
        Some(referer) => redact::push(out, truncate(referer), apache),
        None => out.push(b'-'),
    }
    out.extend_from_slice(b"\" \"");
    match entry.user_agent {
        Some(agent) => apache(out, truncate(agent)),
        None => out.push(b'-'),
    }
    out.extend_from_slice(b"\" ");
    out.extend_from_slice(&entry.request_id.to_bytes());
    out.push(b'\n');
}

fn push_or_dash(out: &mut Vec<u8>, number: Option<u64>) {
    match number {
        Some(number) => push_number(out, number),
        None => out.push(b'-'),
    }
}
