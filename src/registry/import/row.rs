//! One row of an import as it was read, and the checks of single values that both formats share.
//!
//! Every check takes the row's list of errors and adds to it, so that a report names all that is wrong with a
//! row and not only what was found first. Values from the document are clipped before they are repeated.

use std::fmt::Display;
use std::str::FromStr;

use geo::Geometry;

use crate::model::{AssetId, AssetKind, DeviceId, Endpoint, Label, Position, ProfileId, ZoneId};
use crate::registry::things::{Device, DeviceAddress, ModbusAddress};

/// The longest name of a thing in characters.
const MAX_NAME_CHARS: usize = 200;

/// How many characters of a wrong value an error repeats.
const SHOWN_CHARS: usize = 40;

/// How many characters of an id a report repeats: every valid id whole.
const SHOWN_ID_CHARS: usize = 64;

/// How many characters of a parser's message an error repeats; some messages quote the document.
const SHOWN_MESSAGE_CHARS: usize = 200;

/// The shortest device secret that somebody may choose, in characters: a registry answers anybody who can
/// reach the MQTT port, so a secret must not be guessable.
pub(in crate::registry) const MIN_SECRET_CHARS: usize = 16;

/// The longest device secret in bytes.
const MAX_SECRET_BYTES: usize = 128;

/// What a row of zones says.
#[derive(Debug)]
pub(super) struct ZoneDraft {
    pub(super) head: Head<ZoneId>,
    pub(super) name: Label,
    pub(super) geometry: Option<geo::MultiPolygon<f64>>,
}

/// What a row of assets says.
#[derive(Debug)]
pub(super) struct AssetDraft {
    pub(super) head: Head<AssetId>,
    pub(super) kind: Option<AssetKind>,
    pub(super) name: Label,
    pub(super) zone: Option<ZoneId>,
    pub(super) parent: Option<AssetId>,
    /// Kept among the properties: see [`Asset::upstream`](crate::registry::Asset::upstream).
    pub(super) upstream: Option<AssetId>,
    pub(super) geometry: Option<Geometry<f64>>,
    /// `None` from a CSV, which cannot say: known properties are kept.
    pub(super) properties: Option<serde_json::Map<String, serde_json::Value>>,
}

/// What a row of devices says.
#[derive(Debug)]
pub(super) struct DeviceDraft {
    pub(super) head: Head<DeviceId>,
    pub(super) profile: Option<ProfileId>,
    pub(super) name: Label,
    pub(super) asset: Option<AssetId>,
    pub(super) modbus: Option<ModbusAddress>,
    pub(super) gateway: Option<DeviceId>,
    pub(super) address: Option<DeviceAddress>,
    pub(super) secret: Option<String>,
}

/// What every row has.
#[derive(Debug)]
pub(super) struct Head<Id> {
    /// Counts from 1.
    pub(super) row: usize,
    /// The id's text, for the report; also when it is no valid id.
    pub(super) text: Option<String>,
    /// The id, when it is valid.
    pub(super) id: Option<Id>,
    /// What is wrong with the row.
    pub(super) errors: Vec<String>,
}

impl<Id: FromStr<Err: Display>> Head<Id> {
    /// A row with this id; an empty one is an error.
    pub(super) fn new(row: usize, id: Option<&str>, mut errors: Vec<String>) -> Self {
        let parsed = parse(id.unwrap_or_default(), &mut errors);
        Head { row, text: id.map(|id| shorten(id, SHOWN_ID_CHARS)), id: parsed, errors }
    }
}

impl DeviceDraft {
    /// A single device as if it were the one row of an import.
    pub(super) fn from_device(device: Device, secret: Option<&str>) -> Self {
        let mut errors = Vec::new();
        for name in [&device.name.zh, &device.name.en] {
            check_name(name, &mut errors);
        }
        if let Some(modbus) = &device.modbus {
            check_endpoint(&modbus.endpoint, Some(modbus.unit), &mut errors);
            check_unit(modbus.unit, &mut errors);
        }
        let secret = secret.and_then(|secret| check_secret(secret, &mut errors));
        let head = Head::new(1, Some(device.id.as_str()), errors);
        let Device { name, profile, asset, modbus, gateway, address, .. } = device;
        DeviceDraft { head, profile: Some(profile), name, asset, modbus, gateway, address, secret }
    }
}

