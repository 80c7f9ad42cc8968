//! What the physics needs to know of the town: numbers and neighbours, no names.

use crate::geo::Point;

/// A manhole with its catchment and the pipe that leaves it.
#[derive(Debug, Clone, PartialEq)]
pub struct ManholePlan {
    /// Where it is.
    pub position: Point,
    /// Height of the pipe's invert in metres, 1985 datum.
    pub invert_m: f64,
    /// Height of the ground in metres, 1985 datum.
    pub ground_m: f64,
    /// Inner diameter of the pipe below, in metres.
    pub diameter_m: f64,
    /// Manning's n of the pipe below.
    pub roughness: f64,
    /// Slope of the pipe below, m per m.
    pub slope: f64,
    /// Length of the pipe below, in metres.
    pub length_m: f64,
    /// Area that fills between crown and ground: shaft, gullies and house connections, in m2.
    pub shaft_area_m2: f64,
    /// Paved area that drains here, in m2.
    pub catchment_m2: f64,
    /// Time constant of that area's linear reservoir, in seconds.
    pub lag_s: f64,
    /// Mean waste water that joins here, in m3/s.
    pub waste_m3s: f64,
    /// The manhole below; `None` when the pipe ends at an outfall.
    pub downstream: Option<usize>,
    /// The basin that the outfall empties into.
    pub outfall_basin: usize,
}

/// A stretch of canal with one level.
#[derive(Debug, Clone, PartialEq)]
pub struct BasinPlan {
    /// Its id.
    pub id: String,
    /// Water surface in m2.
    pub area_m2: f64,
    /// Level at the start, and of the region around an outer basin, in metres, 1985 datum.
    pub level_m: f64,
    /// Land that drains into it without sewers, in m2.
    pub catchment_m2: f64,
    /// Time constant of the drift back to `level_m`, in seconds; `None` for an inner basin.
    pub settles_in_s: Option<f64>,
    /// Its pump, if it has one.
    pub pump: Option<PumpPlan>,
}

/// A drainage pump.
#[derive(Debug, Clone, PartialEq)]
pub struct PumpPlan {
    /// What it lifts, in m3/s.
    pub flow_m3s: f64,
    /// Level at which it starts, in metres.
    pub start_m: f64,
    /// Level at which it stops, in metres.
    pub stop_m: f64,
}

/// A sluice gate between two basins.
#[derive(Debug, Clone, PartialEq)]
pub struct GatePlan {
    /// The basin on the side that its sensors call up.
    pub up: usize,
    /// The basin on the other side.
    pub down: usize,
    /// Width in metres.
    pub width_m: f64,
    /// Opening when fully open, in metres.
    pub lift_m: f64,
    /// Height of the sill in metres, 1985 datum.
    pub sill_m: f64,
    /// Opening at the start, in 0.1 % of the lift.
    pub opening: u16,
}

/// A water main.
#[derive(Debug, Clone, PartialEq)]
pub struct MainPlan {
    /// Mean flow in m3/h.
    pub mean_m3h: f64,
    /// Pressure at its source in kPa.
    pub source_kpa: f64,
    /// Pressure loss at mean flow in kPa.
    pub loss_kpa: f64,
}

/// A car park.
#[derive(Debug, Clone, PartialEq)]
pub struct LotPlan {
    /// How many bays it has.
    pub bays: usize,
    /// Mean arrivals per bay and hour.
    pub turnover_per_h: f64,
    /// Mean stay in hours.
    pub mean_stay_h: f64,
    /// Share that is taken at any hour.
    pub residents: f64,
}
