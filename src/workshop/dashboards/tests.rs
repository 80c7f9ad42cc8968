use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use serde_json::Value;

use super::*;

fn made() -> Vec<Dashboard> {
    let profiles = Path::new(env!("CARGO_MANIFEST_DIR")).join("device-profiles");
    make(&read(&profiles).expect("profiles that are well"))
}

/// Run `cargo run -- dashboards` when this fails.
#[test]
fn the_committed_dashboards_are_those_that_are_made() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards/grafana");
    let made = made();
    for dashboard in &made {
        let committed = fs::read_to_string(folder.join(&dashboard.file)).unwrap_or_default();
        assert!(committed == text(&dashboard.json), "{} is not up to date", dashboard.file);
    }
    let files = fs::read_dir(&folder).expect("a folder");
    let files: BTreeSet<_> = files
        .map(|file| file.expect("a file").file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".json"))
        .collect();
    assert_eq!(files, made.iter().map(|one| one.file.clone()).collect(), "nothing is left over");
}

#[test]
fn every_dashboard_is_well_formed() {
    let mut uids = HashSet::new();
    for Dashboard { file, json } in made() {
        let uid = json["uid"].as_str().expect("a uid").to_owned();
        assert!(uid.len() <= 40 && !uid.is_empty(), "{file}: Grafana's limit");
        assert!(uids.insert(uid), "{file}: a uid of its own");
        assert!(!json["title"].as_str().expect("a title").is_empty());
        let variables = json["templating"]["list"].as_array().expect("variables");
        let names: HashSet<_> = variables.iter().filter_map(|one| one["name"].as_str()).collect();
        assert!(names.contains("source"), "{file}: whoever loads it chooses the data source");
        let panels = json["panels"].as_array().expect("panels");
        assert!(panels.len() > 1, "{file}");
        let mut ids = HashSet::new();
        let mut taken = HashSet::new();
        for panel in panels {
            assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{file}: unique ids");
            let at = |key: &str| panel["gridPos"][key].as_u64().expect("a place");
            let (x, y, w, h) = (at("x"), at("y"), at("w"), at("h"));
            assert!(w > 0 && h > 0 && x + w <= 24, "{file}: within the grid");
            for place in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                assert!(taken.insert(place), "{file}: panels overlap at {place:?}");
            }
            let targets = panel["targets"].as_array().expect("targets");
            assert!(!targets.is_empty(), "{file}");
            for target in targets {
                assert_eq!(target["datasource"]["uid"], "${source}", "{file}");
                let query = query(target);
                assert!(!query.is_empty());
                for variable in used(query) {
                    assert!(names.contains(variable.as_str()), "{file}: no variable `{variable}`");
                }
            }
        }
    }
}

/// Models of one kind that measure in different units share a panel that claims neither unit nor limit.
#[test]
fn an_axis_has_one_unit_or_says_so() {
    let made = made();
    for (file, has_mixed) in
        [("prometheus-canal-gauge.json", false), ("prometheus-manhole.json", true)]
    {
        let json = &made.iter().find(|one| one.file == file).expect("a dashboard").json;
        let panels = json["panels"].as_array().expect("panels");
        let mixed = |panel: &&Value| panel["title"].as_str().expect("a title").contains(" | ");
        for panel in panels.iter().filter(mixed) {
            assert_eq!(panel["fieldConfig"]["defaults"]["unit"], "none", "{file}");
            let steps = &panel["fieldConfig"]["defaults"]["thresholds"]["steps"];
            assert_eq!(steps.as_array().expect("steps").len(), 1, "{file}");
        }
        assert!(!has_mixed || panels.iter().filter(mixed).count() > 0, "{file}");
    }
}

#[test]
fn limits_are_steps_from_low_to_high() {
    let manholes = made().into_iter().find(|one| one.file == "prometheus-manhole.json");
    let manholes = manholes.expect("a dashboard").json;
    let panels = manholes["panels"].as_array().expect("panels");
    for panel in panels {
        let steps =
            panel["fieldConfig"]["defaults"]["thresholds"]["steps"].as_array().expect("steps");
        let values: Vec<_> = steps.iter().map(|step| step["value"].as_f64()).collect();
        assert!(values[0].is_none(), "the first is from the beginning");
        assert!(values.windows(2).all(|two| two[0] <= two[1]), "{values:?}");
    }
    let methane = panels.iter().find(|panel| panel["title"] == "甲烷 / Methane").expect("methane");
    let steps = &methane["fieldConfig"]["defaults"]["thresholds"]["steps"];
    assert_eq!(steps[0]["color"], "transparent");
    assert_eq!((&steps[3]["color"], &steps[3]["value"]), (&"#bf1628".into(), &50.0.into()));
    assert_eq!(methane["fieldConfig"]["defaults"]["unit"], "suffix: % LEL");
}

fn query(target: &Value) -> &str {
    target["expr"].as_str().or(target["query"].as_str()).expect("a query")
}

/// The variables of a query that are not Grafana's own.
fn used(query: &str) -> Vec<String> {
    let parts = query.split('$').skip(1);
    let names = parts.map(|part| {
        let part = part.trim_start_matches('{');
        part.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>()
    });
    // `$/` ends a pattern.
    names.filter(|name| !name.is_empty() && !name.starts_with("__")).collect()
}
