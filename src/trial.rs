//! Trials: a profile's fixtures, run through the hub's own decoder, normalizer and limits.
//!
//! Takes a profile with its fixtures; hands on what came out otherwise than it should. Has no code of its own for what
//! the hub does, so that a fixture that passes here is a promise about the hub. Serves the command line and the tests.

mod command;
mod lorawan;
mod reports;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use serde::Serialize;
use serde_json::json;

use crate::model::{Grade, Measurement, PointIndex, ProfileId, Reading, Severity, Timestamp};
use crate::profile::expr::Operand;
use crate::profile::{
    AlertRef, AlertSpec, AlertTest, DecodeError, Decoded, Fixture, Input, Point, Profile,
    ProfileError, ProfileFile, Read, Table, find_files, read_file,
};

/// When a fixture is received whose device names no time: any time would do, as long as it is always the same.
const RECEIVED_AT: Timestamp = Timestamp::from_secs(1_790_000_000);

/// Expected and found value may differ by this share of the larger: the last digits of an f32.
const TOLERANCE: f64 = 1e-6;

/// What became of one fixture.
#[derive(Debug, Clone, PartialEq)]
pub struct TrialResult {
    /// The fixture's name.
    pub name: String,
    /// Where it stands in the file.
    pub line: usize,
    /// What came out otherwise than it should; nothing when it passed.
    pub failures: Vec<String>,
}

impl TrialResult {
    /// Whether all came out as it should.
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }
}

/// A text to print, and whether all is well.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Lines for a terminal.
    pub text: String,
    /// Whether nothing failed.
    pub ok: bool,
}

/// Runs fixtures, each on a device that was never heard before.
pub fn run(profile: &Profile, fixtures: &[Fixture]) -> Vec<TrialResult> {
    fixtures
        .iter()
        .map(|fixture| TrialResult {
            name: fixture.name.clone(),
            line: fixture.line,
            failures: run_one(profile, fixture),
        })
        .collect()
}

/// The alerts of a profile that no fixture raises or leaves pending, as `point.alert`.
pub fn uncovered(profile: &Profile, fixtures: &[Fixture]) -> Vec<String> {
    let covered: BTreeSet<AlertRef> = fixtures
        .iter()
        .flat_map(|fixture| {
            let reports = fixture.reports.iter().flatten().map(|report| &report.alone);
            std::iter::once(fixture).chain(reports)
        })
        .flat_map(|fixture| fixture.alerts.iter().chain(&fixture.pending))
        .map(|expected| expected.alert)
        .collect();
    profile
        .alerts()
        .filter(|(alert, spec)| spec.test.is_raised_at_once() && !covered.contains(alert))
        .map(|(alert, spec)| profile.alert_path(alert, spec))
        .collect()
}

/// How `townhub profile check` and `test` judge and report.
#[derive(Debug, Clone, Copy, Default)]
pub struct Manner {
    /// Warnings fail, too.
    pub is_strict: bool,
    /// A JSON document for editors in place of lines for people.
    pub is_json: bool,
}

/// Checks the files at or below `paths`: `townhub profile check`.
pub fn check(paths: &[PathBuf], manner: Manner) -> Report {
    for_each_file(paths, manner, |file, report| {
        let Profile { id, points, .. } = &file.profile;
        if let Some(error) = file.profile.lorawan().and_then(lorawan::check) {
            report.say(format_args!("FAILED  {id}: {error}"));
            report.ok = false;
            return;
        }
        let tests = file.fixtures.len();
        report.say(format_args!("ok      {id}: {} points, {tests} tests", points.len()));
    })
}

