//! Real profiles with one thing changed: what is refused, and in which words.

use std::time::Duration;

use proptest::prelude::*;

use crate::model::{Label, PointIndex, Severity};
use crate::profile::{
    AlertTest, NumberType, Profile, ProfileError, Read, RegisterRead, Side, Source, Table,
    WordOrder, read_text,
};

const MANHOLE: &str = include_str!("../../../device-profiles/wz-mh1.toml");
const GATE: &str = include_str!("../../../device-profiles/wz-sg200.toml");

fn errors(text: &str) -> Vec<ProfileError> {
    read_text("p.toml", text).map(|_| Vec::new()).unwrap_or_else(|errors| errors)
}

fn profile(text: &str) -> Profile {
    let shown =
        |errors: Vec<ProfileError>| errors.iter().map(ToString::to_string).collect::<String>();
    read_text("p.toml", text).map_err(shown).expect("a profile").profile
}

/// Replaces `from`, where it stands first, by `to` and expects these errors, each `message | help | help ...`.
#[track_caller]
fn check(base: &str, from: &str, to: &str, expected: &[&str]) {
    assert!(base.contains(from), "the base has no {from}");
    let text = base.replacen(from, to, 1);
    let found: Vec<String> = errors(&text)
        .iter()
        .map(|error| [vec![error.message.clone()], error.help.clone()].concat().join(" | "))
        .collect();
    assert_eq!(found, expected, "{to}");
}

#[test]
fn a_profile_becomes_what_it_says() {
    let profile = profile(MANHOLE);
    let (index, level) = profile.point("level").expect("level");
    assert_eq!((index, profile.headline), (PointIndex(0), PointIndex(0)));
    assert_eq!(level.label, Label::new("水深（自管底起）", "Water depth over invert"));
    assert_eq!((level.unit.as_str(), level.scale, level.range), ("m", 0.001, Some((0.0, 6.0))));
    assert_eq!(level.sentinels, [65_535.0]);
    assert_eq!(level.flatline, Some(Duration::from_secs(3 * 24 * 3600)));
    let high = &level.alerts[1];
    assert_eq!(high.name, "high");
    assert_eq!(high.test, AlertTest::limit(Side::Above, 1.8, 1.6, Severity::Major));
    assert_eq!(high.on_delay, Duration::from_secs(60));
    assert_eq!(high.off_delay, Duration::from_secs(180));
    let (_, cover) = profile.point("cover").expect("cover");
    assert_eq!(cover.alerts[0].test.raised_by(1.0), 1);
    assert_eq!(cover.unit, "1");
    let Source::Mqtt(source) = &profile.source else { panic!("{:?}", profile.source) };
    let device = "mh-014".parse().expect("a device id");
    assert!(source.topic.as_ref().expect("a topic").matches("sewer/xizha/mh-014/up", &device));
}

#[test]
fn a_register_map_becomes_what_it_says() {
    let profile = profile(GATE);
    let Source::Modbus(source) = &profile.source else { panic!("{:?}", profile.source) };
    assert_eq!(source.max_registers, 60);
    assert_eq!(source.poll["slow"], Duration::from_secs(30));
    let read = |name: &str| match &profile.point(name).expect(name).1.read {
        Read::Register(RegisterRead { table, address, kind, poll, .. }) => {
            (*table, *address, kind.number, kind.order, poll.clone())
        }
        other => panic!("{other:?}"),
    };
    let fast = "fast".to_owned();
    let level = (Table::Input, 10, NumberType::F32, WordOrder::CDAB, fast.clone());
    assert_eq!(read("level_up"), level);
    assert_eq!(read("remote"), (Table::Discrete, 3, NumberType::Bit, WordOrder::CDAB, fast));
}

