//! Users, sessions and tokens.

use super::*;

fn with_admin() -> (Fixture, String) {
    let fixture = Fixture::new();
    let (name, password) = fixture.registry.first_admin().unwrap().unwrap();
    assert_eq!(name, "admin");
    (fixture, password)
}

fn name_of(user: Option<User>) -> Option<String> {
    user.map(|user| user.name)
}

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn the_first_admin_is_made_once() {
    let (fixture, password) = with_admin();
    assert_eq!(password.len(), 24, "five groups of four: {password}");
    assert_eq!(fixture.registry.first_admin().unwrap(), None);
    assert_eq!(fixture.reopen().first_admin().unwrap(), None);
}

#[test]
fn who_logs_in_is_known_until_he_logs_out_also_after_a_restart() {
    let (fixture, password) = with_admin();
    let registry = &fixture.registry;
    let cookie = registry.log_in("admin", &password).unwrap();
    let admin = User { name: "admin".to_owned(), role: Role::Admin, zones: None };
    assert_eq!(registry.who(&cookie), Some(admin.clone()));
    assert_eq!(fixture.reopen().who(&cookie), Some(admin));
    assert_eq!(registry.who(""), None);
    assert_eq!(registry.who(&cookie.to_uppercase()), None);
    assert_eq!(registry.who(&"x".repeat(1_000_000)), None);
    registry.log_out("no session").unwrap();
    registry.log_out(&cookie).unwrap();
    assert_eq!(registry.who(&cookie), None);
    assert_eq!(fixture.reopen().who(&cookie), None);
}

#[test]
fn nothing_secret_stands_in_the_file() {
    let (fixture, password) = with_admin();
    let cookie = fixture.registry.log_in("admin", &password).unwrap();
    let token = fixture.registry.create_token("admin", "t").unwrap();
    drop(fixture.registry);
    for file in std::fs::read_dir(fixture.dir.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        for secret in [&password, &cookie, &token] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
        }
    }
}

#[test]
fn a_session_ends_twelve_hours_after_its_last_use() {
    let (fixture, password) = with_admin();
    let cookie = fixture.registry.log_in("admin", &password).unwrap();
    let idle = fixture.registry.log_in("admin", &password).unwrap();
    for _ in 0..3 {
        fixture.clock.advance(11 * HOUR);
        assert!(fixture.registry.who(&cookie).is_some());
    }
    assert!(fixture.registry.who(&idle).is_none());
    assert!(fixture.reopen().who(&cookie).is_some(), "its new end is on disk");
    fixture.clock.advance(12 * HOUR);
    assert!(fixture.registry.who(&cookie).is_none());
}

#[test]
fn a_user_has_no_more_sessions_than_the_limit() {
    let (fixture, password) = with_admin();
    let cookies: Vec<_> = (0..=100)
        .map(|_| {
            fixture.clock.advance(Duration::from_secs(1));
            fixture.registry.log_in("admin", &password).unwrap()
        })
        .collect();
    let alive = cookies.iter().filter(|cookie| fixture.registry.who(cookie).is_some()).count();
    assert_eq!(alive, 100);
    assert!(fixture.registry.who(&cookies[0]).is_none(), "the oldest made room");
}

#[test]
fn ten_wrong_tries_close_the_door_for_a_quarter_of_an_hour() {
    let (fixture, password) = with_admin();
    let registry = &fixture.registry;
    for name in ["admin", "nobody"] {
        for _ in 0..10 {
            assert_eq!(registry.log_in(name, "wrong"), Err(Denied::BadCredentials));
        }
        assert_eq!(registry.log_in(name, &password), Err(Denied::LockedOut), "{name}");
    }
    fixture.clock.advance(Duration::from_secs(15 * 60) - Duration::from_secs(1));
    assert_eq!(registry.log_in("admin", &password), Err(Denied::LockedOut));
    fixture.clock.advance(Duration::from_secs(1));
    registry.log_in("admin", &password).unwrap();
    assert_eq!(registry.log_in("admin", &"x".repeat(10_000)), Err(Denied::BadCredentials));
}

#[test]
fn a_reset_by_another_process_ends_sessions_and_opens_the_lock() {
    let (fixture, password) = with_admin();
    let registry = &fixture.registry;
    let cookie = registry.log_in("admin", &password).unwrap();
    let token = registry.create_token("admin", "bench").unwrap();
    while registry.log_in("admin", "wrong") != Err(Denied::LockedOut) {}

    let new = fixture.reopen().reset_password("admin").unwrap();
    fixture.clock.advance(Duration::from_secs(1));
    assert_eq!(registry.who(&cookie), None, "ended within a second");
    assert_eq!(name_of(registry.who(&token)).as_deref(), Some("admin"));
    assert_eq!(registry.log_in("admin", &password), Err(Denied::BadCredentials));
    registry.log_in("admin", &new).unwrap();
    let nobody = registry.reset_password("nobody");
    assert!(matches!(nobody, Err(RegistryError::NotFound { what: "user", .. })));
}

#[test]
fn a_token_of_another_process_is_found_and_made_up_ones_do_not_ask_the_file() {
    let (fixture, _) = with_admin();
    let registry = &fixture.registry;
    let token = fixture.reopen().create_token("admin", "cli").unwrap();
    fixture.clock.advance(Duration::from_millis(100));
    assert_eq!(name_of(registry.who(&token)).as_deref(), Some("admin"));

    // A flood within a moment: only its first asks the file.
    let late = fixture.reopen().create_token("admin", "late").unwrap();
    fixture.clock.advance(Duration::from_millis(100));
    assert_eq!(registry.who("made-up"), None);
    let later = fixture.reopen().create_token("admin", "later").unwrap();
    assert!(registry.who(&late).is_some());
    assert!(registry.who(&later).is_none());
    fixture.clock.advance(Duration::from_millis(100));
    assert!(registry.who(&later).is_some());
}

#[test]
fn tokens_are_listed_and_deleted_and_a_session_is_none() {
    let (fixture, password) = with_admin();
    let registry = &fixture.registry;
    let token = registry.create_token("admin", " bench ").unwrap();
    let listed = registry.tokens().unwrap();
    assert_eq!((listed.len(), listed[0].label.as_str(), listed[0].created_at), (1, "bench", START));
    let cookie = registry.log_in("admin", &password).unwrap();
    registry.log_out(&token).unwrap();
    assert!(registry.who(&token).is_some(), "a token does not log out");
    registry.delete_token(listed[0].id).unwrap();
    assert!(registry.who(&token).is_none() && registry.who(&cookie).is_some());
    assert!(matches!(registry.delete_token(1), Err(RegistryError::NotFound { .. })));
    assert!(matches!(registry.create_token("nobody", "x"), Err(RegistryError::NotFound { .. })));
    for label in ["", " ", &"x".repeat(101)] {
        let refused = registry.create_token("admin", label);
        assert!(matches!(refused, Err(RegistryError::Invalid { .. })), "{label}");
    }
}
