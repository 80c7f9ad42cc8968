//! What the reports read: the logs of alerts and cases, told as stories, one at a time. The one file with SQL.
//!
//! What concerns a span is found by the indexes of `schema.sql`; then each story is read by its own number. So a report
//! costs what its span holds, whatever stands in the file beside it.

use rusqlite::types::Type;
use rusqlite::{Connection, Row, named_params, params};

use super::ReportError;
use super::board::Labels;
use super::cases::CaseStory;
use super::period::Span;
use super::rehearsal::Recorded;
use super::story::{AlertMoment, AlertStory, Deed};
use crate::alert::{self, Alert, AlertId, RuleKey};
use crate::case::{self, CaseEvent, CaseId, Happened};
use crate::model::{AssetId, AssetKind, Label, Severity, Timestamp, ZoneId};

/// The most rows of one page of an export.
pub const PAGE: usize = 1_000;

/// Where an asset stands, and what it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// Its zone.
    pub zone: Option<ZoneId>,
    /// Its kind.
    pub kind: Option<AssetKind>,
}

/// Where things stand, and which of them somebody asks for. Asked of the town as it is now: an asset that was moved takes
/// its history along. A case keeps the zone that it was opened in.
pub trait Places {
    /// Where an alert's asset stands (or what belongs to none); `None` when it is not asked for.
    fn place(&self, asset: Option<&AssetId>) -> Option<Place>;

    /// Whether a case of this zone is asked for.
    fn wants(&self, zone: Option<&ZoneId>) -> bool;
}

/// Where a page of an export goes on: after this moment and this number.
pub type Cursor = (Timestamp, u64);

/// Tells every alert that the span concerns, in the order of their numbers. `with_units`: also which unit its case went to.
pub(super) fn alerts(
    db: &Connection,
    span: Span,
    places: &dyn Places,
    with_units: bool,
    each: &mut dyn FnMut(&AlertStory),
) -> Result<(), ReportError> {
    let mut alerts = db.prepare_cached(
        "WITH concerned AS MATERIALIZED (
             SELECT id FROM alert WHERE raised_at < :to AND
                 (open = 1 OR max(coalesce(cleared_at, 0), coalesce(acknowledged_at, 0)) >= :from))
         SELECT alert.id, device, metric, name, text_zh, text_en, asset, severity, case_id,
             CASE WHEN :units THEN (
                 SELECT json_extract(happened, '$.unit') FROM case_event
                 WHERE case_event.case_id = case_alert.case_id AND what = 'dispatched' AND at < :to
                 ORDER BY case_event.version DESC LIMIT 1) END
         FROM concerned JOIN alert ON alert.id = concerned.id
         LEFT JOIN case_alert ON case_alert.alert = alert.id
         ORDER BY alert.id",
    )?;
    let mut events = db.prepare_cached(
        "SELECT what, at, severity, actor IS NOT NULL FROM alert_event WHERE alert = ? AND at < ? ORDER BY version",
    )?;
    let (from, to) = (span.from.as_micros(), span.to.as_micros());
    let mut rows =
        alerts.query(named_params! { ":from": from, ":to": to, ":units": with_units })?;
    while let Some(row) = rows.next()? {
        let asset: Option<AssetId> = optional(row, 6)?;
        let Some(Place { zone, kind }) = places.place(asset.as_ref()) else { continue };
        let metric: String = row.get(2)?;
        let number: i64 = row.get(0)?;
        let mut severity = severity(row, 7)?;
        let mut moments = Vec::new();
        let mut log = events.query(params![number, to])?;
        while let Some(event) = log.next()? {
            let what = Deed::of(event.get_ref(0)?.as_str().unwrap_or_default(), event.get(3)?);
            let at = Timestamp::from_micros(event.get(1)?);
            severity = self::severity(event, 2)?;
            moments.push(AlertMoment { what, at, severity });
        }
        each(&AlertStory {
            id: AlertId(number.unsigned_abs()),
            rule: RuleKey {
                device: parsed(row, 1)?,
                metric: if metric.is_empty() { None } else { Some(parsed(row, 2)?) },
                name: row.get(3)?,
            },
            text: Label { zh: row.get(4)?, en: row.get(5)? },
            labels: Labels { zone, unit: optional(row, 9)?, kind, severity },
            has_case: row.get::<_, Option<i64>>(8)?.is_some(),
            events: moments,
        });
    }
    Ok(())
}