#[test]
fn bits_and_texts_are_where_they_can_be() {
    let setpoint =
        "{ table = \"holding\", address = 200, type = \"u16\", scale = 0.1, poll = \"slow\" }";
    let check = |more: &str, expected: &[&str]| {
        let to = format!("{{ table = \"holding\", address = 200, poll = \"slow\", {more} }}");
        check(GATE, setpoint, &to, expected);
    };
    for good in ["bit = 3", "type = \"u32\", bits = [16, 31]", "type = \"bcd32\""] {
        let to = format!("{{ table = \"holding\", address = 200, poll = \"slow\", {good} }}");
        profile(&GATE.replacen(setpoint, &to, 1));
    }
    check(
        "type = \"bit\"",
        &["which bit of the register? | write bit = 0 for the lowest to bit = 15 for the highest"],
    );
    check("bit = 16", &["a u16 has bits 0 to 15, lowest first"]);
    check("bits = [7, 4]", &["a u16 has bits 0 to 15, lowest first"]);
    check("bits = [4]", &["`bits` are the lowest and the highest, for example [4, 7]"]);
    check("bit = 1, bits = [1, 2]", &["`bit` or `bits`, not both"]);
    check("type = \"f32\", bit = 1", &["bits are of a u16 or a u32, not of a f32"]);
    check("type = \"u16\", length = 2", &["only a text has a `length`"]);
    check("bits = [0, 1], invalid = [4]", &["a u16 is never 4; it is whole, from 0 to 3"]);
    check(
        "type = \"bcd16\", invalid = [10000]",
        &["a bcd16 is never 10000; it is whole, from 0 to 9999"],
    );
}

#[test]
fn silence_has_sensible_defaults() {
    #[track_caller]
    fn check(staleness: &str, stale_min: u64, dead_min: u64) {
        let start = MANHOLE.find("[staleness]").expect("the table");
        let end = MANHOLE.find("[points.level]").expect("the table");
        let text = format!("{}{staleness}\n{}", &MANHOLE[..start], &MANHOLE[end..]);
        let found = profile(&text).staleness;
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        assert_eq!((found.stale_after, found.dead_after), (minutes(stale_min), minutes(dead_min)));
        assert_eq!(found.severity, Severity::Minor);
    }
    check("", 15, 45);
    check("[staleness]\nexpect_every = '10min'", 30, 30);
    check("[staleness]\nexpect_every = '10min'\nstale_after = '40min'", 40, 40);
    check("[staleness]\nstale_after = '10min'", 10, 30);
    check("[staleness]\ndead_after = '1h'", 15, 60);
}

#[test]
fn units_are_ucum_codes() {
    let check_unit = |unit: &str, expected: &str| {
        check(MANHOLE, "\"[ppm]\"", &format!("\"{unit}\""), &[expected]);
    };
    check_unit("ppm", "`ppm` is not the UCUM code | write \"[ppm]\"");
    check_unit("°C", "`°C` is not the UCUM code | write \"Cel\"");
    let help = "UCUM, for example m, kPa, m3/h, Cel, %, [ppm], %{LEL}, 1";
    check_unit("parts", &format!("`parts` is no unit | {help}"));
    check(
        MANHOLE,
        "label  = { zh = \"井盖\"",
        "unit = \"m\"\nlabel  = { zh = \"井盖\"",
        &["a point with states has no unit"],
    );
}

#[test]
fn a_limit_can_be_raised_and_cleared() {
    let surcharge = "above = 2.5, clear = 2.3";
    let check = |to: &str, expected: &[&str]| check(MANHOLE, surcharge, to, expected);
    let bad = "a reading outside its range is Bad and raises nothing";
    check(
        "above = 6, clear = 2.3",
        &[&format!("never raised: 6 is not inside the range 0 to 6 | {bad}")],
    );
    check(
        "below = 0, clear = 2.3",
        &[&format!("never raised: 0 is not inside the range 0 to 6 | {bad}")],
    );
    check(
        "above = -1, clear = -2",
        &[
            "always raised: the whole range 0 to 6 is beyond -1",
            "never clears: -2 is not inside the range 0 to 6",
        ],
    );
    check("above = 2.5, clear = 2.6", &["`clear` must be at or below the limit 2.5, not 2.6"]);
    check("below = 2.5, clear = 2.3", &["`clear` must be at or above the limit 2.5, not 2.3"]);
    check("above = nan", &["a limit is a number"]);
    check("above = 2.5, below = 1", &["an alert tests one of above, below and equals"]);
    check("clear = 2.5", &["`above` is missing | for example: above = 2.5"]);
    check(
        "equals = \"open\"",
        &["`equals` is for states; this point has none: use above or below"],
    );
    check("above = 2.5, clear = 2.5", &[]);
    check("above = 2.5", &[]);
}

