//! The building: makes the rooms, joins them, starts them in the data's order and stops them in the same order, so that
//! what was heard is stored, and what was stored is judged.
//!
//! Owns every task and thread. Never looks at data.

mod bus;
mod bus_metrics;
pub(crate) mod cases;
mod forget;
mod metrics;
#[cfg(test)]
mod month;
pub(crate) mod notices;
mod poll;
mod troubles;
#[cfg(test)]
mod walk;

use std::fs::{File, TryLockError};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{error, info, warn};

use crate::alert::book::{Book, BookError};
use crate::alert::{AlertError, Engine};
use crate::api::{
    self, AppState, House, Limits, Queue, Readiness, ReportSettings, TableReader, TownInfo,
};
use crate::basemap::BaseMap;
use crate::bridge::{self, Bridge, BridgeError};
use crate::calendar::DutyCalendar;
use crate::case::{CaseError, Office, OfficeThread, Registrar};
use crate::clock::Clock;
use crate::codec::{self, Codecs};
use crate::command::{self, Commands};
use crate::config::{Config, ConfigError};
use crate::ingest::broker::Broker;
use crate::ingest::modbus::{Poller, Target};
use crate::ingest::mqtt::{
    Door, Doorman, SecurityLog, Services, ServicesError, Surroundings, TlsError, TlsPort,
};
use crate::library::Library;
use crate::live::Feed;
use crate::model::{Position, ProfileId, Sample, SeriesId};
use crate::notify::{self, Notifier, NotifierThread, NotifyError, Post, StartError, Tasks};
use crate::parking::{self, Parking};
use crate::pipeline::{
    Committer, Counters, Holdback, Judge, JudgeError, JudgeMessage, Present, RoomGauge,
    StationTable, StoreHealth,
};
use crate::profile::{ProfileSet, Source};
use crate::registry::{Registry, RegistryError};
use crate::store::{EmbeddedStore, EngineKind, RemoteOpenError, RemoteStore, Store, StoreError};
use crate::trouble::{Room, TroubleError, Troubles};
use crate::upkeep::{BackupThread, Backups, Belongings, DiskGuard, UNFINISHED};

/// Events that a page which lost its connection can still catch up with: some minutes of a storm.
const FEED_RING: usize = 4_096;

/// How often the judge looks at the time: on-delays and silences are seconds and minutes.
const TICK: Duration = Duration::from_millis(100);

/// How often the registry's file is compared with memory: `townhub service put` and its like run beside the hub.
const OTHER_PROCESSES: Duration = Duration::from_secs(1);

/// How often the guard looks at the disk: what comes in meanwhile, some megabytes, is far less than its limits leave.
const DISK_LOOKS: Duration = Duration::from_secs(1);

/// How long the doors may take to close: a page that stopped reading must not hold the hub.
const CLOSE: Duration = Duration::from_millis(3_500);

