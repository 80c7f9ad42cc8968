//! The workshop: what an engineer does with a profile at the command line, beside checking and testing it
//! ([`trial`](crate::trial)): begin one ([`create`]), see what it asks of a device ([`plan`]), bring one in from another
//! system ([`import`]); and ready dashboards of what the profiles measure ([`dashboards`]).
//!
//! Takes names and files; hands on texts to print ([`Outcome`]). The hub never uses it.

mod create;
mod dashboards;
mod import;
mod plan;

use crate::trial::Report;

pub use create::create;
pub use dashboards::dashboards;
pub use import::import;
pub use plan::plan;

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// For the standard output.
    pub text: String,
    /// For the standard error: what a person should know beside the result.
    pub notes: String,
    /// Whether all is well.
    pub ok: bool,
}

impl Outcome {
    /// A result without remarks.
    pub fn good(text: String) -> Self {
        Outcome { text, notes: String::new(), ok: true }
    }

    /// Nothing but a reason.
    fn failed(why: impl std::fmt::Display) -> Self {
        Outcome { text: String::new(), notes: format!("{why}\n"), ok: false }
    }
}

impl From<Report> for Outcome {
    fn from(report: Report) -> Self {
        Outcome { text: report.text, notes: String::new(), ok: report.ok }
    }
}

/// A text as a TOML string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A text in both languages, as a TOML table.
fn both(zh: &str, en: &str) -> String {
    format!("{{ zh = {}, en = {} }}", quoted(zh), quoted(en))
}

/// A number as TOML.
fn number(value: f64) -> String {
    if value == 0.0 { "0".to_owned() } else { format!("{value}") }
}
