//! Parking: the public board with its page, and the figures of the lots.
//!
//! The board is for everybody, so nothing of it is made for a single visitor: it is written out once for each change, and a
//! visitor costs a look at a tag.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::{IntoParams, ToSchema};

use super::console;
use super::error::{Code, Problem};
use super::extract::{Params, parse};
use super::geo::Crs;
use super::sight::Sight;
use super::state::{AppState, Hub, Work};
use super::wire;
use crate::model::{AssetId, Label, Timestamp};
use crate::parking::{self, Board, Counts, FiguresError, FiguresOf, LotNow, Occupation, Trend};

/// How long a proxy or a browser may show a board again without asking.
const BOARD_CACHING: &str = "public, max-age=5";
/// What figures are of when no time is given.
const DEFAULT_SPAN: Duration = Duration::from_secs(24 * 3600);
/// The longest period of figures.
const MAX_SPAN: Duration = Duration::from_secs(92 * 24 * 3600);

/// The lots that are shown to the public.
#[derive(Serialize, ToSchema)]
#[schema(as = ParkingBoard)]
pub(crate) struct BoardBody<'a> {
    /// What the town is called.
    #[schema(value_type = wire::Label)]
    town: &'a Label,
    /// When anything on it last changed.
    #[schema(value_type = String, format = DateTime)]
    changed_at: Timestamp,
    /// In the order of their ids.
    lots: Vec<LotBody<'a>>,
    /// How many lots there are beyond the first thousand.
    left_out: usize,
}

/// A lot now.
#[derive(Serialize, ToSchema)]
#[schema(as = ParkingLotNow)]
pub(crate) struct LotBody<'a> {
    id: &'a str,
    #[schema(value_type = wire::Label)]
    name: &'a Label,
    /// Longitude and latitude in degrees, WGS-84.
    position: [f64; 2],
    /// The same as GCJ-02, which Chinese navigation takes.
    position_gcj02: [f64; 2],
    #[serde(flatten)]
    #[schema(value_type = wire::ParkingCounts)]
    counts: Counts,
    /// What a driver should know.
    #[schema(value_type = wire::ParkingOccupation)]
    occupation: Occupation,
    /// Where it went in the last half hour; null when too little is known.
    #[schema(value_type = Option<wire::ParkingTrend>, required)]
    trend: Option<Trend>,
    /// When its newest reading was taken; null when none was heard.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    observed_at: Option<Timestamp>,
}

/// Which period, which lots.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct FiguresParams {
    /// From this time on (RFC 3339); absent: a day before `to`.
    from: Option<String>,
    /// Before this time (RFC 3339), at most 92 days after `from`; absent, or in the future: now.
    to: Option<String>,
    /// Only this lot.
    lot: Option<String>,
}

/// What is asked for, checked.
#[derive(Debug, Clone, PartialEq)]
struct FiguresQuery {
    from: Timestamp,
    to: Timestamp,
    lot: Option<AssetId>,
}

/// How well the lots were used.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ParkingFigures)]
pub(crate) struct FiguresBody {
    #[schema(value_type = String, format = DateTime)]
    from: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    to: Timestamp,
    lots: Vec<LotFiguresBody>,
}

/// How well a lot was used.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ParkingLotFigures)]
pub(crate) struct LotFiguresBody {
    #[schema(value_type = String)]
    id: AssetId,
    #[schema(value_type = wire::Label)]
    name: Label,
    /// How long a car may stay, in seconds.
    max_stay_s: f64,
    #[serde(flatten)]
    #[schema(value_type = wire::ParkingUse)]
    figures: parking::Figures,
}

/// The board as it goes out.
#[derive(Debug)]
pub(crate) struct Written {
    of: Arc<Board>,
    json: Bytes,
    etag: String,
}

/// The lots and their free bays, for everybody. A lot of which not every bay is known tells bounds: `least` and `most`.
#[utoipa::path(
    get, path = "/api/v1/parking", tag = "parking",
    responses(
        (status = 200, body = BoardBody<'_>),
        (status = 304, description = "Nothing changed since the ETag in If-None-Match"),
    )
)]
pub(crate) async fn board(State(hub): State<Hub>, headers: HeaderMap) -> Result<Response, Problem> {
    let board = hub.parking.board(hub.clock.now());
    let board = board.ok_or_else(|| Problem::unavailable("the bays are not being counted"))?;
    Ok(written(&hub, board)?.respond(&headers))
}

/// The page that shows the board, for everybody.
#[utoipa::path(
    get, path = "/parking", tag = "pages",
    responses((status = 200, content_type = "text/html", body = String))
)]
pub(crate) async fn page(request: Request) -> Response {
    console::public_page("parking.html", request.headers())
}

/// Occupancy, turnover, utilisation, stays, overstays and stuck bays of the lots in sight. Closed bays count as if they were
/// not there; where a bay is not known of, the shares are bounds.
#[utoipa::path(
    get, path = "/api/v1/parking/figures", tag = "parking", params(FiguresParams),
    responses((status = 200, body = FiguresBody))
)]
pub(crate) async fn figures(
    State(hub): State<Hub>,
    sight: Sight,
    Params(params): Params<FiguresParams>,
) -> Result<Json<FiguresBody>, Problem> {
    let query = params.check(hub.clock.now())?;
    let found = hub.blocking(Work::Query, move |hub| find(hub, &sight, &query));
    Ok(Json(found.await?))
}

