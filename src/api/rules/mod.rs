//! The rule book: the rules in force with where each field comes from, overrides, the town's own rules, schedules, and who
//! changed what.
//!
//! Everybody may look (within his zones): an operator should know the limit that woke him. Engineers change. What
//! concerns the whole town (a schedule, an override without a zone) is for accounts of the whole town.

pub(super) mod wire;

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
use crate::alert::book::{
    self, BookError, Change, ChangeQuery, Effective, Leaf, MAX_CHANGES, Override, Own, Page, Patch,
    RuleChange, ScheduleSpec, Scope, Selector, Subject, Timetable, Tried,
};
use crate::model::{AssetKind, DeviceId, Timestamp, ZoneId};
use crate::pipeline::StationTable;
use crate::registry::{Town, User};

/// The longest reason in characters.
const MAX_WHY: usize = 1_000;
/// Rules of this many devices in one answer, if nothing else is asked for.
const DEFAULT_DEVICES: usize = 100;
const DEFAULT_CHANGES: usize = 100;

/// Which rules to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RuleParams {
    /// Only of this device.
    device: Option<String>,
    /// Only of devices whose asset is listed under this zone.
    zone: Option<String>,
    /// Only of devices whose asset is of this kind.
    kind: Option<String>,
    /// Only of devices after this one, by id: the next page.
    after: Option<String>,
    /// Of at most this many devices (1 to 10 000, else 100).
    limit: Option<usize>,
}

/// Rules, by device.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Rules {
    #[schema(value_type = Vec<wire::EffectiveRule>)]
    rules: Vec<Effective>,
    /// `after` of the next page; null when there is none.
    #[schema(required)]
    next_after: Option<String>,
}

/// Pages of one kind, by id.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Overrides {
    #[schema(value_type = Vec<wire::OverridePage>)]
    overrides: Vec<Page<Override>>,
}

/// The town's own rules, by id.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OwnRules {
    #[schema(value_type = Vec<wire::OwnPage>)]
    own: Vec<Page<Own>>,
}

/// Schedules, by name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Schedules {
    schedules: Vec<ShownSchedule>,
}

/// A schedule and where it stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ShownSchedule {
    #[serde(flatten)]
    #[schema(value_type = wire::SchedulePage)]
    page: Page<Timetable>,
    /// Whether it is in force now.
    in_force: bool,
    /// When it next begins or ends; null when that is not within two years.
    #[schema(value_type = Option<String>, required, format = DateTime)]
    next_change: Option<Timestamp>,
}

/// An override as it is sent in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OverrideBody {
    /// The version that was looked at; 0 or absent for a new one.
    #[serde(default)]
    version: u32,
    /// Why, for those who read the history.
    why: String,
    /// Where: `{}` is the town; `device`; `zone`, `kind` or both.
    #[schema(value_type = wire::RuleScope)]
    scope: Scope,
    /// Which rules there: `profile`, `metric`, `rule`; what is left out may be any.
    #[serde(default)]
    #[schema(value_type = wire::RuleSelector)]
    select: Selector,
    /// What of them.
    #[schema(value_type = wire::RulePatch)]
    set: Patch,
}

/// A rule of the town's own as it is sent in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OwnBody {
    /// The version that was looked at; 0 or absent for a new one.
    #[serde(default)]
    version: u32,
    /// Why, for those who read the history.
    why: String,
    /// What is watched and how.
    #[schema(value_type = wire::OwnRule)]
    rule: Own,
}

/// A schedule as it is sent in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScheduleBody {
    /// The version that was looked at; 0 or absent for a new one.
    #[serde(default)]
    version: u32,
    /// Why, for those who read the history.
    why: String,
    /// When it is in force.
    #[schema(value_type = wire::ScheduleTimes)]
    when: ScheduleSpec,
}

/// What is deleted, and why.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeleteParams {
    /// The version that was looked at.
    version: u32,
    /// Why, for those who read the history.
    why: String,
}

/// Which changes to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct HistoryParams {
    /// Only of overrides (`override`), own rules (`own`) or schedules (`schedule`).
    what: Option<String>,
    /// Only of the page of this id.
    id: Option<String>,
    /// Only those with a smaller number: the next page.
    before: Option<i64>,
    /// At most this many (1 to 10 000, else 100); a page never has more than 1 000.
    limit: Option<usize>,
}

