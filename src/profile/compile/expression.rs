//! Expressions in a profile file: compiled, with every mistake shown at its place inside the quoted text.

use std::ops::Range;

use crate::profile::error::Problems;
use crate::profile::expr::{self, Expr, Kind, Scope};
use crate::profile::spanned::Spanned;

/// Compiles a text of the file; notes everything that is wrong with it.
pub(super) fn compile(
    text: &Spanned<String>,
    scope: &Scope<'_>,
    wanted: Kind<'_>,
    problems: &mut Problems<'_>,
) -> Option<Expr> {
    let errors = match expr::compile(text.get_ref(), scope, wanted) {
        Ok(expr) => return Some(expr),
        Err(errors) => errors,
    };
    let quoted = text.span();
    for error in errors {
        let source = problems.source(&quoted);
        let inside = place(source, &error.at);
        let at = quoted.start + inside.start..quoted.start + inside.end;
        problems.report_with(&at, error.message, error.help);
    }
    None
}

/// Where bytes of a text stand in its TOML string `source`, which has quotes, perhaps three of them, and escapes if it is
/// not a literal one.
fn place(source: &str, at: &Range<usize>) -> Range<usize> {
    let quotes = if source.starts_with("\"\"\"") || source.starts_with("'''") { 3 } else { 1 };
    let has_escapes = source.starts_with('"');
    let mut position = quotes.min(source.len());
    // A newline right after three quotes is no part of the text.
    if quotes == 3 {
        let rest = &source[position..];
        position += if rest.starts_with("\r\n") { 2 } else { usize::from(rest.starts_with('\n')) };
    }
    let (mut length, mut start) = (0, position);
    while length < at.end || length <= at.start {
        if length <= at.start {
            start = position;
        }
        let rest = &source[position..];
        let Some((read, meant)) = (if has_escapes { escaped(rest) } else { plain(rest) }) else {
            break;
        };
        (position, length) = (position + read, length + meant);
    }
    start..position
}

/// How many bytes the next sign takes in the source and in the text.
fn plain(rest: &str) -> Option<(usize, usize)> {
    rest.chars().next().map(|c| (c.len_utf8(), c.len_utf8()))
}

/// As [`plain`], for a string with escapes.
fn escaped(rest: &str) -> Option<(usize, usize)> {
    let Some(escape) = rest.strip_prefix('\\') else { return plain(rest) };
    let digits = match escape.chars().next()? {
        'x' => 2,
        'u' => 4,
        'U' => 8,
        // A backslash before a line's end takes all white space that follows.
        c if c.is_ascii_whitespace() => {
            return Some((1 + escape.len() - escape.trim_start().len(), 0));
        }
        c => return Some((1 + c.len_utf8(), 1)),
    };
    let code = u32::from_str_radix(escape.get(1..=digits)?, 16).ok()?;
    Some((2 + digits, char::from_u32(code)?.len_utf8()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_inside_a_quoted_text_is_found_again() {
        #[track_caller]
        fn check(source: &str, word: &str, shown: &str) {
            let document = format!("a = {source}\n");
            let text = document.parse::<toml::Table>().expect("TOML")["a"].clone();
            let text = text.as_str().expect("a text");
            let start = text.find(word).expect("the word");
            assert_eq!(&source[place(source, &(start..start + word.len()))], shown, "{source}");
            assert!(source.get(place(source, &(text.len()..text.len()))).is_some());
            assert!(source.get(place(source, &(900..901))).is_some());
        }
        check("\"a - bb\"", "bb", "bb");
        check("'a - bb'", "bb", "bb");
        check("\"m == \\\"x\\\" && bb\"", "bb", "bb");
        check("\"m == \\\"x\\\" && bb\"", "\"x\"", "\\\"x\\\"");
        check("'水 - bb'", "bb", "bb");
        check("'水 - bb'", "水", "水");
        check("\"\\u6c34 - bb\"", "bb", "bb");
        check("\"\\u6c34 - bb\"", "水", "\\u6c34");
        check("\"\"\"\na -\n bb\"\"\"", "bb", "bb");
        check("\"\"\"a - \\\n   bb\"\"\"", "bb", "bb");
        check("'''\na - bb'''", "a", "a");
        check("\"a\\t- bb\"", "bb", "bb");
    }
}
