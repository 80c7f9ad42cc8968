//! The command line: arguments, logging, start, wait for the signal, drain. Nothing else.

mod cli;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use cli::access::{AuditCommand, TokenCommand, UserCommand};
use cli::data::DataCommand;
use townhub::clock::Clock;
use townhub::config::Config;
use townhub::hub::Hub;
use townhub::provision;
use townhub::registry::{ImportMode, NewEnrolment, Registry, ServiceAccount};
use townhub::trial::{self, Manner};
use townhub::upkeep::{Space, bytes_text};
use townhub::workshop::{self, Outcome};

/// The city brain of a town.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The configuration file (TOML); without it every default applies.
    #[arg(long, env = "TOWNHUB_CONFIG")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the hub (the default).
    Run,
    /// Check and test device profiles.
    #[command(subcommand)]
    Profile(ProfileCommand),
    /// Tokens for programs that use the API.
    #[command(subcommand)]
    Token(TokenCommand),
    /// People's accounts.
    #[command(subcommand)]
    User(UserCommand),
    /// Who changed what: the audit log.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// MQTT accounts for programs (dashboards, bridges).
    #[command(subcommand)]
    Service(ServiceCommand),
    /// Devices from a table and into one.
    #[command(subcommand)]
    Devices(DevicesCommand),
    /// Keys with which devices register themselves.
    #[command(subcommand)]
    Enrolment(EnrolmentCommand),
    /// Make dashboards for Grafana from the device profiles.
    Dashboards {
        /// Profiles, or a folder of profiles.
        #[arg(long, default_value = "device-profiles")]
        profiles: PathBuf,
        /// The folder to write to.
        #[arg(long, default_value = "dashboards/grafana")]
        out: PathBuf,
    },
    /// Copies of the data, its check and its export.
    #[command(flatten)]
    Data(DataCommand),
    /// Print the API's OpenAPI document.
    Openapi,
    /// Run codecs for the hub, which starts this itself.
    #[command(hide = true)]
    CodecChild,
}

