//! Over Redis.
