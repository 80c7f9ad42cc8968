//! How the alarm system does: the figures of ISA-18.2, IEC 62682 and EEMUA 191, from the alerts' log.
//!
//! # What counts
//! An *alarm* is one ring: an alert that is raised, is raised again, gets worse, rings again after its re-alarm time, or
//! joins the list when it is unshelved, unsuppressed or back in service and its condition still stands. What rings while
//! it is shelved, suppressed or out of service is *held back*: nobody hears it, and it burdens nobody. Alerts of severity
//! info ask for no action, so by the norm they are no alarms: they are counted apart.
//!
//! # Severities and priorities
//! The norm's three priorities are critical = high, major = medium, minor = low.
//!
//! # Ten minutes
//! Rates are counted in fixed periods of ten minutes by the clock, as the norm does, each divided by the operators on duty.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;

use super::board::{Board, Frame, Group, Labels, Pair};
use super::figure::{Figure, Samples, Times, share};
use super::period::{By, Span};
use super::story::{AlertMoment, AlertStory, Aside, Deed};
use crate::alert::RuleKey;
use crate::model::{Label, Severity, Timestamp};

const TEN_MINUTES: Duration = Duration::from_secs(600);
/// Alarms per operator in ten minutes that are acceptable in the long run, and those that can just be managed.
const RATE: (f64, f64) = (1.0, 2.0);
/// More alarms per operator in ten minutes than this are a flood.
const FLOOD_BEGINS: f64 = 10.0;
/// A flood is over in the first ten minutes with fewer alarms per operator than this.
const FLOOD_ENDS: f64 = 5.0;
/// The share of time that may be a flood, and what is still manageable.
const FLOOD_SHARE: (f64, f64) = (0.01, 0.05);
/// An alarm that has been active for longer than this is stale.
const STALE_AFTER: Duration = Duration::from_secs(24 * 3600);
/// Stale alarms on any day: fewer than five.
const STALE: f64 = 4.0;
/// The share of all alarms that the ten worst rules may make, and what is still manageable.
const TOP_SHARE: (f64, f64) = (0.01, 0.05);
/// How many rules are named.
const TOP: usize = 10;
/// So many rings of one rule within a minute are chattering, whether or not the rule has a flap detection.
const CHATTERS: usize = 3;
const CHATTERS_WITHIN: Duration = Duration::from_secs(60);

/// How the alarm system did in a span.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AlarmReport {
    /// What was asked for.
    pub span: Span,
    /// What it is compared with.
    pub former_span: Span,
    /// How it is divided.
    pub by: Option<By>,
    /// Operators on duty: every rate is per operator.
    pub operators: u32,
    /// The whole span.
    pub total: AlarmFigures,
    /// The whole former span.
    pub former: AlarmFigures,
    /// The rules that rang most in the span, worst first.
    pub top: Vec<TopRule>,
    /// The rules that chattered in the span, by name.
    pub chatterers: Vec<RuleKey>,
    /// The groups; empty without a division.
    pub groups: Vec<AlarmGroup>,
}

/// One group of a divided report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AlarmGroup {
    /// Zone, unit, kind, severity, or period; `None` for what has none.
    pub key: Option<String>,
    /// Which time it is about.
    pub span: Span,
    /// Its figures.
    pub figures: AlarmFigures,
    /// Those of the former span; `None` for a period.
    pub former: Option<AlarmFigures>,
}

