//! What imports accept, refuse and say.

use super::*;

fn row_errors(report: &ImportReport, row: usize) -> String {
    report.rows.iter().find(|r| r.row == row).unwrap().errors.join(" | ")
}

/// Checks that the row's errors name all of `parts`, one each, and no more.
fn assert_errors(report: &ImportReport, row: usize, parts: &[&str]) {
    let errors = row_errors(report, row);
    for part in parts {
        assert!(errors.contains(part), "row {row}: `{part}` is not in: {errors}");
    }
    let row = report.rows.iter().find(|r| r.row == row).unwrap();
    assert_eq!(row.errors.len(), parts.len(), "{row:#?}");
    assert_eq!(row.status == RowStatus::Rejected, !parts.is_empty());
}

fn refused(result: Result<ImportReport, RegistryError>) -> String {
    match result {
        Err(RegistryError::Document(why)) => why,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn the_demo_town_is_read_as_it_was_written() {
    let town = Fixture::with_town().registry.town();
    let asset = |id: &str| &town.assets[id];
    assert_eq!(asset("mh-001").name, Label::new("子夜路 1 号井", "Ziye Road 1"));
    assert_eq!(asset("mh-001").kind, AssetKind::Manhole);
    let properties = serde_json::json!({"invert_m": 0.42, "material": null});
    assert_eq!(serde_json::Value::Object(asset("mh-001").properties.clone()), properties);
    assert_eq!(asset("lot-1").name, Label::same("P1"));
    assert_eq!(asset("bay-001").name, Label::same("bay-001"), "without a name, the id");
    assert_eq!(asset("bay-001").parent, Some("lot-1".parse().unwrap()));
    assert_eq!(town.zones["xizha"].name, Label::new("西栅", "Xizha"));
    let mut numbers: Vec<u32> = town.assets.values().map(|asset| asset.number.0).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    assert_eq!(town.asset_by_number(AssetNumber(2)).unwrap().id.as_str(), "lot-1");
    assert!(town.asset_by_number(AssetNumber(6)).is_none());

    let gate = &town.devices["dev-gate-1"];
    assert_eq!(gate.name, Label::same("Gate 1"));
    let address = ModbusAddress { endpoint: "127.0.0.1:1502".to_owned(), unit: 3 };
    assert_eq!(gate.modbus, Some(address));
    let of_bay = town.devices_of(&"bay-001".parse().unwrap());
    assert_eq!(of_bay, [Arc::clone(&town.devices["dev-bay-001"])]);
}

#[test]
fn an_asset_is_listed_under_the_zone_given_else_the_smallest_around_it() {
    let fixture = Fixture::with_town();
    let zone_of =
        |id: &str| fixture.registry.town().assets[id].zone.as_ref().map(|z| z.to_string());
    assert_eq!(zone_of("lot-1").as_deref(), Some("wuzhen"), "given, although xizha is smaller");
    assert_eq!(zone_of("bay-001").as_deref(), Some("xizha"));
    assert_eq!(zone_of("pipe-001").as_deref(), Some("wuzhen"));
    assert_eq!(zone_of("gauge-far"), None);
    // The zone moves away: what was found follows, what was given stays.
    let moved = ZONES.replace("120.475", "120.489").replace("xizha", "wuzhen-east");
    let moved = moved.replace("120.49,", "120.5301,");
    accepted(fixture.registry.import_zones(&moved, ImportMode::Apply));
    let far = r#"{"type":"FeatureCollection","features":[{"type":"Feature","properties":{"id":"xizha"},
        "geometry":{"type":"Polygon","coordinates":[[[1,1],[2,1],[2,2],[1,1]]]}}]}"#;
    let report = accepted(fixture.registry.import_zones(far, ImportMode::Apply));
    assert_eq!(statuses(&report), [RowStatus::Updated]);
    assert_eq!(zone_of("bay-001").as_deref(), Some("wuzhen"));
    assert_eq!(zone_of("lot-1").as_deref(), Some("wuzhen"));
    assert_same_town(&fixture.registry, &fixture.reopen());
}

