//! How the other rooms' words look in JSON, for the OpenAPI document.
//!
//! The rooms know no HTTP, so they derive serde and nothing else; these types only describe what serde writes for them and
//! are never built. A test at the foot holds the larger ones against the real thing.
#![allow(dead_code)]

use serde::Serialize;
use utoipa::ToSchema;

/// Text for people in both languages.
#[derive(ToSchema, Serialize)]
pub(crate) struct Label {
    /// Chinese (zh-CN).
    zh: String,
    /// English.
    en: String,
}

/// How bad an alert is.
#[derive(ToSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    Critical,
    Major,
    Minor,
    Info,
}

/// Something that is, or was, wrong with the hub itself.
#[derive(ToSchema, Serialize)]
pub(crate) struct Trouble {
    id: u64,
    code: crate::trouble::Code,
    /// Of what: an address, a channel, a file; empty when there is one only.
    subject: String,
    severity: Severity,
    /// Since when it is so.
    #[schema(format = DateTime)]
    since: String,
    /// When it had lasted long enough to be told.
    #[schema(format = DateTime)]
    raised_at: String,
    /// Since when all is well again; null while it is not.
    #[schema(format = DateTime, required)]
    ended_at: Option<String>,
    facts: TroubleFacts,
    /// What is wrong, in words.
    text: Label,
    /// What to do, and what the hub does by itself.
    remedy: Label,
}

/// Numbers and causes behind a trouble; what does not apply is absent.
#[derive(ToSchema, Serialize)]
pub(crate) struct TroubleFacts {
    /// The cause, in the words of whoever met it.
    why: Option<Label>,
    /// What waits, or was given up, refused or missed.
    count: Option<u64>,
    /// The share that is free or taken, in percent.
    share_percent: Option<u64>,
    /// Bytes that are free.
    free_bytes: Option<u64>,
    /// Below so many free bytes no readings are taken.
    stop_below_bytes: Option<u64>,
}

/// How far a value can be trusted. As a number in flat arrays: 0 good, 1 uncertain, 2 bad.
#[derive(ToSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Grade {
    Good,
    Uncertain,
    Bad,
}

/// Why a value is not plainly good.
#[derive(ToSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reason {
    Range,
    Rate,
    Frozen,
    Sentinel,
    Clock,
    Stale,
    Late,
    Duplicate,
    Comm,
    State,
    Computed,
    Rule,
}

/// The age of an asset's values. As a number in flat arrays: 0 fresh to 3 never.
#[derive(ToSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Freshness {
    Fresh,
    Stale,
    Dead,
    Never,
}

/// What an asset is.
#[derive(ToSchema, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum AssetKind {
    Manhole,
    Pipe,
    RainGauge,
    CanalGauge,
    SluiceGate,
    ParkingBay,
    ParkingLot,
}

/// The map's main filter.
#[derive(ToSchema, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Family {
    Pipes,
    Gates,
    Parking,
}

/// A GeoJSON geometry: longitude before latitude, in degrees.
#[derive(ToSchema, Serialize)]
#[serde(tag = "type", content = "coordinates")]
pub(crate) enum Geometry {
    Point([f64; 2]),
    MultiPoint(Vec<[f64; 2]>),
    LineString(Vec<[f64; 2]>),
    MultiLineString(Vec<Vec<[f64; 2]>>),
    Polygon(Vec<Vec<[f64; 2]>>),
    MultiPolygon(Vec<Vec<Vec<[f64; 2]>>>),
}

/// A number of which only the bounds may be known.
#[derive(ToSchema, Serialize)]
pub(crate) struct Span {
    /// At least so many.
    least: u32,
    /// At most so many.
    most: u32,
}

