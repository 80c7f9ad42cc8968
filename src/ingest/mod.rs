//! Bytes in.

pub mod modbus;