/// Tells every case that the span concerns, in the order of their numbers.
pub(super) fn cases(
    db: &Connection,
    span: Span,
    places: &dyn Places,
    each: &mut dyn FnMut(&CaseStory),
) -> Result<(), ReportError> {
    let mut concerned = db.prepare_cached(
        "SELECT id FROM town_case WHERE opened_at < :to AND
             (closed_at IS NULL OR closed_at >= :from OR due_at >= :from) ORDER BY id",
    )?;
    let (from, to) = (span.from.as_micros(), span.to.as_micros());
    let mut rows = concerned.query(named_params! { ":from": from, ":to": to })?;
    while let Some(row) = rows.next()? {
        let id = CaseId(row.get::<_, i64>(0)?.unsigned_abs());
        let mut events = case::history(db, id)?;
        events.retain(|event| event.at < span.to);
        if let Some(story) = story_of(events)
            && places.wants(story.labels.zone.as_ref())
        {
            each(&story);
        }
    }
    Ok(())
}

/// A case's story from its log; `None` when there is nothing in it (yet).
fn story_of(events: Vec<CaseEvent>) -> Option<CaseStory> {
    let Happened::Opened { subject, severity, .. } = &events.first()?.happened else { return None };
    let (zone, kind) = (subject.zone.clone(), subject.kind);
    let mut labels = Labels { zone, unit: None, kind, severity: *severity };
    for event in &events {
        match &event.happened {
            Happened::Dispatched { unit, .. } => labels.unit = Some(unit.clone()),
            Happened::Attached { severity, .. } => {
                labels.severity = labels.severity.max(*severity);
            }
            _ => {}
        }
    }
    Some(CaseStory { labels, events })
}

/// A page of the alerts that were raised in the span, oldest first, each with its place and its case; and where the next
/// page goes on, if there may be one.
///
/// # Errors
/// When SQLite fails.
#[allow(clippy::type_complexity, reason = "a page and its cursor")]
pub fn alert_page(
    db: &Connection,
    span: Span,
    after: Option<Cursor>,
    places: &dyn Places,
) -> Result<(Vec<(Alert, Place, Option<CaseId>)>, Option<Cursor>), ReportError> {
    let sql = "SELECT raised_at, id, case_id FROM alert LEFT JOIN case_alert ON alert = id
         WHERE (raised_at, id) > (?1, ?2) AND raised_at >= ?1 AND raised_at < ?3
         ORDER BY raised_at, id LIMIT ?4";
    let (keys, next) = keys(db, sql, span, after)?;
    let mut page = Vec::with_capacity(keys.len());
    for (id, case) in keys {
        let Some(alert) = alert::find(db, AlertId(id))? else { continue };
        if let Some(place) = places.place(alert.asset.as_ref()) {
            page.push((alert, place, case.map(CaseId)));
        }
    }
    Ok((page, next))
}

/// A page of the cases that were opened in the span, oldest first, with their logs; and where the next page goes on.
///
/// # Errors
/// When SQLite fails, or a row is damaged.
pub fn case_page(
    db: &Connection,
    span: Span,
    after: Option<Cursor>,
    places: &dyn Places,
) -> Result<(Vec<CaseStory>, Option<Cursor>), ReportError> {
    let sql = "SELECT opened_at, id, NULL FROM town_case
         WHERE (opened_at, id) > (?1, ?2) AND opened_at >= ?1 AND opened_at < ?3
         ORDER BY opened_at, id LIMIT ?4";
    let (keys, next) = keys(db, sql, span, after)?;
    let mut page = Vec::with_capacity(keys.len());
    for (id, _) in keys {
        let events = case::history(db, CaseId(id))?;
        page.extend(story_of(events).filter(|story| places.wants(story.labels.zone.as_ref())));
    }
    Ok((page, next))
}

