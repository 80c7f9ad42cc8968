//! One typed struct per room: read, check, hand out.
//!
//! The file is TOML; every key has a default, so an empty file (or none) is a valid configuration. Unknown keys are
//! refused. Durations are texts such as `5s` or `2h`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::alert::ShelfLimits;
use crate::basemap::{Base, Datum, MAX_ZOOM, Template};
use crate::bridge::BridgeConfig;
use crate::case::{CalendarConfig, CalendarError, DutyCalendar, Promises, Settings};
use crate::ingest::broker::BrokerConfig;
use crate::link::KeyError;
use crate::model::{Label, Position, Severity};
use crate::notify::{NotifyConfig, NotifyConfigError};
use crate::profile::Flap;
use crate::store::keep::{KeepConfig, KeepConfigError};
use crate::store::{
    EngineKind, InfluxDb2Config, QueueConfig, RemoteConfigError, VictoriaMetricsConfig,
};
use crate::trouble::TroubleConfig;
use crate::upkeep::{BackupConfig, DiskConfig};

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The file that it was read from; a backup takes it along.
    #[serde(skip)]
    pub file: Option<PathBuf>,
    /// Where everything that must survive is kept.
    pub data: PathBuf,
    /// The folder of device profiles.
    pub profiles: PathBuf,
    /// The town.
    pub town: TownConfig,
    /// The MQTT door.
    pub mqtt: MqttConfig,
    /// A broker that is not the hub's own, whose messages the hub takes; absent, there is none.
    pub broker: Option<BrokerConfig>,
    /// Where the town's readings and alerts go up to; absent, nowhere.
    pub bridge: Option<BridgeConfig>,
    /// The API and the console.
    pub http: HttpConfig,
    /// Alerts.
    pub alert: AlertConfig,
    /// Cases: what people do about alerts.
    pub case: CaseConfig,
    /// How readings are kept.
    pub store: StoreConfig,
    /// The ground that the console's map draws.
    pub map: MapConfig,
    /// Who is told of alerts and cases; without channels nobody is.
    pub notify: NotifyConfig,
    /// When the hub's own troubles are told.
    pub trouble: TroubleConfig,
    /// Reports on both.
    pub report: ReportConfig,
}

/// How readings are kept, and the data folder with them.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// `embedded`: the hub's own file has all of them. `influxdb2`, `victoriametrics`: the far past is there.
    pub engine: EngineKind,
    /// For how long.
    pub keep: KeepConfig,
    /// When the disk is low, and when it is full.
    pub disk: DiskConfig,
    /// Backups by the clock.
    pub backup: BackupConfig,
    /// The engine of this name.
    pub influxdb2: InfluxDb2Config,
    /// The engine of this name.
    pub victoriametrics: VictoriaMetricsConfig,
    /// What waits for an engine, and what is kept beside it.
    pub queue: QueueConfig,
}

/// What the town is called and where the map opens.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TownConfig {
    /// Its name.
    pub name: Label,
    /// Longitude and latitude in degrees, WGS-84.
    pub center: [f64; 2],
    /// The map's first zoom.
    pub zoom: f64,
}

/// The MQTT door.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MqttConfig {
    /// Address and port.
    pub listen: String,
    /// Connections at once, all clients together.
    pub max_connections: usize,
    /// Largest packet in bytes.
    pub max_packet_bytes: usize,
    /// How long a client may take to say CONNECT.
    #[serde(with = "duration")]
    pub connect_timeout: Duration,
    /// Messages a second that one device may send in the long run (ten seconds' worth at once); 0 is no limit. Over it
    /// its socket is read more slowly.
    pub max_messages_per_second: u32,
    /// A second port that speaks TLS; absent, there is none.
    pub tls: Option<TlsConfig>,
}

/// The MQTT door's TLS port.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// Address and port; 8883 is the usual one.
    pub listen: String,
    /// The certificate chain, PEM, the hub's own first.
    pub certificate: PathBuf,
    /// The certificate's private key, PEM.
    pub key: PathBuf,
}

/// The API and the console.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// Address and port.
    pub listen: String,
    /// Whether people reach the hub by https only (a TLS proxy stands in front): the session cookie is then `Secure`.
    pub https_only: bool,
}