#[derive(Debug, Subcommand)]
enum ProfileCommand {
    /// Report everything that is wrong with these files or folders.
    Check(Trial),
    /// Check them, then run their fixtures.
    Test(Trial),
    /// Print what is asked of a device and how often, or what it sends where.
    Plan {
        /// Profiles, or folders of profiles.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    /// Write a commented profile to begin with, with a test that passes.
    New {
        /// The profile's id, for example `aqua-mh1`; also the name of its file.
        id: String,
        /// What the device is made for: manhole, pipe, rain-gauge, canal-gauge, sluice-gate, parking-bay, parking-lot.
        #[arg(long, default_value = "manhole")]
        kind: String,
        /// How it speaks: mqtt, modbus or lorawan.
        #[arg(long, default_value = "mqtt")]
        source: String,
        /// The folder to write to.
        #[arg(long, default_value = "device-profiles")]
        out: PathBuf,
    },
    /// Turn another system's description of a device into a profile, as far as it goes.
    Import {
        /// What it is: edgex (device profile, YAML), telegraf (configuration with [[inputs.modbus]]), lorawan (folder of
        /// The Things Stack's device repository) or chirpstack (folder or file of a device profile template, TOML).
        format: String,
        /// The file or folder.
        path: PathBuf,
        /// The folder to write to; without it the profile is printed.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Print the JSON Schema of a profile, for editors.
    Schema,
}

#[derive(Debug, clap::Args)]
struct Trial {
    /// Profiles, or folders of profiles.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Warnings fail, too.
    #[arg(long)]
    strict: bool,
    /// `text` for people, `json` for editors.
    #[arg(long, default_value = "text", value_parser = ["text", "json"])]
    format: String,
}

impl Trial {
    fn manner(&self) -> Manner {
        Manner { is_strict: self.strict, is_json: self.format == "json" }
    }
}

#[derive(Debug, Subcommand)]
enum ServiceCommand {
    /// Make or replace a service account and print its new secret; it is not shown again.
    Put {
        /// Its MQTT user name; begins with `svc-`.
        name: String,
        /// A topic filter that it may publish to (repeatable).
        #[arg(long)]
        publish: Vec<String>,
        /// A topic filter that it may subscribe to (repeatable).
        #[arg(long)]
        subscribe: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
enum DevicesCommand {
    /// Add or replace the devices of a CSV file, all or none; prints the new secrets as `id,secret`, shown once.
    Import {
        /// CSV with the columns id,profile and, as needed, asset,name_zh,name_en,modbus_endpoint,modbus_unit,gateway,address,secret.
        file: PathBuf,
        /// Only check and report.
        #[arg(long)]
        dry_run: bool,
    },
    /// Print every device as CSV, without secrets.
    Export,
}

#[derive(Debug, Subcommand)]
enum EnrolmentCommand {
    /// Make a key and print it; it is not shown again.
    Create {
        /// What it is for.
        #[arg(long, default_value = "")]
        label: String,
        /// The profile of the devices that it brings.
        #[arg(long)]
        profile: Option<String>,
        /// Its devices may only get assets of this zone.
        #[arg(long)]
        zone: Option<String>,
        /// How many devices it may bring.
        #[arg(long, default_value_t = 50)]
        max: u32,
        /// For how long it is good, for example 24h or 7d.
        #[arg(long, default_value = "24h", value_parser = townhub::provision::duration)]
        expires: Duration,
    },
    /// List the keys: number, devices brought, profile, zone, end, label.
    List,
    /// End a key now.
    Revoke {
        /// Its number.
        id: i64,
    },
}

/// How long the hub may take to end.
const PATIENCE: Duration = Duration::from_millis(4_800);

/// A start that fails while less than so many bytes are free fails for that: the logs of the town's files need some
/// megabytes, and the disk guard takes no reading below 64 MB.
const ROOM_TO_START: u64 = 8_000_000;

/// How often a hub that waits for room looks for it.
const LOOK_FOR_ROOM: Duration = Duration::from_secs(1);

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    if matches!(arguments.command, Some(Command::CodecChild)) {
        // Before anything is opened that a codec could reach.
        townhub::codec::child_main()?;
        return Ok(ExitCode::SUCCESS);
    }
    townhub::codec::set_program(std::env::current_exe()?);
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_default_env()
                // rumqttc tells of every refused packet; the rooms have their own logs.
                .unwrap_or_else(|_| EnvFilter::new("info,rumqttc=off")),
        )
        .with_writer(std::io::stderr)
        .init();
    match arguments.command.unwrap_or(Command::Run) {
        Command::Profile(command) => Ok(profile(command)),
        Command::Dashboards { profiles, out } => Ok(tell(workshop::dashboards(&profiles, &out))),
        Command::Openapi => {
            println!("{}", townhub::api::openapi().to_pretty_json()?);
            Ok(ExitCode::SUCCESS)
        }
        command => with_config(command, config(arguments.config.as_deref())?),
    }
}

fn with_config(command: Command, config: Config) -> anyhow::Result<ExitCode> {
    match command {
        Command::Token(command) => cli::access::token(&registry(&config)?, command)?,
        Command::User(command) => cli::access::user(&registry(&config)?, command)?,
        Command::Audit(command) => return cli::access::audit(|| registry(&config), command),
        Command::Service(ServiceCommand::Put { name, publish, subscribe }) => {
            let account = ServiceAccount { name, publish, subscribe };
            println!("{}", registry(&config)?.put_service(account)?);
        }
        Command::Devices(command) => return devices(command, &config),
        Command::Data(command) => return cli::data::run(command, &config),
        Command::Enrolment(command) => return enrolment(command, &config),
        _ => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(run(config))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn devices(command: DevicesCommand, config: &Config) -> anyhow::Result<ExitCode> {
    let registry = registry(config)?;
    match command {
        DevicesCommand::Export => {
            print!("{}", registry.export_devices_csv());
            Ok(ExitCode::SUCCESS)
        }
        DevicesCommand::Import { file, dry_run } => {
            let mode = if dry_run { ImportMode::DryRun } else { ImportMode::Apply };
            let profiles = provision::profiles(&config.profiles)?;
            Ok(say(&provision::import(&registry, &profiles, &file, mode)?))
        }
    }
}

fn enrolment(command: EnrolmentCommand, config: &Config) -> anyhow::Result<ExitCode> {
    let registry = registry(config)?;
    match command {
        EnrolmentCommand::Create { label, profile, zone, max, expires } => {
            let new = NewEnrolment {
                label,
                profile: profile.map(|id| id.parse()).transpose()?,
                zone: zone.map(|id| id.parse()).transpose()?,
                max_devices: max,
                expires_in: expires,
            };
            let profiles = provision::profiles(&config.profiles)?;
            Ok(say(&provision::create_enrolment(&registry, &profiles, new)?))
        }
        EnrolmentCommand::List => Ok(say(&provision::list_enrolments(&registry))),
        EnrolmentCommand::Revoke { id } => {
            registry.revoke_enrolment(id)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Prints what a command has to say and says by the exit code whether all is well.
fn say(said: &provision::Said) -> ExitCode {
    eprint!("{}", said.err);
    print!("{}", said.out);
    if said.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn run(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let hub = tokio::select! {
        hub = start(config) => hub?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    println!("townhub is ready");
    println!("  console  http://{}", hub.http_address());
    println!("  mqtt     {}", hub.mqtt_address());
    if let Some(address) = hub.mqtt_tls_address() {
        println!("  mqtts    {address}");
    }
    if let Some((user, password)) = hub.first_login() {
        println!("  login    {user} / {password}   (shown once / 仅显示一次)");
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    if tokio::time::timeout(PATIENCE, hub.stop()).await.is_err() {
        // What is not on disk by now was not acknowledged: its devices will send it again.
        eprintln!("townhub did not end in {PATIENCE:?}; leaving");
        std::process::exit(1);
    }
    Ok(())
}

/// Starts the hub; on a disk without room, as soon as somebody made some.
async fn start(config: Config) -> anyhow::Result<Hub> {
    loop {
        let why = match Hub::start(config.clone(), Clock::system()).await {
            Ok(hub) => return Ok(hub),
            Err(why) => why,
        };
        // Which call failed for want of room, SQLite does not always say: a log that cannot be mapped is an I/O error.
        let space = Space::of(&config.data).ok();
        let Some(space) = space.filter(|space| space.free_bytes < ROOM_TO_START) else {
            return Err(why.into());
        };
        tracing::error!(
            why = format!("{:#}", anyhow::Error::from(why)),
            "the hub cannot start: the disk of {} is full ({} left); make room, it starts by itself then",
            config.data.display(),
            bytes_text(space.free_bytes),
        );
        while Space::of(&config.data).is_ok_and(|space| space.free_bytes < ROOM_TO_START) {
            tokio::time::sleep(LOOK_FOR_ROOM).await;
        }
    }
}

fn config(file: Option<&Path>) -> anyhow::Result<Config> {
    match file {
        Some(file) => Ok(Config::read(file)?),
        None => Ok(Config::default()),
    }
}

fn registry(config: &Config) -> anyhow::Result<Registry> {
    std::fs::create_dir_all(&config.data)
        .with_context(|| format!("cannot make the data folder {}", config.data.display()))?;
    Ok(Registry::open(&config.data.join("town.db"), Clock::system())?.by_command_line())
}

/// Does an engineer's work on a profile, prints what came of it, and says by the exit code whether all is well.
fn profile(command: ProfileCommand) -> ExitCode {
    tell(match command {
        ProfileCommand::Check(of) => Outcome::from(trial::check(&of.paths, of.manner())),
        ProfileCommand::Test(of) => Outcome::from(trial::test(&of.paths, of.manner())),
        ProfileCommand::Plan { paths } => workshop::plan(&paths),
        ProfileCommand::New { id, kind, source, out } => {
            workshop::create(&id, &kind, &source, &out)
        }
        ProfileCommand::Import { format, path, out } => {
            workshop::import(&format, &path, out.as_deref())
        }
        ProfileCommand::Schema => Outcome::good(format!("{:#}\n", townhub::profile::json_schema())),
    })
}

/// Prints what came of an engineer's command.
fn tell(outcome: Outcome) -> ExitCode {
    print!("{}", outcome.text);
    eprint!("{}", outcome.notes);
    if outcome.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
