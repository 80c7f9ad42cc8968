//! Who is told of the hub's own troubles, and of whose.

use super::*;
use crate::trouble::TroubleId;
use EventKind::{SystemRaised, SystemReturned};

const BROKER: (&str, &str) = ("broker", "b:1883");

/// Channels `a` and `b` without a route of their own: both hear what everybody hears.
fn two_hooks(more: &str) -> Settings {
    settings(&format!(
        "[channels.a]\nkind = 'webhook'\nurl = 'http://127.0.0.1:1/'\n\
         [channels.b]\nkind = 'webhook'\nurl = 'http://127.0.0.1:1/'\n{more}"
    ))
}

/// As `told`, with the channel's place.
fn told_by(post: &mut Post, now: Timestamp) -> Vec<(usize, Vec<(EventKind, u64)>)> {
    let mut all = Vec::new();
    loop {
        let jobs = post.step(now, &Map).unwrap();
        if jobs.is_empty() {
            all.sort();
            return all;
        }
        for job in jobs {
            all.push((job.channel, entries(&job)));
            post.done(&job, Ok(None), now).unwrap();
        }
    }
}

#[test]
fn a_trouble_and_its_end_are_told_once_each_over_a_restart_too() {
    let town = Town::new();
    let hook = two_hooks("");
    let mut post = town.open(&hook, at(0));
    town.trouble(1, BROKER, "raised", at(0));
    assert_eq!(told_by(&mut post, at(0)), []);
    let raised = |lane| (lane, vec![(SystemRaised, 1)]);
    assert_eq!(told_by(&mut post, at(10)), [raised(0), raised(1)]);
    drop(post);
    let mut post = town.open(&hook, at(1_000));
    assert_eq!(told_by(&mut post, at(1_000)), []);
    town.trouble(1, BROKER, "ended", at(2_000));
    assert_eq!(told_by(&mut post, at(2_000)), []);
    drop(post);
    let mut post = town.open(&hook, at(2_005));
    let returned = |lane| (lane, vec![(SystemReturned, 1)]);
    assert_eq!(told_by(&mut post, at(2_010)), [returned(0), returned(1)]);
    assert_eq!(told_by(&mut post, at(9_000)), []);
}

#[test]
fn what_is_over_before_it_is_told_is_not_told_and_what_gets_worse_is_told_again() {
    let town = Town::new();
    let mut post = town.open(&two_hooks(""), at(0));
    town.trouble(1, BROKER, "raised", at(0));
    town.trouble(2, ("disk", ""), "raised", at(0));
    assert_eq!(told_by(&mut post, at(1)), []);
    town.trouble(1, BROKER, "ended", at(5));
    let low = |lane| (lane, vec![(SystemRaised, 2)]);
    assert_eq!(told_by(&mut post, at(11)), [low(0), low(1)]);
    town.trouble(2, ("disk", ""), "worse", at(60));
    assert_eq!(told_by(&mut post, at(60)), []);
    assert_eq!(told_by(&mut post, at(61)), [low(0), low(1)], "critical: a second, not a pause");
}

#[test]
fn a_channel_that_fails_is_told_of_by_the_others_only() {
    let town = Town::new();
    let mut post = town.open(&two_hooks(""), at(0));
    town.trouble(1, ("channel", "a"), "raised", at(0));
    told_by(&mut post, at(0));
    assert_eq!(told_by(&mut post, at(10)), [(1, vec![(SystemRaised, 1)])]);
    town.trouble(1, ("channel", "a"), "ended", at(1_000));
    told_by(&mut post, at(1_000));
    assert_eq!(told_by(&mut post, at(1_010)), [(1, vec![(SystemReturned, 1)])]);
}

#[test]
fn routes_choose_by_severity_and_event_and_those_of_zones_never_hear_of_the_hub() {
    let town = Town::new();
    let routes = "[[routes]]\nchannels = ['a']\nzones = ['west']\nfrom = 'info'\n\
                  [[routes]]\nchannels = ['b']\nfrom = 'critical'\nevents = ['system.raised']";
    let mut post = town.open(&two_hooks(routes), at(0));
    town.trouble(1, BROKER, "raised", at(0));
    town.trouble(2, ("disk", ""), "worse", at(0));
    told_by(&mut post, at(0));
    assert_eq!(told_by(&mut post, at(100)), [(1, vec![(SystemRaised, 2)])]);
    town.trouble(2, ("disk", ""), "ended", at(1_000));
    told_by(&mut post, at(1_000));
    assert_eq!(told_by(&mut post, at(2_000)), [], "it does not want ends");
}

#[test]
fn what_is_critical_is_told_past_a_disk_that_takes_nothing_and_once() {
    let town = Town::new();
    let mut post = town.open(&two_hooks(""), at(0));
    town.trouble(1, ("disk", ""), "worse", at(0));
    let disk = crate::trouble::find(&town.db, TroubleId(1)).unwrap().unwrap();
    let jobs = post.alarm(std::slice::from_ref(&disk), at(0));
    assert_eq!(jobs.iter().map(|job| job.channel).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(post.alarm(std::slice::from_ref(&disk), at(0)), [], "they are on their way");
    post.done(&jobs[0], Ok(None), at(1)).unwrap();
    post.done(&jobs[1], later("refused"), at(1)).unwrap();
    assert_eq!(post.alarm(std::slice::from_ref(&disk), at(60)), []);
    let again = post.alarm(std::slice::from_ref(&disk), at(61));
    assert_eq!((again.len(), &again[0].key), (1, &jobs[1].key), "the same message");
    post.done(&again[0], later("refused"), at(62)).unwrap();
    // The disk takes something again: who was told hears of the end only, who was not hears of both.
    told_by(&mut post, at(70));
    assert_eq!(told_by(&mut post, at(80)), [(1, vec![(SystemRaised, 1)])]);
    town.trouble(1, ("disk", ""), "ended", at(1_000));
    told_by(&mut post, at(1_000));
    let returned = |lane| (lane, vec![(SystemReturned, 1)]);
    assert_eq!(told_by(&mut post, at(1_010)), [returned(0), returned(1)]);
    post.calm();
    // Low was told; full, which is worse, is told past the disk.
    town.trouble(3, ("disk", ""), "raised", at(1_500));
    told_by(&mut post, at(1_500));
    let low = |lane| (lane, vec![(SystemRaised, 3)]);
    assert_eq!(told_by(&mut post, at(1_510)), [low(0), low(1)]);
    town.trouble(3, ("disk", ""), "worse", at(1_520));
    let full = crate::trouble::find(&town.db, TroubleId(3)).unwrap().unwrap();
    assert_eq!(post.alarm(&[full], at(1_520)).len(), 2);
    assert_eq!(told_by(&mut post, at(1_600)), [], "the alarms have told it");
    // What is not critical waits for the disk.
    town.trouble(2, BROKER, "raised", at(2_000));
    let broker = crate::trouble::find(&town.db, TroubleId(2)).unwrap().unwrap();
    assert_eq!(post.alarm(&[broker], at(2_000)), []);
}
