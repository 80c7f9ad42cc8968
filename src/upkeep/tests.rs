//! Real files: the embedded store and the registry, copied, damaged, restored and exported.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::*;
use crate::clock::Clock;
use crate::model::{Grade, Measurement, Quality, Reason, SeriesId, Timestamp};
use crate::profile::ProfileSet;
use crate::registry::Registry;
use crate::store::{EmbeddedStore, Limits, Nature, SeriesKey, Store};

const SERIES: u32 = 20;
/// 2026-09-21, at midnight by UTC.
const BEGIN: i64 = 1_789_948_800;

/// A data folder with a town and readings.
struct Scene {
    folder: tempfile::TempDir,
    registry: Registry,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("data")).unwrap();
        fs::create_dir(folder.path().join("profiles")).unwrap();
        fs::write(folder.path().join("profiles/x.toml"), "profile = 1\n").unwrap();
        let registry =
            Registry::open(&folder.path().join("data").join(TOWN), Clock::system()).unwrap();
        registry.first_admin().unwrap();
        Scene { folder, registry }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn store(&self) -> EmbeddedStore {
        let limits =
            Limits { seal_at: 40_000, max_hot: 200_000, max_age: Duration::from_secs(1 << 40) };
        let store = EmbeddedStore::open_with(&self.data().join(READINGS), limits).unwrap();
        let keys = (0..SERIES).map(|n| SeriesKey {
            device: format!("probe-{n:02}").parse().unwrap(),
            metric: "level".parse().unwrap(),
        });
        let numbers = store.series(&keys.collect::<Vec<_>>()).unwrap();
        let nature = Nature { hold: Duration::from_secs(600), minutes: true, ..Nature::default() };
        let natures: Vec<_> = numbers.into_iter().map(|number| (number, nature)).collect();
        store.describe(&natures).unwrap();
        store
    }

    /// What the alert room writes at its checkpoints.
    fn judged(&self, through: u64) {
        let db = self.registry.connect().unwrap();
        db.execute("UPDATE alert_progress SET judged = ?1, replay_from = ?1", [through as i64])
            .unwrap();
    }

    fn belongings(&self) -> Belongings {
        Belongings {
            data: self.data(),
            profiles: self.folder.path().join("profiles"),
            config: None,
            disk: DiskConfig { warn_below: None, stop_below: Some(Level::Bytes(0)) },
        }
    }

    fn back_up(&self) -> Finished {
        let into = self.folder.path().join("backups");
        self.belongings().back_up(&into, Clock::system().now(), &Stop::default()).unwrap()
    }
}

/// The minute's reading of every series.
fn minute(n: i64) -> Vec<Measurement> {
    let at = Timestamp::from_secs(BEGIN + n * 60);
    let reading = |series: u32| Measurement {
        series: SeriesId(series),
        quality: if n % 97 == 0 { bad() } else { Quality::GOOD },
        observed_at: at,
        received_at: at.plus(Duration::from_secs(1)),
        value: if n % 193 == 0 { f64::NAN } else { value(n, series) },
    };
    (0..SERIES).map(reading).collect()
}

fn value(n: i64, series: u32) -> f64 {
    ((n * 7 + i64::from(series)) % 4_000) as f64 / 1_000.0
}

fn bad() -> Quality {
    Quality { grade: Grade::Bad, reason: Some(Reason::Range) }
}

fn findings(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let checked =
        check(folder, &Stop::default(), &mut |finding| found.push(finding.to_string())).unwrap();
    assert_eq!(checked.findings, found.len());
    found
}

/// Days that are sealed and rolled up, and some minutes that are not sealed.
fn filled(scene: &Scene, minutes: i64) -> u64 {
    let store = scene.store();
    let sealed = minutes * 9 / 10;
    for n in (0..sealed).step_by(60) {
        let batches: Vec<_> = (n..sealed.min(n + 60)).map(minute).collect();
        let slices: Vec<&[Measurement]> = batches.iter().map(Vec::as_slice).collect();
        let seq = store.append(&slices).unwrap();
        scene.judged(seq.0);
        store.release(seq);
    }
    assert!(store.seal_now().unwrap());
    let mut last = 0;
    for n in sealed..minutes {
        last = store.append(&[&minute(n)]).unwrap().0;
    }
    last
}