fn find(hub: &AppState, sight: &Sight, query: &FiguresQuery) -> Result<FiguresBody, Problem> {
    let town = hub.registry.town();
    let mut lots = parking::lots(&town, &hub.present.stations());
    lots.retain(|lot| sight.may_see(&lot.asset));
    if let Some(wanted) = &query.lot {
        lots.retain(|lot| lot.asset.id == *wanted);
        if lots.is_empty() {
            return Err(Problem::not_found("parking lot", wanted.as_str()));
        }
    }
    let found = FiguresOf::of(&lots, &*hub.store, query.from, query.to)?;
    Ok(FiguresBody {
        from: query.from,
        to: query.to,
        lots: found.into_iter().map(LotFiguresBody::from).collect(),
    })
}

impl FiguresParams {
    fn check(&self, now: Timestamp) -> Result<FiguresQuery, Problem> {
        // The future is not known, and an occupied bay must not count as one that stays so.
        let to = parse("to", self.to.as_deref())?.unwrap_or(now).min(now);
        let from = parse("from", self.from.as_deref())?.unwrap_or(to.minus(DEFAULT_SPAN));
        if from >= to {
            return Err(Problem::bad_query("from", format!("{from} is not before {to}")));
        }
        if to.since(from) > MAX_SPAN {
            return Err(Problem::bad_query("from", "from and to are more than 92 days apart"));
        }
        Ok(FiguresQuery { from, to, lot: parse("lot", self.lot.as_deref())? })
    }
}

/// The board written out; anew only when it changed.
fn written(hub: &AppState, board: Arc<Board>) -> Result<Arc<Written>, Problem> {
    if let Some(known) = hub.board.load_full().filter(|known| Arc::ptr_eq(&known.of, &board)) {
        return Ok(known);
    }
    let written = Arc::new(Written::new(board, &hub.town.name)?);
    hub.board.store(Some(Arc::clone(&written)));
    Ok(written)
}

impl Written {
    fn new(board: Arc<Board>, town: &Label) -> Result<Self, Problem> {
        let body = BoardBody {
            town,
            changed_at: board.changed_at,
            lots: board.lots.iter().map(LotBody::from).collect(),
            left_out: board.left_out,
        };
        let json = serde_json::to_vec(&body).map_err(Problem::internal)?;
        let digest = Sha256::digest(&json);
        let hash = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect::<String>();
        // Weak, because the body may go out compressed.
        Ok(Written { etag: format!("W/\"{hash}\""), json: json.into(), of: board })
    }

    fn respond(&self, headers: &HeaderMap) -> Response {
        let known = headers
            .get_all(IF_NONE_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|tag| matches!(tag.trim(), tag if tag == self.etag || tag == "*"));
        let common = [(ETAG, self.etag.as_str()), (CACHE_CONTROL, BOARD_CACHING)];
        if known {
            return (StatusCode::NOT_MODIFIED, common).into_response();
        }
        (common, [(CONTENT_TYPE, "application/json")], self.json.clone()).into_response()
    }
}

impl<'a> From<&'a LotNow> for LotBody<'a> {
    fn from(lot: &'a LotNow) -> Self {
        let (lon, lat) = (lot.position.lon(), lot.position.lat());
        LotBody {
            id: lot.id.as_str(),
            name: &lot.name,
            position: round(lon, lat),
            position_gcj02: Crs::Gcj02.show(lon, lat).into(),
            counts: lot.counts,
            occupation: lot.occupation,
            trend: lot.trend,
            observed_at: lot.observed_at,
        }
    }
}

/// To 1e-7 degrees, a centimetre: the middle of an outline has more digits than sense.
fn round(lon: f64, lat: f64) -> [f64; 2] {
    [lon, lat].map(|degrees| (degrees * 1e7).round() / 1e7)
}

impl From<FiguresOf> for LotFiguresBody {
    fn from(of: FiguresOf) -> Self {
        LotFiguresBody {
            id: of.id,
            name: of.name,
            max_stay_s: of.max_stay.as_secs_f64(),
            figures: of.figures,
        }
    }
}

impl From<FiguresError> for Problem {
    fn from(error: FiguresError) -> Self {
        match error {
            FiguresError::TooMuch { .. } => {
                Problem::new(StatusCode::BAD_REQUEST, Code::BadQuery, error.to_string())
            }
            FiguresError::Store(why) => why.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);

    #[test]
    fn a_period_is_checked() {
        let check = |from: Option<&str>, to: Option<&str>| {
            let params =
                FiguresParams { from: from.map(Into::into), to: to.map(Into::into), lot: None };
            params.check(NOW).map(|query| (query.from, query.to))
        };
        assert_eq!(check(None, None).unwrap(), (NOW.minus(DEFAULT_SPAN), NOW));
        assert_eq!(check(None, Some("2036-01-01T00:00:00Z")).unwrap().1, NOW, "never the future");
        assert!(check(Some("2036-01-01T00:00:00Z"), None).is_err());
        assert!(check(Some("2026-01-01T00:00:00Z"), None).is_err(), "too long");
        assert!(check(Some("yesterday"), None).is_err());
    }
}
