//! Golden values by hand, and the board over a real store.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;

use super::figures::Part;
use super::keeper::was_nearly_full;
use super::*;
use crate::alert::Engine;
use crate::alert::book::Book;
use crate::calendar::{CalendarConfig, DutyCalendar};
use crate::clock::{Clock, ManualClock};
use crate::live::Feed;
use crate::model::{Measurement, Position, ProfileId, Quality, Reason, SeriesId, Timestamp};
use crate::pipeline::{Judge, JudgeMessage, JudgeParts, StationTable, rules_of};
use crate::profile::ProfileSet;
use crate::registry::{ImportMode, Registry};
use crate::store::{EmbeddedStore, Store};

const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);
const HOUR: u64 = 3600;

fn hours(hours: f64) -> Duration {
    Duration::from_secs_f64(hours * 3600.0)
}

/// Hours after a midnight.
fn at(h: f64) -> Timestamp {
    Timestamp::from_secs(1_000_000 + (h * 3600.0) as i64)
}

fn line(from: f64, to: f64, readings: &[(f64, Option<u32>)]) -> Timeline {
    let readings = readings.iter().map(|&(h, cars)| (at(h), cars));
    Timeline::new(at(from), at(to), hours(13.0), readings)
}

#[test]
fn a_lot_with_unknown_bays_tells_bounds() {
    let counts = |parts: &[(u32, Option<u32>)]| Counts::new(10, 1, parts.iter().copied());
    let known = counts(&[(1, Some(1)); 9]);
    assert_eq!((known.free, known.occupied), (span(0, 0), span(9, 9)));
    assert_eq!(known.occupation(true), Occupation::Full);
    // 3 free, 4 taken, 2 silent, 1 closed.
    let half = counts(&[
        (1, Some(0)),
        (1, Some(0)),
        (1, Some(0)),
        (1, Some(1)),
        (1, Some(1)),
        (1, Some(1)),
        (1, Some(1)),
        (1, None),
        (1, None),
    ]);
    assert_eq!((half.free, half.occupied), (span(3, 5), span(4, 6)));
    assert_eq!((half.unknown, half.closed, half.in_use()), (2, 1, 9));
    assert_eq!(half.occupation(false), Occupation::Open);
    // One bay was said to be there, but no sensor speaks for it.
    assert_eq!(counts(&[(1, Some(0)); 8]).free, span(8, 9));
    assert_eq!(counts(&[]).occupation(false), Occupation::Unknown);
    assert_eq!(Counts::new(4, 4, []).occupation(false), Occupation::Closed);
    assert_eq!(Counts::new(0, 0, []).occupation(false), Occupation::Unknown);
    // A gate's counter that went astray is no reason for more cars than bays.
    assert_eq!(Counts::new(40, 0, [(40, Some(44))]).free, span(0, 0));
}

fn span(least: u32, most: u32) -> Span {
    Span { least, most }
}

#[test]
fn nearly_full_begins_at_95_and_ends_below_90_percent() {
    let with = |cars: u32, unknown: u32| Counts::new(100, 0, [(100 - unknown, Some(cars))]);
    assert!(!with(94, 0).is_nearly_full(false));
    assert!(with(95, 0).is_nearly_full(false));
    assert!(with(90, 0).is_nearly_full(true));
    assert!(!with(90, 0).is_nearly_full(false));
    assert!(!with(89, 0).is_nearly_full(true));
    // 85 to 95 cars: neither surely there nor surely gone.
    assert!(!with(85, 10).is_nearly_full(false));
    assert!(with(85, 10).is_nearly_full(true));
    assert!(!Counts::new(0, 0, []).is_nearly_full(true));
}