/// Checks the files at or below `paths` and runs their fixtures: `townhub profile test`.
pub fn test(paths: &[PathBuf], manner: Manner) -> Report {
    for_each_file(paths, manner, |ProfileFile { profile, fixtures, .. }, report| {
        for result in run(profile, fixtures) {
            let verdict = if result.passed() { "ok    " } else { "FAILED" };
            let TrialResult { name, line, failures } = &result;
            report.say(format_args!("{verdict}  {}: {name} (line {line})", profile.id));
            for failure in failures {
                report.say(format_args!("          {failure}"));
            }
            report.ok &= result.passed();
            report.results.push((profile.id.clone(), result));
        }
        for alert in uncovered(profile, fixtures) {
            report.say(format_args!("note    {}: no test raises `{alert}`", profile.id));
        }
    })
}

/// A report that is being written.
struct Writing {
    manner: Manner,
    text: String,
    ok: bool,
    findings: Vec<Finding>,
    results: Vec<(ProfileId, TrialResult)>,
}

/// An error or a warning as an editor takes it.
#[derive(Serialize)]
struct Finding {
    severity: &'static str,
    file: String,
    line: usize,
    column: usize,
    message: String,
    help: Vec<String>,
}

fn for_each_file(
    paths: &[PathBuf],
    manner: Manner,
    mut judge: impl FnMut(&ProfileFile, &mut Writing),
) -> Report {
    let (text, findings, results) = (String::new(), Vec::new(), Vec::new());
    let mut report = Writing { manner, text, ok: true, findings, results };
    let mut files = Vec::new();
    for path in paths {
        match find_files(path) {
            Ok(found) => files.extend(found),
            Err(error) => report.fail(&path.display().to_string(), &error.to_string()),
        }
    }
    if files.is_empty() && report.ok {
        report.fail("", "no *.toml file there");
    }
    for path in files {
        match read_file(&path) {
            Ok(file) => {
                for warning in &file.warnings {
                    report.find("warning", warning);
                }
                judge(&file, &mut report);
            }
            Err(errors) => errors.iter().for_each(|error| report.find("error", error)),
        }
    }
    report.finish()
}

impl Writing {
    fn say(&mut self, line: impl std::fmt::Display) {
        let _ = writeln!(self.text, "{line}");
    }

    fn fail(&mut self, file: &str, message: &str) {
        let separator = if file.is_empty() { "" } else { ": " };
        self.say(format_args!("{file}{separator}{message}"));
        self.ok = false;
        let (file, message) = (file.to_owned(), message.to_owned());
        let severity = "error";
        self.findings.push(Finding { severity, file, line: 0, column: 0, message, help: vec![] });
    }

    fn find(&mut self, severity: &'static str, found: &ProfileError) {
        let is_error = severity == "error";
        self.ok &= !is_error && !self.manner.is_strict;
        let mark = if is_error { "" } else { "warning: " };
        self.say(format_args!("{mark}{found}"));
        let ProfileError { file, line, column, message, help, .. } = found.clone();
        self.findings.push(Finding { severity, file, line, column, message, help });
    }

    fn finish(self) -> Report {
        let text = if self.manner.is_json {
            let tests: Vec<_> = self
                .results
                .iter()
                .map(|(profile, TrialResult { name, line, failures })| {
                    json!({ "profile": profile, "test": name, "line": line, "failures": failures })
                })
                .collect();
            let document = json!({ "ok": self.ok, "findings": self.findings, "tests": tests });
            format!("{document:#}\n")
        } else {
            self.text
        };
        Report { text, ok: self.ok }
    }
}

fn run_one(profile: &Profile, fixture: &Fixture) -> Vec<String> {
    let mut decoded = Decoded::default();
    let result = match &fixture.input {
        Input::Command(given) => return command::run(profile, given),
        Input::Message(payload) => match profile.lorawan() {
            Some(source) => lorawan::decode(source, source.job(payload, RECEIVED_AT), &mut decoded),
            None => reports::decode(profile, fixture, payload, &mut decoded),
        },
        Input::Frame { port, bytes } => match profile.lorawan() {
            Some(source) => {
                lorawan::decode(source, source.frame(*port, bytes, RECEIVED_AT), &mut decoded)
            }
            None => Err(DecodeError::NoFrame),
        },
        Input::Registers(words) => read_registers(profile, words, &mut decoded),
    };
    match (result, &fixture.error) {
        (Ok(()), None) => compare(profile, fixture, &decoded),
        (Ok(()), Some(words)) => vec![format!("expected an error with `{words}`, but it decodes")],
        (Err(error), None) => vec![format!("does not decode ({}): {error}", error.reason())],
        (Err(error), Some(words)) => {
            let is_meant = error.reason().contains(words) || error.to_string().contains(words);
            let failure =
                || format!("expected an error with `{words}`, found {}: {error}", error.reason());
            if is_meant { Vec::new() } else { vec![failure()] }
        }
    }
}

