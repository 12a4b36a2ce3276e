//! `-v`: the library's steps as lines of the log: `2026-11-21T10:41:07Z resolved host=… ms=3`.

use crate::event::Time;
use std::{fmt, io};
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    EnvFilter,
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{DefaultFields, Writer},
    },
    registry::LookupSpan,
};

/// Writes the library's events to stderr from now on.
pub(super) fn log_library() {
    let lines = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("adit=debug"))
        .with_writer(io::stderr)
        .with_ansi(false)
        .fmt_fields(DefaultFields::new())
        .event_format(LogLine);
    // A second subscriber cannot be installed, and there is none.
    let _ = lines.try_init();
}

/// The time, the message and the fields: neither level nor module, which say nothing to a user.
struct LogLine;

impl<S, N> FormatEvent<S, N> for LogLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(writer, "{} ", Time::now().to_seconds())?;
        context.field_format().format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}
