//! Cases: the list, one case with its history, every move, photos; and the units that are sent.

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::Caller;
use super::error::{Code, Problem};
use super::extract::{JsonBody, Params, body, limit, parse, parse_list};
use super::sight::Sight;
use super::state::{Hub, Work};
use super::wire;
use crate::alert::AlertId;
use crate::case::{
    self, Actor, Case, CaseError, CaseEvent, CaseId, CaseQuery, Lacking, MAX_LISTED, Move,
    MoveKind, Refusal, Remarks, Subject, Unit,
};
use crate::model::{AssetId, AssetKind, Label, Severity, UnitId, ZoneId};
use crate::registry::User;

/// The longest note and reason in characters.
const MAX_NOTE: usize = 2_000;
/// The longest title of a case that is opened by hand, in characters.
const MAX_TITLE: usize = 200;
/// The most photos that one move names.
const MAX_PHOTOS: usize = 10;
const DEFAULT_LIMIT: usize = 100;

/// Which cases to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListParams {
    /// True: only those that are not closed.
    open: Option<bool>,
    /// True: only those with an overdue step.
    overdue: Option<bool>,
    /// True: only those with the caller's units.
    mine: Option<bool>,
    /// Only at these stages, separated by commas: `opened,dispatched,accepted,reported,verified,closed`.
    stage: Option<String>,
    /// Only of these severities, separated by commas.
    severity: Option<String>,
    /// Only in this zone.
    zone: Option<String>,
    /// Only of this asset.
    asset: Option<String>,
    /// Only those with a smaller id: the next page.
    before: Option<u64>,
    /// At most this many (1 to 1 000, else 100).
    limit: Option<usize>,
}

/// Cases, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Cases {
    #[schema(value_type = Vec<wire::Case>)]
    cases: Vec<serde_json::Value>,
    /// `before` of the next page; null when there is none.
    #[schema(required)]
    next_before: Option<u64>,
}

/// One case with all that the caller needs to go on with it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CaseDetail {
    #[schema(value_type = wire::Case)]
    case: Case,
    /// The moves that the caller may make now.
    #[schema(value_type = Vec<String>)]
    allowed: Vec<MoveKind>,
    /// What the sensors still lack before the case may be closed on their word.
    #[schema(value_type = Vec<Object>)]
    lacking: Vec<Lacking>,
    /// The unit that fits zone and kind best.
    #[schema(value_type = Option<String>, required)]
    suggested_unit: Option<UnitId>,
    /// Everything that happened, in order.
    #[schema(value_type = Vec<Object>)]
    events: Vec<CaseEvent>,
}

/// A move. Which members it needs depends on the move.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MoveBody {
    /// The version that was looked at: refused when it has changed since.
    version: u32,
    /// A note for the others.
    note: Option<String>,
    /// dispatch: which unit.
    #[schema(value_type = Option<String>)]
    unit: Option<UnitId>,
    /// dispatch: who of the unit.
    person: Option<String>,
    /// return, recall, reject: why.
    reason: Option<String>,
    /// close: the reason of a site check, when no sensor can say that all is well.
    site_check: Option<String>,
    /// handle: photos that were uploaded before, by name.
    photos: Vec<String>,
}

/// A case that is opened by hand.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewCase {
    /// What people read.
    #[schema(value_type = wire::Label)]
    title: Label,
    #[schema(value_type = wire::Severity)]
    severity: Severity,
    /// The asset that it is about.
    #[schema(value_type = Option<String>)]
    asset: Option<AssetId>,
    /// The zone, when there is no asset.
    #[schema(value_type = Option<String>)]
    zone: Option<ZoneId>,
    note: Option<String>,
}

/// Why a closed case goes on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reopening {
    reason: String,
}

/// An alert that belongs to a case.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Attachment {
    alert: u64,
}

/// A stored photo.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StoredPhoto {
    /// Its name, for `photos` of a move.
    name: String,
}

/// A unit as it is sent in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UnitBody {
    #[schema(value_type = wire::Label)]
    name: Label,
    /// The zones that it serves; empty is every zone.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    zones: Vec<ZoneId>,
    /// The kinds of assets that it knows; empty is every kind.
    #[serde(default)]
    #[schema(value_type = Vec<wire::AssetKind>)]
    kinds: Vec<AssetKind>,
    /// Login names of its people.
    #[serde(default)]
    members: Vec<String>,
}

