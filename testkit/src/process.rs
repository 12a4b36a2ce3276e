//! Programs that end with the test.
