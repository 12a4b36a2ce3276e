//! What a consumer sees instead of an answer.
