//! Bytes in: the adapters that hear devices.
//!
//! Each takes sockets, says who is speaking, and hands uplinks to the pipeline's intake. Invariant: no adapter knows a
//! unit, a limit or a table; what a payload means is the profile's business.

pub mod broker;
pub mod modbus;
pub mod mqtt;
