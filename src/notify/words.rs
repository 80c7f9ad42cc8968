//! A notice in words, for people: Chinese or English, as long as the service takes.
//!
//! Templates are plain texts with `{names}`; a configuration may bring its own for the title and for an alert's line.

use jiff::tz::TimeZone;
use serde::Deserialize;

use super::notice::{AlertEntry, CaseEntry, Entry, Notice, TroubleEntry};
use super::{EventKind, MessageId};
use crate::model::{Label, Severity, Timestamp};

/// The longest title, in bytes: a template or a text may be of any length, and the robots' whole message may not.
const MAX_TITLE: usize = 512;

/// A channel's language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Chinese.
    #[default]
    Zh,
    /// English.
    En,
}

/// How a channel puts things.
#[derive(Debug, Clone)]
pub struct Words {
    /// In which language.
    pub language: Language,
    /// The zone of the times in it.
    pub zone: TimeZone,
    /// The title; `None` is the usual one.
    pub title: Option<Template>,
    /// An alert's line; `None` is the usual one.
    pub line: Option<Template>,
    /// Where people reach the console.
    pub link: Option<String>,
}

/// A text with `{names}` in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Name(&'static str),
}

/// What stands for a name in a template.
const NAMES: [&str; 17] = [
    "severity",
    "event",
    "place",
    "text",
    "value",
    "limit",
    "unit",
    "time",
    "alert",
    "case",
    "device",
    "zone",
    "total",
    "places",
    "town",
    "acknowledged_by",
    "repeats",
];

/// A text that is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A name that there is not.
    #[error("`{{{found}}}` is no name; names are {}", NAMES.join(", "))]
    Unknown {
        /// What was written.
        found: String,
    },
    /// A brace without its other half.
    #[error("a brace has no other half; write {{{{ and }}}} for braces themselves")]
    Brace,
}

impl Template {
    /// Reads a text.
    ///
    /// # Errors
    /// When a name is unknown or a brace stands alone.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some(after) = rest.strip_prefix("{{") {
                plain.push('{');
                rest = after;
            } else if let Some(after) = rest.strip_prefix("}}") {
                plain.push('}');
                rest = after;
            } else {
                let (found, after) = rest
                    .strip_prefix('{')
                    .and_then(|rest| rest.split_once('}'))
                    .ok_or(TemplateError::Brace)?;
                let name = NAMES.into_iter().find(|name| *name == found.trim());
                let name =
                    name.ok_or_else(|| TemplateError::Unknown { found: found.to_owned() })?;
                pieces.extend((!plain.is_empty()).then(|| Piece::Text(std::mem::take(&mut plain))));
                pieces.push(Piece::Name(name));
                rest = after;
            }
        }
        plain.push_str(rest);
        pieces.extend((!plain.is_empty()).then_some(Piece::Text(plain)));
        Ok(Template(pieces))
    }

    fn fill(&self, value: impl Fn(&str) -> String) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Name(name) => value(name),
        };
        self.0.iter().map(piece).collect()
    }
}

/// What a message says besides its notice.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) id: MessageId,
    pub(super) town: &'a Label,
}

impl Words {
    /// The title: one line of at most [`MAX_TITLE`] bytes.
    pub(super) fn title(&self, notice: &Notice, context: Context<'_>) -> String {
        cut(self.whole_title(notice, context), MAX_TITLE)
    }

