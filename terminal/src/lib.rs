//! Text for terminals, as all Adit programs print it: tables, column widths, ages, and foreign text made harmless.
//!
//! Nothing here writes to a terminal or asks for its size: functions take and return text.

mod age;
mod escape;
mod table;
mod width;

pub use age::age;
pub use escape::escape;
pub use table::Table;
pub use width::{pad, prefix, truncate, width};