#[test]
fn the_same_import_again_changes_nothing_also_after_a_restart() {
    let fixture = Fixture::with_town();
    let version = fixture.registry.town().version;
    for registry in [fixture.registry.clone(), fixture.reopen()] {
        let unchanged = |report| {
            let report = accepted(report);
            assert!(statuses(&report).iter().all(|&s| s == RowStatus::Unchanged), "{report:#?}");
            assert!(report.rows.iter().all(|row| row.secret.is_none()));
        };
        unchanged(registry.import_zones(ZONES, ImportMode::Apply));
        unchanged(registry.import_assets(ASSETS, ImportMode::Apply));
        unchanged(registry.import_devices_csv(DEVICES, &profiles(), ImportMode::Apply));
        assert_eq!(registry.town().version, version);
    }
}

#[test]
fn a_csv_of_assets_updates_and_adds_and_keeps_properties_and_numbers() {
    let fixture = Fixture::with_town();
    let before = Arc::clone(&fixture.registry.town().assets["mh-001"]);
    let report = accepted(fixture.registry.import_assets_csv(ASSETS_CSV, ImportMode::Apply));
    assert_eq!(statuses(&report), [RowStatus::Created, RowStatus::Updated], "no row of commas");
    let town = fixture.registry.town();
    assert_eq!(town.assets["gate-1"].name, Label::new("北栅, 一号", "North gate 1"));
    assert_eq!(town.assets["gate-1"].number, AssetNumber(6));
    let after = &town.assets["mh-001"];
    assert_eq!((after.number, &after.properties), (before.number, &before.properties));
    assert_eq!(after.name, Label::same("新名"));
    assert_eq!(after.zone.as_ref().unwrap().as_str(), "xizha");

    let line = b"id,kind,lon,lat\npipe-001,pipe,120.5,30.7\n";
    let report = fixture.registry.import_assets_csv(line, ImportMode::Apply).unwrap();
    assert_errors(&report, 1, &["known as a LineString"]);
}

#[test]
fn every_error_of_every_row_is_told_and_nothing_is_applied() {
    let fixture = Fixture::new();
    let report = fixture.registry.import_assets(ASSETS_BAD, ImportMode::Apply).unwrap();
    assert_errors(&report, 1, &[]);
    assert_errors(&report, 2, &["swapped", "did you mean `manhole`", "no zone `nowhere`"]);
    assert_errors(
        &report,
        3,
        &[
            "`id` must be a text, not 7",
            "unknown kind `gate`",
            "no geometry",
            "id must not be empty",
        ],
    );
    assert_errors(&report, 4, &["`good` is in row 1 already"]);
    assert_errors(&report, 5, &["a manhole is a Point, not a LineString"]);
    assert_errors(&report, 6, &["two different positions"]);
    assert_errors(&report, 7, &["the outline is no ring"]);
    assert_errors(&report, 8, &["parent of a parking-bay is a parking-lot; `good` is a manhole"]);
    assert_errors(&report, 9, &["its own ancestor"]);
    assert_errors(&report, 10, &["its own ancestor"]);
    assert_errors(
        &report,
        11,
        &["must contain two or more elements, but got `1`", "no asset `lot-9`"],
    );
    assert_errors(
        &report,
        12,
        &["no Feature", "no geometry", "`kind` is missing", "id must not be empty"],
    );
    assert_errors(&report, 13, &["MultiPoint cannot be used", "`name` must be a text, not 12"]);
    assert!(!report.applied);
    assert_eq!((report.accepted, report.rejected), (1, 12));
    assert_eq!(report.rows[0].status, RowStatus::Created, "what it would be");
    assert_eq!(fixture.registry.town().version, 1);
    assert_eq!(fixture.reopen().town().assets.len(), 0);
}

