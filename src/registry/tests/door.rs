//! Devices and service accounts at the MQTT door.

use super::*;

fn device(registry: &Registry, name: &str, secret: &str) -> Option<String> {
    match registry.authenticate(name, secret.as_bytes()) {
        Ok(Principal::Device(device)) => Some(device.id.to_string()),
        Ok(Principal::Service(_)) => panic!("a service"),
        Err(denied) => {
            assert_eq!(denied, Denied::BadCredentials);
            None
        }
    }
}

#[test]
fn a_device_gets_in_with_the_secret_that_was_made_or_given() {
    let fixture = Fixture::new();
    accepted(fixture.registry.import_zones(ZONES, ImportMode::Apply));
    accepted(fixture.registry.import_assets(ASSETS, ImportMode::Apply));
    let report =
        accepted(fixture.registry.import_devices_csv(DEVICES, &profiles(), ImportMode::Apply));
    let made = report.rows[0].secret.clone().unwrap();
    assert!(made.len() >= 26);
    assert_eq!(report.rows[1].secret, None, "given, so not told");
    assert!(report.rows[2].secret.is_some());
    for registry in [fixture.registry.clone(), fixture.reopen()] {
        assert_eq!(device(&registry, "dev-mh-001", &made).as_deref(), Some("dev-mh-001"));
        let given = "a-secret-of-16-chars-or-more";
        assert_eq!(device(&registry, "dev-bay-001", given).as_deref(), Some("dev-bay-001"));
        assert_eq!(device(&registry, "dev-mh-001", given), None);
        assert_eq!(device(&registry, "dev-mh-001", ""), None);
        assert_eq!(device(&registry, "dev-gate-1", ""), None);
        assert_eq!(device(&registry, "nobody", &made), None);
    }
}

#[test]
fn a_secret_is_kept_until_it_is_changed() {
    let fixture = Fixture::with_town();
    let registry = &fixture.registry;
    let id = "dev-bay-001".parse().unwrap();
    let given = "a-secret-of-16-chars-or-more";
    let without = b"id,profile,asset\ndev-bay-001,parkio-p1,\n";
    let report = accepted(registry.import_devices_csv(without, &profiles(), ImportMode::Apply));
    assert_eq!(statuses(&report), [RowStatus::Updated]);
    assert!(device(registry, "dev-bay-001", given).is_some());

    let rotated = registry.rotate_secret(&id).unwrap();
    assert!(device(registry, "dev-bay-001", given).is_none());
    assert!(device(&fixture.reopen(), "dev-bay-001", &rotated).is_some());

    let other = b"id,profile,secret\ndev-bay-001,parkio-p1,another-secret-of-length\n";
    let report = accepted(registry.import_devices_csv(other, &profiles(), ImportMode::Apply));
    assert_eq!(statuses(&report), [RowStatus::Updated], "the secret is the difference");
    assert!(device(registry, "dev-bay-001", "another-secret-of-length").is_some());
    let nobody = registry.rotate_secret(&"nobody".parse().unwrap());
    assert!(matches!(nobody, Err(RegistryError::NotFound { what: "device", .. })));
}

#[test]
fn a_single_device_is_put_and_checked_like_a_row() {
    let fixture = Fixture::with_town();
    let registry = &fixture.registry;
    let mut thing = Device {
        id: "dev-new".parse().unwrap(),
        name: Label::same("new"),
        profile: profiles()[0].clone(),
        asset: Some("mh-001".parse().unwrap()),
        modbus: None,
        gateway: None,
        address: None,
    };
    let secret = registry.put_device(thing.clone(), None).unwrap().unwrap();
    assert!(device(registry, "dev-new", &secret).is_some());
    assert_eq!(*registry.town().devices["dev-new"], thing);
    thing.name = Label::same("renamed");
    assert_eq!(registry.put_device(thing.clone(), None).unwrap(), None, "keeps its secret");
    assert!(device(&fixture.reopen(), "dev-new", &secret).is_some());

    thing.asset = Some("no-such".parse().unwrap());
    thing.modbus = Some(ModbusAddress { endpoint: "nowhere".to_owned(), unit: 250 });
    let refused = registry.put_device(thing, Some("short")).unwrap_err();
    let RegistryError::Invalid { errors, .. } = refused else { panic!("{refused}") };
    assert_eq!(errors.len(), 4, "{errors:?}");
    assert_same_town(registry, &fixture.reopen());
}

#[test]
fn a_service_account_gets_in_and_its_secret_is_replaced() {
    let fixture = Fixture::new();
    let account = ServiceAccount {
        name: "svc-board".to_owned(),
        publish: vec![],
        subscribe: vec!["devices/+/telemetry".to_owned()],
    };
    let old = fixture.registry.put_service(account.clone()).unwrap();
    let new = fixture.registry.put_service(account.clone()).unwrap();
    for registry in [fixture.registry.clone(), fixture.reopen()] {
        assert!(registry.authenticate("svc-board", old.as_bytes()).is_err());
        match registry.authenticate("svc-board", new.as_bytes()) {
            Ok(Principal::Service(found)) => assert_eq!(*found, account),
            other => panic!("{other:?}"),
        }
    }
    let wrong = ServiceAccount {
        name: "board/1".to_owned(),
        publish: vec!["a/#/b".to_owned()],
        subscribe: vec![String::new()],
    };
    let refused = fixture.registry.put_service(wrong).unwrap_err();
    let RegistryError::Invalid { errors, .. } = refused else { panic!("{refused}") };
    assert_eq!(errors.len(), 4, "{errors:?}");
}

#[test]
fn an_old_secret_is_good_until_its_time_is_over_or_the_new_one_is_used() {
    let fixture = Fixture::with_town();
    let registry = &fixture.registry;
    let id: crate::model::DeviceId = "dev-bay-001".parse().unwrap();
    let old = "a-secret-of-16-chars-or-more";
    let grace = Duration::from_secs(3600);
    let is_in =
        |registry: &Registry, secret: &str| device(registry, "dev-bay-001", secret).is_some();

    registry.rotate_secrets(std::slice::from_ref(&id), grace).unwrap();
    assert!(is_in(registry, old) && is_in(&fixture.reopen(), old));
    fixture.clock.advance(grace);
    assert!(!is_in(registry, old), "its time is over");

    let made = registry.rotate_secrets(std::slice::from_ref(&id), grace).unwrap();
    let first = made[0].1.clone();
    let second = registry.rotate_secrets(std::slice::from_ref(&id), grace).unwrap()[0].1.clone();
    assert!(!is_in(registry, old), "only one before the present one");
    assert!(is_in(registry, &first) && is_in(registry, &second));
    assert!(!is_in(registry, &first), "the new one was used");
    registry.take_up_changes().unwrap();
    assert!(!is_in(&fixture.reopen(), &first), "also after a restart");
    assert!(is_in(&fixture.reopen(), &second));
    let over = registry.rotate_secrets(&[id], MAX_GRACE + Duration::from_secs(1));
    assert!(matches!(over, Err(RegistryError::Document(_))));
}
