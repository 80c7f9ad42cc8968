//! The HTTP face over real rooms: registry, store, judge and feed in a folder of their own, no socket.

mod access;
mod cases;
mod commands;
mod doors;
mod fuzz;
mod ground;
mod notifications;
mod parking_lots;
mod rehearsals;
mod reports;
mod resources;
mod rules;
mod troubles;
mod walls;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tower::ServiceExt;

use super::{AppState, House, Limits, Queue, Readiness, TableReader, TownInfo, router};
use crate::alert::Engine;
use crate::alert::book::Book;
use crate::basemap::BaseMap;
use crate::calendar::{CalendarConfig, DutyCalendar};
use crate::case::{Office, OfficeThread, Registrar};
use crate::clock::{Clock, ManualClock};
use crate::command::{Around, Commands};
use crate::hub::cases::Town;
use crate::library::Library;
use crate::live::Feed;
use crate::model::{
    AssetKind, Label, Measurement, PointIndex, Position, Quality, Reason, Role, SeriesId, Severity,
    Timestamp,
};
use crate::notify::{self, NotifierThread, Post, Settings};
use crate::parking::{self, Parking};
use crate::pipeline::{Counters, Judge, JudgeMessage, JudgeParts, StationTable, rules_of};
use crate::profile::command::{Arg, Confirm, Goal, Order, RegisterOrder};
use crate::profile::{
    AlertSpec, AlertTest, CommandSpec, ModbusSource, NumberType, Point, Profile, ProfileSet, Read,
    RegisterKind, RegisterRead, Side, Source, Staleness, State, Table, WordOrder,
};
use crate::registry::{ImportMode, Registry};
use crate::store::{EmbeddedStore, Store};
use crate::trouble::{Holds, Room};
use crate::upkeep::{DiskConfig, DiskGuard};

/// 2026-09-21T14:13:20Z.
const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);
const EPOCH: u32 = 7;

const ASSETS: &str = "id,kind,name_zh,name_en,zone,parent,lon,lat\n\
    mh-1,manhole,一号井,Manhole 1,,,120.4851,30.7454\n\
    mh-2,manhole,二号井,Manhole 2,,,120.4861,30.7454\n\
    gate-1,sluice-gate,望津桥闸,Wangjin gate,,,120.4651,30.7484\n";
const DEVICES: &str = "id,profile,asset,name_zh,name_en,modbus_endpoint,modbus_unit,secret\n\
    d-1,probe,mh-1,探头一,Probe 1,127.0.0.1:1502,1,\n\
    d-2,probe,mh-2,探头二,Probe 2,127.0.0.1:1502,2,\n";

/// A whole hub but for its adapters: `mh-1` is full (an alert stands), `mh-2` was never heard of.
struct Rig {
    router: Router,
    registry: Registry,
    feed: Feed,
    /// Moves the hub's time.
    hand: ManualClock,
    readiness: Arc<Readiness>,
    user: String,
    password: String,
    /// A bearer token.
    token: String,
    /// Counts the bays when it is told to.
    lots: parking::Keeper,
    /// The judge ends when this goes.
    _judge: mpsc::Sender<JudgeMessage>,
    /// Moves cases.
    office: Office,
    _office: OfficeThread,
    _notifier: NotifierThread,
    /// Is told what is wrong with the hub.
    troubles: Room,
    _folder: tempfile::TempDir,
}

