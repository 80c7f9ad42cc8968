//! What is wrong with a profile file, and where: file, line, column, the line itself, what would be right.

use std::fmt;
use std::ops::Range;
use std::path::Path;

use super::spanned::Spanned;

/// One thing that is wrong with a profile file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileError {
    /// The file as it was named to the reader.
    pub file: String,
    /// Line, from 1; 0 when the file could not be read at all.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What is allowed, and what was probably meant.
    pub help: Vec<String>,
    excerpt: Excerpt,
}

/// The line of a file, and how much of it is meant, in columns of a terminal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Excerpt {
    text: String,
    indent: usize,
    width: usize,
}

impl ProfileError {
    /// An error of the whole file.
    pub(super) fn of_file(file: &str, message: String) -> Self {
        ProfileError {
            file: file.to_owned(),
            line: 0,
            column: 0,
            message,
            help: Vec::new(),
            excerpt: Excerpt::default(),
        }
    }
}

impl fmt::Display for ProfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            return write!(f, "{}: {}", self.file, self.message);
        }
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        let number = self.line.to_string();
        let Excerpt { text, indent, width } = &self.excerpt;
        write!(f, "\n {number} | {text}")?;
        write!(f, "\n {:gutter$} | {:indent$}{:^<width$}", "", "", "", gutter = number.len())?;
        for help in &self.help {
            write!(f, "\n {:gutter$} = {help}", "", gutter = number.len())?;
        }
        Ok(())
    }
}

impl std::error::Error for ProfileError {}

/// Everything that is found wrong with one file while it is read.
#[derive(Debug)]
pub(super) struct Problems<'a> {
    file: &'a str,
    text: &'a str,
    found: Vec<(Range<usize>, ProfileError)>,
    is_partial: bool,
    folder: Option<&'a Path>,
}

impl<'a> Problems<'a> {
    pub(super) fn new(file: &'a str, text: &'a str) -> Self {
        Problems { file, text, found: Vec::new(), is_partial: false, folder: None }
    }

    /// The same for a file in this folder, which may name others beside it.
    pub(super) fn of_folder(self, folder: Option<&'a Path>) -> Self {
        Problems { folder, ..self }
    }

    /// Where the file stands; `None` for a text that is no file.
    pub(super) fn folder(&self) -> Option<&'a Path> {
        self.folder
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Says that parts of the file were left out because they could not be read: from now on nothing is reported as
    /// missing.
    pub(super) fn set_partial(&mut self) {
        self.is_partial = true;
    }

    /// Notes that the bytes `at` of the file are wrong.
    pub(super) fn report(&mut self, at: &Range<usize>, message: impl fmt::Display) {
        self.report_with(at, message, Vec::new());
    }

    /// As [`Problems::report`], with what would be right.
    pub(super) fn report_with(
        &mut self,
        at: &Range<usize>,
        message: impl fmt::Display,
        help: Vec<String>,
    ) {
        let message = message.to_string();
        if self.found.iter().any(|(place, error)| place == at && error.message == message) {
            return;
        }
        let (line, column, excerpt) = locate(self.text, at);
        let error =
            ProfileError { file: self.file.to_owned(), line, column, message, help, excerpt };
        self.found.push((at.clone(), error));
    }

    /// The bytes `at` of the file, as they stand there; nothing where there are none.
    pub(super) fn source(&self, at: &Range<usize>) -> &'a str {
        self.text.get(at.clone()).unwrap_or_default()
    }

    /// Hands on what is there; notes that the key is missing in the table at `at` if it is not.
    pub(super) fn require<T>(
        &mut self,
        value: Option<T>,
        at: &Range<usize>,
        key: &str,
        example: &str,
    ) -> Option<T> {
        if value.is_none() && !self.is_partial {
            let help = vec![format!("for example: {key} = {example}")];
            self.report_with(at, format_args!("`{key}` is missing"), help);
        }
        value
    }

    /// Hands on a good value; notes why it is not good otherwise.
    pub(super) fn check<T, E: fmt::Display>(
        &mut self,
        at: &Range<usize>,
        value: Result<T, E>,
    ) -> Option<T> {
        value.map_err(|error| self.report(at, error)).ok()
    }

    /// The one of `all` that a word names; notes what is allowed otherwise.
    pub(super) fn choose<T: Copy>(
        &mut self,
        word: &Spanned<String>,
        what: &str,
        all: &[T],
        spelling: fn(T) -> &'static str,
    ) -> Option<T> {
        let found = word.get_ref();
        let chosen = all.iter().copied().find(|one| spelling(*one) == found);
        if chosen.is_none() {
            let allowed: Vec<_> = all.iter().map(|one| spelling(*one)).collect();
            self.report_choice(
                &word.span(),
                format_args!("unknown {what} `{found}`"),
                found,
                &allowed,
            );
        }
        chosen
    }

    /// As [`Problems::report`] for a word that is none of `allowed`.
    pub(super) fn report_choice(
        &mut self,
        at: &Range<usize>,
        message: impl fmt::Display,
        found: &str,
        allowed: &[&str],
    ) {
        self.report_with(at, message, choices(found, allowed));
    }

    /// The problems in the order of the file.
    pub(super) fn into_errors(mut self) -> Vec<ProfileError> {
        self.found.sort_by_key(|(place, _)| (place.start, place.end));
        self.found.into_iter().map(|(_, error)| error).collect()
    }

    /// The line of a place, from 1.
    pub(super) fn line_of(&self, at: &Range<usize>) -> usize {
        locate(self.text, at).0
    }
}

