//! Who may change what, and that the audit log knows it.

use super::*;
use crate::audit::{self, Query, Record};
use crate::model::{Right, ZoneId};

/// The log's actions with their subjects and actors, oldest first.
fn log(registry: &Registry) -> Vec<String> {
    let short = |entry: &Record| format!("{} {} {}", entry.actor, entry.action, entry.subject);
    entries(registry).iter().map(short).collect()
}

fn entries(registry: &Registry) -> Vec<Record> {
    let db = registry.connect().unwrap();
    audit::verify(&db, None).unwrap();
    let mut entries = audit::page(&db, &Query { limit: 1000, ..Query::default() }).unwrap();
    entries.reverse();
    entries
}

fn user(name: &str, role: Role, zones: Option<&[&str]>) -> User {
    let zones = zones.map(|zones| zones.iter().map(|zone| zone.parse().unwrap()).collect());
    User { name: name.to_owned(), role, zones }
}

fn with_admin() -> (Fixture, Registry) {
    let fixture = Fixture::new();
    fixture.registry.first_admin().unwrap().unwrap();
    let admin = fixture.registry.by(&user("admin", Role::Admin, None));
    (fixture, admin)
}

fn errors(refused: Result<impl std::fmt::Debug, RegistryError>) -> String {
    refused.unwrap_err().to_string()
}

#[test]
fn a_user_is_made_changed_kept_out_and_deleted() {
    let (_fixture, admin) = with_admin();
    let password = admin.add_user(&user("ann", Role::Viewer, None)).unwrap();
    let cookie = admin.log_in("ann", &password).unwrap();
    let holder = admin.holder(&cookie).unwrap();
    assert!(holder.must_change && holder.may(Right::View) && !holder.may(Right::Operate));

    let role = UserChange { role: Some(Role::Operator), ..UserChange::default() };
    admin.change_user("ann", &role).unwrap();
    assert!(admin.holder(&cookie).unwrap().may(Right::Operate), "at once");
    let out = UserChange { disabled: Some(true), ..UserChange::default() };
    admin.change_user("ann", &out).unwrap();
    assert_eq!(admin.holder(&cookie), None);
    assert_eq!(admin.log_in("ann", &password), Err(Denied::BadCredentials));
    let back = UserChange { disabled: Some(false), ..UserChange::default() };
    admin.change_user("ann", &back).unwrap();
    assert_eq!(admin.change_user("ann", &back).unwrap().user.role, Role::Operator, "no change");
    admin.log_in("ann", &password).unwrap();
    admin.delete_user("ann").unwrap();
    assert_eq!(admin.users().unwrap().len(), 1);
    assert_eq!(
        log(&admin),
        [
            "(hub) user.add admin",
            "admin user.add ann",
            "ann session.open ann",
            "admin user.change ann",
            "admin user.change ann",
            "admin user.change ann",
            "ann session.open ann",
            "admin user.delete ann",
        ]
    );
}

#[test]
fn what_is_wrong_with_a_user_is_told_and_nothing_is_done() {
    let (_fixture, admin) = with_admin();
    let before = log(&admin);
    assert!(errors(admin.add_user(&user("(hub)", Role::Viewer, None))).contains("letters"));
    let elsewhere = user("ann", Role::Viewer, Some(&["mars"]));
    assert!(errors(admin.add_user(&elsewhere)).contains("there is no zone `mars`"));
    assert!(errors(admin.add_user(&user("ann", Role::Viewer, Some(&[])))).contains("zones"));
    assert!(errors(admin.add_user(&user("admin", Role::Viewer, None))).contains("already"));
    assert!(errors(admin.delete_user("nobody")).contains("nobody"));
    assert_eq!(log(&admin), before);
}