#[test]
fn a_backup_under_load_is_of_one_moment_and_comes_back() {
    let scene = Scene::new();
    let store = scene.store();
    let (ended, is_backup) = (AtomicBool::new(false), AtomicBool::new(false));
    let (mut idle, mut busy) = (Vec::new(), Vec::new());
    let mut taken = Vec::new();
    std::thread::scope(|scope| {
        let (scene, store, ended, is_backup) = (&scene, &store, &ended, &is_backup);
        let writer = scope.spawn(move || {
            let mut times = Vec::new();
            let mut n = 0;
            while !ended.load(Ordering::SeqCst) {
                let batches: Vec<_> = (n..n + 50).map(minute).collect();
                let slices: Vec<&[Measurement]> = batches.iter().map(Vec::as_slice).collect();
                let begun = Instant::now();
                let seq = store.append(&slices).unwrap();
                times.push((is_backup.load(Ordering::SeqCst), begun.elapsed()));
                n += 50;
                // The judge lags a little, and what it has judged may be sealed at any moment.
                if seq.0 > 3 {
                    scene.judged(seq.0 - 3);
                    store.release(crate::store::CommitSeq(seq.0 - 3));
                }
            }
            times
        });
        while store.stats().unwrap().last_commit.0 < 200 {
            std::thread::yield_now();
        }
        for _ in 0..3 {
            is_backup.store(true, Ordering::SeqCst);
            let before = store.stats().unwrap().last_commit.0;
            taken.push((before, scene.back_up()));
            is_backup.store(false, Ordering::SeqCst);
            let next = store.stats().unwrap().last_commit.0 + 40;
            while store.stats().unwrap().last_commit.0 < next {
                std::thread::yield_now();
            }
        }
        ended.store(true, Ordering::SeqCst);
        for (is_busy, time) in writer.join().unwrap() {
            if is_busy { busy.push(time) } else { idle.push(time) }
        }
    });
    let p99 = |times: &mut Vec<Duration>| {
        times.sort();
        times.get(times.len() * 99 / 100).copied()
    };
    println!(
        "p99 of {} commits of 1000 without a backup {:?}, of {} during one {:?}",
        idle.len(),
        p99(&mut idle),
        busy.len(),
        p99(&mut busy)
    );
    assert!(busy.len() > 3, "commits go on during a backup");
    for (number, (before, backup)) in taken.into_iter().enumerate() {
        let ends = backup.manifest.readings.unwrap();
        assert!(ends.last_commit >= before, "all that was acknowledged before it began");
        assert!(ends.sealed_through <= backup.manifest.judged_through);
        assert!(backup.manifest.judged_through <= ends.last_commit);
        assert_eq!(findings(&backup.folder), [""; 0]);
        assert!(backup.folder.join("profiles/x.toml").is_file());
        let data = scene.folder.path().join(format!("restored-{number}"));
        restore(&backup.folder, &data, Clock::system().now(), &Stop::default()).unwrap();
        assert_eq!(findings(&data), [""; 0]);
        let restored = EmbeddedStore::open(&data.join(READINGS)).unwrap();
        let minutes = i64::try_from(ends.last_commit).unwrap() * 50;
        for series in [0, SERIES - 1] {
            let (from, to) = (Timestamp::EPOCH, Timestamp::from_secs(BEGIN * 2));
            let samples = restored.range(SeriesId(series), from, to, usize::MAX).unwrap();
            assert_eq!(samples.len() as i64, minutes, "every reading up to the last commit");
            assert_eq!(samples[1].value, value(1, series));
        }
    }
}

#[test]
fn a_backup_is_restored_whole_into_an_empty_folder_or_not_at_all() {
    let scene = Scene::new();
    let last = filled(&scene, 600);
    scene.judged(last);
    let backup = scene.back_up();
    let now = Clock::system().now();
    let refused = |backup: &Path, data: &Path| {
        let outcome = restore(backup, data, now, &Stop::default());
        crate::error_chain(&outcome.expect_err("refused"))
    };
    let message = refused(&backup.folder, &scene.data());
    assert!(message.contains("is not empty"), "{message}");
    let message = refused(&scene.data(), &scene.folder.path().join("new"));
    assert!(message.contains("is no backup"), "{message}");
    let inside = scene.belongings().back_up(&scene.data().join("backups"), now, &Stop::default());
    assert!(matches!(inside, Err(UpkeepError::Inside { .. })));
    fs::remove_dir(scene.data().join("backups")).unwrap();

    // In use by a hub.
    let data = scene.folder.path().join("new");
    fs::create_dir(&data).unwrap();
    let lock = fs::File::create(data.join("lock")).unwrap();
    lock.try_lock().unwrap();
    assert!(refused(&backup.folder, &data).contains("a hub works on"));
    drop(lock);
    // A child of another test that is just being started may hold a copy of it for a moment.
    while fs::File::open(data.join("lock")).unwrap().try_lock().is_err() {
        std::thread::yield_now();
    }

    // Cut off, then done again: the remains go.
    fs::write(data.join(UNFINISHED), "").unwrap();
    fs::write(data.join(READINGS), "half").unwrap();
    restore(&backup.folder, &data, now, &Stop::default()).unwrap();
    assert!(!data.join(UNFINISHED).exists());
    assert_eq!(findings(&data), [""; 0]);
    let noted: String = Connection::open(data.join(TOWN))
        .unwrap()
        .query_row("SELECT action FROM audit ORDER BY seq DESC LIMIT 1", [], |row| row.get(0))
        .unwrap();
    assert_eq!(noted, "backup.restore");

    // A backup that is not what it was.
    let file = backup.folder.join("data").join(READINGS);
    flip(&file, 5_000);
    let message = refused(&backup.folder, &scene.folder.path().join("other"));
    assert!(message.contains("its checksum is another; use another backup"), "{message}");
    assert!(!scene.folder.path().join("other").exists());
    fs::remove_file(file).unwrap();
    assert!(!findings(&backup.folder).is_empty());
}