#[test]
fn a_state_alert_names_a_state() {
    let check = |to: &str, expected: &[&str]| check(MANHOLE, "equals = \"open\"", to, expected);
    check(
        "equals = \"opn\"",
        &["no state is named `opn` | did you mean `open`? | allowed: closed, open"],
    );
    check("equals = 1", &["`equals` takes a state's name | allowed: closed, open"]);
    check("above = 0", &["a point with states is tested with `equals`"]);
    check(
        "equals = \"open\", clear = 0",
        &["`clear` is for limits; a state clears when it is another"],
    );
}

#[test]
fn states_are_plain_codes_with_names() {
    let cover = "read   = { path = \"/cover\" }\nstates = { 0 =";
    let check = |to: &str, expected: &[&str]| check(MANHOLE, cover, to, expected);
    check(
        "read = { path = \"/cover\", invalid = [1] }\nstates = { 0 =",
        &["1 is the state `open` and cannot be invalid too"],
    );
    check(
        "read = { path = \"/cover\", scale = 2 }\nstates = { 0 =",
        &["a point with states has no `scale`"],
    );
    check(
        "range = [0, 1]\nread = { path = \"/cover\" }\nstates = { 0 =",
        &["a point with states has no `range`"],
    );
    check(
        "read = { path = \"/cover\" }\nstates = { half = \"half\", 0 =",
        &["a state's code is a whole number, not `half`"],
    );
    check(
        "read = { path = \"/cover\" }\nstates = { 00 = \"shut\", 0 =",
        &["the state 0 = shut is there twice"],
    );
    check(
        "read = { path = \"/cover\" }\nstates = { 2 = \"2\", 0 =",
        &[
            "`2` cannot name a state; a name has lower case letters, digits, _ and -, and starts with a letter",
        ],
    );
}

#[test]
fn numbers_make_sense() {
    check(
        MANHOLE,
        "range    = [0, 6]",
        "range    = [6, 0]",
        &["a range goes up, this one from 6 to 0"],
    );
    check(
        MANHOLE,
        "range    = [0, 6]",
        "range    = [0]",
        &["a range has two numbers, for example [0, 6]"],
    );
    check(
        MANHOLE,
        "range    = [0, 6]",
        "range    = [0, inf]",
        &["a range goes up, this one from 0 to inf"],
    );
    check(MANHOLE, "deadband = 0.02", "deadband = -1", &["`deadband` must be greater than 0"]);
    check(MANHOLE, "scale = 0.001", "scale = 0", &["`scale` must be a number other than 0"]);
    check(
        MANHOLE,
        "expect_every = \"5min\"",
        "expect_every = \"5m\"",
        &["`5m` could be months or metres; minutes are `min`"],
    );
    check(
        MANHOLE,
        "stale_after  = \"15min\"",
        "stale_after = \"4min\"",
        &["`stale_after` is shorter than `expect_every`, which is 5min"],
    );
    check(
        MANHOLE,
        "dead_after   = \"30min\"",
        "dead_after = \"10min\"",
        &["`dead_after` is shorter than `stale_after`, which is 15min"],
    );
    check(
        MANHOLE,
        "stale_after  = \"15min\"",
        "stale_after = \"0s\"",
        &[
            "`stale_after` must be longer than nothing",
            "`stale_after` is shorter than `expect_every`, which is 5min",
        ],
    );
}

