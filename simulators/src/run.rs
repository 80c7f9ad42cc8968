//! A run: the town, the hub that learns of it, and the wires. The only place that reads the clock.

use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::modbus::{self, Controller};
use crate::mqtt::{Account, Broker, Fleet, Totals};
use crate::provision::{Documents, Hub, ProvisionError};
use crate::script::{Script, ScriptError};
use crate::secret::{Key, KeyError};
use crate::town::{Device, Profile, Town, TownError};
use crate::world::{Effect, Start, World};

/// How often the world moves on.
const TICK: Duration = Duration::from_millis(200);
/// How often a run says how it goes.
const SAY_EVERY: Duration = Duration::from_secs(60);
/// How long the hub may take to become ready.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Every so many devices, one speaks MQTT 5.
const VERSION5_EVERY: usize = 5;

/// What a run is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// The hub's HTTP address and token; `None` when nobody has to be told of the town.
    pub hub: Option<HubAccess>,
    /// The broker.
    pub mqtt: Broker,
    /// The seed of weather, traffic and noise.
    pub seed: u64,
    /// Seconds of the script in one second.
    pub speed: f64,
    /// A built-in script's name, or a file.
    pub script: String,
    /// The file with the key of the devices' secrets.
    pub key_file: PathBuf,
    /// The first Modbus port; 0 lets the system choose.
    pub modbus_port: u16,
}

/// How the hub is reached.
#[derive(Debug, Clone)]
pub struct HubAccess {
    /// `http://host:port`.
    pub url: String,
    /// Bearer token.
    pub token: String,
}