/// Changes one byte of a file.
fn flip(file: &Path, at: usize) {
    let mut bytes = fs::read(file).unwrap();
    bytes[at] ^= 0x10;
    fs::write(file, bytes).unwrap();
}

/// Changes one byte in the middle of what `query` finds, and of copies of it that pages out of use still have.
fn flip_stored(file: &Path, query: &str) {
    let stored: Vec<u8> =
        Connection::open(file).unwrap().query_row(query, [], |row| row.get(0)).unwrap();
    let middle = stored.len() / 2;
    let part = &stored[middle..stored.len().min(middle + 12)];
    let bytes = fs::read(file).unwrap();
    let places = bytes.windows(part.len()).enumerate().filter(|(_, window)| *window == part);
    let places: Vec<usize> = places.map(|(at, _)| at).collect();
    assert!(!places.is_empty(), "it is in the file");
    places.into_iter().for_each(|at| flip(file, at));
}

/// Does harm to a copy of the data folder; the findings.
fn harmed(scene: &Scene, harm: impl FnOnce(&Path)) -> Vec<String> {
    let copy = tempfile::tempdir().unwrap();
    for file in [TOWN, READINGS] {
        fs::copy(scene.data().join(file), copy.path().join(file)).unwrap();
    }
    harm(copy.path());
    findings(copy.path())
}

#[test]
fn each_damage_is_found_and_said_what_it_means() {
    let scene = Scene::new();
    // Two days: the sums of a day are made when it is over.
    let last = filled(&scene, 2 * 1_440 + 60);
    scene.judged(last);
    {
        let db = scene.registry.connect().unwrap();
        db.execute_batch(
            "INSERT INTO alert (id, version, device, metric, name, kind, severity, text_zh, text_en, unit, active, since, raised_at)
             VALUES (1, 2, 'probe-00', 'level', 'high', 'limit', 1, '', '', 'm', 1, 0, 0);
             INSERT INTO alert_event (alert, version, what, at) VALUES (1, 1, 'raised', 0), (1, 2, 'noted', 1);
             PRAGMA wal_checkpoint(TRUNCATE);",
        )
        .unwrap();
    }
    assert_eq!(harmed(&scene, |_| ()), [""; 0]);
    let check = |what: &str, harm: &dyn Fn(&Path), parts: &[&str]| {
        let found = harmed(&scene, harm);
        for part in parts {
            assert!(
                found.iter().any(|line| line.contains(part)),
                "{what}: {part} not in {found:#?}"
            );
        }
    };
    let readings =
        |sql: &'static str| move |folder: &Path| flip_stored(&folder.join(READINGS), sql);
    let block = readings("SELECT data FROM block ORDER BY id LIMIT 1");
    check(
        "a block",
        &block,
        &["readings.db: block 1 of run", "of 2026-09-", "restore the newest backup"],
    );
    let hot = readings("SELECT data FROM hot ORDER BY seq DESC LIMIT 1");
    check("a commit", &hot, &["what is not sealed yet is damaged", "the hub cannot start"]);
    let sums = readings("SELECT data FROM rollup ORDER BY id LIMIT 1");
    check(
        "sums",
        &sums,
        &["the sums by 1m of probe-00/level are damaged", "the readings are whole"],
    );
    let newest = readings("SELECT newest FROM mark");
    check("newest", &newest, &["the list of newest readings is damaged"]);
    check("a page", &|folder| flip(&folder.join(READINGS), 8_192 + 3), &["readings.db: "]);
    let sql = |file: &'static str, sql: &'static str| {
        move |folder: &Path| {
            Connection::open(folder.join(file)).unwrap().execute_batch(sql).unwrap()
        }
    };
    let gap = sql(READINGS, "DELETE FROM hot WHERE seq = (SELECT max(seq) - 1 FROM hot)");
    check("a gap", &gap, &["are missing: readings that were acknowledged are gone"]);
    let lost = sql(READINGS, "DELETE FROM block WHERE id = 2");
    check("a lost block", &lost, &["some are gone"]);
    let stray = sql(READINGS, "UPDATE block SET run = 99 WHERE id = 1");
    check("a stray", &stray, &["belong to no run"]);
    let sealed = sql(TOWN, "UPDATE alert_progress SET replay_from = 3");
    check(
        "not of one moment",
        &sealed,
        &["raises no alert -> the two files are not of one moment"],
    );
    let ahead = sql(TOWN, "UPDATE alert_progress SET replay_from = 999999");
    check("ahead", &ahead, &["but the readings end at"]);
    let audit = |folder: &Path| {
        flip_stored(&folder.join(TOWN), "SELECT CAST(actor AS BLOB) FROM audit WHERE seq = 1")
    };
    check("the audit log", &audit, &["town.db: the audit log is broken at entry 1", "as evidence"]);
    let step = sql(
        TOWN,
        "DROP TRIGGER alert_event_is_never_deleted; DELETE FROM alert_event WHERE version = 2",
    );
    check(
        "a lost step",
        &step,
        &["alert 1 is at version 2, its log has 1 steps", "its end is gone"],
    );
    let cursor = sql(TOWN, "UPDATE case_progress SET alert_seq = 77");
    check("a cursor", &cursor, &["cases follow alert_event up to 77, which ends at 2"]);
    let orphan =
        sql(TOWN, "PRAGMA foreign_keys = 0; INSERT INTO case_alert (alert, case_id) VALUES (1, 5)");
    check("an orphan", &orphan, &["belongs to a row of town_case that is not there"]);
}