#[test]
fn names_and_words_come_from_their_lists() {
    check(
        MANHOLE,
        "kind         = \"manhole\"",
        "kind = \"manhol\"",
        &["unknown kind `manhol` | did you mean `manhole`? | \
         allowed: manhole, pipe, rain-gauge, canal-gauge, sluice-gate, parking-bay, parking-lot"],
    );
    check(
        MANHOLE,
        "headline     = \"level\"",
        "headline = \"levl\"",
        &[
            "no point is named `levl` | did you mean `level`? | allowed: level, ch4, h2s, o2, cover, tilt, battery",
        ],
    );
    check(
        MANHOLE,
        "profile      = 1",
        "profile = 2",
        &["unknown profile format 2; this hub reads 1"],
    );
    check(
        MANHOLE,
        "[points.tilt]",
        "[points.Tilt]",
        &["a metric name has only lower case ASCII letters, digits and _; `Tilt` has `T`"],
    );
    check(
        MANHOLE,
        "id           = \"wz-mh1\"\n",
        "",
        &["`id` is missing | for example: id = \"aqua-mh1\""],
    );
    check(
        MANHOLE,
        "format = \"unix_ms\"",
        "format = \"unix_mms\"",
        &[
            "unknown format `unix_mms` | did you mean `unix_ms`? | allowed: unix_s, unix_ms, unix_us, rfc3339, local",
        ],
    );
    check(
        MANHOLE,
        "sewer/{site}/{device}/up",
        "sewer/#/{device}/up",
        &["`#` is for filters; name the levels instead, for example {site}"],
    );
}

#[test]
fn pointers_do_not_get_in_each_others_way() {
    check(
        MANHOLE,
        "\"/gas/ch4\"",
        "\"gas.ch4\"",
        &["`gas.ch4` is no JSON pointer; it starts with `/`, for example /gas/ch4"],
    );
    check(
        MANHOLE,
        "\"/cover\"",
        "\"/gas\"",
        &["`/gas/ch4` reads inside the value that `/gas` reads as a number"],
    );
    check(
        MANHOLE,
        "{ path = \"/tilt\" }",
        "{ path = \"/tilt\", address = 4 }",
        &[
            "`address` is for modbus; this profile's source is mqtt | allowed: path, scale, offset, invalid",
        ],
    );
}

#[test]
fn registers_are_where_they_can_be() {
    let setpoint =
        "{ table = \"holding\", address = 200, type = \"u16\", scale = 0.1, poll = \"slow\" }";
    let check = |to: &str, expected: &[&str]| check(GATE, setpoint, to, expected);
    let zero_based = "addresses are zero-based: write 200 | \
                      if the device really answers there, say zero_based = true in [source.modbus]";
    check(
        "{ table = \"holding\", address = 40201, type = \"u16\", poll = \"slow\" }",
        &[&format!("40201 looks like a number of the 4xxxx convention | {zero_based}")],
    );
    check(
        "{ table = \"holding\", address = 400201, type = \"u16\", poll = \"slow\" }",
        &[
            "400201 looks like a number of the 4xxxx convention | addresses are zero-based: write 200",
        ],
    );
    check(
        "{ table = \"holding\", address = -1, type = \"u16\", poll = \"slow\" }",
        &["address -1 is not between 0 and 65535"],
    );
    check(
        "{ table = \"holding\", address = 99, type = \"u32\", poll = \"slow\" }",
        &["holding 99 u32 CDAB overlaps `opening`, which is holding 100 u16 CDAB"],
    );
    check(
        "{ table = \"holding\", address = 65535, type = \"u32\", poll = \"slow\" }",
        &["2 registers from 65535 go beyond 65535"],
    );
    check(
        "{ table = \"holding\", address = 200, type = \"u16\", poll = \"slo\" }",
        &["no poll rate is named `slo` | did you mean `slow`? | allowed: fast, slow"],
    );
    check(
        "{ table = \"holding\", address = 200, type = \"i16\", poll = \"slow\", invalid = [0xFFFF] }",
        &["a i16 is never 65535; it is whole, from -32768 to 32767"],
    );
    check(
        "{ table = \"coil\", address = 7, type = \"u16\", poll = \"slow\" }",
        &["the coil table holds bits; leave `type` out"],
    );
    check(
        "{ table = \"holding\", address = 7, type = \"u16\", word_order = \"ABCD\", poll = \"slow\" }",
        &["a u16 has one word and no order"],
    );
    check(
        "{ path = \"/x\", table = \"holding\", address = 7, type = \"u16\", poll = \"slow\" }",
        &["`path` is for JSON; this profile's source is modbus | \
         allowed: table, address, type, word_order, bit, bits, length, poll, scale, offset, invalid"],
    );
    check("{ table = \"holding\", address = 100, type = \"u16\", poll = \"slow\" }", &[]);
}