/// An answer, read whole.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Rig {
    fn new() -> Self {
        Rig::on(BaseMap::schematic())
    }

    /// With this ground under the map.
    fn on(basemap: BaseMap) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (clock, hand) = Clock::manual(NOW);
        let registry = Registry::open(&folder.path().join("town.db"), clock.clone()).unwrap();
        let (user, password) = registry.first_admin().unwrap().unwrap();
        let token = registry.create_token(&user, "test").unwrap();
        // Tests of the first password make a user of their own.
        registry.settle(&user);
        let profile = Arc::new(profile());
        let ids = [profile.id.clone()];
        registry.import_assets_csv(ASSETS.as_bytes(), ImportMode::Apply).unwrap();
        let report =
            registry.import_devices_csv(DEVICES.as_bytes(), &ids, ImportMode::Apply).unwrap();
        assert!(report.applied, "{report:?}");
        let profiles = ProfileSet {
            profiles: BTreeMap::from([(profile.id.clone(), profile)]),
            ..ProfileSet::default()
        };

        let store: Arc<dyn Store> =
            Arc::new(EmbeddedStore::open(&folder.path().join("readings.db")).unwrap());
        let table = StationTable::build(
            &registry.town(),
            &profiles,
            &*store,
            &|_| None,
            &StationTable::default(),
        );
        let table = Arc::new(table.unwrap());
        store.append(&[&history(&table.get("d-1").unwrap().series)]).unwrap();
        let mut latest = vec![None; store.all_series().len()];
        for (series, sample) in store.latest().unwrap() {
            latest[series.index()] = Some(sample);
        }
        let feed = Feed::new(EPOCH, 64);
        let stations = Arc::new(ArcSwap::new(Arc::clone(&table)));
        let calendar = DutyCalendar::new(&CalendarConfig::default()).unwrap();
        let book = Book::open(registry.connect().unwrap(), calendar).unwrap();
        let in_force = rules_of(&table, &book, NOW);
        let parts = JudgeParts {
            engine: Engine::open(registry.connect().unwrap(), in_force.rules, NOW).unwrap(),
            rules_until: in_force.next_change,
            book: book.clone(),
            store: Arc::clone(&store),
            stations: Arc::clone(&stations),
            feed: feed.clone(),
            clock: clock.clone(),
            holdback: Arc::default(),
        };
        let (_, judge, present) = Judge::start(parts, latest).unwrap();
        let profiles = Arc::new(ArcSwap::from_pointee(profiles));
        let keeper = Keeper {
            registry: registry.clone(),
            profiles: Arc::clone(&profiles),
            store: Arc::clone(&store),
            stations,
            judge: judge.clone(),
        };
        tokio::spawn(keeper.keep(registry.changes()));
        let readiness = Arc::new(Readiness::new(&["mqtt"]));
        let alerts_of = registry.clone();
        let around = Around { present: present.clone(), feed: feed.clone(), clock: clock.clone() };
        let (commands, _) = Commands::open(registry.connect().unwrap(), around).unwrap();
        let settings = crate::config::CaseConfig::default().settings().unwrap();
        let registrar = Registrar::open(registry.connect().unwrap(), settings).unwrap();
        let town = Town::new(present.clone(), registry.clone(), feed.clone());
        let (cases, office) = Office::start(registrar, Box::new(town), clock.clone()).unwrap();
        let parking = Arc::new(Parking::default());
        let lots = parking::Keeper::new(
            Arc::clone(&parking),
            parking::Around {
                registry: registry.clone(),
                present: present.clone(),
                store: Arc::clone(&store),
                clock: clock.clone(),
            },
        );
        let post = Post::open(registry.connect().unwrap(), Settings::default(), NOW).unwrap();
        let holds = Holds { raise_after: Duration::ZERO, end_after: Duration::ZERO };
        let troubles = Room::open(registry.connect().unwrap(), holds).unwrap();
        let (notifier, notifier_thread) = notify::silent(post, clock.clone());
        let library = Library::open(folder.path().to_owned(), clock.clone(), |_| true).unwrap();
        let disk = DiskGuard::new(folder.path(), DiskConfig::default(), Arc::default());
        disk.look();
        let router = router(AppState {
            registry: registry.clone(),
            present,
            store,
            feed: feed.clone(),
            profiles,
            library: Arc::new(library),
            clock,
            town: TownInfo {
                name: Label::new("乌镇", "Wuzhen"),
                center: Position::new(120.4851, 30.745_36).unwrap(),
                zoom: 14.0,
            },
            basemap: Arc::new(basemap),
            attribution: None,
            readiness: Arc::clone(&readiness),
            metrics: prometheus::Registry::new(),
            poller: None,
            counters: Arc::new(Counters::default()),
            commands,
            book,
            tables: TableReader::new(move || alerts_of.connect()),
            reports: super::ReportSettings {
                operators: 1,
                zone: jiff::tz::TimeZone::get("Asia/Shanghai").unwrap(),
            },
            cases: cases.clone(),
            notifier,
            https_only: false,
            limits: Limits::default(),
            doorman: Arc::default(),
            parking,
            board: Default::default(),
            walls: Default::default(),
            troubles: troubles.shown(),
            house: House {
                started_at: NOW,
                disk: Arc::new(disk),
                backups: None,
                mqtt: ([0, 0, 0, 0], 1883).into(),
                mqtt_tls: None,
                max_connections: 10_000,
                broker: None,
                bridge: None,
                queues: Box::new(|| vec![Queue { name: "disk", waiting: 0, size: 262_144 }]),
            },
        });
        Rig {
            router,
            registry,
            feed,
            hand,
            readiness,
            user,
            password,
            token,
            lots,
            _judge: judge,
            office: cases,
            _office: office,
            _notifier: notifier_thread,
            troubles,
            _folder: folder,
        }
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// A request with the bearer token.
    fn request(
        &self,
        line: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Request<Body> {
        let bearer = format!("Bearer {}", self.token);
        let mut headers = headers.to_vec();
        headers.push(("authorization", &bearer));
        request(line, &headers, body)
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(self.request(&format!("GET {path}"), &[], "")).await
    }

    async fn post(&self, path: &str, kind: &str, body: &str) -> Answer {
        let headers = [("content-type", kind)];
        self.send(self.request(&format!("POST {path}"), &headers, body.to_owned())).await
    }
}