/// The ground that the console's map draws.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MapConfig {
    /// `schematic`, `file`, `tianditu` or `xyz`.
    pub base: Base,
    /// The coordinates in which it is drawn: `wgs84` (also for CGCS2000) or `gcj02`. The town's things are shifted to it.
    pub crs: Datum,
    /// `file`: a `.geojson` or `.pmtiles`.
    pub file: Option<PathBuf>,
    /// `xyz`: the tiles' address with `{z}`, `{x}`, `{y}`, and `{key}`. `tianditu`: another address of that service.
    pub url: Option<String>,
    /// A file with the map server's key and nothing else. Pages never see the key.
    pub key_file: Option<PathBuf>,
    /// `tianditu`: satellite pictures instead of the drawn map.
    pub satellite: bool,
    /// Whose map it is, shown on it. Absent: what the service or the archive says of itself.
    pub attribution: Option<Label>,
    /// The least zoom of a map server.
    pub min_zoom: u8,
    /// The greatest zoom of a map server.
    pub max_zoom: u8,
    /// How long a map server may take for a tile.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// Tiles in memory at most, in MiB.
    pub cache_mb: usize,
}

/// Alerts.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlertConfig {
    /// The longest shelf, by the alert's severity.
    pub shelve_max: ShelveMax,
    /// When an alert is chattering whose rule does not say.
    pub flap: FlapConfig,
}

/// More than so many raises within so long are a chattering alert.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlapConfig {
    /// So many raises are no chattering yet; 0: none ever is.
    pub times: u32,
    /// In so long.
    #[serde(with = "duration")]
    pub within: Duration,
}

impl Default for FlapConfig {
    fn default() -> Self {
        let Flap { times, within } = Flap::USUAL;
        FlapConfig { times, within }
    }
}

impl From<FlapConfig> for Flap {
    fn from(config: FlapConfig) -> Self {
        // Every raise that may still count is remembered.
        Flap { times: config.times.min(Flap::MOST), within: config.within }
    }
}

/// The longest shelf, by the alert's severity.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShelveMax {
    /// Of critical alerts.
    #[serde(with = "duration")]
    pub critical: Duration,
    /// Of major ones.
    #[serde(with = "duration")]
    pub major: Duration,
    /// Of all others.
    #[serde(with = "duration")]
    pub other: Duration,
}

impl Default for ShelveMax {
    fn default() -> Self {
        let ShelfLimits { critical, major, other } = ShelfLimits::default();
        ShelveMax { critical, major, other }
    }
}

impl From<&ShelveMax> for ShelfLimits {
    fn from(max: &ShelveMax) -> Self {
        ShelfLimits { critical: max.critical, major: max.major, other: max.other }
    }
}

/// How the town runs its cases.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CaseConfig {
    /// The mildest severity whose alerts open a case by themselves.
    pub opens_from: Severity,
    /// How long a sensor must stay within its clear value before a case closes on its word.
    #[serde(with = "duration")]
    pub hold: Duration,
    /// A cause that comes back so soon after its case was closed is rework.
    #[serde(with = "duration")]
    pub reopens_within: Duration,
    /// How long after a deadline the next level is told, and the one after that.
    #[serde(deserialize_with = "duration::list")]
    pub escalates_after: Vec<Duration>,
    /// How long each step may take, by severity, counted from the dispatch.
    pub promises: Promises,
    /// When people work.
    pub duty: CalendarConfig,
}

/// How the town reports on its alarms and cases. Days, weeks and months are those of `case.duty.zone`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReportConfig {
    /// Operators on duty at a time, whose share of the alarms is judged: the hub cannot know who of those with an account
    /// sits at a screen.
    pub operators: u32,
}

impl Default for ReportConfig {
    fn default() -> Self {
        ReportConfig { operators: 1 }
    }
}

impl CaseConfig {
    /// The case room's settings.
    ///
    /// # Errors
    /// When the duty calendar is none.
    pub fn settings(&self) -> Result<Settings, CalendarError> {
        Ok(Settings {
            opens_from: self.opens_from,
            hold: self.hold,
            reopens_within: self.reopens_within,
            escalates_after: self.escalates_after.clone(),
            promises: self.promises,
            calendar: DutyCalendar::new(&self.duty)?,
        })
    }
}

