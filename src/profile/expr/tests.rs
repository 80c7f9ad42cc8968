//! What expressions say, what they come to, and what is refused in which words.

use proptest::prelude::*;

use super::*;
use crate::model::{Label, Reason};

fn states(names: &[&str]) -> Vec<State> {
    let state = |(code, name): (usize, &&str)| State {
        code: code as f64,
        name: (*name).to_owned(),
        label: Label::same(name),
    };
    names.iter().enumerate().map(state).collect()
}

/// The points of the gate that most tests are about, with their values.
const POINTS: &[(&str, &str, f64)] = &[
    ("level_up", "m", 3.5),
    ("level_down", "m", 1.5),
    ("depth", "mm", 1_500.0),
    ("velocity", "m/s", 2.0),
    ("area", "m2", 3.0),
    ("pressure", "kPa", 150.0),
    ("opening", "%", 50.0),
    ("ch4", "%{LEL}", 10.0),
    ("o2", "%{vol}", 20.0),
    ("outside", "Cel", 20.0),
    ("inside", "Cel", 15.0),
    ("tilt", "deg", 60.0),
    ("cars", "{vehicle}", 30.0),
    ("bays", "{vehicle}", 40.0),
    ("ratio", "1", 0.25),
    ("rssi", "dB{mW}", -90.0),
    ("noise", "dB{mW}", -110.0),
    ("flow", "m3/h", 3_600.0),
    ("2nd_level", "m", 9.0),
];

struct Town {
    motor: Vec<State>,
    remote: Vec<State>,
}

impl Town {
    fn new() -> Self {
        Town {
            motor: states(&["stopped", "opening", "closing", "fault"]),
            remote: states(&["local", "remote"]),
        }
    }

    fn scope(&self) -> Scope<'_> {
        let mut scope = Scope::default();
        for (name, unit, _) in POINTS {
            scope.add(name, Kind::Number(unit));
        }
        scope.add("motor", Kind::State(&self.motor));
        scope.add("remote", Kind::State(&self.remote));
        scope.add("is_night", Kind::Bool);
        scope.add("broken", Kind::Unknown);
        scope
    }
}

/// Values of all names: those of [`POINTS`], motor in fault, remote control, night.
fn value(index: PointIndex) -> Option<Operand> {
    let values = POINTS.iter().map(|(.., value)| *value).chain([3.0, 1.0, 1.0, 0.0]);
    let value = values.into_iter().nth(usize::from(index.0));
    value.map(Operand::good)
}

#[track_caller]
fn check(text: &str, wanted: Kind<'_>, expected: f64) {
    let town = Town::new();
    let expr = compile(text, &town.scope(), wanted).unwrap_or_else(|e| panic!("{text}: {e:#?}"));
    let found = expr.eval(&value).expect("all values are there");
    let is_close = (found.value - expected).abs() <= 1e-12 * expected.abs().max(1.0);
    assert!(is_close && found.quality == Quality::GOOD, "{text}: {found:?}, expected {expected}");
}

const METRES: Kind<'_> = Kind::Number("m");
const PLAIN: Kind<'_> = Kind::Number("1");

#[track_caller]
fn check_condition(text: &str, expected: bool) {
    check(text, Kind::Bool, f64::from(u8::from(expected)));
}

/// Expects these errors, each `what it points at: message | help | help ...`.
#[track_caller]
fn check_refused(text: &str, wanted: Kind<'_>, expected: &[&str]) {
    let town = Town::new();
    let errors = compile(text, &town.scope(), wanted).expect_err(text);
    let shown: Vec<String> = errors
        .iter()
        .map(|ExprError { at, message, help }| {
            let shown = [vec![message.clone()], help.clone()].concat().join(" | ");
            format!("{}: {shown}", &text[at.clone()])
        })
        .collect();
    assert_eq!(shown, expected, "{text}");
}

