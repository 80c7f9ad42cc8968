//! Topics with places to fill in, such as `sewer/{site}/{device}/up` or `spBv1.0/{group}/{type}/{device}/{unit?}`.

use std::fmt;
use std::str::FromStr;

use crate::model::DeviceId;

/// The longest template in bytes: a device's topic is repeated in every one of its messages.
const MAX_BYTES: usize = 256;

/// A topic with `{device}` once and any number of free levels such as `{site}` or, without a name, `+`. A free level
/// stands for exactly one level that is not empty; the last one, written `{unit?}`, may be absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicTemplate {
    text: Box<str>,
    levels: Box<[Level]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Level {
    Literal(Box<str>),
    Device,
    Free,
    /// Only at the end.
    MayBeAbsent,
}

/// Why a text is no topic template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// Nothing, or more than anybody needs.
    #[error("a topic has 1 to {MAX_BYTES} bytes, this one has {0}")]
    Length(usize),
    /// `$SYS` and its like.
    #[error("topics that start with `$` belong to the broker")]
    Reserved,
    /// `#` is for filters, and `+` is a level of its own.
    #[error("`{0}` is for filters; name the levels instead, for example {{site}}")]
    Wildcard(char),
    /// No text of a topic may hold it.
    #[error("a topic has no control characters")]
    Control,
    /// Nothing between two slashes.
    #[error("level {0} is empty")]
    EmptyLevel(usize),
    /// A brace that is not a whole level.
    #[error("`{0}` mixes text and braces; a level is either text or one name in braces")]
    Braces(String),
    /// Two topics of one template must be told apart level by level.
    #[error("`{0}` may be absent, so it must be the last level")]
    NotLast(String),
    /// Which device publishes must be seen in the topic.
    #[error("a topic needs the level {{device}} exactly once, this one has it {0} times")]
    Device(usize),
}

impl TopicTemplate {
    /// Whether `topic` is this template filled in for `device`. Does not allocate.
    pub fn matches(&self, topic: &str, device: &DeviceId) -> bool {
        self.device_in(topic) == Some(device.as_str())
    }

    /// The device that `topic` names, when it is this template filled in. Does not allocate.
    pub fn device_in<'t>(&self, topic: &'t str) -> Option<&'t str> {
        let mut device = None;
        let mut found = topic.split('/');
        for level in &self.levels {
            let Some(found) = found.next() else {
                return device.filter(|_| *level == Level::MayBeAbsent);
            };
            match level {
                Level::Literal(text) if found == &**text => {}
                Level::Device if !found.is_empty() => device = Some(found),
                Level::Free | Level::MayBeAbsent if !found.is_empty() => {}
                _ => return None,
            }
        }
        device.filter(|_| found.next().is_none())
    }

    /// The subscription that takes in every topic of this template.
    pub fn filter(&self) -> String {
        let levels = self.levels.iter().map(|level| match level {
            Level::Literal(text) => text,
            Level::Device | Level::Free => "+",
            // It takes in the level before it too.
            Level::MayBeAbsent => "#",
        });
        levels.collect::<Vec<_>>().join("/")
    }

    /// The template as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for TopicTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for TopicTemplate {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        if text.is_empty() || text.len() > MAX_BYTES {
            return Err(TopicError::Length(text.len()));
        }
        if text.starts_with('$') {
            return Err(TopicError::Reserved);
        }
        if text.contains(char::is_control) {
            return Err(TopicError::Control);
        }
        let levels: Box<[Level]> = text
            .split('/')
            .enumerate()
            .map(|(i, level)| parse_level(i + 1, level))
            .collect::<Result<_, _>>()?;
        let last = levels.len() - 1;
        if let Some(at) = levels.iter().position(|level| *level == Level::MayBeAbsent)
            && at != last
        {
            let level = text.split('/').nth(at).unwrap_or_default();
            return Err(TopicError::NotLast(level.to_owned()));
        }
        match levels.iter().filter(|level| **level == Level::Device).count() {
            1 => Ok(TopicTemplate { text: text.into(), levels }),
            count => Err(TopicError::Device(count)),
        }
    }
}

fn parse_level(number: usize, level: &str) -> Result<Level, TopicError> {
    if level.is_empty() {
        return Err(TopicError::EmptyLevel(number));
    }
    if level == "+" {
        return Ok(Level::Free);
    }
    if let Some(wildcard) = level.chars().find(|c| matches!(c, '+' | '#')) {
        return Err(TopicError::Wildcard(wildcard));
    }
    if !level.contains(['{', '}']) {
        return Ok(Level::Literal(level.into()));
    }
    match level.strip_prefix('{').and_then(|level| level.strip_suffix('}')) {
        Some("device") => Ok(Level::Device),
        Some(name) if name.trim_end_matches('?').is_empty() || name.contains(['{', '}']) => {
            Err(TopicError::Braces(level.to_owned()))
        }
        Some(name) if name.ends_with('?') => Ok(Level::MayBeAbsent),
        Some(_) => Ok(Level::Free),
        _ => Err(TopicError::Braces(level.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(template: &str, topic: &str, expected: bool) {
        let template: TopicTemplate = template.parse().expect("a template");
        let device = "mh-014".parse().expect("a device id");
        assert_eq!(template.matches(topic, &device), expected, "{template} ~ {topic}");
    }

    #[test]
    fn a_template_takes_its_own_device_and_any_site() {
        check("sewer/{site}/{device}/up", "sewer/mill-lane/mh-014/up", true);
        check("sewer/{site}/{device}/up", "sewer/西栅/mh-014/up", true);
        check("sewer/{site}/{device}/up", "sewer/mill-lane/mh-015/up", false);
        check("sewer/{site}/{device}/up", "sewer/mill-lane/mh-014", false);
        check("sewer/{site}/{device}/up", "sewer/mill-lane/mh-014/up/x", false);
        check("sewer/{site}/{device}/up", "sewer//mh-014/up", false);
        check("sewer/{site}/{device}/up", "sewer/a/b/mh-014/up", false);
        check("+/{device}/up", "mill-lane/mh-014/up", true);
        check("+/{device}/up", "/mh-014/up", false);
        check("sp/{type}/{device}/{unit?}", "sp/NDATA/mh-014", true);
        check("sp/{type}/{device}/{unit?}", "sp/DDATA/mh-014/pump", true);
        check("sp/{type}/{device}/{unit?}", "sp/DDATA/mh-014/", false);
        check("sp/{type}/{device}/{unit?}", "sp/DDATA/mh-014/pump/x", false);
        check("sp/{type}/{device}/{unit?}", "sp/mh-014", false);
        check("{device}", "mh-014", true);
        check("{device}", "", false);
    }

    #[test]
    fn a_broken_template_says_why() {
        let check = |text: &str, expected: TopicError| {
            assert_eq!(text.parse::<TopicTemplate>(), Err(expected), "{text}");
        };
        check("", TopicError::Length(0));
        check("a/b", TopicError::Device(0));
        check("{device}/{device}", TopicError::Device(2));
        check("a+/{device}", TopicError::Wildcard('+'));
        check("{unit?}/{device}", TopicError::NotLast("{unit?}".to_owned()));
        check("{device}/{?}", TopicError::Braces("{?}".to_owned()));
        check("{device}/#", TopicError::Wildcard('#'));
        check("$SYS/{device}", TopicError::Reserved);
        check("/{device}", TopicError::EmptyLevel(1));
        check("mh-{device}", TopicError::Braces("mh-{device}".to_owned()));
        check("{}/{device}", TopicError::Braces("{}".to_owned()));
        check("a\0/{device}", TopicError::Control);
    }
}