    fn whole_title(&self, notice: &Notice, context: Context<'_>) -> String {
        if let Some(template) = self.title.as_ref().filter(|_| !notice.test) {
            let first = notice.entries.first();
            return one_line(&template.fill(|name| match name {
                "severity" => self.severity(notice.severity).to_owned(),
                "total" => notice.total.to_string(),
                "places" => notice.places.to_string(),
                "town" => self.pick(context.town).to_owned(),
                name => first.map(|entry| self.value(entry, name)).unwrap_or_default(),
            }));
        }
        let town = self.pick(context.town);
        if notice.test {
            return self.either(format!("[{town}] 测试消息"), format!("[{town}] Test message"));
        }
        let severity = self.severity(notice.severity);
        if let ([entry], 1) = (notice.entries.as_slice(), notice.total) {
            let (event, what) = (self.event(entry), self.what(entry));
            let place = self.pick(entry.place());
            return one_line(&self.either(
                format!("[{town}] {severity} {event}：{place} {what}"),
                format!("[{town}] {severity} {event}: {place} {what}"),
            ));
        }
        let (alerts, cases) = (notice.alerts.len(), notice.cases.len());
        let troubles = notice.troubles.len();
        let zh = [(alerts, "条告警"), (cases, "个案卷"), (troubles, "条系统故障")];
        let en = [(alerts, "alerts"), (cases, "cases"), (troubles, "troubles of the hub")];
        let join = |parts: [(usize, &str); 3], and: &str| {
            let parts =
                parts.into_iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}"));
            parts.collect::<Vec<_>>().join(and)
        };
        let places = notice.places;
        self.either(
            format!("[{town}] {places} 处 {}，最高{severity}", join(zh, "、")),
            format!("[{town}] {} in {places} places, worst {severity}", join(en, " and ")),
        )
    }

    /// The lines below the title, at most `max_bytes` of UTF-8 in all; `line` puts one into the service's own form. What
    /// does not fit is counted, named by its number as far as that fits, and linked.
    pub(super) fn body(
        &self,
        notice: &Notice,
        context: Context<'_>,
        max_bytes: usize,
        line: impl Fn(&str) -> String,
    ) -> String {
        if notice.test {
            let text = "有人在试用这个通道；什么也没有发生。";
            let text = self
                .either(text.into(), "Somebody tries this channel. Nothing has happened.".into());
            return line(&text);
        }
        let mut text = String::new();
        if notice.total > 1 {
            text.push_str(&line(&self.counts(notice)));
        }
        let foot = |told: usize| {
            let mut foot = String::new();
            let left = notice.total.saturating_sub(told);
            if left > 0 {
                let more = self.either(format!("……另有 {left} 条"), format!("... and {left} more"));
                foot.push_str(&line(&more));
                let numbers = ranges(&notice.alerts, MAX_NUMBERS);
                if !numbers.is_empty() {
                    let all =
                        self.either(format!("告警编号：{numbers}"), format!("Alerts: {numbers}"));
                    foot.push_str(&line(&all));
                }
            }
            let id = context.id.0;
            let full = match &self.link {
                Some(link) => format!("{link}/api/v1/notifications/{id}"),
                None => self.either(format!("消息 {id}"), format!("Message {id}")),
            };
            foot.push_str(&line(&full));
            foot
        };
        let mut told = 0;
        for entry in &notice.entries {
            let next = line(&self.line(entry));
            if text.len() + next.len() + foot(told + 1).len().max(foot(0).len()) > max_bytes {
                break;
            }
            text.push_str(&next);
            told += 1;
        }
        text.push_str(&foot(told));
        text
    }

    fn line(&self, entry: &Entry) -> String {
        let usual;
        let template = match (&self.line, entry) {
            (Some(template), Entry::Alert(_)) => template,
            _ => {
                let text = match (entry, self.language) {
                    (Entry::Alert(_), Language::Zh) => {
                        "[{severity}] {event}：{place} {text} {value}（{time}，告警 {alert}）"
                    }
                    (Entry::Alert(_), Language::En) => {
                        "[{severity}] {event}: {place} {text} {value} ({time}, alert {alert})"
                    }
                    (Entry::Case(_), Language::Zh) => {
                        "[{severity}] {event}：{place} {text}{value}（案卷 {case}）"
                    }
                    (Entry::Case(_), Language::En) => {
                        "[{severity}] {event}: {place} {text}{value} (case {case})"
                    }
                    (Entry::Trouble(_), Language::Zh) => {
                        "[{severity}] {event}：{text}（{time}）。{value}"
                    }
                    (Entry::Trouble(_), Language::En) => {
                        "[{severity}] {event}: {text} ({time}). {value}"
                    }
                };
                usual = Template::parse(text).unwrap_or(Template(Vec::new()));
                &usual
            }
        };
        one_line(&template.fill(|name| self.value(entry, name)))
    }

    fn value(&self, entry: &Entry, name: &str) -> String {
        let or_none = |text: &Option<String>| text.clone().unwrap_or_default();
        match (name, entry) {
            ("severity", _) => self.severity(entry.severity()).to_owned(),
            ("event", _) => self.event(entry),
            ("place", _) => self.pick(entry.place()).to_owned(),
            ("text", _) => self.what(entry),
            ("value", Entry::Alert(entry)) => self.reading(entry),
            ("value", Entry::Case(entry)) => self.state(entry),
            ("value", Entry::Trouble(entry)) => self.remedy(entry),
            ("time", Entry::Trouble(entry)) => self.time(entry.since),
            ("limit", Entry::Alert(entry)) => entry.limit.map(number).unwrap_or_default(),
            ("unit", Entry::Alert(entry)) => entry.unit.clone(),
            ("time", Entry::Alert(entry)) => self.time(entry.since),
            ("time", Entry::Case(entry)) => entry.due.map(|due| self.time(due)).unwrap_or_default(),
            ("alert", Entry::Alert(entry)) => entry.alert.to_string(),
            ("case", Entry::Alert(entry)) => {
                entry.case.map(|case| case.to_string()).unwrap_or_default()
            }
            ("case", Entry::Case(entry)) => entry.case.to_string(),
            ("device", Entry::Alert(entry)) => entry.device.clone(),
            ("zone", Entry::Alert(entry)) => or_none(&entry.zone),
            ("zone", Entry::Case(entry)) => or_none(&entry.zone),
            ("acknowledged_by", Entry::Alert(entry)) => or_none(&entry.acknowledged_by),
            ("repeats", Entry::Alert(entry)) => entry.repeats.to_string(),
            _ => String::new(),
        }
    }

    fn what(&self, entry: &Entry) -> String {
        match entry {
            Entry::Alert(entry) => self.pick(&entry.text).to_owned(),
            Entry::Case(entry) => self.pick(&entry.title).to_owned(),
            Entry::Trouble(entry) => self.pick(&entry.text).to_owned(),
        }
    }

    /// What to do, while there is something to do.
    fn remedy(&self, entry: &TroubleEntry) -> String {
        match entry.ended_at {
            None => self.pick(&entry.remedy).to_owned(),
            Some(at) => {
                let at = self.time(at);
                self.either(format!("{at} 起已恢复。"), format!("Well again since {at}."))
            }
        }
    }

    /// `2.4 m (limit 2)`; for silence how long it may last.
    fn reading(&self, entry: &AlertEntry) -> String {
        let unit = plain_unit(&entry.unit);
        match (entry.value, entry.limit) {
            (Some(value), Some(limit)) => self.either(
                format!("{} {unit}（限值 {}）", number(value), number(limit)),
                format!("{} {unit} (limit {})", number(value), number(limit)),
            ),
            (None, Some(limit)) if entry.unit == "s" => {
                let minutes = number((limit / 60.0).round());
                self.either(format!("超过 {minutes} 分钟"), format!("for more than {minutes} min"))
            }
            _ => String::new(),
        }
    }

    fn state(&self, entry: &CaseEntry) -> String {
        let unit = entry.unit.as_deref().unwrap_or("-");
        let who = entry.person.as_ref().map(|person| format!(" ({person})")).unwrap_or_default();
        let due = entry.due.map(|due| self.time(due)).unwrap_or_default();
        match entry.event {
            EventKind::CaseDispatched => self.either(
                format!("，派遣至 {unit}{who}，限 {due}"),
                format!(", to {unit}{who}, due {due}"),
            ),
            EventKind::CaseOverdue | EventKind::CaseEscalated => {
                let step = entry.overdue.as_deref().unwrap_or("-");
                let step = match (step, self.language) {
                    ("accept", Language::Zh) => "接单",
                    ("arrive", Language::Zh) => "到场",
                    ("fix", Language::Zh) => "处置",
                    (step, _) => step,
                };
                self.either(
                    format!("，{unit}{who} 未按时{step}，限 {due}"),
                    format!(", {unit}{who} is late to {step}, due {due}"),
                )
            }
            _ => entry
                .actor
                .as_ref()
                .map(|actor| self.either(format!("，{actor}"), format!(", {actor}")))
                .unwrap_or_default(),
        }
    }

    fn event(&self, entry: &Entry) -> String {
        let (event, level, chatters) = match entry {
            Entry::Alert(entry) => (entry.event, 0, entry.chattering),
            Entry::Case(entry) => (entry.event, entry.level, false),
            Entry::Trouble(entry) => (entry.event, 0, false),
        };
        let (zh, en) = match event {
            EventKind::Raised if chatters => ("反复告警", "chattering"),
            EventKind::Raised => ("告警", "alert"),
            EventKind::Reminder => ("仍未确认", "still unacknowledged"),
            EventKind::Acknowledged => ("已确认", "acknowledged"),
            EventKind::Returned => ("已恢复", "back to normal"),
            EventKind::CaseOpened => ("立案", "case opened"),
            EventKind::CaseDispatched => ("派遣", "case dispatched"),
            EventKind::CaseAccepted => ("已接单", "case accepted"),
            EventKind::CaseReturned => ("退回", "case returned"),
            EventKind::CaseReported => ("处置反馈", "case reported done"),
            EventKind::CaseVerified => ("已核查", "case verified"),
            EventKind::CaseOverdue => ("超时", "case overdue"),
            EventKind::CaseEscalated => {
                return self.either(
                    format!("升级（{level} 级）"),
                    format!("case escalated, level {level}"),
                );
            }
            EventKind::CaseClosed => ("结案", "case closed"),
            EventKind::SystemRaised => ("系统故障", "system trouble"),
            EventKind::SystemReturned => ("系统恢复", "system back to normal"),
            EventKind::Test => ("测试", "test"),
        };
        self.either(zh.to_owned(), en.to_owned())
    }

    fn severity(&self, severity: Severity) -> &'static str {
        match (severity, self.language) {
            (Severity::Critical, Language::Zh) => "红色",
            (Severity::Major, Language::Zh) => "橙色",
            (Severity::Minor, Language::Zh) => "黄色",
            (Severity::Info, Language::Zh) => "蓝色",
            (severity, Language::En) => severity.as_str(),
        }
    }

    fn counts(&self, notice: &Notice) -> String {
        let counts = [
            (Severity::Critical, notice.counts.critical),
            (Severity::Major, notice.counts.major),
            (Severity::Minor, notice.counts.minor),
            (Severity::Info, notice.counts.info),
        ];
        let counts = counts.into_iter().filter(|(_, count)| *count > 0);
        counts
            .map(|(severity, count)| format!("{} {count}", self.severity(severity)))
            .collect::<Vec<_>>()
            .join(" · ")
    }

    fn time(&self, at: Timestamp) -> String {
        match jiff::Timestamp::from_microsecond(at.as_micros()) {
            Ok(time) => time.to_zoned(self.zone.clone()).strftime("%m-%d %H:%M").to_string(),
            Err(_) => String::new(),
        }
    }

    fn pick<'l>(&self, label: &'l Label) -> &'l str {
        match self.language {
            Language::Zh => &label.zh,
            Language::En => &label.en,
        }
    }

    fn either(&self, zh: String, en: String) -> String {
        match self.language {
            Language::Zh => zh,
            Language::En => en,
        }
    }
}