#[test]
fn operators_bind_as_in_arithmetic() {
    check("1 + 2 * 3 - 4 / 2", PLAIN, 5.0);
    check("(1 + 2) * 3", PLAIN, 9.0);
    check("10 - 4 - 3", PLAIN, 3.0);
    check("-2 * -3", PLAIN, 6.0);
    check("1.5e2 + .0".replace(".0", "0.0").as_str(), PLAIN, 150.0);
    check("min(level_up, level_down, 1.25) + max(1, 2)", METRES, 3.25);
    check("clamp(level_up, 0, 3)", METRES, 3.0);
    check("abs(level_down - level_up)", METRES, 2.0);
    check("if(motor == 'fault', level_up, level_down)", METRES, 3.5);
    check("2nd_level - 1", METRES, 8.0);
    check("count(motor == 'fault', remote == 'remote', is_night, false)", PLAIN, 3.0);
    check("floor(level_up) + round(level_up)", METRES, 7.0);
    check("sqrt(16) + pow(2, 3) + pow(2, 0.5) * pow(2, 0.5)", PLAIN, 14.0);
    check("exp(ln(5)) + acos(1)", PLAIN, 5.0);
    check_condition("1 < 2 && 2 <= 2 && 3 > 2 && 2 >= 2 && 1 != 2 && 1 == 1", true);
    check_condition("false || true && false", false);
    check_condition("!is_night || !(1 < 2)", false);
    check_condition("(1 < 2) == (3 < 4)", true);
}

#[test]
fn states_are_compared_by_name_and_by_code() {
    check_condition("motor == \"fault\"", true);
    check_condition("motor != 3", false);
    check_condition("'opening' == motor", false);
    check_condition("remote == 1 && motor != 2", true);
    let town = Town::new();
    check("if(level_up > 3, 'fault', 'stopped')", Kind::State(&town.motor), 3.0);
    check("if(motor == 'stopped', 'opening', motor)", Kind::State(&town.motor), 3.0);
    check("level_up > 3", Kind::State(&town.remote), 1.0);
    check_refused(
        "motor == 'falt' && motor != 7",
        Kind::Bool,
        &[
            "'falt': no state is named `falt` | did you mean `fault`? | allowed: stopped, opening, closing, fault",
            "motor != 7: no state has the code 7 | allowed: 0 = 'stopped', 1 = 'opening', 2 = 'closing', 3 = 'fault'",
        ],
    );
    check_refused(
        "motor > 1",
        Kind::Bool,
        &["motor > 1: states have no order | compare with == or !="],
    );
    check_refused(
        "motor + 1 < 2 || motor == fault",
        Kind::Bool,
        &[
            "motor: expected a number; this is a state | a state's code is no measure; compare it: motor == 'fault'",
            "fault: nothing is named `fault` | a state's name stands in quotes: 'fault'",
        ],
    );
    check_refused(
        "motor == remote",
        Kind::Bool,
        &["motor == remote: a state and a state cannot be compared"],
    );
}

#[test]
fn units_of_one_dimension_convert_by_themselves() {
    check("level_up - depth", METRES, 2.0);
    check("depth - level_up", METRES, -2.0);
    check("depth - level_up", Kind::Number("mm"), -2_000.0);
    check("area * velocity", Kind::Number("m3/h"), 21_600.0);
    check("flow / area", Kind::Number("m/s"), 1.0 / 3.0);
    check("sqrt(2 * 9.80665 'm/s2' * level_up)", Kind::Number("m/s"), 68.646_55f64.sqrt());
    check("pow(level_up, 2) + area", Kind::Number("m2"), 15.25);
    check("level_up + 50 'cm'", METRES, 4.0);
    check("cars / bays * 100 '%'", Kind::Number("%"), 75.0);
    check("opening / 100 '%' * level_up", METRES, 1.75);
    check("cos(tilt) * level_up", METRES, 1.75);
    check("sin(tilt - 30) * 2", PLAIN, 1.0);
    check("sin(acos(0))", PLAIN, 1.0);
    check("outside - inside", Kind::Number("K"), 5.0);
    check("outside + 2 'K' - 1", Kind::Number("Cel"), 21.0);
    check("outside", Kind::Number("[degF]"), 68.0);
    check("inside + (outside - inside) / 2", Kind::Number("Cel"), 17.5);
    check("rssi - noise", Kind::Number("dB"), 20.0);
    check("rssi + 3 'dB'", Kind::Number("dB{mW}"), -87.0);
    check_condition("depth == level_down && depth < level_up", true);
    check_condition("ch4 > 5 && o2 >= 19.5 && outside > -3 'Cel'", true);
}

