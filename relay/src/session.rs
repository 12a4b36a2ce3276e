//! One client's connection: hello, admission, control, drain.
