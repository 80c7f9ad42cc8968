//! `townhub backup | restore | check | export`: what an operator does with the data on disk.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Subcommand, ValueEnum};
use townhub::clock::Clock;
use townhub::config::Config;
use townhub::model::Timestamp;
use townhub::profile::ProfileSet;
use townhub::upkeep::{self, Belongings, Export, Format, Stop, bytes_text};

#[derive(Debug, Subcommand)]
pub(crate) enum DataCommand {
    /// Copy all that the hub keeps, of one moment and checked; the hub may be running.
    Backup {
        /// The folder of backups; the new one gets a folder of its own in it, whose name is printed.
        folder: PathBuf,
    },
    /// Put a backup back into the configured data folder, which must be empty.
    Restore {
        /// The backup's own folder.
        backup: PathBuf,
    },
    /// Check that everything on disk is whole, beside a running hub too; one line for each finding.
    Check {
        /// A data folder or a backup; without it the configured data folder.
        folder: Option<PathBuf>,
    },
    /// Write readings to CSV or Parquet, beside a running hub too.
    Export {
        /// Observed at or after this: a day (UTC) or a time as 2026-11-28T08:00:00+08:00.
        #[arg(long, value_parser = upkeep::moment)]
        from: Timestamp,
        /// Observed before this.
        #[arg(long, value_parser = upkeep::moment)]
        to: Timestamp,
        /// Only this device (repeatable).
        #[arg(long)]
        device: Vec<String>,
        /// Only this metric (repeatable).
        #[arg(long)]
        metric: Vec<String>,
        /// How it is written.
        #[arg(long, value_enum, default_value = "csv")]
        format: Kind,
        /// One file for each day (UTC), in folders `date=...`.
        #[arg(long)]
        by_day: bool,
        /// A backup to read from, instead of the configured data folder.
        #[arg(long)]
        backup: Option<PathBuf>,
        /// The new file; with `--by-day` the new folder.
        out: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Kind {
    Csv,
    Parquet,
}

/// Does it, and says by the exit code whether all is well.
pub(crate) fn run(command: DataCommand, config: &Config) -> anyhow::Result<ExitCode> {
    let stop = Stop::default();
    match command {
        DataCommand::Backup { folder } => {
            let belongings = Belongings {
                data: config.data.clone(),
                profiles: config.profiles.clone(),
                config: config.file.clone(),
                disk: config.store.disk,
            };
            let made = belongings.back_up(&folder, Clock::system().now(), &stop)?;
            let (files, size) = (made.manifest.files.len(), bytes_text(made.manifest.bytes()));
            eprintln!("{files} files, {size}, checked");
            println!("{}", made.folder.display());
        }
        DataCommand::Restore { backup } => {
            let manifest = upkeep::restore(&backup, &config.data, Clock::system().now(), &stop)?;
            eprintln!(
                "{} is as it was at {}; profiles and configuration of then are in {}",
                config.data.display(),
                manifest.taken_at,
                backup.display()
            );
        }
        DataCommand::Check { folder } => {
            let folder = folder.unwrap_or_else(|| config.data.clone());
            let checked = upkeep::check(&folder, &stop, &mut |finding| println!("{finding}"))?;
            let looked = checked.readings;
            eprintln!(
                "{} findings in {} readings ({} blocks, {} unsealed commits, {} sums), {} events of alerts and cases, \
                 {} entries of the audit log",
                checked.findings,
                looked.readings,
                looked.blocks,
                looked.commits,
                looked.sums,
                checked.events,
                checked.audit_entries
            );
            if checked.findings > 0 {
                return Ok(ExitCode::FAILURE);
            }
        }
        DataCommand::Export { from, to, device, metric, format, by_day, backup, out } => {
            let profiles = ProfileSet::load(&config.profiles).with_context(|| {
                format!("cannot read the profile folder {}", config.profiles.display())
            })?;
            let format = match format {
                Kind::Csv => Format::Csv,
                Kind::Parquet => Format::Parquet,
            };
            let export = Export { from, to, devices: device, metrics: metric, format, by_day };
            let folder = backup.unwrap_or_else(|| config.data.clone());
            let done = export.write(&folder, &profiles, &out, &stop)?;
            eprintln!("{} readings of {} series in {} files", done.rows, done.series, done.files);
        }
    }
    Ok(ExitCode::SUCCESS)
}