/// The figures of the norm.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AlarmFigures {
    /// Rings of critical, major and minor alerts that were heard.
    pub alarms: u64,
    /// Rings of info alerts: no alarms.
    pub info: u64,
    /// Rings that nobody heard, because the alert was shelved, suppressed or out of service.
    pub held_back: u64,
    /// Alarms per operator and ten minutes, over the whole time. Target: 1; up to 2 is manageable.
    pub rate: Figure,
    /// Alarms per operator in the worst ten minutes. Target: 10.
    pub peak: Figure,
    /// When the worst ten minutes began; `None` without an alarm.
    pub peak_at: Option<Timestamp>,
    /// Share of the ten-minute periods with more than 10 alarms per operator. Target: 1 %.
    pub overloaded: Figure,
    /// Floods: one begins with the first ten minutes of more than 10 alarms per operator, and is over with the first ten
    /// minutes of fewer than 5.
    pub floods: u64,
    /// Share of the ten-minute periods within a flood. Target: 1 %.
    pub in_flood: Figure,
    /// The longest flood in seconds.
    pub longest_flood_s: f64,
    /// Rules that chattered: found by their flap detection, or with 3 rings within a minute. Target: none.
    pub chattering: Figure,
    /// The most alarms that were active for over 24 h at the end of a day. Target: fewer than 5 on any day.
    pub stale: Figure,
    /// The same as a mean over the days.
    pub stale_mean: Option<f64>,
    /// Share of the alarms that the ten worst rules made. Target: 1 %, up to 5 % is manageable. In a calm time a few
    /// rules are all there are: look at the number of alarms first.
    pub top_share: Figure,
    /// Alarms by priority, with their shares against 80 / 15 / 5.
    pub priorities: Priorities,
    /// From the ring that asked for it to the acknowledgement.
    pub acknowledge: Times,
    /// From active to returned.
    pub clear: Times,
    /// Alerts that people put off.
    pub shelved: Away,
    /// Alerts whose cause was known elsewhere.
    pub suppressed: Away,
    /// Alerts of devices out of service.
    pub out_of_service: Away,
}

/// Alarms by priority.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Priorities {
    /// Critical alarms.
    pub high: u64,
    /// Major alarms.
    pub medium: u64,
    /// Minor alarms.
    pub low: u64,
    /// Share of critical alarms. Target: 5 %.
    pub high_share: Figure,
    /// Share of critical and major alarms together. Target: 5 % and 15 %, so 20 %: fewer bad ones are no fault.
    pub high_and_medium_share: Figure,
}

/// How often, and for how long, alerts were taken off the list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Away {
    /// How often it began.
    pub count: u64,
    /// Alert hours, within the span.
    pub hours: f64,
}

/// A rule that rings much.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TopRule {
    /// Which.
    #[serde(flatten)]
    pub rule: RuleKey,
    /// What people read.
    pub text: Label,
    /// Its alarms.
    pub alarms: u64,
    /// Its share of all alarms.
    pub share: f64,
}

/// Counts alerts, one after the other.
#[derive(Debug)]
pub struct AlarmCount {
    board: Board<Tally>,
    operators: u32,
}

/// What is counted of one group.
#[derive(Debug, Clone, Default)]
struct Tally {
    info: u64,
    held_back: u64,
    /// By priority: high, medium, low.
    priorities: [u64; 3],
    /// Alarms by the number of their ten minutes since the epoch.
    tens: HashMap<i64, u32>,
    rules: HashMap<RuleKey, RuleTally>,
    /// Stale alarms by the end of their day.
    stale: HashMap<Timestamp, u32>,
    acknowledge: Samples,
    clear: Samples,
    shelved: AwayTally,
    suppressed: AwayTally,
    out_of_service: AwayTally,
}

#[derive(Debug, Clone, Default)]
struct AwayTally {
    count: u64,
    time: Duration,
}

#[derive(Debug, Clone)]
struct RuleTally {
    text: Label,
    alarms: u64,
    /// The last rings, oldest first.
    last: [Option<Timestamp>; CHATTERS - 1],
    chatters: bool,
}

/// An alert's state while its log is told.
#[derive(Debug, Default)]
struct State {
    active_since: Option<Timestamp>,
    /// Since when it asks for an acknowledgement.
    asks_since: Option<Timestamp>,
    aside: Aside,
    /// It rang at the present moment; whether anybody heard it is clear when the moment is over.
    rings: bool,
}

impl AlarmCount {
    /// Begins a report; rates are per operator (0 counts as 1).
    pub fn new(frame: Frame, operators: u32) -> Self {
        AlarmCount { board: Board::new(frame), operators: operators.max(1) }
    }