/// The bays of a lot: free, occupied, unknown and closed ones are all.
#[derive(ToSchema, Serialize)]
pub(crate) struct ParkingCounts {
    /// All bays.
    capacity: u32,
    /// Bays that stand empty and may be used.
    free: Span,
    /// Bays with a car.
    occupied: Span,
    /// Bays of which nothing is known.
    unknown: u32,
    /// Bays that are closed.
    closed: u32,
}

/// What a driver should know of a lot. Nearly full: 95 % taken, until fewer than 90 % are.
#[derive(ToSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ParkingOccupation {
    Open,
    NearlyFull,
    Full,
    Closed,
    Unknown,
}

/// Where a lot went in the last half hour.
#[derive(ToSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ParkingTrend {
    Filling,
    Steady,
    Emptying,
}

/// A share between 0 and 1 of which only the bounds may be known.
#[derive(ToSchema, Serialize)]
pub(crate) struct Share {
    least: f64,
    most: f64,
}

/// How well a lot was used.
#[derive(ToSchema, Serialize)]
pub(crate) struct ParkingUse {
    /// Bays that may be used.
    capacity: u32,
    /// The share of the bays' time of which it is known whether a car stood there.
    known: f64,
    /// Occupied bays per bay at the end of the period.
    occupancy: Share,
    /// Occupied time per bay and time.
    utilisation: Share,
    /// Cars that were seen to take a bay; null without sensors in the bays.
    #[schema(required)]
    arrivals: Option<u32>,
    /// Arrivals per bay and day.
    #[schema(required)]
    turnover: Option<f64>,
    /// How long those stayed that left in the period and were seen to arrive, in seconds.
    #[schema(required)]
    mean_stay_s: Option<f64>,
    /// How many those are.
    stays: u32,
    /// Cars that stood longer than the lot's limit, the longest first; 200 at most.
    overstays: Vec<Overstay>,
    /// Bays that have not changed for 72 h while most of their neighbours have.
    stuck: Vec<String>,
}

/// A car that stood, or stands, longer than it may.
#[derive(ToSchema, Serialize)]
pub(crate) struct Overstay {
    bay: String,
    /// Since when it is known to stand there.
    #[schema(format = DateTime)]
    since: String,
    #[schema(format = DateTime)]
    until: String,
    /// Whether it stands there at the end of the period.
    standing: bool,
}

/// What kind of rule raised an alert.
#[derive(ToSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AlertKind {
    Limit,
    Rise,
    Fall,
    Sum,
    State,
    Flat,
    Condition,
    NoData,
}

/// Whether an alert is put aside: it rings only when there is none of the three.
#[derive(ToSchema, Serialize)]
pub(crate) struct Standing {
    /// A person put it aside for a while.
    #[schema(required)]
    shelved: Option<Shelf>,
    /// Something else explains it.
    #[schema(required)]
    suppressed: Option<Suppression>,
    /// A person took it out of service.
    #[schema(required)]
    out_of_service: Option<OutOfService>,
}

/// Put aside for a while.
#[derive(ToSchema, Serialize)]
pub(crate) struct Shelf {
    by: String,
    reason: String,
    #[schema(format = DateTime)]
    at: String,
    /// When it ends by itself.
    #[schema(format = DateTime)]
    until: String,
}

/// Suppressed by design.
#[derive(ToSchema, Serialize)]
pub(crate) struct Suppression {
    cause: SuppressionCause,
    #[schema(format = DateTime)]
    at: String,
}

/// What explains an alert.
#[derive(ToSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SuppressionCause {
    /// The gateway that the device speaks through is silent.
    Gateway(String),
    /// An asset that this one hangs on is down.
    Upstream(String),
    /// Somebody works there: the maintenance window's number, and its reason.
    Maintenance(i64, String),
}

/// Taken out of service until somebody takes it back.
#[derive(ToSchema, Serialize)]
pub(crate) struct OutOfService {
    by: String,
    reason: String,
    #[schema(format = DateTime)]
    at: String,
}

