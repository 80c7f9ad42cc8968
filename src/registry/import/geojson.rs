//! Reads assets and zones from GeoJSON (RFC 7946).
//!
//! A feature that is wrong is an error of its row; only what makes the document as a whole unreadable refuses
//! it. Features are turned into typed values one by one while the text is read, so a document never stands in
//! memory as a tree.

use std::fmt;

use geo::{Area, Geometry, LineString, MultiPolygon, Polygon};
use geojson::{GeometryValue, PointType};
use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::row::{self, AssetDraft, Head, ZoneDraft, clip, message};
use super::{MAX_DOCUMENT_BYTES, MAX_ROWS};
use crate::model::Label;
use crate::registry::error::RegistryError;

/// The most positions of one geometry.
const MAX_POSITIONS: usize = 20_000;

/// The most bytes of one asset's further properties, as JSON.
const MAX_PROPERTIES_BYTES: usize = 8 * 1024;

/// Reads zones.
pub(super) fn zones(text: &str) -> Result<Vec<ZoneDraft>, RegistryError> {
    Ok(features(text)?.into_iter().zip(1..).map(|(parts, row)| zone(row, parts)).collect())
}

/// Reads assets.
pub(super) fn assets(text: &str) -> Result<Vec<AssetDraft>, RegistryError> {
    Ok(features(text)?.into_iter().zip(1..).map(|(parts, row)| asset(row, parts)).collect())
}

fn zone(row: usize, mut parts: Parts) -> ZoneDraft {
    let id = parts.id();
    let name = parts.name(id.as_deref());
    let geometry = match parts.geometry.take() {
        Some(Geometry::Polygon(polygon)) => Some(MultiPolygon::new(vec![polygon])),
        Some(Geometry::MultiPolygon(polygons)) => Some(polygons),
        Some(_) => {
            parts.errors.push("a zone is a Polygon or a MultiPolygon".to_owned());
            None
        }
        None => None,
    };
    ZoneDraft { head: Head::new(row, id.as_deref(), parts.errors), name, geometry }
}

fn asset(row: usize, mut parts: Parts) -> AssetDraft {
    let id = parts.id();
    let name = parts.name(id.as_deref());
    let kind = parts.text("kind").unwrap_or_default();
    let zone = parts.text("zone").unwrap_or_default();
    let parent = parts.text("parent").unwrap_or_default();
    let mut errors = parts.errors;
    let kind = row::kind(&kind, &mut errors);
    let zone = row::parse_optional(&zone, &mut errors);
    let parent = row::parse_optional(&parent, &mut errors);
    let upstream = match parts.properties.get("upstream") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => row::parse_optional(text, &mut errors),
        Some(_) => {
            errors.push("`upstream` is an asset's id, a text".to_owned());
            None
        }
    };
    let properties = Value::Object(parts.properties);
    let bytes = properties.to_string().len();
    if bytes > MAX_PROPERTIES_BYTES {
        errors.push(format!("its properties have {bytes} bytes, at most {MAX_PROPERTIES_BYTES}"));
    }
    AssetDraft {
        head: Head::new(row, id.as_deref(), errors),
        kind,
        name,
        zone,
        parent,
        upstream,
        geometry: parts.geometry,
        properties: Some(object(properties)),
    }
}

/// A feature taken apart, and what is wrong with it so far.
#[derive(Default)]
struct Parts {
    member_id: Option<Value>,
    properties: Map<String, Value>,
    geometry: Option<Geometry<f64>>,
    errors: Vec<String>,
}

impl Parts {
    fn of(feature: Value) -> Self {
        let mut parts = Parts::default();
        let mut members = object(feature);
        if members.get("type").and_then(Value::as_str) != Some("Feature") {
            parts.errors.push("it is no Feature: its `type` must be `Feature`".to_owned());
        }
        parts.member_id = members.remove("id");
        parts.properties = members.remove("properties").map(object).unwrap_or_default();
        let geometry = match members.remove("geometry") {
            None | Some(Value::Null) => Err(vec!["it has no geometry".to_owned()]),
            Some(geometry) => geojson::Geometry::deserialize(geometry)
                .map_err(|error| vec![format!("its geometry cannot be read: {}", message(&error))])
                .and_then(|geometry| shape(&geometry.value)),
        };
        match geometry {
            Ok(geometry) => parts.geometry = Some(geometry),
            Err(errors) => parts.errors.extend(errors),
        }
        parts
    }