    /// Counts one alert. Alerts of one rule come in the order in which they were raised.
    pub fn add(&mut self, story: &AlertStory) {
        let mut labels = story.labels.clone();
        let mut state = State::default();
        for (i, event) in story.events.iter().enumerate() {
            labels.severity = event.severity;
            self.apply(&mut state, event, story, &labels);
            let until = story.events.get(i + 1).map_or(self.board.frame.span.to, |next| next.at);
            self.pass(&mut state, event.at, until, story, &labels);
        }
    }

    fn apply(
        &mut self,
        state: &mut State,
        event: &AlertMoment,
        story: &AlertStory,
        labels: &Labels,
    ) {
        let at = event.at;
        let asks = |state: &mut State| {
            state.rings = true;
            state.asks_since.get_or_insert(at);
        };
        // An alert that still stands when the last reason to keep it aside ends is announced as if it were new.
        let joins = |state: &mut State, former: Aside| {
            let comes_back = !former.is_clear() && state.aside.is_clear();
            if comes_back && state.active_since.is_some() {
                asks(state);
            }
        };
        let former = state.aside;
        state.aside = former.after(event.what);
        match event.what {
            Deed::Raised => {
                state.active_since.get_or_insert(at);
                asks(state);
            }
            Deed::Rang => asks(state),
            Deed::Acknowledged => {
                if let Some(since) = state.asks_since.take() {
                    self.board.at(at, labels, |tally, _| tally.acknowledge.push(at.since(since)));
                }
            }
            Deed::Waived => state.asks_since = None,
            Deed::Returned => {
                if let Some(since) = state.active_since.take() {
                    self.board.at(at, labels, |tally, _| tally.clear.push(at.since(since)));
                }
            }
            Deed::RuleRemoved => state.active_since = None,
            Deed::Chattering => {
                self.board.at(at, labels, |tally, _| tally.rule(story).chatters = true);
            }
            Deed::Shelved(is) => {
                self.begin(at, labels, is && !former.shelved, |tally| &mut tally.shelved);
                joins(state, former);
            }
            Deed::Suppressed(is) => {
                self.begin(at, labels, is && !former.suppressed, |tally| &mut tally.suppressed);
                joins(state, former);
            }
            Deed::OutOfService(is) => {
                self.begin(at, labels, is && !former.out_of_service, |t| &mut t.out_of_service);
                joins(state, former);
            }
            Deed::Else => {}
        }
    }

    fn begin(
        &mut self,
        at: Timestamp,
        labels: &Labels,
        begins: bool,
        away: impl Fn(&mut Tally) -> &mut AwayTally,
    ) {
        if begins {
            self.board.at(at, labels, |tally, _| away(tally).count += 1);
        }
    }

    /// The time between two events. An alert that is raised and suppressed at one moment was never heard.
    fn pass(
        &mut self,
        state: &mut State,
        from: Timestamp,
        until: Timestamp,
        story: &AlertStory,
        labels: &Labels,
    ) {
        if from >= until {
            return;
        }
        if std::mem::take(&mut state.rings) {
            let is_listed = state.aside.is_clear();
            self.board.at(from, labels, |tally, _| tally.ring(from, is_listed, story, labels));
        }
        let mut spend = |is: bool, away: fn(&mut Tally) -> &mut AwayTally| {
            if is {
                self.board.during(from, until, labels, |tally, time| away(tally).time += time);
            }
        };
        spend(state.aside.shelved, |tally| &mut tally.shelved);
        spend(state.aside.suppressed, |tally| &mut tally.suppressed);
        spend(state.aside.out_of_service, |tally| &mut tally.out_of_service);
        let stale_at = state.active_since.map(|since| since.plus(STALE_AFTER));
        if let Some(stale_at) = stale_at.filter(|_| state.aside.is_clear())
            && labels.severity != Severity::Info
        {
            self.stand(from.max(stale_at), until, labels);
        }
    }

    /// Counts a stale alarm on every day that ends meanwhile.
    fn stand(&mut self, from: Timestamp, until: Timestamp, labels: &Labels) {
        let first = self.board.frame.day_ends.partition_point(|end| *end <= from);
        let ends: Vec<Timestamp> = self.board.frame.day_ends[first..]
            .iter()
            .copied()
            .take_while(|end| *end <= until)
            .collect();
        for end in ends {
            // The last moment of the day: the end itself belongs to the next one.
            let last = Timestamp::from_micros(end.as_micros() - 1);
            self.board.at(last, labels, |tally, _| *tally.stale.entry(end).or_default() += 1);
        }
    }

