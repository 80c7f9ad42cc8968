//! `townhub user`, `townhub token`, `townhub audit`: accounts and the audit log, beside a hub that runs or does not.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;

use townhub::audit::{self, Anchor, VerifyError};
use townhub::model::{Right, Role, ZoneId};
use townhub::registry::{NewToken, Registry, User, UserChange};

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Make a user and print its first password; it is not shown again.
    Add {
        /// The login name.
        user: String,
        /// viewer, operator, dispatcher, handler, supervisor, engineer or admin.
        #[arg(long)]
        role: Role,
        /// A zone to limit it to (repeatable); without one: the whole town.
        #[arg(long = "zone")]
        zones: Vec<ZoneId>,
    },
    /// List users.
    List,
    /// Give a user another role.
    Role {
        /// The login name.
        user: String,
        /// The new role.
        role: Role,
    },
    /// Limit a user to zones, or give it the whole town.
    Zones {
        /// The login name.
        user: String,
        /// The zones.
        #[arg(required_unless_present = "town", conflicts_with = "town")]
        zones: Vec<ZoneId>,
        /// The whole town.
        #[arg(long)]
        town: bool,
    },
    /// Give a user a new password, to be changed at the next log-in, and print it; it is not shown again.
    Reset {
        /// The login name.
        #[arg(default_value = "admin")]
        user: String,
    },
    /// Keep a user out and end its sessions.
    Disable {
        /// The login name.
        user: String,
    },
    /// Let a disabled user in again.
    Enable {
        /// The login name.
        user: String,
    },
    /// Delete a user with its sessions and tokens.
    Delete {
        /// The login name.
        user: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token and print it; it is not shown again.
    Create {
        /// What it is for.
        #[arg(long)]
        label: String,
        /// Whose rights and zones it has.
        #[arg(long, default_value = "admin")]
        user: String,
        /// A right to limit it to (repeatable), for example `view`; without one: all that the user has.
        #[arg(long)]
        scope: Vec<Right>,
        /// How many days it lives.
        #[arg(long, default_value_t = 365)]
        days: u32,
    },
    /// List tokens.
    List,
    /// Delete a token.
    Revoke {
        /// Its number in the list.
        id: i64,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Check that nobody rewrote the log; name the first entry that does not fit.
    Verify {
        /// An export to check instead of the hub's own log.
        #[arg(long)]
        file: Option<PathBuf>,
        /// An entry that was noted earlier (`seq:hash`, as this command prints it): it must still be there.
        #[arg(long)]
        anchor: Option<Anchor>,
    },
    /// Write the log as JSON lines.
    Export {
        /// Where to; without it: standard output.
        #[arg(long)]
        out: Option<PathBuf>,
        /// Only entries with a larger number.
        #[arg(long, default_value_t = 0)]
        after: i64,
    },
}

/// Does a command on users.
pub(crate) fn user(registry: &Registry, command: UserCommand) -> anyhow::Result<()> {
    let change = |user: &str, change: UserChange| registry.change_user(user, &change).map(drop);
    match command {
        UserCommand::Add { user, role, zones } => {
            let zones = (!zones.is_empty()).then_some(zones);
            // The first administrator is made with the hub; a user beside it does not stand for it.
            announce_first_admin(registry)?;
            println!("{}", registry.add_user(&User { name: user, role, zones })?);
        }
        UserCommand::List => {
            for info in registry.users()? {
                let zones = info.user.zones.as_deref().map_or("(whole town)".to_owned(), |zones| {
                    zones.iter().map(ZoneId::as_str).collect::<Vec<_>>().join(",")
                });
                let state = match (info.disabled, info.must_change) {
                    (true, _) => "disabled",
                    (false, true) => "first password",
                    (false, false) => "active",
                };
                println!(
                    "{}\t{}\t{zones}\t{state}\t{}",
                    info.user.name, info.user.role, info.created_at
                );
            }
        }
        UserCommand::Role { user, role } => {
            change(&user, UserChange { role: Some(role), ..UserChange::default() })?;
        }
        UserCommand::Zones { user, zones, town } => {
            let zones = Some((!town).then_some(zones));
            change(&user, UserChange { zones, ..UserChange::default() })?;
        }
        UserCommand::Reset { user } => {
            let password = match registry.first_admin()? {
                Some((name, password)) if name == user => password,
                _ => registry.reset_password(&user)?,
            };
            println!("{password}");
        }
        UserCommand::Disable { user } => {
            change(&user, UserChange { disabled: Some(true), ..UserChange::default() })?;
        }
        UserCommand::Enable { user } => {
            change(&user, UserChange { disabled: Some(false), ..UserChange::default() })?;
        }
        UserCommand::Delete { user } => registry.delete_user(&user)?,
    }
    Ok(())
}

/// Does a command on tokens.
pub(crate) fn token(registry: &Registry, command: TokenCommand) -> anyhow::Result<()> {
    match command {
        TokenCommand::Create { label, user, scope, days } => {
            announce_first_admin(registry)?;
            let scope = (!scope.is_empty()).then_some(scope);
            let new = NewToken { user: &user, label: &label, scope, days: Some(days) };
            println!("{}", registry.make_token(&new)?);
        }
        TokenCommand::List => {
            for token in registry.tokens()? {
                let scope = token.scope.map_or("(all)".to_owned(), |scope| {
                    scope.iter().map(|right| right.as_str()).collect::<Vec<_>>().join(",")
                });
                let time = |at: Option<townhub::model::Timestamp>| {
                    at.map_or("never".to_owned(), |at| at.to_string())
                };
                println!(
                    "{}\t{}\t{}\t{scope}\tends {}\tused {}",
                    token.id,
                    token.user,
                    token.label,
                    time(token.ends_at),
                    time(token.used_at)
                );
            }
        }
        TokenCommand::Revoke { id } => registry.delete_token(id)?,
    }
    Ok(())
}

/// A new hub has no user yet, and whoever runs this command may make the first one.
fn announce_first_admin(registry: &Registry) -> anyhow::Result<()> {
    if let Some((name, password)) = registry.first_admin()? {
        eprintln!("first login: {name} / {password}");
    }
    Ok(())
}

/// Does a command on the audit log; the registry is opened only where the command needs it.
pub(crate) fn audit(
    registry: impl FnOnce() -> anyhow::Result<Registry>,
    command: AuditCommand,
) -> anyhow::Result<ExitCode> {
    match command {
        AuditCommand::Verify { file, anchor } => {
            let verified = match file {
                Some(file) => {
                    let lines = File::open(&file)
                        .with_context(|| format!("cannot read {}", file.display()))?;
                    audit::verify_export(BufReader::new(lines), anchor)
                }
                None => audit::verify(&registry()?.connect()?, anchor),
            };
            match verified {
                Ok(found) => {
                    println!("{} entries, all of them fit", found.entries);
                    println!("anchor {}", Anchor { seq: found.last, hash: found.head });
                    Ok(ExitCode::SUCCESS)
                }
                Err(broken @ VerifyError::Broken { .. }) => {
                    println!("{broken}");
                    Ok(ExitCode::FAILURE)
                }
                Err(error) => Err(error.into()),
            }
        }
        AuditCommand::Export { out, after } => {
            let db = registry()?.connect()?;
            let mut to: Box<dyn Write> = match &out {
                Some(file) => Box::new(BufWriter::new(
                    File::create(file)
                        .with_context(|| format!("cannot write {}", file.display()))?,
                )),
                None => Box::new(BufWriter::new(stdout().lock())),
            };
            let written = audit::export(&db, after, &mut to)?;
            to.flush()?;
            eprintln!("{written} entries");
            Ok(ExitCode::SUCCESS)
        }
    }
}
