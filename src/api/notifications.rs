//! Notifications: the channels, the outbox, another try, a test.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::Caller;
use super::error::{Code, Problem};
use super::extract::{Params, limit, parse};
use super::state::{Hub, Work};
use crate::alert::AlertId;
use crate::case::CaseId;
use crate::model::{Severity, Timestamp};
use crate::notify::{
    self, ChannelState, Counts, Message, MessageId, MessageQuery, MoveRequest, NotifyError, Payload,
};

const DEFAULT_LIMIT: usize = 100;

/// Which messages to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListParams {
    /// Only of this channel.
    channel: Option<String>,
    /// Only at this state: waiting, sending, sent, failed.
    state: Option<String>,
    /// Only those that tell of this case.
    case: Option<u64>,
    /// Only those that tell of this alert.
    alert: Option<u64>,
    /// Only those with a smaller id: the next page.
    before: Option<u64>,
    /// At most this many (1 to 1 000, else 100).
    limit: Option<usize>,
}

/// Messages, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Notifications {
    notifications: Vec<Summary>,
    /// `before` of the next page; null when there is none.
    #[schema(required)]
    next_before: Option<u64>,
}

/// A message without its entries.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Summary {
    id: u64,
    /// By this its receiver knows it when it comes twice.
    key: String,
    channel: String,
    state: notify::State,
    #[schema(value_type = String)]
    severity: Severity,
    /// How many alerts and cases it tells of.
    total: usize,
    /// In how many places.
    places: usize,
    counts: Counts,
    /// Of several bundles at once, because there were more than the channel takes.
    merged: bool,
    /// Somebody tried the channel.
    test: bool,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    attempts: u32,
    /// When it is tried next.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    next_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime, required)]
    sent_at: Option<Timestamp>,
    /// What the last attempt that failed said.
    #[schema(required)]
    error: Option<String>,
    /// What its receiver answered, and what became of that.
    #[schema(required)]
    answer: Option<String>,
}

/// The channels.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Channels {
    /// False: no channel is configured, so nobody is told of anything.
    configured: bool,
    channels: Vec<ChannelState>,
}

/// A message that was made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Made {
    /// Its id: see what becomes of it at `/notifications/{id}`.
    id: u64,
}

/// What a webhook is posted, and what its 2xx answer may say to move a case.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "stands in the OpenAPI document only")]
pub(crate) struct WebhookContract {
    request: Payload<'static>,
    answer: Option<MoveRequest>,
}

/// How every channel is.
#[utoipa::path(get, path = "/api/v1/notifications/channels", tag = "notifications", responses((status = 200, body = Channels)))]
pub(crate) async fn channels(State(hub): State<Hub>) -> Result<Json<Channels>, Problem> {
    let channels = hub
        .notifier
        .ask(|desk| {
            let now = desk.now();
            desk.post.channels(now)
        })
        .await?;
    Ok(Json(Channels { configured: !channels.is_empty(), channels }))
}

/// Lists messages, newest first.
#[utoipa::path(get, path = "/api/v1/notifications", tag = "notifications", params(ListParams), responses((status = 200, body = Notifications)))]
pub(crate) async fn list(
    State(hub): State<Hub>,
    Params(params): Params<ListParams>,
) -> Result<Json<Notifications>, Problem> {
    let wanted = limit(params.limit, DEFAULT_LIMIT)?.min(notify::MAX_LISTED);
    let query = MessageQuery {
        channel: params.channel,
        state: parse("state", params.state.as_deref())?,
        case: params.case.map(CaseId),
        alert: params.alert.map(AlertId),
        before: params.before.map(MessageId),
        limit: wanted,
    };
    let read = hub
        .blocking(Work::Query, move |hub| hub.tables.read(|db| Ok(notify::list(db, &query)?)))
        .await?;
    let next_before = read.last().filter(|_| read.len() >= wanted).map(|message| message.id.0);
    let notifications = read.into_iter().map(Summary::from).collect();
    Ok(Json(Notifications { notifications, next_before }))
}