    /// The report.
    pub fn finish(self) -> AlarmReport {
        let operators = self.operators;
        let (frame, Pair { now, former }, groups) = self.board.finish();
        let (top, chatterers) = now.worst_rules();
        AlarmReport {
            span: frame.span,
            former_span: frame.former,
            by: frame.by,
            operators,
            top,
            chatterers,
            total: now.figures(frame.span, &frame, operators),
            former: former.figures(frame.former, &frame, operators),
            groups: groups
                .into_iter()
                .map(|Group { key, span, now, former }| AlarmGroup {
                    key,
                    span,
                    figures: now.figures(span, &frame, operators),
                    former: former.map(|tally| tally.figures(frame.former, &frame, operators)),
                })
                .collect(),
        }
    }
}

/// The ten minutes that a moment lies in, counted from the epoch.
fn ten_of(at: Timestamp) -> i64 {
    at.as_micros().div_euclid(TEN_MINUTES.as_micros() as i64)
}

impl Tally {
    fn ring(&mut self, at: Timestamp, is_listed: bool, story: &AlertStory, labels: &Labels) {
        let priority = match labels.severity {
            _ if !is_listed => {
                self.held_back += 1;
                return;
            }
            Severity::Info => {
                self.info += 1;
                return;
            }
            Severity::Critical => 0,
            Severity::Major => 1,
            Severity::Minor => 2,
        };
        self.priorities[priority] += 1;
        *self.tens.entry(ten_of(at)).or_default() += 1;
        let rule = self.rule(story);
        rule.alarms += 1;
        let oldest = rule.last[0];
        rule.chatters |= oldest.is_some_and(|oldest| at.since(oldest) <= CHATTERS_WITHIN);
        rule.last.rotate_left(1);
        rule.last[CHATTERS - 2] = Some(at);
    }

    fn rule(&mut self, story: &AlertStory) -> &mut RuleTally {
        self.rules.entry(story.rule.clone()).or_insert_with(|| RuleTally {
            text: story.text.clone(),
            alarms: 0,
            last: [None; CHATTERS - 1],
            chatters: false,
        })
    }

    fn alarms(&self) -> u64 {
        self.priorities.iter().sum()
    }

    /// The rules by their alarms, worst first, then by name.
    fn worst_rules(&self) -> (Vec<TopRule>, Vec<RuleKey>) {
        let whole = self.alarms();
        let mut top: Vec<(&RuleKey, &RuleTally)> =
            self.rules.iter().filter(|(_, tally)| tally.alarms > 0).collect();
        top.sort_unstable_by(|(a, x), (b, y)| y.alarms.cmp(&x.alarms).then_with(|| a.cmp(b)));
        let top = top.into_iter().take(TOP).map(|(rule, tally)| TopRule {
            rule: rule.clone(),
            text: tally.text.clone(),
            alarms: tally.alarms,
            share: share(tally.alarms, whole).unwrap_or(0.0),
        });
        let chatterers = self.rules.iter().filter(|(_, tally)| tally.chatters);
        let mut chatterers: Vec<RuleKey> = chatterers.map(|(rule, _)| rule.clone()).collect();
        chatterers.sort_unstable();
        (top.collect(), chatterers)
    }

