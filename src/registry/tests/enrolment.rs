//! Devices that register themselves.

use super::*;

const OWN: &str = "own-secret-of-16-chars";
const PEER: &str = "10.0.0.9";

fn new(max_devices: u32) -> NewEnrolment {
    NewEnrolment {
        label: "north".to_owned(),
        profile: Some(profiles()[0].clone()),
        zone: None,
        max_devices,
        expires_in: Duration::from_secs(3600),
    }
}

fn key(registry: &Registry, max_devices: u32) -> String {
    registry.create_enrolment(new(max_devices)).unwrap().1
}

fn enrol(registry: &Registry, device: &str, password: &str) -> Result<Enrolled, EnrolError> {
    registry.enrol(&Wish { device, password: password.as_bytes(), peer: PEER })
}

fn with(key: &str) -> String {
    format!("{key}:{OWN}")
}

fn waits(outcome: Result<Enrolled, EnrolError>) -> bool {
    matches!(outcome, Ok(Enrolled::Waiting(_)))
}

fn refused(outcome: Result<Enrolled, EnrolError>) -> EnrolError {
    outcome.expect_err("refused")
}

#[test]
fn a_device_waits_until_it_is_approved_and_keeps_its_secret() {
    let fixture = Fixture::with_town();
    let registry = &fixture.registry;
    let password = with(&key(registry, 10));
    assert!(waits(enrol(registry, "new-1", &password)));
    assert!(waits(enrol(registry, "new-1", &password)), "it comes back");
    assert!(!registry.town().devices.contains_key("new-1"));
    assert!(
        registry.authenticate("new-1", OWN.as_bytes()).is_err(),
        "only by the enrolment's door"
    );
    let waiting = fixture.reopen().waiting();
    assert_eq!(waiting.len(), 1, "it waits over a restart, once");
    assert_eq!((waiting[0].id.as_str(), waiting[0].peer.as_str()), ("new-1", PEER));
    assert_eq!(registry.enrolments()[0].used, 1);

    let approval = Approval { asset: Some("mh-001".parse().unwrap()), ..Approval::default() };
    let device = registry.approve("new-1", &approval).unwrap();
    assert_eq!((&device.profile, device.name.en.as_str()), (&profiles()[0], "new-1"));
    for registry in [registry.clone(), fixture.reopen()] {
        assert!(registry.waiting().is_empty());
        assert!(matches!(enrol(&registry, "new-1", &password), Ok(Enrolled::Device(_))));
        assert!(registry.authenticate("new-1", OWN.as_bytes()).is_ok());
        assert_eq!(
            refused(enrol(&registry, "new-1", "x:another-secret-of-16")),
            EnrolError::IdTaken
        );
    }
    assert_same_town(registry, &fixture.reopen());
    // The key is looked at no more.
    fixture.clock.advance(Duration::from_secs(7200));
    assert!(matches!(enrol(registry, "new-1", &password), Ok(Enrolled::Device(_))));
}

#[test]
fn a_rejected_device_does_not_come_back_and_takes_its_place_of_the_key() {
    let fixture = Fixture::with_town();
    let registry = &fixture.registry;
    let password = with(&key(registry, 1));
    assert!(waits(enrol(registry, "new-1", &password)));
    registry.reject("new-1").unwrap();
    assert_eq!(refused(enrol(registry, "new-1", &password)), EnrolError::Rejected);
    assert_eq!(refused(enrol(&fixture.reopen(), "new-1", &password)), EnrolError::Rejected);
    assert!(matches!(
        registry.approve("new-1", &Approval::default()),
        Err(RegistryError::NotFound { .. })
    ));
    assert_eq!(refused(enrol(registry, "new-2", &password)), EnrolError::UsedUp(1));
    // By hand it can still be listed.
    let csv = b"id,profile\nnew-1,aqua-mh1\n";
    accepted(registry.import_devices_csv(csv, &profiles(), ImportMode::Apply));
}

