//! UCUM unit codes, as far as a town needs them: enough of the grammar to refuse what is no code.
//!
//! A code is a product or quotient of numbers and units; a unit is an atom, perhaps with a prefix, an exponent and an
//! annotation in braces: `m3/h`, `uS/cm`, `%{LEL}`, `dB{mW}`. The full grammar has parentheses and some hundred atoms
//! more; an atom that a device needs is added to the lists below.

/// Atoms that take a prefix.
const METRIC: &[&str] = &[
    "m", "s", "g", "t", "A", "V", "W", "J", "N", "Pa", "bar", "Hz", "Ohm", "S", "F", "C", "K",
    "mol", "cd", "lm", "lx", "L", "l", "B", "rad", "eV", "Bq", "Sv", "Cel", "m[H2O]", "m[Hg]",
    "VA", "var", "Wb", "T", "H", "u",
];

/// Atoms that take none.
const PLAIN: &[&str] = &[
    "%", "deg", "min", "h", "d", "wk", "mo", "a", "[ppm]", "[ppb]", "[ppth]", "[pH]", "[degF]",
    "[in_i]", "[ft_i]", "[psi]", "ar", "har", "''", "'", "atm", "sr",
];

/// SI prefixes.
const PREFIXES: &[&str] =
    &["da", "Y", "Z", "E", "P", "T", "G", "M", "k", "h", "d", "c", "m", "u", "n", "p", "f", "a"];

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

/// Whether a text is a UCUM code, as far as the lists above know.
///
/// # Errors
/// The code that was probably meant, if there is one.
pub(super) fn check(text: &str) -> Result<(), Option<&'static str>> {
    if let Some((_, right)) = MISSPELT.iter().find(|(wrong, _)| *wrong == text) {
        return Err(Some(right));
    }
    // A leading slash is "per": `/min`.
    let terms = text.strip_prefix('/').unwrap_or(text);
    if split_outside_braces(terms).is_some_and(|mut terms| terms.all(is_term)) {
        Ok(())
    } else {
        Err(None)
    }
}

/// The UCUM code that a text is or means, as far as the lists above know.
pub(crate) fn code(text: &str) -> Option<String> {
    match check(text) {
        Ok(()) => Some(text.to_owned()),
        Err(right) => right.map(str::to_owned),
    }
}

/// The parts between `.` and `/`, where those are not inside an annotation; `None` when braces do not match.
fn split_outside_braces(text: &str) -> Option<impl Iterator<Item = &str>> {
    let mut is_inside = false;
    for c in text.chars() {
        match c {
            '{' if !is_inside => is_inside = true,
            '}' if is_inside => is_inside = false,
            '{' | '}' => return None,
            c if is_inside && !c.is_ascii_graphic() => return None,
            _ => {}
        }
    }
    if is_inside {
        return None;
    }
    Some(text.split(move |c| {
        is_inside = c == '{' || (is_inside && c != '}');
        !is_inside && matches!(c, '.' | '/')
    }))
}

fn is_term(term: &str) -> bool {
    let (unit, annotation) = match term.split_once('{') {
        Some((unit, rest)) => (unit, rest.strip_suffix('}')),
        None => (term, Some("none")),
    };
    let Some(annotation) = annotation else { return false };
    if annotation.is_empty() || annotation.contains('}') {
        return false;
    }
    if unit.is_empty() {
        return term.starts_with('{');
    }
    unit.bytes().all(|b| b.is_ascii_digit()) || is_unit(unit)
}

fn is_unit(unit: &str) -> bool {
    let exponent = unit.bytes().rev().take_while(u8::is_ascii_digit).count();
    let (atom, exponent) = unit.split_at(unit.len() - exponent);
    let atom = if exponent.is_empty() { atom } else { atom.trim_end_matches(['-', '+']) };
    let is_prefixed = || {
        PREFIXES
            .iter()
            .any(|prefix| atom.strip_prefix(prefix).is_some_and(|metric| METRIC.contains(&metric)))
    };
    PLAIN.contains(&atom) || METRIC.contains(&atom) || is_prefixed()
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
}
