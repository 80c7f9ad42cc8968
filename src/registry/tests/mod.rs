//! Tests of the registry as a whole, through its front door.

mod access;
mod accounts;
mod door;
mod enrolment;
mod imports;
mod places;
mod property;

use std::time::Duration;

use tempfile::TempDir;

use super::secrets::Passwords;
use super::*;
use crate::clock::ManualClock;
use crate::model::{AssetKind, AssetNumber, Label, ProfileId, Role, Timestamp};

const START: Timestamp = Timestamp::from_secs(1_790_000_000);

const ZONES: &str = include_str!("../../../tests/data/registry/zones.geojson");
const ASSETS: &str = include_str!("../../../tests/data/registry/assets.geojson");
const ASSETS_BAD: &str = include_str!("../../../tests/data/registry/assets-bad.geojson");
const ASSETS_CSV: &[u8] = include_bytes!("../../../tests/data/registry/assets.csv");
const DEVICES: &[u8] = include_bytes!("../../../tests/data/registry/devices.csv");
const DEVICES_BAD: &[u8] = include_bytes!("../../../tests/data/registry/devices-bad.csv");

/// A registry on a file that goes when the test ends.
struct Fixture {
    registry: Registry,
    clock: ManualClock,
    dir: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (clock, hand) = Clock::manual(START);
        Fixture { registry: open(&dir, clock), clock: hand, dir }
    }

    /// One with the demo zones, assets and devices.
    fn with_town() -> Self {
        let fixture = Self::new();
        let registry = &fixture.registry;
        accepted(registry.import_zones(ZONES, ImportMode::Apply));
        accepted(registry.import_assets(ASSETS, ImportMode::Apply));
        accepted(registry.import_devices_csv(DEVICES, &profiles(), ImportMode::Apply));
        fixture
    }

    /// Another handle on the same file, as another process (or the next start) has it.
    fn reopen(&self) -> Registry {
        open(&self.dir, self.registry.0.clock.clone())
    }
}

fn open(dir: &TempDir, clock: Clock) -> Registry {
    Registry::open_with(&dir.path().join("town.db"), clock, Passwords::weak()).unwrap()
}

fn profiles() -> Vec<ProfileId> {
    ["aqua-mh1", "hydra-sg200", "parkio-p1"].map(|id| id.parse().unwrap()).to_vec()
}

fn accepted(report: Result<ImportReport, RegistryError>) -> ImportReport {
    let report = report.unwrap();
    assert!(report.applied && report.rejected == 0, "{report:#?}");
    report
}

fn statuses(report: &ImportReport) -> Vec<RowStatus> {
    report.rows.iter().map(|row| row.status).collect()
}

/// Everything that two states must agree on to be the same town.
fn assert_same_town(a: &Registry, b: &Registry) {
    let (a, b) = (a.state(), b.state());
    assert_eq!(a.town.version, b.town.version);
    assert_eq!(a.town.devices, b.town.devices);
    assert_eq!(a.town.zones, b.town.zones);
    assert_eq!(a.town.assets, b.town.assets);
    for asset in a.town.assets.values() {
        assert_eq!(a.town.given_zone(asset), b.town.given_zone(asset), "{}", asset.id);
        assert_eq!(b.town.asset_by_number(asset.number), Some(asset));
        assert_eq!(a.town.devices_of(&asset.id), b.town.devices_of(&asset.id));
    }
    for device in a.town.devices.keys() {
        assert_eq!(a.keys.of_device(device), b.keys.of_device(device));
    }
}

#[test]
fn a_new_file_is_an_empty_town_of_version_1_that_only_its_owner_reads() {
    let fixture = Fixture::new();
    let town = fixture.registry.town();
    assert_eq!((town.version, town.assets.len(), town.devices.len()), (1, 0, 0));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let file = std::fs::metadata(fixture.dir.path().join("town.db")).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("town.db");
    std::fs::write(&path, "id,kind\n".repeat(100)).unwrap();
    assert!(matches!(Registry::open(&path, Clock::system()), Err(RegistryError::Database(_))));
    let nowhere = dir.path().join("no/such/folder.db");
    assert!(matches!(Registry::open(&nowhere, Clock::system()), Err(RegistryError::File { .. })));
}

#[test]
fn a_further_connection_has_the_same_guards() {
    let fixture = Fixture::new();
    let db = fixture.registry.connect().unwrap();
    let pragma = |name| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!((pragma("foreign_keys"), pragma("synchronous")), (1, 2));
    let mode: String = db.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
}

#[test]
fn a_change_is_told_with_its_version_and_no_change_is_not() {
    let fixture = Fixture::with_town();
    let mut changes = fixture.registry.changes();
    let before = fixture.registry.town().version;
    assert_eq!(*changes.borrow_and_update(), before);
    accepted(fixture.registry.import_assets(ASSETS, ImportMode::Apply));
    assert!(!changes.has_changed().unwrap(), "nothing was different");
    fixture.registry.rotate_secret(&"dev-mh-001".parse().unwrap()).unwrap();
    assert!(changes.has_changed().unwrap());
    assert_eq!(*changes.borrow_and_update(), before + 1);
    assert_eq!(fixture.registry.town().version, before + 1);
}

#[test]
fn two_processes_on_one_file_do_not_overwrite_each_other() {
    let here = Fixture::with_town();
    let there = here.reopen();
    accepted(there.import_assets_csv(ASSETS_CSV, ImportMode::Apply));
    let device = Device {
        id: "dev-gate-1".parse().unwrap(),
        name: Label::same("gate"),
        profile: profiles()[1].clone(),
        asset: Some("gate-1".parse().unwrap()),
        modbus: None,
        gateway: None,
        address: None,
    };
    here.registry.put_device(device, None).unwrap();
    assert!(here.registry.town().assets.contains_key("gate-1"), "read from the file");
    assert_same_town(&here.registry, &here.reopen());
}

#[test]
fn a_damaged_row_is_named_when_the_file_is_opened() {
    for (damage, id) in [
        ("UPDATE assets SET geometry = '{}' WHERE id = 'mh-001'", "mh-001"),
        (
            "UPDATE assets SET geometry = json_set(geometry, '$.coordinates[1]', 95) WHERE id = 'bay-001'",
            "bay-001",
        ),
        ("UPDATE devices SET secret = x'00' WHERE id = 'dev-mh-001'", "dev-mh-001"),
    ] {
        let fixture = Fixture::with_town();
        fixture.registry.connect().unwrap().execute(damage, ()).unwrap();
        let path = fixture.dir.path().join("town.db");
        match Registry::open_with(&path, Clock::system(), Passwords::weak()) {
            Err(RegistryError::Corrupt { id: named, .. }) => assert_eq!(named, id),
            other => panic!("{damage}: {other:?}"),
        }
    }
}
