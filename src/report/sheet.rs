//! Reports and single rows as CSV (RFC 4180) that a spreadsheet opens as it is: UTF-8 with a byte order mark, headings in
//! the reader's language, times in the town's zone with their offset.

use std::fmt;
use std::str::FromStr;

use csv::Writer;
use jiff::tz::TimeZone;

use super::alarms::{AlarmFigures, AlarmReport};
use super::cases::{CaseFigures, CaseReport, CaseStory};
use super::figure::{Figure, Times, Verdict};
use super::period::Span;
use super::tables::Place;
use crate::alert::Alert;
use crate::case::{Case, CaseId};
use crate::model::{Label, Timestamp};

/// Without it a spreadsheet takes UTF-8 for the system's own encoding, and Chinese becomes noise.
const BYTE_ORDER_MARK: &str = "\u{feff}";

/// The language of headings and texts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Language {
    /// Chinese.
    #[default]
    Zh,
    /// English.
    En,
}

/// A text that names no language.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is no language of the hub; write zh or en")]
pub struct UnknownLanguage {
    /// The text that was given.
    pub found: String,
}

/// The table could not be written.
#[derive(Debug, thiserror::Error)]
#[error("a table cannot be written")]
pub struct SheetError(#[from] csv::Error);

/// Writes sheets.
#[derive(Debug, Clone)]
pub struct Sheets {
    /// The language of headings and texts.
    pub language: Language,
    /// The town's zone.
    pub zone: TimeZone,
}

/// A column: its headings, and what stands in it.
type Column<T> = (&'static str, &'static str, fn(&T) -> String);

const ALARM_COLUMNS: &[Column<AlarmFigures>] = &[
    ("报警数", "alarms", |f| f.alarms.to_string()),
    ("提示数", "info", |f| f.info.to_string()),
    ("被抑制数", "held back", |f| f.held_back.to_string()),
    ("每人每10分钟报警数", "alarms per operator and 10 min", |f| value(&f.rate)),
    ("评价", "verdict", |f| verdict(&f.rate)),
    ("10分钟峰值", "peak in 10 min", |f| value(&f.peak)),
    ("评价", "verdict", |f| verdict(&f.peak)),
    ("超过10条的时段占比", "share of periods over 10", |f| value(&f.overloaded)),
    ("评价", "verdict", |f| verdict(&f.overloaded)),
    ("报警泛滥次数", "floods", |f| f.floods.to_string()),
    ("泛滥时段占比", "share of periods in flood", |f| value(&f.in_flood)),
    ("评价", "verdict", |f| verdict(&f.in_flood)),
    ("抖动规则数", "chattering rules", |f| value(&f.chattering)),
    ("评价", "verdict", |f| verdict(&f.chattering)),
    ("滞留报警(超24小时)日最多", "stale over 24 h, worst day", |f| value(&f.stale)),
    ("评价", "verdict", |f| verdict(&f.stale)),
    ("前十规则占比", "share of the top ten", |f| value(&f.top_share)),
    ("评价", "verdict", |f| verdict(&f.top_share)),
    ("高优先级(严重)", "high (critical)", |f| f.priorities.high.to_string()),
    ("中优先级(重要)", "medium (major)", |f| f.priorities.medium.to_string()),
    ("低优先级(一般)", "low (minor)", |f| f.priorities.low.to_string()),
    ("高优先级占比", "share of high", |f| value(&f.priorities.high_share)),
    ("评价", "verdict", |f| verdict(&f.priorities.high_share)),
    ("高中优先级占比", "share of high and medium", |f| {
        value(&f.priorities.high_and_medium_share)
    }),
    ("评价", "verdict", |f| verdict(&f.priorities.high_and_medium_share)),
    ("确认用时中位数(秒)", "acknowledge, median s", |f| median(&f.acknowledge)),
    ("确认用时P90(秒)", "acknowledge, p90 s", |f| p90(&f.acknowledge)),
    ("恢复用时中位数(秒)", "clear, median s", |f| median(&f.clear)),
    ("恢复用时P90(秒)", "clear, p90 s", |f| p90(&f.clear)),
    ("搁置次数", "shelved", |f| f.shelved.count.to_string()),
    ("搁置小时", "shelved h", |f| number(Some(f.shelved.hours))),
    ("设计抑制次数", "suppressed", |f| f.suppressed.count.to_string()),
    ("设计抑制小时", "suppressed h", |f| number(Some(f.suppressed.hours))),
    ("停用次数", "out of service", |f| f.out_of_service.count.to_string()),
    ("停用小时", "out of service h", |f| number(Some(f.out_of_service.hours))),
];

const CASE_COLUMNS: &[Column<CaseFigures>] = &[
    ("上报数", "received", |f| f.received.to_string()),
    ("立案数", "opened", |f| f.opened.to_string()),
    ("应结案数", "due", |f| f.due.to_string()),
    ("结案数", "closed", |f| f.closed.to_string()),
    ("按期结案数", "on time", |f| f.on_time.to_string()),
    ("结案率", "closing rate", |f| number(f.closing_rate)),
    ("按期结案率", "on-time rate", |f| number(f.on_time_rate)),
    ("期内结案总数", "closings", |f| f.closings.to_string()),
    ("返工数", "reopened", |f| f.reopened.to_string()),
    ("返工率", "rework rate", |f| number(f.rework_rate)),
    ("确认用时中位数(秒)", "acknowledge, median s", |f| median(&f.acknowledge)),
    ("确认用时P90(秒)", "acknowledge, p90 s", |f| p90(&f.acknowledge)),
    ("派遣用时中位数(秒)", "dispatch, median s", |f| median(&f.dispatch)),
    ("派遣用时P90(秒)", "dispatch, p90 s", |f| p90(&f.dispatch)),
    ("接单用时中位数(秒)", "accept, median s", |f| median(&f.accept)),
    ("接单用时P90(秒)", "accept, p90 s", |f| p90(&f.accept)),
    ("到场用时中位数(秒)", "arrive, median s", |f| median(&f.arrive)),
    ("到场用时P90(秒)", "arrive, p90 s", |f| p90(&f.arrive)),
    ("恢复用时中位数(秒)", "clear, median s", |f| median(&f.clear)),
    ("恢复用时P90(秒)", "clear, p90 s", |f| p90(&f.clear)),
    ("结案用时中位数(秒)", "close, median s", |f| median(&f.close)),
    ("结案用时P90(秒)", "close, p90 s", |f| p90(&f.close)),
];

const ALERT_HEADINGS: &[(&str, &str)] = &[
    ("编号", "id"),
    ("设备", "device"),
    ("指标", "metric"),
    ("规则", "rule"),
    ("类型", "kind of rule"),
    ("设施", "asset"),
    ("设施类型", "kind of asset"),
    ("区域", "zone"),
    ("级别", "severity"),
    ("最高级别", "worst severity"),
    ("内容", "text"),
    ("触发值", "value"),
    ("极值", "peak"),
    ("限值", "limit"),
    ("恢复值", "clear value"),
    ("单位", "unit"),
    ("开始", "since"),
    ("触发时间", "raised at"),
    ("确认时间", "acknowledged at"),
    ("确认人", "acknowledged by"),
    ("备注", "note"),
    ("恢复时间", "cleared at"),
    ("未结束", "open"),
    ("案卷", "case"),
];

const CASE_HEADINGS: &[(&str, &str)] = &[
    ("案卷号", "id"),
    ("标题", "title"),
    ("级别", "severity"),
    ("阶段", "stage"),
    ("区域", "zone"),
    ("设施", "asset"),
    ("设施类型", "kind of asset"),
    ("设备", "device"),
    ("处置单位", "unit"),
    ("报警", "alerts"),
    ("立案时间", "opened at"),
    ("立案人", "opened by"),
    ("派遣时间", "dispatched at"),
    ("处理期限", "due at"),
    ("到场时间", "arrived at"),
    ("反馈时间", "reported at"),
    ("结案时间", "closed at"),
    ("超期环节", "overdue step"),
    ("源案卷", "reopens"),
    ("后续案卷", "reopened as"),
];

impl Sheets {
    /// The report on alarms: a line for the whole span, one for the former span, and one for each group.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub fn alarms(&self, report: &AlarmReport) -> Result<Vec<u8>, SheetError> {
        let groups = report.groups.iter();
        let groups = groups.map(|group| (group.key.as_deref(), group.span, &group.figures));
        let whole = (report.span, &report.total);
        self.report(ALARM_COLUMNS, whole, (report.former_span, &report.former), groups)
    }

    /// The report on cases, likewise.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub fn cases(&self, report: &CaseReport) -> Result<Vec<u8>, SheetError> {
        let groups = report.groups.iter();
        let groups = groups.map(|group| (group.key.as_deref(), group.span, &group.figures));
        let whole = (report.span, &report.total);
        self.report(CASE_COLUMNS, whole, (report.former_span, &report.former), groups)
    }

    fn report<'a, T: 'a>(
        &self,
        columns: &[Column<T>],
        whole: (Span, &'a T),
        former: (Span, &'a T),
        groups: impl Iterator<Item = (Option<&'a str>, Span, &'a T)>,
    ) -> Result<Vec<u8>, SheetError> {
        let mut table = begin();
        let lead = [("分组", "group"), ("从", "from"), ("到", "to")].into_iter();
        let heads = lead.chain(columns.iter().map(|(zh, en, _)| (*zh, *en)));
        table.write_record(heads.map(|head| self.pick(head)))?;
        let total = [(Some(self.pick(("合计", "total"))), whole)];
        let former = [(Some(self.pick(("上期合计", "former total"))), former)];
        let groups = groups.map(|(key, span, figures)| (key, (span, figures)));
        for (key, (span, figures)) in total.into_iter().chain(former).chain(groups) {
            let key = key.unwrap_or_else(|| self.pick(("(无)", "(none)")));
            let lead = [plain(key), self.time(span.from), self.time(span.to)].into_iter();
            table.write_record(lead.chain(columns.iter().map(|(_, _, cell)| cell(figures))))?;
        }
        end(table)
    }

    /// The first line of an export of alerts.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub fn alert_headings(&self) -> Result<Vec<u8>, SheetError> {
        self.headings(ALERT_HEADINGS)
    }

    /// The first line of an export of cases.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub fn case_headings(&self) -> Result<Vec<u8>, SheetError> {
        self.headings(CASE_HEADINGS)
    }

    fn headings(&self, headings: &[(&'static str, &'static str)]) -> Result<Vec<u8>, SheetError> {
        let mut table = begin();
        table.write_record(headings.iter().map(|head| self.pick(*head)))?;
        end(table)
    }

    /// Lines of an export of alerts.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub fn alerts(&self, page: &[(Alert, Place, Option<CaseId>)]) -> Result<Vec<u8>, SheetError> {
        let mut table = Writer::from_writer(Vec::new());
        for (alert, place, case) in page {
            let time = |at: Option<Timestamp>| at.map(|at| self.time(at)).unwrap_or_default();
            table.write_record([
                alert.id.0.to_string(),
                alert.rule.device.to_string(),
                text(alert.rule.metric.as_ref()),
                plain(&alert.rule.name),
                alert.kind.to_owned(),
                text(alert.asset.as_ref()),
                place.kind.map(|kind| kind.as_str().to_owned()).unwrap_or_default(),
                text(place.zone.as_ref()),
                alert.severity.to_string(),
                alert.worst.to_string(),
                plain(self.label(&alert.text)),
                number(alert.value),
                number(alert.peak),
                number(alert.limit),
                number(alert.clear),
                plain(&alert.unit),
                self.time(alert.since),
                self.time(alert.raised_at),
                time(alert.acknowledged_at),
                plain(alert.acknowledged_by.as_deref().unwrap_or_default()),
                plain(alert.note.as_deref().unwrap_or_default()),
                time(alert.cleared_at),
                alert.is_open().to_string(),
                case.map(|case| case.0.to_string()).unwrap_or_default(),
            ])?;
        }
        end(table)
    }

    /// Lines of an export of cases.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub fn case_rows(&self, page: &[CaseStory]) -> Result<Vec<u8>, SheetError> {
        let mut table = Writer::from_writer(Vec::new());
        for story in page {
            let Some(case) = told(story) else { continue };
            let time = |at: Option<Timestamp>| at.map(|at| self.time(at)).unwrap_or_default();
            let subject = &case.subject;
            let alerts: Vec<String> = case.alerts.iter().map(|id| id.0.to_string()).collect();
            table.write_record([
                case.id.0.to_string(),
                plain(self.label(&subject.title)),
                case.severity.to_string(),
                case.stage.as_str().to_owned(),
                text(subject.zone.as_ref()),
                text(subject.asset.as_ref()),
                subject.kind.map(|kind| kind.as_str().to_owned()).unwrap_or_default(),
                text(subject.device.as_ref()),
                text(story.labels.unit.as_ref()),
                alerts.join(" "),
                self.time(case.opened_at),
                plain(case.opened_by.as_deref().unwrap_or_default()),
                time(case.deadlines.map(|deadlines| deadlines.dispatched_at)),
                time(case.deadlines.map(|deadlines| deadlines.fix)),
                time(case.arrived_at),
                time(case.reported_at),
                time(case.closed_at),
                case.overdue.map(|step| step.as_str().to_owned()).unwrap_or_default(),
                case.reopens.map(|id| id.0.to_string()).unwrap_or_default(),
                case.reopened_as.map(|id| id.0.to_string()).unwrap_or_default(),
            ])?;
        }
        end(table)
    }

    fn pick<'a>(&self, (zh, en): (&'a str, &'a str)) -> &'a str {
        match self.language {
            Language::Zh => zh,
            Language::En => en,
        }
    }

    fn label<'a>(&self, label: &'a Label) -> &'a str {
        self.pick((&label.zh, &label.en))
    }

    /// In the town's zone, with its offset; in UTC beyond the years that a calendar has.
    fn time(&self, at: Timestamp) -> String {
        match jiff::Timestamp::from_microsecond(at.as_micros()) {
            Ok(time) => time.display_with_offset(self.zone.to_offset(time)).to_string(),
            Err(_) => at.to_string(),
        }
    }
}

