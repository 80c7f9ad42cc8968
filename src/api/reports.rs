//! Reports: how the alarms and the cases of a span did, as JSON or CSV; and the alerts or cases themselves as CSV.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_DISPOSITION, CONTENT_TYPE, VARY};
use axum::response::{IntoResponse, Response};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use super::error::Problem;
use super::extract::{Params, accepts, parse, parse_list};
use super::sight::Sight;
use super::state::{AppState, Hub, Work};
use crate::model::{AssetId, Timestamp, ZoneId};
use crate::registry::Town;
use crate::report::{
    self, By, Cursor, Frame, Language, Place, Places, ReportError, SheetError, Sheets, Span,
};

/// What is reported on when no time is given.
const DEFAULT_SPAN: Duration = Duration::from_secs(30 * 24 * 3600);
/// The longest span of a report: a year, and a month to compare with.
const MAX_SPAN: Duration = Duration::from_secs(400 * 24 * 3600);
const CSV: &str = "text/csv";

/// How the hub reports.
#[derive(Debug, Clone)]
pub struct ReportSettings {
    /// Operators on duty at a time: alarm rates are per operator.
    pub operators: u32,
    /// The town's time zone, by whose days, weeks and months reports are divided.
    pub zone: TimeZone,
}

/// Which report.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ReportParams {
    /// From this time on: RFC 3339, or a day of the town (`2026-09-01`). Absent: 30 days before `to`.
    from: Option<String>,
    /// Before this time: RFC 3339, or a day. Absent, or still to come: now. At most 400 days after `from`.
    to: Option<String>,
    /// What to divide by: `zone`, `unit`, `kind`, `severity`, `day`, `week` or `month`. Absent: only the whole.
    by: Option<String>,
    /// Only what lies in these zones, separated by commas.
    zone: Option<String>,
    /// `json` or `csv`. Absent: by `Accept`.
    format: Option<String>,
    /// Headings and texts of CSV: `zh` or `en`. Absent: `zh`.
    lang: Option<String>,
}

/// Which rows.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ExportParams {
    /// `alerts` (by the time they were raised) or `cases` (by the time they were opened).
    of: String,
    /// From this time on: RFC 3339, or a day of the town (`2026-09-01`). Absent: 30 days before `to`.
    from: Option<String>,
    /// Before this time: RFC 3339, or a day. Absent: now. At most 400 days after `from`.
    to: Option<String>,
    /// Only what lies in these zones, separated by commas.
    zone: Option<String>,
    /// Headings and texts: `zh` or `en`. Absent: `zh`.
    lang: Option<String>,
}

/// How the alarms of a span did (ISA-18.2, IEC 62682, EEMUA 191), and those of the span before it. JSON, or CSV when
/// `format=csv` or `Accept` asks for `text/csv`.
#[utoipa::path(
    get, path = "/api/v1/reports/alarms", tag = "reports", params(ReportParams),
    responses((status = 200, content((shape::AlarmReport = "application/json"), (String = "text/csv"))))
)]
pub(crate) async fn alarms(
    State(hub): State<Hub>,
    sight: Sight,
    Params(params): Params<ReportParams>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let asked = params.check(&hub, &sight, &headers)?;
    let operators = hub.reports.operators;
    let Asked { frame, wanted, sheets } = asked;
    let report = hub
        .blocking(Work::Query, move |hub| {
            hub.tables.read(|db| Ok(report::alarms(db, frame, &wanted, operators)?))
        })
        .await?;
    answer("alarms", &report, sheets.map(|sheets| sheets.alarms(&report)))
}

/// How people did about cases in a span (综合评价), and in the span before it. JSON, or CSV when `format=csv` or `Accept`
/// asks for `text/csv`.
#[utoipa::path(
    get, path = "/api/v1/reports/cases", tag = "reports", params(ReportParams),
    responses((status = 200, content((shape::CaseReport = "application/json"), (String = "text/csv"))))
)]
pub(crate) async fn cases(
    State(hub): State<Hub>,
    sight: Sight,
    Params(params): Params<ReportParams>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Asked { frame, wanted, sheets } = params.check(&hub, &sight, &headers)?;
    let report = hub
        .blocking(Work::Query, move |hub| {
            hub.tables.read(|db| Ok(report::cases(db, frame, &wanted)?))
        })
        .await?;
    answer("cases", &report, sheets.map(|sheets| sheets.cases(&report)))
}

