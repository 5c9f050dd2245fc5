//! Within one process.