#[test]
fn the_last_administrator_of_the_whole_town_remains() {
    let fixture = Fixture::with_town();
    let registry = &fixture.registry;
    registry.first_admin().unwrap();
    let zone: ZoneId = registry.town().zones.keys().next().unwrap().clone();
    let less = [
        UserChange { role: Some(Role::Engineer), ..UserChange::default() },
        UserChange { disabled: Some(true), ..UserChange::default() },
        UserChange { zones: Some(Some(vec![zone])), ..UserChange::default() },
    ];
    let check_all = |refused: bool| {
        for change in &less {
            let outcome = registry.change_user("admin", change);
            assert_eq!(matches!(outcome, Err(RegistryError::LastAdmin)), refused, "{change:?}");
            if !refused {
                return;
            }
        }
        assert!(matches!(registry.delete_user("admin"), Err(RegistryError::LastAdmin)));
    };
    check_all(true);
    registry.add_user(&user("eve", Role::Admin, None)).unwrap();
    check_all(false);
    assert!(matches!(registry.delete_user("eve"), Err(RegistryError::LastAdmin)));
}

#[test]
fn a_password_is_changed_by_who_knows_it_and_other_sessions_end() {
    let (_fixture, admin) = with_admin();
    let password = admin.add_user(&user("ann", Role::Viewer, None)).unwrap();
    let other = admin.log_in("ann", &password).unwrap();
    let cookie = admin.log_in_from("ann", &password, "Browser\n 1").unwrap();
    let holder = admin.holder(&cookie).unwrap();
    let ann = admin.by(&holder.user);
    let change = |current: &str, new: &str| ann.change_password(&holder, current, new);
    let wrong = change("wrong", "tide-gate-42-west");
    assert!(matches!(wrong, Err(RegistryError::Denied(Denied::BadCredentials))));
    assert!(errors(change(&password, "short")).contains("at least 10"));
    assert!(errors(change(&password, &password)).contains("that you have"));
    assert!(admin.holder(&cookie).unwrap().must_change, "still");

    change(&password, "tide-gate-42-west").unwrap();
    assert!(!admin.holder(&cookie).unwrap().must_change);
    assert_eq!(admin.holder(&other), None);
    assert_eq!(admin.log_in("ann", &password), Err(Denied::BadCredentials));
    admin.log_in("ann", "tide-gate-42-west").unwrap();

    admin.log_in("admin", &admin.reset_password("admin").unwrap()).unwrap();
    let own_name = Some("ann");
    let sessions = admin.sessions(&holder, own_name).unwrap();
    let own: Vec<_> = sessions.iter().filter(|session| session.current).collect();
    assert_eq!((sessions.len(), own.len(), own[0].agent.as_str()), (2, 1, "Browser 1"));
    let second = sessions.iter().find(|session| !session.current).unwrap();
    ann.end_session(own_name, &second.id).unwrap();
    let again = ann.end_session(own_name, &second.id);
    assert!(matches!(again, Err(RegistryError::NotFound { .. })));
    assert_eq!(admin.sessions(&holder, own_name).unwrap().len(), 1);
    let everybodys = admin.sessions(&holder, None).unwrap();
    let admins = everybodys.iter().find(|session| session.user == "admin").unwrap();
    assert!(ann.end_session(own_name, &admins.id).is_err(), "another's is as none");
    admin.end_session(None, &admins.id).unwrap();
    assert_eq!(admin.sessions(&holder, None).unwrap().len(), 1);

    assert!(!holder.must_change || admin.reset_password("ann").is_ok());
    assert_eq!(admin.holder(&cookie), None, "a reset ends every session");
}

