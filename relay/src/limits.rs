//! What an account may use, counted and refused.