/// The alerts or cases of a span, one to a line, oldest first, as CSV. Streamed: it may be long.
#[utoipa::path(
    get, path = "/api/v1/reports/export", tag = "reports", params(ExportParams),
    responses((status = 200, content_type = "text/csv", body = String))
)]
pub(crate) async fn export(
    State(hub): State<Hub>,
    sight: Sight,
    Params(params): Params<ExportParams>,
) -> Result<Response, Problem> {
    let of = match params.of.as_str() {
        "alerts" => Rows::Alerts,
        "cases" => Rows::Cases,
        other => {
            return Err(Problem::bad_query("of", format!("`{other}`: write alerts or cases")));
        }
    };
    let town = hub.registry.town();
    let wanted = Wanted::new(town, sight, params.zone.as_deref())?;
    let zone = &hub.reports.zone;
    let span = span(params.from.as_deref(), params.to.as_deref(), hub.clock.now(), zone)?;
    let sheets = sheets(params.lang.as_deref(), zone)?;
    let job = Arc::new(Export { of, span, wanted, sheets });
    // The first part before the answer begins: what fails now is still a problem, not a torn file.
    let first = part(&hub, &job, None).await?;
    let headings = job.headings()?;
    let rest = futures_util::stream::unfold(Some((hub, job, first)), |state| async move {
        let (hub, job, (lines, next)) = state?;
        let next = match next {
            None => None,
            // The connection is cut then, and the file with it: better than one that only looks whole.
            Some(cursor) => match part(&hub, &job, Some(cursor)).await {
                Ok(part) => Some((hub, job, part)),
                Err(_) => return Some((Err(std::io::Error::other("the export broke off")), None)),
            },
        };
        Some((Ok(Bytes::from(lines)), next))
    });
    let headings = futures_util::stream::iter([Ok(Bytes::from(headings))]);
    let body = Body::from_stream(futures_util::StreamExt::chain(headings, rest));
    Ok((csv_headers(&params.of), body).into_response())
}

/// Which rows an export has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rows {
    Alerts,
    Cases,
}

/// An export on its way.
struct Export {
    of: Rows,
    span: Span,
    wanted: Wanted,
    sheets: Sheets,
}

impl Export {
    fn headings(&self) -> Result<Vec<u8>, Problem> {
        Ok(match self.of {
            Rows::Alerts => self.sheets.alert_headings()?,
            Rows::Cases => self.sheets.case_headings()?,
        })
    }
}

/// The next lines, and where the part after them begins: bounded, so that a slow client holds no more than this.
async fn part(
    hub: &Hub,
    job: &Arc<Export>,
    after: Option<Cursor>,
) -> Result<(Vec<u8>, Option<Cursor>), Problem> {
    let job = Arc::clone(job);
    hub.blocking(Work::Query, move |hub| {
        hub.tables.read(|db| match job.of {
            Rows::Alerts => {
                let (page, next) = report::alert_page(db, job.span, after, &job.wanted)?;
                Ok((job.sheets.alerts(&page)?, next))
            }
            Rows::Cases => {
                let (page, next) = report::case_page(db, job.span, after, &job.wanted)?;
                Ok((job.sheets.case_rows(&page)?, next))
            }
        })
    })
    .await
}

/// A request for a report, checked.
struct Asked {
    frame: Frame,
    wanted: Wanted,
    /// Set when it is wanted as CSV.
    sheets: Option<Sheets>,
}

impl ReportParams {
    fn check(&self, hub: &AppState, sight: &Sight, headers: &HeaderMap) -> Result<Asked, Problem> {
        let zone = &hub.reports.zone;
        let span = span(self.from.as_deref(), self.to.as_deref(), hub.clock.now(), zone)?;
        let by: Option<By> = parse("by", self.by.as_deref())?;
        let wanted = Wanted::new(hub.registry.town(), sight.clone(), self.zone.as_deref())?;
        let as_csv = match self.format.as_deref() {
            None => accepts(headers, CSV),
            Some("csv") => true,
            Some("json") => false,
            Some(other) => {
                return Err(Problem::bad_query("format", format!("`{other}`: write json or csv")));
            }
        };
        let sheets = sheets(self.lang.as_deref(), zone)?;
        let frame = Frame::new(span, by, zone);
        Ok(Asked { frame, wanted, sheets: as_csv.then_some(sheets) })
    }
}

fn sheets(language: Option<&str>, zone: &TimeZone) -> Result<Sheets, Problem> {
    let language: Option<Language> = parse("lang", language)?;
    Ok(Sheets { language: language.unwrap_or_default(), zone: zone.clone() })
}

/// The span that is asked for. What is still to come has no figures: it ends now.
fn span(
    from: Option<&str>,
    to: Option<&str>,
    now: Timestamp,
    zone: &TimeZone,
) -> Result<Span, Problem> {
    let to = moment("to", to, zone)?.unwrap_or(now).min(now);
    let from = moment("from", from, zone)?.unwrap_or(to.minus(DEFAULT_SPAN));
    if from >= to {
        let why = format!("{from} is not before {to}, where the report ends");
        return Err(Problem::bad_query("from", why));
    }
    let span = Span { from, to };
    if span.length() > MAX_SPAN {
        return Err(Problem::bad_query("from", "from and to are more than 400 days apart"));
    }
    Ok(span)
}

