//! The feed as pages see it.

use std::time::Duration;

use super::*;
use crate::alert::{AlertId, RuleKey};
use crate::model::{Label, Quality, Sample, Severity, Timestamp};

fn feed() -> Feed {
    Feed::new(7, 64)
}

fn cursor(seq: u64) -> Option<Cursor> {
    Some(Cursor { epoch: 7, seq })
}

fn state(asset: u32, severity: u8) -> AssetState {
    AssetState {
        asset: AssetNumber(asset),
        severity,
        acknowledged: false,
        freshness: Freshness::Fresh,
        state: None,
        grade: Grade::Good,
    }
}

fn alert(id: u64) -> Alert {
    Alert {
        id: AlertId(id),
        version: 1,
        rule: RuleKey {
            device: "mh-014".parse().unwrap(),
            metric: Some("level".parse().unwrap()),
            name: "surcharge".to_owned(),
        },
        kind: "limit",
        asset: None,
        asset_number: None,
        severity: Severity::Critical,
        worst: Severity::Critical,
        text: Label::new("满管", "Surcharge"),
        value: Some(2.5),
        peak: Some(2.5),
        limit: Some(2.0),
        clear: Some(1.8),
        unit: "m".to_owned(),
        active: true,
        chattering: false,
        first_in_group: false,
        raised_count: 1,
        standing: crate::alert::Standing::default(),
        since: Timestamp::EPOCH,
        raised_at: Timestamp::EPOCH,
        acknowledged_at: None,
        acknowledged_by: None,
        note: None,
        cleared_at: None,
    }
}

fn value(asset: u32, value: f64) -> ValueChange<'static> {
    ValueChange {
        asset: AssetNumber(asset),
        device: "mh-014",
        metric: "level",
        sample: Sample {
            observed_at: Timestamp::from_millis(5),
            received_at: Timestamp::from_millis(6),
            value,
            quality: Quality::GOOD,
        },
    }
}

/// The next chunk as (id, event, data) of each event in it.
async fn next(subscription: &mut Subscription) -> Vec<(String, String, String)> {
    let chunk = tokio::time::timeout(Duration::from_secs(5), subscription.next())
        .await
        .expect("the feed has something to say")
        .expect("the feed is open");
    let text = String::from_utf8(chunk.to_vec()).unwrap();
    let events = text.strip_suffix("\n\n").expect("whole events").split("\n\n");
    events
        .map(|event| {
            let mut lines = event.lines().zip(["id: ", "event: ", "data: "]);
            let mut field = || {
                let (line, name) = lines.next().unwrap();
                line.strip_prefix(name).unwrap().to_owned()
            };
            (field(), field(), field())
        })
        .collect()
}

fn own(id: &str, name: &str, data: &str) -> (String, String, String) {
    (id.to_owned(), name.to_owned(), data.to_owned())
}

#[tokio::test]
async fn a_page_hears_what_changes_from_now_on() {
    let feed = feed();
    feed.states(&[state(1, 1)]);
    let mut page = feed.subscribe(None, vec![]).unwrap();
    feed.states(&[state(2, 2), state(3, 0)]);
    let expected = own("7-2", "state", "[[2,2,0,0,null,0],[3,0,0,0,null,0]]");
    assert_eq!(next(&mut page).await, [expected]);
    feed.states(&[]);
    feed.alert(&alert(5));
    let events = next(&mut page).await;
    assert_eq!((events[0].0.as_str(), events[0].1.as_str()), ("7-3", "alert"));
    let body: serde_json::Value = serde_json::from_str(&events[0].2).unwrap();
    assert_eq!(body["device"], "mh-014");
    assert_eq!(body["text"]["zh"], "满管");
}

#[tokio::test]
async fn a_page_that_waits_is_woken() {
    let feed = feed();
    let mut page = feed.subscribe(None, vec![]).unwrap();
    let (events, ()) = tokio::join!(next(&mut page), async {
        tokio::task::yield_now().await;
        feed.states(&[state(1, 1)]);
    });
    assert_eq!(events.len(), 1);
}

#[tokio::test]
async fn a_page_resumes_where_it_was() {
    let feed = feed();
    for severity in 0..4 {
        feed.states(&[state(1, severity)]);
    }
    assert_eq!(feed.cursor(), Cursor { epoch: 7, seq: 4 });
    let mut page = feed.subscribe(cursor(2), vec![]).unwrap();
    let ids: Vec<_> = next(&mut page).await.into_iter().map(|event| event.0).collect();
    assert_eq!(ids, ["7-3", "7-4"]);
}