#[test]
fn a_lots_history_tells_whether_it_is_nearly_full_still() {
    // Twenty bays: 19 taken from the first hour on (95 %), 18 since the fourth (90 %).
    let mut lines: Vec<_> = (0..18).map(|_| (1, line(0.0, 6.0, &[(1.0, Some(1))]))).collect();
    lines.push((1, line(0.0, 6.0, &[(1.0, Some(1)), (4.0, Some(0))])));
    lines.push((1, line(0.0, 6.0, &[(1.0, Some(0))])));
    assert!(was_nearly_full(20, 0, &lines));
    // Had it never been at 95 %, 90 % would not do.
    lines[18] = (1, line(0.0, 6.0, &[(1.0, Some(0))]));
    assert!(!was_nearly_full(20, 0, &lines));
    assert!(!was_nearly_full(20, 0, &[]));
}

#[test]
fn a_reading_holds_until_the_next_but_not_for_ever() {
    let line = line(0.0, 24.0, &[(-2.0, Some(0)), (1.0, Some(1)), (1.5, Some(1)), (3.0, None)]);
    let cars: Vec<_> = [0.0, 0.9, 1.0, 2.9, 3.0, 23.0].map(|h| line.at(at(h))).into();
    assert_eq!(cars, [Some(0), Some(0), Some(1), Some(1), None, None]);
    let silent = super::tests::line(0.0, 24.0, &[(1.0, Some(1))]);
    assert_eq!((silent.at(at(13.9)), silent.at(at(14.1))), (Some(1), None));
    let old = super::tests::line(0.0, 24.0, &[(-14.0, Some(1))]);
    assert_eq!(old.changed(at(0.0)), None);
    assert_eq!(old.at(at(-1.0)), None, "before the period nothing is known");
    assert_eq!(super::tests::line(0.0, 24.0, &[]).at(at(3.0)), None);
}

#[test]
fn a_stay_that_was_not_seen_whole_is_known_as_such() {
    let line = line(0.0, 24.0, &[(0.0, Some(1)), (2.0, Some(0)), (3.0, Some(1)), (20.0, Some(1))]);
    let stays: Vec<_> = line.stays().collect();
    // The sensor was silent from 16 to 20: that may be another car.
    let expected = [
        Stay { since: at(0.0), until: at(2.0), arrived: false, left: true },
        Stay { since: at(3.0), until: at(16.0), arrived: true, left: false },
        Stay { since: at(20.0), until: at(24.0), arrived: false, left: false },
    ];
    assert_eq!(stays, expected);
    assert_eq!(line.arrivals(at(0.0)), 1);
    assert_eq!(line.arrivals(at(3.5)), 0);
}

fn part(id: &str, place: u32, timeline: Timeline) -> Part {
    Part {
        asset: id.parse().unwrap(),
        position: Position::new(120.48 + f64::from(place) * 3e-5, 30.74).unwrap(),
        size: 1,
        is_bay: true,
        timeline,
    }
}

/// Four bays from a midnight on. A: two cars, 2-5 and 6-12. B: a car that left at 8, arrival not seen. C: empty. D: empty, and silent
/// from 12 on.
fn day(to: f64) -> Vec<Part> {
    let every_six = |cars| [0.0, 6.0, 12.0, 18.0].map(|h| (h, Some(cars)));
    vec![
        part(
            "a",
            0,
            line(
                0.0,
                to,
                &[(0.0, Some(0)), (2.0, Some(1)), (5.0, Some(0)), (6.0, Some(1)), (12.0, Some(0))],
            ),
        ),
        part("b", 1, line(0.0, to, &[(-1.0, Some(1)), (8.0, Some(0)), (18.0, Some(0))])),
        part("c", 2, line(0.0, to, &every_six(0))),
        part("d", 3, line(0.0, to, &[(-1.0, Some(0))])),
    ]
}

