//! `townhub profile new`: a commented profile to begin with, that passes `check --strict` and `test` as it is.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use super::{Outcome, both, quoted};
use crate::model::{AssetKind, ProfileId};
use crate::profile::SCHEMA_FILE;
use crate::trial;

/// Ways to speak that a profile can be begun with.
const SOURCES: [&str; 3] = ["mqtt", "modbus", "lorawan"];

/// The point that a kind is about.
struct Starter {
    name: &'static str,
    zh: &'static str,
    en: &'static str,
    unit: &'static str,
    range: [f64; 2],
    /// What the device sends in the test, in whole numbers of `scale`.
    raw: u16,
    scale: f64,
    limit: f64,
    clear: f64,
    alert_zh: &'static str,
    alert_en: &'static str,
}

/// Writes `<out>/<id>.toml`, and a codec beside it for LoRaWAN. Never overwrites.
pub fn create(id: &str, kind: &str, source: &str, out: &Path) -> Outcome {
    let id: ProfileId = match id.parse() {
        Ok(id) => id,
        Err(why) => return Outcome::failed(why),
    };
    let kind: AssetKind = match kind.parse() {
        Ok(kind) => kind,
        Err(why) => return Outcome::failed(why),
    };
    if !SOURCES.contains(&source) {
        let allowed = SOURCES.join(", ");
        return Outcome::failed(format!("unknown source `{source}`; sources are {allowed}"));
    }
    let text = template(&id, kind, source);
    let codec = (source == "lorawan").then(|| codec(kind));
    let file = out.join(format!("{id}.toml"));
    let mut files = vec![(file.clone(), text)];
    files.extend(codec.map(|codec| (out.join(format!("{id}.js")), codec)));
    for (path, text) in &files {
        let written = fs::create_dir_all(out)
            .and_then(|()| fs::File::create_new(path))
            .and_then(|mut file| file.write_all(text.as_bytes()));
        if let Err(why) = written {
            return Outcome::failed(format!("cannot write {}: {why}", path.display()));
        }
    }
    let report = trial::test(std::slice::from_ref(&file), trial::Manner::default());
    let mut outcome = Outcome::from(report);
    outcome.text = format!("wrote   {}\n{}", file.display(), outcome.text);
    outcome.notes = format!("next: edit it, then `townhub profile test {}`\n", file.display());
    outcome
}

fn starter(kind: AssetKind) -> Starter {
    let level = Starter {
        name: "level",
        zh: "水位",
        en: "Water level",
        unit: "m",
        range: [0.0, 6.0],
        raw: 1_250,
        scale: 0.001,
        limit: 2.5,
        clear: 2.3,
        alert_zh: "水位偏高",
        alert_en: "Level high",
    };
    match kind {
        AssetKind::Pipe => Starter {
            name: "pressure",
            zh: "压力",
            en: "Pressure",
            unit: "kPa",
            range: [0.0, 1_600.0],
            raw: 310,
            scale: 1.0,
            limit: 900.0,
            clear: 850.0,
            alert_zh: "管网压力偏高",
            alert_en: "Pressure high",
        },
        AssetKind::RainGauge => Starter {
            name: "rain",
            zh: "雨量（本次上报）",
            en: "Rain since the last report",
            unit: "mm",
            range: [0.0, 20.0],
            raw: 4,
            scale: 0.1,
            limit: 4.0,
            clear: 2.0,
            alert_zh: "短时强降雨",
            alert_en: "Heavy rain",
        },
        AssetKind::SluiceGate => Starter {
            name: "opening",
            zh: "闸门开度",
            en: "Gate opening",
            unit: "%",
            range: [0.0, 100.0],
            raw: 125,
            scale: 0.1,
            limit: 95.0,
            clear: 90.0,
            alert_zh: "闸门全开",
            alert_en: "Gate fully open",
        },
        AssetKind::ParkingLot => Starter {
            name: "occupancy",
            zh: "占用率",
            en: "Occupancy",
            unit: "%",
            range: [0.0, 100.0],
            raw: 40,
            scale: 1.0,
            limit: 95.0,
            clear: 90.0,
            alert_zh: "停车场将满",
            alert_en: "Nearly full",
        },
        _ => level,
    }
}

