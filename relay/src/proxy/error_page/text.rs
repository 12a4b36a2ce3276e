//! What each code means to a consumer.

use adit_protocol::Code;
use http::StatusCode;

/// The words for one code.
pub(super) struct Text {
    pub(super) status: StatusCode,
    /// The same at every occurrence: the `title` of problem+json.
    pub(super) title: &'static str,
    /// The page's heading. One that begins with a space follows the host name.
    pub(super) heading: &'static str,
    /// What it means, in one or two sentences.
    pub(super) detail: &'static str,
    /// What the tunnel's owner can do; a command between backquotes.
    pub(super) owner: Option<&'static str>,
    /// Seconds after which another try may succeed. `None`: trying again changes nothing.
    pub(super) retry_after: Option<u32>,
    /// The status code of gRPC. 14 (UNAVAILABLE) is what may pass.
    pub(super) grpc: u8,
}

const STATUS_HINT: Option<&str> = Some("On the computer that publishes it, run `adit status`.");

const fn text(status: StatusCode, title: &'static str, heading: &'static str, detail: &'static str) -> Text {
    Text { status, title, heading, detail, owner: None, retry_after: None, grpc: 14 }
}

const fn passing(mut text: Text, retry_after: u32) -> Text {
    text.owner = STATUS_HINT;
    text.retry_after = Some(retry_after);
    text
}

const fn with_grpc(mut text: Text, grpc: u8) -> Text {
    text.grpc = grpc;
    text
}

/// The status of a response that reports `code`.
pub fn status(code: Code) -> StatusCode {
    of(code).status
}

static UNKNOWN_HOST: Text = Text {
    owner: Some("Run `adit status` to see which addresses are yours."),
    ..text(
        StatusCode::NOT_FOUND,
        "Unknown host",
        "Nothing is published at this address",
        "The address may be mistyped, or whoever published something here has given it up.",
    )
};
static SERVICE_DOWN: Text = passing(
    text(
        StatusCode::BAD_GATEWAY,
        "Service down",
        " does not answer right now",
        "The tunnel works; the service behind it does not answer.",
    ),
    5,
);
static SERVICE_PROTOCOL: Text = Text {
    owner: Some("Look at the service's own log: it sent something that is not HTTP."),
    retry_after: None,
    ..passing(
        text(
            StatusCode::BAD_GATEWAY,
            "Invalid answer",
            " sent an answer that cannot be read",
            "The tunnel works; what the service behind it sent is not a valid answer.",
        ),
        0,
    )
};
static SESSION_LOST: Text = passing(
    text(
        StatusCode::BAD_GATEWAY,
        "Connection lost",
        " was cut off",
        "The connection was lost before the answer came. The request may have been carried out.",
    ),
    1,
);
static TUNNEL_OFFLINE: Text = passing(
    text(
        StatusCode::SERVICE_UNAVAILABLE,
        "Tunnel offline",
        " is not connected right now",
        "The computer behind this site is offline. It may come back.",
    ),
    5,
);
static PAUSED: Text = Text {
    owner: Some("In the terminal where `adit` runs, press p to go on."),
    ..passing(
        text(
            StatusCode::SERVICE_UNAVAILABLE,
            "Tunnel paused",
            " is paused",
            "Whoever publishes this site has paused it for now.",
        ),
        30,
    )
};
static SERVICE_TIMEOUT: Text = passing(
    text(
        StatusCode::GATEWAY_TIMEOUT,
        "Service timeout",
        " took too long to answer",
        "The tunnel works; the service behind it did not answer in time.",
    ),
    5,
);
static SUSPENDED: Text = with_grpc(
    text(StatusCode::FORBIDDEN, "Suspended", "This site is offline", "It was taken offline by the provider."),
    7,
);
static BAD_REQUEST: Text = with_grpc(
    text(
        StatusCode::BAD_REQUEST,
        "Bad request",
        "This request cannot be understood",
        "The request breaks a rule of HTTP.",
    ),
    13,
);
static MISDIRECTED: Text = text(
    StatusCode::MISDIRECTED_REQUEST,
    "Misdirected request",
    "This request came on the wrong connection",
    "The host name of the request is not the one that the connection was made for.",
);
static BODY_TOO_LARGE: Text = with_grpc(
    text(
        StatusCode::PAYLOAD_TOO_LARGE,
        "Body too large",
        "This upload is too large",
        "The request's body is larger than this tunnel takes.",
    ),
    8,
);
static HEADERS_TOO_LARGE: Text = with_grpc(
    text(
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        "Headers too large",
        "This request's headers are too large",
        "The request has more header fields or longer ones than are read. Deleting this site's cookies may help.",
    ),
    8,
);
static RATE_LIMITED: Text = passing(
    text(
        StatusCode::TOO_MANY_REQUESTS,
        "Rate limited",
        " gets too many requests",
        "More requests came in a second than this tunnel takes.",
    ),
    1,
);
static TOO_MANY_STREAMS: Text = passing(
    text(
        StatusCode::SERVICE_UNAVAILABLE,
        "Too many requests at once",
        " is busy",
        "As many requests are open as this tunnel takes at once.",
    ),
    1,
);
static OVERLOADED: Text = text_busy("Overloaded", "More requests are open than can be served here.");
static DRAINING: Text = text_busy("Draining", "This server is being replaced; another one takes over.");
static UNAVAILABLE: Text =
    text_busy("Temporarily unavailable", "Something that is needed for this request is away.");
static INTERNAL: Text = text(
    StatusCode::INTERNAL_SERVER_ERROR,
    "Internal error",
    "Something went wrong here",
    "The fault is neither yours nor the site's.",
);

const fn text_busy(title: &'static str, detail: &'static str) -> Text {
    let text = text(StatusCode::SERVICE_UNAVAILABLE, title, "This page cannot be shown right now", detail);
    Text { owner: None, ..passing(text, 5) }
}

pub(super) fn of(code: Code) -> &'static Text {
    match code {
        Code::UnknownHost => &UNKNOWN_HOST,
        Code::ServiceDown => &SERVICE_DOWN,
        Code::ServiceProtocol | Code::ProtocolError => &SERVICE_PROTOCOL,
        Code::SessionLost => &SESSION_LOST,
        Code::TunnelOffline | Code::Replaced => &TUNNEL_OFFLINE,
        Code::Paused => &PAUSED,
        Code::ServiceTimeout => &SERVICE_TIMEOUT,
        Code::Suspended => &SUSPENDED,
        Code::BadRequest => &BAD_REQUEST,
        Code::Misdirected => &MISDIRECTED,
        Code::BodyTooLarge => &BODY_TOO_LARGE,
        Code::HeadersTooLarge => &HEADERS_TOO_LARGE,
        Code::RateLimited => &RATE_LIMITED,
        Code::TooManyStreams => &TOO_MANY_STREAMS,
        Code::Overloaded => &OVERLOADED,
        Code::Draining => &DRAINING,
        Code::RegistryUnavailable | Code::StoreUnavailable => &UNAVAILABLE,
        // The other codes answer clients, never consumers.
        _ => &INTERNAL,
    }
}