#[test]
fn what_does_not_measure_the_same_does_not_mix() {
    check_refused(
        "level_up + pressure",
        METRES,
        &["level_up + pressure: m and kPa cannot be added"],
    );
    check_refused("ch4 + o2", Kind::Unknown, &["ch4 + o2: %{LEL} and %{vol} cannot be added"]);
    check_refused("ch4 > opening", Kind::Bool, &["ch4 > opening: %{LEL} and % cannot be compared"]);
    check_refused(
        "level_up * level_down",
        METRES,
        &["level_up * level_down: this is in m2; expected m"],
    );
    check_refused(
        "cars / bays",
        Kind::Number("%"),
        &["cars / bays: this is in 1; expected % | a ratio becomes a percentage by * 100 '%'"],
    );
    check_refused(
        "opening * level_up",
        METRES,
        &[
            "opening * level_up: this is in %.m; expected m | divide the percentage by 100 '%' to make it a ratio",
        ],
    );
    check_refused(
        "outside + inside + 2 * outside",
        Kind::Unknown,
        &[
            "outside + inside: two values in Cel have no sum: it has a zero of its own | add a difference to it, or take the middle: a + (b - a) / 2",
            "outside: Cel has a zero of its own; no multiple of it means anything | it can be compared, subtracted and shifted; a difference can be multiplied",
        ],
    );
    check_refused(
        "outside - inside",
        Kind::Number("Cel"),
        &[
            "outside - inside: this is in K; expected Cel | Cel has a zero of its own: it is a place on a scale, a difference is a step",
        ],
    );
    check_refused("sqrt(level_up)", Kind::Unknown, &["sqrt(level_up): m is the square of no unit"]);
    check_refused(
        "pow(level_up, 1.5)",
        Kind::Unknown,
        &[
            "pow(level_up, 1.5): m can be raised to whole numbers from -9 to 9 only | make it a plain number first: x / 1 'm'",
        ],
    );
    check_refused(
        "exp(level_up)",
        Kind::Unknown,
        &["level_up: expected a plain number; this is in m | divide by 1 'm'"],
    );
    check_refused(
        "cos(level_up)",
        Kind::Unknown,
        &["level_up: expected an angle in deg or radians; this is in m"],
    );
    check_refused(
        "if(is_night, level_up, pressure)",
        Kind::Unknown,
        &["if(is_night, level_up, pressure): m and kPa cannot be alternatives"],
    );
    check_refused("level_up > 2 '°C'", Kind::Bool, &["'°C': `°C` is no unit | write 'Cel'"]);
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    check_refused(
        "level_upp - mni(level_down, motor) + 水",
        METRES,
        &["水: `水` has no meaning here"],
    );
    check_refused(
        "level_upp - mni(level_dwn, 1) > 3",
        Kind::Bool,
        &[
            &format!(
                "level_upp: nothing is named `level_upp` | did you mean `level_up`? | allowed: {}",
                Town::new().scope().names.iter().map(|(n, _)| *n).collect::<Vec<_>>().join(", ")
            ),
            "mni: no function `mni` | did you mean `min`? | allowed: if, min, max, clamp, abs, floor, round, sqrt, pow, exp, ln, sin, cos, acos, count",
            &format!(
                "level_dwn: nothing is named `level_dwn` | did you mean `level_down`? | allowed: {}",
                Town::new().scope().names.iter().map(|(n, _)| *n).collect::<Vec<_>>().join(", ")
            ),
        ],
    );
    // What is broken elsewhere is not broken here.
    let town = Town::new();
    compile("broken + level_up > 3 && broken == 'x'", &town.scope(), Kind::Bool).expect("fits");
}