fn template(id: &ProfileId, kind: AssetKind, source: &str) -> String {
    let title = id.as_str();
    let head = format!(
        "#:schema ./{SCHEMA_FILE}\n\
         # {title}: what this device sends and what it means. `townhub profile test` runs the tests at the end.\n\
         # {title}：设备上报的数据及其含义；文件末尾的测试由 `townhub profile test` 执行。\n\
         profile      = 1\n\
         id           = {}\n\
         name         = {}\n\
         manufacturer = \"Maker\"\n\
         model        = {}\n\
         kind         = {}\n",
        quoted(title),
        both(&format!("{title} 设备"), &format!("{title} device")),
        quoted(title),
        quoted(kind.as_str()),
    );
    let every = if source == "modbus" { "30s" } else { "5min" };
    let (stale, dead) = if source == "modbus" { ("2min", "5min") } else { ("15min", "30min") };
    let staleness = format!(
        "\n# Silence: shown as old after `stale_after`, an alert after `dead_after`.\n\
         # 静默：超过 stale_after 显示为过期，超过 dead_after 告警。\n\
         [staleness]\nexpect_every = \"{every}\"\nstale_after  = \"{stale}\"\ndead_after   = \"{dead}\"\nseverity     = \"minor\"\n",
    );
    let body =
        if kind == AssetKind::ParkingBay { bay(source) } else { measured(&starter(kind), source) };
    format!("{head}{}{staleness}{body}", source_table(title, source))
}

fn source_table(id: &str, source: &str) -> String {
    match source {
        "modbus" => "\n# Addresses count from zero (40001 in a manual is holding 0). 地址从 0 开始。\n\
             [source.modbus]\n\
             word_order = \"ABCD\"            # 32-bit values: high word first; CDAB is low word first\n\
             timeout    = \"1s\"\n\
             poll       = { normal = \"30s\" }\n"
            .to_owned(),
        "lorawan" => format!(
            "\n# decodeUplink(input) of the codec makes an object; the points read it by path.\n\
             # 编解码器的 decodeUplink(input) 返回对象，各测点按路径读取。\n\
             [source.lorawan]\ncodec = {}\n",
            quoted(&format!("{id}.js"))
        ),
        _ => "\n# Every device publishes to devices/{device}/telemetry; a device with topics of its own names them here.\n\
             # 设备默认发布到 devices/{device}/telemetry；自有主题写在 topic。\n\
             [source.mqtt]\n\
             # topic = \"sewer/{site}/{device}/up\"\n\
             payload = \"json\"\n\
             time    = { path = \"/ts\", format = \"unix_ms\", optional = true }\n"
            .to_owned(),
    }
}

fn measured(point: &Starter, source: &str) -> String {
    let Starter { name, zh, en, unit, range: [low, high], raw, scale, limit, clear, .. } = point;
    let read = match source {
        "modbus" => "table = \"holding\", address = 0, type = \"u16\"".to_owned(),
        _ => format!("path = \"/{name}\""),
    };
    let value =
        if *scale == 1.0 { f64::from(*raw) } else { f64::from(*raw) / (1.0 / scale).round() };
    format!(
        "\n# value = raw * scale + offset, in a UCUM unit; outside `range` it is marked as bad, never cut off.\n\
         # 数值 = 原始值 × scale + offset；超出 range 的读数标记为坏值。\n\
         [points.{name}]\n\
         label    = {}\n\
         unit     = {}\n\
         read     = {{ {read}, scale = {scale} }}\n\
         range    = [{low}, {high}]\n\
         deadband = {}                # smaller changes are not worth showing\n\
         # Raised above, cleared at or below `clear`. 超过 above 告警，回落到 clear 解除。\n\
         alerts.high = {{ above = {limit}, clear = {clear}, clear_for = \"3min\", severity = \"major\", text = {} }}\n\
         \n# What goes in, and what must come out. 输入与期望输出。\n\
         [[test]]\n\
         name   = \"a usual value\"\n\
         {}\n\
         expect = {{ {name} = {value} }}\n",
        both(zh, en),
        quoted(unit),
        (high - low) / 100.0,
        both(point.alert_zh, point.alert_en),
        input(source, name, *raw),
    )
}

