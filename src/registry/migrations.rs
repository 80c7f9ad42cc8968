//! The steps that bring a town's state file to the form that this program knows.
//!
//! This list is the one place for the whole file: rooms that own other tables in it hand their SQL here. A step
//! that was released is never edited; a change is a further step at the end.

use rusqlite::{Connection, TransactionBehavior};

use super::error::RegistryError;

/// The steps, in order; a file's `user_version` says how many it has had.
const MIGRATIONS: &[&str] = &[
    include_str!("schema.sql"),
    include_str!("../alert/schema.sql"),
    include_str!("access.sql"),
    include_str!("../audit/schema.sql"),
    include_str!("../alert/event_seq.sql"),
    include_str!("../case/schema.sql"),
    include_str!("provisioning.sql"),
    include_str!("../command/schema.sql"),
    include_str!("../alert/loop.sql"),
    include_str!("../alert/book/schema.sql"),
    include_str!("../alert/aside.sql"),
    include_str!("../report/schema.sql"),
    include_str!("../notify/schema.sql"),
    include_str!("../trouble/schema.sql"),
    include_str!("../notify/troubles.sql"),
];

/// SQLite's `application_id` of a town's state: "town" in ASCII.
const APPLICATION_ID: i64 = 0x746f_776e;

/// Brings the file to the newest version, each step in a transaction of its own.
///
/// # Errors
/// When the file is newer than this program, belongs to another program, or SQLite fails; it is then unchanged
/// by the step that failed.
pub(super) fn migrate(db: &mut Connection) -> Result<(), RegistryError> {
    run(db, MIGRATIONS)
}

fn run(db: &mut Connection, steps: &[&str]) -> Result<(), RegistryError> {
    loop {
        // Immediate: two processes that open a new file at once do each step once.
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        check_owner(&tx)?;
        let found = number(&tx, "user_version")?;
        let done = usize::try_from(found).ok().filter(|&done| done <= steps.len());
        let Some(done) = done else {
            return Err(RegistryError::NewerDatabase { found, known: steps.len() as i64 });
        };
        let Some(step) = steps.get(done) else { return Ok(()) };
        tx.execute_batch(step)?;
        tx.pragma_update(None, "user_version", found + 1)?;
        tx.pragma_update(None, "application_id", APPLICATION_ID)?;
        tx.commit()?;
    }
}

/// Refuses a database that another program made.
fn check_owner(db: &Connection) -> Result<(), RegistryError> {
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))?;
    match number(db, "application_id")? {
        APPLICATION_ID => Ok(()),
        0 if tables == 0 => Ok(()),
        _ => Err(RegistryError::ForeignDatabase),
    }
}

fn number(db: &Connection, pragma: &str) -> Result<i64, rusqlite::Error> {
    db.pragma_query_value(None, pragma, |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(db: &Connection) -> Vec<String> {
        let mut names = db
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
            .unwrap();
        names.query_map((), |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn an_empty_file_becomes_a_town_and_a_second_run_changes_nothing() {
        let mut db = Connection::open_in_memory().unwrap();
        migrate(&mut db).unwrap();
        let made = tables(&db);
        for table in ["assets", "devices", "sessions", "tokens", "users", "versions", "zones"] {
            assert!(made.iter().any(|name| name == table), "{table} in {made:?}");
        }
        assert_eq!(number(&db, "user_version").unwrap(), MIGRATIONS.len() as i64);
        migrate(&mut db).unwrap();
        assert_eq!(tables(&db), made);
    }

    #[test]
    fn a_file_goes_on_from_the_step_that_it_has() {
        let mut db = Connection::open_in_memory().unwrap();
        run(&mut db, &["CREATE TABLE a (x)"]).unwrap();
        run(&mut db, &["CREATE TABLE a (x)", "CREATE TABLE b (x)"]).unwrap();
        assert_eq!(tables(&db), ["a", "b"]);
    }

    #[test]
    fn a_step_that_fails_leaves_nothing_behind() {
        let mut db = Connection::open_in_memory().unwrap();
        let steps = ["CREATE TABLE a (x)", "CREATE TABLE b (x); NONSENSE"];
        assert!(matches!(run(&mut db, &steps), Err(RegistryError::Database(_))));
        assert_eq!(tables(&db), ["a"]);
        assert_eq!(number(&db, "user_version").unwrap(), 1);
    }

    #[test]
    fn a_newer_and_a_foreign_file_are_refused() {
        let mut db = Connection::open_in_memory().unwrap();
        migrate(&mut db).unwrap();
        let newer = MIGRATIONS.len() as i64 + 1;
        db.pragma_update(None, "user_version", newer).unwrap();
        let refused = migrate(&mut db).unwrap_err();
        assert!(matches!(refused, RegistryError::NewerDatabase { found, .. } if found == newer));

        let mut db = Connection::open_in_memory().unwrap();
        db.execute_batch("CREATE TABLE contacts (name)").unwrap();
        assert!(matches!(migrate(&mut db), Err(RegistryError::ForeignDatabase)));
    }
}