/// Does what the hub does when the town changes: builds the stations anew. Ends with the test's runtime.
struct Keeper {
    registry: Registry,
    profiles: Arc<ArcSwap<ProfileSet>>,
    store: Arc<dyn Store>,
    stations: Arc<ArcSwap<StationTable>>,
    judge: mpsc::Sender<JudgeMessage>,
}

impl Keeper {
    async fn keep(self, mut changes: watch::Receiver<u64>) {
        while changes.changed().await.is_ok() {
            let (town, profiles) = (self.registry.town(), self.profiles.load());
            let former = self.stations.load_full();
            let table = StationTable::build(&town, &profiles, &*self.store, &|_| None, &former);
            self.stations.store(Arc::new(table.unwrap()));
            self.judge.send(JudgeMessage::Stations).await.unwrap();
        }
    }
}

/// A request from its first line, `GET /path`.
fn request(line: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Request<Body> {
    let (method, uri) = line.split_once(' ').unwrap();
    let mut builder = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(body.into()).unwrap()
}

/// Three readings of the level in the last minutes, the last beyond its limit, and a cover without a number.
fn history(series: &[SeriesId]) -> Vec<Measurement> {
    let measured = |series, ago_s, value, quality| {
        let at = NOW.minus(Duration::from_secs(ago_s));
        Measurement { series, quality, observed_at: at, received_at: at, value }
    };
    vec![
        measured(series[0], 180, 0.5, Quality::GOOD),
        measured(series[0], 120, 0.75, Quality::uncertain(Reason::Rate)),
        measured(series[0], 60, 2.5, Quality::GOOD),
        measured(series[1], 60, f64::NAN, Quality::bad(Reason::Sentinel)),
    ]
}

/// A command on the level, which is 2.5 m and a minute old.
fn set_level() -> CommandSpec {
    let point = PointIndex(0);
    let kind = RegisterKind { number: NumberType::U16, order: WordOrder::ABCD };
    let confirm = Confirm {
        point,
        goal: Goal::Target { tolerance: 0.1 },
        settled: None,
        within: Duration::from_secs(60),
        every: Duration::from_secs(1),
        lost_after: Duration::from_secs(30),
    };
    CommandSpec {
        name: "set_level".into(),
        label: Label::new("调节水位", "Set level"),
        arg: Some(Arg {
            unit: "m".into(),
            range: (0.0, 5.0),
            step: None,
            max_change: Some(1.0),
            from: Some(point),
            tolerance: 0.1,
        }),
        order: Order::Registers(RegisterOrder {
            table: Table::Holding,
            address: 9,
            kind,
            scale: 0.1,
            offset: 0.0,
            value: None,
        }),
        require: vec![],
        watch: vec![],
        two_person: vec![],
        site: vec![],
        readback: None,
        confirm: Some(confirm),
        role: Role::Engineer,
        fresh: Duration::from_secs(300),
        deliver: Duration::from_secs(600),
        emergency: false,
        stop: None,
    }
}

fn profile() -> Profile {
    let point = |name: &str, address| Point {
        name: name.parse().unwrap(),
        label: Label::new("点", name),
        unit: "m".into(),
        read: Read::Register(RegisterRead {
            table: Table::Holding,
            address,
            kind: RegisterKind { number: NumberType::U16, order: WordOrder::ABCD },
            part: crate::profile::Part::Whole,
            poll: "fast".into(),
        }),
        scale: 1.0,
        offset: 0.0,
        range: Some((0.0, 10.0)),
        deadband: None,
        max_rate: None,
        flatline: None,
        sentinels: vec![],
        states: None,
        alerts: vec![],
    };
    let test = AlertTest::limit(Side::Above, 2.0, 1.8, Severity::Critical);
    let surcharge = AlertSpec::new("surcharge", Label::new("满管", "Surcharge"), test);
    let open = State { code: 1.0, name: "open".into(), label: Label::new("开", "Open") };
    Profile {
        id: "probe".parse().unwrap(),
        name: Label::new("探头", "Probe"),
        manufacturer: "Acme".into(),
        model: "P1".into(),
        kind: AssetKind::Manhole,
        source: Source::Modbus(ModbusSource {
            max_registers: 120,
            max_gap: 8,
            timeout: Duration::from_secs(1),
            min_request_gap: Duration::ZERO,
            poll: BTreeMap::from([("fast".to_owned(), Duration::from_secs(10))]),
        }),
        staleness: Staleness {
            expect_every: None,
            stale_after: Duration::from_secs(300),
            dead_after: Duration::from_secs(900),
            severity: Severity::Minor,
        },
        points: vec![
            Point { alerts: vec![Arc::new(surcharge)], ..point("level", 0) },
            Point { states: Some(vec![open]), unit: "1".into(), ..point("cover", 1) },
        ],
        headline: PointIndex(0),
        commands: vec![set_level()],
        logic: Default::default(),
    }
}
