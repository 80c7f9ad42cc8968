//! 5 000 alerts in a minute: no channel gets more than its service takes, and nobody is left out.

use std::collections::{BTreeSet, HashMap};

use super::*;
use crate::notify::{MessageQuery, State, list};

const ALERTS: u64 = 5_000;

/// Half seconds of the storm.
const WAVES: u64 = 120;

/// One half second of it: 37 zones, one alert in fifty critical.
fn weather(town: &Town, post: &mut Post, wave: u64, mut send: impl FnMut(&mut Post, Timestamp)) {
    let now = at(0).plus(Duration::from_millis(wave * 500));
    let each = ALERTS.div_ceil(WAVES);
    for id in (wave * each + 1)..=((wave + 1) * each).min(ALERTS) {
        let severity = match id % 50 {
            0 => Severity::Critical,
            n if n < 10 => Severity::Major,
            _ => Severity::Minor,
        };
        town.raise(raised(id, severity, &format!("z{}:a{id}", id % 37)), now);
    }
    send(post, now);
}

#[test]
fn a_storm_is_twenty_messages_a_minute_and_mentions_everybody() {
    let town = Town::new();
    let mut post = town.open(&one_hook(""), at(0));
    let mut sent: Vec<(Timestamp, usize)> = Vec::new();
    let mut send = |post: &mut Post, now: Timestamp| {
        for job in post.step(now, &Map).unwrap() {
            sent.push((now, job.notice.total));
            assert!(job.notice.entries.len() <= 100);
            assert_eq!(job.notice.alerts.len() + job.notice.cases.len(), job.notice.total);
            post.done(&job, Ok(None), now.plus(Duration::from_millis(80))).unwrap();
        }
    };
    for wave in 0..WAVES {
        weather(&town, &mut post, wave, &mut send);
    }
    for second in 60..600 {
        send(&mut post, at(second));
    }
    let within = |from: Timestamp, seconds| {
        let within = sent
            .iter()
            .filter(|(time, _)| *time >= from && time.since(from) < Duration::from_secs(seconds));
        within.count()
    };
    assert!(within(at(0), 60) <= 20, "{} in the storm's minute", within(at(0), 60));
    assert!(sent.iter().all(|(time, _)| within(*time, 60) <= 20));
    let messages =
        list(&town.db, &MessageQuery { limit: 1_000, ..MessageQuery::default() }).unwrap();
    assert!(messages.iter().all(|message| message.state == State::Sent));
    let mut mentions: HashMap<u64, usize> = HashMap::new();
    for alert in messages.iter().flat_map(|message| &message.notice.alerts) {
        *mentions.entry(*alert).or_default() += 1;
    }
    let missing: BTreeSet<_> = (1..=ALERTS).filter(|id| !mentions.contains_key(id)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(mentions.values().all(|times| *times == 1), "somebody was told twice");
    // The list by alert finds the message, also for one that stood in no text.
    let query = MessageQuery { alert: Some(AlertId(4_321)), limit: 10, ..MessageQuery::default() };
    assert_eq!(list(&town.db, &query).unwrap().len(), 1);
    eprintln!(
        "{} messages in the storm's minute, {} in ten minutes, the largest of {}",
        within(at(0), 60),
        sent.len(),
        sent.iter().map(|(_, total)| total).max().unwrap_or(&0)
    );
}

#[test]
fn a_channel_that_is_down_in_a_storm_has_a_dozen_messages_when_it_is_back() {
    let town = Town::new();
    let mut post = town.open(&one_hook(""), at(0));
    let mut send = |post: &mut Post, now: Timestamp| {
        for job in post.step(now, &Map).unwrap() {
            post.done(&job, later("down"), now).unwrap();
        }
    };
    for wave in 0..WAVES {
        weather(&town, &mut post, wave, &mut send);
    }
    for second in (60..3_600).step_by(10) {
        send(&mut post, at(second));
    }
    let waiting = post.channels(at(3_600)).unwrap()[0].waiting;
    assert!((1..=12).contains(&waiting), "{waiting}");
    let mut mentioned = BTreeSet::new();
    for second in (3_600..7_200).step_by(5) {
        for job in post.step(at(second), &Map).unwrap() {
            mentioned.extend(job.notice.alerts.iter().copied());
            post.done(&job, Ok(None), at(second)).unwrap();
        }
    }
    assert_eq!(mentioned.len() as u64, ALERTS);
}