#[test]
fn figures_of_a_day_by_hand() {
    let found = Figures::new(at(0.0), at(24.0), 4, hours(4.0), &day(24.0));
    // Taken: A 3 h + 6 h, B 8 h = 17 of 96 bay-hours. Unknown: D 12 h.
    near(found.known, 84.0 / 96.0);
    near(found.utilisation.least, 17.0 / 96.0);
    near(found.utilisation.most, 29.0 / 96.0);
    // At the end: A, B and C free, D unknown.
    assert_eq!(found.occupancy, Share { least: 0.0, most: 0.25 });
    // Two arrivals, both in A: half a car per bay and day.
    assert_eq!((found.arrivals, found.turnover), (Some(2), Some(0.5)));
    // (3 h + 6 h) / 2.
    assert_eq!((found.stays, found.mean_stay_s), (2, Some(4.5 * 3600.0)));
    let overstays: Vec<_> = found.overstays.iter().map(|s| (s.bay.as_str(), s.standing)).collect();
    // B for 8 h, A's second car for 6 h; the limit is 4 h.
    assert_eq!(overstays, [("b", false), ("a", false)]);
    // C has not moved, but nobody knows for how long.
    assert!(found.stuck.is_empty());
}

#[test]
fn half_a_day_counts_what_happened_in_it() {
    let found = Figures::new(at(4.0), at(12.0), 4, hours(72.0), &day(12.0));
    // A 4-5 and 6-12, B 4-8: 11 of 32 bay-hours, all known.
    near(found.utilisation.least, 11.0 / 32.0);
    near(found.known, 1.0);
    assert_eq!((found.arrivals, found.turnover), (Some(1), Some(0.75)));
    // The car that came at 2 left at 5; the one that came at 6 leaves when the period is over.
    assert_eq!((found.stays, found.mean_stay_s), (1, Some(3.0 * 3600.0)));
    assert!(found.overstays.is_empty());
}

#[test]
fn nothing_is_divided_by_nothing() {
    let found = Figures::new(at(0.0), at(24.0), 0, hours(2.0), &[]);
    assert_eq!((found.arrivals, found.turnover, found.mean_stay_s), (None, None, None));
    assert_eq!(found.utilisation, Share { least: 0.0, most: 0.0 });
    let found = Figures::new(at(0.0), at(0.0), 4, hours(2.0), &day(24.0));
    assert_eq!(found.turnover, None);
    assert!(serde_json::to_string(&found).is_ok());
}

#[test]
fn a_gates_counter_tells_how_full_but_not_who_stays() {
    let timeline = line(0.0, 10.0, &[(0.0, Some(20)), (5.0, Some(40))]);
    let counter = Part { size: 50, is_bay: false, ..part("lot", 0, timeline) };
    let found = Figures::new(at(0.0), at(10.0), 50, hours(2.0), &[counter]);
    // 20 cars for 5 h and 40 for 5 h in 50 bays: 300 of 500.
    near(found.utilisation.least, 0.6);
    near(found.utilisation.most, 0.6);
    near(found.occupancy.least, 0.8);
    assert_eq!((found.arrivals, found.turnover, found.stays), (None, None, 0));
    assert!(found.overstays.is_empty() && found.stuck.is_empty());
}