/// As the bus poller does it: a point whose words are not all there does not come.
fn read_registers(
    profile: &Profile,
    words: &std::collections::BTreeMap<(Table, u16), u16>,
    out: &mut Decoded,
) -> Result<(), DecodeError> {
    for (i, point) in profile.points.iter().enumerate() {
        let Read::Register(read) = &point.read else { continue };
        let addresses = (0..read.kind.words()).map_while(|n| read.address.checked_add(n));
        let found: Vec<u16> =
            addresses.map_while(|address| words.get(&(read.table, address)).copied()).collect();
        // Words that make no number, such as a BCD digit beyond 9, are a reading without one.
        if found.len() == usize::from(read.kind.words()) {
            let raw = read.decode(&found).unwrap_or(f64::NAN);
            out.push(Reading { point: PointIndex(i as u16), raw, comm_fault: false });
        }
    }
    if out.is_empty() { Err(DecodeError::NoPoint) } else { Ok(()) }
}

/// What came out of one fixture.
struct Outcome<'a> {
    profile: &'a Profile,
    measurements: Vec<Measurement>,
}

fn compare(profile: &Profile, fixture: &Fixture, decoded: &Decoded) -> Vec<String> {
    if let Some(expected) = &fixture.reports {
        return reports::compare(profile, expected, decoded);
    }
    let measured = reports::normalize(profile, decoded);
    // Who sends for others may be in the message itself; an envelope names the only device that it is of.
    let own = measured.iter().map(|(report, _)| &report.device).min().cloned().flatten();
    let measured = measured.into_iter().filter(|(report, _)| report.device == own);
    let (reports, measurements): (Vec<_>, Vec<_>) = measured.unzip();
    let time = reports.iter().rev().find_map(|report| report.time.at());
    judge(profile, fixture, measurements.concat(), time)
}

/// What came out otherwise than the fixture says.
fn judge(
    profile: &Profile,
    fixture: &Fixture,
    measurements: Vec<Measurement>,
    time: Option<Timestamp>,
) -> Vec<String> {
    let outcome = Outcome { profile, measurements };
    let mut failures = Vec::new();
    outcome.compare_values(fixture, &mut failures);
    outcome.compare_qualities(fixture, &mut failures);
    outcome.compare_alerts(fixture, &mut failures);
    if fixture.time.is_some() && fixture.time != time {
        let show =
            |time: Option<Timestamp>| time.map_or("none".to_owned(), |time| time.to_string());
        failures.push(format!("expected the time {}, found {}", show(fixture.time), show(time)));
    }
    failures
}

