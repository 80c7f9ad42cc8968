//! Devices: what they are, what they last said, and how new ones are made.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::Caller;
use super::enrolments::{self, WaitingBody};
use super::error::{Code, Problem};
use super::extract::{JsonBody, Params, limit, parse};
use super::modbus::{self, BusUnit};
use super::points::{PointBody, finite, point};
use super::sight::Sight;
use super::state::{AppState, Hub, Work};
use super::wire;
use crate::command::Command;
use crate::live::Freshness;
use crate::model::{AssetId, AssetKind, DeviceId, Label, ProfileId, Sample, SeriesId, Timestamp};
use crate::pipeline::{Station, Undecoded};
use crate::profile::Staleness;
use crate::registry::{Device, DeviceAddress, ModbusAddress, User};

const DEFAULT_LIMIT: usize = 1000;

/// A device, without its points.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeviceSummary {
    #[schema(value_type = String)]
    id: DeviceId,
    #[schema(value_type = wire::Label)]
    name: Label,
    #[schema(value_type = String)]
    profile: ProfileId,
    /// The asset that it observes.
    #[schema(value_type = Option<String>, required)]
    asset: Option<AssetId>,
    /// What its profile is made for; null while there is no such profile in force.
    #[schema(value_type = Option<wire::AssetKind>, required)]
    kind: Option<AssetKind>,
    /// Whether it has an MQTT session, or answers on its bus.
    connected: bool,
    #[schema(value_type = Option<String>, format = DateTime, required)]
    last_heard: Option<Timestamp>,
    #[schema(value_type = wire::Freshness)]
    freshness: Freshness,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<wire::ModbusAddress>)]
    modbus: Option<ModbusAddress>,
    /// The device that may publish for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    gateway: Option<DeviceId>,
    /// What its gateway calls it, when that is not its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    address: Option<DeviceAddress>,
    /// Its battery, when it has a point of that name that was heard.
    #[serde(skip_serializing_if = "Option::is_none")]
    battery: Option<Battery>,
    /// How many payloads are kept that its profile could not decode.
    undecoded_total: usize,
}

/// What a device said of its battery last.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Battery {
    value: f64,
    /// UCUM unit.
    unit: String,
}

/// A device with all that it last said.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Device)]
pub(crate) struct DeviceBody {
    #[serde(flatten)]
    summary: DeviceSummary,
    points: Vec<PointBody>,
    /// What its bus knows of it; null for a device that is not polled.
    #[schema(required)]
    bus: Option<BusUnit>,
    /// The last payloads that its profile could not decode, newest first.
    undecoded: Vec<UndecodedBody>,
    /// The names of what it may be told.
    commands: Vec<String>,
    /// The command that has not ended; null when there is none.
    #[schema(value_type = Option<wire::Command>, required)]
    command: Option<Command>,
}

/// A payload that a profile could not decode.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = Undecoded)]
pub(crate) struct UndecodedBody {
    #[schema(value_type = String, format = DateTime)]
    received_at: Timestamp,
    topic: String,
    /// Why, as a word.
    reason: &'static str,
    /// Why, in words.
    message: String,
    /// Its first bytes: text, or `hex:` and hexadecimal digits.
    payload: String,
    /// Its whole length in bytes.
    size: usize,
}

/// Which devices to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListParams {
    /// Only of this profile.
    profile: Option<String>,
    /// Only those with this in their id or name.
    q: Option<String>,
    /// `active` (the default): devices that are listed. `waiting`: those that registered themselves and wait for approval.
    state: Option<String>,
    /// At most this many (1 to 10 000, else 1 000).
    limit: Option<usize>,
}

/// Devices by id.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Devices {
    devices: Vec<DeviceSummary>,
    /// With `state=waiting`: the devices that wait for approval.
    waiting: Vec<WaitingBody>,
    /// How many wait for approval.
    waiting_total: usize,
}

/// A device to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewDevice {
    #[schema(value_type = String)]
    id: DeviceId,
    #[schema(value_type = String)]
    profile: ProfileId,
    #[schema(value_type = Option<String>)]
    asset: Option<AssetId>,
    /// Both languages, or one text for both.
    #[schema(value_type = Option<wire::Label>)]
    name: Option<Label>,
    modbus: Option<NewModbusAddress>,
    /// The device that may publish for it.
    #[schema(value_type = Option<String>)]
    gateway: Option<DeviceId>,
    /// What its gateway calls it: a DevEUI, a Sparkplug device id, a SenML base name; its id when left out.
    #[schema(value_type = Option<String>)]
    address: Option<DeviceAddress>,
}

/// Where a Modbus device is reached.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewModbusAddress {
    /// `host:port`, `rtu+tcp://host:port` or `rtu:///dev/ttyUSB0?baud=9600&parity=even&stop=1`.
    endpoint: String,
    unit: u8,
}