#[test]
fn a_text_that_cannot_be_read_says_where_it_stops() {
    for (text, error) in [
        ("", ": expected a number, a point or `(`; the expression ends"),
        ("level_up -", ": expected a number, a point or `(`; the expression ends"),
        ("(level_up", "(: the `(` is not closed"),
        ("min(level_up, 1", "min: the `(` is not closed"),
        ("level_up level_down", "level_down: expected an operator; found `level_down`"),
        ("level_up > 0.5 m", "m: expected an operator; found `m` | a unit stands in quotes: 'm'"),
        ("level_up > 0.5[m]", "[: `[` has no meaning here | a unit stands in quotes: 0.5 'm'"),
        ("motor = 3", "=: `=` has no meaning here | compare with =="),
        ("is_night and is_night", "and: expected an operator; found `and` | write &&"),
        ("1 < 2 < 3", "<: comparisons do not chain | write a < b && b < c"),
        ("（level_up", "（: `（` has no meaning here | write ("),
        ("motor == 'fault", "'fault: the quote is not closed"),
        ("1e999 > 2", "1e999: the number is too large"),
        ("level_up ^ 2", "^: `^` has no meaning here | write pow(x, 2)"),
        ("min(1, )", "): expected a number, a point or `(`; found `)`"),
        ("abs()", "abs(): `abs` has 1 argument, not 0 | abs(a)"),
        (
            "if(is_night, 1)",
            "if(is_night, 1): `if` has 3 arguments, not 2 | if(condition, value if it holds, value if not)",
        ),
        (
            "min",
            "min: nothing is named `min` | a function has its arguments in parentheses: min(...)",
        ),
        (
            "'fault'",
            "'fault': nothing here has the state 'fault' | compare it with a point that has states: motor == 'fault'",
        ),
    ] {
        check_refused(text, Kind::Unknown, &[error]);
    }
}

#[test]
fn the_result_is_what_is_wanted() {
    check_refused(
        "level_up > 3",
        METRES,
        &[
            "level_up > 3: expected a number in m; this is a condition | write if(..., 1, 0), or give the point states in place of a unit",
        ],
    );
    check_refused(
        "level_up",
        Kind::Bool,
        &["level_up: expected a condition; this is a number in m | compare it: level > 2.5"],
    );
    check_refused(
        "motor && is_night",
        Kind::Bool,
        &["motor: expected a condition; this is a state | compare it: motor == 'fault'"],
    );
    let town = Town::new();
    check_refused(
        "level_up",
        Kind::State(&town.motor),
        &[
            "level_up: expected a state; this is a number in m | for example if(level > 2.5, 'high', 'low')",
        ],
    );
}

#[test]
fn hostile_texts_are_bounded() {
    let town = Town::new();
    let scope = town.scope();
    for text in [
        "(".repeat(4_000),
        "-".repeat(4_000),
        "!".repeat(4_000),
        "min(".repeat(1_000),
        vec!["1"; 300].join("+"),
        "1 ".repeat(5_000),
        "if(true,".repeat(500),
    ] {
        assert!(compile(&text, &scope, Kind::Unknown).is_err());
    }
    let long = vec!["level_up"; 120].join("+");
    assert!(compile(&long, &scope, METRES).is_ok());
    assert!(compile(&format!("{}1{}", "(".repeat(40), ")".repeat(40)), &scope, PLAIN).is_ok());
    let mut unit = "level_up".to_owned();
    for _ in 0..5 {
        unit = format!("pow({unit}, 9)");
    }
    assert!(compile(&unit, &scope, Kind::Unknown).is_err());
}