#[test]
fn a_bay_that_stands_still_among_busy_ones_is_stuck() {
    let every_six = |car: &dyn Fn(u32) -> u32| -> Vec<(f64, Option<u32>)> {
        (0..17).map(|n| (f64::from(n) * 6.0, Some(car(n)))).collect()
    };
    let still = line(0.0, 96.0, &every_six(&|_| 1));
    let busy = line(0.0, 96.0, &every_six(&|n| n % 2));
    let stuck = |moves: &[bool]| {
        let line_of = |moves: bool| if moves { busy.clone() } else { still.clone() };
        let parts: Vec<_> = moves
            .iter()
            .enumerate()
            .map(|(n, &moves)| part(&format!("p{n}"), n as u32, line_of(moves)))
            .collect();
        let found = Figures::new(at(72.0), at(96.0), parts.len() as u32, hours(72.0), &parts);
        found.stuck.iter().map(|id| id.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(stuck(&[true, true, false, true, true]), ["p2"]);
    // Residents' cars that stand side by side are no broken sensors.
    assert!(stuck(&[false, false, false, false, true]).is_empty());
    assert!(stuck(&[false]).is_empty(), "a bay alone has no neighbours");
    // Only the four nearest count: p0 stands among still ones, whatever moves at the far end.
    let far = stuck(&[false, false, false, false, false, true, true, true, true, true, true]);
    assert!(!far.contains(&"p0".to_owned()), "{far:?}");
    // 60 hours are no 72.
    let late = line(
        0.0,
        96.0,
        &[
            (24.0, Some(0)),
            (36.0, Some(1)),
            (48.0, Some(1)),
            (60.0, Some(1)),
            (72.0, Some(1)),
            (84.0, Some(1)),
        ],
    );
    let parts = [part("x", 0, late), part("y", 1, busy)];
    assert!(Figures::new(at(72.0), at(96.0), 2, hours(72.0), &parts).stuck.is_empty());
}

#[test]
fn a_trend_needs_more_than_a_car() {
    let lot = |then: u32, now: u32| Trend::new(100, [(100, Some(then), Some(now))]);
    assert_eq!(lot(50, 53), Some(Trend::Filling));
    assert_eq!(lot(53, 50), Some(Trend::Emptying));
    assert_eq!(lot(50, 52), Some(Trend::Steady), "less than 3 % of the bays");
    assert_eq!(Trend::new(8, [(8, Some(1), Some(2))]), Some(Trend::Steady), "one car");
    assert_eq!(Trend::new(8, [(8, Some(1), Some(3))]), Some(Trend::Filling));
    // Three of eight bays are known at both times.
    let few =
        [(1, Some(0), Some(1)), (1, Some(0), Some(1)), (1, Some(0), Some(1)), (5, None, Some(5))];
    assert_eq!(Trend::new(8, few), None);
    assert_eq!(Trend::new(0, []), None);
}

fn near(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-9, "{found}, not {expected}");
}

/// Two lots: L1 with three bays (the fourth is closed), L2 with a counter at its gate.
const TOWN: &str = r#"{"type": "FeatureCollection", "features": [
  {"type": "Feature", "properties": {"id": "L1", "kind": "parking-lot", "name": {"zh": "子夜路停车场", "en": "Ziye Road"}, "capacity": 4, "max_stay_h": 2},
   "geometry": {"type": "Point", "coordinates": [120.4851, 30.74536]}},
  {"type": "Feature", "properties": {"id": "L2", "kind": "parking-lot", "name": {"zh": "西栅停车场", "en": "Xizha"}, "capacity": 200},
   "geometry": {"type": "Point", "coordinates": [120.4751, 30.75]}},
  {"type": "Feature", "properties": {"id": "L3", "kind": "parking-lot", "name": "内部", "public": false},
   "geometry": {"type": "Point", "coordinates": [120.4752, 30.75]}},
  {"type": "Feature", "properties": {"id": "B1", "kind": "parking-bay", "name": "1", "parent": "L1"}, "geometry": {"type": "Point", "coordinates": [120.48511, 30.7453]}},
  {"type": "Feature", "properties": {"id": "B2", "kind": "parking-bay", "name": "2", "parent": "L1"}, "geometry": {"type": "Point", "coordinates": [120.48513, 30.7453]}},
  {"type": "Feature", "properties": {"id": "B3", "kind": "parking-bay", "name": "3", "parent": "L1"}, "geometry": {"type": "Point", "coordinates": [120.48515, 30.7453]}},
  {"type": "Feature", "properties": {"id": "B4", "kind": "parking-bay", "name": "4", "parent": "L1", "closed": true}, "geometry": {"type": "Point", "coordinates": [120.48517, 30.7453]}}
]}"#;
const DEVICES: &str = "id,profile,asset\npb-1,wz-pb1,B1\npb-2,wz-pb1,B2\npb-3,wz-pb1,B3\npb-4,wz-pb1,B4\npc-1,lw-pc8,L2\n";

/// A town with its store, and a keeper that has just started.
struct Rig {
    keeper: Keeper,
    parking: Arc<Parking>,
    store: Arc<dyn Store>,
    registry: Registry,
    stations: Arc<StationTable>,
    hand: ManualClock,
    /// The judge ends when this goes.
    _judge: mpsc::Sender<JudgeMessage>,
    _folder: tempfile::TempDir,
}

