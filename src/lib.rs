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

/// An error with all its causes, for the log: `Display` never repeats its source.
pub(crate) fn error_chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
