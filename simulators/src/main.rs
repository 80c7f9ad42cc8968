//! townsim: the commands, nothing else.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

use townsim::mqtt::Broker;
use townsim::run::{HubAccess, Options, run};
use townsim::town::Town;

/// A seeded town of fake devices for the town hub.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Tells a hub of the town and lets its devices report until it is stopped.
    Run(RunArgs),
    /// Writes the town as GeoJSON and CSV.
    Town {
        /// Folder for zones.geojson, assets.geojson and devices.csv.
        #[arg(long, default_value = "town")]
        out: PathBuf,
    },
}

#[derive(Args)]
struct RunArgs {
    /// The hub's HTTP address.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    hub: String,
    /// The MQTT broker, host:port.
    #[arg(long, default_value = "127.0.0.1:1883")]
    mqtt: Broker,
    /// The hub's bearer token.
    #[arg(long, env = "TOWNSIM_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Tell no hub of the town; only publish and serve the gates.
    #[arg(long)]
    no_import: bool,
    /// The seed of weather, traffic and noise.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seconds of the script in one second.
    #[arg(long, default_value_t = 1.0)]
    speed: f64,
    /// demo, calm, storm, month, or a script file.
    #[arg(long, default_value = "demo")]
    script: String,
    /// Stop after so many seconds.
    #[arg(long)]
    duration: Option<u64>,
    /// The key of the devices' secrets; made at the first run.
    #[arg(long, default_value = "data/townsim.key")]
    key_file: PathBuf,
    /// The first of the gates' Modbus ports; 0 lets the system choose.
    #[arg(long, default_value_t = 0)]
    modbus_port: u16,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match Cli::parse().command {
        Command::Run(args) => run_town(args).await,
        Command::Town { out } => write_town(&out),
    }
}

async fn run_town(args: RunArgs) -> anyhow::Result<()> {
    let hub = if args.no_import {
        None
    } else {
        let token = args
            .token
            .context("--token (or TOWNSIM_TOKEN) is missing; --no-import does without a hub")?;
        Some(HubAccess { url: args.hub, token })
    };
    let options = Options {
        hub,
        mqtt: args.mqtt,
        seed: args.seed,
        speed: args.speed,
        script: args.script,
        key_file: args.key_file,
        modbus_port: args.modbus_port,
    };
    let (stop, stopped) = watch::channel(false);
    let signals = tokio::spawn(async move {
        let ended = wait_for_end(args.duration.map(Duration::from_secs)).await;
        stop.send_replace(true);
        // The sender lives on: a dropped one would look like a second stop.
        (ended, stop)
    });
    let ran = run(options, stopped).await;
    signals.abort();
    let totals = ran?;
    tracing::info!(
        published = totals.published.load(Relaxed),
        acknowledged = totals.acknowledged.load(Relaxed),
        dropped = totals.dropped.load(Relaxed),
        "the town sleeps"
    );
    Ok(())
}

/// Returns on Ctrl-C, on SIGTERM, or when the time is over.
async fn wait_for_end(duration: Option<Duration>) -> std::io::Result<()> {
    let time_is_over = async {
        match duration {
            Some(duration) => tokio::time::sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed,
        _ = terminate.recv() => Ok(()),
        () = time_is_over => Ok(()),
    }
}

fn write_town(out: &Path) -> anyhow::Result<()> {
    let town = Town::wuzhen()?;
    fs::create_dir_all(out).with_context(|| format!("cannot make the folder {}", out.display()))?;
    // Without secrets: a hub makes them when it imports. The gates' ports are examples.
    let devices =
        town.devices_csv(|gate| format!("127.0.0.1:{}", 15_020 + gate), |_| String::new())?;
    let files = [
        ("zones.geojson", town.zones.to_string().into_bytes()),
        ("assets.geojson", town.assets_geojson().to_string().into_bytes()),
        ("devices.csv", devices),
    ];
    for (name, bytes) in files {
        let path = out.join(name);
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        println!("{}", path.display());
    }
    Ok(())
}
