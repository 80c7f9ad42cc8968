//! EdgeX Foundry device profiles (YAML) whose resources stand in Modbus registers.

use super::draft::{Draft, DraftPoint, profile_id};
use super::node::Node;

/// Turns the profile into a draft.
pub(super) fn read(root: &Node, file: &str) -> Result<Draft, String> {
    root.leave_out(&[
        "apiVersion",
        "labels",
        "description",
        "deviceCommands",
        "coreCommands",
        "id",
    ]);
    let resources = root.get("deviceResources").ok_or("there are no `deviceResources`")?;
    let name = root.text("name").unwrap_or_default();
    let mut draft = Draft {
        id: profile_id(&name),
        manufacturer: root.text("manufacturer").unwrap_or_default(),
        model: root.text("model").unwrap_or_default(),
        name,
        source: "[source.modbus]\nword_order = \"ABCD\"\n# TODO(human): how often to read; EdgeX says that elsewhere\npoll       = { normal = \"30s\" }\n".to_owned(),
        expect_every: Some("30s".to_owned()),
        ..Draft::default()
    };
    for resource in resources.items() {
        match point(resource, &draft) {
            Ok(point) => draft.points.push(point),
            Err(why) => {
                let name = resource.text("name").unwrap_or_default();
                draft.notes.push(format!("{file}:{}: `{name}` is left out: {why}", resource.line));
            }
        }
    }
    Ok(draft)
}

fn point(resource: &Node, draft: &Draft) -> Result<DraftPoint, String> {
    resource.leave_out(&["isHidden", "tags"]);
    let name = resource.text("name").unwrap_or_default();
    let attributes = resource.get("attributes").ok_or("it has no `attributes`")?;
    let properties = resource.get("properties").ok_or("it has no `properties`")?;
    // The first versions nest it once more.
    let properties = properties.get("value").unwrap_or(properties);
    properties.leave_out(&["mediaType", "defaultValue", "optional"]);
    let description = resource.text("description").unwrap_or_default();
    let access = properties.text("readWrite").unwrap_or_default();
    if access == "W" {
        return Err("it can only be written".to_owned());
    }
    let table = match attributes.text("primaryTable").unwrap_or_default().as_str() {
        "HOLDING_REGISTERS" => "holding",
        "INPUT_REGISTERS" => "input",
        "COILS" => "coil",
        "DISCRETES_INPUT" | "DISCRETE_INPUTS" | "DISCRETE_INPUT" => "discrete",
        other => return Err(format!("`{other}` is no Modbus table")),
    };
    let address = attributes.number("startingAddress").ok_or("it has no `startingAddress`")?;
    let value_type = properties.text("valueType").or_else(|| properties.text("type"));
    let value_type = value_type.unwrap_or_default();
    let raw = attributes.text("rawType").unwrap_or_else(|| value_type.clone());
    let mut read = format!("table = \"{table}\", address = {address}");
    let is_bit = matches!(table, "coil" | "discrete");
    if !is_bit {
        let number =
            number_type(&raw).ok_or_else(|| format!("the type `{raw}` has no counterpart"))?;
        read.push_str(&format!(", type = \"{number}\""));
        let swaps = (attributes.flag("isByteSwap"), attributes.flag("isWordSwap"));
        if !matches!(number, "u16" | "i16") {
            match swaps {
                (false, false) => {}
                (false, true) => read.push_str(", word_order = \"CDAB\""),
                (true, false) => read.push_str(", word_order = \"BADC\""),
                (true, true) => read.push_str(", word_order = \"DCBA\""),
            }
        } else if swaps.0 {
            return Err("a register of 16 bits with its bytes swapped".to_owned());
        }
    }
    for (key, neutral) in [("scale", 1.0), ("offset", 0.0)] {
        if let Some(value) = properties.number(key).filter(|value| *value != neutral) {
            read.push_str(&format!(", {key} = {value}"));
        }
    }
    let range = properties.number("minimum").zip(properties.number("maximum"));
    Ok(DraftPoint {
        name: draft.free_name(&name),
        label: if description.is_empty() { name } else { description },
        unit: properties.text("units").or_else(|| {
            // The first versions: `units: { value: ..., defaultValue: "kPa" }`.
            resource.get("properties")?.get("units")?.text("defaultValue")
        }),
        read,
        range,
        states: if is_bit { vec!["off".to_owned(), "on".to_owned()] } else { Vec::new() },
    })
}

fn number_type(edgex: &str) -> Option<&'static str> {
    Some(match edgex.to_ascii_lowercase().as_str() {
        "int16" => "i16",
        "uint16" => "u16",
        "int32" => "i32",
        "uint32" => "u32",
        "int64" => "i64",
        "uint64" => "u64",
        "float32" => "f32",
        "float64" => "f64",
        _ => return None,
    })
}
