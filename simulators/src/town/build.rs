//! Lays the town out: from a page of streets, gates and lots to some five hundred things with a place and a name.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};

use super::file::{LotFile, StreetFile, TownFile};
use super::plan::{BasinPlan, GatePlan, LotPlan, MainPlan, ManholePlan, PumpPlan};
use super::{Asset, Device, Geometry, Kind, Label, Observes, Profile, Town};
use crate::geo::{Point, along, length, section};
use crate::random::{Stream, generator};

/// Width of a bay and distance between rows (bay and half an aisle), in metres.
const BAY_M: (f64, f64) = (2.6, 8.0);
/// The first number of a water main, so that pipe 7 is the sewer below manhole 7.
const FIRST_MAIN: usize = 101;
/// A street with at least this many manholes has two mains.
const TWO_MAINS_FROM: usize = 6;
/// How far the main lies from the sewer, in metres.
const TRENCH_M: f64 = 5.0;

/// Why a town's files make no town.
#[derive(Debug, thiserror::Error)]
pub enum TownError {
    /// The town's file does not parse.
    #[error("town.toml does not parse")]
    Syntax(#[from] toml::de::Error),
    /// The zones' file is no JSON.
    #[error("zones.geojson is no JSON")]
    Zones(#[from] serde_json::Error),
    /// A name that nothing bears.
    #[error("{user} names the {what} `{id}`, which does not exist (or stands further down)")]
    Unknown {
        /// Who uses the name.
        user: String,
        /// zone, basin or street.
        what: &'static str,
        /// The name.
        id: String,
    },
    /// A street without an end.
    #[error("street `{0}` needs either `outfall` and `outfall_depth_m`, or `joins`")]
    NoEnd(String),
}

struct Street {
    id: String,
    manholes: std::ops::Range<usize>,
}

struct Builder {
    file: TownFile,
    zones: Vec<String>,
    rng: ChaCha8Rng,
    town: Town,
    streets: Vec<Street>,
}

/// Builds a town from its two files.
pub(super) fn build(town: &str, zones: &str) -> Result<Town, TownError> {
    let file: TownFile = toml::from_str(town)?;
    let zones: Value = serde_json::from_str(zones)?;
    let zone_ids = zones["features"].as_array().into_iter().flatten();
    let zone_ids =
        zone_ids.filter_map(|f| f["properties"]["id"].as_str().map(str::to_owned)).collect();
    let town = Town {
        name: file.name.clone(),
        centre: file.centre,
        zones,
        assets: Vec::new(),
        devices: Vec::new(),
        manholes: Vec::new(),
        mains: Vec::new(),
        basins: Vec::new(),
        gates: Vec::new(),
        gauges: Vec::new(),
        lots: Vec::new(),
    };
    let rng = generator(file.layout_seed, Stream::Plan);
    let mut builder = Builder { file, zones: zone_ids, rng, town, streets: Vec::new() };
    builder.basins();
    builder.streets()?;
    builder.gates()?;
    builder.gauges()?;
    builder.lots()?;
    Ok(builder.town)
}

impl Builder {
    fn check_zone(&self, user: &Label, id: &str) -> Result<(), TownError> {
        if self.zones.iter().any(|zone| zone == id) {
            return Ok(());
        }
        Err(TownError::Unknown { user: user.en.clone(), what: "zone", id: id.to_owned() })
    }

    fn basin(&self, user: &str, id: &str) -> Result<usize, TownError> {
        let position = self.town.basins.iter().position(|basin| basin.id == id);
        position.ok_or_else(|| TownError::Unknown {
            user: user.to_owned(),
            what: "basin",
            id: id.to_owned(),
        })
    }

    fn device(&mut self, asset: &Asset, profile: Profile, observes: Observes) {
        self.town.devices.push(Device {
            id: asset.id.to_lowercase(),
            profile,
            asset: asset.id.clone(),
            name: asset.name.clone(),
            site: asset.zone.clone(),
            observes,
        });
    }

    fn basins(&mut self) {
        self.town.basins = std::mem::take(&mut self.file.basin)
            .into_iter()
            .map(|basin| BasinPlan {
                id: basin.id,
                area_m2: basin.area_m2,
                level_m: basin.level_m,
                catchment_m2: basin.catchment_m2,
                settles_in_s: basin.settles_in_s,
                pump: basin.pump.map(|pump| PumpPlan {
                    flow_m3s: pump.flow_m3s,
                    start_m: pump.start_m,
                    stop_m: pump.stop_m,
                }),
            })
            .collect();
    }

    fn streets(&mut self) -> Result<(), TownError> {
        for street in std::mem::take(&mut self.file.street) {
            self.check_zone(&street.name, &street.zone)?;
            let first_main = self.town.mains.len();
            self.mains(&street);
            self.sewer(&street, first_main)?;
        }
        Ok(())
    }

    /// Where a street's sewer ends: the manhole below (if any), its place, the invert there, and the basin at last.
    fn end_of(&self, street: &StreetFile) -> Result<(Option<usize>, Point, f64, usize), TownError> {
        let end = along(&street.line, f64::INFINITY);
        if let (Some(basin), Some(depth), None) =
            (&street.outfall, street.outfall_depth_m, &street.joins)
        {
            let basin = self.basin(&street.id, basin)?;
            return Ok((None, end, street.ground_m - depth, basin));
        }
        let (Some(joins), None) = (&street.joins, &street.outfall) else {
            return Err(TownError::NoEnd(street.id.clone()));
        };
        let trunk = self.streets.iter().find(|other| other.id == *joins).ok_or_else(|| {
            TownError::Unknown { user: street.id.clone(), what: "street", id: joins.clone() }
        })?;
        let distance = |&manhole: &usize| end.distance(self.town.manholes[manhole].position);
        let nearest = trunk.manholes.clone().min_by(|a, b| distance(a).total_cmp(&distance(b)));
        let nearest = nearest.ok_or_else(|| TownError::NoEnd(street.id.clone()))?;
        let below = &self.town.manholes[nearest];
        Ok((Some(nearest), below.position, below.invert_m, below.outfall_basin))
    }

    /// Distances of a street's manholes from its upper end: even, give or take a few metres.
    fn spacing(&mut self, street: &StreetFile, total_m: f64) -> Vec<f64> {
        let step = total_m / street.manholes as f64;
        (0..street.manholes)
            .map(|i| {
                step * i as f64
                    + if i == 0 { 0.0 } else { step * self.rng.random_range(-0.15..0.15) }
            })
            .collect()
    }

    fn sewer(&mut self, street: &StreetFile, first_main: usize) -> Result<(), TownError> {
        let (below, end, end_invert_m, outfall_basin) = self.end_of(street)?;
        let mut line = street.line.clone();
        if let Some(last) = line.last_mut() {
            *last = end;
        }
        let total_m = length(&line);
        let distances = self.spacing(street, total_m);
        let first = self.town.manholes.len();
        let range = first..first + street.manholes;
        for (nth, &at) in distances.iter().enumerate() {
            let index = first + nth;
            let next = distances.get(nth + 1).copied();
            let common = &self.file.sewer;
            let plan = ManholePlan {
                position: along(&line, at),
                invert_m: end_invert_m + common.slope * (total_m - at),
                ground_m: street.ground_m + self.rng.random_range(-0.1..0.1),
                diameter_m: street.diameter_m,
                roughness: common.roughness,
                slope: common.slope,
                length_m: next.unwrap_or(total_m) - at,
                shaft_area_m2: common.shaft_area_m2,
                catchment_m2: common.catchment_m2 * self.rng.random_range(0.7..1.3),
                lag_s: common.lag_s,
                waste_m3s: common.waste_m3s,
                downstream: next.map_or(below, |_| Some(index + 1)),
                outfall_basin,
            };
            self.town.manholes.push(plan);
            let pipe = section(&line, at, next.unwrap_or(total_m));
            let main = first_main
                + (2 * nth / street.manholes).min(self.town.mains.len() - first_main - 1);
            self.manhole_assets(street, nth, pipe, main);
        }
        self.streets.push(Street { id: street.id.clone(), manholes: range });
        Ok(())
    }

    /// The map's view of the newest manhole and of the pipe below it.
    fn manhole_assets(&mut self, street: &StreetFile, nth: usize, pipe: Vec<Point>, main: usize) {
        let index = self.town.manholes.len() - 1;
        let plan = &self.town.manholes[index];
        let (number, place) = (index + 1, nth + 1);
        let (zh, en) = (&street.name.zh, &street.name.en);
        let manhole = Asset {
            id: format!("MH-{number:03}"),
            kind: Kind::Manhole,
            name: Label { zh: format!("{zh} {place} 号井"), en: format!("{en} manhole {place}") },
            zone: street.zone.clone(),
            parent: None,
            geometry: Geometry::Point(plan.position),
            properties: properties(json!({
                "street": street.id, "diameter_m": plan.diameter_m,
                "invert_m": centi(plan.invert_m), "ground_m": centi(plan.ground_m), "datum": "1985",
            })),
        };
        let to = plan.downstream.map_or(Value::Null, |below| json!(format!("MH-{:03}", below + 1)));
        let pipe = Asset {
            id: format!("PF-{number:03}"),
            kind: Kind::Pipe,
            name: Label {
                zh: format!("{zh} {place} 号井下游管段"),
                en: format!("{en} sewer below manhole {place}"),
            },
            zone: street.zone.clone(),
            parent: None,
            geometry: Geometry::Line(pipe),
            properties: properties(json!({
                "medium": "sewer", "street": street.id, "from": manhole.id, "to": to,
                "diameter_m": plan.diameter_m, "length_m": centi(plan.length_m), "slope": plan.slope,
                "roughness": plan.roughness, "invert_m": centi(plan.invert_m), "datum": "1985",
            })),
        };
        self.device(&manhole, Profile::Mh1, Observes::Manhole(index));
        if index % self.file.sewer.logger_every == self.file.sewer.logger_every / 2 {
            self.device(&pipe, Profile::Pf2, Observes::SewerPipe { manhole: index, main });
        }
        self.town.assets.extend([manhole, pipe]);
    }

    fn mains(&mut self, street: &StreetFile) {
        let parts = if street.manholes >= TWO_MAINS_FROM { 2 } else { 1 };
        let line: Vec<Point> = street.line.iter().map(|p| p.moved(TRENCH_M, TRENCH_M)).collect();
        let part_m = length(&line) / parts as f64;
        for part in 0..parts {
            let index = self.town.mains.len();
            // The second half hangs on the first: its water comes at a lower pressure.
            self.town.mains.push(MainPlan {
                mean_m3h: part_m * 0.12 * self.rng.random_range(0.8..1.2),
                source_kpa: 345.0 - 20.0 * part as f64 + self.rng.random_range(-8.0..8.0),
                loss_kpa: self.rng.random_range(18.0..26.0),
            });
            let (zh, en) = (&street.name.zh, &street.name.en);
            let asset = Asset {
                id: format!("PF-{}", FIRST_MAIN + index),
                kind: Kind::Pipe,
                name: Label {
                    zh: format!("{zh}供水管 {}", part + 1),
                    en: format!("{en} water main {}", part + 1),
                },
                zone: street.zone.clone(),
                parent: None,
                geometry: Geometry::Line(section(
                    &line,
                    part_m * part as f64,
                    part_m * (part + 1) as f64,
                )),
                properties: properties(json!({
                    "medium": "supply", "street": street.id, "diameter_m": 0.3, "length_m": centi(part_m),
                })),
            };
            self.device(&asset, Profile::Pf2, Observes::Main(index));
            self.town.assets.push(asset);
        }
    }

    fn gates(&mut self) -> Result<(), TownError> {
        for (index, gate) in std::mem::take(&mut self.file.gate).into_iter().enumerate() {
            self.check_zone(&gate.name, &gate.zone)?;
            let plan = GatePlan {
                up: self.basin(&gate.name.en, &gate.up)?,
                down: self.basin(&gate.name.en, &gate.down)?,
                width_m: gate.width_m,
                lift_m: gate.lift_m,
                sill_m: gate.sill_m,
                opening: gate.opening,
            };
            // An outer basin drifts back to the level of the region around the town.
            let is_outer = |basin: usize| self.town.basins[basin].settles_in_s.is_some();
            let outside = i32::from(is_outer(plan.up)) - i32::from(is_outer(plan.down));
            let asset = Asset {
                id: format!("SG-{:03}", index + 1),
                kind: Kind::SluiceGate,
                name: gate.name,
                zone: gate.zone,
                parent: None,
                geometry: Geometry::Point(gate.at),
                properties: properties(json!({
                    "width_m": gate.width_m, "lift_m": gate.lift_m, "sill_m": gate.sill_m,
                    "up": gate.up, "down": gate.down, "outside": outside, "design_head_m": 2.5,
                    "datum": "1985",
                })),
            };
            self.town.gates.push(plan);
            self.device(&asset, Profile::Sg200, Observes::Gate(index));
            self.town.assets.push(asset);
        }
        Ok(())
    }

    fn gauges(&mut self) -> Result<(), TownError> {
        for (index, gauge) in std::mem::take(&mut self.file.canal_gauge).into_iter().enumerate() {
            self.check_zone(&gauge.name, &gauge.zone)?;
            let basin = self.basin(&gauge.name.en, &gauge.basin)?;
            let extra = json!({ "basin": gauge.basin, "datum": "1985" });
            let id = format!("CL-{:03}", index + 1);
            let asset = point_asset(id, Kind::CanalGauge, gauge.name, gauge.zone, gauge.at, extra);
            self.device(&asset, Profile::Cl1, Observes::Basin(basin));
            self.town.assets.push(asset);
        }
        for (index, gauge) in std::mem::take(&mut self.file.rain_gauge).into_iter().enumerate() {
            self.check_zone(&gauge.name, &gauge.zone)?;
            self.town.gauges.push(gauge.at);
            let id = format!("RG-{:03}", index + 1);
            let extra = json!({ "tip_mm": 0.2 });
            let asset = point_asset(id, Kind::RainGauge, gauge.name, gauge.zone, gauge.at, extra);
            self.device(&asset, Profile::Rg1, Observes::Rain(index));
            self.town.assets.push(asset);
        }
        Ok(())
    }

    fn lots(&mut self) -> Result<(), TownError> {
        for (index, lot) in std::mem::take(&mut self.file.lot).into_iter().enumerate() {
            self.check_zone(&lot.name, &lot.zone)?;
            let id = format!("PK-{:03}", index + 1);
            let (half_along, half_across) = (
                lot.bays_per_row as f64 * BAY_M.0 / 2.0 + 1.0,
                lot.rows as f64 * BAY_M.1 / 2.0 + 1.0,
            );
            let corners = [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)];
            let corners = corners.map(|(x, y)| in_lot(&lot, x * half_along, y * half_across));
            self.town.assets.push(Asset {
                id: id.clone(),
                kind: Kind::ParkingLot,
                name: lot.name.clone(),
                zone: lot.zone.clone(),
                parent: None,
                geometry: Geometry::Polygon(corners.to_vec()),
                properties: properties(json!({ "capacity": lot.rows * lot.bays_per_row })),
            });
            self.bays(&lot, &id);
            self.town.lots.push(LotPlan {
                bays: lot.rows * lot.bays_per_row,
                turnover_per_h: lot.turnover_per_h,
                mean_stay_h: lot.mean_stay_h,
                residents: lot.residents,
            });
        }
        Ok(())
    }

    fn bays(&mut self, lot: &LotFile, lot_id: &str) {
        let first: usize = self.town.lots.iter().map(|lot| lot.bays).sum();
        for row in 0..lot.rows {
            for place in 0..lot.bays_per_row {
                let bay = first + row * lot.bays_per_row + place;
                let x = (place as f64 - (lot.bays_per_row - 1) as f64 / 2.0) * BAY_M.0;
                let y = (row as f64 - (lot.rows - 1) as f64 / 2.0) * BAY_M.1;
                let mark = format!("{}{:02}", char::from(b'A' + row as u8 % 26), place + 1);
                let name = Label {
                    zh: format!("{} {mark}", lot.name.zh),
                    en: format!("{} {mark}", lot.name.en),
                };
                let (id, at) = (format!("PB-{:03}", bay + 1), in_lot(lot, x, y));
                let extra = json!({ "mark": mark });
                let mut asset =
                    point_asset(id, Kind::ParkingBay, name, lot.zone.clone(), at, extra);
                asset.parent = Some(lot_id.to_owned());
                self.device(&asset, Profile::Pb1, Observes::Bay(bay));
                self.town.assets.push(asset);
            }
        }
    }
}

/// A place in a lot, in metres along and across its rows.
fn in_lot(lot: &LotFile, x: f64, y: f64) -> Point {
    let (sin, cos) = lot.heading_deg.to_radians().sin_cos();
    lot.at.moved(x * cos - y * sin, x * sin + y * cos)
}

fn point_asset(
    id: String,
    kind: Kind,
    name: Label,
    zone: String,
    at: Point,
    extra: Value,
) -> Asset {
    let geometry = Geometry::Point(at);
    Asset { id, kind, name, zone, parent: None, geometry, properties: properties(extra) }
}

fn properties(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Rounded to a centimetre.
fn centi(metres: f64) -> f64 {
    (metres * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn count(town: &Town, kind: Kind) -> usize {
        town.assets.iter().filter(|asset| asset.kind == kind).count()
    }

    #[test]
    fn wuzhen_has_what_the_town_has() {
        let town = Town::wuzhen().unwrap();
        assert_eq!(count(&town, Kind::Manhole), 60);
        assert_eq!(count(&town, Kind::RainGauge), 4);
        assert_eq!(count(&town, Kind::CanalGauge), 8);
        assert_eq!(count(&town, Kind::SluiceGate), 6);
        assert_eq!(count(&town, Kind::ParkingLot), 5);
        assert_eq!(count(&town, Kind::ParkingBay), 400);
        assert_eq!(town.lots.iter().map(|lot| lot.bays).sum::<usize>(), 400);
        let ids: HashSet<_> = town.assets.iter().map(|asset| &asset.id).collect();
        assert_eq!(ids.len(), town.assets.len(), "ids are unique");
        assert!(town.devices.iter().all(|device| ids.contains(&device.asset)));
    }

    #[test]
    fn every_pipe_falls_and_ends_at_an_outfall() {
        let town = Town::wuzhen().unwrap();
        for (start, manhole) in town.manholes.iter().enumerate() {
            assert!(manhole.length_m > 20.0 && manhole.length_m < 400.0, "{start}: {manhole:?}");
            let depth = manhole.ground_m - manhole.invert_m;
            assert!((1.5..6.0).contains(&depth), "{start}: {depth} m deep");
            let mut at = start;
            let mut steps = 0;
            while let Some(below) = town.manholes[at].downstream {
                assert!(town.manholes[below].invert_m < town.manholes[at].invert_m);
                (at, steps) = (below, steps + 1);
                assert!(steps <= town.manholes.len(), "a circle from {start}");
            }
        }
    }

    #[test]
    fn a_wrong_name_is_refused_with_its_user() {
        let text = include_str!("../../towns/wuzhen/town.toml");
        let zones = include_str!("../../towns/wuzhen/zones.geojson");
        let error =
            build(&text.replace("outfall         = \"canal\"", "outfall = \"cannal\""), zones)
                .unwrap_err();
        assert!(matches!(error, TownError::Unknown { what: "basin", .. }), "{error}");
        let error = build(&text.replace("joins      = \"xizha\"", ""), zones).unwrap_err();
        assert!(matches!(error, TownError::NoEnd(_)), "{error}");
        let error = build(text, "{\"features\":[]}").unwrap_err();
        assert!(matches!(error, TownError::Unknown { what: "zone", .. }), "{error}");
        assert!(matches!(build("name = 3", zones), Err(TownError::Syntax(_))));
    }
}