#[test]
fn wrong_devices_are_told_without_their_secrets() {
    let fixture = Fixture::new();
    let import = |csv| fixture.registry.import_devices_csv(csv, &profiles(), ImportMode::Apply);
    let report = import(DEVICES_BAD).unwrap();
    assert_errors(&report, 1, &[]);
    assert_errors(
        &report,
        2,
        &[
            "`a/b` has `/`",
            "no profile `aqua-mh2`; did you mean `aqua-mh1`?",
            "no asset `no-such`",
            "`somewhere` is no Modbus endpoint",
            "250 is reserved",
            "at least 16",
        ],
    );
    assert_errors(&report, 3, &["for service accounts", "without modbus_unit"]);
    assert_errors(&report, 4, &["in row 1 already", "without modbus_endpoint"]);
    assert_errors(&report, 5, &["it has 2 fields, the header has 8"]);
    assert!(report.rows.iter().all(|row| row.secret.is_none()));
    assert!(!serde_json::to_string(&report).unwrap().contains("short"));
    assert!(fixture.registry.town().devices.is_empty());

    let gbk = b"id,profile,name_zh\nx,aqua-mh1,\xc4\xbe\xd0\xc4\n";
    assert_errors(&import(gbk).unwrap(), 1, &["CSV UTF-8"]);
}

#[test]
fn a_dry_run_says_what_would_be_and_does_nothing() {
    let fixture = Fixture::new();
    let registry = &fixture.registry;
    let report = registry.import_zones(ZONES, ImportMode::DryRun).unwrap();
    assert_eq!((report.applied, report.accepted), (false, 2));
    let devices = b"id,profile\nd1,aqua-mh1\n";
    let report = registry.import_devices_csv(devices, &profiles(), ImportMode::DryRun).unwrap();
    assert_eq!(statuses(&report), [RowStatus::Created]);
    assert_eq!(report.rows[0].secret, None, "none that will not be in force");
    assert_eq!(registry.town().version, 1);
}

