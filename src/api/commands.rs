//! Commands: select, confirm, cancel, stop, and what became of them.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::Caller;
use super::error::{Code, Problem};
use super::extract::{JsonBody, Params, limit, parse};
use super::sight::Sight;
use super::state::{AppState, Hub, Work};
use super::wire;
use crate::command::{
    Ask, Command, CommandError, CommandEvent, CommandId, CommandQuery, MAX_LISTED, Phase, Refusal,
};
use crate::model::{Cause, DeviceId, Timestamp};

const DEFAULT_LIMIT: usize = 100;

/// The longest note in characters.
const MAX_NOTE: usize = 1000;

/// What is to be done.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewCommand {
    #[schema(value_type = String)]
    device: DeviceId,
    /// The command's name in the device's profile.
    command: String,
    /// Where to, in the unit of the command's argument.
    target: Option<f64>,
    /// A note for the others.
    note: Option<String>,
}

/// A selected command, or one that was sent.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CommandBody {
    #[schema(value_type = wire::Command)]
    command: Command,
    /// What you confirm it with, within 30 s; null when it waits for another person, or for nothing any more. It is good
    /// for you, this device, this target and this present value, once.
    #[schema(required)]
    challenge: Option<String>,
    /// Every step so far.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<wire::CommandEvent>)]
    events: Vec<CommandEvent>,
}

/// What a command is confirmed with.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Confirmation {
    /// The challenge of the person who sends this.
    challenge: String,
}

/// Why a command is taken back.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cancellation {
    /// A note for the others.
    note: Option<String>,
}

/// Which device stops.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmergencyStop {
    #[schema(value_type = String)]
    device: DeviceId,
    /// A note for the others.
    note: Option<String>,
}

/// Which commands to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListParams {
    /// True: only those that have not ended.
    open: Option<bool>,
    /// Only of this device.
    device: Option<String>,
    /// Only of this asset.
    asset: Option<String>,
    /// Only in this state: selected, confirmed, executing, reached, timeout, fault, cancelled.
    state: Option<String>,
    /// Only those with a smaller id: the next page.
    before: Option<u64>,
    /// At most this many (1 to 10 000, else 100); a page never has more than 1 000.
    limit: Option<usize>,
}

/// Commands, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Commands {
    #[schema(value_type = Vec<wire::Command>)]
    commands: Vec<Command>,
    /// `before` of the next page; null when there is none.
    #[schema(required)]
    next_before: Option<u64>,
    /// The hub's time, to which the deadlines refer.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
}

/// Lists commands, newest first.
#[utoipa::path(get, path = "/api/v1/commands", tag = "commands", params(ListParams), responses((status = 200, body = Commands)))]
pub(crate) async fn list(
    State(hub): State<Hub>,
    sight: Sight,
    Params(params): Params<ListParams>,
) -> Result<Json<Commands>, Problem> {
    let wanted = limit(params.limit, DEFAULT_LIMIT)?.min(MAX_LISTED);
    let query = params.query(wanted)?;
    let at = hub.clock.now();
    let page = hub.blocking(Work::Query, move |hub| page(hub, &sight, query)).await?;
    Ok(Json(Commands { at, ..page }))
}

/// A page of what is in sight. Commands stand in the tables by asset, not by zone, so a page of a limited account may be
/// short; `next_before` says where it goes on.
fn page(hub: &AppState, sight: &Sight, query: CommandQuery) -> Result<Commands, Problem> {
    let mut commands = hub.commands.list(&query)?;
    let is_full = commands.len() >= query.limit;
    let next_before = commands.last().filter(|_| is_full).map(|command| command.id.0);
    let town = hub.registry.town();
    commands.retain(|command| sight.may_see_asset_of(&town, command.asset.as_ref()));
    Ok(Commands { commands, next_before, at: Timestamp::EPOCH })
}

/// The command, if there is one in sight.
fn find(hub: &AppState, sight: &Sight, id: CommandId) -> Result<Command, Problem> {
    let command = hub.commands.find(id)?;
    if sight.may_see_asset_of(&hub.registry.town(), command.asset.as_ref()) {
        Ok(command)
    } else {
        Err(Problem::not_found("command", &id.0.to_string()))
    }
}

/// Selects a command: checks everything, and keeps the device for 30 s. An emergency command is sent at once.
#[utoipa::path(
    post, path = "/api/v1/commands", tag = "commands", request_body = NewCommand,
    responses((status = 201, body = CommandBody))
)]
pub(crate) async fn select(
    State(hub): State<Hub>,
    sight: Sight,
    Caller(user): Caller,
    JsonBody(body): JsonBody<NewCommand>,
) -> Result<(StatusCode, Json<CommandBody>), Problem> {
    let NewCommand { device, command, target, note } = body;
    let ask = Ask { device, command, target, note: check_note(note)? };
    let body = hub.blocking(Work::Query, move |hub| {
        sight.device(&hub.registry.town(), ask.device.as_str())?;
        let command = hub.commands.select(&user, &ask)?;
        let challenge = hub.commands.challenge(&user, command.id);
        Ok(CommandBody { command, challenge, events: Vec::new() })
    });
    Ok((StatusCode::CREATED, Json(body.await?)))
}

