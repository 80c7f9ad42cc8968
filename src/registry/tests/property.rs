//! Random imports: all or nothing, and what is in memory is what is on disk.

use proptest::prelude::*;

use super::*;

/// One import of random rows. Ids come from small sets, so that rows meet known things, each other, and
/// references that dangle.
#[derive(Debug, Clone)]
enum Import {
    Zones(Vec<(u8, f64)>),
    Assets(Vec<AssetRow>),
    Devices(Vec<DeviceRow>),
}

#[derive(Debug, Clone)]
struct AssetRow {
    id: u8,
    kind: &'static str,
    name: u8,
    zone: Option<u8>,
    parent: Option<u8>,
    lon: f64,
    lat: f64,
    property: f64,
}

#[derive(Debug, Clone)]
struct DeviceRow {
    id: u8,
    profile: &'static str,
    asset: Option<u8>,
    unit: Option<u8>,
    secret: Option<u8>,
}

fn asset_row() -> impl Strategy<Value = AssetRow> {
    let kinds = prop::sample::select(vec!["manhole", "pipe", "parking-lot", "parking-bay"]);
    let names = (0..12u8, kinds, 0..3u8);
    let references = (prop::option::weighted(0.2, 0..4u8), prop::option::weighted(0.2, 0..12u8));
    let numbers =
        (119.0..121.0f64, 30.0..31.0f64, any::<f64>().prop_filter("JSON", |f| f.is_finite()));
    (names, references, numbers).prop_map(
        |((id, kind, name), (zone, parent), (lon, lat, property))| AssetRow {
            id,
            kind,
            name,
            zone,
            parent,
            lon,
            lat,
            property,
        },
    )
}

fn device_row() -> impl Strategy<Value = DeviceRow> {
    let profiles = prop::sample::select(vec!["aqua-mh1", "aqua-mh1", "aqua-mh1", "no-such"]);
    let asset = prop::option::weighted(0.3, 0..12u8);
    let unit = prop::option::weighted(0.3, 0..=251u8);
    let secret = prop::option::weighted(0.3, 0..3u8);
    (0..20u8, profiles, asset, unit, secret).prop_map(|(id, profile, asset, unit, secret)| {
        DeviceRow { id, profile, asset, unit, secret }
    })
}

fn import() -> impl Strategy<Value = Import> {
    prop_oneof![
        prop::collection::vec((0..4u8, 0.01..0.5f64), 0..3).prop_map(Import::Zones),
        prop::collection::vec(asset_row(), 0..5).prop_map(Import::Assets),
        prop::collection::vec(device_row(), 0..5).prop_map(Import::Devices),
    ]
}

fn collection(features: Vec<serde_json::Value>) -> String {
    serde_json::json!({"type": "FeatureCollection", "features": features}).to_string()
}

fn run(registry: &Registry, import: &Import) -> ImportReport {
    let report = match import {
        Import::Zones(rows) => {
            let features = rows.iter().map(|(id, size)| {
                let (west, east) = (120.0 - size, 120.0 + size);
                let ring = [[west, 30.0], [east, 30.0], [east, 31.0], [west, 31.0], [west, 30.0]];
                serde_json::json!({"type": "Feature", "properties": {"id": format!("z{id}")},
                    "geometry": {"type": "Polygon", "coordinates": [ring]}})
            });
            registry.import_zones(&collection(features.collect()), ImportMode::Apply)
        }
        Import::Assets(rows) => {
            let features = rows.iter().map(|row| {
                serde_json::json!({"type": "Feature",
                    "properties": {"id": format!("a{}", row.id), "kind": row.kind, "name": format!("n{}", row.name),
                        "zone": row.zone.map(|id| format!("z{id}")), "parent": row.parent.map(|id| format!("a{id}")),
                        "property": row.property},
                    "geometry": {"type": "Point", "coordinates": [row.lon, row.lat]}})
            });
            registry.import_assets(&collection(features.collect()), ImportMode::Apply)
        }
        Import::Devices(rows) => {
            let mut csv = "id,profile,asset,modbus_endpoint,modbus_unit,secret\n".to_owned();
            for row in rows {
                let asset = row.asset.map(|id| format!("a{id}")).unwrap_or_default();
                let endpoint =
                    row.unit.map(|unit| format!("h:502,{unit}")).unwrap_or(",".to_owned());
                let secret =
                    row.secret.map(|id| format!("secret-number-{id:04}")).unwrap_or_default();
                csv += &format!("d{},{},{asset},{endpoint},{secret}\n", row.id, row.profile);
            }
            registry.import_devices_csv(csv.as_bytes(), &profiles(), ImportMode::Apply)
        }
    };
    report.unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn imports_apply_whole_or_not_at_all_and_a_restart_finds_the_same_town(
        imports in prop::collection::vec(import(), 1..20),
    ) {
        let fixture = Fixture::new();
        let registry = &fixture.registry;
        for import in &imports {
            let before = registry.town();
            let report = run(registry, import);
            let rejected = statuses(&report).contains(&RowStatus::Rejected);
            prop_assert_eq!(report.applied, !rejected);
            prop_assert_eq!(report.accepted + report.rejected, report.rows.len());
            let changes = statuses(&report).iter().any(|&status| status != RowStatus::Unchanged);
            let version = before.version + u64::from(report.applied && changes);
            prop_assert_eq!(registry.town().version, version);
            for asset in before.assets.values() {
                prop_assert_eq!(registry.town().assets[&asset.id].number, asset.number);
            }
            if report.applied {
                let again = statuses(&run(registry, import));
                prop_assert!(again.iter().all(|&status| status == RowStatus::Unchanged), "{:?}", again);
            } else {
                prop_assert_eq!(&before.assets, &registry.town().assets);
                prop_assert_eq!(&before.devices, &registry.town().devices);
                prop_assert_eq!(&before.zones, &registry.town().zones);
            }
        }
        assert_same_town(registry, &fixture.reopen());
        let mut numbers: Vec<_> = registry.town().assets.values().map(|asset| asset.number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        prop_assert_eq!(numbers.len(), registry.town().assets.len());
    }
}