/// Parses a value that must be there.
pub(super) fn parse<T: FromStr<Err: Display>>(text: &str, errors: &mut Vec<String>) -> Option<T> {
    text.parse().map_err(|error: T::Err| errors.push(error.to_string())).ok()
}

/// Parses a value that may be empty.
pub(super) fn parse_optional<T: FromStr<Err: Display>>(
    text: &str,
    errors: &mut Vec<String>,
) -> Option<T> {
    if text.is_empty() { None } else { parse(text, errors) }
}

/// Parses the kind of an asset.
pub(super) fn kind(text: &str, errors: &mut Vec<String>) -> Option<AssetKind> {
    let kinds = AssetKind::ALL.map(AssetKind::as_str);
    if text.is_empty() {
        errors.push(format!("`kind` is missing; kinds are {}", kinds.join(", ")));
        return None;
    }
    let known = text.parse().ok();
    if known.is_none() {
        let hint = hint(text, kinds).unwrap_or_else(|| format!("kinds are {}", kinds.join(", ")));
        errors.push(format!("unknown kind `{}`; {hint}", clip(text)));
    }
    known
}

/// The name in both languages: one given serves both, none given is the id.
pub(super) fn name(zh: &str, en: &str, id: Option<&str>, errors: &mut Vec<String>) -> Label {
    for text in [zh, en] {
        check_name(text, errors);
    }
    match (zh, en) {
        ("", "") => Label::same(id.unwrap_or_default()),
        ("", one) | (one, "") => Label::same(one),
        _ => Label::new(zh, en),
    }
}

fn check_name(text: &str, errors: &mut Vec<String>) {
    let chars = text.chars().count();
    if chars > MAX_NAME_CHARS {
        errors
            .push(format!("a name has at most {MAX_NAME_CHARS} characters, this one has {chars}"));
    }
    if text.contains(char::is_control) {
        errors.push("a name is one line without control characters".to_owned());
    }
}

/// Checks a pair of coordinates.
pub(super) fn position(lon: f64, lat: f64) -> Result<Position, String> {
    Position::new(lon, lat).map_err(|error| {
        let hint = if Position::new(lat, lon).is_ok() {
            "; longitude and latitude look swapped: longitude (lon, x) comes first"
        } else if lon.abs() > 1000.0 || lat.abs() > 1000.0 {
            "; this looks like metres of a projection: reproject to WGS 84 degrees (EPSG:4326)"
        } else {
            ""
        };
        format!("{error}{hint}")
    })
}

/// Checks where a bus is reached and whether the unit can be there.
pub(super) fn check_endpoint(endpoint: &str, unit: Option<u8>, errors: &mut Vec<String>) {
    match endpoint.parse::<Endpoint>() {
        Err(error) => errors.push(format!("modbus_endpoint: {error}")),
        Ok(endpoint) => {
            let is_serial = endpoint.line().is_some();
            if let Some(unit) = unit.filter(|&unit| is_serial && !endpoint.takes_unit(unit)) {
                errors.push(format!("modbus_unit {unit} cannot be on a serial line; use 1 to 247"));
            }
        }
    }
}

/// Checks a Modbus unit number.
pub(super) fn check_unit(unit: u8, errors: &mut Vec<String>) {
    if (248..=254).contains(&unit) {
        errors.push(format!(
            "modbus_unit {unit} is reserved by the Modbus standard; use 1 to 247, or 255 or 0 for the TCP server itself"
        ));
    }
}

/// Parses a Modbus unit number.
pub(super) fn unit(text: &str, errors: &mut Vec<String>) -> Option<u8> {
    match text.parse() {
        Ok(unit) => {
            check_unit(unit, errors);
            Some(unit)
        }
        Err(_) => {
            errors.push(format!("modbus_unit `{}` is no number from 0 to 247, or 255", clip(text)));
            None
        }
    }
}

/// Checks a secret that somebody chose. An error does not repeat it.
pub(super) fn check_secret(secret: &str, errors: &mut Vec<String>) -> Option<String> {
    let chars = secret.chars().count();
    if chars < MIN_SECRET_CHARS {
        errors.push(format!(
            "the secret has {chars} characters, at least {MIN_SECRET_CHARS} are needed; leave it empty to have one made"
        ));
        return None;
    }
    if secret.len() > MAX_SECRET_BYTES || secret.contains(char::is_control) {
        errors.push(format!(
            "the secret must have at most {MAX_SECRET_BYTES} bytes and no control characters"
        ));
        return None;
    }
    Some(secret.to_owned())
}