/// A command with its steps, and the challenge of whoever asks, if it waits for that person.
#[utoipa::path(get, path = "/api/v1/commands/{id}", tag = "commands", params(("id" = u64, Path)), responses((status = 200, body = CommandBody)))]
pub(crate) async fn show(
    State(hub): State<Hub>,
    sight: Sight,
    Caller(user): Caller,
    Path(id): Path<String>,
) -> Result<Json<CommandBody>, Problem> {
    let id = command_id(&id)?;
    let body = hub.blocking(Work::Query, move |hub| {
        let command = find(hub, &sight, id)?;
        let challenge = hub.commands.challenge(&user, id);
        Ok(CommandBody { command, challenge, events: hub.commands.history(id)? })
    });
    Ok(Json(body.await?))
}

/// Confirms a command: everything is checked again, then it is sent. By the same person, or by another one where the
/// profile asks for two.
#[utoipa::path(
    post, path = "/api/v1/commands/{id}/confirm", tag = "commands",
    params(("id" = u64, Path)), request_body = Confirmation,
    responses((status = 200, body = wire::Command))
)]
pub(crate) async fn confirm(
    State(hub): State<Hub>,
    sight: Sight,
    Caller(user): Caller,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<Confirmation>,
) -> Result<Json<Command>, Problem> {
    let id = command_id(&id)?;
    let work = move |hub: &AppState| {
        find(hub, &sight, id)?;
        Ok(hub.commands.confirm(&user, id, &body.challenge)?)
    };
    Ok(Json(hub.blocking(Work::Query, work).await?))
}

/// Takes a command back; while it executes, by the profile's stop command.
#[utoipa::path(
    post, path = "/api/v1/commands/{id}/cancel", tag = "commands",
    params(("id" = u64, Path)), request_body = Cancellation,
    responses((status = 200, body = wire::Command))
)]
pub(crate) async fn cancel(
    State(hub): State<Hub>,
    sight: Sight,
    Caller(user): Caller,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<Cancellation>,
) -> Result<Json<Command>, Problem> {
    let id = command_id(&id)?;
    let note = check_note(body.note)?;
    let work = move |hub: &AppState| {
        find(hub, &sight, id)?;
        Ok(hub.commands.cancel(&user, id, note)?)
    };
    Ok(Json(hub.blocking(Work::Query, work).await?))
}

/// The emergency stop of a device: one step, also while another command executes, which it ends.
#[utoipa::path(
    post, path = "/api/v1/commands/stop", tag = "commands", request_body = EmergencyStop,
    responses((status = 201, body = wire::Command))
)]
pub(crate) async fn stop(
    State(hub): State<Hub>,
    sight: Sight,
    Caller(user): Caller,
    JsonBody(body): JsonBody<EmergencyStop>,
) -> Result<(StatusCode, Json<Command>), Problem> {
    let note = check_note(body.note)?;
    let work = move |hub: &AppState| {
        sight.device(&hub.registry.town(), body.device.as_str())?;
        Ok(hub.commands.stop(&user, &body.device, note)?)
    };
    Ok((StatusCode::CREATED, Json(hub.blocking(Work::Query, work).await?)))
}

fn command_id(id: &str) -> Result<CommandId, Problem> {
    id.parse().map(CommandId).map_err(|_| Problem::not_found("command", id))
}

fn check_note(note: Option<String>) -> Result<Option<String>, Problem> {
    let note = note.map(|note| note.trim().to_owned()).filter(|note| !note.is_empty());
    match note.as_ref().map_or(0, |note| note.chars().count()) {
        0..=MAX_NOTE => Ok(note),
        n => Err(Problem::bad_body(format!("note has {n} characters, at most {MAX_NOTE} fit"))),
    }
}

impl ListParams {
    fn query(&self, limit: usize) -> Result<CommandQuery, Problem> {
        let phases = [
            Phase::Selected,
            Phase::Confirmed,
            Phase::Executing,
            Phase::Reached,
            Phase::Timeout,
            Phase::Fault,
            Phase::Cancelled,
        ];
        let is_state = |state: &String| phases.iter().any(|phase| phase.as_str() == state);
        if let Some(state) = self.state.as_ref().filter(|state| !is_state(state)) {
            let known = phases.map(Phase::as_str).join(", ");
            return Err(Problem::bad_query("state", format!("`{state}`: states are {known}")));
        }
        Ok(CommandQuery {
            open_only: self.open.unwrap_or(false),
            device: parse("device", self.device.as_deref())?,
            asset: parse("asset", self.asset.as_deref())?,
            state: self.state.clone(),
            before: self.before.map(CommandId),
            limit,
        })
    }
}

impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Self {
        let detail = error.to_string();
        match error {
            CommandError::Refused(refusal) => refused(refusal),
            CommandError::NotFound(id) => Problem::not_found("command", &id.0.to_string()),
            CommandError::UnknownDevice(device) => Problem::not_found("device", device.as_str()),
            CommandError::UnknownCommand { known, .. } => {
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, Code::BadBody, detail)
                    .with("known", known)
            }
            CommandError::Tables(_) => Problem::internal(error),
            CommandError::ShuttingDown => Problem::unavailable(detail),
        }
    }
}

/// A refusal with its cause, its rule and its facts, for programs and people alike.
fn refused(refusal: Refusal) -> Problem {
    let status = match refusal.cause {
        Cause::NoAccessAuthority => StatusCode::FORBIDDEN,
        Cause::InvalidPosition | Cause::InconsistentParameters => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::CONFLICT,
    };
    let facts = serde_json::to_value(&refusal.facts).unwrap_or_default();
    let text = serde_json::to_value(&refusal.text).unwrap_or_default();
    Problem::new(status, Code::CommandRefused, refusal.to_string())
        .with("cause", refusal.cause.as_str())
        .with("rule", refusal.rule)
        .with("text", text)
        .with("facts", facts)
}
