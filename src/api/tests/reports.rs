//! Reports over HTTP.

use utoipa::PartialSchema;

use super::*;

#[tokio::test]
async fn a_report_counts_what_stands_and_says_how_it_reads() {
    let rig = Rig::new();
    // The alert on mh-1 was raised when its reading came, a minute ago; its case opens when somebody looks at cases.
    let report = rig.get("/api/v1/reports/alarms?from=2026-09-01&by=kind").await;
    assert_eq!(report.status, StatusCode::OK, "{}", report.text());
    let report = report.json();
    assert_eq!(report["span"]["from"], "2026-08-31T16:00:00Z", "a day of the town");
    assert_eq!(
        report["span"]["to"], "2026-09-21T14:13:20Z",
        "what is still to come has no figures"
    );
    assert_eq!(
        (&report["total"]["alarms"], &report["total"]["priorities"]["high"]),
        (&1.into(), &1.into())
    );
    assert_eq!(report["groups"][0]["key"], "manhole");
    assert_eq!(report["top"][0]["name"], "surcharge");
    let cases = rig.get("/api/v1/reports/cases?by=day&from=2026-09-20").await.json();
    assert_eq!(cases["groups"].as_array().unwrap().len(), 2, "{cases}");
    assert_eq!(cases["total"]["received"], 1);
}

#[tokio::test]
async fn a_report_is_a_sheet_when_a_sheet_is_asked_for() {
    let rig = Rig::new();
    let sheet = rig.get("/api/v1/reports/alarms?format=csv&by=zone").await;
    assert_eq!(sheet.header("content-type"), "text/csv; charset=utf-8");
    assert!(sheet.text().starts_with("\u{feff}分组,"), "{}", sheet.text());
    let accept = [("accept", "text/csv")];
    let sheet = rig.send(rig.request("GET /api/v1/reports/cases?lang=en", &accept, "")).await;
    assert!(sheet.text().starts_with("\u{feff}group,from,to,received,"), "{}", sheet.text());
    let rows = rig.get("/api/v1/reports/export?of=alerts&lang=en").await;
    let lines: Vec<&str> = rows.text().lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("\u{feff}id,device,metric,rule,"), "{lines:?}");
    assert!(lines[1].contains("surcharge") && lines[1].contains("Surcharge"), "{lines:?}");
    assert!(lines[1].contains("2026-09-21T22:1"), "the town's own time: {lines:?}");
    let none = rig.get("/api/v1/reports/export?of=cases&lang=zh").await;
    assert!(none.text().starts_with("\u{feff}案卷号,"), "{}", none.text());
}

#[tokio::test]
async fn a_wrong_question_hears_what_would_be_right() {
    let rig = Rig::new();
    for (path, status, says) in [
        ("alarms?by=year", 400, "zone, unit, kind, severity, day, week, month"),
        ("alarms?from=yesterday", 400, "or a day: 2026-09-21"),
        ("alarms?from=2027-01-01", 400, "is not before"),
        ("cases?from=2020-01-01", 400, "more than 400 days apart"),
        ("cases?zone=nowhere", 404, "there is no zone"),
        ("cases?format=xlsx", 400, "write json or csv"),
        ("cases?lang=fr", 400, "write zh or en"),
        ("export?of=people", 400, "write alerts or cases"),
        ("export", 400, "of"),
        ("alarms?form=2026-09-01", 400, "unknown field"),
    ] {
        let answer = rig.get(&format!("/api/v1/reports/{path}")).await;
        assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.text());
        assert!(answer.text().contains(says), "{path}: {}", answer.text());
    }
}

/// The members that the document names are the members that are written.
fn check<Schema: PartialSchema>(written: &Value) {
    let schema = serde_json::to_value(Schema::schema()).unwrap();
    let keys = |value: &Value| -> std::collections::BTreeSet<String> {
        value.as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(keys(&schema["properties"]), keys(written));
}

#[tokio::test]
async fn the_document_describes_the_reports() {
    use crate::api::reports::shape;
    let rig = Rig::new();
    let alarms = rig.get("/api/v1/reports/alarms?by=kind").await.json();
    check::<shape::AlarmReport>(&alarms);
    check::<shape::AlarmFigures>(&alarms["total"]);
    check::<shape::AlarmGroup>(&alarms["groups"][0]);
    check::<shape::TopRule>(&alarms["top"][0]);
    check::<shape::Figure>(&alarms["total"]["rate"]);
    check::<shape::Times>(&alarms["total"]["clear"]);
    check::<shape::Away>(&alarms["total"]["shelved"]);
    check::<shape::Priorities>(&alarms["total"]["priorities"]);
    let cases = rig.get("/api/v1/reports/cases?by=day").await.json();
    check::<shape::CaseReport>(&cases);
    check::<shape::CaseFigures>(&cases["total"]);
    check::<shape::CaseGroup>(&cases["groups"][0]);
}
