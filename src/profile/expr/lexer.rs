//! An expression's words, each with its place.

use std::ops::Range;

use super::ExprError;

/// A word.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Token<'t> {
    Number(f64),
    /// A point's name, a function's, `true` or `false`.
    Name(&'t str),
    /// What stands in quotes: a state's name, or the unit of the number before it.
    Quoted(&'t str),
    /// An operator, a parenthesis or a comma.
    Sign(&'static str),
    End,
}

/// A word with its place in the text.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Placed<'t> {
    pub(super) token: Token<'t>,
    pub(super) at: Range<usize>,
}

/// Longer ones first: `<=` is not `<`.
const SIGNS: &[&str] =
    &["&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "+", "-", "*", "/", "(", ")", ","];

/// What other languages and keyboards write, and what is written here.
const FOREIGN: &[(&str, &str)] = &[
    ("&", "write &&"),
    ("|", "write ||"),
    ("=", "compare with =="),
    ("^", "write pow(x, 2)"),
    ("?", "write if(condition, a, b)"),
    ("[", "a unit stands in quotes: 0.5 'm'"),
    ("（", "write ("),
    ("）", "write )"),
    ("，", "write ,"),
    ("、", "write ,"),
    ("＞", "write >"),
    ("＜", "write <"),
    ("≥", "write >="),
    ("≤", "write <="),
    ("≠", "write !="),
    ("＝", "compare with =="),
    ("！", "write !"),
    ("＋", "write +"),
    ("－", "write -"),
    ("−", "write -"),
    ("×", "write *"),
    ("·", "write *"),
    ("÷", "write /"),
    ("‘", "write '"),
    ("’", "write '"),
    ("“", "write '"),
    ("”", "write '"),
    ("%", "a percentage is written 50 '%'"),
];

/// Takes the whole text apart, an [`Token::End`] last.
pub(super) fn lex(text: &str) -> Result<Vec<Placed<'_>>, ExprError> {
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        if c.is_ascii_whitespace() {
            at += 1;
            continue;
        }
        let (token, length) = next(text, at, c)?;
        words.push(Placed { token, at: at..at + length });
        at += length;
    }
    words.push(Placed { token: Token::End, at: text.len()..text.len() });
    Ok(words)
}

fn next(text: &str, at: usize, c: char) -> Result<(Token<'_>, usize), ExprError> {
    let rest = &text[at..];
    if c.is_ascii_digit() {
        return number(rest, at);
    }
    if c.is_ascii_alphabetic() || c == '_' {
        let word = &rest[..name_length(rest)];
        return Ok((Token::Name(word), word.len()));
    }
    if c == '"' || c == '\'' {
        let Some(length) = rest[1..].find(c) else {
            return Err(refuse(at..text.len(), "the quote is not closed".to_owned(), None));
        };
        return Ok((Token::Quoted(&rest[1..=length]), length + 2));
    }
    if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
        return Ok((Token::Sign(sign), sign.len()));
    }
    let help = FOREIGN.iter().find(|(sign, _)| rest.starts_with(sign)).map(|(_, help)| *help);
    let message = format!("`{}` has no meaning here", c.escape_debug());
    Err(refuse(at..at + c.len_utf8(), message, help))
}

/// A name may begin with a digit; a word is a number only if all of it is one.
fn number(rest: &str, at: usize) -> Result<(Token<'_>, usize), ExprError> {
    let bytes = rest.as_bytes();
    let digits = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let mut length = digits(0);
    if bytes.get(length) == Some(&b'.') && digits(length + 1) > 0 {
        length += 1 + digits(length + 1);
    }
    if matches!(bytes.get(length), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(length + 1), Some(b'+' | b'-')));
        let exponent = digits(length + 1 + sign);
        length += if exponent > 0 { 1 + sign + exponent } else { 0 };
    }
    let word = name_length(rest);
    if word > length {
        return Ok((Token::Name(&rest[..word]), word));
    }
    match rest[..length].parse::<f64>() {
        Ok(number) if number.is_finite() => Ok((Token::Number(number), length)),
        _ => Err(refuse(at..at + length, "the number is too large".to_owned(), None)),
    }
}

/// Names have segments joined by single dots, for values that belong to something: `gate_1.opening`.
fn name_length(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let is_inner = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    let mut length = bytes.iter().take_while(|b| is_inner(b)).count();
    while bytes.get(length) == Some(&b'.')
        && bytes.get(length + 1).is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_')
    {
        length += 1 + bytes[length + 1..].iter().take_while(|b| is_inner(b)).count();
    }
    length
}

fn refuse(at: Range<usize>, message: String, help: Option<&str>) -> ExprError {
    ExprError { at, message, help: help.map(str::to_owned).into_iter().collect() }
}