/// Evaluates with these values of a, b and c; `None` is missing.
#[track_caller]
fn eval(text: &str, wanted: Kind<'_>, values: [Option<Operand>; 3]) -> Option<Operand> {
    let mut scope = Scope::default();
    for name in ["a", "b", "c"] {
        scope.add(name, Kind::Number("1"));
    }
    let expr = compile(text, &scope, wanted).expect(text);
    expr.eval(&|index: PointIndex| values[usize::from(index.0)])
}

fn graded(value: f64, quality: Quality) -> Option<Operand> {
    Some(Operand { value, quality })
}

#[test]
fn a_result_is_trusted_as_far_as_the_worst_value_that_it_used() {
    let good = |value| Some(Operand::good(value));
    let stale = Quality::uncertain(Reason::Stale);
    let bad = Quality::bad(Reason::Range);
    let values = [good(1.0), graded(2.0, stale), graded(3.0, bad)];
    let check = |text, expected| assert_eq!(eval(text, PLAIN, values), expected, "{text}");
    check("a + a", good(2.0));
    check("a + b", graded(3.0, stale));
    check("b + c", graded(5.0, bad));
    check("if(a > 0, a, c)", good(1.0));
    check("if(a > 1, a, c)", graded(3.0, bad));
    check("if(b > 1, a, c)", graded(1.0, stale));
    check("count(a > 0, b > 0)", graded(2.0, stale));
    check("min(a, c)", graded(1.0, bad));
}

#[test]
fn a_missing_value_gives_none_unless_it_is_not_needed() {
    let good = |value| Some(Operand::good(value));
    let check = |text, wanted, expected| {
        assert_eq!(eval(text, wanted, [good(1.0), good(2.0), None]), expected, "{text}");
    };
    check("a + c", PLAIN, None);
    check("min(a, c)", PLAIN, None);
    check("if(a > 0, b, c)", PLAIN, good(2.0));
    check("if(a > 1, b, c)", PLAIN, None);
    check("if(c > 1, a, b)", PLAIN, None);
    check("a > 5 && c > 1", Kind::Bool, good(0.0));
    check("c > 1 && a > 5", Kind::Bool, good(0.0));
    check("c > 1 || a > 0", Kind::Bool, good(1.0));
    check("c > 1 || a > 5", Kind::Bool, None);
    check("c > 1 && a > 0", Kind::Bool, None);
}

#[test]
fn of_two_sides_that_decide_the_better_one_does() {
    let bad = Quality::bad(Reason::Comm);
    let values = [Some(Operand::good(0.0)), graded(0.0, bad), graded(1.0, bad)];
    let check = |text, expected| assert_eq!(eval(text, Kind::Bool, values), expected, "{text}");
    check("a == 1 && b == 1", Some(Operand::good(0.0)));
    check("b == 1 && a == 1", Some(Operand::good(0.0)));
    check("b == 1 && c == 1", graded(0.0, bad));
    check("a == 0 && c == 1", graded(1.0, bad));
    check("a == 0 || c == 1", Some(Operand::good(1.0)));
    let surely = |text| eval(text, Kind::Bool, values).is_some_and(Operand::is_surely_true);
    assert!(surely("a == 0") && !surely("c == 1") && !surely("a == 1"));
}