/// The units of the command centre's plan.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Units {
    #[schema(value_type = Vec<wire::Unit>)]
    units: Vec<Unit>,
}

/// Lists cases, newest first.
#[utoipa::path(get, path = "/api/v1/cases", tag = "cases", params(ListParams), responses((status = 200, body = Cases)))]
pub(crate) async fn list(
    State(hub): State<Hub>,
    Caller(user): Caller,
    // The case room keeps to the caller's zones.
    _: Sight,
    Params(params): Params<ListParams>,
) -> Result<Json<Cases>, Problem> {
    let wanted = limit(params.limit, DEFAULT_LIMIT)?.min(MAX_LISTED);
    let mut query = params.query(&user, wanted)?;
    let mine = params.mine.unwrap_or(false);
    let cases = hub
        .blocking(Work::Query, move |hub| {
            hub.tables.read(|db| {
                if mine {
                    query.units = units_of(&case::units(db)?, &user.name);
                    if query.units.is_empty() {
                        return Ok(Vec::new());
                    }
                }
                Ok(case::list(db, &query)?)
            })
        })
        .await?;
    let next_before =
        cases.last().filter(|_| cases.len() >= wanted).and_then(|case| case["id"].as_u64());
    Ok(Json(Cases { cases, next_before }))
}

/// One case, its history, and what the caller may do with it.
#[utoipa::path(get, path = "/api/v1/cases/{id}", tag = "cases", params(("id" = u64, Path)), responses((status = 200, body = CaseDetail)))]
pub(crate) async fn show(
    State(hub): State<Hub>,
    Caller(user): Caller,
    // The case room keeps to the caller's zones.
    _: Sight,
    Path(id): Path<String>,
) -> Result<Json<CaseDetail>, Problem> {
    let id = number(&id)?;
    let actor = actor(user);
    let (case, allowed, lacking, units) = hub
        .cases
        .ask(move |desk| {
            let (case, allowed, lacking) =
                desk.registrar.outlook(id, &actor, desk.evidence(), desk.now())?;
            Ok((case, allowed, lacking, desk.registrar.units().cloned().collect::<Vec<_>>()))
        })
        .await?;
    let Subject { zone, kind, .. } = &case.subject;
    let suggested_unit = case::suggest(&units, zone.as_ref(), *kind).map(|unit| unit.id.clone());
    let events = hub
        .blocking(Work::Query, move |hub| hub.tables.read(|db| Ok(case::history(db, id)?)))
        .await?;
    Ok(Json(CaseDetail { case, allowed, lacking, suggested_unit, events }))
}

/// Opens a case by hand.
#[utoipa::path(post, path = "/api/v1/cases", tag = "cases", request_body = NewCase, responses((status = 201, body = wire::Case)))]
pub(crate) async fn register(
    State(hub): State<Hub>,
    Caller(user): Caller,
    sight: Sight,
    JsonBody(body): JsonBody<NewCase>,
) -> Result<(StatusCode, Json<Case>), Problem> {
    for title in [&body.title.zh, &body.title.en] {
        bounded("title", title, MAX_TITLE)?;
    }
    let note = note(body.note)?;
    let town = hub.registry.town();
    let asset = match &body.asset {
        Some(id) => Some(sight.asset(&town, id.as_str())?),
        None => None,
    };
    if let Some(zone) = &body.zone
        && !(town.zones.contains_key(zone.as_str()) && sight.may_see_zone(zone))
    {
        return Err(Problem::not_found("zone", zone.as_str()));
    }
    let subject = Subject {
        asset: body.asset,
        kind: asset.map(|asset| asset.kind),
        zone: asset.and_then(|asset| asset.zone.clone()).or(body.zone),
        device: None,
        title: body.title,
    };
    let (actor, severity) = (actor(user), body.severity);
    let case = hub
        .cases
        .ask(move |desk| {
            desk.change(|registrar, _, now| {
                registrar.register(subject, severity, &actor, note, now)
            })
        })
        .await?;
    Ok((StatusCode::CREATED, Json(case)))
}

