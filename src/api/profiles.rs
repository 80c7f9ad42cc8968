//! Device profiles: those in force, those refused, and the folder read anew.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::auth::Caller;
use super::error::Problem;
use super::sight::Sight;
use super::state::{AppState, Hub, Work};
use super::wire;
use crate::model::{AssetKind, Label, ProfileId, Timestamp};
use crate::profile::{
    AlertSpec, AlertTest, CommandSpec, Example, Point, Profile, ProfileSet, Read, RefusedProfile,
    Signal, Source, Table, Version, example,
};
use crate::registry::Town;

/// A profile's text is shown up to this size; a larger one is read in its file.
const MAX_TEXT_BYTES: usize = 64 << 10;

/// The profiles of the hub's folder.
#[derive(Serialize, ToSchema)]
pub(crate) struct Profiles {
    /// In force.
    profiles: Vec<ProfileSummary>,
    /// Files that are no profile, and files whose former version stays in force.
    refused: Vec<Refused>,
}

/// A device model.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProfileSummary {
    #[schema(value_type = String)]
    id: ProfileId,
    #[schema(value_type = wire::Label)]
    name: Label,
    manufacturer: String,
    model: String,
    #[schema(value_type = wire::AssetKind)]
    kind: AssetKind,
    /// How it speaks: `mqtt`, `modbus` or `lorawan`.
    source: &'static str,
    /// How many points it has.
    points: usize,
    /// How many devices use it.
    devices: usize,
    #[serde(flatten)]
    state: ProfileState,
}

/// Which version of a profile is in force, and how well it is known.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProfileState {
    /// Its file, relative to the profile folder.
    file: String,
    /// Names the bytes of the file and its codec.
    version: String,
    /// Since when this version is in force.
    #[schema(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// How many of its tests passed: all of them, or it would not be in force.
    tests_passed: usize,
    /// What works and is probably not meant.
    warnings: Vec<String>,
    /// Whether the file on disk is another, refused version: see `refused`.
    is_outdated: bool,
    /// Whether the file is gone; the profile stays in force because devices use it.
    is_removed: bool,
}

/// A file that is no profile.
#[derive(Serialize, ToSchema)]
pub(crate) struct Refused {
    file: String,
    /// All that is wrong with it.
    errors: Vec<String>,
    /// Since when it is refused.
    #[schema(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// The profile whose former version stays in force.
    #[schema(value_type = Option<String>)]
    running: Option<ProfileId>,
}

/// A device model with all that it says.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProfileDetail {
    #[serde(flatten)]
    summary: ProfileSummary,
    /// Its points in the order of the file.
    points_in_full: Vec<ProfilePoint>,
    /// What its devices may be told.
    commands: Vec<ProfileCommand>,
    /// Names of its tests.
    tests: Vec<String>,
    /// Why the file on disk is not in force.
    refusal: Option<Refused>,
    /// The text of the version in force, unless it is long.
    text: Option<String>,
    /// Where its devices publish besides `devices/{device}/telemetry`.
    topics: Vec<String>,
    /// A message to try a device with; null when its tests have none, or it is polled.
    #[schema(required)]
    example: Option<ProfileExample>,
    /// What to read of a polled device for a try; null when it publishes.
    #[schema(required)]
    register: Option<ProfileRegister>,
}

/// A message to try a device with. `{device}` in it stands for the device's id.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProfileExample {
    topic: String,
    /// The payload; null when it is no text.
    #[schema(required)]
    text: Option<String>,
    /// The payload's bytes in hexadecimal digits; null when it is text.
    #[schema(required)]
    hex: Option<String>,
    /// When the payload says that it was observed; null when that is now.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    observed_at: Option<Timestamp>,
}

/// Where the point that stands for a polled device is read.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProfileRegister {
    /// `coil`, `discrete`, `holding` or `input`.
    table: &'static str,
    /// From 0.
    address: u16,
    /// How many registers, or bits.
    count: u16,
    metric: String,
}

/// A value that the device reports.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProfilePoint {
    /// The metric.
    name: String,
    #[schema(value_type = wire::Label)]
    label: Label,
    /// UCUM.
    unit: String,
    /// Plausible values.
    range: Option<[f64; 2]>,
    /// Codes and names, when it is a state.
    states: Vec<ProfileStateName>,
    alerts: Vec<ProfileAlert>,
}

/// A state's code and name.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProfileStateName {
    code: f64,
    name: String,
    #[schema(value_type = wire::Label)]
    label: Label,
}

/// A limit of a point.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProfileAlert {
    name: String,
    /// `above`, `below`, `equals`, `rise`, `fall`, `sum`, `flat` or `condition`.
    test: &'static str,
    /// The limit of the mildest rung, or the state's code.
    limit: Option<f64>,
    clear: Option<f64>,
    /// The rungs of its ladder, mildest first; empty when it has no limits.
    rungs: Vec<ProfileRung>,
    /// How far it looks back.
    window_s: Option<f64>,
    for_s: f64,
    clear_for_s: f64,
    severity: &'static str,
    #[schema(value_type = wire::Label)]
    text: Label,
}

