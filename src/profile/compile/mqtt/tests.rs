//! Real profiles of each format with one thing changed: what is refused, and in which words.

use crate::profile::read_text;

const SENML: &str = include_str!("../../../../device-profiles/hx-sn1.toml");
const SPARKPLUG: &str = include_str!("../../../../device-profiles/hx-sp4.toml");
const CAYENNE: &str = include_str!("../../../../device-profiles/hx-lp2.toml");
const BINARY: &str = include_str!("../../../../device-profiles/hx-bn8.toml");
const TEXT: &str = include_str!("../../../../device-profiles/hx-tx3.toml");
const LIST: &str = include_str!("../../../../device-profiles/hx-gw6.toml");

/// Replaces `from`, where it stands first, by `to` and expects these errors, each `message | help | help ...`.
#[track_caller]
fn check(base: &str, from: &str, to: &str, expected: &[&str]) {
    assert!(base.contains(from), "the base has no {from}");
    let text = base.replacen(from, to, 1);
    let found = read_text("p.toml", &text).map(|_| Vec::new()).unwrap_or_else(|errors| errors);
    let found: Vec<String> = found
        .iter()
        .map(|error| [vec![error.message.clone()], error.help.clone()].concat().join(" | "))
        .collect();
    assert_eq!(found, expected, "{to}");
}

#[test]
fn a_format_has_its_own_keys() {
    check(
        LIST,
        "payload = \"json\"",
        "payload = \"json\"\nendian = \"big\"",
        &["`endian` says nothing of a json payload | allowed: topic, payload, time, device, each"],
    );
    check(
        SENML,
        "payload = \"senml\"",
        "payload = \"senml\"\ntime = { optional = true }",
        &[
            "`time` says nothing of a senml payload; SenML has its own | allowed: topic, payload, device",
        ],
    );
    check(
        LIST,
        "payload = \"json\"",
        "payload = \"jsn\"",
        &[
            "unknown payload `jsn` | did you mean `json`? | allowed: json, senml, sparkplug_b, cayenne_lpp, binary, text",
        ],
    );
    check(
        LIST,
        "{ path = \"/rssi\" }",
        "{ column = 3, table = \"coil\", path = \"/rssi\" }",
        &[
            "`column` says nothing in `read` of a json payload | allowed: path, scale, offset, invalid",
            "`table` is for modbus; this profile's source is mqtt | allowed: path, scale, offset, invalid",
        ],
    );
    check(
        LIST,
        "{ path = \"/rssi\" }",
        "{ scale = 2 }",
        &["`path` is missing | for example: path = \"/level\""],
    );
}

#[test]
fn a_list_stands_apart_from_what_is_read_beside_it() {
    check(LIST, "path = \"/t\",", "path = \"/t\", outside = true,", &[]);
    check(
        LIST,
        "path = \"/mac\"",
        "path = \"/bays/0/mac\", outside = true",
        &["`/bays` reads inside the value that `/bays/0/mac` reads as a number"],
    );
    check(
        LIST,
        "each    = \"/bays\"",
        "each = \"bays\"",
        &["`bays` is no JSON pointer; it starts with `/`, for example /bays"],
    );
    check(LIST, "each    = \"/bays\"\n", "", &[]);
    let outside = "device  = { path = \"/mac\", outside = true }";
    let single = LIST.replacen("each    = \"/bays\"\n", "", 1);
    check(
        &single,
        "device  = { path = \"/mac\" }",
        outside,
        &["`outside` says nothing in `device` of a json payload | allowed: path, optional"],
    );
}

#[test]
fn senml_names_devices_by_a_pattern() {
    check(
        SENML,
        "urn:dev:hx:{device}:",
        "urn:dev:hx:",
        &["`urn:dev:hx:` has no {device}, or more than one; for example urn:dev:ow:{device}:"],
    );
    check(
        SENML,
        "{ name = \"valve\" }",
        "{ path = \"/valve\" }",
        &[
            "`name` is missing | for example: name = \"level\"",
            "`path` says nothing in `read` of a senml payload | allowed: name, u, sum, scale, offset, invalid",
        ],
    );
}

#[test]
fn sparkplug_metrics_may_have_aliases_and_types() {
    let read = "{ metric = \"Gate/Opening\" }";
    check(SPARKPLUG, read, "{ metric = \"Gate/Opening\", alias = 1, type = \"int8\" }", &[]);
    check(
        SPARKPLUG,
        read,
        "{ metric = \"Gate/Opening\", alias = -1 }",
        &["an alias is not less than 0"],
    );
    check(
        SPARKPLUG,
        read,
        "{ metric = \"Gate/Opening\", type = \"int9\" }",
        &[
            "unknown type `int9` | did you mean `int8`? | allowed: int8, int16, int32, int64, unsigned",
        ],
    );
    check(
        SPARKPLUG,
        "{device}/{unit?}",
        "{unit?}/{device}",
        &["`{unit?}` may be absent, so it must be the last level"],
    );
}