/// Makes a move: dispatch, accept, return, recall, handle, report, verify, reject, close. Answers when it is on disk.
#[utoipa::path(
    post, path = "/api/v1/cases/{id}/{move}", tag = "cases",
    params(("id" = u64, Path), ("move" = String, Path)), request_body = MoveBody,
    responses((status = 200, body = wire::Case), (status = 409, description = "The case does not stand there, somebody was faster, or the sensor does not agree: with what is missing and what is allowed"))
)]
pub(crate) async fn make(
    State(hub): State<Hub>,
    Caller(user): Caller,
    // The case room keeps to the caller's zones.
    _: Sight,
    Path((id, kind)): Path<(String, String)>,
    JsonBody(body): JsonBody<MoveBody>,
) -> Result<Json<Case>, Problem> {
    let id = number(&id)?;
    let kind: MoveKind = kind.parse().map_err(|why: case::UnknownMove| {
        Problem::new(StatusCode::NOT_FOUND, Code::NotFound, why.to_string())
    })?;
    let version = body.version;
    let (wanted, remarks) = body.into_move(kind)?;
    let actor = actor(user);
    let case = hub
        .cases
        .ask(move |desk| {
            desk.change(|registrar, evidence, now| {
                registrar.make(id, version, &wanted, remarks, &actor, evidence, now)
            })
        })
        .await?;
    Ok(Json(case))
}

/// Goes on with a closed case as a new one that is linked to it.
#[utoipa::path(post, path = "/api/v1/cases/{id}/reopen", tag = "cases", params(("id" = u64, Path)), request_body = Reopening, responses((status = 201, body = wire::Case)))]
pub(crate) async fn reopen(
    State(hub): State<Hub>,
    Caller(user): Caller,
    // The case room keeps to the caller's zones.
    _: Sight,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<Reopening>,
) -> Result<(StatusCode, Json<Case>), Problem> {
    let id = number(&id)?;
    bounded("reason", &body.reason, MAX_NOTE)?;
    let actor = actor(user);
    let case = hub
        .cases
        .ask(move |desk| {
            desk.change(|registrar, _, now| registrar.reopen(id, body.reason, &actor, now))
        })
        .await?;
    Ok((StatusCode::CREATED, Json(case)))
}

/// Attaches an alert of the same root, though of another asset.
#[utoipa::path(post, path = "/api/v1/cases/{id}/attach", tag = "cases", params(("id" = u64, Path)), request_body = Attachment, responses((status = 200, body = wire::Case)))]
pub(crate) async fn attach(
    State(hub): State<Hub>,
    Caller(user): Caller,
    // The case room keeps to the caller's zones.
    _: Sight,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<Attachment>,
) -> Result<Json<Case>, Problem> {
    let id = number(&id)?;
    let actor = actor(user);
    let alert = AlertId(body.alert);
    let case = hub
        .cases
        .ask(move |desk| desk.change(|registrar, _, now| registrar.attach(id, alert, &actor, now)))
        .await?;
    Ok(Json(case))
}

/// Keeps a photo (JPEG, PNG or WebP, 4 MiB at most) for a case; a `handle` move then names it.
#[utoipa::path(post, path = "/api/v1/cases/{id}/photos", tag = "cases", params(("id" = u64, Path)), request_body(content = Vec<u8>, content_type = "image/jpeg"), responses((status = 201, body = StoredPhoto)))]
pub(crate) async fn put_photo(
    State(hub): State<Hub>,
    Caller(user): Caller,
    // The case room keeps to the caller's zones.
    _: Sight,
    Path(id): Path<String>,
    request: Request,
) -> Result<(StatusCode, Json<StoredPhoto>), Problem> {
    let id = number(&id)?;
    let bytes = body(request, &hub).await?;
    let actor = actor(user);
    let name = hub
        .cases
        .ask(move |desk| {
            let now = desk.now();
            desk.registrar.put_photo(id, &bytes, &actor, now)
        })
        .await?;
    Ok((StatusCode::CREATED, Json(StoredPhoto { name })))
}

