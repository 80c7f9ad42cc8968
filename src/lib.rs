//! townhub: the city brain of a town. Devices report into it, it keeps every reading, watches limits, and serves a live
//! map.
//!
//! # Code map
//!
//! The rooms stand in the order in which the data walks. A room knows [`model`] and what it is handed; it never knows a
//! room that stands behind it, with the exceptions that are named here.
//!
//! - [`model`]: the words that every room shares. *Never here: behaviour of a room, time, I/O.*
//! - [`clock`]: the one door to time. *Nothing else asks what time it is;* pacing (timeouts, intervals) is tokio's.
//! - [`calendar`]: when people work: working hours, working days, holidays. Pure.
//! - [`config`]: one typed struct per room.
//! - [`audit`]: who changed what: append-only and hash-chained, written in the transaction of the change. Every room that
//!   writes the town's state file knows it. *Never here: a decision, a secret.*
//! - [`link`]: a client's link to a broker that is not the hub's own, in one shape for both versions of MQTT. (A notifier's
//!   message to a broker is a connection of its own.) *Never here: a topic's meaning, a queue.*
//! - [`registry`]: assets, devices, zones, accounts: the town's own state, its spatial index, its imports.
//!   *Never here: a reading.*
//! - [`ingest`]: bytes in. [`ingest::mqtt`] is the front door, [`ingest::broker`] hears another broker instead of it or
//!   beside it, [`ingest::modbus`] are the pollers. All hand uplinks to [`pipeline::Intake`]. Services at the door have a
//!   broker of ours, one state machine without I/O; of rumqttd the codec is used, behind our own checks, because its router
//!   passed two thirds of the standards' statements and ours passes all that `tests/hub` names. *Never here: a unit, a limit,
//!   a table; a device's session never reaches the broker.*
//! - [`codec`]: foreign code. LoRaWAN codecs, run in child processes with nothing around them. *Never here: a profile, an
//!   envelope; never in the hub's own process: a codec.*
//! - [`profile`]: meaning. Device profiles and the decoders compiled from them, one for each payload
//!   format. *Never here: a scaled value.*
//! - [`normalize`]: one shape. Derived points follow from what came. *Only here does a value change its unit and get
//!   its quality.*
//! - [`store`]: memory. Every measurement, durable: in the hub's own file, and for the far past in an engine of others behind
//!   it, which may be away; [`store::keep`] says for how long. *Never here: a profile, an asset; never before the own file:
//!   an engine.*
//! - [`alert`]: judgement. One owner, no locks, no clock. *No I/O but its own tables.*
//! - [`case`]: what people do about alerts, from the first look to the sensor's agreement. One owner, one log.
//!   *Never here: a reading; whether a sensor agrees is asked of [`case::Evidence`].*
//! - [`trouble`]: what is wrong with the hub itself, now and since when. The hub asks the rooms and hands it what it found.
//!   *Never here: another room; a device that is silent (that is an alert).*
//! - [`notify`]: who is told of alerts, cases and troubles, once, and by what way. It follows the logs of these rooms.
//!   *Never here: a judgement, a move; none of them knows it.*
//! - [`report`]: how well the town runs its loop, told from the logs of [`alert`] and [`case`] whenever it is asked for.
//!   *Never here: a figure that is kept.*
//! - [`live`]: the live feed, encoded once, pushed to every map. *Never here: a queue per client.*
//! - [`pipeline`]: the way joined: `Intake` (decode, normalize) → `Committer` (append, acknowledge) → `Judge` (latest,
//!   alerts, live). It knows the rooms from `profile` to `live`; adapters know it.
//! - [`bridge`]: the town's readings, alerts and cases go up to another broker or hub. It follows the store's commits and the
//!   logs of alerts and cases, each by a cursor on disk, and asks the pipeline (`Holdback`) to keep commits that it has not read unsealed for a
//!   bounded while. *Never here: a judgement, anything that waits for the upstream broker.*
//! - [`parking`]: how many bays are free, and how well a lot is used; kept at its own pace, whoever looks. *Never here: a
//!   guess; a bay of which nothing is known is neither free nor taken.*
//! - [`command`]: select, confirm, execute, read back. It asks the pipeline what is true, and tells devices over the
//!   buses and, by messages that it keeps on disk, through the MQTT door; both know only its handle. *Never here: what a
//!   command means for a gate; that is data of the profile.*
//! - [`basemap`]: the ground beneath the town's things: a file or a map server's pictures. *Never here: a thing of the
//!   town, a host that is not the configured one.*
//! - [`api`]: faces. *Only here is HTTP known.*
//! - [`upkeep`]: the data on disk: its room, copies of it, the proof that it is whole, tables for other programs. It reads
//!   the other rooms' tables by their names. *Never here: a reading that changes.*
//! - [`hub`]: the building: makes the rooms, joins them, owns every task, stops them in order.
//! - [`provision`]: devices and enrolment keys on the command line.
//! - [`trial`]: a profile's fixtures, run through the real decode, normalize and alert test; for the CLI and the tests.
//! - [`library`]: the profiles in force. A changed file comes into force when its fixtures pass; until then the version
//!   that ran goes on running. *Never here: a device.*
//! - [`workshop`]: what an engineer does with a profile at the command line: begin one, see its plan, bring one in from
//!   another system. *Never used by the hub.*
//!
//! Beside `src/`: `device-profiles/` (real profiles), `simulators/` (`townsim`, which shares no code with the hub),
//! `dashboards/console/` (the operators' console, embedded into the binary), `dashboards/grafana/` (made by `townhub
//! dashboards`), `tests/hub/` (the whole hub as a process; `tests/peers/`: programs of others that it meets, `tests/data/`:
//! what it is fed),
//! `tests/endure/` (the same through kills, power cuts, failing disks, jumping clocks, overload), `src/fuzz/` (hostile
//! input, with its corpus in `tests/corpus/`), `benches/` (the load
//! generator, the store's benchmark, the same work done by others, with the figures that we quote).
//!
//! # Invariants
//!
//! - An MQTT acknowledgement means that the readings are on disk.
//! - Nothing is judged or shown that is not on disk, and nothing is announced before its own record is; only a trouble of
//!   the hub itself is shown from memory, since the disk may be what is wrong.
//! - A reading is known by its series and its time: the same one twice is one.
//! - Every queue is bounded and named; a full one pushes back to the socket.
//! - No input crashes the hub; every refusal is counted and says what would be right.

pub mod model;

pub mod calendar;
pub mod clock;
pub mod config;

pub mod audit;

pub mod link;

pub mod registry;

pub mod ingest;

pub mod codec;

pub mod profile;

pub mod normalize;

pub mod store;

pub mod alert;

pub mod case;

pub mod trouble;

pub mod notify;

pub mod report;

pub mod live;

pub mod pipeline;

pub mod bridge;

pub mod parking;

pub mod command;

pub mod basemap;

pub mod api;

pub mod upkeep;

pub mod hub;
pub mod library;
pub mod provision;
pub mod trial;
pub mod workshop;

#[cfg(test)]
mod fuzz;

/// An error with all its causes, for the log: `Display` never repeats its source.
pub(crate) fn error_chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