#[tokio::test]
async fn a_page_of_another_run_reads_the_map_again() {
    let feed = feed();
    feed.states(&[state(1, 1)]);
    let mut page = feed.subscribe(Some(Cursor { epoch: 6, seq: 1 }), vec![]).unwrap();
    assert_eq!(next(&mut page).await, [own("7-1", "reload", r#"{"reason":"epoch"}"#)]);
    feed.states(&[state(1, 2)]);
    assert_eq!(next(&mut page).await[0].0, "7-2", "and then goes on");
}

#[tokio::test]
async fn a_page_beyond_the_ring_reads_the_map_again() {
    let feed = Feed::new(7, 4);
    for _ in 0..6 {
        feed.states(&[state(1, 1)]);
    }
    let reload = [own("7-6", "reload", r#"{"reason":"gap"}"#)];
    let mut oldest_held = feed.subscribe(cursor(2), vec![]).unwrap();
    assert_eq!(next(&mut oldest_held).await.len(), 4);
    let mut too_old = feed.subscribe(cursor(1), vec![]).unwrap();
    assert_eq!(next(&mut too_old).await, reload);
    let mut from_the_future = feed.subscribe(cursor(7), vec![]).unwrap();
    assert_eq!(next(&mut from_the_future).await, reload);
}

#[tokio::test]
async fn a_page_that_lags_gets_one_delta_and_every_alert() {
    let feed = feed();
    let mut page = feed.subscribe(None, vec![]).unwrap();
    for round in 0..20 {
        feed.states(&[state(1, round % 5), state(2, 1)]);
        if round % 10 == 0 {
            feed.alert(&alert(u64::from(round)));
        }
    }
    let events = next(&mut page).await;
    let names: Vec<_> = events.iter().map(|(id, name, _)| (id.as_str(), name.as_str())).collect();
    // The alerts keep the old place: a break before the states must bring the states again.
    assert_eq!(names, [("7-0", "alert"), ("7-0", "alert"), ("7-22", "state")]);
    assert_eq!(events[2].2, "[[1,4,0,0,null,0],[2,1,0,0,null,0]]");
    assert_eq!(page.cursor(), Cursor { epoch: 7, seq: 22 });
}

#[tokio::test]
async fn alerts_alone_are_never_merged() {
    let feed = feed();
    let mut page = feed.subscribe(None, vec![]).unwrap();
    for id in 1..=30 {
        feed.alert(&alert(id));
    }
    let events = next(&mut page).await;
    assert_eq!(events.len(), 30);
    assert_eq!(events[29].0, "7-30");
}

#[tokio::test]
async fn values_go_only_to_pages_that_have_the_asset_open() {
    let feed = feed();
    let asset = AssetNumber(3);
    assert!(!feed.wants_values(asset) && !feed.wants_any_values());
    let mut open = feed.subscribe(None, vec![asset, asset]).unwrap();
    let also = feed.subscribe(None, vec![asset]).unwrap();
    let mut elsewhere = feed.subscribe(None, vec![AssetNumber(4)]).unwrap();
    assert!(feed.wants_values(asset));
    assert!(!feed.wants_values(AssetNumber(5)));

    feed.values(&[value(3, 0.1), value(5, 9.0)]);
    feed.values(&[value(3, 0.2)]);
    feed.values(&[value(4, 0.4)]);
    let expected = own("7-0", "value", r#"[[3,"mh-014","level",0.2,0,null,5]]"#);
    assert_eq!(next(&mut open).await, [expected], "the last value, without a queue");
    let expected = own("7-0", "value", r#"[[4,"mh-014","level",0.4,0,null,5]]"#);
    assert_eq!(next(&mut elsewhere).await, [expected]);

    let mut late = value(3, 7.0);
    late.sample.observed_at = Timestamp::from_millis(4);
    feed.values(&[value(3, 0.3)]);
    feed.values(&[late]);
    assert!(next(&mut open).await[0].2.contains("0.3"));
    drop(open);
    assert!(feed.wants_values(asset), "another page has it open");
    drop(also);
    assert!(!feed.wants_values(asset) && feed.wants_any_values());
}

#[tokio::test]
async fn the_number_of_pages_is_bounded() {
    let feed = feed();
    let pages: Vec<_> =
        (0..MAX_SUBSCRIPTIONS).map(|_| feed.subscribe(None, vec![]).unwrap()).collect();
    assert_eq!(feed.subscribe(None, vec![]).err(), Some(SubscribeError::Full));
    drop(pages);
    assert_eq!(feed.subscribers(), 0);
    let many: Vec<_> = (0..=MAX_WATCHED as u32).map(AssetNumber).collect();
    let refused = feed.subscribe(None, many).err();
    assert_eq!(refused, Some(SubscribeError::TooManyAssets(MAX_WATCHED + 1)));
    assert!(feed.subscribe(None, vec![]).is_ok());
}

#[tokio::test]
async fn closing_the_feed_ends_every_page() {
    let feed = feed();
    let mut page = feed.subscribe(None, vec![]).unwrap();
    let (end, ()) = tokio::join!(page.next(), async {
        tokio::task::yield_now().await;
        feed.close();
    });
    assert_eq!(end, None);
    assert_eq!(feed.subscribe(None, vec![]).err(), Some(SubscribeError::Closed));
}