#[test]
fn channels_have_a_type_and_some_a_component() {
    check(CAYENNE, "channel = 1,", "channel = 256,", &["256 is no channel; they are 0 to 255"]);
    check(
        CAYENNE,
        ", component = \"z\"",
        "",
        &["`component` is missing | for example: component = \"x\""],
    );
    check(
        CAYENNE,
        "component = \"z\"",
        "component = \"zz\"",
        &["unknown component `zz` | did you mean `z`? | allowed: x, y, z"],
    );
    check(
        CAYENNE,
        "type = \"voltage\"",
        "type = \"voltage\", component = \"x\"",
        &["a voltage has one number; leave `component` out"],
    );
    check(
        CAYENNE,
        "encoding = \"hex\"",
        "encoding = \"hx\"",
        &["unknown encoding `hx` | did you mean `hex`? | allowed: raw, hex, base64"],
    );
}

#[test]
fn fields_stand_within_a_frame() {
    check(
        BINARY,
        "byte = 12,",
        "byte = 17,",
        &["this ends at byte 21; a frame has at most 20 bytes"],
    );
    check(BINARY, "byte = 12,", "byte = -1,", &["-1 is not a byte of a frame (0 to 1000000)"]);
    check(
        BINARY,
        "bit = 7",
        "bit = 8",
        &[
            "bits 8 to 8 are not within a u8 | 0 is the least significant bit, 7 the most significant",
        ],
    );
    check(
        BINARY,
        "bit = 7",
        "bit = 7, bits = [0, 1]",
        &["`bit` and `bits` say the same; leave one out"],
    );
    check(
        BINARY,
        "type = \"f32\"",
        "type = \"f32\", length = 4",
        &["a f32 always has 4 bytes; leave `length` out"],
    );
    check(BINARY, ", length = 3", "", &["`length` is missing | for example: length = 4"]);
    check(
        BINARY,
        "type = \"f32\"",
        "type = \"f32\", bit = 1",
        &["a f32 has no bits to choose from"],
    );
    check(
        BINARY,
        "bit = 7",
        "bit = 7, endian = \"big\"",
        &["a u8 has one order of bytes; leave `endian` out"],
    );
    check(
        BINARY,
        "length    = 20",
        "length = 20\nmin_length = 3",
        &["`length` is exact; with it leave the other lengths out"],
    );
    let lengths = "min_length = 20\nmax_length = 19";
    check(BINARY, "length    = 20", lengths, &["`max_length` is less than `min_length`, 20"]);
    check(BINARY, "0 = \"A5 5A\"", "0 = \"A5 5\"", &["the number of digits is odd"]);
    check(BINARY, "0 = \"A5 5A\"", "start = \"A5 5A\"", &["`start` is no byte of a frame, from 0"]);
    check(
        BINARY,
        "format = \"unix_s\"",
        "format = \"local\", pattern = \"%Y%m%d%H%M\", zone = \"Asia/Shanghai\"",
        &["a time that is local is a text or bcd"],
    );
}

#[test]
fn lines_have_columns_or_keys() {
    check(
        TEXT,
        "{ column = 1 }",
        "{ key = \"lvl\" }",
        &[
            "`column` is missing | for example: column = 0",
            "`key` says nothing in `read` of a text payload | allowed: column, optional, scale, offset, invalid",
        ],
    );
    check(
        TEXT,
        "separator = \",\"",
        "separator = \", \"",
        &[
            "this is one sign, no letter, digit or quote | for example: \",\", \";\", \"\\t\"; \" \" for any spaces",
        ],
    );
    check(
        TEXT,
        "comment   = \"#\"",
        "comment = \"\"",
        &["every line starts so; for example \"#\""],
    );
}

#[test]
fn local_times_have_a_pattern_and_a_zone() {
    check(
        TEXT,
        ", zone = \"Asia/Shanghai\"",
        "",
        &["`zone` is missing | for example: zone = \"Asia/Shanghai\""],
    );
    check(
        TEXT,
        "Asia/Shanghai\" }",
        "Asia/Shangai\" }",
        &["`Asia/Shangai` is no time zone; write an IANA name, for example Asia/Shanghai"],
    );
    check(
        TEXT,
        "%Y-%m-%d %H:%M:%S",
        "%H:%M:%S",
        &[
            "the pattern does not say the whole time; it needs a date, an hour and a minute, for example %Y-%m-%d %H:%M:%S",
        ],
    );
    check(
        LIST,
        "format = \"unix_s\"",
        "format = \"unix_s\", zone = \"Asia/Shanghai\"",
        &["`zone` says nothing of unix_s | it is for format = \"local\""],
    );
}

#[test]
fn fixtures_may_have_bytes_and_reports() {
    check(
        BINARY,
        "hex    = \"A5 5A",
        "payload = 'x'\nhex    = \"A5 5A",
        &["a test has one of `payload`, `hex` and `base64`"],
    );
    check(BINARY, "hex    = \"A5 5A  80", "hex    = \"A5 5A  8g", &["`g` at 8 is no hex digit"]);
    check(
        SPARKPLUG,
        "after   = [\"birth\"]",
        "after = [\"brth\"]",
        &["no test before this one is named `brth` | did you mean `birth`? | allowed: birth"],
    );
    check(
        LIST,
        "name    = \"two bays in one message\"",
        "name    = \"two bays in one message\"\nbad = [\"rssi\"]",
        &["a test with `reports` says this in a report | the first report stands in line 50"],
    );
}
