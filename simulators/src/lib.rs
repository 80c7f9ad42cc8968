//! # townsim: a seeded town of fake devices
//!
//! Stands in for the real town when the hub is tried, tested or shown: five hundred devices that publish over
//! real MQTT, and sluice gates that answer real Modbus TCP. It shares no code with the hub; the two meet on the wire.
//!
//! ## Code map, in the order in which a reading comes to be
//!
//! - [`town`] is what stands where: read from `towns/wuzhen/`, exported as GeoJSON and CSV. [`geo`] is its map.
//! - [`rain`], [`sewer`], [`canal`], [`gate`], [`supply`], [`parking`] are the physics: small, without I/O, and
//!   no water, car or rain is made or lost.
//! - [`script`] is what happens, and when.
//! - [`world`] joins them: moved on by its owner, who passes in the time; returns what the devices do.
//! - [`device`] turns a reading into the bytes of its model.
//! - [`mqtt`] and [`modbus`] are the wires, [`provision`] tells the hub what there is, [`secret`] makes the
//!   devices' passwords, and [`run`](mod@run) puts all of it together.
//!
//! ## Invariants
//!
//! - Only [`run`](mod@run) reads the clock; everything below gets the time as a number.
//! - All chance comes from [`random`], by one seed. Same town, script, seed and times: same bytes.
//! - The layout of the town does not depend on the seed of a run, so that a second run finds the same things.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod canal;
pub mod device;
pub mod gate;
pub mod geo;
pub mod modbus;
pub mod mqtt;
pub mod parking;
pub mod provision;
pub mod rain;
pub mod random;
pub mod run;
pub mod script;
pub mod secret;
pub mod sewer;
pub mod supply;
pub mod town;
pub mod world;