#[test]
fn a_bus_has_bounds() {
    check(GATE, "max_registers   = 60", "max_registers = 126", &["126 is not between 1 and 125"]);
    check(
        GATE,
        "timeout         = \"800ms\"",
        "timeout = \"5min\"",
        &["5min is not between 10ms and 1min"],
    );
    check(
        GATE,
        "slow = \"30s\"",
        "slow = \"0s\"",
        &["0s is not between 10ms and 1d", "no poll rate is named `slow` | allowed: fast"],
    );
    let zero_based = GATE.replacen("max_gap", "zero_based = true\nmax_gap", 1);
    check(&zero_based, "address = 200,", "address = 40201,", &[]);
}

#[test]
fn commands_can_be_asked_told_and_seen() {
    let write = "write    = { table = \"holding\", address = 200, type = \"u16\", scale = 0.1 }";
    check(
        GATE,
        write,
        "",
        &[
            "`write` is missing | for example: write = { table = \"holding\", address = 200, type = \"u16\" }",
        ],
    );
    check(
        GATE,
        write,
        "write = { table = \"input\", address = 200, type = \"u16\" }",
        &["unknown table that can be written `input` | allowed: holding, coil"],
    );
    check(
        GATE,
        "scale = 0.1 }\nreadback",
        "scale = 0.001 }\nreadback",
        &[
            "`set_opening`: the target 100 does not fit what is written | look at `type`, `scale` and `offset` of `write`, and at `range`",
        ],
    );
    check(
        GATE,
        "readback = { point = \"setpoint\"",
        "readback = { point = \"level_up\"",
        &["`level_up` is in m, the target in %"],
    );
    check(
        GATE,
        "readback = { point = \"setpoint\"",
        "readback = { point = \"motor\"",
        &["`motor` is in 1, the target in %"],
    );
    check(
        GATE,
        "confirm   = { point = \"motor\", equals = \"stopped\", within = \"10s\" }",
        "",
        &[
            "`confirm` is missing | for example: confirm = { point = \"opening\", tolerance = 1.0, within = \"180s\" }",
        ],
    );
    check(
        GATE,
        "stop     = \"stop\"",
        "stop = \"stopp\"",
        &["no command is named `stopp` | did you mean `stop`? | allowed: stop"],
    );
    check(
        GATE,
        "expr   = \"remote == 1\"\nreason = \"blocked-by-mode\"",
        "expr   = \"remote == 1\"\nreason = \"because\"",
        &[
            "unknown reason `because` | allowed: not-supported, invalid-position, position-reached, parameter-change-in-execution, step-limitation, blocked-by-mode, blocked-by-process, blocked-by-interlocking, command-already-in-execution, blocked-by-health, abortion-by-cancel, time-limit-over, abortion-by-trip, object-not-selected, object-already-selected, no-access-authority, ended-with-overshoot, abortion-by-communication-loss, inconsistent-parameters",
        ],
    );
}

