//! Bytes in.