/// The beginning of a value from the document, safe to repeat in an error.
pub(super) fn clip(text: &str) -> String {
    shorten(text, SHOWN_CHARS)
}

/// A parser's message, safe to repeat in an error.
pub(super) fn message(error: &impl Display) -> String {
    shorten(&error.to_string(), SHOWN_MESSAGE_CHARS)
}

fn shorten(text: &str, chars: usize) -> String {
    let mut shown: String = text.chars().take(chars).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// "did you mean ..." when one of `names` is nearly `text`.
pub(super) fn hint<'a>(text: &str, names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let plain = |text: &str| text.to_lowercase().replace([' ', '_'], "-");
    let text = plain(&text.chars().take(SHOWN_CHARS).collect::<String>());
    let (edits, name) = names
        .into_iter()
        .map(|name| (edits(&text, &plain(name)), name))
        .min_by_key(|&(edits, _)| edits)?;
    (edits <= 2 && edits < name.len()).then(|| format!("did you mean `{name}`?"))
}

/// How many characters must be inserted, removed or replaced to make `b` of `a` (Levenshtein).
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut corner = i;
        last[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = corner + usize::from(from != *to);
            corner = last[j + 1];
            last[j + 1] = replaced.min(last[j] + 1).min(corner + 1);
        }
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(check: impl FnOnce(&mut Vec<String>)) -> usize {
        let mut errors = Vec::new();
        check(&mut errors);
        errors.len()
    }

    #[test]
    fn an_endpoint_is_host_and_port() {
        for good in ["10.0.3.7:502", "[fd00::7]:502", "rtu+tcp://h:1", "rtu:///dev/ttyS0?baud=9600"]
        {
            assert_eq!(errors(|e| check_endpoint(good, Some(1), e)), 0, "{good}");
        }
        for bad in [
            "",
            "10.0.3.7",
            ":502",
            "h:0",
            "h:65536",
            "fd00::7:502",
            "a b:1",
            "[x]:502",
            "rtu://ttyS0",
        ] {
            assert_eq!(errors(|e| check_endpoint(bad, None, e)), 1, "{bad}");
        }
    }

    #[test]
    fn a_unit_is_none_of_the_reserved_numbers() {
        for good in ["0", "1", "247", "255"] {
            assert_eq!(errors(|e| _ = unit(good, e)), 0, "{good}");
        }
        for bad in ["248", "254", "256", "-1", "", "one"] {
            assert_eq!(errors(|e| _ = unit(bad, e)), 1, "{bad}");
        }
    }

    #[test]
    fn coordinates_that_look_swapped_or_projected_are_told() {
        assert!(position(120.4851, 30.74536).is_ok());
        assert!(position(30.74536, 120.4851).unwrap_err().contains("swapped"));
        assert!(position(40_544_321.1, 3_402_000.0).unwrap_err().contains("metres"));
        assert!(position(f64::NAN, 1.0).is_err());
        assert!(position(1.0, f64::INFINITY).is_err());
    }

    #[test]
    fn a_near_miss_is_named_and_a_far_one_is_not() {
        assert_eq!(hint("nmae_zh", ["name_zh", "id"]).unwrap(), "did you mean `name_zh`?");
        assert_eq!(hint("Parking_Bay", ["parking-bay"]).unwrap(), "did you mean `parking-bay`?");
        assert_eq!(hint("colour", ["name_zh", "id"]), None);
        assert_eq!(hint("xy", ["id"]), None);
        assert_eq!((edits("", "abc"), edits("kitten", "sitting"), edits("a", "a")), (3, 3, 0));
    }

    #[test]
    fn a_wrong_value_is_repeated_clipped_and_a_secret_never() {
        assert_eq!(clip(&"水".repeat(50)).chars().count(), SHOWN_CHARS + 1);
        let mut told = Vec::new();
        assert_eq!(check_secret("hunter2", &mut told), None);
        assert!(told.len() == 1 && !told[0].contains("hunter2"), "{told:?}");
        assert!(check_secret(&"k".repeat(MIN_SECRET_CHARS), &mut told).is_some());
    }
}