/// A case as its log tells it.
fn told(story: &CaseStory) -> Option<Case> {
    let mut events = story.events.iter();
    let mut case = Case::open(events.next()?)?;
    events.for_each(|event| case.on(event));
    Some(case)
}

fn begin() -> Writer<Vec<u8>> {
    Writer::from_writer(BYTE_ORDER_MARK.into())
}

fn end(table: Writer<Vec<u8>>) -> Result<Vec<u8>, SheetError> {
    table.into_inner().map_err(|error| SheetError(error.into_error().into()))
}

/// What people wrote. A spreadsheet takes a cell that begins like a formula for one, and runs it.
fn plain(text: &str) -> String {
    match text.chars().next() {
        Some('=' | '+' | '-' | '@' | '\t' | '\r') => format!("'{text}"),
        _ => text.to_owned(),
    }
}

fn text(thing: Option<&impl fmt::Display>) -> String {
    thing.map(|thing| plain(&thing.to_string())).unwrap_or_default()
}

/// Four decimals: a rate to a hundredth of a per cent.
fn number(value: Option<f64>) -> String {
    let rounded = value.map(|value| (value * 1e4).round() / 1e4);
    rounded.filter(|value| value.is_finite()).map(|value| value.to_string()).unwrap_or_default()
}

fn value(figure: &Figure) -> String {
    number(figure.value)
}

fn verdict(figure: &Figure) -> String {
    match figure.verdict {
        Verdict::Met => "met",
        Verdict::Manageable => "manageable",
        Verdict::Missed => "missed",
        Verdict::Unknown => "",
    }
    .to_owned()
}

fn median(times: &Times) -> String {
    number(times.median_s)
}

fn p90(times: &Times) -> String {
    number(times.p90_s)
}

impl FromStr for Language {
    type Err = UnknownLanguage;

    fn from_str(text: &str) -> Result<Self, UnknownLanguage> {
        match text {
            "zh" => Ok(Language::Zh),
            "en" => Ok(Language::En),
            _ => Err(UnknownLanguage { found: text.to_owned() }),
        }
    }
}
