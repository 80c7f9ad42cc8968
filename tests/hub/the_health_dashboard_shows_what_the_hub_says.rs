//! The dashboard of the hub's health asks for nothing that the hub does not say at `/metrics`.

use std::collections::BTreeSet;

use crate::support::gate::GateTown;

const DASHBOARD: &str = include_str!("../../dashboards/grafana/hub-health.json");

#[tokio::test]
async fn every_figure_that_it_asks_for_is_one_of_the_hub() {
    // A town with a bus: its figures come with the first unit.
    let town = GateTown::new().await;
    let hub = town.start().await;
    let answer = hub.request(reqwest::Method::GET, "/metrics").send().await.expect("an answer");
    let said = answer.text().await.expect("a text");
    let emitted: BTreeSet<&str> = said
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    let asked = names(DASHBOARD);
    assert!(asked.len() > 10, "the names are found: {asked:?}");
    for name in &asked {
        assert!(emitted.contains(name.as_str()), "{name} is not among {emitted:?}");
    }
    let forgotten: Vec<_> = emitted.iter().filter(|name| !asked.contains(**name)).collect();
    assert!(forgotten.is_empty(), "said by the hub, shown by no panel: {forgotten:?}");
    // The values of labels that panels pick are real, too.
    for picked in [
        r#"outcome="stored""#,
        r#"kind="all""#,
        r#"severity="critical""#,
        r#"severity="major""#,
        r#"what="disk_bytes""#,
        r#"what="sealed_bytes""#,
        r#"what="hot_readings""#,
        r#"what="sealed_readings""#,
    ] {
        assert!(said.contains(picked), "{picked}");
    }
}

/// Every `townhub_...` in the expressions.
fn names(dashboard: &str) -> BTreeSet<String> {
    let json: serde_json::Value = serde_json::from_str(dashboard).expect("JSON");
    let panels = json["panels"].as_array().expect("panels");
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().expect("targets"));
    let queries = targets.map(|target| target["expr"].as_str().expect("an expression"));
    queries
        .flat_map(|query| query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'))
        .filter(|word| word.starts_with("townhub_"))
        .map(str::to_owned)
        .collect()
}