/// An alert. Open while it is active or not acknowledged.
#[derive(ToSchema, Serialize)]
pub(crate) struct Alert {
    id: u64,
    /// Grows with every change of this alert.
    version: u32,
    /// The device that the rule watches.
    device: String,
    /// The metric; null for the device's silence.
    #[schema(required)]
    metric: Option<String>,
    /// The rule's name within the point.
    name: String,
    kind: AlertKind,
    #[schema(required)]
    asset: Option<String>,
    #[schema(required)]
    asset_number: Option<u32>,
    /// Goes up and down with the steps of its ladder.
    severity: Severity,
    /// The worst since it was raised.
    worst: Severity,
    text: Label,
    /// The value that raised it.
    #[schema(required)]
    value: Option<f64>,
    /// The furthest value since.
    #[schema(required)]
    peak: Option<f64>,
    /// The limit it passed.
    #[schema(required)]
    limit: Option<f64>,
    /// The value at which it clears.
    #[schema(required)]
    clear: Option<f64>,
    /// UCUM unit of the values.
    unit: String,
    /// Still so?
    active: bool,
    /// It comes and goes too often: active until it has been quiet.
    chattering: bool,
    /// The first of its group within a short while, when others of the group stand too.
    first_in_group: bool,
    /// How often it was raised.
    raised_count: u32,
    standing: Standing,
    /// When the condition began.
    #[schema(format = DateTime)]
    since: String,
    #[schema(format = DateTime)]
    raised_at: String,
    #[schema(required, format = DateTime)]
    acknowledged_at: Option<String>,
    #[schema(required)]
    acknowledged_by: Option<String>,
    #[schema(required)]
    note: Option<String>,
    /// When the sensor said that all is well.
    #[schema(required, format = DateTime)]
    cleared_at: Option<String>,
}

/// One change of one alert.
#[derive(ToSchema, Serialize)]
pub(crate) struct AlertEvent {
    alert: u64,
    /// The alert's version that it made.
    version: u32,
    /// raised, raised_again, acknowledged, returned, severity_up, severity_down, rearmed, chattering, settled, shelved,
    /// unshelved, suppressed, unsuppressed, out_of_service, in_service, rule_changed, rule_removed.
    what: String,
    #[schema(format = DateTime)]
    at: String,
    /// The alert's severity after it.
    severity: Severity,
    /// Whether the alert is active after it.
    active: bool,
    /// Null for the hub itself.
    #[schema(required)]
    actor: Option<String>,
    #[schema(required)]
    note: Option<String>,
    /// What else belongs to it: until when it is shelved, what suppressed it.
    #[schema(value_type = Option<Object>, required)]
    detail: Option<serde_json::Value>,
}

/// A maintenance window. One of zone, asset and device.
#[derive(ToSchema, Serialize)]
pub(crate) struct Maintenance {
    number: u64,
    zone: Option<String>,
    asset: Option<String>,
    device: Option<String>,
    #[schema(format = DateTime)]
    from: String,
    #[schema(format = DateTime)]
    until: String,
    reason: String,
    by: String,
    #[schema(format = DateTime)]
    made_at: String,
    /// Who ended it before its time.
    #[schema(required)]
    ended_by: Option<String>,
    #[schema(required, format = DateTime)]
    ended_at: Option<String>,
}

/// Where a command stands.
#[derive(ToSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CommandState {
    Selected,
    Confirmed,
    Executing,
    Reached,
    Timeout,
    Fault,
    Cancelled,
}

/// Why a command was refused or ended as it did: IEC 61850's additional causes.
#[derive(ToSchema, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Cause {
    NotSupported,
    InvalidPosition,
    PositionReached,
    ParameterChangeInExecution,
    StepLimitation,
    BlockedByMode,
    BlockedByProcess,
    BlockedByInterlocking,
    CommandAlreadyInExecution,
    BlockedByHealth,
    AbortionByCancel,
    TimeLimitOver,
    AbortionByTrip,
    ObjectNotSelected,
    ObjectAlreadySelected,
    NoAccessAuthority,
    EndedWithOvershoot,
    AbortionByCommunicationLoss,
    InconsistentParameters,
}