/// Why a run did not start, or ended early.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The town is inconsistent.
    #[error("the town cannot be built")]
    Town(#[from] TownError),
    /// The script cannot be read.
    #[error("the script {name} cannot be read; built-in scripts are demo, calm, storm and month")]
    ScriptFile {
        /// What was asked for.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The script is wrong.
    #[error("the script {name} is wrong")]
    Script {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: ScriptError,
    },
    /// The speed is no speed.
    #[error("--speed is {0}; it must be above 0 and at most 1000")]
    Speed(f64),
    /// There is no key.
    #[error("the devices have no secrets")]
    Key(#[from] KeyError),
    /// A gate's port cannot be opened.
    #[error("the Modbus port {port} of a gate cannot be opened")]
    Modbus {
        /// The port; 0 is any.
        port: u16,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The table of devices cannot be written.
    #[error("the table of devices cannot be written")]
    Table(#[from] csv::Error),
    /// The hub does not know the town.
    #[error("the hub did not take the town")]
    Provision(#[from] ProvisionError),
}

/// Reads a script by its name or from a file.
///
/// # Errors
/// When there is none, or it does not fit the town.
pub fn load_script(name: &str, town: &Town) -> Result<Script, RunError> {
    let built_in = Script::BUILT_IN.iter().find(|(known, _)| *known == name);
    let text = match built_in {
        Some((_, text)) => (*text).to_owned(),
        None => std::fs::read_to_string(name)
            .map_err(|source| RunError::ScriptFile { name: name.to_owned(), source })?,
    };
    Script::parse(&text, town).map_err(|source| RunError::Script { name: name.to_owned(), source })
}

/// Runs the town until `stop` turns true. Returns what the devices did.
///
/// # Errors
/// When something needed for the start is missing or wrong, or the hub does not take the town.
pub async fn run(options: Options, stop: watch::Receiver<bool>) -> Result<Arc<Totals>, RunError> {
    if !(options.speed > 0.0 && options.speed <= 1000.0) {
        return Err(RunError::Speed(options.speed));
    }
    let town = Arc::new(Town::wuzhen()?);
    let script = load_script(&options.script, &town)?;
    let key = Key::open(&options.key_file)?;
    let start = Start { seed: options.seed, speed: options.speed, now_ms: unix_ms() };
    let world = World::new(Arc::clone(&town), script, &start);
    let gates = Gates::start(&town, &world, options.modbus_port, &stop).await?;
    if let Some(access) = &options.hub {
        let mut stopped = stop.clone();
        tokio::select! {
            done = provision(&town, &key, access, &gates) => done?,
            _ = stopped.wait_for(|&stop| stop) => return Ok(Arc::default()),
        }
    }
    let accounts = accounts(&town, &key);
    tracing::info!(
        seed = options.seed,
        script = options.script,
        devices = accounts.len(),
        "the town wakes up"
    );
    let fleet = Fleet::start(accounts, &options.mqtt, &stop);
    live(world, &fleet, &gates, stop).await;
    gates.join().await;
    Ok(fleet.join().await)
}

/// The one clock of a run: Unix milliseconds.
fn unix_ms() -> i64 {
    // Before 1970 or after the year 292 million the town stands at the epoch.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(0)
}

async fn provision(
    town: &Town,
    key: &Key,
    access: &HubAccess,
    gates: &Gates,
) -> Result<(), RunError> {
    let hub = Hub::new(&access.url, &access.token);
    hub.wait_ready(READY_WITHIN).await?;
    let documents = Documents {
        zones: town.zones.to_string(),
        assets: town.assets_geojson().to_string(),
        devices: town.devices_csv(|gate| gates.endpoint(gate), |device| key.secret(device))?,
    };
    let [zones, assets, devices] = hub.import(documents).await?;
    tracing::info!(?zones, ?assets, ?devices, "the hub knows the town");
    Ok(())
}

fn accounts(town: &Town, key: &Key) -> Vec<Option<Account>> {
    let account = |(place, device): (usize, &Device)| {
        let publishes = device.profile != Profile::Sg200;
        publishes.then(|| Account {
            id: device.id.clone(),
            secret: key.secret(&device.id),
            topic: device.topic(),
            status_topic: device.status_topic(),
            version5: place % VERSION5_EVERY == 0,
        })
    };
    town.devices.iter().enumerate().map(account).collect()
}

/// Moves the world on and carries out what its devices do, until `stop` turns true.
async fn live(mut world: World, fleet: &Fleet, gates: &Gates, mut stop: watch::Receiver<bool>) {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut say = interval(SAY_EVERY);
    loop {
        tokio::select! {
            biased;
            _ = stop.wait_for(|&stop| stop) => return,
            _ = say.tick() => say_how_it_goes(world.script_s(), fleet.totals()),
            _ = tick.tick() => {
                gates.hear(&mut world);
                for effect in world.step(unix_ms()) {
                    match effect {
                        Effect::Publish { device, payload } => fleet.publish(device, payload),
                        Effect::Unplug { device } => fleet.plug(device, false),
                        Effect::Plug { device } => fleet.plug(device, true),
                    }
                }
                gates.show(&world);
            }
        }
    }
}

fn say_how_it_goes(script_s: f64, totals: &Totals) {
    tracing::info!(
        script_s = script_s.round(),
        connected = totals.connected.load(Relaxed),
        published = totals.published.load(Relaxed),
        acknowledged = totals.acknowledged.load(Relaxed),
        dropped = totals.dropped.load(Relaxed),
        refused = totals.refused.load(Relaxed),
        "the town lives"
    );
}

/// The controllers of the gates on their ports.
struct Gates {
    controllers: Vec<Controller>,
    ports: Vec<u16>,
    servers: JoinSet<io::Result<()>>,
}

impl Gates {
    async fn start(
        town: &Town,
        world: &World,
        first_port: u16,
        stop: &watch::Receiver<bool>,
    ) -> Result<Self, RunError> {
        let mut gates =
            Gates { controllers: Vec::new(), ports: Vec::new(), servers: JoinSet::new() };
        for gate in 0..town.gates.len() {
            let port = if first_port == 0 { 0 } else { first_port.saturating_add(gate as u16) };
            let failed = |source| RunError::Modbus { port, source };
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(failed)?;
            gates.ports.push(listener.local_addr().map_err(failed)?.port());
            let controller = Controller::new(world.gate(gate));
            gates.controllers.push(controller.clone());
            gates.servers.spawn(modbus::serve(listener, controller, stop.clone()));
        }
        Ok(gates)
    }

    fn endpoint(&self, gate: usize) -> String {
        format!("127.0.0.1:{}", self.ports[gate])
    }

    /// Tells the gates what masters wrote.
    fn hear(&self, world: &mut World) {
        for (gate, controller) in self.controllers.iter().enumerate() {
            if let Some(setpoint) = controller.take_setpoint() {
                tracing::info!(gate, setpoint, "a master moves a gate");
                world.command_gate(gate, setpoint);
            }
            if controller.take_stop() {
                tracing::info!(gate, "a master stops a gate");
                world.stop_gate(gate);
            }
        }
    }

    /// Shows masters what the gates do.
    fn show(&self, world: &World) {
        for (gate, controller) in self.controllers.iter().enumerate() {
            controller.show(world.gate(gate));
        }
    }

    async fn join(mut self) {
        while let Some(ended) = self.servers.join_next().await {
            if let Ok(Err(error)) = ended {
                tracing::warn!(%error, "the controller of a gate had ended early");
            }
        }
    }
}