impl Rig {
    /// `readings`: device, hours before now, value of its headline, quality.
    fn new(readings: &[(&str, f64, f64, Quality)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (clock, hand) = Clock::manual(NOW);
        let registry = Registry::open(&folder.path().join("town.db"), clock.clone()).unwrap();
        let real = Path::new(env!("CARGO_MANIFEST_DIR")).join("device-profiles");
        let profiles = ProfileSet::load(&real).unwrap();
        let ids: Vec<ProfileId> = profiles.profiles.keys().cloned().collect();
        let report = registry.import_assets(TOWN, ImportMode::Apply).unwrap();
        assert!(report.applied, "{report:?}");
        let report = registry.import_devices_csv(DEVICES.as_bytes(), &ids, ImportMode::Apply);
        assert!(report.as_ref().is_ok_and(|report| report.applied), "{report:?}");
        let store: Arc<dyn Store> =
            Arc::new(EmbeddedStore::open(&folder.path().join("readings.db")).unwrap());
        let none = StationTable::default();
        let table =
            StationTable::build(&registry.town(), &profiles, &*store, &|_| None, &none).unwrap();
        let table = Arc::new(table);
        let measured = readings.iter().map(|&(device, ago_h, value, quality)| {
            let at = NOW.minus(hours(ago_h));
            Measurement {
                series: series(&table, device),
                quality,
                observed_at: at,
                received_at: at,
                value,
            }
        });
        store.append(&[&measured.collect::<Vec<_>>()]).unwrap();
        let mut latest = vec![None; store.all_series().len()];
        for (series, sample) in store.latest().unwrap() {
            latest[series.index()] = Some(sample);
        }
        let calendar = DutyCalendar::new(&CalendarConfig::default()).unwrap();
        let book = Book::open(registry.connect().unwrap(), calendar).unwrap();
        let in_force = rules_of(&table, &book, NOW);
        let parts = JudgeParts {
            engine: Engine::open(registry.connect().unwrap(), in_force.rules, NOW).unwrap(),
            rules_until: in_force.next_change,
            book,
            store: Arc::clone(&store),
            stations: Arc::new(ArcSwap::new(Arc::clone(&table))),
            feed: Feed::new(7, 64),
            clock: clock.clone(),
            holdback: Arc::default(),
        };
        let (_, judge, present) = Judge::start(parts, latest).unwrap();
        let parking = Arc::new(Parking::default());
        let around =
            Around { registry: registry.clone(), present, store: Arc::clone(&store), clock };
        let keeper = Keeper::new(Arc::clone(&parking), around);
        Rig {
            keeper,
            parking,
            store,
            registry,
            stations: table,
            hand,
            _judge: judge,
            _folder: folder,
        }
    }

    fn board(&mut self) -> Arc<Board> {
        self.keeper.look().unwrap();
        self.parking.board(self.keeper_now()).unwrap()
    }

    fn keeper_now(&self) -> Timestamp {
        self.keeper.now()
    }
}

fn series(table: &StationTable, device: &str) -> SeriesId {
    let station = table.get(device).unwrap();
    station.series[usize::from(station.profile.headline.0)]
}

const GOOD: Quality = Quality::GOOD;

#[test]
fn the_board_counts_what_is_known_and_says_what_is_not() {
    let mut rig = Rig::new(&[
        ("pb-1", 0.1, 1.0, GOOD),
        ("pb-2", 5.0, 0.0, GOOD),
        ("pb-3", 1.0, 7.0, Quality::bad(Reason::State)),
        ("pb-4", 0.1, 0.0, GOOD),
        ("pc-1", 0.9, 187.0, GOOD),
        ("pc-1", 0.2, 193.0, GOOD),
    ]);
    let board = rig.board();
    let ids: Vec<_> = board.lots.iter().map(|lot| lot.id.as_str()).collect();
    assert_eq!(ids, ["L1", "L2"], "a lot of the house is not for the public");
    let bays = &board.lots[0];
    assert_eq!((bays.counts.free, bays.counts.occupied), (span(1, 2), span(1, 2)));
    assert_eq!((bays.counts.capacity, bays.counts.unknown, bays.counts.closed), (4, 1, 1));
    assert_eq!(bays.occupation, Occupation::Open);
    assert_eq!(bays.observed_at, Some(NOW.minus(hours(0.1))));
    let gate = &board.lots[1];
    assert_eq!((gate.counts.free, gate.counts.occupied), (span(7, 7), span(193, 193)));
    // 193 of 200 are 96.5 %.
    assert_eq!((gate.occupation, gate.trend), (Occupation::NearlyFull, Some(Trend::Filling)));

    // Half a day later every bay has been silent for too long.
    rig.hand.advance(hours(13.5));
    let later = rig.board();
    assert_eq!(later.lots[0].counts.free, span(0, 3));
    assert_eq!((later.lots[0].occupation, later.lots[0].trend), (Occupation::Unknown, None));
    // A board that nobody keeps is not shown.
    rig.hand.advance(Duration::from_secs(61));
    assert!(rig.parking.board(rig.keeper_now()).is_none());
}

#[test]
fn a_look_that_finds_nothing_new_leaves_the_board() {
    let mut rig = Rig::new(&[("pb-1", 0.1, 1.0, GOOD)]);
    assert!(rig.parking.board(NOW).is_none(), "nothing was counted yet");
    let first = rig.board();
    rig.hand.advance(Duration::from_secs(2));
    assert!(Arc::ptr_eq(&first, &rig.board()));
    assert_eq!(first.changed_at, NOW);
    // A bay that is closed is a change.
    let closed = TOWN.replacen(r#""name": "1","#, r#""name": "1", "closed": true,"#, 1);
    let report = rig.registry.import_assets(&closed, ImportMode::Apply).unwrap();
    assert!(report.applied, "{report:?}");
    let next = rig.board();
    assert_eq!((next.lots[0].counts.closed, next.lots[0].counts.occupied), (2, span(0, 2)));
}

#[test]
fn a_restart_does_not_forget_that_a_lot_is_nearly_full() {
    // 192 of 200 two hours ago, 183 now: 91.5 %.
    let mut rig = Rig::new(&[("pc-1", 2.0, 192.0, GOOD), ("pc-1", 0.9, 183.0, GOOD)]);
    assert_eq!(rig.board().lots[1].occupation, Occupation::NearlyFull);
    let mut rig = Rig::new(&[("pc-1", 2.0, 188.0, GOOD), ("pc-1", 0.9, 183.0, GOOD)]);
    assert_eq!(rig.board().lots[1].occupation, Occupation::Open);
}

#[test]
fn figures_come_from_the_store_within_bounds() {
    let rig = Rig::new(&[
        ("pb-1", 10.0, 0.0, GOOD),
        ("pb-1", 8.0, 1.0, GOOD),
        ("pb-1", 5.0, 0.0, GOOD),
        ("pb-2", 9.0, 0.0, GOOD),
    ]);
    let lots = lots(&rig.registry.town(), &rig.stations);
    let from = NOW.minus(Duration::from_secs(8 * HOUR));
    let found = FiguresOf::of(&lots, &*rig.store, from, NOW).unwrap();
    let bays = &found[0].figures;
    assert_eq!(found[0].max_stay, hours(2.0));
    // One car for 3 h; of three bays, one is unknown all the time.
    near(bays.utilisation.least, 3.0 / 24.0);
    near(bays.known, 16.0 / 24.0);
    assert_eq!((bays.capacity, bays.arrivals, bays.turnover), (3, Some(1), Some(1.0)));
    assert_eq!((bays.mean_stay_s, bays.overstays.len()), (Some(3.0 * 3600.0), 1));
    let too_much =
        FiguresOf::of(&lots, &*rig.store, Timestamp::EPOCH, Timestamp::from_secs(1 << 33));
    assert!(matches!(too_much, Err(FiguresError::TooMuch { bays: 4, .. })), "{too_much:?}");
}
