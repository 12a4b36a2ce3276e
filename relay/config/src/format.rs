//! The formats of texts, which schemas name by `format`.

use crate::{Invalid, PATH_FORMAT};
use std::str::FromStr;

/// Checks a text against one of this crate's formats, named by `format` in schemas.
///
/// # Errors
/// The rule that the text breaks. An unknown format accepts every text.
pub fn check_format(format: &str, text: &str) -> Result<(), Invalid> {
    match format {
        crate::access::ISSUER_FORMAT => crate::access::check_issuer(text),
        crate::duration::FORMAT => crate::duration::parse(text).map(drop),
        crate::name::FORMAT => crate::DnsName::from_str(text).map(drop),
        PATH_FORMAT => check_path(text),
        crate::size::FORMAT => crate::size::parse(text).map(drop),
        crate::version::FORMAT => crate::Version::from_str(text).map(drop),
        _ => Ok(()),
    }
}

fn check_path(text: &str) -> Result<(), Invalid> {
    let rule = match text {
        "" => "is empty",
        _ if text.len() > 4095 => "is too long: a path has at most 4095 bytes",
        _ if text.contains('\0') => "has a zero byte",
        _ => return Ok(()),
    };
    Err(Invalid::new(rule))
}