/// A device that was just made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CreatedDevice {
    device: DeviceSummary,
    /// Its MQTT password: shown once, stored hashed. Null for a device that is polled.
    #[schema(required)]
    secret: Option<String>,
}

/// Lists devices by id.
#[utoipa::path(get, path = "/api/v1/devices", tag = "devices", params(ListParams), responses((status = 200, body = Devices)))]
pub(crate) async fn list(
    State(hub): State<Hub>,
    sight: Sight,
    Params(params): Params<ListParams>,
) -> Result<Json<Devices>, Problem> {
    let wanted = limit(params.limit, DEFAULT_LIMIT)?;
    let profile: Option<ProfileId> = parse("profile", params.profile.as_deref())?;
    let is_waiting = match params.state.as_deref() {
        None | Some("active") => false,
        Some("waiting") => true,
        Some(other) => {
            let why = format!("`{other}` is neither active nor waiting");
            return Err(Problem::bad_query("state", why));
        }
    };
    let find = params.q.unwrap_or_default().to_lowercase();
    let devices = hub.blocking(Work::Query, move |hub| {
        let mut waiting = enrolments::waiting(hub, &sight);
        let waiting_total = waiting.len();
        if is_waiting {
            waiting.retain(|device| device.is_meant(profile.as_ref(), &find));
            waiting.truncate(wanted);
            return Ok(Devices { devices: Vec::new(), waiting, waiting_total });
        }
        let town = hub.registry.town();
        let mut found: Vec<_> = town
            .devices
            .values()
            .filter(|device| sight.may_see_device(&town, device))
            .filter(|device| profile.as_ref().is_none_or(|profile| device.profile == *profile))
            .filter(|device| is_named(&find, device.id.as_str(), &device.name))
            .collect();
        found.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        found.truncate(wanted);
        let stations = hub.present.stations();
        let station = |device: &Device| stations.get(device.id.as_str()).map(AsRef::as_ref);
        let devices = found.into_iter().map(|device| summarize(hub, device, station(device)));
        Ok(Devices { devices: devices.collect(), waiting: Vec::new(), waiting_total })
    });
    Ok(Json(devices.await?))
}

/// A device with all that it last said.
#[utoipa::path(get, path = "/api/v1/devices/{id}", tag = "devices", params(("id" = String, Path)), responses((status = 200, body = DeviceBody)))]
pub(crate) async fn show(
    State(hub): State<Hub>,
    sight: Sight,
    Path(id): Path<String>,
) -> Result<Json<DeviceBody>, Problem> {
    let town = hub.registry.town();
    let device = sight.device(&town, &id)?;
    Ok(Json(describe(&hub, device)))
}

/// Makes a device. Its secret is in the answer and never shown again.
#[utoipa::path(post, path = "/api/v1/devices", tag = "devices", request_body = NewDevice, responses((status = 201, body = CreatedDevice)))]
pub(crate) async fn create(
    State(hub): State<Hub>,
    Caller(user): Caller,
    // The registry refuses what is out of it.
    _: Sight,
    JsonBody(new): JsonBody<NewDevice>,
) -> Result<(StatusCode, Json<CreatedDevice>), Problem> {
    let created = hub.blocking(Work::Import, move |hub| make(hub, &user, new)).await?;
    hub.present.caught_up(hub.registry.town().version).await;
    Ok((StatusCode::CREATED, Json(created)))
}

fn make(hub: &AppState, user: &User, new: NewDevice) -> Result<CreatedDevice, Problem> {
    if hub.registry.town().devices.contains_key(&new.id) {
        let detail = format!("there is a device `{}` already", new.id);
        return Err(Problem::new(StatusCode::CONFLICT, Code::AlreadyExists, detail));
    }
    enrolments::check_profile(hub, &new.profile)?;
    let device = Device::from(new);
    let secret = hub.registry.by(user).put_device(device.clone(), None)?;
    Ok(CreatedDevice { device: summarize(hub, &device, None), secret })
}

impl From<NewDevice> for Device {
    fn from(new: NewDevice) -> Self {
        Device {
            name: new.name.unwrap_or_else(|| Label::same(new.id.as_str())),
            id: new.id,
            profile: new.profile,
            asset: new.asset,
            modbus: new.modbus.map(|at| ModbusAddress { endpoint: at.endpoint, unit: at.unit }),
            gateway: new.gateway,
            address: new.address,
        }
    }
}

/// Whether a thing has `find` (in lower case) in its id or one of its names.
pub(crate) fn is_named(find: &str, id: &str, name: &Label) -> bool {
    find.is_empty()
        || [id, &name.zh, &name.en].iter().any(|text| text.to_lowercase().contains(find))
}