/// Changes of the rule book, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct History {
    #[schema(value_type = Vec<wire::RuleChange>)]
    changes: Vec<RuleChange>,
    /// `before` of the next page, which may turn out to be empty; null when there is none.
    #[schema(required)]
    next_before: Option<i64>,
}

/// The rules of devices, as they are in force or not, and where each of their fields comes from.
#[utoipa::path(get, path = "/api/v1/rules", tag = "rules", params(RuleParams), responses((status = 200, body = Rules)))]
pub(crate) async fn list(
    State(hub): State<Hub>,
    sight: Sight,
    Params(params): Params<RuleParams>,
) -> Result<Json<Rules>, Problem> {
    let wanted = limit(params.limit, DEFAULT_DEVICES)?;
    let scope = Scope {
        device: parse::<DeviceId>("device", params.device.as_deref())?,
        zone: parse::<ZoneId>("zone", params.zone.as_deref())?,
        kind: parse::<AssetKind>("kind", params.kind.as_deref())?,
    };
    let town = hub.registry.town();
    if let Some(device) = &scope.device {
        sight.device(&town, device.as_str())?;
    }
    if let Some(zone) = &scope.zone {
        known_zone(&town, &sight, zone)?;
    }
    let after: Option<DeviceId> = parse("after", params.after.as_deref())?;
    let rules = hub.blocking(Work::Query, move |hub| {
        let (table, now) = (hub.present.stations(), hub.clock.now());
        let all: Vec<Subject<'_>> = subjects(&table).collect();
        let mut in_scope = all.iter().copied().filter(|subject| {
            after.as_ref().is_none_or(|after| subject.device.id > *after)
                && scope.has(subject)
                && sight.may_see_asset_of(&town, subject.device.asset.as_ref())
        });
        let shown: Vec<Subject<'_>> = in_scope.by_ref().take(wanted).collect();
        let last = shown.last().map(|subject| subject.device.id.to_string());
        let next_after = last.filter(|_| in_scope.next().is_some());
        let rules = hub.book.effective(&shown, &all, now);
        Ok(Rules { rules, next_after })
    });
    Ok(Json(rules.await?))
}

/// The overrides in sight.
#[utoipa::path(get, path = "/api/v1/rules/overrides", tag = "rules", responses((status = 200, body = Overrides)))]
pub(crate) async fn overrides(State(hub): State<Hub>, sight: Sight) -> Json<Overrides> {
    Json(Overrides { overrides: in_sight(&hub, &sight) })
}

/// One override.
#[utoipa::path(get, path = "/api/v1/rules/overrides/{id}", tag = "rules", params(("id" = String, Path)), responses((status = 200, body = wire::OverridePage)))]
pub(crate) async fn show_override(
    State(hub): State<Hub>,
    sight: Sight,
    Path(id): Path<String>,
) -> Result<Json<Page<Override>>, Problem> {
    Ok(Json(page(&hub, &sight, &id)?))
}

/// Makes or replaces an override. It is in force when this answers.
#[utoipa::path(
    put, path = "/api/v1/rules/overrides/{id}", tag = "rules", params(("id" = String, Path)),
    request_body = OverrideBody,
    responses((status = 200, body = wire::OverridePage), (status = 409, description = "Somebody was faster"),
        (status = 422, description = "It would spoil a rule: `errors` says which and why"))
)]
pub(crate) async fn put_override(
    State(hub): State<Hub>,
    Caller(user): Caller,
    sight: Sight,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<OverrideBody>,
) -> Result<(StatusCode, Json<Page<Override>>), Problem> {
    let OverrideBody { version, why, scope, select, set } = body;
    put(hub, user, sight, id, version, why, Override { scope, select, set }).await
}

/// Takes an override out.
#[utoipa::path(
    delete, path = "/api/v1/rules/overrides/{id}", tag = "rules", params(("id" = String, Path), DeleteParams),
    responses((status = 204), (status = 409, description = "Somebody was faster"))
)]
pub(crate) async fn delete_override(
    State(hub): State<Hub>,
    Caller(user): Caller,
    sight: Sight,
    Path(id): Path<String>,
    Params(params): Params<DeleteParams>,
) -> Result<StatusCode, Problem> {
    delete::<Override>(hub, user, sight, id, params).await
}

/// The town's own rules in sight.
#[utoipa::path(get, path = "/api/v1/rules/own", tag = "rules", responses((status = 200, body = OwnRules)))]
pub(crate) async fn own(State(hub): State<Hub>, sight: Sight) -> Json<OwnRules> {
    Json(OwnRules { own: in_sight(&hub, &sight) })
}

