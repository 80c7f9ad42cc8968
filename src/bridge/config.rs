//! The section `[bridge]`.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::case::CaseId;
use crate::config::duration;
use crate::link::{KeyError, Protocol, Server, ServerKeys, half_minute};
use crate::model::{AssetKind, DeviceId, MetricName, Severity};

/// A broker or a hub that the town's readings, alerts and cases go up to.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BridgeConfig {
    /// `mqtt://host:port` or `mqtts://host:port`.
    pub url: String,
    /// By which the upstream broker knows this hub.
    pub client_id: String,
    /// The hub's account there.
    pub username: Option<String>,
    /// A file with its password and nothing else; read at every connect.
    pub password_file: Option<PathBuf>,
    /// The authority that signed the broker's certificate, PEM; absent, the system's authorities.
    pub ca: Option<PathBuf>,
    /// `5` or `3.1.1`.
    #[serde(default)]
    pub protocol: Protocol,
    /// The town's name in topics and ids: letters, digits, `-` and `_`.
    pub town: String,
    /// Where readings go; empty, they do not.
    #[serde(default = "readings")]
    pub readings: String,
    /// Where alerts go; empty, they do not.
    #[serde(default = "alerts")]
    pub alerts: String,
    /// Where the moves of cases go; empty, they do not. Left out, they go where alerts do.
    pub cases: Option<String>,
    /// Only these metrics; empty, all.
    #[serde(default)]
    pub metrics: Vec<MetricName>,
    /// Only devices whose profile is of these kinds; empty, all. Their alerts too, and cases of assets of these kinds.
    #[serde(default)]
    pub kinds: Vec<AssetKind>,
    /// The mildest severity whose alerts and cases go up.
    #[serde(default = "mildest")]
    pub alerts_from: Severity,
    /// Whether Bad readings go up too.
    #[serde(default)]
    pub bad: bool,
    /// Messages that may wait for the upstream broker; over it the oldest readings go.
    #[serde(default = "million")]
    pub max: usize,
    /// How often the connection is tried when nothing else is said.
    #[serde(with = "duration", default = "half_minute")]
    pub keep_alive: Duration,
}

fn readings() -> String {
    "towns/{town}/readings/{device}".to_owned()
}

fn alerts() -> String {
    "towns/{town}/alerts/{device}".to_owned()
}

/// Where the moves of cases go when nothing is said.
const CASES: &str = "towns/{town}/cases/{case}";

fn mildest() -> Severity {
    Severity::Info
}

fn million() -> usize {
    1_000_000
}

impl BridgeConfig {
    /// Checks the section and names the broker.
    ///
    /// # Errors
    /// When a value cannot be.
    pub fn server(&self) -> Result<Server, KeyError> {
        let wrong = |key, found: &dyn std::fmt::Display, remedy| {
            Err(KeyError { section: "bridge", key, found: found.to_string(), remedy })
        };
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if self.town.is_empty() || !self.town.chars().all(is_plain) {
            return wrong("town", &self.town, "write letters, digits, `-` and `_`");
        }
        let of_device = "write a topic such as towns/{town}/readings/{device}";
        for (key, template, place, remedy) in [
            ("readings", self.readings.as_str(), "{device}", of_device),
            ("alerts", self.alerts.as_str(), "{device}", of_device),
            ("cases", self.cases(), "{case}", "write a topic such as towns/{town}/cases/{case}"),
        ] {
            let rest = template.replace("{town}", "").replace(place, "");
            if rest.contains(['+', '#', '{', '}', '\0']) || template.starts_with('$') {
                return wrong(key, &template, remedy);
            }
        }
        if self.readings.is_empty() && self.alerts.is_empty() && self.cases().is_empty() {
            return wrong("readings", &"", "name a topic for readings, for alerts, or for both");
        }
        if self.max == 0 {
            return wrong("max", &0, "use at least 1");
        }
        Server::new(ServerKeys {
            section: "bridge",
            url: &self.url,
            client_id: &self.client_id,
            username: self.username.as_deref(),
            password_file: self.password_file.as_deref(),
            ca: self.ca.as_deref(),
            protocol: self.protocol,
            keep_alive: self.keep_alive,
        })
    }

    /// The template of the topics of cases; empty, they do not go up. Who keeps alerts to himself keeps cases too, unless
    /// he says otherwise: a city's door that knows devices alone would refuse every one.
    pub(super) fn cases(&self) -> &str {
        let usual = if self.alerts.is_empty() { "" } else { CASES };
        self.cases.as_deref().unwrap_or(usual)
    }

    /// The topic of a case.
    pub(super) fn topic_of_case(&self, case: CaseId) -> String {
        self.cases().replace("{town}", &self.town).replace("{case}", &case.0.to_string())
    }

    /// A template filled in.
    pub(super) fn topic(&self, template: &str, device: &DeviceId) -> String {
        template.replace("{town}", &self.town).replace("{device}", device.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(more: &str, expected: Result<(), &str>) {
        let text = format!(
            "url = \"mqtt://city.example\"\nclient_id = \"hub-1\"\ntown = \"wuzhen\"\n{more}"
        );
        let outcome = toml::from_str::<BridgeConfig>(&text)
            .map_err(|why| why.to_string())
            .and_then(|config| config.server().map(drop).map_err(|why| why.to_string()));
        match expected {
            Ok(()) => assert_eq!(outcome, Ok(()), "{text}"),
            Err(part) => {
                let message = outcome.expect_err(more);
                assert!(message.contains(part), "{message} should say {part}");
            }
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        check("", Ok(()));
        check("metrics = [\"level\"]\nkinds = [\"manhole\"]\nalerts_from = \"major\"", Ok(()));
        check("readings = \"a/{site}\"", Err("bridge.readings is `a/{site}`"));
        check("alerts = \"a/#\"", Err("bridge.alerts is `a/#`"));
        check("readings = \"\"\nalerts = \"\"", Err("or for both"));
        check("cases = \"c/{device}\"", Err("bridge.cases is `c/{device}`"));
        check("readings = \"\"\nalerts = \"\"\ncases = \"c/{case}\"", Ok(()));
        check("max = 0", Err("bridge.max is `0`"));
        check("kinds = [\"house\"]", Err("house"));
        let town = "url = \"mqtt://c\"\nclient_id = \"h\"\ntown = \"乌镇\"";
        let config: BridgeConfig = toml::from_str(town).expect("a section");
        assert!(
            config.server().expect_err("no name").to_string().contains("bridge.town is `乌镇`")
        );
    }
}