/// Why the hub cannot start.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum HubError {
    #[error("the configuration cannot be used")]
    Config(#[from] ConfigError),
    #[error("cannot use the data folder {}", folder.display())]
    Folder { folder: PathBuf, source: std::io::Error },
    #[error("another hub works on the data folder {}; stop it first", folder.display())]
    InUse { folder: PathBuf },
    #[error(
        "a backup was being restored into {} and that did not end: run `townhub restore` again", folder.display()
    )]
    Unfinished { folder: PathBuf },
    #[error("cannot read the profile folder {}", folder.display())]
    Profiles { folder: PathBuf, source: std::io::Error },
    #[error("cannot open the town's state")]
    Registry(#[from] RegistryError),
    #[error("cannot open the readings")]
    Store(#[from] StoreError),
    #[error("cannot open the readings")]
    RemoteStore(#[from] RemoteOpenError),
    #[error("cannot open the alerts")]
    Alert(#[from] AlertError),
    #[error("cannot open the rule book")]
    Book(#[from] BookError),
    #[error("cannot take up the commands")]
    Commands(#[from] command::Failure),
    #[error("cannot start the judge")]
    Judge(#[from] JudgeError),
    #[error("cannot take up the cases")]
    Cases(#[from] CaseError),
    #[error("cannot take up the notifications")]
    Notifications(#[from] NotifyError),
    #[error("cannot take up the hub's own troubles")]
    Troubles(#[from] TroubleError),
    #[error("cannot start the notifications")]
    Notifier(#[from] StartError),
    #[error("cannot start the bridge")]
    Bridge(#[from] BridgeError),
    #[error("cannot start the services' broker")]
    Services(#[from] ServicesError),
    #[error("cannot listen on {what} = {address}")]
    Listen { what: &'static str, address: String, source: std::io::Error },
    #[error("cannot speak TLS on the MQTT door")]
    Tls(#[from] TlsError),
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
    #[error("cannot name the metrics")]
    Metrics(#[from] prometheus::Error),
}

/// A running hub.
#[derive(Debug)]
pub struct Hub {
    mqtt: SocketAddr,
    mqtt_tls: Option<SocketAddr>,
    http: SocketAddr,
    first_login: Option<(String, String)>,
    shutdown: watch::Sender<bool>,
    servers: JoinSet<&'static str>,
    /// Ends with the judge's last sender, so it is stopped before the judge is waited for.
    ticker: JoinSet<()>,
    poller: Arc<Poller>,
    services: Services,
    feed: Feed,
    committer: Committer,
    judge: Judge,
    office: OfficeThread,
    notifier: NotifierThread,
    bridge: Option<Bridge>,
    codecs: Codecs,
    backups: Option<BackupThread>,
    /// Held until the end: two hubs on one folder would lose readings.
    _lock: File,
}

/// What the rooms share while the hub is being built.
struct Rooms {
    registry: Registry,
    store: Arc<dyn Store>,
    library: Arc<Library>,
    profiles: Arc<ArcSwap<ProfileSet>>,
    stations: Arc<ArcSwap<StationTable>>,
    book: Book,
    feed: Feed,
    clock: Clock,
    holdback: Arc<Holdback>,
}

/// What the API shows besides the rooms.
struct Shown {
    present: Present,
    metrics: prometheus::Registry,
    counters: Arc<Counters>,
    readiness: Arc<Readiness>,
    cases: Office,
    notifier: Notifier,
    commands: Commands,
    doorman: Arc<Doorman>,
    poller: Arc<Poller>,
    parking: Arc<Parking>,
    basemap: BaseMap,
    troubles: Troubles,
    house: House,
}

impl Hub {
    /// Builds every room, takes up what the last run left, and opens the doors.
    ///
    /// # Errors
    /// When a room cannot be made; what was started is stopped again.
    pub async fn start(config: Config, clock: Clock) -> Result<Self, HubError> {
        config.check()?;
        let started_at = clock.now();
        let lock = lock(&config.data)?;
        let mqtt = listen("mqtt.listen", &config.mqtt.listen).await?;
        let mqtt_tls = match &config.mqtt.tls {
            Some(tls) => Some(TlsPort::new(listen("mqtt.tls.listen", &tls.listen).await?, tls)?),
            None => None,
        };
        let http = listen("http.listen", &config.http.listen).await?;
        let rooms = Rooms::open(&config, clock.clone())?;
        let first_login = rooms.registry.first_admin()?;
        let latest = rooms.latest()?;
        rooms.rebuild(&|series| latest.get(series.index()).copied().flatten())?;
        // Before the judge, whose start lets the store seal what the last run stored.
        let (bridge, way_up, bridge_health) = rooms.bridge(&config)?;
        let (judge, judge_queue, present) = Judge::start(rooms.judge_parts(&config)?, latest)?;
        let counters = Arc::new(Counters::default());
        let health = Arc::new(StoreHealth::default());
        let disk = Arc::new(DiskGuard::new(&config.data, config.store.disk, Arc::clone(&health)));
        disk.look();
        let (committer, intake) = Committer::start(
            Arc::clone(&rooms.store),
            Arc::clone(&rooms.stations),
            judge_queue.clone(),
            Arc::clone(&counters),
            Arc::clone(&health),
        )
        .map_err(HubError::Thread)?;
        let around = command::Around {
            present: present.clone(),
            feed: rooms.feed.clone(),
            clock: clock.clone(),
        };
        let (commands, orders) = Commands::open(rooms.registry.connect()?, around)?;
        let log = Arc::new(SecurityLog::new(clock.clone()));
        let kept = config.data.join("services.db");
        let services = Services::start(Arc::clone(&log), &kept, clock.clone())?;
        let kept_services = services.clone();
        let doorman = Arc::new(Doorman::default());
        let codecs = Codecs::start(codec::program()).map_err(HubError::Thread)?;
        let poller =
            Arc::new(Poller::new(clock.clone(), Arc::new(poll::Sink::new(intake.clone()))));
        poll(&poller, &rooms.stations.load());
        let (shutdown, down) = watch::channel(false);
        let mut servers = JoinSet::new();
        let tls_address = mqtt_tls.as_ref().and_then(TlsPort::address);
        let addresses = (address(&mqtt, "mqtt.listen")?, address(&http, "http.listen")?);
        let around = Surroundings {
            intake: intake.clone(),
            services: services.clone(),
            clock: clock.clone(),
            commands: commands.clone(),
            codecs: codecs.clone(),
            max_packet_bytes: config.mqtt.max_packet_bytes,
        };
        let broker = match config.broker.clone() {
            Some(broker) => {
                Some(Broker::new(broker, around.clone(), &config.data).map_err(ConfigError::from)?)
            }
            None => None,
        };
        let door = Arc::new(Door::new(
            rooms.registry.clone(),
            around,
            Arc::clone(&log),
            config.mqtt.clone(),
            Arc::clone(&doorman),
        ));
        let (office, office_thread) = rooms.office(&config, &present)?;
        let troubles = Room::open(rooms.registry.connect()?, (&config.trouble).into())?;
        let (notifier, notifier_thread, channels) =
            rooms.notifier(&config, &office, &services, troubles.shown())?;
        let (backup_thread, backups) = backups(&config, clock.clone())?.unzip();
        let metrics = metrics::registry(metrics::Watched {
            counters: Arc::clone(&counters),
            log,
            services: services.clone(),
            door: Arc::downgrade(&door),
            store: Arc::clone(&rooms.store),
            poller: Arc::clone(&poller),
            present: present.clone(),
            commands: commands.clone(),
            codecs: codecs.clone(),
            notifier: notifier.clone(),
            disk: Arc::clone(&disk),
            broker: broker.as_ref().map(Broker::health),
            bridge: bridge_health.clone(),
            backups: backups.clone(),
            troubles: troubles.shown(),
            clock: clock.clone(),
        })?;
        let readiness = Arc::new(Readiness::new(&["store", "mqtt", "judge", "services"]));
        readiness.set("mqtt", true);
        readiness.set("store", true);
        readiness.set("judge", true);
        readiness.set("services", services.is_up());
        let doubt = forget::Doubt::default();
        let asked = troubles::Asked {
            clock: clock.clone(),
            feed: rooms.feed.clone(),
            readiness: Arc::clone(&readiness),
            health: Arc::clone(&health),
            disk: Arc::clone(&disk),
            backups: backups.clone(),
            broker: broker.as_ref().map(Broker::health),
            bridge: bridge_health.clone(),
            store: Arc::clone(&rooms.store),
            poller: Arc::clone(&poller),
            profiles: Arc::clone(&rooms.profiles),
            notifier: notifier.clone(),
            services: services.clone(),
            queues: queues(intake.room(), judge_queue.downgrade()),
            doubt: doubt.clone(),
        };
        let shown = Shown {
            present: present.clone(),
            metrics,
            counters,
            readiness: Arc::clone(&readiness),
            cases: office.clone(),
            notifier: notifier.clone(),
            commands: commands.clone(),
            doorman,
            poller: Arc::clone(&poller),
            parking: Arc::default(),
            basemap: BaseMap::open(&config.map).await,
            troubles: troubles.shown(),
            house: House {
                started_at,
                disk: Arc::clone(&disk),
                backups,
                mqtt: addresses.0,
                mqtt_tls: tls_address,
                max_connections: config.mqtt.max_connections,
                broker: broker.as_ref().map(Broker::health),
                bridge: bridge_health,
                queues: queues(intake.room(), judge_queue.downgrade()),
            },
        };
        let lots = rooms.parking(&shown);
        let forgetter = forget::Forgetter {
            store: Arc::clone(&rooms.store),
            keep: config.store.keep.keep().map_err(ConfigError::from)?,
            clock: clock.clone(),
            believed: config.data.join("believed-clock.txt"),
            doubt,
        };
        let state = rooms.app_state(&config, shown)?;
        let going_down = until_down(down.clone());
        servers.spawn(async move {
            door.serve(mqtt, mqtt_tls, going_down).await;
            "mqtt"
        });
        if let Some(broker) = broker {
            servers.spawn(broker.run(until_down(down.clone())));
        }
        if let Some(way_up) = way_up {
            servers.spawn(way_up.run(until_down(down.clone())));
        }
        servers.spawn(serve_http(http, api::router(state), until_down(down.clone())));
        let buses = Arc::new(bus::Buses(Arc::clone(&poller)));
        servers.spawn(command::run(commands, buses, orders, until_down(down.clone())));
        servers.spawn(follow(Arc::clone(&rooms.library), until_down(down.clone())));
        servers.spawn(lots.keep(until_down(down.clone())));
        servers.spawn(watch_disk(disk, until_down(down.clone())));
        servers.spawn(troubles::watch(troubles, asked, until_down(down.clone())));
        servers.spawn(channels.run(down.clone()));
        servers.spawn(forgetter.run(until_down(down.clone())));
        let keeper =
            Keeper { rooms, present, poller: Arc::clone(&poller), judge: judge_queue.clone() };
        let feed = keeper.rooms.feed.clone();
        servers.spawn(keeper.keep(until_down(down)));
        let mut ticker = JoinSet::new();
        ticker.spawn(tick(judge_queue, (office, notifier), readiness, health, services));
        drop(intake);
        info!(mqtt = %addresses.0, http = %addresses.1, "the hub is up");
        Ok(Hub {
            mqtt: addresses.0,
            mqtt_tls: tls_address,
            http: addresses.1,
            first_login,
            shutdown,
            servers,
            ticker,
            poller,
            services: kept_services,
            feed,
            committer,
            judge,
            office: office_thread,
            notifier: notifier_thread,
            bridge,
            codecs,
            backups: backup_thread,
            _lock: lock,
        })
    }

    /// Where MQTT clients connect.
    pub fn mqtt_address(&self) -> SocketAddr {
        self.mqtt
    }

    /// Where MQTT clients connect that speak TLS.
    pub fn mqtt_tls_address(&self) -> Option<SocketAddr> {
        self.mqtt_tls
    }

    /// Where browsers connect.
    pub fn http_address(&self) -> SocketAddr {
        self.http
    }

    /// Name and password of the first administrator, when this start made it: to be shown once.
    pub fn first_login(&self) -> Option<&(String, String)> {
        self.first_login.as_ref()
    }

    /// Closes the doors, brings what is inside to the disk, judges it, and ends.
    pub async fn stop(mut self) {
        // Nobody listens any more only when every server has ended already.
        let _ = self.shutdown.send(true);
        self.feed.close();
        self.poller.shutdown().await;
        let closed = async {
            while let Some(ended) = self.servers.join_next().await {
                match ended {
                    Ok(name) => info!(name, "closed"),
                    Err(why) => error!(error = %why, "a server panicked"),
                }
            }
        };
        if timeout(CLOSE, closed).await.is_err() {
            warn!("a server did not close in time; its connections are cut");
        }
        self.servers.shutdown().await;
        self.codecs.stop().await;
        drop(self.poller);
        self.ticker.shutdown().await;
        let joined = tokio::task::spawn_blocking(move || {
            // Every connection is closed: what waits for services is what they will find.
            self.services.keep_all();
            self.committer.join();
            self.judge.join();
            self.office.join();
            self.notifier.join();
            if let Some(bridge) = self.bridge {
                bridge.join();
            }
            if let Some(backups) = self.backups {
                backups.join();
            }
        });
        if joined.await.is_err() {
            error!("the pipeline's end was not clean");
        }
        info!("everything that was heard is stored and judged");
    }
}

/// The store of the readings: the hub's own file, with or without an engine behind it.
fn open_store(config: &Config, clock: &Clock) -> Result<Arc<dyn Store>, HubError> {
    let (file, store, clock) = (config.data.join("readings.db"), &config.store, clock.clone());
    Ok(match store.engine {
        EngineKind::Embedded => Arc::new(EmbeddedStore::open(&file)?),
        EngineKind::InfluxDb2 => {
            Arc::new(RemoteStore::influxdb2(&file, &store.influxdb2, store.queue, clock)?)
        }
        EngineKind::VictoriaMetrics => {
            let engine = &store.victoriametrics;
            Arc::new(RemoteStore::victoriametrics(&file, engine, store.queue, clock)?)
        }
    })
}

impl Rooms {
    fn open(config: &Config, clock: Clock) -> Result<Self, HubError> {
        let registry = Registry::open(&config.data.join("town.db"), clock.clone())?;
        let store = open_store(config, &clock)?;
        let town = registry.clone();
        let in_use =
            move |id: &ProfileId| town.town().devices.values().any(|device| device.profile == *id);
        let library = Library::open(config.profiles.clone(), clock.clone(), in_use)
            .map_err(|source| HubError::Profiles { folder: config.profiles.clone(), source })?;
        let calendar = DutyCalendar::new(&config.case.duty).map_err(ConfigError::from)?;
        let book = Book::open(registry.connect()?, calendar)?;
        // Pages that were open before the restart must read the map again: a new epoch tells them.
        let epoch = u32::try_from(clock.now().as_millis() / 1_000).unwrap_or_default();
        let keep = config.store.keep.keep().map_err(ConfigError::from)?;
        Ok(Rooms {
            registry,
            store,
            profiles: library.profiles(),
            library: Arc::new(library),
            stations: Arc::new(ArcSwap::from_pointee(StationTable::keeping(keep))),
            book,
            feed: Feed::new(epoch, FEED_RING),
            clock,
            holdback: Arc::default(),
        })
    }

    /// What the store knows of every series.
    fn latest(&self) -> Result<Vec<Option<Sample>>, StoreError> {
        let mut latest = vec![None; self.store.all_series().len()];
        for (series, sample) in self.store.latest()? {
            latest[series.index()] = Some(sample);
        }
        Ok(latest)
    }

    fn rebuild(&self, latest: &dyn Fn(SeriesId) -> Option<Sample>) -> Result<(), StoreError> {
        let town = self.registry.town();
        let former = self.stations.load();
        let profiles = self.profiles.load();
        let table = StationTable::build(&town, &profiles, &*self.store, latest, &former)?;
        let lost = town.devices.len() - table.len();
        if lost > 0 {
            warn!(devices = lost, "devices wait for a profile that is not in force");
        }
        self.stations.store(Arc::new(table));
        Ok(())
    }

    /// The case room at work.
    fn office(
        &self,
        config: &Config,
        present: &Present,
    ) -> Result<(Office, OfficeThread), HubError> {
        let settings = config.case.settings().map_err(ConfigError::from)?;
        let registrar = Registrar::open(self.registry.connect()?, settings)?;
        let town = cases::Town::new(present.clone(), self.registry.clone(), self.feed.clone());
        Office::start(registrar, Box::new(town), self.clock.clone()).map_err(HubError::Thread)
    }

    /// The notify room at work, its channels not yet running.
    fn notifier(
        &self,
        config: &Config,
        office: &Office,
        services: &Services,
        troubles: Troubles,
    ) -> Result<(Notifier, NotifierThread, Tasks), HubError> {
        let settings = config.notify.settings(&config.case.duty.zone).map_err(ConfigError::from)?;
        let parts = notify::Parts {
            post: Post::open(self.registry.connect()?, settings, self.clock.now())?,
            around: Box::new(notices::Map(self.registry.clone())),
            moves: Arc::new(notices::Hand {
                registry: self.registry.clone(),
                office: office.clone(),
            }),
            broker: Arc::new(notices::OwnBroker(services.clone())),
            troubles,
            town: config.town.name.clone(),
            clock: self.clock.clone(),
        };
        Ok(Notifier::start(parts)?)
    }

    fn judge_parts(&self, config: &Config) -> Result<crate::pipeline::JudgeParts, HubError> {
        let now = self.clock.now();
        let in_force = crate::pipeline::rules_of(&self.stations.load(), &self.book, now);
        let mut engine = Engine::open(self.registry.connect()?, in_force.rules, now)?;
        engine.set_shelf_limits((&config.alert.shelve_max).into());
        engine.set_flap(config.alert.flap.into());
        Ok(crate::pipeline::JudgeParts {
            engine,
            rules_until: in_force.next_change,
            book: self.book.clone(),
            store: Arc::clone(&self.store),
            stations: Arc::clone(&self.stations),
            feed: self.feed.clone(),
            clock: self.clock.clone(),
            holdback: Arc::clone(&self.holdback),
        })
    }

    /// The bridge at work, when there is one, its way up not yet running.
    #[allow(clippy::type_complexity, reason = "three parts, all of them there or none")]
    fn bridge(
        &self,
        config: &Config,
    ) -> Result<(Option<Bridge>, Option<bridge::Way>, Option<Arc<bridge::Health>>), HubError> {
        let Some(section) = config.bridge.clone() else { return Ok((None, None, None)) };
        let around = bridge::Around {
            store: Arc::clone(&self.store),
            town: self.registry.connect()?,
            stations: Arc::clone(&self.stations),
            holdback: Arc::clone(&self.holdback),
            clock: self.clock.clone(),
        };
        let (bridge, way, health) = Bridge::start(section, around, &config.data)?;
        Ok((Some(bridge), Some(way), Some(health)))
    }

    /// Who counts the bays.
    fn parking(&self, shown: &Shown) -> parking::Keeper {
        let around = parking::Around {
            registry: self.registry.clone(),
            present: shown.present.clone(),
            store: Arc::clone(&self.store),
            clock: self.clock.clone(),
        };
        parking::Keeper::new(Arc::clone(&shown.parking), around)
    }

    fn app_state(&self, config: &Config, shown: Shown) -> Result<AppState, HubError> {
        let Shown {
            present,
            metrics,
            counters,
            readiness,
            cases,
            notifier,
            commands,
            doorman,
            poller,
            parking,
            basemap,
            troubles,
            house,
        } = shown;
        let [lon, lat] = config.town.center;
        let center = Position::new(lon, lat).map_err(|why| ConfigError::Value {
            key: "town.center",
            found: why.to_string(),
            remedy: "write [longitude, latitude] in degrees",
        })?;
        let registry = self.registry.clone();
        let calendar = config.case.settings().map_err(ConfigError::from)?.calendar;
        let reports =
            ReportSettings { operators: config.report.operators, zone: calendar.zone().clone() };
        Ok(AppState {
            registry: self.registry.clone(),
            present,
            store: Arc::clone(&self.store),
            feed: self.feed.clone(),
            profiles: Arc::clone(&self.profiles),
            library: Arc::clone(&self.library),
            clock: self.clock.clone(),
            town: TownInfo { name: config.town.name.clone(), center, zoom: config.town.zoom },
            basemap: Arc::new(basemap),
            attribution: config.map.attribution.clone(),
            readiness,
            metrics,
            poller: Some(poller),
            counters,
            commands,
            book: self.book.clone(),
            tables: TableReader::new(move || registry.connect()),
            reports,
            cases,
            notifier,
            https_only: config.http.https_only,
            limits: Limits::default(),
            doorman,
            parking,
            board: Default::default(),
            walls: Default::default(),
            troubles,
            house,
        })
    }
}

/// Looks at the bounded queues between the rooms. Keeps none of them open.
fn queues(
    disk: RoomGauge,
    judge: mpsc::WeakSender<JudgeMessage>,
) -> Box<dyn Fn() -> Vec<Queue> + Send + Sync> {
    Box::new(move || {
        let (waiting, size) = disk.read();
        let mut queues = vec![Queue { name: "disk", waiting, size }];
        queues.extend(judge.upgrade().map(|judge| Queue {
            name: "judge",
            waiting: judge.max_capacity() - judge.capacity(),
            size: judge.max_capacity(),
        }));
        queues
    })
}

/// Follows the registry and the profiles: new devices, and devices whose profile changed, get stations, rules and bus
/// actors without a restart.
struct Keeper {
    rooms: Rooms,
    present: Present,
    poller: Arc<Poller>,
    judge: mpsc::Sender<JudgeMessage>,
}

impl Keeper {
    async fn keep(self, going_down: impl Future<Output = ()> + Send) -> &'static str {
        let mut changes = self.rooms.registry.changes();
        let mut profiles = self.rooms.library.changes();
        let mut looks = tokio::time::interval(OTHER_PROCESSES);
        tokio::pin!(going_down);
        loop {
            tokio::select! {
                () = &mut going_down => return "keeper",
                _ = looks.tick() => {
                    let look = || self.rooms.registry.take_up_changes();
                    if let Err(why) = tokio::task::block_in_place(look) {
                        warn!(error = %crate::error_chain(&why), "cannot look for others' changes");
                    }
                    continue;
                }
                changed = changes.changed() => if changed.is_err() { return "keeper" },
                changed = profiles.changed() => if changed.is_err() { return "keeper" },
            }
            let outcome = tokio::task::block_in_place(|| {
                self.rooms.rebuild(&|series| self.present.latest(series))
            });
            if let Err(why) = outcome {
                error!(error = %crate::error_chain(&why), "cannot take up the change of devices or profiles");
                continue;
            }
            if self.judge.send(JudgeMessage::Stations).await.is_err() {
                return "keeper";
            }
            poll(&self.poller, &self.rooms.stations.load());
        }
    }
}

/// Looks at the disk, once a second.
async fn watch_disk(
    disk: Arc<DiskGuard>,
    going_down: impl Future<Output = ()> + Send,
) -> &'static str {
    let mut looks = tokio::time::interval(DISK_LOOKS);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    tokio::pin!(going_down);
    loop {
        tokio::select! {
            () = &mut going_down => {
                disk.let_go();
                return "disk";
            }
            // A file system over a network may be slow to say.
            _ = looks.tick() => tokio::task::block_in_place(|| disk.look()),
        }
    }
}

/// Follows the profile folder.
async fn follow(
    library: Arc<Library>,
    going_down: impl Future<Output = ()> + Send,
) -> &'static str {
    tokio::select! {
        () = going_down => {}
        () = library.follow() => {}
    }
    "profiles"
}

/// Tells the poller whom to poll.
fn poll(poller: &Poller, stations: &StationTable) {
    let targets = stations
        .iter()
        .filter(|station| matches!(station.profile.source, Source::Modbus(_)))
        .filter_map(|station| {
            Some(Target {
                device: station.device.id.clone(),
                address: station.device.modbus.clone()?,
                profile: Arc::clone(&station.profile),
            })
        })
        .collect();
    for refusal in poller.update(targets) {
        warn!(device = %refusal.device, "not polled: {}", refusal.error);
    }
}

/// Waits until the hub goes down.
async fn until_down(mut down: watch::Receiver<bool>) {
    // An error means that the hub itself is gone.
    let _ = down.wait_for(|down| *down).await;
}

async fn tick(
    judge: mpsc::Sender<JudgeMessage>,
    (office, notifier): (Office, Notifier),
    readiness: Arc<Readiness>,
    health: Arc<StoreHealth>,
    services: Services,
) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        readiness.set("store", health.failure().is_none());
        readiness.set("services", services.is_up());
        office.tick();
        notifier.tick();
        if judge.send(JudgeMessage::Tick).await.is_err() {
            // It can only have panicked: this task is stopped before the judge is.
            error!("the judge has ended; restart the hub");
            readiness.set("judge", false);
            return;
        }
    }
}

async fn serve_http(
    listener: TcpListener,
    router: axum::Router,
    going_down: impl Future<Output = ()> + Send + 'static,
) -> &'static str {
    // A live event is small and urgent: without this it would wait for the acknowledgement of the one before.
    let listener = listener.tap_io(|stream| {
        if let Err(why) = stream.set_nodelay(true) {
            warn!(error = %why, "an HTTP connection stays slow");
        }
    });
    if let Err(why) = axum::serve(listener, router).with_graceful_shutdown(going_down).await {
        error!(error = %why, "the HTTP server ended");
    }
    "http"
}

fn lock(folder: &PathBuf) -> Result<File, HubError> {
    let failed = |source| HubError::Folder { folder: folder.clone(), source };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let file = File::create(folder.join("lock")).map_err(failed)?;
    match file.try_lock() {
        Ok(()) if folder.join(UNFINISHED).exists() => {
            Err(HubError::Unfinished { folder: folder.clone() })
        }
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(HubError::InUse { folder: folder.clone() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Who makes backups by the clock, when they are wanted.
fn backups(config: &Config, clock: Clock) -> Result<Option<(BackupThread, Backups)>, HubError> {
    let belongings = Belongings {
        data: config.data.clone(),
        profiles: config.profiles.clone(),
        config: config.file.clone(),
        disk: config.store.disk,
    };
    let calendar = DutyCalendar::new(&config.case.duty).map_err(ConfigError::from)?;
    BackupThread::start(&config.store.backup, belongings, calendar.zone().clone(), clock)
        .map_err(HubError::Thread)
}

async fn listen(what: &'static str, address: &str) -> Result<TcpListener, HubError> {
    TcpListener::bind(address).await.map_err(|source| HubError::Listen {
        what,
        address: address.to_owned(),
        source,
    })
}

fn address(listener: &TcpListener, what: &'static str) -> Result<SocketAddr, HubError> {
    listener.local_addr().map_err(|source| HubError::Listen {
        what,
        address: "?".to_owned(),
        source,
    })
}
