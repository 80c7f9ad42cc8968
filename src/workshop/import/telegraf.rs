//! Telegraf configurations with `[[inputs.modbus]]`, in the styles `register`, `request` and `metric`. Each input is a
//! profile of its own.

use super::draft::{Draft, DraftPoint, profile_id};
use super::node::Node;

/// The tables of the register style and ours.
const REGISTERS: [(&str, &str); 4] = [
    ("discrete_inputs", "discrete"),
    ("coils", "coil"),
    ("input_registers", "input"),
    ("holding_registers", "holding"),
];

/// Keys that tell how to reach the device or what to do with its values elsewhere.
const ELSEWHERE: [&str; 21] = [
    "controller",
    "baud_rate",
    "data_bits",
    "parity",
    "stop_bits",
    "transmission_mode",
    "slave_id",
    "configuration_type",
    "debug_connection",
    "busy_retries",
    "busy_retries_wait",
    "alias",
    "tags",
    "name_override",
    "name_prefix",
    "name_suffix",
    "fielddrop",
    "fieldpass",
    "taginclude",
    "tagexclude",
    "exclude_register_type_tag",
];

/// Turns every input into a draft.
pub(super) fn read(root: &Node, file: &str) -> Result<Vec<Draft>, String> {
    let inputs = root.get("inputs").and_then(|inputs| inputs.get("modbus"));
    let inputs = inputs.ok_or("there is no [[inputs.modbus]]")?;
    root.leave_out(&["agent", "outputs", "global_tags", "processors", "aggregators"]);
    Ok(inputs.items().iter().map(|input| draft(input, file)).collect())
}

fn draft(input: &Node, file: &str) -> Draft {
    input.leave_out(&ELSEWHERE);
    let name = input.text("name").unwrap_or_default();
    let every = input.text("interval").filter(|every| every.ends_with(['s', 'h']));
    let poll = every.clone().unwrap_or_else(|| "30s".to_owned());
    let timeout = input.text("timeout").unwrap_or_else(|| "1s".to_owned());
    let mut draft = Draft {
        id: profile_id(&name),
        name,
        source: format!(
            "[source.modbus]\nword_order = \"ABCD\"\ntimeout    = \"{timeout}\"\npoll       = {{ normal = \"{poll}\" }}\n"
        ),
        expect_every: Some(poll),
        ..Draft::default()
    };
    for (key, table) in REGISTERS {
        for field in input.get(key).map(Node::items).unwrap_or_default() {
            take(&mut draft, field, table, None, file);
        }
    }
    for style in ["request", "metric"] {
        let mut unit = None;
        for request in input.get(style).map(Node::items).unwrap_or_default() {
            request.leave_out(&[
                "measurement",
                "optimization",
                "optimization_max_register_fill",
                "tags",
            ]);
            let slave = request.number("slave_id");
            if unit.is_some() && slave != unit {
                let note = "another slave_id: if it is another kind of device, give it a profile of its own";
                draft.notes.push(format!("{file}:{}: {note}", request.line));
            }
            unit = unit.or(slave);
            let order = request.text("byte_order");
            let table = request.text("register").unwrap_or_else(|| "holding".to_owned());
            for field in request.get("fields").map(Node::items).unwrap_or_default() {
                let table = field.text("register").unwrap_or_else(|| table.clone());
                take(&mut draft, field, &table, order.as_deref(), file);
            }
        }
    }
    draft
}

fn take(draft: &mut Draft, field: &Node, table: &str, order: Option<&str>, file: &str) {
    if field.flag("omit") {
        field.see_all();
        return;
    }
    match point(draft, field, table, order) {
        Ok(point) => draft.points.push(point),
        Err(why) => {
            let name = field.text("name").unwrap_or_default();
            draft.notes.push(format!("{file}:{}: `{name}` is left out: {why}", field.line));
            field.see_all();
        }
    }
}

fn point(
    draft: &Draft,
    field: &Node,
    table: &str,
    order: Option<&str>,
) -> Result<DraftPoint, String> {
    field.leave_out(&["measurement", "output"]);
    let name = field.text("name").ok_or("it has no name")?;
    let table = match table {
        "coil" | "discrete" | "holding" | "input" => table,
        other => return Err(format!("`{other}` is no Modbus table")),
    };
    let addresses: Vec<f64> = match field.get("address") {
        Some(address) if address.is_number() => address.as_number().into_iter().collect(),
        Some(list) => list.items().iter().filter_map(Node::as_number).collect(),
        None => Vec::new(),
    };
    let first = *addresses.first().ok_or("it has no address")?;
    if addresses.windows(2).any(|pair| pair[1] != pair[0] + 1.0) {
        return Err(format!("its registers {addresses:?} do not follow on each other"));
    }
    let mut read = format!("table = \"{table}\", address = {first}");
    let is_bit = matches!(table, "coil" | "discrete");
    if !is_bit {
        let kind = field.text("data_type").or_else(|| field.text("type"));
        let kind = kind.ok_or("it has no type")?;
        let number = number_type(&kind, addresses.len())
            .ok_or_else(|| format!("the type `{kind}` has no counterpart"))?;
        read.push_str(&format!(", type = \"{number}\""));
        let order =
            field.text("byte_order").or_else(|| order.map(str::to_owned)).unwrap_or_default();
        if matches!(number, "u16" | "i16") {
            // Of a request's four letters, the first two are for a single register.
            if order == "BA" || order == "DCBA" || order == "BADC" {
                return Err(format!("a register of 16 bits in the order {order}"));
            }
        } else if matches!(order.as_str(), "CDAB" | "BADC" | "DCBA") {
            read.push_str(&format!(", word_order = \"{order}\""));
        }
    }
    if let Some(scale) = field.number("scale").filter(|scale| *scale != 1.0 && *scale != 0.0) {
        read.push_str(&format!(", scale = {scale}"));
    }
    Ok(DraftPoint {
        name: draft.free_name(&name),
        label: name,
        unit: None,
        read,
        range: None,
        states: if is_bit { vec!["off".to_owned(), "on".to_owned()] } else { Vec::new() },
    })
}

/// `FIXED`, `UFIXED` and `FLOAT32` without `IEEE` are whole numbers of so many registers, times the scale.
fn number_type(telegraf: &str, registers: usize) -> Option<&'static str> {
    Some(match (telegraf, registers) {
        ("UINT16", _) | ("UFIXED", 1) => "u16",
        ("INT16", _) | ("FIXED", 1) => "i16",
        ("UINT32", _) | ("UFIXED", 2) => "u32",
        ("INT32", _) | ("FIXED", 2) => "i32",
        ("UINT64", _) | ("UFIXED", 4) => "u64",
        ("INT64", _) | ("FIXED", 4) => "i64",
        ("FLOAT32-IEEE" | "FLOAT32", _) => "f32",
        ("FLOAT64-IEEE" | "FLOAT64", _) => "f64",
        _ => return None,
    })
}