    /// The property `id`, else the feature's own `id`.
    fn id(&mut self) -> Option<String> {
        let member = self.member_id.take();
        self.text("id").or_else(|| text(member.as_ref(), "id", &mut self.errors))
    }

    /// `name` (one text, or `{"zh", "en"}`), or `name_zh` and `name_en`, which go first.
    fn name(&mut self, id: Option<&str>) -> Label {
        let [mut zh, mut en] = match self.properties.remove("name") {
            Some(Value::Object(both)) => {
                ["zh", "en"].map(|key| text(both.get(key), key, &mut self.errors))
            }
            one => {
                let one = text(one.as_ref(), "name", &mut self.errors);
                [one.clone(), one]
            }
        };
        zh = self.text("name_zh").or(zh);
        en = self.text("name_en").or(en);
        row::name(&zh.unwrap_or_default(), &en.unwrap_or_default(), id, &mut self.errors)
    }

    /// Takes a property that must be a text if it is there; empty and null are as not there.
    fn text(&mut self, key: &str) -> Option<String> {
        let value = self.properties.remove(key);
        text(value.as_ref(), key, &mut self.errors)
    }
}

/// The members of an object; none of anything else.
fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

fn text(value: Option<&Value>, key: &str, errors: &mut Vec<String>) -> Option<String> {
    match value? {
        Value::Null => None,
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        other => {
            let shown = clip(&other.to_string());
            errors.push(format!("`{key}` must be a text, not {shown}; write it in quotes"));
            None
        }
    }
}

/// The geometry of a GeoJSON value, checked: its form, and that every position is on the globe.
///
/// # Errors
/// Everything that is wrong with it; of wrong positions only the first.
pub(in crate::registry) fn shape(value: &GeometryValue) -> Result<Geometry<f64>, Vec<String>> {
    match value {
        GeometryValue::Point { coordinates } => {
            let [point] = positions(std::slice::from_ref(coordinates))?[..] else {
                return Err(vec!["a Point has one position".to_owned()]);
            };
            Ok(Geometry::Point(point.into()))
        }
        GeometryValue::LineString { coordinates } => line(coordinates).map(Geometry::LineString),
        GeometryValue::Polygon { coordinates } => polygon(coordinates).map(Geometry::Polygon),
        GeometryValue::MultiPolygon { coordinates } => {
            let polygons: Vec<_> =
                coordinates.iter().map(|p| polygon(p)).collect::<Result<_, _>>()?;
            if polygons.is_empty() {
                return Err(vec!["the MultiPolygon is empty".to_owned()]);
            }
            Ok(Geometry::MultiPolygon(MultiPolygon::new(polygons)))
        }
        other => Err(vec![format!(
            "a {} cannot be used; use Point, LineString, Polygon or MultiPolygon",
            other.type_name()
        )]),
    }
}

fn line(coordinates: &[PointType]) -> Result<LineString<f64>, Vec<String>> {
    let line = LineString::new(positions(coordinates)?);
    match line.0.first() {
        Some(first) if line.0.iter().any(|position| position != first) => Ok(line),
        _ => Err(vec!["a LineString has two different positions at least".to_owned()]),
    }
}

