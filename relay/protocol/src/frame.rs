//! The frame of the hello and its reply: four bytes of length, most significant first, then that many bytes of JSON.

use serde::{Serialize, de::DeserializeOwned};

/// The most bytes that the JSON of a hello or a reply may have.
pub const MAX_BYTES: usize = 64 * 1024;

/// The bytes of the length before the JSON.
pub const PREFIX_BYTES: usize = 4;

/// Why a frame cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The length before the JSON is 0 or more than [`MAX_BYTES`].
    #[error("a frame has 1 to {MAX_BYTES} bytes, this one {0}")]
    Length(usize),
    /// The JSON is not what was expected.
    #[error("not a valid frame")]
    Json(#[from] serde_json::Error),
}

/// The bytes of one frame.
///
/// # Errors
/// [`FrameError::Length`] if the message is longer than a frame may be.
pub fn encode(message: &impl Serialize) -> Result<Vec<u8>, FrameError> {
    let mut frame = vec![0; PREFIX_BYTES];
    serde_json::to_writer(&mut frame, message)?;
    let length = frame.len() - PREFIX_BYTES;
    let prefix =
        u32::try_from(length).ok().filter(|_| length <= MAX_BYTES).ok_or(FrameError::Length(length))?;
    frame[..PREFIX_BYTES].copy_from_slice(&prefix.to_be_bytes());
    Ok(frame)
}

/// How many bytes of JSON follow.
///
/// # Errors
/// [`FrameError::Length`] for 0 and for more than [`MAX_BYTES`].
pub fn length(prefix: [u8; PREFIX_BYTES]) -> Result<usize, FrameError> {
    let length = u32::from_be_bytes(prefix) as usize;
    if (1..=MAX_BYTES).contains(&length) { Ok(length) } else { Err(FrameError::Length(length)) }
}

/// The message of a frame's JSON.
///
/// # Errors
/// [`FrameError::Json`] if it is something else.
pub fn decode<T: DeserializeOwned>(json: &[u8]) -> Result<T, FrameError> {
    Ok(serde_json::from_slice(json)?)
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

    proptest::proptest! {
        #[test]
        fn garbage_is_an_error_and_never_a_panic(json: Vec<u8>) {
            let _ = decode::<Hello>(&json);
        }
    }
}