/// Every time in the span for which an alert of this rule was active, oldest first.
///
/// # Errors
/// When SQLite fails.
pub fn recorded(db: &Connection, rule: &RuleKey, span: Span) -> Result<Vec<Recorded>, ReportError> {
    let mut alerts = db.prepare_cached(
        "SELECT id FROM alert WHERE device = ? AND metric = ? AND name = ? AND raised_at < ?
             AND (open = 1 OR cleared_at >= ?) ORDER BY id",
    )?;
    let mut events = db.prepare_cached(
        "SELECT what, at, severity, active FROM alert_event
         WHERE alert = ? AND at < ? ORDER BY version",
    )?;
    let metric = rule.metric.as_ref().map_or("", |metric| metric.as_str());
    let (from, to) = (span.from.as_micros(), span.to.as_micros());
    let mut rows = alerts.query(params![rule.device.as_str(), metric, rule.name, to, from])?;
    let mut found: Vec<Recorded> = Vec::new();
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        let mut standing: Option<Recorded> = None;
        let mut log = events.query(params![id, to])?;
        while let Some(event) = log.next()? {
            let at = Timestamp::from_micros(event.get(1)?);
            let severity = severity(event, 2)?;
            let is_active: bool = event.get(3)?;
            standing = match standing {
                Some(stay) if is_active => {
                    Some(Recorded { severity: stay.severity.max(severity), ..stay })
                }
                Some(stay) => {
                    found.push(Recorded { cleared: Some(at), ..stay });
                    None
                }
                None if is_active => {
                    let alert = AlertId(id.unsigned_abs());
                    Some(Recorded { alert, raised: at, cleared: None, severity })
                }
                None => None,
            };
        }
        found.extend(standing);
    }
    found.retain(|stay| stay.cleared.is_none_or(|at| at >= span.from));
    Ok(found)
}

/// The keys of a page: number and, for an alert, its case; and the next page's cursor when this one is full.
#[allow(clippy::type_complexity, reason = "a page and its cursor")]
fn keys(
    db: &Connection,
    sql: &str,
    span: Span,
    after: Option<Cursor>,
) -> Result<(Vec<(u64, Option<u64>)>, Option<Cursor>), ReportError> {
    let (at, id) = after.unwrap_or((span.from, 0));
    let id = i64::try_from(id).unwrap_or(i64::MAX);
    let mut page = db.prepare_cached(sql)?;
    let values = params![at.as_micros(), id, span.to.as_micros(), PAGE as i64];
    let mut next = None;
    let keys = page.query_map(values, |row| {
        let id = row.get::<_, i64>(1)?.unsigned_abs();
        next = Some((Timestamp::from_micros(row.get(0)?), id));
        Ok((id, row.get::<_, Option<i64>>(2)?.map(i64::unsigned_abs)))
    })?;
    let keys: Vec<_> = keys.collect::<Result<_, _>>()?;
    let next = next.filter(|_| keys.len() == PAGE);
    Ok((keys, next))
}

fn severity(row: &Row<'_>, column: usize) -> rusqlite::Result<Severity> {
    let rank: u8 = row.get(column)?;
    Severity::from_rank(rank)
        .ok_or_else(|| damaged(column, format!("{rank} is no rank of a severity").into()))
}

fn parsed<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    row.get::<_, String>(column)?.parse().map_err(|why: T::Err| damaged(column, why.into()))
}

fn optional<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<T>>
where
    T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    row.get::<_, Option<String>>(column)?.map(|_| parsed(row, column)).transpose()
}

/// The table holds what no version writes.
fn damaged(column: usize, why: Box<dyn std::error::Error + Send + Sync>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, why)
}
