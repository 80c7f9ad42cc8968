//! A profile as it is written, checked and made into a [`Profile`].
//!
//! Every check notes what it finds and goes on with what is left, so that one look shows all that is wrong. Fixtures
//! are looked at last, and only when the rest is right: what they say of a broken point would mislead.

mod alert;
mod command;
mod command_test;
mod expression;
mod fixture;
mod logic;
mod lorawan;
mod mqtt;
mod place;
mod point;
mod register;
mod source;

pub(crate) use alert::read as read_alert;

use std::ops::Range;
use std::time::Duration;

use crate::profile::spanned::Spanned;

use super::error::Problems;
use super::raw::{Maybe, Named, RawPoint, RawProfile, RawStaleness};
use super::{Profile, ProfileFile, Staleness, duration};
use crate::model::{AssetKind, PointIndex, Severity};

/// The version of the format that this reads.
const FORMAT: i64 = 1;

/// Where keys are missing that belong to no table.
const TOP: Range<usize> = 0..0;

/// A device is shown as stale after this when the profile does not say how often it reports.
const STALE_AFTER: Duration = Duration::from_secs(15 * 60);

/// How many expected reports in a row may be missed.
const MISSED_REPORTS: u32 = 3;

/// Makes the profile; `None` when there are problems, which are noted then.
pub(super) fn compile(raw: RawProfile, problems: &mut Problems<'_>) -> Option<ProfileFile> {
    check_format(&raw, problems);
    let id = problems.require(raw.id, &TOP, "id", "\"aqua-mh1\"");
    let id = id.and_then(|id| problems.check(&id.span(), id.get_ref().parse()));
    let name = problems.require(raw.name, &TOP, "name", "\"Aqua MH-1 manhole sensor\"");
    let manufacturer = problems.require(raw.manufacturer, &TOP, "manufacturer", "\"Aqua\"");
    let model = problems.require(raw.model, &TOP, "model", "\"MH-1\"");
    let kind = problems.require(raw.kind, &TOP, "kind", "\"manhole\"");
    let kind = kind.and_then(|k| problems.choose(&k, "kind", &AssetKind::ALL, AssetKind::as_str));
    let staleness = compile_staleness(raw.staleness, problems);
    let wiring = source::compile(raw.source, problems);
    let headline = find_headline(raw.headline.as_ref(), &raw.points, problems);
    let formulas = logic::Formulas::of(&raw.points);
    let declared = raw.points.len();
    let points = point::compile_all(raw.points, wiring.as_ref(), problems);
    let bare: Vec<_> = points.iter().map(|placed| placed.point.clone()).collect();
    // A command that names a point which is broken would only repeat what is said of that.
    let commands = wiring.as_ref().filter(|_| bare.len() == declared).map(|wiring| {
        command::compile_all(raw.commands, &command::Around { points: &bare, wiring }, problems)
    });
    let stale_after = staleness.stale_after;
    let logic = logic::compile(
        &formulas,
        raw.quality,
        raw.alert,
        &points,
        wiring.as_ref(),
        stale_after,
        problems,
    );
    let source = wiring.and_then(|wiring| source::finish(wiring, &points, problems));
    if !problems.is_empty() {
        return None;
    }
    let profile = Profile {
        id: id?,
        name: name?.into_inner().0,
        manufacturer: manufacturer?.into_inner(),
        model: model?.into_inner(),
        kind: kind?,
        source: source?,
        staleness,
        points: points.into_iter().map(|placed| placed.point).collect(),
        headline,
        commands: commands?,
        logic,
    };
    let fixtures = fixture::compile_all(raw.test, &profile, problems);
    problems.is_empty().then_some(ProfileFile { profile, fixtures, warnings: Vec::new() })
}

fn check_format(raw: &RawProfile, problems: &mut Problems<'_>) {
    let Some(version) = problems.require(raw.profile.as_ref(), &TOP, "profile", "1") else {
        return;
    };
    if *version.get_ref() != FORMAT {
        let message =
            format!("unknown profile format {}; this hub reads {FORMAT}", version.get_ref());
        problems.report(&version.span(), message);
    }
}

/// Reads a duration that may be absent.
fn read_duration(text: Maybe<String>, problems: &mut Problems<'_>) -> Option<Spanned<Duration>> {
    let text = text?;
    let duration = problems.check(&text.span(), duration::parse(text.get_ref()))?;
    Some(Spanned::new(text.span(), duration))
}

fn compile_staleness(raw: Maybe<RawStaleness>, problems: &mut Problems<'_>) -> Staleness {
    let raw = raw.map(Spanned::into_inner).unwrap_or_default();
    let severity = raw
        .severity
        .and_then(|s| problems.choose(&s, "severity", &Severity::ALL, Severity::as_str));
    let expect_every = read_duration(raw.expect_every, problems);
    let stale_after = read_duration(raw.stale_after, problems);
    let dead_after = read_duration(raw.dead_after, problems);
    let order = [
        ("expect_every", &expect_every),
        ("stale_after", &stale_after),
        ("dead_after", &dead_after),
    ];
    for (key, value) in order {
        if let Some(value) = value.as_ref().filter(|value| value.get_ref().is_zero()) {
            problems.report(&value.span(), format_args!("`{key}` must be longer than nothing"));
        }
    }
    for [(low_key, low), (high_key, high)] in
        [[order[0], order[1]], [order[0], order[2]], [order[1], order[2]]]
    {
        if let (Some(low), Some(high)) = (low, high)
            && high.get_ref() < low.get_ref()
        {
            let low = duration::format(*low.get_ref());
            let message = format!("`{high_key}` is shorter than `{low_key}`, which is {low}");
            problems.report(&high.span(), message);
        }
    }
    let [expect_every, stale_after, dead_after] =
        [expect_every, stale_after, dead_after].map(|value| value.map(Spanned::into_inner));
    let missed = expect_every.map(|every| every * MISSED_REPORTS);
    let stale_after = stale_after.or(missed).unwrap_or(STALE_AFTER);
    let silent = missed.map_or(stale_after * MISSED_REPORTS, |missed| missed.max(stale_after));
    Staleness {
        expect_every,
        stale_after,
        dead_after: dead_after.unwrap_or(silent),
        severity: severity.unwrap_or(Severity::Minor),
    }
}

/// The headline's place in the order of the file, which is where it will stand when every point is good.
fn find_headline(
    headline: Option<&Spanned<String>>,
    points: &Named<RawPoint>,
    problems: &mut Problems<'_>,
) -> PointIndex {
    let Some(headline) = headline else { return PointIndex(0) };
    let mut names: Vec<_> = points.keys().collect();
    names.sort_by_key(|name| name.span().start);
    let found = headline.get_ref();
    match names.iter().position(|name| name.get_ref() == found) {
        Some(at) => PointIndex(at as u16),
        None => {
            let names: Vec<&str> = names.iter().map(|name| name.get_ref().as_str()).collect();
            let message = format!("no point is named `{found}`");
            problems.report_choice(&headline.span(), message, found, &names);
            PointIndex(0)
        }
    }
}

#[cfg(test)]
mod tests;