impl Default for CaseConfig {
    fn default() -> Self {
        CaseConfig {
            opens_from: Severity::Major,
            hold: Duration::from_secs(3 * 60),
            reopens_within: Duration::from_secs(24 * 3600),
            escalates_after: vec![Duration::from_secs(15 * 60), Duration::from_secs(3600)],
            promises: Promises::default(),
            duty: CalendarConfig::default(),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            file: None,
            data: PathBuf::from("data"),
            profiles: PathBuf::from("device-profiles"),
            town: TownConfig::default(),
            mqtt: MqttConfig::default(),
            broker: None,
            bridge: None,
            http: HttpConfig::default(),
            alert: AlertConfig::default(),
            case: CaseConfig::default(),
            store: StoreConfig::default(),
            map: MapConfig::default(),
            notify: NotifyConfig::default(),
            trouble: TroubleConfig::default(),
            report: ReportConfig::default(),
        }
    }
}

impl Default for MapConfig {
    fn default() -> Self {
        MapConfig {
            base: Base::Schematic,
            crs: Datum::Wgs84,
            file: None,
            url: None,
            key_file: None,
            satellite: false,
            attribution: None,
            min_zoom: 1,
            max_zoom: 18,
            timeout: Duration::from_secs(5),
            cache_mb: 64,
        }
    }
}

impl Default for TownConfig {
    fn default() -> Self {
        TownConfig {
            name: Label::new("乌镇", "Wuzhen"), center: [120.4851, 30.745_36], zoom: 14.0
        }
    }
}

impl Default for MqttConfig {
    fn default() -> Self {
        MqttConfig {
            listen: "0.0.0.0:1883".to_owned(),
            max_connections: 20_000,
            max_packet_bytes: 65_536,
            connect_timeout: Duration::from_secs(5),
            max_messages_per_second: 100,
            tls: None,
        }
    }
}

