//! The profile format as a JSON Schema, for editors: made of the structs that the parser reads ([`raw`](super::raw)),
//! so that the two cannot drift apart.
//!
//! A new key comes into the schema by itself, with its doc comment as the description. What a type cannot say is added
//! here by the name of struct and key ([`WORDS`], [`DURATIONS`]): the allowed words, from the arrays that `compile`
//! chooses from, and the form of ids and durations.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::binary::{Endian, FieldType};
use super::cayenne::LppType;
use super::raw::RawProfile;
use super::sparkplug::DataType;
use super::{Encoding, EnvelopeKind, NumberType, PayloadFormat, Table, TimeFormat, WordOrder};
use crate::model::{AssetKind, Severity};

/// The file beside the profiles that `#:schema` names.
pub const SCHEMA_FILE: &str = "device-profile.schema.json";

/// The allowed words of a key.
type Words = fn() -> Vec<&'static str>;

/// Keys that take one of some words: struct, key, the words.
const WORDS: &[(&str, &str, Words)] = &[
    ("RawProfile", "kind", || AssetKind::ALL.map(AssetKind::as_str).to_vec()),
    ("RawStaleness", "severity", severities),
    ("RawAlert", "severity", severities),
    ("RawRung", "severity", severities),
    ("RawConditionAlert", "severity", severities),
    ("RawMqtt", "payload", || PayloadFormat::ALL.map(PayloadFormat::as_str).to_vec()),
    ("RawMqtt", "encoding", || Encoding::ALL.map(Encoding::as_str).to_vec()),
    ("RawMqtt", "endian", endians),
    ("RawTime", "endian", endians),
    ("RawTime", "type", || FieldType::ALL.map(FieldType::as_str).to_vec()),
    ("RawRead", "endian", endians),
    ("RawTime", "format", || TimeFormat::ALL.map(TimeFormat::as_str).to_vec()),
    ("RawLorawan", "envelope", || EnvelopeKind::ALL.map(EnvelopeKind::as_str).to_vec()),
    ("RawModbus", "word_order", word_orders),
    ("RawQuality", "as", || vec!["uncertain", "bad"]),
    ("RawRead", "word_order", word_orders),
    ("RawRead", "table", || Table::ALL.map(Table::as_str).to_vec()),
    ("RawRead", "type", types),
];

/// Keys that take a duration: struct, key.
const DURATIONS: &[(&str, &str)] = &[
    ("RawStaleness", "expect_every"),
    ("RawStaleness", "stale_after"),
    ("RawStaleness", "dead_after"),
    ("RawPoint", "flatline"),
    ("RawAlert", "for"),
    ("RawAlert", "clear_for"),
    ("RawAlert", "rise"),
    ("RawAlert", "fall"),
    ("RawAlert", "sum"),
    ("RawAlert", "flat"),
    ("RawAlert", "re_alarm"),
    ("RawFlap", "within"),
    ("RawConditionAlert", "for"),
    ("RawConditionAlert", "clear_for"),
    ("RawConditionAlert", "max_age"),
    ("RawConditionAlert", "re_alarm"),
    ("RawModbus", "timeout"),
    ("RawModbus", "min_request_gap"),
];

/// Other forms of texts: struct, key, regular expression.
const PATTERNS: &[(&str, &str, &str)] =
    &[("RawProfile", "id", "^[A-Za-z0-9._:-]{1,64}$"), ("RawProfile", "headline", METRIC)];

/// Tables with free keys: struct, key, regular expression of the keys.
const NAMES: &[(&str, &str, &str)] = &[
    ("RawProfile", "points", METRIC),
    ("RawPoint", "states", "^-?[0-9]+$"),
    ("RawPoint", "alerts", WORD),
];

/// Keys that must be there: struct, keys.
const REQUIRED: &[(&str, &[&str])] = &[
    ("RawProfile", &["profile", "id", "name", "manufacturer", "model", "kind", "source", "points"]),
    ("RawModbus", &["poll"]),
    ("RawLorawan", &["codec"]),
    ("RawPoint", &["label"]),
    ("RawQuality", &["when", "mark", "as", "why"]),
    ("RawAlert", &["severity", "text"]),
];

const DURATION: &str = "^[0-9]+ *(ms|s|min|h|d)$";
const METRIC: &str = "^[a-z0-9_]{1,64}$";
const WORD: &str = "^[a-z][a-z0-9_-]{0,63}$";

fn severities() -> Vec<&'static str> {
    Severity::ALL.map(Severity::as_str).to_vec()
}

fn endians() -> Vec<&'static str> {
    Endian::ALL.map(Endian::as_str).to_vec()
}

/// The types of registers, of fields of a frame, of Cayenne's channels and of Sparkplug's metrics.
fn types() -> Vec<&'static str> {
    let mut types = NumberType::ALL.map(NumberType::as_str).to_vec();
    types.extend(FieldType::ALL.map(FieldType::as_str));
    types.extend(LppType::names());
    types.extend(DataType::ALL.map(DataType::as_str));
    let mut seen = std::collections::BTreeSet::new();
    types.retain(|name| seen.insert(*name));
    types
}

fn word_orders() -> Vec<&'static str> {
    WordOrder::ALL.map(WordOrder::as_str).to_vec()
}

/// The schema of a profile file, draft 7: what editors of TOML read.
pub fn json_schema() -> Value {
    let generator = SchemaSettings::draft07().into_generator();
    let mut schema = generator.into_root_schema_for::<RawProfile>().to_value();
    without_null(&mut schema);
    for refinement in refinements() {
        refine(&mut schema, &refinement);
    }
    schema["title"] = json!("townhub device profile");
    schema
}