#[test]
fn a_token_has_a_scope_within_its_users_rights_and_an_end() {
    let (fixture, admin) = with_admin();
    admin.add_user(&user("ann", Role::Operator, None)).unwrap();
    let token = |scope: Option<Vec<Right>>, days| {
        admin.make_token(&NewToken { user: "ann", label: "t", scope, days })
    };
    let reading = token(Some(vec![Right::View]), Some(1)).unwrap();
    let wide = token(Some(vec![Right::View, Right::Administer]), None).unwrap();
    let all = token(None, None).unwrap();
    let rights = |token: &str| admin.holder(token).map(|holder| holder.rights());
    assert_eq!(rights(&reading), Some(vec![Right::View]));
    assert_eq!(rights(&wide), Some(vec![Right::View]), "no more than its user has");
    assert_eq!(rights(&all), Some(vec![Right::View, Right::Acknowledge, Right::Operate]));
    assert!(errors(token(Some(vec![]), None)).contains("one right at least"));
    assert!(errors(token(None, Some(0))).contains("1 to 3650"));
    assert!(errors(token(None, Some(3651))).contains("1 to 3650"));

    let listed = admin.tokens().unwrap();
    assert_eq!(listed[0].scope, Some(vec![Right::View]));
    assert_eq!(listed[0].ends_at, Some(START.plus(Duration::from_secs(86_400))));
    assert_eq!((listed[0].used_at, listed[2].used_at), (Some(START), Some(START)));
    fixture.clock.advance(Duration::from_secs(86_400));
    assert_eq!(rights(&reading), None, "ended");
    assert!(rights(&all).is_some());
    assert_eq!(admin.tokens().unwrap()[2].used_at, Some(fixture.registry.0.clock.now()));
    assert_eq!(fixture.reopen().holder(&reading), None);

    let foreign = admin.delete_token_of(Some("bob"), listed[2].id);
    assert!(matches!(foreign, Err(RegistryError::NotFound { .. })));
    admin.delete_token_of(Some("ann"), listed[2].id).unwrap();
    assert_eq!(rights(&all), None);
}

#[test]
fn a_token_from_before_scopes_has_all_rights_of_its_user_and_does_not_end() {
    let (fixture, admin) = with_admin();
    let token = admin.create_token("admin", "old").unwrap();
    let db = admin.connect().unwrap();
    db.execute_batch("UPDATE tokens SET scope = NULL, expires_at = NULL").unwrap();
    let registry = fixture.reopen();
    fixture.clock.advance(Duration::from_secs(400 * 86_400));
    assert_eq!(registry.holder(&token).unwrap().rights(), Right::ALL);
}

#[test]
fn refused_log_ins_are_logged_bounded_and_without_made_up_names() {
    let (fixture, admin) = with_admin();
    let before = log(&admin).len();
    let fresh = || log(&admin).split_off(before);
    for _ in 0..12 {
        let _ = admin.log_in("admin", "wrong");
        let _ = admin.log_in("hunter2-is-my-password", "admin");
        admin.log_refusals().unwrap();
    }
    let found = fresh();
    let count = |entry: &str| found.iter().filter(|found| *found == entry).count();
    assert_eq!(count("(stranger) login.refused admin"), 10);
    assert_eq!(count("(stranger) login.locked_out admin"), 1, "{found:?}");
    assert_eq!(count("(stranger) login.refused (stranger)"), 1);
    assert_eq!(found.len(), 12, "{found:?}");
    fixture.clock.advance(Duration::from_secs(60));
    admin.log_refusals().unwrap();
    let last = entries(&admin).pop().unwrap();
    assert_eq!(last.detail["tries"], 10, "nine more tries and the lock: {last:?}");
}

#[test]
fn every_change_of_the_town_is_logged_with_who_did_it() {
    let fixture = Fixture::with_town();
    let ann = fixture.registry.by(&user("ann", Role::Engineer, None));
    let before = log(&ann).len();
    assert!(before >= 3, "the town itself: {:?}", log(&ann));
    let device = ann.town().devices.values().next().unwrap().id.clone();
    ann.rotate_secret(&device).unwrap();
    let account = ServiceAccount { name: "svc-x".into(), publish: vec![], subscribe: vec![] };
    ann.put_service(account).unwrap();
    accepted(ann.import_assets(ASSETS, ImportMode::Apply));
    accepted(ann.import_assets(ASSETS, ImportMode::DryRun).map(|mut report| {
        report.applied = true;
        report
    }));
    let found = log(&ann).split_off(before);
    let rotated = format!("ann device.change {device}");
    assert_eq!(
        found,
        [rotated.as_str(), "ann service.change svc-x"],
        "what changes nothing is none"
    );
    let secret = &entries(&ann)[before].detail;
    assert_eq!(secret, &serde_json::json!({ "secret": "new" }));
}