/// What a refusal or an end rests on.
#[derive(ToSchema, Serialize)]
pub(crate) struct Fact {
    /// A point, a value of the asset, or a limit of the profile.
    name: String,
    #[schema(required)]
    value: Option<f64>,
    unit: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    grade: Option<Grade>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    /// How old it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    age_s: Option<f64>,
}

/// A command.
#[derive(ToSchema, Serialize)]
pub(crate) struct Command {
    id: u64,
    /// Grows with every step.
    version: u32,
    device: String,
    #[schema(required)]
    asset: Option<String>,
    #[schema(required)]
    asset_number: Option<u32>,
    /// Its name in the profile.
    command: String,
    label: Label,
    /// UCUM unit of the values.
    unit: String,
    /// Where to.
    #[schema(required)]
    target: Option<f64>,
    /// Where from, when it was selected.
    #[schema(required)]
    present: Option<f64>,
    /// What the point itself said last.
    #[schema(required)]
    value: Option<f64>,
    state: CommandState,
    /// What an executing command waits for: writing, in_doubt, echo or moving.
    #[schema(required)]
    step: Option<String>,
    /// Why it ended as it did.
    #[schema(required)]
    cause: Option<Cause>,
    #[schema(required)]
    text: Option<Label>,
    facts: Vec<Fact>,
    /// One step, and ends what else executes.
    emergency: bool,
    /// Why another person has to confirm; null when the same one does.
    #[schema(required)]
    second_person: Option<Label>,
    selected_by: String,
    #[schema(format = DateTime)]
    selected_at: String,
    #[schema(required)]
    confirmed_by: Option<String>,
    #[schema(required, format = DateTime)]
    confirmed_at: Option<String>,
    /// When it was given to the device's link.
    #[schema(required, format = DateTime)]
    sent_at: Option<String>,
    /// When the present step is over.
    #[schema(required, format = DateTime)]
    deadline: Option<String>,
    #[schema(required, format = DateTime)]
    ended_at: Option<String>,
    #[schema(required)]
    note: Option<String>,
}

/// One step of a command.
#[derive(ToSchema, Serialize)]
pub(crate) struct CommandEvent {
    /// select, confirm, execute, doubt, written, echoed, stop, stopped, cancel, and the ends.
    what: String,
    #[schema(format = DateTime)]
    at: String,
    /// Who; the hub itself is `(hub)`.
    actor: String,
    #[schema(required)]
    cause: Option<String>,
}

/// A case: what people do about alerts.
#[derive(ToSchema, Serialize)]
pub(crate) struct Case {
    id: u64,
    /// Grows with every event of this case: a move names the version that it was made on.
    version: u32,
    #[schema(required)]
    asset: Option<String>,
    #[schema(required)]
    kind: Option<AssetKind>,
    #[schema(required)]
    zone: Option<String>,
    /// The device whose alert opened it.
    #[schema(required)]
    device: Option<String>,
    title: Label,
    /// The worst that any of its alerts had.
    severity: Severity,
    stage: CaseStage,
    /// dispatched, accepted, reported: which unit has it.
    unit: Option<String>,
    /// dispatched: who of the unit.
    person: Option<String>,
    /// accepted, reported, verified: who handles it.
    handler: Option<String>,
    /// verified: who looked.
    verifier: Option<String>,
    /// closed: on what.
    proof: Option<CaseProof>,
    /// Its alerts, the one that opened it first.
    alerts: Vec<u64>,
    #[schema(format = DateTime)]
    opened_at: String,
    /// Null for the hub.
    #[schema(required)]
    opened_by: Option<String>,
    /// Its promises, once it was dispatched.
    #[schema(required)]
    deadlines: Option<CaseDeadlines>,
    #[schema(required, format = DateTime)]
    arrived_at: Option<String>,
    #[schema(required, format = DateTime)]
    reported_at: Option<String>,
    #[schema(required, format = DateTime)]
    closed_at: Option<String>,
    /// The step that is overdue.
    #[schema(required)]
    overdue: Option<CaseStep>,
    /// The level that was told of it; 0 for none.
    escalation: u8,
    /// The closed case that it goes on from.
    #[schema(required)]
    reopens: Option<u64>,
    /// The case that goes on from it.
    #[schema(required)]
    reopened_as: Option<u64>,
}