/// Something that a type cannot say of a key.
struct Refinement {
    table: &'static str,
    /// The key; without one the table itself is meant.
    key: Option<&'static str>,
    adds: Value,
}

fn refinements() -> Vec<Refinement> {
    let of = |table, key, adds| Refinement { table, key: Some(key), adds };
    let words = WORDS.iter().map(|(table, key, words)| of(table, key, json!({ "enum": words() })));
    let durations =
        DURATIONS.iter().map(|(table, key)| of(table, key, json!({ "pattern": DURATION })));
    let patterns =
        PATTERNS.iter().map(|(table, key, form)| of(table, key, json!({ "pattern": form })));
    let names = NAMES
        .iter()
        .map(|(table, key, form)| of(table, key, json!({ "propertyNames": { "pattern": form } })));
    let required = REQUIRED.iter().map(|(table, keys)| Refinement {
        table,
        key: None,
        adds: json!({ "required": keys }),
    });
    let rates = json!({ "additionalProperties": { "type": "string", "pattern": DURATION } });
    let others =
        [of("RawProfile", "profile", json!({ "const": 1 })), of("RawModbus", "poll", rates)];
    words.chain(durations).chain(patterns).chain(names).chain(required).chain(others).collect()
}

/// Adds a refinement to the schema; says whether the key is there.
fn refine(schema: &mut Value, refinement: &Refinement) -> bool {
    let Refinement { table, key, adds } = refinement;
    let table = match *table {
        "RawProfile" => Some(schema),
        name => schema.get_mut("definitions").and_then(|all| all.get_mut(name)),
    };
    let place = match key {
        Some(key) => table.and_then(|table| table.get_mut("properties")?.get_mut(key)),
        None => table,
    };
    let Some(place) = place.and_then(Value::as_object_mut) else { return false };
    if let Value::Object(adds) = adds {
        place.extend(adds.clone());
    }
    true
}

/// TOML has no null: a key that may be absent is absent. Takes out what schemars says of `Option`, and the width of
/// Rust's numbers, which is no concern of an editor's.
fn without_null(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            unwrap_option(object);
            object.retain(|key, value| {
                let is_width = key == "format" && value.is_string();
                let is_empty_default = key == "default" && value.is_null();
                !is_width && !is_empty_default
            });
            object.values_mut().for_each(without_null);
        }
        Value::Array(list) => list.iter_mut().for_each(without_null),
        _ => {}
    }
}

fn unwrap_option(object: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = &types[..] {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(forms)) = object.get_mut("anyOf") {
        forms.retain(|form| form.get("type").is_none_or(|kind| kind != "null"));
        if let [Value::Object(only)] = &forms[..] {
            let only = only.clone();
            object.remove("anyOf");
            // Draft 7 ignores what stands beside a reference, so the description goes with the reference into `allOf`.
            if only.contains_key("$ref") && object.contains_key("description") {
                object.insert("allOf".to_owned(), json!([only]));
            } else {
                object.extend(only);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("device-profiles")
    }

    #[test]
    fn every_refinement_finds_its_key() {
        let mut schema = json_schema();
        for refinement in refinements() {
            let Refinement { table, key, .. } = refinement;
            assert!(refine(&mut schema, &refinement), "{table} has no {key:?}");
        }
    }

    /// `townhub profile schema > device-profiles/device-profile.schema.json` makes it new; so does `BLESS=1` here.
    #[test]
    fn the_schema_beside_the_profiles_is_current() {
        let path = folder().join(SCHEMA_FILE);
        let current = format!("{:#}\n", json_schema());
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&path, &current).expect("written");
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == current,
            "{SCHEMA_FILE} is stale: townhub profile schema > device-profiles/{SCHEMA_FILE}"
        );
    }

    #[test]
    fn every_shipped_profile_names_the_schema_and_keeps_it() {
        let validator = jsonschema::validator_for(&json_schema()).expect("a valid schema");
        for path in crate::profile::find_files(&folder()).expect("the folder") {
            let text = std::fs::read_to_string(&path).expect("readable");
            let first = text.lines().next().unwrap_or_default();
            assert_eq!(first, format!("#:schema ./{SCHEMA_FILE}"), "{}", path.display());
            let json: Value = toml::from_str(&text).expect("TOML");
            let errors: Vec<String> = validator
                .iter_errors(&json)
                .map(|error| format!("{}: {error}", error.instance_path()))
                .collect();
            assert!(errors.is_empty(), "{}: {errors:#?}", path.display());
        }
    }

    #[test]
    fn an_editor_sees_what_the_parser_refuses() {
        let validator = jsonschema::validator_for(&json_schema()).expect("a valid schema");
        let good = std::fs::read_to_string(folder().join("wz-mh1.toml")).expect("readable");
        let check = |from: &str, to: &str| {
            let text = good.replacen(from, to, 1);
            assert_ne!(text, good, "{from}");
            let json: Value = toml::from_str(&text).expect("TOML");
            assert!(!validator.is_valid(&json), "{to}");
        };
        check("\"manhole\"", "\"manhoel\"");
        check("\"5min\"", "\"5 minutes\"");
        check("deadband", "dead_band");
        check("\"critical\"", "\"fatal\"");
        check("profile      = 1", "profile = 2");
        check("id           = \"wz-mh1\"", "");
        check("above = 2.5", "above = \"2.5\"");
        check("[points.level]", "[points.Level]");
    }
}