/// The age of what a device last said.
pub(crate) fn freshness_of(
    last_heard: Option<Timestamp>,
    staleness: &Staleness,
    now: Timestamp,
) -> Freshness {
    match last_heard.map(|heard| now.since(heard)) {
        None => Freshness::Never,
        Some(age) if age > staleness.dead_after => Freshness::Dead,
        Some(age) if age > staleness.stale_after => Freshness::Stale,
        Some(_) => Freshness::Fresh,
    }
}

pub(crate) fn summarize(
    hub: &AppState,
    device: &Device,
    station: Option<&Station>,
) -> DeviceSummary {
    let now = hub.clock.now();
    let last_heard = station.and_then(Station::last_heard);
    DeviceSummary {
        id: device.id.clone(),
        name: device.name.clone(),
        profile: device.profile.clone(),
        asset: device.asset.clone(),
        kind: station.map(|station| station.profile.kind),
        connected: station.is_some_and(Station::is_connected),
        last_heard,
        freshness: station.map_or(Freshness::Never, |station| {
            freshness_of(last_heard, &station.profile.staleness, now)
        }),
        modbus: device.modbus.clone(),
        gateway: device.gateway.clone(),
        address: device.address.clone(),
        battery: station.and_then(|station| battery(hub, station)),
        undecoded_total: station.map_or(0, Station::undecoded_count),
    }
}

fn battery(hub: &AppState, station: &Station) -> Option<Battery> {
    let (index, point) = station.profile.point("battery")?;
    let series = station.series.get(usize::from(index.0))?;
    let value = hub.present.latest(*series).and_then(finite)?;
    Some(Battery { value, unit: point.unit.clone() })
}

/// A device with all that it last said. A device without a profile in force has no points.
pub(crate) fn describe(hub: &AppState, device: &Device) -> DeviceBody {
    let station = hub.present.station(&device.id);
    let latest = |series: SeriesId| -> Option<Sample> { hub.present.latest(series) };
    let points = station.as_deref().map_or_else(Vec::new, |station| {
        let series = station.series.iter().copied();
        station.profile.points.iter().zip(series).map(|(p, id)| point(p, latest(id))).collect()
    });
    let undecoded = station.as_deref().map_or_else(Vec::new, Station::undecoded);
    DeviceBody {
        summary: summarize(hub, device, station.as_deref()),
        points,
        bus: modbus::unit_of(hub, &device.id),
        undecoded: undecoded.into_iter().map(UndecodedBody::from).collect(),
        commands: station.as_deref().map_or_else(Vec::new, |station| {
            station.profile.commands.iter().map(|command| command.name.clone()).collect()
        }),
        command: hub.commands.running(&device.id),
    }
}

impl From<Undecoded> for UndecodedBody {
    fn from(undecoded: Undecoded) -> Self {
        UndecodedBody {
            received_at: undecoded.received_at,
            topic: undecoded.topic,
            reason: undecoded.reason,
            message: undecoded.message,
            payload: readable(&undecoded.payload),
            size: undecoded.size,
        }
    }
}

/// Text as text, all else in hexadecimal. What was kept may end in the middle of a character.
pub(crate) fn readable(payload: &[u8]) -> String {
    let text = match std::str::from_utf8(payload) {
        Ok(text) => Some(text),
        Err(cut) if cut.error_len().is_none() => {
            std::str::from_utf8(&payload[..cut.valid_up_to()]).ok()
        }
        Err(_) => None,
    };
    let is_plain =
        |text: &&str| !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'));
    match text.filter(is_plain) {
        Some(text) => text.to_owned(),
        None => {
            let digits = payload.iter().map(|byte| format!("{byte:02x}"));
            std::iter::once("hex:".to_owned()).chain(digits).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::Severity;

    #[test]
    fn age_is_judged_against_the_profile() {
        let staleness = Staleness {
            expect_every: None,
            stale_after: Duration::from_secs(60),
            dead_after: Duration::from_secs(180),
            severity: Severity::Minor,
        };
        let now = Timestamp::from_secs(1000);
        let check = |ago: u64, expected| {
            let heard = now.minus(Duration::from_secs(ago));
            assert_eq!(freshness_of(Some(heard), &staleness, now), expected);
        };
        check(60, Freshness::Fresh);
        check(61, Freshness::Stale);
        check(181, Freshness::Dead);
        assert_eq!(freshness_of(None, &staleness, now), Freshness::Never);
    }

    #[test]
    fn a_payload_is_shown_as_text_where_it_is_text() {
        assert_eq!(readable(b"{\"level\": 1}"), "{\"level\": 1}");
        assert_eq!(readable(&"井盖".as_bytes()[..5]), "井");
        assert_eq!(readable(&[0x00, 0xff, 0x10]), "hex:00ff10");
        assert_eq!(readable(b"a\x1bb"), "hex:611b62");
    }
}