impl Outcome<'_> {
    fn of(&self, point: PointIndex) -> Option<&Measurement> {
        // The newest: where several reports have a point, that is what stands then.
        self.measurements.iter().rev().find(|m| m.series.index() == usize::from(point.0))
    }

    fn point(&self, point: PointIndex) -> &Point {
        &self.profile.points[usize::from(point.0)]
    }

    fn compare_values(&self, fixture: &Fixture, failures: &mut Vec<String>) {
        for &(index, expected) in &fixture.expect {
            let point = self.point(index);
            let expected_text = show(point, expected);
            match self.of(index) {
                None => failures
                    .push(format!("{}: expected {expected_text}, found nothing", point.name)),
                Some(m) if !is_close(m.value, expected) => {
                    let found = show(point, m.value);
                    failures
                        .push(format!("{}: expected {expected_text}, found {found}", point.name));
                }
                Some(_) => {}
            }
        }
        for &index in &fixture.missing {
            if let Some(m) = self.of(index) {
                let point = self.point(index);
                let found = show(point, m.value);
                failures.push(format!("{}: expected nothing, found {found}", point.name));
            }
        }
    }

    fn compare_qualities(&self, fixture: &Fixture, failures: &mut Vec<String>) {
        for index in (0..self.profile.points.len()).map(|i| PointIndex(i as u16)) {
            let expected = if fixture.bad.contains(&index) {
                Grade::Bad
            } else if fixture.uncertain.contains(&index) {
                Grade::Uncertain
            } else {
                Grade::Good
            };
            let name = &self.point(index).name;
            match self.of(index) {
                None if expected != Grade::Good => {
                    failures.push(format!("{name}: expected quality {expected}, found nothing"));
                }
                Some(m) if m.quality.grade != expected => {
                    let reason =
                        m.quality.reason.map_or(String::new(), |r| format!(", {}", r.as_str()));
                    let (found, value) = (m.quality.grade, show(self.point(index), m.value));
                    failures.push(format!(
                        "{name}: expected quality {expected}, found {found} ({value}{reason})"
                    ));
                }
                _ => {}
            }
        }
    }

    fn compare_alerts(&self, fixture: &Fixture, failures: &mut Vec<String>) {
        for (word, expected, waits) in
            [("alerts", &fixture.alerts, false), ("pending", &fixture.pending, true)]
        {
            let found: BTreeMap<AlertRef, (String, Severity)> = self
                .profile
                .alerts()
                .filter(|(_, spec)| spec.on_delay.is_zero() != waits)
                .filter_map(|(alert, spec)| {
                    let path = self.profile.alert_path(alert, spec);
                    self.severity_of(alert, spec).map(|severity| (alert, (path, severity)))
                })
                .collect();
            for (alert, spec) in self.profile.alerts() {
                let Some(expected) = expected.iter().find(|expected| expected.alert == alert)
                else {
                    continue;
                };
                let path = self.profile.alert_path(alert, spec);
                match (found.get(&alert), expected.severity) {
                    (None, _) => failures.push(format!("{word}: {path} is not there")),
                    (Some((_, is)), Some(severity)) if *is != severity => {
                        failures.push(format!("{word}: {path} is {is}, not {severity}"));
                    }
                    (Some(_), _) => {}
                }
            }
            for (alert, (path, _)) in &found {
                if !expected.iter().any(|expected| expected.alert == *alert) {
                    failures.push(format!("{word}: {path} was not expected"));
                }
            }
        }
    }

    /// The severity at which the readings raise the alert, at once or after its delay: only Good ones do.
    fn severity_of(&self, alert: AlertRef, spec: &AlertSpec) -> Option<Severity> {
        let steps = match (&spec.test, alert.point) {
            (AlertTest::Holds { expr, .. }, _) => {
                let value = expr.expr.eval(&|point| {
                    self.of(point).map(|m| Operand { value: m.value, quality: m.quality })
                });
                usize::from(value.is_some_and(Operand::is_surely_true))
            }
            (test, Some(point)) => {
                let reading = self.of(point).filter(|m| m.quality.is_news());
                reading.map_or(0, |m| test.raised_by(m.value))
            }
            (_, None) => 0,
        };
        steps.checked_sub(1).map(|step| spec.test.severity(step))
    }
}

fn is_close(found: f64, expected: f64) -> bool {
    (found - expected).abs() <= TOLERANCE * found.abs().max(expected.abs()).max(f64::MIN_POSITIVE)
}

/// A value as a profile writes it.
fn show(point: &Point, value: f64) -> String {
    let states = point.states.iter().flatten();
    let state = states.into_iter().find(|state| state.code == value);
    match state {
        Some(state) => format!("\"{}\"", state.name),
        None if point.unit == "1" => value.to_string(),
        None => format!("{value} {}", point.unit),
    }
}

#[cfg(test)]
mod tests;