#[test]
fn what_cannot_be_computed_is_bad_and_no_number() {
    let good = |value| Some(Operand::good(value));
    for text in ["a / b", "b / b", "sqrt(0 - a)", "ln(b)", "acos(2)", "exp(1000)", "-(a / b)"] {
        let found = eval(text, PLAIN, [good(1.0), good(0.0), None]).expect(text);
        assert!(found.value.is_nan(), "{text}");
        assert_eq!(found.quality, Quality::bad(Reason::Computed), "{text}");
    }
    let condition = eval("a / b > 1", Kind::Bool, [good(1.0), good(0.0), None]).expect("there");
    assert_eq!(condition, Operand { value: 0.0, quality: Quality::bad(Reason::Computed) });
    let sentinel = graded(f64::NAN, Quality::bad(Reason::Sentinel));
    let found = eval("a + b", PLAIN, [sentinel, good(1.0), None]).expect("there");
    assert_eq!(found.quality, Quality::bad(Reason::Sentinel), "the first cause stays");
}

#[test]
fn inputs_are_named_once_and_in_order() {
    let town = Town::new();
    let scope = town.scope();
    let expr = compile("if(level_down > level_up, level_up, 0)", &scope, METRES).expect("good");
    assert_eq!(expr.inputs(), [PointIndex(0), PointIndex(1)]);
    assert!(!expr.is_bool());
    assert!(compile("is_night", &scope, Kind::Bool).expect("good").is_bool());
}

/// A random formula over a, b and c, and what plain arithmetic makes of it.
#[derive(Debug, Clone)]
enum Formula {
    Number(u16),
    Name(usize),
    Two(char, Box<Formula>, Box<Formula>),
    Min(Box<Formula>, Box<Formula>),
    If(Box<Formula>, Box<Formula>, Box<Formula>, Box<Formula>),
    Minus(Box<Formula>),
}

impl Formula {
    fn text(&self) -> String {
        match self {
            Formula::Number(n) => format!("{}", f64::from(*n) / 8.0),
            Formula::Name(at) => ["a", "b", "c"][*at].to_owned(),
            Formula::Two(sign, a, b) => format!("({} {sign} {})", a.text(), b.text()),
            Formula::Min(a, b) => format!("min({},{})", a.text(), b.text()),
            Formula::If(a, b, yes, no) => {
                format!("if({} < {}, {}, {})", a.text(), b.text(), yes.text(), no.text())
            }
            Formula::Minus(a) => format!("-{}", a.text()),
        }
    }

    /// The value; `None` once anything that is used is not finite.
    fn value(&self, values: &[f64; 3]) -> Option<f64> {
        let value = match self {
            Formula::Number(n) => f64::from(*n) / 8.0,
            Formula::Name(at) => values[*at],
            Formula::Two(sign, a, b) => {
                let (a, b) = (a.value(values)?, b.value(values)?);
                match sign {
                    '+' => a + b,
                    '-' => a - b,
                    '*' => a * b,
                    _ => a / b,
                }
            }
            Formula::Min(a, b) => a.value(values)?.min(b.value(values)?),
            Formula::If(a, b, yes, no) => {
                let holds = a.value(values)? < b.value(values)?;
                if holds { yes.value(values)? } else { no.value(values)? }
            }
            Formula::Minus(a) => -a.value(values)?,
        };
        value.is_finite().then_some(value)
    }
}

fn formula() -> impl Strategy<Value = Formula> {
    let leaf =
        prop_oneof![any::<u16>().prop_map(Formula::Number), (0usize..3).prop_map(Formula::Name)];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let one = move || inner.clone().prop_map(Box::new);
        prop_oneof![
            (prop::sample::select(vec!['+', '-', '*', '/']), one(), one())
                .prop_map(|(sign, a, b)| Formula::Two(sign, a, b)),
            (one(), one()).prop_map(|(a, b)| Formula::Min(a, b)),
            (one(), one(), one(), one()).prop_map(|(a, b, yes, no)| Formula::If(a, b, yes, no)),
            one().prop_map(Formula::Minus),
        ]
    })
}