#[test]
fn a_document_that_is_none_is_refused_with_what_would_be_right() {
    let registry = Fixture::new().registry;
    let geojson = |text: &str| refused(registry.import_assets(text, ImportMode::Apply));
    assert!(geojson("{").contains("no GeoJSON"));
    assert!(geojson("[]").contains("no GeoJSON"));
    assert!(geojson("{}").contains("must be `FeatureCollection`, found nothing"));
    assert!(geojson(r#"{"type":"Feature"}"#).contains("single Feature"));
    assert!(geojson(r#"{"type":"FeatureCollection"}"#).contains("no `features`"));
    let crs = r#"{"type":"FeatureCollection","features":[],"crs":{"type":"name","properties":{"name":"EPSG:NN"}}}"#;
    for code in ["4326", "4490"] {
        accepted(registry.import_assets(&crs.replace("NN", code), ImportMode::Apply));
    }
    assert!(geojson(&crs.replace("NN", "3857")).contains("`EPSG:3857`"));
    assert!(geojson(&crs.replace("NN", "4479")).contains("ogr2ogr"));
    let deep = "[".repeat(10_000);
    assert!(geojson(&deep).contains("no GeoJSON"));

    let csv = |text: &str| refused(registry.import_assets_csv(text.as_bytes(), ImportMode::Apply));
    assert!(csv("").contains("column `id` is missing"));
    let wrong = csv("id,kind,nmae_zh,lon,long\n");
    assert!(wrong.contains("unknown column `nmae_zh`, did you mean `name_zh`?"), "{wrong}");
    assert!(wrong.contains("column `lat` is missing"), "{wrong}");
    assert!(csv("id;kind;lon;lat\n").contains("separated by commas"));
    assert!(csv("id,kind,lon,lat,id\n").contains("column `id` is there twice"));
}

#[test]
fn no_more_rows_are_read_than_the_limit() {
    let registry = Fixture::new().registry;
    let features = vec!["{}"; MAX_ROWS + 1].join(",");
    let geojson = format!(r#"{{"type":"FeatureCollection","features":[{features}]}}"#);
    assert!(
        refused(registry.import_zones(&geojson, ImportMode::DryRun)).contains("more than 100000")
    );
    let csv = format!("id,profile\n{}", "x,y\n".repeat(MAX_ROWS + 1));
    let report = registry.import_devices_csv(csv.as_bytes(), &[], ImportMode::DryRun);
    assert!(refused(report).contains("more than 100000"));
    let huge = " ".repeat(MAX_DOCUMENT_BYTES + 1);
    assert!(refused(registry.import_assets(&huge, ImportMode::DryRun)).contains("bytes"));
}

const GATEWAYS: &str = "id,profile,gateway,address\n\
    mh-2,aqua-mh1,gw-1,A8404137E182428C\n\
    mh-3,aqua-mh1,gw-1,\n\
    gw-1,aqua-mh1,,\n";

fn import(fixture: &Fixture, csv: &str) -> ImportReport {
    fixture.registry.import_devices_csv(csv.as_bytes(), &profiles(), ImportMode::Apply).unwrap()
}

#[test]
fn a_gateway_may_stand_after_its_devices_and_stays_over_a_restart() {
    let fixture = Fixture::new();
    let report = import(&fixture, GATEWAYS);
    assert_eq!((report.applied, report.rejected), (true, 0), "{report:#?}");
    for registry in [fixture.registry.clone(), fixture.reopen()] {
        let town = registry.town();
        assert_eq!(town.devices["mh-2"].name_at_gateway(), "a8404137e182428c");
        assert_eq!(town.devices["mh-3"].name_at_gateway(), "mh-3");
        assert_eq!(town.devices["mh-3"].gateway, Some("gw-1".parse().unwrap()));
    }
    let again = import(&fixture, GATEWAYS);
    assert!(statuses(&again).iter().all(|&s| s == RowStatus::Unchanged), "{again:#?}");
    // Two devices change their names in one go.
    let swapped = "id,profile,gateway,address\nmh-2,aqua-mh1,gw-1,b\nmh-3,aqua-mh1,gw-1,a\n";
    assert!(import(&fixture, swapped).applied);
    let back = "id,profile,gateway,address\nmh-2,aqua-mh1,gw-1,a\nmh-3,aqua-mh1,gw-1,b\n";
    assert!(import(&fixture, back).applied);
    assert_same_town(&fixture.registry, &fixture.reopen());
}

#[test]
fn what_is_wrong_with_a_gateway_is_said_and_nothing_is_applied() {
    let fixture = Fixture::new();
    assert!(import(&fixture, GATEWAYS).applied);
    let check = |row: &str, part: &str| {
        let csv = format!("id,profile,gateway,address\n{row}\n");
        let report = import(&fixture, &csv);
        assert!(!report.applied, "{row}");
        let last = report.rows.iter().map(|row| row.row).max().unwrap();
        assert!(row_errors(&report, last).contains(part), "{row}: {report:#?}");
    };
    check("mh-4,aqua-mh1,gw-9,", "no device `gw-9` to be its gateway");
    check("mh-4,aqua-mh1,mh-4,", "is the device itself");
    check("mh-4,aqua-mh1,mh-2,", "stands behind gateway `gw-1` itself");
    check("gw-2,aqua-mh1,,\ngw-1,aqua-mh1,gw-2,", "`gw-1` is a gateway itself");
    check("mh-4,aqua-mh1,gw-1,a8:40:41:37:e1:82:42:8c", "is given twice at gateway `gw-1`");
    check("mh-4,aqua-mh1,gw-1,mh-3", "address `mh-3` is given twice");
    check("mh-4,aqua-mh1,,dev-eui", "address without gateway");
    check("mh-4,aqua-mh1,gw-1,a/b", "an address has 1 to 128 bytes");
    assert_eq!(fixture.registry.town().devices.len(), 3);
}
