//! The frame of the hello and its reply: the length as four bytes in network order, then that many bytes of JSON.

use serde::{Serialize, de::DeserializeOwned};

/// The most bytes of the JSON of a hello or a reply.
pub const MAX_BYTES: usize = 64 * 1024;

/// The bytes of the length that precedes the JSON.
pub const PREFIX_BYTES: usize = 4;

/// Why a frame cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The length before the JSON is 0 or more than [`MAX_BYTES`].
    #[error("a frame has 1 to {MAX_BYTES} bytes, this one {0}")]
    Length(usize),
    /// The JSON is not valid, or not of the expected type as a whole.
    #[error("not a valid frame")]
    Json(#[from] serde_json::Error),
    /// A field of the JSON is not of the expected type.
    #[error("{path}")]
    Field {
        /// The field's path, for example `tunnels[0].kind`.
        path: String,
        /// The rule that it breaks.
        source: serde_json::Error,
    },
}

/// The frame of a message.
///
/// # Errors
/// [`FrameError::Length`] if the message has more than [`MAX_BYTES`].
pub fn encode(message: &impl Serialize) -> Result<Vec<u8>, FrameError> {
    let mut frame = vec![0; PREFIX_BYTES];
    serde_json::to_writer(&mut frame, message)?;
    let length = frame.len() - PREFIX_BYTES;
    let prefix =
        u32::try_from(length).ok().filter(|_| length <= MAX_BYTES).ok_or(FrameError::Length(length))?;
    frame[..PREFIX_BYTES].copy_from_slice(&prefix.to_be_bytes());
    Ok(frame)
}

/// The number of bytes of JSON that follow a length prefix.
///
/// # Errors
/// [`FrameError::Length`] if it is 0 or more than [`MAX_BYTES`].
pub fn length(prefix: [u8; PREFIX_BYTES]) -> Result<usize, FrameError> {
    let length = u32::from_be_bytes(prefix) as usize;
    if (1..=MAX_BYTES).contains(&length) { Ok(length) } else { Err(FrameError::Length(length)) }
}

/// Decodes the JSON of a frame.
///
/// # Errors
/// [`FrameError::Json`] or [`FrameError::Field`] if it is not of this type.
pub fn decode<T: DeserializeOwned>(json: &[u8]) -> Result<T, FrameError> {
    let mut from = serde_json::Deserializer::from_slice(json);
    let message = serde_path_to_error::deserialize(&mut from).map_err(|error| {
        let path = error.path().to_string();
        let source = error.into_inner();
        if path == "." { FrameError::Json(source) } else { FrameError::Field { path, source } }
    })?;
    from.end()?;
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Hello;

    #[test]
    fn lengths_are_bounded() {
        assert!(matches!(length([0; 4]), Err(FrameError::Length(0))));
        assert!(matches!(length([0, 1, 0, 1]), Err(FrameError::Length(65537))));
        assert_eq!(length([0, 1, 0, 0]).unwrap(), MAX_BYTES);
        assert!(matches!(length(*b"GET "), Err(FrameError::Length(_))));
        assert!(matches!(encode(&"x".repeat(MAX_BYTES)), Err(FrameError::Length(_))));
    }

    #[test]
    fn an_error_names_its_field() {
        let error = |json: &str| {
            let error = decode::<Hello>(json.as_bytes()).unwrap_err();
            let source = std::error::Error::source(&error).unwrap().to_string();
            (error.to_string(), source)
        };
        assert_eq!(error(r#"{"versions": "1"}"#).0, "versions");
        assert_eq!(error(r#"{"versions": [1, -1]}"#).0, "versions[1]");
        let (path, source) = error("{}");
        assert!(
            path == "not a valid frame" && source.contains("missing field `versions`"),
            "{path}: {source}"
        );
        assert!(error(&"[".repeat(60_000)).1.contains("line 1"));
    }

    proptest::proptest! {
        #[test]
        fn a_hello_with_any_value_is_read_or_refused(
            field in "versions|mux|clientVersion|proof|key|signature|instance|avoid|tunnels",
            value in "null|-1|1e999|\"x\"|[0-9]{1,25}|\\[\\[\\]\\]|\\{\"type\":\"token\"\\}|\\[\\{\\}\\]|[\\[\\]{}:,\"0-9a-z]{0,20}",
        ) {
            let json = format!(
                r#"{{"versions":[1],"mux":["h2"],"clientVersion":"1","proof":{{"type":"token","token":"x"}},
                "key":"","signature":"","instance":"i","{field}":{value}}}"#
            );
            if let Err(error) = decode::<Hello>(json.as_bytes()) {
                proptest::prop_assert!(error.to_string().len() < 200);
            }
        }

        #[test]
        fn garbage_is_an_error_and_never_a_panic(json: Vec<u8>) {
            let _ = decode::<Hello>(&json);
        }
    }
}