fn polygon(rings: &[Vec<PointType>]) -> Result<Polygon<f64>, Vec<String>> {
    let mut errors = Vec::new();
    let mut checked = Vec::new();
    for (at, ring) in rings.iter().enumerate() {
        let which = if at == 0 { "outline".to_owned() } else { format!("hole {at}") };
        if ring.len() < 4 || ring.first() != ring.last() {
            errors.push(format!(
                "the {which} is no ring: it needs four positions at least, the last equal to the first"
            ));
        }
        match positions(ring) {
            Ok(ring) => checked.push(LineString::new(ring)),
            Err(more) => errors.extend(more),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let mut rings = checked.into_iter();
    let outline = rings.next().unwrap_or(LineString::new(Vec::new()));
    let polygon = Polygon::new(outline, rings.collect());
    if polygon.unsigned_area() > 0.0 {
        Ok(polygon)
    } else {
        Err(vec!["the outline encloses no area".to_owned()])
    }
}

fn positions(coordinates: &[PointType]) -> Result<Vec<geo::Coord<f64>>, Vec<String>> {
    let found = coordinates.len();
    if found > MAX_POSITIONS {
        return Err(vec![format!(
            "it has {found} positions, at most {MAX_POSITIONS}; simplify it"
        )]);
    }
    coordinates.iter().map(|position| one_position(position).map_err(|error| vec![error])).collect()
}

fn one_position(position: &PointType) -> Result<geo::Coord<f64>, String> {
    // RFC 7946, section 3.1.1: longitude, latitude, and optionally an altitude.
    let (2 | 3, [lon, lat, ..]) = (position.len(), position.as_slice()) else {
        let found = position.len();
        return Err(format!("a position is [longitude, latitude], this one has {found} numbers"));
    };
    row::position(*lon, *lat).map(|position| geo::coord! { x: position.lon(), y: position.lat() })
}

/// Reads the features of a FeatureCollection; a feature that is none is an error in its place.
fn features(text: &str) -> Result<Vec<Parts>, RegistryError> {
    let refuse = |why: String| Err(RegistryError::Document(why));
    // A byte order mark is no JSON (RFC 8259, section 8.1), but some editors write one.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.len() > MAX_DOCUMENT_BYTES {
        return refuse(format!("the document has over {MAX_DOCUMENT_BYTES} bytes; split it"));
    }
    let document: Document = match serde_json::from_str(text) {
        Ok(document) => document,
        Err(error) => return refuse(format!("the document is no GeoJSON: {}", message(&error))),
    };
    match document.r#type.as_deref() {
        Some("FeatureCollection") => {}
        Some("Feature") => {
            return refuse(
                "a single Feature; write {\"type\":\"FeatureCollection\",\"features\":[...]} around it".to_owned(),
            );
        }
        other => {
            let found = other.map_or("nothing".to_owned(), |found| format!("`{}`", clip(found)));
            return refuse(format!(
                "the document's type must be `FeatureCollection`, found {found}"
            ));
        }
    }
    if let Some(crs) = &document.crs {
        check_crs(crs).map_err(RegistryError::Document)?;
    }
    match document.features {
        Some(Features(features)) => Ok(features),
        None => refuse("the FeatureCollection has no `features`".to_owned()),
    }
}

/// Refuses coordinates of another reference system. RFC 7946 has WGS 84 only; older files (GeoJSON 2008) name
/// theirs in `crs`. CGCS2000, China's own, is the same to a centimetre.
fn check_crs(crs: &Value) -> Result<(), String> {
    let name = crs.pointer("/properties/name").and_then(Value::as_str);
    let code = name.and_then(|name| name.rsplit(':').next()).unwrap_or_default();
    let same = ["CRS84", "4326", "4490"];
    if same.contains(&code) {
        return Ok(());
    }
    let found = name.map_or_else(|| clip(&crs.to_string()), clip);
    Err(format!(
        "its crs is `{found}`; coordinates must be WGS 84 or CGCS2000 longitude and latitude \
         (CRS84, EPSG:4326, EPSG:4490): reproject it, for example with ogr2ogr -t_srs EPSG:4326"
    ))
}

/// The members of a FeatureCollection that are looked at.
#[derive(serde::Deserialize)]
struct Document {
    r#type: Option<String>,
    crs: Option<Value>,
    features: Option<Features>,
}

struct Features(Vec<Parts>);

impl<'de> Deserialize<'de> for Features {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(FeaturesVisitor).map(Features)
    }
}

struct FeaturesVisitor;

impl<'de> Visitor<'de> for FeaturesVisitor {
    type Value = Vec<Parts>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of features")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut features = Vec::new();
        while features.len() < MAX_ROWS {
            let Some(value) = seq.next_element::<Value>()? else { return Ok(features) };
            features.push(Parts::of(value));
        }
        match seq.next_element::<IgnoredAny>()? {
            None => Ok(features),
            Some(_) => {
                let why = format!("more than {MAX_ROWS} features; split the document");
                Err(serde::de::Error::custom(why))
            }
        }
    }
}