#[test]
fn fixtures_of_commands_are_whole() {
    let stop = "command = { stop = 0 }";
    check(
        GATE,
        stop,
        "command = { stopp = 0 }",
        &["no command is named `stopp` | did you mean `stop`? | allowed: set_opening, stop"],
    );
    check(
        GATE,
        "missing   = [\"setpoint\"]",
        "refused = \"require\"",
        &["`refused` is for a test with a `command`"],
    );
    check(
        GATE,
        stop,
        "command = { stop = 0, set_opening = 1 }",
        &["a test asks for one command, for example { set_opening = 42 }"],
    );
}

#[test]
fn fixtures_name_what_there_is() {
    check(
        MANHOLE,
        "missing = [\"o2\"",
        "missing = [\"o3\"",
        &[
            "no point is named `o3` | did you mean `o2`? | allowed: level, ch4, h2s, o2, cover, tilt, battery",
        ],
    );
    check(
        GATE,
        "alerts    = [\"motor.fault\"]",
        "alerts = [\"motor.fautl\"]",
        &["no alert is named `motor.fautl` | did you mean `motor.fault`? | \
         allowed: level_up.high, level_up.flooding, motor.fault, remote.local, e_stop.pressed, over_torque.tripped"],
    );
    check(
        MANHOLE,
        "expect  = { level = 2.75, cover = \"open\"",
        "expect = { cover = \"ajar\"",
        &["`cover` has no state `ajar` | allowed: closed, open"],
    );
    check(
        MANHOLE,
        "topic   = \"sewer/xizha/mh-014/up\"",
        "topic = \"sewer/xizha/mh-014/down\"",
        &[
            "the hub takes nothing from this topic | expected sewer/{site}/{device}/up or devices/{device}/telemetry",
        ],
    );
    check(
        MANHOLE,
        "topic   = \"sewer/xizha/mh-014/up\"",
        "topic = \"sewer/xizha/mh-015/up\"",
        &["the topic names the device `mh-015`, the test `mh-014`"],
    );
    check(
        MANHOLE,
        "name    = \"surcharge lifts the cover\"",
        "name = \"a dry day\"",
        &["a test is named `a dry day` already"],
    );
    check(
        GATE,
        "100 = [873]",
        "100 = [65536]",
        &["holding words are between 0 and 65535, not 65536"],
    );
    check(GATE, "20 = [1] }", "20 = [1], 11 = [5] }", &["input 11 is there twice"]);
}

#[test]
fn all_that_is_wrong_is_said_at_once_with_its_place() {
    let text = MANHOLE
        .replacen("\"[ppm]\"", "\"ppm\"", 1)
        .replacen("stale_after", "stale_aftr", 1)
        .replacen("above = 2.5", "above = 250", 1);
    let shown: Vec<String> = errors(&text).iter().map(ToString::to_string).collect();
    let expected = [
        "\
p.toml:18:1: unknown key `stale_aftr`
 18 | stale_aftr  = \"15min\"
    | ^^^^^^^^^^
    = did you mean `stale_after`?
    = allowed: expect_every, stale_after, dead_after, severity",
        "p.toml:29:30: never raised: 250 is not inside the range 0 to 6",
        "p.toml:45:12: `ppm` is not the UCUM code",
    ];
    assert_eq!(shown.len(), expected.len(), "{shown:#?}");
    for (shown, expected) in shown.iter().zip(expected) {
        assert!(shown.starts_with(expected), "{shown}\n{expected}");
    }
}

proptest! {
    #[test]
    fn no_broken_profile_crashes_the_reader(
        cut in 0..GATE.len(),
        len in 0..60_usize,
        put in r#"[a-z0-9\[\]{}="'.,井 \n]{0,6}"#,
        which in any::<bool>(),
    ) {
        let base = if which { GATE } else { MANHOLE };
        let start = (0..=cut).rev().find(|&i| base.is_char_boundary(i)).unwrap_or(0);
        let end = (start + len..base.len()).find(|&i| base.is_char_boundary(i)).unwrap_or(base.len());
        let text = format!("{}{put}{}", &base[..start], &base[end..]);
        for error in errors(&text) {
            prop_assert!(error.to_string().contains(&error.message));
        }
    }
}