#[test]
fn a_large_import_logs_every_id() {
    let fixture = Fixture::new();
    let mut csv = String::from("id,kind,name_zh,name_en,zone,parent,lon,lat\n");
    for n in 0..250 {
        csv.push_str(&format!("mh-{n},manhole,井,Manhole,,,120.48,30.74\n"));
    }
    accepted(fixture.registry.import_assets_csv(csv.as_bytes(), ImportMode::Apply));
    let entries = entries(&fixture.registry);
    assert_eq!(entries.len(), 3);
    let ids: usize = entries.iter().map(|e| e.detail["added"].as_array().unwrap().len()).sum();
    assert_eq!((ids, entries[0].action.as_str()), (250, "asset.import"));
}

#[test]
fn nobody_changes_what_is_out_of_his_zones() {
    let fixture = Fixture::new();
    let square = |id: &str, west: f64| {
        let east = west + 0.01;
        serde_json::json!({"type": "Feature", "properties": {"id": id, "name": id}, "geometry": {
            "type": "Polygon",
            "coordinates": [[[west, 30.7], [east, 30.7], [east, 30.8], [west, 30.8], [west, 30.7]]]
        }})
    };
    let zones = serde_json::json!({"type": "FeatureCollection", "features": [square("west", 120.46), square("east", 120.48)]});
    accepted(fixture.registry.import_zones(&zones.to_string(), ImportMode::Apply));
    let head = "id,kind,name_zh,name_en,zone,parent,lon,lat\n";
    let row = |id: &str, lon: f64| format!("{id},manhole,井,M,,,{lon},30.75\n");
    let all = format!("{head}{}{}", row("in", 120.465), row("out", 120.485));
    accepted(fixture.registry.import_assets_csv(all.as_bytes(), ImportMode::Apply));
    let before = (log(&fixture.registry), fixture.registry.town().version);

    let ann = fixture.registry.by(&user("ann", Role::Engineer, Some(&["west"])));
    let assets =
        |rows: String, mode| ann.import_assets_csv(format!("{head}{rows}").as_bytes(), mode);
    for mode in [ImportMode::Apply, ImportMode::DryRun] {
        let new = errors(assets(row("new", 120.485), mode));
        assert!(new.contains("asset `new` lies outside") && new.contains("zones west"), "{new}");
        assert!(errors(assets(row("in", 120.485), mode)).contains("`in`"), "moved out");
        assert!(errors(assets(row("out", 120.465), mode)).contains("`out`"), "taken in");
        assert!(errors(assets(row("nowhere", 121.0), mode)).contains("`nowhere`"));
        let devices = |asset: &str| {
            let csv = format!("id,profile,asset\nd-1,parkio-p1,{asset}\n");
            ann.import_devices_csv(csv.as_bytes(), &profiles(), mode)
        };
        assert!(errors(devices("out")).contains("device `d-1`"));
        assert!(errors(devices("")).contains("device `d-1`"));
        let zones = ann.import_zones(&zones.to_string().replace("120.49", "120.491"), mode);
        assert!(errors(zones).contains("whole town"));
    }
    let account = ServiceAccount { name: "svc-x".into(), publish: vec![], subscribe: vec![] };
    assert!(errors(ann.put_service(account)).contains("whole town"));
    assert_eq!((log(&fixture.registry), fixture.registry.town().version), before);

    accepted(assets(row("new", 120.466), ImportMode::Apply));
    assert_eq!(log(&ann).last().unwrap(), "ann asset.add new");
}