#[test]
fn old_backups_go_and_what_is_no_backup_stays() {
    let scene = Scene::new();
    filled(&scene, 10);
    let into = scene.folder.path().join("backups");
    let (clock, hand) = Clock::manual(Timestamp::from_secs(BEGIN));
    for _ in 0..3 {
        scene.belongings().back_up(&into, clock.now(), &Stop::default()).unwrap();
        hand.advance(Duration::from_secs(86_400));
    }
    fs::create_dir(into.join("townhub-notes")).unwrap();
    let gone = prune(&into, 2, Clock::system().now().plus(Duration::from_secs(3_600))).unwrap();
    assert_eq!(gone, [into.join("townhub-20260921T000000Z")]);
    let left: Vec<_> = list(&into).unwrap().into_iter().map(|one| one.folder).collect();
    assert_eq!(
        left,
        ["townhub-20260922T000000Z", "townhub-20260923T000000Z"].map(|name| into.join(name))
    );
    assert!(into.join("townhub-notes").exists());
    let stopped = Stop::default();
    stopped.set();
    let outcome = scene.belongings().back_up(&into, clock.now(), &stopped);
    assert!(matches!(outcome, Err(UpkeepError::Stopped)));
    assert_eq!(list(&into).unwrap().len(), 2, "half a backup is none");
}

#[test]
fn an_export_has_each_reading_once_sealed_or_not() {
    let scene = Scene::new();
    let minutes = 2 * 1_440 + 60;
    filled(&scene, minutes);
    let export = Export {
        from: moment("2026-09-21").unwrap(),
        to: moment("2027-01-01").unwrap(),
        devices: vec!["probe-03".to_owned(), "probe-07".to_owned()],
        metrics: Vec::new(),
        format: Format::Csv,
        by_day: true,
    };
    let out = scene.folder.path().join("out");
    let profiles = ProfileSet::default();
    let done = export.write(&scene.data(), &profiles, &out, &Stop::default()).unwrap();
    assert_eq!(done, Exported { rows: 2 * minutes.unsigned_abs(), series: 2, files: 3 });
    let day = fs::read_to_string(out.join("date=2026-09-22/readings.csv")).unwrap();
    let mut lines = day.lines();
    assert_eq!(
        lines.next(),
        Some("observed_at,received_at,device,metric,unit,value,quality,reason")
    );
    let expected = format!(
        "2026-09-22T00:00:00Z,2026-09-22T00:00:01Z,probe-03,level,,{},good,",
        value(1_440, 3)
    );
    assert_eq!(lines.next(), Some(expected.as_str()));
    assert_eq!(lines.count(), 2 * 1_440 - 1);
    let again = export.write(&scene.data(), &profiles, &out, &Stop::default());
    assert!(again.unwrap_err().to_string().contains("is there already"));
}