/// One message with all that it tells. What a webhook is posted, and what it may answer, is in the schema
/// `WebhookContract`.
#[utoipa::path(get, path = "/api/v1/notifications/{id}", tag = "notifications", params(("id" = u64, Path)), responses((status = 200, body = Message)))]
pub(crate) async fn show(
    State(hub): State<Hub>,
    Path(id): Path<String>,
) -> Result<Json<Message>, Problem> {
    let number = number(&id)?;
    let found = hub
        .blocking(Work::Query, move |hub| hub.tables.read(|db| Ok(notify::find(db, number)?)))
        .await?;
    found.map(Json).ok_or_else(|| Problem::not_found("notification", &id))
}

/// Tries a waiting or failed message again, at once and for another day.
#[utoipa::path(post, path = "/api/v1/notifications/{id}/retry", tag = "notifications", params(("id" = u64, Path)), responses((status = 202, body = Made)))]
pub(crate) async fn retry(
    State(hub): State<Hub>,
    Caller(user): Caller,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<Made>), Problem> {
    let number = number(&id)?;
    hub.notifier
        .ask(move |desk| {
            let now = desk.now();
            desk.post.retry(number, &user.name, now)
        })
        .await?;
    Ok((StatusCode::ACCEPTED, Json(Made { id: number.0 })))
}

/// Sends a message that says that somebody tries the channel.
#[utoipa::path(post, path = "/api/v1/notifications/channels/{name}/test", tag = "notifications", params(("name" = String, Path)), responses((status = 202, body = Made)))]
pub(crate) async fn test(
    State(hub): State<Hub>,
    Caller(user): Caller,
    Path(name): Path<String>,
) -> Result<(StatusCode, Json<Made>), Problem> {
    let id = hub
        .notifier
        .ask(move |desk| {
            let now = desk.now();
            desk.post.test(&name, &user.name, now)
        })
        .await?;
    Ok((StatusCode::ACCEPTED, Json(Made { id: id.0 })))
}

fn number(id: &str) -> Result<MessageId, Problem> {
    id.parse().map(MessageId).map_err(|_| Problem::not_found("notification", id))
}

impl From<Message> for Summary {
    fn from(message: Message) -> Self {
        let Message { notice, .. } = message;
        Summary {
            id: message.id.0,
            key: message.key,
            channel: message.channel,
            state: message.state,
            severity: notice.severity,
            total: notice.total,
            places: notice.places,
            counts: notice.counts,
            merged: notice.merged,
            test: notice.test,
            created_at: message.created_at,
            attempts: message.attempts,
            next_at: message.next_at,
            sent_at: message.sent_at,
            error: message.error,
            answer: message.answer,
        }
    }
}

impl From<NotifyError> for Problem {
    fn from(error: NotifyError) -> Self {
        let detail = error.to_string();
        match error {
            NotifyError::Database(_)
            | NotifyError::Alert(_)
            | NotifyError::Case(_)
            | NotifyError::Trouble(_)
            | NotifyError::Damaged(_) => Problem::internal(error),
            NotifyError::NoChannel { name, known } => {
                Problem::new(StatusCode::NOT_FOUND, Code::NotFound, detail)
                    .with("what", "channel")
                    .with("id", name)
                    .with("known", known)
            }
            NotifyError::NoMessage(id) => Problem::not_found("notification", &id.0.to_string()),
            NotifyError::NotUnsent { id, state } => {
                Problem::new(StatusCode::CONFLICT, Code::IllegalMove, detail)
                    .with("id", id.0)
                    .with("state", state)
            }
            NotifyError::Busy(channel) => {
                Problem::new(StatusCode::CONFLICT, Code::IllegalMove, detail)
                    .with("channel", channel)
            }
            NotifyError::ShuttingDown => Problem::unavailable(detail),
        }
    }
}