/// A time, or the beginning of a day of the town.
fn moment(name: &str, text: Option<&str>, zone: &TimeZone) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = text.map(str::trim) else { return Ok(None) };
    // A civil date reads as a time with a time of day too: only the short form is a day.
    let day = (text.len() == 10).then(|| text.parse::<Date>().ok()).flatten();
    match day.map(|day| day.to_zoned(zone.clone())) {
        Some(Ok(start)) => Ok(Some(Timestamp::from_micros(start.timestamp().as_microsecond()))),
        Some(Err(why)) => Err(Problem::bad_query(name, why)),
        None => match text.parse::<Timestamp>() {
            Ok(at) => Ok(Some(at)),
            Err(why) => Err(Problem::bad_query(name, format!("{why}, or a day: 2026-09-21"))),
        },
    }
}

/// What somebody asks for, of what may be seen.
struct Wanted {
    town: Arc<Town>,
    sight: Sight,
    /// `None`: every zone.
    zones: Option<HashSet<ZoneId>>,
}

impl Wanted {
    fn new(town: Arc<Town>, sight: Sight, zones: Option<&str>) -> Result<Self, Problem> {
        let zones: Vec<ZoneId> = parse_list("zone", zones)?;
        for zone in &zones {
            if !(town.zones.contains_key(zone.as_str()) && sight.may_see_zone(zone)) {
                return Err(Problem::not_found("zone", zone.as_str()));
            }
        }
        let zones = (!zones.is_empty()).then(|| zones.into_iter().collect());
        Ok(Wanted { town, sight, zones })
    }
}

impl Places for Wanted {
    fn place(&self, asset: Option<&AssetId>) -> Option<Place> {
        let asset = asset.and_then(|id| self.town.assets.get(id));
        let zone = asset.and_then(|asset| asset.zone.clone());
        self.wants(zone.as_ref()).then(|| Place { zone, kind: asset.map(|asset| asset.kind) })
    }

    fn wants(&self, zone: Option<&ZoneId>) -> bool {
        let is_seen = zone.map_or(self.sight.is_whole(), |zone| self.sight.may_see_zone(zone));
        let asked = self.zones.as_ref();
        is_seen && asked.is_none_or(|zones| zone.is_some_and(|zone| zones.contains(zone)))
    }
}

fn answer(
    name: &str,
    report: &impl Serialize,
    sheet: Option<Result<Vec<u8>, SheetError>>,
) -> Result<Response, Problem> {
    let vary = [(VARY, ACCEPT.as_str())];
    match sheet {
        Some(sheet) => Ok((vary, csv_headers(name), sheet?).into_response()),
        None => Ok((vary, Json(report)).into_response()),
    }
}

fn csv_headers(name: &str) -> [(axum::http::HeaderName, String); 2] {
    [
        (CONTENT_TYPE, format!("{CSV}; charset=utf-8")),
        (CONTENT_DISPOSITION, format!("attachment; filename=\"{name}.csv\"")),
    ]
}

impl From<ReportError> for Problem {
    fn from(error: ReportError) -> Self {
        Problem::internal(error)
    }
}

impl From<SheetError> for Problem {
    fn from(error: SheetError) -> Self {
        Problem::internal(error)
    }
}

/// How the reports look in JSON, for the OpenAPI document; a test holds them against the real thing.
#[allow(dead_code, reason = "only described")]
pub(super) mod shape {
    use serde::Serialize;
    use utoipa::ToSchema;

    use crate::api::wire::Label;

    /// From a time on, before another.
    #[derive(ToSchema, Serialize)]
    pub(crate) struct Span {
        #[schema(value_type = String, format = DateTime)]
        from: String,
        #[schema(value_type = String, format = DateTime)]
        to: String,
    }

    /// What a figure says against its target.
    #[derive(ToSchema, Serialize)]
    #[serde(rename_all = "lowercase")]
    pub(crate) enum Verdict {
        Met,
        Manageable,
        Missed,
        Unknown,
    }

    /// A figure that should not be greater than its target.
    #[derive(ToSchema, Serialize)]
    pub(crate) struct Figure {
        /// Null when there is nothing to count.
        #[schema(required)]
        value: Option<f64>,
        target: f64,
        verdict: Verdict,
    }

    /// How long something took, in seconds.
    #[derive(ToSchema, Serialize)]
    pub(crate) struct Times {
        /// How often it was done.
        count: u64,
        #[schema(required)]
        median_s: Option<f64>,
        #[schema(required)]
        p90_s: Option<f64>,
    }