/// Where a case stands.
#[derive(ToSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CaseStage {
    Opened,
    Dispatched,
    Accepted,
    Reported,
    Verified,
    Closed,
}

/// What a case was closed on.
#[derive(ToSchema, Serialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub(crate) enum CaseProof {
    Sensor,
    SiteCheck { person: String, reason: String },
}

/// Until when each step is promised.
#[derive(ToSchema, Serialize)]
pub(crate) struct CaseDeadlines {
    #[schema(format = DateTime)]
    dispatched_at: String,
    #[schema(required, format = DateTime)]
    accept: Option<String>,
    #[schema(required, format = DateTime)]
    arrive: Option<String>,
    #[schema(format = DateTime)]
    fix: String,
}

/// A step that has a deadline.
#[derive(ToSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CaseStep {
    Accept,
    Arrive,
    Fix,
}

/// A crew that cases are dispatched to.
#[derive(ToSchema, Serialize)]
pub(crate) struct Unit {
    id: String,
    name: Label,
    /// Empty: every zone.
    zones: Vec<String>,
    /// Empty: every kind.
    kinds: Vec<AssetKind>,
    /// Login names.
    members: Vec<String>,
    version: u32,
}

/// What an import did: all of it or, when any row is wrong, none of it.
#[derive(ToSchema, Serialize)]
pub(crate) struct ImportReport {
    /// Whether the rows are in force now.
    applied: bool,
    /// How many rows are right.
    accepted: usize,
    /// How many rows are wrong.
    rejected: usize,
    rows: Vec<ImportRow>,
}

/// The fate of one row.
#[derive(ToSchema, Serialize)]
pub(crate) struct ImportRow {
    /// From 1 at the first data row or feature.
    row: usize,
    /// The id in the row, if it had one.
    #[schema(required)]
    id: Option<String>,
    status: RowStatus,
    /// What is wrong with it and what would be right.
    errors: Vec<String>,
    /// The device's secret, when this import made one: shown once.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

/// What became of a row.
#[derive(ToSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RowStatus {
    Created,
    Updated,
    Unchanged,
    Rejected,
}

/// What the store holds.
#[derive(ToSchema, Serialize)]
pub(crate) struct StoreStats {
    series: u64,
    /// Readings not yet sealed.
    hot_readings: u64,
    /// Readings in sealed chunks.
    sealed_readings: u64,
    /// Bytes of sealed chunks.
    sealed_bytes: u64,
    /// Bytes of the rollups by minute.
    minute_bytes: u64,
    /// Bytes of the rollups by hour.
    hour_bytes: u64,
    /// Bytes of the rollups by day.
    day_bytes: u64,
    /// When the oldest sealed reading was observed.
    #[schema(format = DateTime)]
    oldest_raw: Option<String>,
    /// Bytes on disk, all files.
    disk_bytes: u64,
    /// The number of the last commit.
    last_commit: u64,
}

