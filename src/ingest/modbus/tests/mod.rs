//! The poller against servers: one that misbehaves on demand, and tokio-modbus's own.
//!
//! Time is paused where the server is reached through a pipe in memory (`paused`); over real sockets
//! (`sockets`) it runs, because the runtime would move a paused clock while bytes are on their way.

mod bench;
mod chaos;
mod chaos_server;
mod cost;
mod fault_server;
mod fleet;
mod learning;
mod orders;
mod paused;
pub(super) mod profile;
mod sockets;