/// One of the town's own rules.
#[utoipa::path(get, path = "/api/v1/rules/own/{id}", tag = "rules", params(("id" = String, Path)), responses((status = 200, body = wire::OwnPage)))]
pub(crate) async fn show_own(
    State(hub): State<Hub>,
    sight: Sight,
    Path(id): Path<String>,
) -> Result<Json<Page<Own>>, Problem> {
    Ok(Json(page(&hub, &sight, &id)?))
}

/// Makes or replaces a rule of the town's own: on one metric of a device, or an expression over points of several
/// devices. It is in force when this answers.
#[utoipa::path(
    put, path = "/api/v1/rules/own/{id}", tag = "rules", params(("id" = String, Path)), request_body = OwnBody,
    responses((status = 200, body = wire::OwnPage), (status = 409, description = "Somebody was faster"),
        (status = 422, description = "It is no rule: `errors` says why"))
)]
pub(crate) async fn put_own(
    State(hub): State<Hub>,
    Caller(user): Caller,
    sight: Sight,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<OwnBody>,
) -> Result<(StatusCode, Json<Page<Own>>), Problem> {
    let OwnBody { version, why, rule } = body;
    put(hub, user, sight, id, version, why, rule).await
}

/// Takes one of the town's own rules out.
#[utoipa::path(
    delete, path = "/api/v1/rules/own/{id}", tag = "rules", params(("id" = String, Path), DeleteParams),
    responses((status = 204), (status = 409, description = "Somebody was faster"))
)]
pub(crate) async fn delete_own(
    State(hub): State<Hub>,
    Caller(user): Caller,
    sight: Sight,
    Path(id): Path<String>,
    Params(params): Params<DeleteParams>,
) -> Result<StatusCode, Problem> {
    delete::<Own>(hub, user, sight, id, params).await
}

/// Who changed the rule book, when, from what to what, and why.
#[utoipa::path(get, path = "/api/v1/rules/history", tag = "rules", params(HistoryParams), responses((status = 200, body = History)))]
pub(crate) async fn history(
    State(hub): State<Hub>,
    sight: Sight,
    Params(params): Params<HistoryParams>,
) -> Result<Json<History>, Problem> {
    if let Some(what) = params.what.as_deref()
        && ![Override::WHAT, Own::WHAT, Timetable::WHAT].contains(&what)
    {
        return Err(Problem::bad_query("what", "use override, own or schedule"));
    }
    let limit = limit(params.limit, DEFAULT_CHANGES)?.min(MAX_CHANGES);
    let HistoryParams { what, id, before, .. } = params;
    let query = ChangeQuery { what, id, before, limit };
    let history = hub.blocking(Work::Query, move |hub| {
        let changes = hub.tables.read(|db| Ok(book::changes(db, &query)?))?;
        let is_full = changes.len() >= limit;
        let next_before = changes.last().filter(|_| is_full).map(|change| change.seq);
        let town = hub.registry.town();
        let changes =
            changes.into_iter().filter(|change| is_change_in_sight(&town, &sight, change));
        Ok(History { changes: changes.collect(), next_before })
    });
    Ok(Json(history.await?))
}

/// The schedules.
#[utoipa::path(get, path = "/api/v1/schedules", tag = "rules", responses((status = 200, body = Schedules)))]
pub(crate) async fn schedules(State(hub): State<Hub>) -> Json<Schedules> {
    let pages = hub.book.pages();
    let schedules = pages.all::<Timetable>().map(|page| shown(&hub, page.clone()));
    Json(Schedules { schedules: schedules.collect() })
}

/// One schedule.
#[utoipa::path(get, path = "/api/v1/schedules/{name}", tag = "rules", params(("name" = String, Path)), responses((status = 200, body = ShownSchedule)))]
pub(crate) async fn show_schedule(
    State(hub): State<Hub>,
    Path(name): Path<String>,
) -> Result<Json<ShownSchedule>, Problem> {
    let pages = hub.book.pages();
    let page = pages.get::<Timetable>(&name);
    let page = page.ok_or_else(|| Problem::not_found(Timetable::WHAT, &name))?;
    Ok(Json(shown(&hub, page.clone())))
}