/// What a device may be told.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProfileCommand {
    name: String,
    #[schema(value_type = wire::Label)]
    label: Label,
    /// One step, also while another command executes, which it ends.
    emergency: bool,
    /// Its target; null for one that needs none.
    #[schema(required)]
    arg: Option<ProfileArg>,
}

/// A command's target.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProfileArg {
    /// UCUM.
    unit: String,
    /// Smallest and largest target.
    range: [f64; 2],
    /// Targets are multiples of this.
    #[schema(required)]
    step: Option<f64>,
    /// The largest distance from the present value.
    #[schema(required)]
    max_change: Option<f64>,
    /// The metric of the present value.
    #[schema(required)]
    from: Option<String>,
}

/// A step of a ladder of limits.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProfileRung {
    severity: &'static str,
    limit: f64,
    clear: f64,
}

/// Every profile with the number of devices in sight that use it.
#[utoipa::path(get, path = "/api/v1/profiles", tag = "profiles", responses((status = 200, body = Profiles)))]
pub(crate) async fn list(State(hub): State<Hub>, sight: Sight) -> Json<Profiles> {
    Json(summarize(&hub.profiles.load(), &hub.registry.town(), &sight))
}

/// One profile with its points, alerts and tests.
#[utoipa::path(
    get, path = "/api/v1/profiles/{id}", tag = "profiles",
    params(("id" = String, Path)),
    responses((status = 200, body = ProfileDetail))
)]
pub(crate) async fn show(
    State(hub): State<Hub>,
    sight: Sight,
    Path(id): Path<String>,
) -> Result<Json<ProfileDetail>, Problem> {
    let set = hub.profiles.load();
    let found = set.profiles.iter().find(|(known, _)| known.as_str() == id);
    let Some((_, profile)) = found else {
        return Err(Problem::not_found("profile", &id));
    };
    let version = set.versions.get(&profile.id);
    let devices = count_devices(&hub.registry.town(), &sight);
    let text = version.map(|version| version.text.clone());
    let now = hub.clock.now();
    let tried = text.as_deref().and_then(|text| example(profile, text, now));
    Ok(Json(ProfileDetail {
        summary: summary(profile, &set, &devices),
        points_in_full: profile.points.iter().map(ProfilePoint::from).collect(),
        commands: profile.commands.iter().map(|spec| ProfileCommand::new(spec, profile)).collect(),
        tests: version.map(|version| version.tests.clone()).unwrap_or_default(),
        refusal: refusal_of(profile, &set).map(Refused::from),
        text: text.filter(|text| text.len() <= MAX_TEXT_BYTES),
        topics: topics(profile),
        example: tried.map(ProfileExample::from),
        register: register(profile),
    }))
}

/// Reads the profile folder anew and answers as the list does. The hub looks by itself every second; this is for those
/// who cannot wait.
#[utoipa::path(post, path = "/api/v1/profiles/reload", tag = "profiles", responses((status = 200, body = Profiles)))]
pub(crate) async fn reload(
    State(hub): State<Hub>,
    Caller(user): Caller,
    sight: Sight,
) -> Result<Json<Profiles>, Problem> {
    hub.blocking(Work::Query, move |hub: &AppState| {
        hub.library.reload();
        let set = hub.profiles.load();
        let detail = json!({ "in_force": set.profiles.len(), "refused": set.refused.len() });
        hub.registry.by(&user).note("profile.reload", "profiles", detail)?;
        Ok(Json(summarize(&set, &hub.registry.town(), &sight)))
    })
    .await
}

fn topics(profile: &Profile) -> Vec<String> {
    match &profile.source {
        Source::Mqtt(mqtt) => mqtt.topic.iter().map(ToString::to_string).collect(),
        Source::Lorawan(lorawan) => lorawan.topics.iter().map(ToString::to_string).collect(),
        Source::Modbus(_) => Vec::new(),
    }
}

/// The register of the point that stands for the device, or of the first that has one.
fn register(profile: &Profile) -> Option<ProfileRegister> {
    let headline = profile.points.get(usize::from(profile.headline.0));
    headline.into_iter().chain(&profile.points).find_map(|point| match &point.read {
        Read::Register(read) => Some(ProfileRegister {
            table: match read.table {
                Table::Coil => "coil",
                Table::Discrete => "discrete",
                Table::Holding => "holding",
                Table::Input => "input",
            },
            address: read.address,
            count: read.kind.words(),
            metric: point.name.to_string(),
        }),
        _ => None,
    })
}