fn operand() -> impl Strategy<Value = Option<Operand>> {
    let good = (-3.0..3.0f64).prop_map(|value| Some(Operand::good(value)));
    let stale = (-3.0..3.0f64)
        .prop_map(|value| Some(Operand { value, quality: Quality::uncertain(Reason::Stale) }));
    let sentinel = Operand { value: f64::NAN, quality: Quality::bad(Reason::Sentinel) };
    prop_oneof![6 => good, 1 => stale, 1 => Just(None), 1 => Just(Some(sentinel)), 1 => Just(Some(Operand::good(0.0)))]
}

proptest! {
    #[test]
    fn evaluation_is_plain_arithmetic(formula in formula(), values in [-1e6..1e6, -1e3..1e3, -1.0..1.0f64]) {
        let operands = values.map(|value| Some(Operand::good(value)));
        let found = eval(&formula.text(), PLAIN, operands).expect("nothing is missing");
        match formula.value(&values) {
            Some(expected) => prop_assert_eq!(found, Operand::good(expected)),
            None => prop_assert_eq!(found.quality, Quality::bad(Reason::Computed)),
        }
    }

    #[test]
    fn the_quick_way_says_the_same(formula in formula(), values in [operand(), operand(), operand()]) {
        let mut scope = Scope::default();
        for name in ["a", "b", "c"] {
            scope.add(name, PLAIN);
        }
        let text = formula.text();
        let condition = format!("{text} > 1 && (a < b || !({text} < c))");
        for (text, wanted) in [(text, PLAIN), (condition, Kind::Bool)] {
            let Ok(expr) = compile(&text, &scope, wanted) else { continue };
            let values = |index: PointIndex| values[usize::from(index.0)];
            let bits = |one: Option<Operand>| one.map(|one| (one.value.to_bits(), one.quality));
            prop_assert_eq!(bits(expr.eval(&values)), bits(expr.root.eval(&values)), "{}", text);
        }
    }

    #[test]
    fn no_text_crashes_it(text in ".{0,60}") {
        let town = Town::new();
        let _ = compile(&text, &town.scope(), Kind::Unknown);
    }

    #[test]
    fn no_words_crash_it(words in proptest::collection::vec(prop::sample::select(vec![
        "level_up", "depth", "motor", "is_night", "outside", "opening", "rssi", "'fault'", "'m'", "1.5", "3", "true",
        "(", ")", ",", "+", "-", "*", "/", "<", "==", "&&", "||", "!", "if(", "min(", "pow(", "sqrt(", "count(", "cos(",
    ]), 0..14)) {
        let town = Town::new();
        let text = words.join(" ");
        if let Err(errors) = compile(&text, &town.scope(), Kind::Unknown) {
            for error in errors {
                prop_assert!(text.get(error.at.clone()).is_some(), "{} {:?}", text, error);
            }
        }
    }
}

/// Prints the cost of an evaluation; run with `cargo test --release -- --ignored --nocapture cost_of`.
#[test]
#[ignore = "measures, proves nothing"]
fn cost_of_an_evaluation() {
    let town = Town::new();
    let scope = town.scope();
    let values: Vec<Option<Operand>> =
        (0..scope.names.len()).map(|at| value(PointIndex(at as u16))).collect();
    for (text, wanted) in [
        ("level_up - level_down", METRES),
        ("level_up - depth", METRES),
        ("if(motor == 'fault' || remote != 1, 0, max(level_up - level_down, 0))", METRES),
        ("remote == 1 && motor != 2", Kind::Bool),
        ("area * velocity", Kind::Number("m3/h")),
    ] {
        let expr = compile(text, &scope, wanted).expect(text);
        let rounds = 5_000u32;
        let best = (0..2_000)
            .map(|_| {
                let started = std::time::Instant::now();
                for _ in 0..rounds {
                    let values = std::hint::black_box(&values);
                    std::hint::black_box(expr.eval(&|at: PointIndex| values[usize::from(at.0)]));
                }
                started.elapsed().as_secs_f64() * 1e9 / f64::from(rounds)
            })
            .fold(f64::INFINITY, f64::min);
        println!("{best:6.1} ns  {text}");
    }
}