/// Makes or replaces a schedule. Rules that name it follow when this answers.
#[utoipa::path(
    put, path = "/api/v1/schedules/{name}", tag = "rules", params(("name" = String, Path)),
    request_body = ScheduleBody,
    responses((status = 200, body = ShownSchedule), (status = 409, description = "Somebody was faster"),
        (status = 422, description = "It is no schedule: `errors` says why"))
)]
pub(crate) async fn put_schedule(
    State(hub): State<Hub>,
    Caller(user): Caller,
    Path(name): Path<String>,
    JsonBody(body): JsonBody<ScheduleBody>,
) -> Result<(StatusCode, Json<ShownSchedule>), Problem> {
    let ScheduleBody { version, why, when } = body;
    let timetable = Timetable::try_from(when).map_err(|error| BookError::Invalid {
        what: Timetable::WHAT,
        id: name.clone(),
        errors: vec![error.to_string()],
    })?;
    // The route is for accounts of the whole town.
    let whole = Sight::of(&User { zones: None, ..user.clone() });
    let (status, Json(page)) =
        put(Hub::clone(&hub), user, whole, name, version, why, timetable).await?;
    Ok((status, Json(shown(&hub, page))))
}

/// Takes a schedule out that no page names.
#[utoipa::path(
    delete, path = "/api/v1/schedules/{name}", tag = "rules", params(("name" = String, Path), DeleteParams),
    responses((status = 204), (status = 409, description = "Somebody was faster, or a page names it"))
)]
pub(crate) async fn delete_schedule(
    State(hub): State<Hub>,
    Caller(user): Caller,
    Path(name): Path<String>,
    Params(params): Params<DeleteParams>,
) -> Result<StatusCode, Problem> {
    let whole = Sight::of(&User { zones: None, ..user.clone() });
    delete::<Timetable>(hub, user, whole, name, params).await
}

/// Whether somebody may see a page: what it concerns must lie in his zones.
trait Seen: Leaf + Tried + Send + 'static {
    fn is_in_sight(&self, town: &Town, sight: &Sight) -> bool;

    /// What it names and the town does not have, or not in sight.
    fn missing(&self, town: &Town, sight: &Sight) -> Result<(), Problem>;
}

impl Seen for Override {
    fn is_in_sight(&self, town: &Town, sight: &Sight) -> bool {
        let Scope { device, zone, .. } = &self.scope;
        match (device, zone) {
            (Some(device), _) => sight.is_whole() || sight.device(town, device.as_str()).is_ok(),
            (None, Some(zone)) => sight.may_see_zone(zone),
            (None, None) => sight.is_whole(),
        }
    }

    fn missing(&self, town: &Town, sight: &Sight) -> Result<(), Problem> {
        let Scope { device, zone, .. } = &self.scope;
        if let Some(device) = device {
            sight.device(town, device.as_str())?;
        }
        if let Some(zone) = zone {
            known_zone(town, sight, zone)?;
        }
        if device.is_none() && zone.is_none() && !sight.is_whole() {
            let why = "the account is limited to zones: name a `zone` or a `device` in `scope`";
            return Err(Problem::new(StatusCode::FORBIDDEN, Code::Forbidden, why));
        }
        Ok(())
    }
}

impl Seen for Own {
    fn is_in_sight(&self, town: &Town, sight: &Sight) -> bool {
        sight.is_whole() || self.devices().all(|device| sight.device(town, device.as_str()).is_ok())
    }

    fn missing(&self, town: &Town, sight: &Sight) -> Result<(), Problem> {
        self.devices().try_for_each(|device| sight.device(town, device.as_str()).map(drop))
    }
}

impl Seen for Timetable {
    fn is_in_sight(&self, _: &Town, _: &Sight) -> bool {
        true
    }

    fn missing(&self, _: &Town, _: &Sight) -> Result<(), Problem> {
        Ok(())
    }
}

/// Every device at work, as the book looks at it.
pub(crate) fn subjects(table: &StationTable) -> impl Iterator<Item = Subject<'_>> {
    table.iter().map(|station| station.subject())
}

fn in_sight<T: Seen>(hub: &AppState, sight: &Sight) -> Vec<Page<T>> {
    let town = hub.registry.town();
    let pages = hub.book.pages();
    pages.all::<T>().filter(|page| page.body.is_in_sight(&town, sight)).cloned().collect()
}

fn page<T: Seen>(hub: &AppState, sight: &Sight, id: &str) -> Result<Page<T>, Problem> {
    let pages = hub.book.pages();
    let page = pages.get::<T>(id).filter(|page| page.body.is_in_sight(&hub.registry.town(), sight));
    page.cloned().ok_or_else(|| Problem::not_found(T::WHAT, id))
}