/// A case's photo.
#[utoipa::path(get, path = "/api/v1/cases/{id}/photos/{name}", tag = "cases", params(("id" = u64, Path), ("name" = String, Path)), responses((status = 200, description = "The photo", content_type = "image/jpeg")))]
pub(crate) async fn photo(
    State(hub): State<Hub>,
    Caller(user): Caller,
    // The case room keeps to the caller's zones.
    _: Sight,
    Path((id, name)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let id = number(&id)?;
    let (asked, wanted) = (actor(user), name.clone());
    // Who may not see the case does not see its photos.
    hub.cases
        .ask(move |desk| desk.registrar.outlook(id, &asked, desk.evidence(), desk.now()).map(drop))
        .await?;
    let found = hub
        .blocking(Work::Query, move |hub| hub.tables.read(|db| Ok(case::photo(db, id, &wanted)?)))
        .await?;
    let photo = found.ok_or_else(|| Problem::not_found("photo", &name))?;
    // Named by its content: it never changes.
    let headers =
        [(CONTENT_TYPE, photo.media_type), (CACHE_CONTROL, "private, immutable".to_owned())];
    Ok((headers, photo.bytes).into_response())
}

/// The units.
#[utoipa::path(get, path = "/api/v1/units", tag = "cases", responses((status = 200, body = Units)))]
pub(crate) async fn units(State(hub): State<Hub>) -> Result<Json<Units>, Problem> {
    let units = hub.cases.ask(|desk| Ok(desk.registrar.units().cloned().collect())).await?;
    Ok(Json(Units { units }))
}

/// Makes or replaces a unit.
#[utoipa::path(put, path = "/api/v1/units/{id}", tag = "cases", params(("id" = String, Path)), request_body = UnitBody, responses((status = 200, body = wire::Unit)))]
pub(crate) async fn put_unit(
    State(hub): State<Hub>,
    Caller(user): Caller,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<UnitBody>,
) -> Result<Json<Unit>, Problem> {
    let id: UnitId = id.parse().map_err(|why| Problem::bad_query("id", why))?;
    for name in [&body.name.zh, &body.name.en] {
        bounded("name", name, MAX_TITLE)?;
    }
    let UnitBody { name, zones, kinds, members } = body;
    let unit = Unit { id, name, zones, kinds, members, version: 0 };
    let unit = hub
        .cases
        .ask(move |desk| {
            let now = desk.now();
            desk.registrar.put_unit(unit, &user.name, now)
        })
        .await?;
    Ok(Json(unit))
}

fn number(text: &str) -> Result<CaseId, Problem> {
    text.parse().map(CaseId).map_err(|_| Problem::not_found("case", text))
}

fn actor(user: User) -> Actor {
    Actor { name: user.name, role: user.role, zones: user.zones }
}

fn units_of(units: &[Unit], person: &str) -> Vec<UnitId> {
    let is_member = |unit: &&Unit| unit.members.iter().any(|member| member == person);
    units.iter().filter(is_member).map(|unit| unit.id.clone()).collect()
}

/// The note without the blanks around it; none when nothing is left.
fn note(text: Option<String>) -> Result<Option<String>, Problem> {
    let note = text.map(|text| text.trim().to_owned()).filter(|note| !note.is_empty());
    match &note {
        Some(note) => bounded("note", note, MAX_NOTE).map(|()| Some(note.clone())),
        None => Ok(None),
    }
}

fn bounded(what: &str, text: &str, most: usize) -> Result<(), Problem> {
    match text.chars().count() {
        0 => Err(Problem::bad_body(format!("{what} is empty"))),
        n if n > most => {
            Err(Problem::bad_body(format!("{what} has {n} characters, at most {most} fit")))
        }
        _ => Ok(()),
    }
}

impl ListParams {
    fn query(&self, user: &User, limit: usize) -> Result<CaseQuery, Problem> {
        let wanted: Option<ZoneId> = parse("zone", self.zone.as_deref())?;
        // Within the zones that the caller is limited to, whatever was asked.
        let zones = match (wanted, &user.zones) {
            (Some(zone), Some(own)) => {
                Some(own.iter().filter(|own| **own == zone).cloned().collect())
            }
            (Some(zone), None) => Some(vec![zone]),
            (None, own) => own.clone(),
        };
        Ok(CaseQuery {
            open_only: self.open.unwrap_or(false),
            overdue_only: self.overdue.unwrap_or(false),
            stages: parse_list("stage", self.stage.as_deref())?,
            severities: parse_list("severity", self.severity.as_deref())?,
            zones,
            asset: parse("asset", self.asset.as_deref())?,
            units: Vec::new(),
            before: self.before.map(CaseId),
            limit,
        })
    }
}

impl MoveBody {
    /// The move, when the body has what it needs and nothing that another move needs.
    fn into_move(self, kind: MoveKind) -> Result<(Move, Remarks), Problem> {
        let MoveBody { note: text, unit, person, reason, site_check, photos, .. } = self;
        let has = [
            ("unit", unit.is_some(), kind == MoveKind::Dispatch),
            ("person", person.is_some(), kind == MoveKind::Dispatch),
            (
                "reason",
                reason.is_some(),
                matches!(kind, MoveKind::Return | MoveKind::Recall | MoveKind::Reject),
            ),
            ("site_check", site_check.is_some(), kind == MoveKind::Close),
            ("photos", !photos.is_empty(), kind == MoveKind::Handle),
        ];
        if let Some((member, ..)) = has.iter().find(|(_, is_there, belongs)| *is_there && !belongs)
        {
            return Err(Problem::bad_body(format!("`{member}` does not belong to `{kind}`")));
        }
        if photos.len() > MAX_PHOTOS {
            return Err(Problem::bad_body(format!("at most {MAX_PHOTOS} photos in one move")));
        }
        for text in reason.iter().chain(&site_check).filter(|text| !text.trim().is_empty()) {
            bounded("reason", text, MAX_NOTE)?;
        }
        let reason = reason.unwrap_or_default();
        let wanted = match kind {
            MoveKind::Dispatch => {
                let unit = unit.ok_or_else(|| Problem::bad_body("`dispatch` needs a `unit`"))?;
                Move::Dispatch { unit, person }
            }
            MoveKind::Accept => Move::Accept,
            MoveKind::Return => Move::Return { reason },
            MoveKind::Recall => Move::Recall { reason },
            MoveKind::Handle => Move::Handle,
            MoveKind::Report => Move::Report,
            MoveKind::Verify => Move::Verify,
            MoveKind::Reject => Move::Reject { reason },
            MoveKind::Close => Move::Close { site_check },
        };
        Ok((wanted, Remarks { note: note(text)?, photos }))
    }
}

impl From<CaseError> for Problem {
    fn from(error: CaseError) -> Self {
        let detail = error.to_string();
        let conflict = |code| Problem::new(StatusCode::CONFLICT, code, detail.clone());
        match error {
            CaseError::Database(_) | CaseError::Damaged(_) | CaseError::Alert(_) => {
                Problem::internal(error)
            }
            CaseError::ShuttingDown => Problem::unavailable(detail),
            CaseError::NotFound(id) => Problem::not_found("case", &id.0.to_string()),
            CaseError::NoAlert(id) => Problem::not_found("alert", &id.0.to_string()),
            CaseError::NoUnit(id) => Problem::not_found("unit", &id),
            CaseError::NotOfUnit { .. } | CaseError::Photo(_) => Problem::bad_body(detail),
            CaseError::VersionConflict { id, current, given } => conflict(Code::VersionConflict)
                .with("id", id.0)
                .with("current", current)
                .with("given", given),
            CaseError::AlreadyOpen(id) | CaseError::NotOpen(id) | CaseError::NotClosed(id) => {
                conflict(Code::IllegalMove).with("id", id.0)
            }
            CaseError::Refused(refusal) => refused(&refusal, detail),
        }
    }
}

fn refused(refusal: &Refusal, detail: String) -> Problem {
    let spell = |moves: &[MoveKind]| moves.iter().map(|kind| kind.as_str()).collect::<Vec<_>>();
    let problem = |status, code| Problem::new(status, code, detail.clone());
    match refusal {
        Refusal::Right { needs, .. } => {
            problem(StatusCode::FORBIDDEN, Code::Forbidden).with("needs", needs.as_str())
        }
        Refusal::OtherUnit { unit, .. } => {
            problem(StatusCode::FORBIDDEN, Code::Forbidden).with("unit", unit.as_str())
        }
        Refusal::OwnWork { handler } => {
            problem(StatusCode::FORBIDDEN, Code::Forbidden).with("handler", handler.as_str())
        }
        Refusal::NoReason { .. } => problem(StatusCode::BAD_REQUEST, Code::BadBody),
        Refusal::Illegal { stage, allowed, .. } => problem(StatusCode::CONFLICT, Code::IllegalMove)
            .with("stage", *stage)
            .with("allowed", spell(allowed)),
        Refusal::Sensor { lacking, allowed } => {
            let lacking = serde_json::to_value(lacking).unwrap_or_default();
            problem(StatusCode::CONFLICT, Code::SensorDisagrees)
                .with("lacking", lacking)
                .with("allowed", spell(allowed))
        }
    }
}