/// How it stands with the engine that keeps the far past.
#[derive(ToSchema, Serialize)]
pub(crate) struct RemoteStatus {
    /// `InfluxDB 2` or `VictoriaMetrics`.
    engine: String,
    /// Whether it took what it was sent last.
    up: bool,
    /// What is wrong; null when nothing is.
    #[schema(required)]
    problem: Option<RemoteProblem>,
    /// Readings that wait on the hub's disk until it has them.
    queue_readings: u64,
    /// Their bytes.
    queue_bytes: u64,
    /// Bytes that may wait at most.
    queue_max_bytes: u64,
    /// When the oldest of them arrived; null when none waits.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    oldest: Option<String>,
    /// Readings that it acknowledged since the start.
    sent: u64,
    /// Readings of which it only gets rollups, because more waited than may; the hub keeps them itself.
    folded: u64,
    /// Readings that it refused for good since the start.
    refused: u64,
    /// Its words for the last of them.
    #[schema(required)]
    refusal: Option<String>,
}

/// What is wrong with an engine.
#[derive(ToSchema, Serialize)]
pub(crate) struct RemoteProblem {
    #[schema(value_type = String, format = DateTime)]
    since: String,
    /// In the words of the log.
    why: String,
}

/// Where a Modbus device is reached.
#[derive(ToSchema, Serialize)]
pub(crate) struct ModbusAddress {
    /// `host:port`.
    endpoint: String,
    /// The unit (slave) number.
    unit: u8,
}

/// An account.
#[derive(ToSchema, Serialize)]
pub(crate) struct User {
    name: String,
    role: Role,
    /// The zones that it is limited to; null: the whole town.
    #[schema(required)]
    zones: Option<Vec<String>>,
}

/// An account as a list shows it.
#[derive(ToSchema, Serialize)]
pub(crate) struct UserInfo {
    name: String,
    role: Role,
    /// The zones that it is limited to; null: the whole town.
    #[schema(required)]
    zones: Option<Vec<String>>,
    /// Whether it is kept out.
    disabled: bool,
    /// Whether it has to choose a new password first.
    must_change: bool,
    #[schema(value_type = String, format = DateTime)]
    created_at: String,
}

/// A session as a list shows it.
#[derive(ToSchema, Serialize)]
pub(crate) struct SessionInfo {
    /// Its name, to end it by.
    id: String,
    user: String,
    /// The browser, as it calls itself.
    agent: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: String,
    /// When it was last used, to the hour.
    #[schema(value_type = String, format = DateTime)]
    used_at: String,
    /// When it ends if it is not used.
    #[schema(value_type = String, format = DateTime)]
    ends_at: String,
    /// Whether it is the one that asks.
    current: bool,
}

/// A token as a list shows it.
#[derive(ToSchema, Serialize)]
pub(crate) struct TokenInfo {
    id: i64,
    user: String,
    label: String,
    /// The rights it is limited to; null: all of its user's.
    #[schema(required)]
    scope: Option<Vec<Right>>,
    #[schema(value_type = String, format = DateTime)]
    created_at: String,
    /// Null: it does not end.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    ends_at: Option<String>,
    /// When it was last used, to the hour.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    used_at: Option<String>,
}

/// Who did what to what.
#[derive(ToSchema, Serialize)]
pub(crate) struct AuditEntry {
    /// Its number, from 1, without gaps.
    seq: i64,
    #[schema(value_type = String, format = DateTime)]
    at: String,
    /// A user's name; `(hub)`, `(cli)` or `(stranger)`.
    actor: String,
    /// A thing and a verb: `user.add`.
    action: String,
    subject: String,
    detail: serde_json::Value,
    /// SHA-256 of the hash before and of this entry, in hexadecimal.
    hash: String,
}

/// What somebody is in the town.
#[derive(ToSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    Viewer,
    Operator,
    Dispatcher,
    Handler,
    Supervisor,
    Engineer,
    Admin,
}