#[allow(clippy::too_many_arguments, reason = "one change, all that it depends on")]
async fn put<T: Seen>(
    hub: Hub,
    user: User,
    sight: Sight,
    id: String,
    version: u32,
    why: String,
    body: T,
) -> Result<(StatusCode, Json<Page<T>>), Problem> {
    let why = reason(&why)?;
    if hub.book.pages().get::<T>(&id).is_some() {
        // One of a foreign zone is as if it were not there, and its id is taken.
        page::<T>(&hub, &sight, &id)?;
    }
    body.missing(&hub.registry.town(), &sight)?;
    let page = hub
        .blocking(Work::Query, move |hub| {
            let change = Change { who: &user.name, at: hub.clock.now(), why: &why };
            let table = hub.present.stations();
            Ok(hub.book.put(&id, version, body, subjects(&table), &change)?)
        })
        .await?;
    hub.present.rules_changed().await?;
    let status = if page.version == 1 { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(page)))
}

async fn delete<T: Seen>(
    hub: Hub,
    user: User,
    sight: Sight,
    id: String,
    params: DeleteParams,
) -> Result<StatusCode, Problem> {
    let why = reason(&params.why)?;
    page::<T>(&hub, &sight, &id)?;
    hub.blocking(Work::Query, move |hub| {
        let change = Change { who: &user.name, at: hub.clock.now(), why: &why };
        Ok(hub.book.delete::<T>(&id, params.version, &change)?)
    })
    .await?;
    hub.present.rules_changed().await?;
    Ok(StatusCode::NO_CONTENT)
}

fn shown(hub: &AppState, page: Page<Timetable>) -> ShownSchedule {
    let now = hub.clock.now();
    let schedule = page.body.schedule();
    let in_force = hub.book.is_in_force(schedule, now);
    let next_change = hub.book.next_change_of(schedule, now);
    ShownSchedule { page, in_force, next_change }
}

fn known_zone(town: &Town, sight: &Sight, zone: &ZoneId) -> Result<(), Problem> {
    let is_known = town.zones.contains_key(zone.as_str()) && sight.may_see_zone(zone);
    is_known.then_some(()).ok_or_else(|| Problem::not_found("zone", zone.as_str()))
}

/// Both what the page was and what it became must be in sight.
fn is_change_in_sight(town: &Town, sight: &Sight, change: &RuleChange) -> bool {
    if sight.is_whole() {
        return true;
    }
    [&change.before, &change.after].into_iter().flatten().all(|body| {
        let body = body.clone();
        match change.what.as_str() {
            Override::WHAT => serde_json::from_value::<Override>(body)
                .is_ok_and(|body| body.is_in_sight(town, sight)),
            Own::WHAT => {
                serde_json::from_value::<Own>(body).is_ok_and(|body| body.is_in_sight(town, sight))
            }
            _ => true,
        }
    })
}

/// Why something is changed: asked of everybody, for a limit that moved without a reason helps nobody later.
pub(super) fn reason(text: &str) -> Result<String, Problem> {
    let text = text.trim();
    match text.chars().count() {
        0 => Err(Problem::bad_body("say why: the reason is empty")),
        1..=MAX_WHY => Ok(text.to_owned()),
        n => {
            Err(Problem::bad_body(format!("the reason has {n} characters, at most {MAX_WHY} fit")))
        }
    }
}

impl From<BookError> for Problem {
    fn from(error: BookError) -> Self {
        let detail = error.to_string();
        match error {
            BookError::Database(_) | BookError::Damaged { .. } => Problem::internal(error),
            BookError::NotFound { what, id } => Problem::not_found(what, &id),
            BookError::BadId { .. } => Problem::bad_query("id", detail),
            BookError::VersionConflict { id, current, given, .. } => {
                Problem::new(StatusCode::CONFLICT, Code::VersionConflict, detail)
                    .with("id", id)
                    .with("current", current)
                    .with("given", given)
            }
            BookError::Invalid { errors, .. } => {
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, Code::BadBody, detail)
                    .with("errors", errors)
            }
            BookError::InUse { users, .. } => {
                Problem::new(StatusCode::CONFLICT, Code::InUse, detail).with("users", users)
            }
            BookError::Full => Problem::new(StatusCode::CONFLICT, Code::InUse, detail),
        }
    }
}
