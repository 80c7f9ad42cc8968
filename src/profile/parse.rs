//! TOML into [`RawProfile`], with every key that does not belong and every value of a wrong type at once.
//!
//! serde stops at the first error. What it stopped at is noted and taken out of the document, and the rest is read
//! again: a handful of passes over a small file, and nobody has to fix a profile one error at a time.

use std::ops::Range;

use serde::Deserialize;
use toml::de::{DeArray, DeTable, DeValue};

use super::error::{Problems, choices};
use super::raw::RawProfile;

/// More than this is not a profile with mistakes but something else.
const MAX_ERRORS: usize = 50;

/// Reads a file's text. What could be read is handed on, so that its meaning can be checked too; `None` when that is
/// nothing.
pub(super) fn parse(text: &str, problems: &mut Problems<'_>) -> Option<RawProfile> {
    let whole = 0..text.len();
    let (document, errors) = DeTable::parse_recoverable(text);
    // Keys that are there twice cost one of their values, and are all said; what follows on any other error is a guess.
    let (doubles, others): (Vec<_>, Vec<_>) =
        errors.iter().partition(|error| error.message().starts_with("duplicate key"));
    for error in doubles.into_iter().take(MAX_ERRORS).chain(others.first().copied()) {
        problems.report(&error.span().unwrap_or(whole.clone()), error.message());
        problems.set_partial();
    }
    if !others.is_empty() {
        return None;
    }
    let mut document = document.into_inner();
    for _ in 0..MAX_ERRORS {
        let root = toml::Spanned::new(whole.clone(), document.clone());
        let error = match RawProfile::deserialize(toml::Deserializer::from(root)) {
            Ok(profile) => return Some(profile),
            Err(error) => error,
        };
        let at = error.span().unwrap_or(whole.clone());
        let (message, help) = reword(error.message());
        problems.report_with(&at, message, help);
        problems.set_partial();
        if !prune_table(&mut document, &at) {
            return None;
        }
    }
    None
}

/// serde's words into ours: what stands there, what may stand there, what was probably meant.
fn reword(message: &str) -> (String, Vec<String>) {
    let mut quoted = message.split('`').skip(1).step_by(2);
    if message.starts_with("unknown field") {
        let key = quoted.next().unwrap_or_default();
        let allowed: Vec<&str> = quoted.collect();
        return (format!("unknown key `{key}`"), choices(key, &allowed));
    }
    if message.starts_with("missing field") {
        return (format!("`{}` is missing", quoted.next().unwrap_or_default()), Vec::new());
    }
    let found = message.strip_prefix("invalid type: ").or(message.strip_prefix("invalid value: "));
    match found.and_then(|rest| rest.split_once(", expected ")) {
        Some((found, expected)) => {
            (format!("expected {}, found {found}", plain(expected)), Vec::new())
        }
        None => (message.to_owned(), Vec::new()),
    }
}

/// A Rust type in words.
fn plain(expected: &str) -> &str {
    match expected {
        "f64" => "a number",
        "i64" => "a whole number",
        "a string" => "a text in quotes",
        "a boolean" => "true or false",
        "a sequence" => "a list in [ ]",
        "a map" => "a table",
        other => other,
    }
}

/// Takes out the innermost entry that `at` is in; says whether there was one.
fn prune_table(table: &mut DeTable<'_>, at: &Range<usize>) -> bool {
    let mut doomed = None;
    for (key, value) in table.iter_mut() {
        if key.span() == *at {
            doomed = Some(key.clone());
            break;
        }
        // A table's own place is its header only, so its entries are always looked at.
        if value.span() != *at && prune_value(value.get_mut(), at) {
            return true;
        }
        if covers(&value.span(), at) {
            doomed = Some(key.clone());
            break;
        }
    }
    doomed.is_some_and(|key| table.remove(key.get_ref().as_ref()).is_some())
}

fn prune_array(array: &mut DeArray<'_>, at: &Range<usize>) -> bool {
    let mut doomed = None;
    for (i, element) in array.iter_mut().enumerate() {
        if element.span() != *at && prune_value(element.get_mut(), at) {
            return true;
        }
        if covers(&element.span(), at) {
            doomed = Some(i);
            break;
        }
    }
    let Some(doomed) = doomed else { return false };
    *array =
        array.iter().enumerate().filter(|(i, _)| *i != doomed).map(|(_, e)| e.clone()).collect();
    true
}

fn prune_value(value: &mut DeValue<'_>, at: &Range<usize>) -> bool {
    match value {
        DeValue::Table(inner) => prune_table(inner, at),
        DeValue::Array(inner) => prune_array(inner, at),
        _ => false,
    }
}

fn covers(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(text: &str) -> Vec<String> {
        let mut problems = Problems::new("p.toml", text);
        let raw = parse(text, &mut problems);
        let errors = problems.into_errors();
        assert_eq!(errors.is_empty(), raw.is_some() && errors.is_empty());
        errors.iter().map(|e| format!("{}:{} {}", e.line, e.column, e.message)).collect()
    }

    #[test]
    fn every_wrong_key_and_type_is_named_at_once() {
        let text = r#"
idd = "x"
name = { zh = "a", n = "b" }
[points.level]
labl = "Level"
range = ["0", 6]
alerts.high = { above = "2.5", sevrity = "major" }
alerts.low = 7
[[test]]
name = 5
bad = ["a", 4]
[staleness]
stale_after = 40
"#;
        let expected = [
            "2:1 unknown key `idd`",
            "3:20 unknown key `n`",
            "5:1 unknown key `labl`",
            "6:10 expected a number, found string \"0\"",
            "7:25 expected a number, found string \"2.5\"",
            "7:32 unknown key `sevrity`",
            "8:14 expected a table such as { above = 2.5, clear = 2.3, severity = \"major\", text = \"Level high\" }, \
             found integer `7`",
            "10:8 expected a text in quotes, found integer `5`",
            "11:13 expected a text in quotes, found integer `4`",
            "13:15 expected a text in quotes, found integer `40`",
        ];
        let found = errors(text);
        for error in expected {
            assert!(found.iter().any(|found| found == error), "{error} in {found:#?}");
        }
    }

    #[test]
    fn every_key_that_is_there_twice_is_said_with_the_rest() {
        let text = "id = \"a\"\nid = \"b\"\n[points.l]\nunit = 5\n[points.l]\nunit = \"m\"\n";
        let found = errors(text);
        for expected in ["2:1 duplicate key", "5:9 duplicate key", "4:8 expected a text in quotes"]
        {
            assert!(
                found.iter().any(|error| error.starts_with(expected)),
                "{expected}: {found:#?}"
            );
        }
    }

    #[test]
    fn a_syntax_error_stands_alone() {
        let found = errors("a = 1\nb = = 2\n[points\n");
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("2:5"), "{found:?}");
        let found = errors("[points.a]\nunit = \"m\"\nunit = \"m\"\n");
        assert_eq!(found, ["3:1 duplicate key"]);
    }

    #[test]
    fn unknown_keys_come_with_what_was_meant() {
        let text = "[staleness]\nstale_aftr = \"40min\"\n";
        let mut problems = Problems::new("p.toml", text);
        parse(text, &mut problems);
        let error = &problems.into_errors()[0];
        let allowed = "allowed: expect_every, stale_after, dead_after, severity";
        assert_eq!(error.help, ["did you mean `stale_after`?", allowed]);
    }
}