    fn figures(self, span: Span, frame: &Frame, operators: u32) -> AlarmFigures {
        let alarms = self.alarms();
        let per_operator = |alarms: u32| f64::from(alarms) / f64::from(operators);
        let tens = span.length().as_secs_f64() / TEN_MINUTES.as_secs_f64();
        let rate = (tens > 0.0).then(|| alarms as f64 / tens / f64::from(operators));
        let peak = self.tens.iter().max_by_key(|(ten, n)| (**n, std::cmp::Reverse(**ten)));
        let (peak_at, peak) = peak.unzip();
        let start_of = |ten: i64| {
            Timestamp::from_micros(ten.saturating_mul(TEN_MINUTES.as_micros() as i64))
                .max(span.from)
        };
        let last = Timestamp::from_micros(span.to.as_micros().saturating_sub(1));
        let periods = (ten_of(last) - ten_of(span.from) + 1).max(0).unsigned_abs();
        let overloaded = self.tens.values().filter(|n| per_operator(**n) > FLOOD_BEGINS).count();
        let floods = Floods::find(&self.tens, per_operator);
        let chattering = self.rules.values().filter(|rule| rule.chatters).count();
        let days =
            frame.day_ends.iter().filter(|end| span.from < **end && **end <= span.to).count();
        let stale = self.stale.values().max().copied().unwrap_or(0);
        let stale_sum: u32 = self.stale.values().sum();
        let (top, _) = self.worst_rules();
        let top_share = share(top.iter().map(|rule| rule.alarms).sum(), alarms);
        AlarmFigures {
            alarms,
            info: self.info,
            held_back: self.held_back,
            rate: Figure::at_most(rate, RATE.0, RATE.1),
            peak: Figure::at_most(
                Some(peak.map_or(0.0, |n| per_operator(*n))),
                FLOOD_BEGINS,
                FLOOD_BEGINS,
            ),
            peak_at: peak_at.map(|ten| start_of(*ten)),
            overloaded: at_most(share(overloaded as u64, periods), FLOOD_SHARE),
            floods: floods.count,
            in_flood: at_most(share(floods.periods, periods), FLOOD_SHARE),
            longest_flood_s: floods.longest as f64 * TEN_MINUTES.as_secs_f64(),
            chattering: Figure::at_most(Some(chattering as f64), 0.0, 0.0),
            stale: Figure::at_most((days > 0).then_some(f64::from(stale)), STALE, STALE),
            stale_mean: share(u64::from(stale_sum), days as u64),
            top_share: at_most(top_share, TOP_SHARE),
            priorities: Priorities::of(self.priorities),
            acknowledge: self.acknowledge.sum_up(),
            clear: self.clear.sum_up(),
            shelved: self.shelved.sum_up(),
            suppressed: self.suppressed.sum_up(),
            out_of_service: self.out_of_service.sum_up(),
        }
    }
}

fn at_most(value: Option<f64>, (target, manageable): (f64, f64)) -> Figure {
    Figure::at_most(value, target, manageable)
}

impl AwayTally {
    fn sum_up(&self) -> Away {
        Away { count: self.count, hours: self.time.as_secs_f64() / 3600.0 }
    }
}

impl Priorities {
    fn of([high, medium, low]: [u64; 3]) -> Priorities {
        let whole = high + medium + low;
        Priorities {
            high,
            medium,
            low,
            high_share: Figure::at_most(share(high, whole), 0.05, 0.05),
            high_and_medium_share: Figure::at_most(share(high + medium, whole), 0.20, 0.20),
        }
    }
}

/// The floods among ten-minute periods.
#[derive(Debug, Default, PartialEq)]
struct Floods {
    count: u64,
    /// Ten-minute periods within a flood.
    periods: u64,
    /// The longest, in ten-minute periods.
    longest: u64,
}

impl Floods {
    fn find(tens: &HashMap<i64, u32>, per_operator: impl Fn(u32) -> f64) -> Floods {
        let mut busy: Vec<(i64, f64)> =
            tens.iter().map(|(ten, n)| (*ten, per_operator(*n))).collect();
        busy.sort_unstable_by_key(|(ten, _)| *ten);
        let mut floods = Floods::default();
        let mut lasts = 0;
        let mut former = None;
        for (ten, alarms) in busy {
            // A period without an alarm lies between: that ended it.
            let is_next = former.is_some_and(|former| former + 1 == ten);
            let goes_on = lasts > 0 && is_next && alarms >= FLOOD_ENDS;
            lasts = match (goes_on, alarms > FLOOD_BEGINS) {
                (true, _) => lasts + 1,
                (false, true) => 1,
                (false, false) => 0,
            };
            floods.count += u64::from(lasts == 1);
            floods.periods += u64::from(lasts > 0);
            floods.longest = floods.longest.max(lasts);
            former = Some(ten);
        }
        floods
    }
}
