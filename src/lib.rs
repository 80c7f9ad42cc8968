//! townhub: the city brain of a town.
pub mod alert;
pub mod api;
pub mod clock;
pub mod config;
pub mod hub;
pub mod ingest;
pub mod live;
pub mod model;
pub mod normalize;
pub mod pipeline;
pub mod profile;
pub mod registry;
pub mod store;