fn bay(source: &str) -> String {
    let read = match source {
        "modbus" => "table = \"holding\", address = 0, type = \"u16\"",
        _ => "path = \"/occupied\"",
    };
    format!(
        "\n[points.occupied]\n\
         label  = {}\n\
         read   = {{ {read} }}\n\
         # Stands for more than a day: look whether the car is abandoned. 占用超过一天提示巡查。\n\
         alerts.overstay = {{ equals = \"occupied\", for = \"24h\", severity = \"minor\", text = {} }}\n\
         \n[points.occupied.states]\n\
         0 = {{ name = \"free\", zh = \"空闲\", en = \"Free\" }}\n\
         1 = {{ name = \"occupied\", zh = \"占用\", en = \"Occupied\" }}\n\
         \n# What goes in, and what must come out. 输入与期望输出。\n\
         [[test]]\n\
         name    = \"a car arrives\"\n\
         {}\n\
         expect  = {{ occupied = \"occupied\" }}\n\
         pending = [\"occupied.overstay\"]\n",
        both("泊位", "Bay"),
        both("泊位占用超过一天", "Bay occupied for more than a day"),
        input(source, "occupied", 1),
    )
}

fn input(source: &str, name: &str, raw: u16) -> String {
    match source {
        "modbus" => format!("registers = {{ holding = {{ 0 = [{raw}] }} }}"),
        "lorawan" => format!("port   = 1\nhex    = \"{raw:04X}\""),
        _ => format!("payload = '{{\"ts\":1790000000000,\"{name}\":{raw}}}'"),
    }
}

fn codec(kind: AssetKind) -> String {
    let name = if kind == AssetKind::ParkingBay { "occupied" } else { starter(kind).name };
    format!(
        "// Bytes into an object (LoRa Alliance TS013). 字节转为对象。\n\
         function decodeUplink(input) {{\n\
         \x20 var b = input.bytes;\n\
         \x20 if (b.length < 2) return {{ errors: [\"frame too short: \" + b.length + \" of 2 bytes\"] }};\n\
         \x20 return {{ data: {{ {name}: (b[0] << 8) | b[1] }} }};\n\
         }}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_over_every_source_begins_sound_and_without_a_warning() {
        for kind in AssetKind::ALL {
            for source in ["mqtt", "modbus"] {
                let folder = tempfile::tempdir().expect("a temporary folder");
                let outcome = create("new-1", kind.as_str(), source, folder.path());
                assert!(outcome.ok, "{kind} {source}: {}{}", outcome.text, outcome.notes);
                let strict = trial::Manner { is_strict: true, is_json: false };
                let report = trial::test(&[folder.path().to_owned()], strict);
                assert!(report.ok, "{kind} {source}: {}", report.text);
            }
        }
    }

    #[test]
    fn nothing_is_overwritten_and_what_is_wrong_is_said() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let check = |id: &str, kind: &str, source: &str, why: &str| {
            let outcome = create(id, kind, source, folder.path());
            assert!(!outcome.ok && outcome.notes.contains(why), "{why}: {}", outcome.notes);
        };
        assert!(create("a", "pipe", "mqtt", folder.path()).ok);
        check("a", "pipe", "mqtt", "cannot write");
        check("a/b", "pipe", "mqtt", "profile id");
        check("b", "pip", "mqtt", "kinds are manhole");
        check("b", "pipe", "opcua", "sources are mqtt, modbus, lorawan");
    }
}