#[test]
fn who_may_not_enrol_is_told_why_and_nothing_is_made() {
    let fixture = Fixture::with_town();
    let registry = &fixture.registry;
    let key = key(registry, 10);
    let password = with(&key);
    for id in ["", "a/b", "井", "a b", &"x".repeat(65)] {
        assert!(matches!(refused(enrol(registry, id, &password)), EnrolError::BadId(_)), "{id}");
    }
    for id in ["svc-x", "enroll", "enroll:x"] {
        assert_eq!(refused(enrol(registry, id, &password)), EnrolError::ReservedId(id.to_owned()));
    }
    assert_eq!(refused(enrol(registry, "new-1", &key)), EnrolError::NoOwnSecret);
    assert_eq!(refused(enrol(registry, "new-1", &format!("{key}:short"))), EnrolError::WeakSecret);
    assert_eq!(refused(enrol(registry, "dev-mh-001", &password)), EnrolError::IdTaken);
    assert!(waits(enrol(registry, "new-1", &password)));
    let other = format!("{key}:another-secret-of-16");
    assert_eq!(refused(enrol(registry, "new-1", &other)), EnrolError::IdTaken);
    let csv = b"id,profile\nnew-1,aqua-mh1\n";
    let report = registry.import_devices_csv(csv, &profiles(), ImportMode::Apply).unwrap();
    assert!(report.rows[0].errors[0].contains("waits for approval"), "{report:?}");

    registry.revoke_enrolment(1).unwrap();
    assert_eq!(refused(enrol(registry, "new-2", &password)), EnrolError::Revoked(1));
    assert!(waits(enrol(registry, "new-1", &password)), "who waits goes on waiting");
    let second = with(&registry.create_enrolment(new(10)).unwrap().1);
    fixture.clock.advance(Duration::from_secs(3600));
    assert_eq!(refused(enrol(registry, "new-2", &second)), EnrolError::Expired(2));
    assert_eq!(registry.waiting().len(), 1);
}

#[test]
fn wrong_keys_close_the_door_to_their_address_only_and_not_to_who_is_known() {
    let fixture = Fixture::with_town();
    let registry = &fixture.registry;
    let password = with(&key(registry, 10));
    assert!(waits(enrol(registry, "new-1", &password)));
    for _ in 0..10 {
        assert_eq!(refused(enrol(registry, "new-2", &with("guess"))), EnrolError::UnknownKey);
    }
    assert_eq!(refused(enrol(registry, "new-2", &password)), EnrolError::LockedOut);
    assert!(waits(enrol(registry, "new-1", &password)));
    let elsewhere = Wish { device: "new-2", password: password.as_bytes(), peer: "10.0.0.8" };
    assert!(waits(registry.enrol(&elsewhere)));
    fixture.clock.advance(Duration::from_secs(15 * 60));
    assert!(waits(enrol(registry, "new-3", &password)), "after a quarter of an hour");
}

#[test]
fn an_approval_is_checked_like_a_row_and_against_the_keys_zone() {
    let fixture = Fixture::with_town();
    let registry = &fixture.registry;
    let zone = NewEnrolment { zone: Some("xizha".parse().unwrap()), profile: None, ..new(10) };
    let password = with(&registry.create_enrolment(zone).unwrap().1);
    assert!(waits(enrol(registry, "new-1", &password)));
    let check = |approval: Approval, part: &str| {
        let refused = registry.approve("new-1", &approval).unwrap_err().to_string();
        assert!(refused.contains(part), "{part}: {refused}");
    };
    let profile = Some(profiles()[0].clone());
    check(Approval::default(), "gives it no profile");
    let asset = |id: &str| Some(id.parse().unwrap());
    check(
        Approval { profile: profile.clone(), asset: asset("nowhere"), ..Approval::default() },
        "no asset `nowhere`",
    );
    check(
        Approval { profile: profile.clone(), asset: asset("lot-1"), ..Approval::default() },
        "is for zone `xizha`",
    );
    let gateway = Some("nobody".parse().unwrap());
    check(
        Approval { profile: profile.clone(), gateway, ..Approval::default() },
        "no device `nobody`",
    );
    registry
        .approve("new-1", &Approval { profile, asset: asset("mh-001"), ..Approval::default() })
        .unwrap();
    assert!(matches!(
        registry.approve("new-1", &Approval::default()),
        Err(RegistryError::NotFound { .. })
    ));
}

#[test]
fn a_key_is_refused_with_everything_that_is_wrong() {
    let fixture = Fixture::new();
    let wrong = NewEnrolment {
        label: "a\nb".to_owned(),
        zone: Some("nowhere".parse().unwrap()),
        max_devices: 0,
        expires_in: Duration::from_secs(91 * 24 * 3600),
        ..new(1)
    };
    match fixture.registry.create_enrolment(wrong) {
        Err(RegistryError::Invalid { errors, .. }) => assert_eq!(errors.len(), 4, "{errors:?}"),
        other => panic!("{other:?}"),
    }
    let (made, key) = fixture.registry.create_enrolment(new(5)).unwrap();
    assert_eq!((made.id, made.used, made.max_devices), (1, 0, 5));
    let file = std::fs::read(fixture.dir.path().join("town.db-wal")).unwrap();
    assert!(!file.windows(key.len()).any(|part| part == key.as_bytes()), "stored hashed");
    assert!(matches!(fixture.registry.revoke_enrolment(7), Err(RegistryError::NotFound { .. })));
}