impl Default for HttpConfig {
    fn default() -> Self {
        HttpConfig { listen: "127.0.0.1:8080".to_owned(), https_only: false }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}", file.display())]
    Read {
        /// Which file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML, or has a key or a value that is none.
    #[error("the configuration {} is wrong: {message}", file.display())]
    Parse {
        /// Which file.
        file: PathBuf,
        /// Line, column, what and what would be right.
        message: String,
    },
    /// The duty calendar is none.
    #[error("the configuration's case.{0}")]
    Calendar(#[from] CalendarError),
    /// The channels or routes of notifications are none.
    #[error("the configuration's {0}")]
    Notify(#[from] NotifyConfigError),
    /// The external broker or the bridge is none.
    #[error("the configuration's {0}")]
    Link(#[from] KeyError),
    /// Readings are to be kept for a time that makes no sense.
    #[error("the configuration's {0}")]
    Keep(#[from] KeepConfigError),
    /// The engine cannot be used so.
    #[error("the configuration's {0}")]
    Store(#[from] RemoteConfigError),
    /// A value that cannot be.
    #[error("the configuration's {key} is {found}; {remedy}")]
    Value {
        /// Which key.
        key: &'static str,
        /// What it is.
        found: String,
        /// What would be right.
        remedy: &'static str,
    },
}

impl Config {
    /// Reads and checks a file. Relative paths in it are relative to the working directory.
    ///
    /// # Errors
    /// When the file cannot be read, is no TOML, or says something impossible.
    pub fn read(file: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file)
            .map_err(|source| ConfigError::Read { file: file.to_owned(), source })?;
        let config: Config = toml::from_str(&text).map_err(|why| ConfigError::Parse {
            file: file.to_owned(),
            message: why.to_string(),
        })?;
        config.check()?;
        Ok(Config { file: Some(file.to_owned()), ..config })
    }

    /// Checks what a type alone cannot.
    ///
    /// # Errors
    /// When a value is impossible.
    pub fn check(&self) -> Result<(), ConfigError> {
        let [lon, lat] = self.town.center;
        if let Err(why) = Position::new(lon, lat) {
            let remedy = "write [longitude, latitude] in degrees";
            return Err(ConfigError::Value { key: "town.center", found: why.to_string(), remedy });
        }
        let bytes = self.mqtt.max_packet_bytes;
        if !(256..=16 * 1024 * 1024).contains(&bytes) {
            let remedy = "use 256 to 16777216";
            return Err(ConfigError::Value {
                key: "mqtt.max_packet_bytes",
                found: bytes.to_string(),
                remedy,
            });
        }
        if self.mqtt.max_connections == 0 {
            let remedy = "use at least 1";
            return Err(ConfigError::Value {
                key: "mqtt.max_connections",
                found: "0".to_owned(),
                remedy,
            });
        }
        if self.report.operators == 0 {
            let remedy = "use at least 1";
            return Err(ConfigError::Value {
                key: "report.operators",
                found: "0".to_owned(),
                remedy,
            });
        }
        if let Some(broker) = &self.broker {
            broker.server()?;
        }
        if let Some(bridge) = &self.bridge {
            bridge.server()?;
        }
        if let Some((key, found, remedy)) = self.store.backup.fault() {
            return Err(ConfigError::Value { key, found, remedy });
        }
        self.case.settings()?;
        self.store.keep.keep()?;
        self.notify.settings(&self.case.duty.zone)?;
        self.store.check()?;
        self.map.check()
    }
}

impl StoreConfig {
    fn check(&self) -> Result<(), RemoteConfigError> {
        self.queue.check()?;
        match self.engine {
            EngineKind::Embedded => Ok(()),
            EngineKind::InfluxDb2 => self.influxdb2.check(),
            EngineKind::VictoriaMetrics => self.victoriametrics.check(),
        }
    }
}

impl MapConfig {
    fn check(&self) -> Result<(), ConfigError> {
        let wrong = |key, found: &dyn std::fmt::Debug, remedy| {
            Err(ConfigError::Value { key, found: format!("{found:?}"), remedy })
        };
        match self.base {
            Base::File if self.file.is_none() => {
                return wrong("map.file", &self.file, "name a .geojson or .pmtiles file");
            }
            Base::Xyz if self.url.as_deref().is_none_or(|url| Template::new(url).is_err()) => {
                let remedy = "write an address such as https://tiles.example/{z}/{x}/{y}.png";
                return wrong("map.url", &self.url, remedy);
            }
            Base::Tianditu if self.key_file.is_none() => {
                let remedy = "name a file that holds the key which tianditu.gov.cn gave you";
                return wrong("map.key_file", &self.key_file, remedy);
            }
            _ => {}
        }
        if self.min_zoom > self.max_zoom || self.max_zoom > MAX_ZOOM {
            return wrong("map.max_zoom", &self.max_zoom, "use map.min_zoom to 22");
        }
        if !(1..=1024).contains(&self.cache_mb) {
            return wrong("map.cache_mb", &self.cache_mb, "use 1 to 1024");
        }
        Ok(())
    }
}

pub(crate) mod duration {
    //! Durations as texts: `800ms`, `5s`, `15min`, `6h`, `3d`.

    use std::time::Duration;

    use serde::{Deserialize, Deserializer, de};

    pub(crate) fn list<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Duration>, D::Error> {
        Vec::<String>::deserialize(from)?.iter().map(|text| parse(text)).collect()
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        parse(&String::deserialize(from)?)
    }

    fn parse<E: de::Error>(text: &str) -> Result<Duration, E> {
        // jiff reads no days, because a day of a calendar may have 23 hours; a duration's has 24.
        let days = |text: &str| {
            let days = text.strip_suffix('d')?.trim_end().parse::<u32>().ok()?;
            Some(Duration::from_secs(u64::from(days) * 86_400))
        };
        let finer =
            |text: &str| Duration::try_from(text.parse::<jiff::SignedDuration>().ok()?).ok();
        days(text).or_else(|| finer(text)).ok_or_else(|| {
            E::custom(format!("`{text}` is no duration; write for example 5s, 2h or 3d"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<(), &str>) {
        let outcome = toml::from_str::<Config>(text)
            .map_err(|why| why.to_string())
            .and_then(|config| config.check().map_err(|why| why.to_string()));
        match expected {
            Ok(()) => assert_eq!(outcome, Ok(()), "{text}"),
            Err(part) => {
                let message = outcome.expect_err(text);
                assert!(message.contains(part), "{message} should say {part}");
            }
        }
    }

    #[test]
    fn an_empty_file_is_a_configuration() {
        check("", Ok(()));
        assert_eq!(toml::from_str::<Config>("").expect("valid"), Config::default());
    }

    #[test]
    fn what_is_wrong_is_named() {
        check("[mqtt]\nlissten = \"x\"", Err("unknown field `lissten`, expected one of `listen`"));
        check("[mqtt]\nconnect_timeout = \"soon\"", Err("`soon` is no duration"));
        check("[mqtt]\nconnect_timeout = \"2h\"", Ok(()));
        check("[mqtt]\nmax_packet_bytes = 10", Err("use 256 to 16777216"));
        check("[case]\nescalates_after = [\"soon\"]", Err("`soon` is no duration"));
        check(
            "[case.promises]\nminor = { fix = \"2 days\" }",
            Err("4 working hours or 1 working day"),
        );
        check("[case.duty]\nhours = [\"9-17\"]", Err("case.duty.hours = `9-17`: write from-to"));
        check("[case]\nopens_from = \"minor\"\n[case.duty]\nholidays = [\"2026-10-01\"]", Ok(()));
        check("[notify.channels.a]\nkind = \"webhook\"", Err("notify.channels.a: it needs `url`"));
        check("[alert.shelve_max]\ncritical = \"30min\"", Ok(()));
        check("[alert]\nshelve_max = \"1h\"", Err("shelve_max"));
        check("[alert.flap]\ntimes = 3\nwithin = \"5min\"", Ok(()));
        check("[case]\nreopens_within = \"3d\"", Ok(()));
        check(
            "[case]\nreopens_within = \"d\"",
            Err("`d` is no duration; write for example 5s, 2h"),
        );
        check("[alert]\nflap = { times = -1 }", Err("flap"));
        check("[report]\noperators = 0", Err("report.operators is 0; use at least 1"));
        check("[broker]\nurl = \"mqtt://b\"", Err("missing field `client_id`"));
        check(
            "[broker]\nurl = \"b\"\nclient_id = \"h\"",
            Err("the configuration's broker.url is `b`; write mqtt://host:1883"),
        );
        check("[store.keep]\nraw = \"90d\"\nminute = \"1y\"", Ok(()));
        check("[store.keep]\nraw = \"2d\"", Err("store.keep.raw is 2d; use at least 7d"));
        check("[town]\ncenter = [30.7, 120.4]", Err("latitude 120.4"));
        check("[map]\nbase = \"google\"", Err("unknown variant `google`, expected one of"));
        check("[map]\nbase = \"file\"", Err("map.file is None; name a .geojson or .pmtiles"));
        check("[map]\nbase = \"xyz\"\nurl = \"https://a.example/\"", Err("{z}/{x}/{y}"));
        check("[map]\nbase = \"tianditu\"", Err("map.key_file is None"));
        check("[map]\nbase = \"tianditu\"\nkey_file = \"tk\"\ntimeout = \"2s\"", Ok(()));
        check("[map]\nmax_zoom = 30", Err("use map.min_zoom to 22"));
        check("[map]\ncache_mb = 0", Err("use 1 to 1024"));
        check("[store.disk]\nwarn_below = \"10 %\"\nstop_below = \"2 GB\"", Ok(()));
        check("[store.backup]\nfolder = \"/b\"\nevery = \"1d\"\nat = \"03:00\"", Ok(()));
        check("[store.backup]\nat = \"3 am\"", Err("`3 am` is no time of day; write for"));
        check("[store.backup]\nevery = \"1s\"", Err("store.backup.every is 1s; use at least"));
        check("[store.disk]\nstop_below = \"2\"", Err("`2` is no amount of disk; write for"));
        check("[store]\nengine = \"mysql\"", Err("unknown variant `mysql`, expected one of"));
        check("[store]\nengine = \"victoriametrics\"", Err("store.victoriametrics.write is ``"));
        check(
            "[store]\nengine = \"influxdb2\"\ninfluxdb2 = { url = \"http://i:8086\", org = \"town\" }",
            Err("store.influxdb2.bucket is ``; write its name"),
        );
        check("[store.queue]\nmax = \"2 GB\"\nnear = \"14d\"", Ok(()));
        check("[store.queue]\nnear = \"1d\"", Err("at least 5d"));
    }
}
