//! UCUM unit codes, as far as a town needs them: enough of the grammar to refuse what is no code, and what each code
//! means, so that expressions over points can be checked.
//!
//! A code is a product or quotient of numbers and units; a unit is an atom, perhaps with a prefix, an exponent and an
//! annotation in braces: `m3/h`, `uS/cm`, `%{LEL}`, `dB{mW}`. The full grammar has parentheses and some hundred atoms
//! more; an atom that a device needs is added to the tables below.

mod algebra;

use algebra::SHARE;
pub(super) use algebra::{Conversion, Unit};

/// An atom: its code, its size as a fraction of its base units, and those.
type Atom = (&'static str, f64, f64, &'static [(&'static str, i32)]);

/// Atoms that take a prefix.
const METRIC: &[Atom] = &[
    ("m", 1.0, 1.0, &[("m", 1)]),
    ("s", 1.0, 1.0, &[("s", 1)]),
    ("g", 1.0, 1000.0, &[("kg", 1)]),
    ("t", 1000.0, 1.0, &[("kg", 1)]),
    ("A", 1.0, 1.0, &[("A", 1)]),
    ("V", 1.0, 1.0, &[("kg", 1), ("m", 2), ("s", -3), ("A", -1)]),
    ("W", 1.0, 1.0, &[("kg", 1), ("m", 2), ("s", -3)]),
    ("J", 1.0, 1.0, &[("kg", 1), ("m", 2), ("s", -2)]),
    ("N", 1.0, 1.0, &[("kg", 1), ("m", 1), ("s", -2)]),
    ("Pa", 1.0, 1.0, &[("kg", 1), ("m", -1), ("s", -2)]),
    ("bar", 100_000.0, 1.0, &[("kg", 1), ("m", -1), ("s", -2)]),
    ("Hz", 1.0, 1.0, &[("s", -1)]),
    ("Ohm", 1.0, 1.0, &[("kg", 1), ("m", 2), ("s", -3), ("A", -2)]),
    ("S", 1.0, 1.0, &[("kg", -1), ("m", -2), ("s", 3), ("A", 2)]),
    ("F", 1.0, 1.0, &[("kg", -1), ("m", -2), ("s", 4), ("A", 2)]),
    ("C", 1.0, 1.0, &[("A", 1), ("s", 1)]),
    ("K", 1.0, 1.0, &[("K", 1)]),
    ("mol", 1.0, 1.0, &[("mol", 1)]),
    ("cd", 1.0, 1.0, &[("cd", 1)]),
    ("lm", 1.0, 1.0, &[("cd", 1)]),
    ("lx", 1.0, 1.0, &[("cd", 1), ("m", -2)]),
    ("L", 1.0, 1000.0, &[("m", 3)]),
    ("l", 1.0, 1000.0, &[("m", 3)]),
    ("B", 1.0, 1.0, &[("B", 1)]),
    ("rad", 1.0, 1.0, &[]),
    ("eV", 1.602_176_634e-19, 1.0, &[("kg", 1), ("m", 2), ("s", -2)]),
    ("Bq", 1.0, 1.0, &[("s", -1)]),
    ("Sv", 1.0, 1.0, &[("m", 2), ("s", -2)]),
    ("m[H2O]", 9_806.65, 1.0, &[("kg", 1), ("m", -1), ("s", -2)]),
    ("m[Hg]", 133_322.0, 1.0, &[("kg", 1), ("m", -1), ("s", -2)]),
    ("VA", 1.0, 1.0, &[("kg", 1), ("m", 2), ("s", -3)]),
    ("var", 1.0, 1.0, &[("kg", 1), ("m", 2), ("s", -3)]),
    ("Wb", 1.0, 1.0, &[("kg", 1), ("m", 2), ("s", -2), ("A", -1)]),
    ("T", 1.0, 1.0, &[("kg", 1), ("s", -2), ("A", -1)]),
    ("H", 1.0, 1.0, &[("kg", 1), ("m", 2), ("s", -2), ("A", -2)]),
    ("u", 1.660_539_066_6e-27, 1.0, &[("kg", 1)]),
];

/// Atoms that take none.
const PLAIN: &[Atom] = &[
    ("%", 1.0, 100.0, &[(SHARE, 1)]),
    ("[ppth]", 1.0, 1e3, &[(SHARE, 1)]),
    ("[ppm]", 1.0, 1e6, &[(SHARE, 1)]),
    ("[ppb]", 1.0, 1e9, &[(SHARE, 1)]),
    ("[pH]", 1.0, 1.0, &[("[pH]", 1)]),
    ("deg", 1.0, 1.0, &[("deg", 1)]),
    ("'", 1.0, 60.0, &[("deg", 1)]),
    ("''", 1.0, 3_600.0, &[("deg", 1)]),
    ("sr", 1.0, 1.0, &[]),
    ("min", 60.0, 1.0, &[("s", 1)]),
    ("h", 3_600.0, 1.0, &[("s", 1)]),
    ("d", 86_400.0, 1.0, &[("s", 1)]),
    ("wk", 604_800.0, 1.0, &[("s", 1)]),
    ("mo", 2_629_800.0, 1.0, &[("s", 1)]),
    ("a", 31_557_600.0, 1.0, &[("s", 1)]),
    ("[in_i]", 0.0254, 1.0, &[("m", 1)]),
    ("[ft_i]", 0.3048, 1.0, &[("m", 1)]),
    ("[psi]", 6_894.757_293_168, 1.0, &[("kg", 1), ("m", -1), ("s", -2)]),
    ("atm", 101_325.0, 1.0, &[("kg", 1), ("m", -1), ("s", -2)]),
    ("ar", 100.0, 1.0, &[("m", 2)]),
    ("har", 10_000.0, 1.0, &[("m", 2)]),
];

/// Temperatures on scales with a zero of their own: size of a degree as a fraction of kelvin, and where the zero is.
/// `Cel` takes a prefix.
const CELSIUS: (&str, f64) = ("Cel", 273.15);
const FAHRENHEIT: (&str, f64, f64, f64) = ("[degF]", 5.0, 9.0, 459.67 * 5.0 / 9.0);

/// SI prefixes, as fractions.
const PREFIXES: &[(&str, f64, f64)] = &[
    ("da", 10.0, 1.0),
    ("Y", 1e24, 1.0),
    ("Z", 1e21, 1.0),
    ("E", 1e18, 1.0),
    ("P", 1e15, 1.0),
    ("T", 1e12, 1.0),
    ("G", 1e9, 1.0),
    ("M", 1e6, 1.0),
    ("k", 1e3, 1.0),
    ("h", 100.0, 1.0),
    ("d", 1.0, 10.0),
    ("c", 1.0, 100.0),
    ("m", 1.0, 1e3),
    ("u", 1.0, 1e6),
    ("n", 1.0, 1e9),
    ("p", 1.0, 1e12),
    ("f", 1.0, 1e15),
    ("a", 1.0, 1e18),
];

/// Common spellings that are not UCUM (or that are, and mean something else), and what is.
const MISSPELT: &[(&str, &str)] = &[
    ("°C", "Cel"),
    ("℃", "Cel"),
    ("degC", "Cel"),
    ("C", "Cel"),
    ("°", "deg"),
    ("ppm", "[ppm]"),
    ("ppb", "[ppb]"),
    ("pH", "[pH]"),
    ("psi", "[psi]"),
    ("NTU", "{NTU}"),
    ("[NTU]", "{NTU}"),
    ("FNU", "{FNU}"),
    ("dBm", "dB{mW}"),
    ("%LEL", "%{LEL}"),
    ("LEL", "%{LEL}"),
    ("%vol", "%{vol}"),
    ("vol%", "%{vol}"),
    ("%Vol", "%{vol}"),
    ("%RH", "%"),
    ("m³/h", "m3/h"),
    ("m^3/h", "m3/h"),
    ("m**3/h", "m3/h"),
    ("m³/s", "m3/s"),
    ("m^3/s", "m3/s"),
    ("m³", "m3"),
    ("m²", "m2"),
    ("µS/cm", "uS/cm"),
    ("μS/cm", "uS/cm"),
    ("Ω", "Ohm"),
    ("ohm", "Ohm"),
    ("lux", "lx"),
    ("hr", "h"),
    ("sec", "s"),
    ("rpm", "/min"),
    ("RPM", "/min"),
    ("vehicles", "{vehicle}"),
    ("vehicle", "{vehicle}"),
    ("KPa", "kPa"),
    ("kpa", "kPa"),
    ("KPA", "kPa"),
    ("Kpa", "kPa"),
    ("MPA", "MPa"),
    ("mpa", "MPa"),
    ("volt", "V"),
    ("v", "V"),
    ("M", "m"),
    ("bool", "1"),
    ("none", "1"),
    ("", "1"),
    ("percent", "%"),
    ("千帕", "kPa"),
    ("米", "m"),
    ("毫米", "mm"),
    ("厘米", "cm"),
];

/// Whether a text is a UCUM code, as far as the tables above know.
///
/// # Errors
/// The code that was probably meant, if there is one.
pub(super) fn check(text: &str) -> Result<(), Option<&'static str>> {
    if let Some((_, right)) = MISSPELT.iter().find(|(wrong, _)| *wrong == text) {
        return Err(Some(right));
    }
    parse(text).map(|_| ()).ok_or(None)
}

/// The UCUM code that a text is or means, as far as the lists above know.
pub(crate) fn code(text: &str) -> Option<String> {
    match check(text) {
        Ok(()) => Some(text.to_owned()),
        Err(right) => right.map(str::to_owned),
    }
}

/// Takes a code apart. A scale's own zero counts only where the code is nothing but that scale: `Cel/h` is kelvin per
/// hour.
fn parse(text: &str) -> Option<Unit> {
    // A leading slash is "per": `/min`.
    let (mut is_per, mut rest) = match text.strip_prefix('/') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut product: Option<Unit> = None;
    loop {
        let (term, next) = split_term(rest)?;
        let unit = parse_term(term)?;
        product = Some(match product {
            None if !is_per => unit,
            None => Unit::one().per(&unit)?,
            Some(product) if is_per => product.per(&unit)?,
            Some(product) => product.times(&unit)?,
        });
        let Some((sign, after)) = next else { return product };
        (is_per, rest) = (sign == '/', after);
    }
}

/// The text before the next `.` or `/` that is not inside an annotation, that sign and what follows it.
#[allow(clippy::type_complexity)]
fn split_term(text: &str) -> Option<(&str, Option<(char, &str)>)> {
    let mut is_inside = false;
    for (at, c) in text.char_indices() {
        match c {
            '{' if !is_inside => is_inside = true,
            '}' if is_inside => is_inside = false,
            '{' | '}' => return None,
            c if is_inside && !c.is_ascii_graphic() => return None,
            '.' | '/' if !is_inside => return Some((&text[..at], Some((c, &text[at + 1..])))),
            _ => {}
        }
    }
    (!is_inside).then_some((text, None))
}

fn parse_term(term: &str) -> Option<Unit> {
    let (unit, annotation) = match term.split_once('{') {
        Some((unit, rest)) => (unit, Some(rest.strip_suffix('}')?)),
        None => (term, None),
    };
    let is_number = !unit.is_empty() && unit.bytes().all(|b| b.is_ascii_digit());
    let unit = match unit {
        "" if annotation.is_some() => Unit::one(),
        number if is_number => {
            let number = number.parse::<f64>().ok().filter(|n| n.is_normal())?;
            Unit::one().scaled(number, 1.0)
        }
        unit => parse_power(unit)?,
    };
    match annotation {
        Some("") => None,
        Some(annotation) => (!annotation.contains('}')).then(|| unit.annotated(annotation)),
        None => Some(unit),
    }
}

fn parse_power(text: &str) -> Option<Unit> {
    let digits = text.bytes().rev().take_while(u8::is_ascii_digit).count();
    let (atom, exponent) = text.split_at(text.len() - digits);
    if exponent.is_empty() {
        return find_atom(atom);
    }
    let exponent = exponent.parse::<i32>().ok()?;
    match atom.strip_suffix('-') {
        Some(atom) => find_atom(atom)?.power(-exponent),
        None => find_atom(atom.strip_suffix('+').unwrap_or(atom))?.power(exponent),
    }
}

fn find_atom(atom: &str) -> Option<Unit> {
    let unit = |(_, over, under, bases): &Atom| Unit::of(*over, *under, bases, None);
    let metric = |atom: &str| match METRIC.iter().find(|(code, ..)| *code == atom) {
        None if atom == CELSIUS.0 => Some(Unit::of(1.0, 1.0, &[("K", 1)], Some(CELSIUS.1))),
        found => found.map(unit),
    };
    let (fahrenheit, over, under, zero) = FAHRENHEIT;
    if atom == fahrenheit {
        return Some(Unit::of(over, under, &[("K", 1)], Some(zero)));
    }
    let plain = || PLAIN.iter().find(|(code, ..)| *code == atom).map(unit);
    let prefixed = || {
        PREFIXES.iter().find_map(|(prefix, over, under)| {
            Some(metric(atom.strip_prefix(prefix)?)?.scaled(*over, *under))
        })
    };
    plain().or_else(|| metric(atom)).or_else(prefixed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_of_the_domain_is_a_code() {
        let codes = [
            "m",
            "m/s",
            "m3/s",
            "mm",
            "cm",
            "[ppm]",
            "%{LEL}",
            "%{vol}",
            "mg/L",
            "uS/cm",
            "kPa",
            "m3/h",
            "deg",
            "1",
            "%",
            "V",
            "dB{mW}",
            "{NTU}",
            "{vehicle}",
            "Cel",
            "/min",
            "kW.h",
            "m.s-2",
            "L/s",
            "10.m",
            "{vehicle}/h",
            "mm/h",
            "mV",
            "mA",
            "g/m3",
            "min",
            "h",
            "[pH]",
            "mbar",
            "{a/b}",
        ];
        for code in codes {
            assert_eq!(check(code), Ok(()), "{code}");
        }
    }

    #[test]
    fn other_spellings_are_refused_with_the_right_one() {
        for (wrong, right) in MISSPELT {
            assert_eq!(check(wrong), Err(Some(*right)), "{wrong}");
            assert_eq!(check(right), Ok(()), "{right}");
        }
    }

    #[test]
    fn what_is_no_code_is_refused() {
        let texts = [
            "foo", "m/", "m//s", "%{", "%{}", "{", "}", "m{a}b", "m s", "{井}", "k", "%{a}{b}",
            "m3x", ".",
        ];
        for text in texts {
            assert_eq!(check(text), Err(None), "{text}");
        }
    }

    fn unit(code: &str) -> Unit {
        Unit::parse(code).unwrap_or_else(|| panic!("{code}"))
    }

    /// What one of a unit is in another.
    fn one(from: &str, to: &str) -> Option<f64> {
        unit(from).conversion_to(&unit(to)).map(|conversion| conversion.apply(1.0))
    }

    #[test]
    fn units_of_one_dimension_convert() {
        for (from, to, factor) in [
            ("m", "mm", 1000.0),
            ("mm", "m", 0.001),
            ("m3/s", "m3/h", 3600.0),
            ("L/s", "m3/h", 3.6),
            ("kPa", "mbar", 10.0),
            ("bar", "kPa", 100.0),
            ("m[H2O]", "kPa", 9.80665),
            ("%", "[ppm]", 10_000.0),
            ("kW.h", "MJ", 3.6),
            ("V.A", "W", 1.0),
            ("J/s", "W", 1.0),
            ("Cel", "K", f64::NAN),
            ("Cel/h", "K/h", 1.0),
            ("mg/L", "g/m3", 1.0),
            ("/min", "Hz", 1.0 / 60.0),
            ("S.V", "A", 1.0),
            ("har", "m2", 10_000.0),
            ("%", "1", f64::NAN),
            ("%", "%{LEL}", f64::NAN),
            ("{vehicle}", "1", f64::NAN),
            ("deg", "rad", f64::NAN),
            ("dB", "dB{mW}", f64::NAN),
        ] {
            match one(from, to) {
                Some(found) => assert_eq!(found, factor, "{from} {to}"),
                None => assert!(factor.is_nan(), "{from} {to}"),
            }
        }
        assert_eq!(one("Cel", "[degF]").map(f64::round), Some(34.0));
        assert_eq!(unit("mm").conversion_to(&unit("m")).map(|c| c.apply(1243.0)), Some(1.243));
    }

    #[test]
    fn a_unit_shows_what_it_is() {
        let product = |a: &str, b: &str| unit(a).times(&unit(b)).expect("a unit").to_string();
        assert_eq!(product("m2", "m/s"), "m3/s");
        assert_eq!(product("m", "/m"), "1");
        assert_eq!(product("%{LEL}", "1"), "%{LEL}");
        assert_eq!(product("mm", "m"), "0.001 m2");
        assert_eq!(unit("%{LEL}").to_string(), "%{LEL}");
    }

    mod laws {
        use super::*;
        use proptest::prelude::*;

        const CODES: &[&str] = &[
            "1",
            "m",
            "mm",
            "m3/h",
            "kPa",
            "%",
            "%{LEL}",
            "{vehicle}",
            "mg/L",
            "uS/cm",
            "Cel",
            "V",
            "/min",
            "deg",
        ];

        fn code() -> impl Strategy<Value = Unit> {
            prop::sample::select(CODES).prop_map(unit)
        }

        fn is_same(a: &Unit, b: &Unit) -> bool {
            a.conversion_to(b).is_some_and(|conversion| (conversion.apply(1.0) - 1.0).abs() < 1e-9)
        }

        proptest! {
            #[test]
            fn products_commute_and_associate(a in code(), b in code(), c in code()) {
                let times = |a: &Unit, b: &Unit| a.times(b).expect("small");
                prop_assert!(is_same(&times(&a, &b), &times(&b, &a)));
                prop_assert!(is_same(&times(&times(&a, &b), &c), &times(&a, &times(&b, &c))));
                prop_assert!(is_same(&times(&a.step(), &Unit::one()), &a.step()));
            }

            #[test]
            fn a_quotient_undoes_a_product_and_a_root_a_square(a in code(), b in code()) {
                let product = a.times(&b).expect("small");
                prop_assert!(is_same(&product.per(&b).expect("small"), &a.step()));
                prop_assert!(is_same(&a.power(2).and_then(|square| square.root()).expect("small"), &a.step()));
                prop_assert!(a.per(&a).expect("small").is_one());
            }

            #[test]
            fn a_conversion_is_undone_by_its_reverse(a in code(), b in code(), value in -1e6..1e6f64) {
                let (there, back) = (a.conversion_to(&b), b.conversion_to(&a));
                prop_assert_eq!(there.is_some(), back.is_some());
                if let (Some(there), Some(back)) = (there, back) {
                    let again = back.apply(there.apply(value));
                    prop_assert!((again - value).abs() <= 1e-9 * value.abs().max(1.0));
                }
            }

            #[test]
            fn no_text_crashes_it(text in ".{0,24}") {
                prop_assert_eq!(check(&text).is_ok(), parse(&text).is_some() && check(&text).is_ok());
            }
        }
    }
}
