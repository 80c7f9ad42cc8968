//! The spelling of `town.toml`.

use serde::Deserialize;

use super::Label;
use crate::geo::Point;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TownFile {
    pub(super) name: Label,
    pub(super) centre: Point,
    /// The seed of small irregularities: how far a manhole stands from its even spacing.
    pub(super) layout_seed: u64,
    pub(super) sewer: SewerFile,
    pub(super) street: Vec<StreetFile>,
    pub(super) basin: Vec<BasinFile>,
    pub(super) gate: Vec<GateFile>,
    pub(super) canal_gauge: Vec<CanalGaugeFile>,
    pub(super) rain_gauge: Vec<RainGaugeFile>,
    pub(super) lot: Vec<LotFile>,
}

/// What all sewers have in common.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SewerFile {
    pub(super) roughness: f64,
    pub(super) slope: f64,
    pub(super) shaft_area_m2: f64,
    pub(super) catchment_m2: f64,
    pub(super) lag_s: f64,
    pub(super) waste_m3s: f64,
    /// Every how many pipes one has a flow logger.
    pub(super) logger_every: usize,
}

/// A street with a sewer and a water main, drawn from the sewer's upper end down.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StreetFile {
    pub(super) id: String,
    pub(super) name: Label,
    pub(super) zone: String,
    pub(super) line: Vec<Point>,
    pub(super) manholes: usize,
    pub(super) diameter_m: f64,
    pub(super) ground_m: f64,
    /// Cover over the invert at the outfall, in metres; for a street that ends at an outfall.
    pub(super) outfall_depth_m: Option<f64>,
    /// The basin of the outfall; or
    pub(super) outfall: Option<String>,
    /// the street (further up in the file) that takes its water.
    pub(super) joins: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BasinFile {
    pub(super) id: String,
    pub(super) area_m2: f64,
    pub(super) level_m: f64,
    #[serde(default)]
    pub(super) catchment_m2: f64,
    pub(super) settles_in_s: Option<f64>,
    pub(super) pump: Option<PumpFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PumpFile {
    pub(super) flow_m3s: f64,
    pub(super) start_m: f64,
    pub(super) stop_m: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GateFile {
    pub(super) name: Label,
    pub(super) zone: String,
    pub(super) at: Point,
    pub(super) up: String,
    pub(super) down: String,
    pub(super) width_m: f64,
    pub(super) lift_m: f64,
    pub(super) sill_m: f64,
    /// In 0.1 %.
    pub(super) opening: u16,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CanalGaugeFile {
    pub(super) name: Label,
    pub(super) zone: String,
    pub(super) at: Point,
    pub(super) basin: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RainGaugeFile {
    pub(super) name: Label,
    pub(super) zone: String,
    pub(super) at: Point,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LotFile {
    pub(super) name: Label,
    pub(super) zone: String,
    pub(super) at: Point,
    /// Where the rows run to, in degrees counter-clockwise from east.
    pub(super) heading_deg: f64,
    pub(super) rows: usize,
    pub(super) bays_per_row: usize,
    pub(super) turnover_per_h: f64,
    pub(super) mean_stay_h: f64,
    pub(super) residents: f64,
}