/// What somebody may do.
#[derive(ToSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Right {
    View,
    Acknowledge,
    Operate,
    Dispatch,
    Handle,
    Verify,
    Supervise,
    Engineer,
    Administer,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde::Serialize;
    use utoipa::PartialSchema;

    use crate::alert::{AlertId, RuleKey};
    use crate::model::{Label, Timestamp};
    use crate::{model, registry, store};

    /// The members that the schema names are the members that serde writes.
    fn check<Schema: PartialSchema>(real: &impl Serialize) {
        let schema = serde_json::to_value(Schema::schema()).unwrap();
        let keys = |value: &serde_json::Value| -> BTreeSet<String> {
            value.as_object().unwrap().keys().cloned().collect()
        };
        let described = keys(&schema["properties"]);
        let written = keys(&serde_json::to_value(real).unwrap());
        assert_eq!(described, written);
    }

    #[test]
    fn the_document_describes_what_is_written() {
        check::<super::Label>(&Label::same("x"));
        check::<super::StoreStats>(&store::StoreStats::default());
        check::<super::RemoteStatus>(&store::RemoteStatus {
            engine: "VictoriaMetrics",
            up: false,
            problem: Some(store::RemoteProblem { since: Timestamp::EPOCH, why: "away".into() }),
            queue_readings: 1,
            queue_bytes: 2,
            queue_max_bytes: 3,
            oldest: Some(Timestamp::EPOCH),
            sent: 4,
            folded: 5,
            refused: 6,
            refusal: None,
        });
        let admin = registry::User { name: "a".into(), role: model::Role::Admin, zones: None };
        check::<super::User>(&admin);
        check::<super::ModbusAddress>(&registry::ModbusAddress { endpoint: "h:1".into(), unit: 1 });
        let row = registry::ImportRow {
            row: 1,
            id: None,
            status: registry::RowStatus::Created,
            errors: vec![],
            secret: Some("s".into()),
        };
        check::<super::ImportRow>(&row);
        check::<super::ImportReport>(&registry::ImportReport {
            applied: true,
            accepted: 1,
            rejected: 0,
            rows: vec![row],
        });
        check::<super::Alert>(&crate::alert::Alert {
            id: AlertId(1),
            version: 1,
            rule: RuleKey { device: "d".parse().unwrap(), metric: None, name: "no_data".into() },
            kind: "no_data",
            asset: None,
            asset_number: None,
            severity: model::Severity::Minor,
            worst: model::Severity::Minor,
            text: Label::same("x"),
            value: None,
            peak: None,
            limit: None,
            clear: None,
            unit: "1".into(),
            active: true,
            chattering: false,
            first_in_group: false,
            raised_count: 1,
            standing: crate::alert::Standing::default(),
            since: Timestamp::EPOCH,
            raised_at: Timestamp::EPOCH,
            acknowledged_at: None,
            acknowledged_by: None,
            note: None,
            cleared_at: None,
        });
    }

    /// The words of an enum are those that serde writes for the real one.
    fn check_words<Schema: PartialSchema>(real: &[impl Serialize]) {
        let schema = serde_json::to_value(Schema::schema()).unwrap();
        let words = |value: &serde_json::Value| -> BTreeSet<String> {
            value.as_array().unwrap().iter().map(ToString::to_string).collect()
        };
        assert_eq!(words(&schema["enum"]), words(&serde_json::to_value(real).unwrap()));
    }

    #[test]
    fn the_document_knows_every_word() {
        use crate::live::Freshness::{Dead, Fresh, Never, Stale};
        use model::{Family, Grade};
        check_words::<super::Role>(&model::Role::ALL);
        check_words::<super::Right>(&model::Right::ALL);
        check_words::<super::Severity>(&model::Severity::ALL);
        check_words::<super::Cause>(&model::Cause::ALL);
        check_words::<super::Reason>(&model::Reason::ALL);
        check_words::<super::AssetKind>(&model::AssetKind::ALL);
        check_words::<super::Grade>(&[Grade::Good, Grade::Uncertain, Grade::Bad]);
        check_words::<super::Family>(&[Family::Pipes, Family::Gates, Family::Parking]);
        check_words::<super::Freshness>(&[Fresh, Stale, Dead, Never]);
    }
}