    /// How often, and for how long, alerts were taken off the list.
    #[derive(ToSchema, Serialize)]
    pub(crate) struct Away {
        count: u64,
        /// Alert hours within the span.
        hours: f64,
    }

    /// Alarms by priority: critical is high, major medium, minor low.
    #[derive(ToSchema, Serialize)]
    pub(crate) struct Priorities {
        high: u64,
        medium: u64,
        low: u64,
        high_share: Figure,
        high_and_medium_share: Figure,
    }

    /// The figures of the norm.
    #[derive(ToSchema, Serialize)]
    pub(crate) struct AlarmFigures {
        /// Rings of critical, major and minor alerts that were heard.
        alarms: u64,
        /// Rings of info alerts: no alarms.
        info: u64,
        /// Rings that nobody heard: shelved, suppressed, out of service.
        held_back: u64,
        /// Alarms per operator and ten minutes, over the whole time.
        rate: Figure,
        /// Alarms per operator in the worst ten minutes.
        peak: Figure,
        #[schema(value_type = Option<String>, format = DateTime, required)]
        peak_at: Option<String>,
        /// Share of the ten-minute periods with more than 10 alarms per operator.
        overloaded: Figure,
        floods: u64,
        /// Share of the ten-minute periods within a flood.
        in_flood: Figure,
        longest_flood_s: f64,
        /// Rules that chattered.
        chattering: Figure,
        /// The most alarms that were active for over 24 h at the end of a day.
        stale: Figure,
        #[schema(required)]
        stale_mean: Option<f64>,
        /// Share of the alarms that the ten worst rules made.
        top_share: Figure,
        priorities: Priorities,
        acknowledge: Times,
        clear: Times,
        shelved: Away,
        suppressed: Away,
        out_of_service: Away,
    }

    /// A rule's name.
    #[derive(ToSchema, Serialize)]
    pub(crate) struct RuleName {
        device: String,
        #[schema(required)]
        metric: Option<String>,
        name: String,
    }

    /// A rule that rings much.
    #[derive(ToSchema, Serialize)]
    pub(crate) struct TopRule {
        device: String,
        #[schema(required)]
        metric: Option<String>,
        name: String,
        text: Label,
        alarms: u64,
        share: f64,
    }

    /// One group of a divided report on alarms.
    #[derive(ToSchema, Serialize)]
    pub(crate) struct AlarmGroup {
        /// Null for what has no such label.
        #[schema(required)]
        key: Option<String>,
        span: Span,
        figures: AlarmFigures,
        /// Null for a period.
        #[schema(required)]
        former: Option<AlarmFigures>,
    }

    /// How the alarm system did in a span.
    #[derive(ToSchema, Serialize)]
    pub(crate) struct AlarmReport {
        span: Span,
        former_span: Span,
        #[schema(required)]
        by: Option<String>,
        operators: u32,
        total: AlarmFigures,
        former: AlarmFigures,
        top: Vec<TopRule>,
        chatterers: Vec<RuleName>,
        groups: Vec<AlarmGroup>,
    }

    /// The figures of the closed loop.
    #[derive(ToSchema, Serialize)]
    pub(crate) struct CaseFigures {
        /// Alerts raised, and cases opened by hand.
        received: u64,
        opened: u64,
        /// Cases whose deadline for the fix fell into the time.
        due: u64,
        /// Of the due ones, closed by its end.
        closed: u64,
        /// Of the due ones, done by their deadline, and closed.
        on_time: u64,
        /// All that were closed in the time.
        closings: u64,
        /// Of the closings, come back by its end.
        reopened: u64,
        /// closed / due, 0..=1.
        #[schema(required)]
        closing_rate: Option<f64>,
        /// on_time / due, 0..=1.
        #[schema(required)]
        on_time_rate: Option<f64>,
        /// reopened / closings, 0..=1.
        #[schema(required)]
        rework_rate: Option<f64>,
        acknowledge: Times,
        dispatch: Times,
        accept: Times,
        arrive: Times,
        clear: Times,
        close: Times,
    }

    /// One group of a divided report on cases.
    #[derive(ToSchema, Serialize)]
    pub(crate) struct CaseGroup {
        /// Null for what has no such label.
        #[schema(required)]
        key: Option<String>,
        span: Span,
        figures: CaseFigures,
        /// Null for a period.
        #[schema(required)]
        former: Option<CaseFigures>,
    }

    /// How people did about cases in a span.
    #[derive(ToSchema, Serialize)]
    pub(crate) struct CaseReport {
        span: Span,
        former_span: Span,
        #[schema(required)]
        by: Option<String>,
        total: CaseFigures,
        former: CaseFigures,
        groups: Vec<CaseGroup>,
    }
}