/// The most bytes that the numbers of a message's alerts take in its text.
const MAX_NUMBERS: usize = 400;

/// The most digits behind the point that people read.
const DIGITS: f64 = 1_000.0;

fn number(value: f64) -> String {
    ((value * DIGITS).round() / DIGITS).to_string()
}

/// UCUM's annotation braces are for programs.
fn plain_unit(unit: &str) -> String {
    match unit {
        "1" => String::new(),
        unit => unit.replace(['{', '}', '[', ']'], ""),
    }
}

/// A text from outside stays on its line.
fn one_line(text: &str) -> String {
    text.split(char::is_whitespace).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Numbers as ranges, `1-5, 9`, at most so many bytes.
fn ranges(numbers: &[u64], max_bytes: usize) -> String {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let mut text = String::new();
    for run in sorted.chunk_by(|a, b| a + 1 == *b) {
        let comma = if text.is_empty() { "" } else { ", " };
        let piece = match run {
            [one] => format!("{comma}{one}"),
            [first, .., last] => format!("{comma}{first}-{last}"),
            [] => continue,
        };
        if text.len() + piece.len() > max_bytes {
            text.push_str(" ...");
            break;
        }
        text.push_str(&piece);
    }
    text
}

/// At most so many bytes, cut between two characters, and it shows.
fn cut(mut text: String, max_bytes: usize) -> String {
    const MORE: char = '…';
    if text.len() > max_bytes {
        let room = max_bytes.saturating_sub(MORE.len_utf8());
        let end = (0..=room).rev().find(|&end| text.is_char_boundary(end)).unwrap_or_default();
        text.truncate(end);
        text.push(MORE);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::notice::MAX_ENTRIES;

    fn words(language: Language) -> Words {
        let zone = TimeZone::get("Asia/Shanghai").expect("a zone");
        Words {
            language,
            zone,
            title: None,
            line: None,
            link: Some("https://town.example".to_owned()),
        }
    }

    #[test]
    fn a_title_is_cut_between_two_characters() {
        let town = Label::new("乌镇", "Wuzhen");
        let template = Template::parse(&"水".repeat(10_000)).expect("a template");
        let long = Words { title: Some(template), ..words(Language::Zh) };
        let title = long.title(&notice(1), context(&town));
        assert_eq!(title, format!("{}…", "水".repeat(169)));
        assert_eq!((title.len(), cut("水".to_owned(), 3)), (510, "水".to_owned()));
        assert_eq!(cut("水水".to_owned(), 5), "…");
    }

    fn entry(number: u64) -> Entry {
        Entry::Alert(AlertEntry {
            event: EventKind::Raised,
            alert: number,
            version: 1,
            case: None,
            severity: Severity::Major,
            active: true,
            chattering: false,
            first_in_group: false,
            worst: Severity::Major,
            text: Label::new("满管", "Surcharge"),
            place: Label::new("一号井", "Manhole 1"),
            zone: Some("xizha".to_owned()),
            asset: Some("mh-1".to_owned()),
            device: "d-1".to_owned(),
            metric: Some("level".to_owned()),
            rule: "surcharge".to_owned(),
            kind: "limit".to_owned(),
            value: Some(2.449_999_9),
            limit: Some(2.0),
            unit: "m".to_owned(),
            since: "2026-11-27T13:05:00Z".parse().expect("a time"),
            raised_at: "2026-11-27T13:05:01Z".parse().expect("a time"),
            acknowledged_by: None,
            repeats: 0,
        })
    }

    fn notice(total: u64) -> Notice {
        let mut notice = Notice::empty(Timestamp::EPOCH, false);
        for number in 1..=total {
            notice.count(Severity::Major);
            notice.alerts.push(number);
            if notice.entries.len() < MAX_ENTRIES {
                notice.entries.push(entry(number));
            }
        }
        notice.places = total.min(37) as usize;
        notice
    }

    fn context(town: &Label) -> Context<'_> {
        Context { id: MessageId(7), town }
    }

    #[test]
    fn one_alert_in_both_languages() {
        let town = Label::new("乌镇", "Wuzhen");
        let check = |language, title: &str, body: &str| {
            let words = words(language);
            assert_eq!(words.title(&notice(1), context(&town)), title);
            let said = words.body(&notice(1), context(&town), 4_000, |line| format!("{line}\n"));
            assert_eq!(said, body);
        };
        check(
            Language::Zh,
            "[乌镇] 橙色 告警：一号井 满管",
            "[橙色] 告警：一号井 满管 2.45 m（限值 2）（11-27 21:05，告警 1）\nhttps://town.example/api/v1/notifications/7\n",
        );
        check(
            Language::En,
            "[Wuzhen] major alert: Manhole 1 Surcharge",
            "[major] alert: Manhole 1 Surcharge 2.45 m (limit 2) (11-27 21:05, alert 1)\nhttps://town.example/api/v1/notifications/7\n",
        );
    }

    #[test]
    fn a_trouble_of_the_hub_says_what_to_do_and_its_end_since_when() {
        let town = Label::new("乌镇", "Wuzhen");
        let mut entry = TroubleEntry {
            event: EventKind::SystemRaised,
            trouble: 3,
            code: crate::trouble::Code::Backup,
            subject: String::new(),
            severity: Severity::Major,
            text: Label::new("备份失败", "The backup failed"),
            remedy: Label::new("请检查磁盘。", "Check the disk."),
            place: Label::new("主机", "the hub"),
            facts: crate::trouble::Facts::default(),
            since: "2026-11-27T13:05:00Z".parse().expect("a time"),
            ended_at: None,
        };
        let notice = |entry: &TroubleEntry| {
            let mut notice = Notice::empty(Timestamp::EPOCH, false);
            notice.count(entry.severity);
            notice.troubles.push(entry.trouble);
            notice.entries.push(Entry::Trouble(entry.clone()));
            notice
        };
        let said = |language, entry: &TroubleEntry| {
            let words = words(language);
            let body =
                words.body(&notice(entry), context(&town), 4_000, |line| format!("{line}\n"));
            let first = body.lines().next().unwrap_or_default().to_owned();
            (words.title(&notice(entry), context(&town)), first)
        };
        let (title, line) = said(Language::Zh, &entry);
        assert_eq!(title, "[乌镇] 橙色 系统故障：主机 备份失败");
        assert_eq!(line, "[橙色] 系统故障：备份失败（11-27 21:05）。请检查磁盘。");
        entry.event = EventKind::SystemReturned;
        entry.ended_at = Some("2026-11-27T14:00:00Z".parse().expect("a time"));
        let (title, line) = said(Language::En, &entry);
        assert_eq!(title, "[Wuzhen] major system back to normal: the hub The backup failed");
        assert!(line.ends_with("(11-27 21:05). Well again since 11-27 22:00."), "{line}");
    }

    #[test]
    fn a_storm_fits_and_leaves_nobody_out() {
        let town = Label::new("乌镇", "Wuzhen");
        for language in [Language::Zh, Language::En] {
            for max in [600, 4_096, 20_000] {
                let words = words(language);
                let body =
                    words.body(&notice(5_000), context(&town), max, |line| format!("> {line}\n\n"));
                assert!(body.len() <= max, "{} of {max}", body.len());
                let told = body.lines().filter(|line| line.contains("2.45 m")).count();
                assert!(told > 0 || max == 600, "{body}");
                assert!(body.contains(&(5_000 - told).to_string()), "{body}");
                assert!(body.contains("1-5000") && body.contains("notifications/7"), "{body}");
            }
            let title = words(language).title(&notice(5_000), context(&town));
            assert!(title.contains("5000") && title.contains("37"), "{title}");
        }
    }

    #[test]
    fn a_template_says_what_it_is_told_to() {
        let town = Label::new("乌镇", "Wuzhen");
        let template = |text: &str| Template::parse(text).expect("a template");
        let words = Words {
            title: Some(template("{{{town}}} {severity} x{total}")),
            line: Some(template("{alert} {place}\n{text} >{limit}{unit} {zone} {device} {time}")),
            ..words(Language::En)
        };
        assert_eq!(words.title(&notice(3), context(&town)), "{Wuzhen} major x3");
        let body = words.body(&notice(1), context(&town), 500, |line| format!("{line}\n"));
        assert!(body.starts_with("1 Manhole 1 Surcharge >2m xizha d-1 11-27 21:05\n"), "{body}");
        for (wrong, part) in [
            ("{nonsense}", "`{nonsense}` is no name"),
            ("{a", "no other half"),
            ("a}", "no other half"),
        ] {
            let refused = Template::parse(wrong).expect_err(wrong).to_string();
            assert!(refused.contains(part), "{refused}");
        }
    }

    #[test]
    fn numbers_are_told_as_ranges() {
        assert_eq!(ranges(&[5, 1, 2, 3, 9, 8, 2], 100), "1-3, 5, 8-9");
        assert_eq!(ranges(&[], 100), "");
        let odd: Vec<u64> = (0..1_000).map(|n| 2 * n).collect();
        assert!(ranges(&odd, 40).len() <= 44);
    }
}
