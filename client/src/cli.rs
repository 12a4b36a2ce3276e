//! What the command adit does with the library: arguments, files, the terminal.