/// Help for a word that is none of `allowed`.
pub(super) fn choices(found: &str, allowed: &[&str]) -> Vec<String> {
    let mut help = Vec::new();
    help.extend(near_miss(found, allowed).map(|near| format!("did you mean `{near}`?")));
    if !allowed.is_empty() {
        help.push(format!("allowed: {}", allowed.join(", ")));
    }
    help
}

/// The allowed word that was probably meant.
pub(super) fn near_miss<'w>(found: &str, allowed: &[&'w str]) -> Option<&'w str> {
    let tolerance = (found.chars().count() / 3).max(1);
    allowed
        .iter()
        .map(|word| (strsim::osa_distance(&found.to_lowercase(), &word.to_lowercase()), *word))
        .filter(|(distance, _)| *distance <= tolerance)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// Line and column from 1, and the line with what is meant of it. A place that spans lines is shown on its first.
fn locate(text: &str, at: &Range<usize>) -> (usize, usize, Excerpt) {
    let start = floor_char_boundary(text, at.start);
    let end = floor_char_boundary(text, at.end.max(start));
    let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let line_end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
    let line = text[..line_start].matches('\n').count() + 1;
    let before = &text[line_start..start];
    let excerpt = Excerpt {
        text: text[line_start..line_end].trim_end().replace('\t', " "),
        indent: columns(before),
        width: columns(&text[start..end.min(line_end)]).max(1),
    };
    (line, before.chars().count() + 1, excerpt)
}

fn floor_char_boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0)
}

/// How wide a terminal shows it: Chinese characters and full-width signs take two columns.
fn columns(text: &str) -> usize {
    let is_wide = |c: char| matches!(c, '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}' | '\u{f900}'..='\u{faff}' | '\u{fe30}'..='\u{fe6f}' | '\u{ff00}'..='\u{ff60}' | '\u{20000}'..='\u{3fffd}');
    text.chars().map(|c| if is_wide(c) { 2 } else { 1 }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_under_what_is_meant() {
        let text = "a = 1\nlabel = { zh = \"水位\", nn = \"Level\" }\n";
        let start = text.find("nn").expect("in the text");
        let mut problems = Problems::new("x.toml", text);
        problems.report_choice(&(start..start + 2), "unknown key `nn`", "nn", &["zh", "en"]);
        problems.report(&(0..1), "no `a`");
        problems.report(&(0..1), "no `a`");
        let shown: Vec<String> =
            problems.into_errors().iter().map(ProfileError::to_string).collect();
        let second = "\
x.toml:2:22: unknown key `nn`
 2 | label = { zh = \"水位\", nn = \"Level\" }
   |                        ^^
   = did you mean `en`?
   = allowed: zh, en";
        assert_eq!(shown, ["x.toml:1:1: no `a`\n 1 | a = 1\n   | ^", second]);
    }

    #[test]
    fn a_place_outside_the_text_is_shown_at_its_end() {
        let text = "水";
        for at in [0..99, 1..2, 3..3, 99..100] {
            let mut problems = Problems::new("x.toml", text);
            problems.report(&at, "broken");
            assert!(problems.into_errors()[0].to_string().contains("水"), "{at:?}");
        }
    }

    #[test]
    fn a_near_miss_is_near() {
        assert_eq!(near_miss("stale_aftr", &["expect_every", "stale_after"]), Some("stale_after"));
        assert_eq!(near_miss("Level", &["label", "level"]), Some("level"));
        assert_eq!(near_miss("topic", &["payload", "time"]), None);
    }
}