impl From<Example> for ProfileExample {
    fn from(example: Example) -> Self {
        let Example { topic, payload, observed_at } = example;
        let (text, hex) = match String::from_utf8(payload) {
            Ok(text) if !text.contains('\0') => (Some(text), None),
            Ok(text) => (None, Some(hex(text.as_bytes()))),
            Err(error) => (None, Some(hex(error.as_bytes()))),
        };
        ProfileExample { topic, text, hex, observed_at }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn count_devices(town: &Town, sight: &Sight) -> HashMap<ProfileId, usize> {
    let mut devices = HashMap::new();
    for device in town.devices.values().filter(|device| sight.may_see_device(town, device)) {
        *devices.entry(device.profile.clone()).or_default() += 1;
    }
    devices
}

fn summarize(set: &ProfileSet, town: &Town, sight: &Sight) -> Profiles {
    let devices = count_devices(town, sight);
    let profiles = set.profiles.values().map(|profile| summary(profile, set, &devices));
    let refused = set.refused.iter().map(Refused::from);
    Profiles { profiles: profiles.collect(), refused: refused.collect() }
}

fn summary(
    profile: &Arc<Profile>,
    set: &ProfileSet,
    devices: &HashMap<ProfileId, usize>,
) -> ProfileSummary {
    let version = set.versions.get(&profile.id);
    ProfileSummary {
        id: profile.id.clone(),
        name: profile.name.clone(),
        manufacturer: profile.manufacturer.clone(),
        model: profile.model.clone(),
        kind: profile.kind,
        source: match &profile.source {
            Source::Mqtt(_) => "mqtt",
            Source::Modbus(_) => "modbus",
            #[allow(unreachable_patterns, reason = "sources are still being added")]
            _ => "lorawan",
        },
        points: profile.points.len(),
        devices: devices.get(&profile.id).copied().unwrap_or(0),
        state: state(version.map(Arc::as_ref), refusal_of(profile, set).is_some()),
    }
}

fn refusal_of<'a>(profile: &Profile, set: &'a ProfileSet) -> Option<&'a RefusedProfile> {
    set.refused.iter().find(|refused| refused.running.as_ref() == Some(&profile.id))
}

fn state(version: Option<&Version>, is_outdated: bool) -> ProfileState {
    ProfileState {
        file: version.map(|version| version.file.clone()).unwrap_or_default(),
        version: version.map(|version| version.hash.clone()).unwrap_or_default(),
        since: version.map(|version| version.since),
        tests_passed: version.map_or(0, |version| version.tests.len()),
        warnings: version.map(|version| version.warnings.clone()).unwrap_or_default(),
        is_outdated,
        is_removed: version.is_some_and(|version| version.is_removed),
    }
}

impl From<&RefusedProfile> for Refused {
    fn from(refused: &RefusedProfile) -> Self {
        Refused {
            file: refused.file.clone(),
            errors: refused.errors.clone(),
            since: refused.since,
            running: refused.running.clone(),
        }
    }
}

impl ProfileCommand {
    fn new(spec: &CommandSpec, profile: &Profile) -> Self {
        let arg = spec.arg.as_ref().map(|arg| ProfileArg {
            unit: arg.unit.clone(),
            range: [arg.range.0, arg.range.1],
            step: arg.step,
            max_change: arg.max_change,
            from: arg
                .from
                .and_then(|from| profile.points.get(usize::from(from.0)))
                .map(|point| point.name.to_string()),
        });
        ProfileCommand {
            name: spec.name.clone(),
            label: spec.label.clone(),
            emergency: spec.emergency,
            arg,
        }
    }
}

impl From<&Point> for ProfilePoint {
    fn from(point: &Point) -> Self {
        let states = point.states.iter().flatten().map(|state| ProfileStateName {
            code: state.code,
            name: state.name.clone(),
            label: state.label.clone(),
        });
        ProfilePoint {
            name: point.name.to_string(),
            label: point.label.clone(),
            unit: point.unit.clone(),
            range: point.range.map(|(low, high)| [low, high]),
            states: states.collect(),
            alerts: point.alerts.iter().map(|alert| ProfileAlert::from(&**alert)).collect(),
        }
    }
}

impl From<&AlertSpec> for ProfileAlert {
    fn from(alert: &AlertSpec) -> Self {
        let rungs: Vec<ProfileRung> = alert
            .test
            .rungs()
            .iter()
            .map(|rung| ProfileRung {
                severity: rung.severity.as_str(),
                limit: rung.limit,
                clear: rung.clear,
            })
            .collect();
        let (test, window, code) = match &alert.test {
            AlertTest::Limit { of: Signal::Value, side, .. } => (side.as_str(), None, None),
            AlertTest::Limit { of, .. } => (alert.test.kind(), of.window(), None),
            AlertTest::Flat { after, .. } => ("flat", Some(*after), None),
            AlertTest::Equals { code, .. } => ("equals", None, Some(*code)),
            other => (other.kind(), None, None),
        };
        let limit = rungs.first().map(|rung| rung.limit).or(code);
        let clear = rungs.first().map(|rung| rung.clear);
        ProfileAlert {
            name: alert.name.clone(),
            test,
            limit,
            clear,
            rungs,
            window_s: window.map(|window| window.as_secs_f64()),
            for_s: alert.on_delay.as_secs_f64(),
            clear_for_s: alert.off_delay.as_secs_f64(),
            severity: alert.test.severity(0).as_str(),
            text: alert.text.clone(),
        }
    }
}
