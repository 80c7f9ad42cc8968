//! The section `[broker]`.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::config::duration;
use crate::ingest::mqtt::topics;
use crate::link::{KeyError, Protocol, Server, ServerKeys, half_minute};

/// A broker that is not the hub's own, whose messages the hub takes.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerConfig {
    /// `mqtt://host:port` or `mqtts://host:port`.
    pub url: String,
    /// By which the broker knows this hub and keeps its session; every hub needs another.
    pub client_id: String,
    /// The hub's account at the broker.
    pub username: Option<String>,
    /// A file with its password and nothing else; read at every connect.
    pub password_file: Option<PathBuf>,
    /// The authority that signed the broker's certificate, PEM; absent, the system's authorities.
    pub ca: Option<PathBuf>,
    /// `5` or `3.1.1`.
    #[serde(default)]
    pub protocol: Protocol,
    /// Hubs with the same group share the telemetry; absent, this hub gets all of it.
    pub share: Option<String>,
    /// Where telemetry is published; empty, what the profiles of the devices say, and `devices/+/telemetry`.
    #[serde(default)]
    pub filters: Vec<String>,
    /// How long the broker keeps messages for this hub when it is away (MQTT 5).
    #[serde(with = "duration", default = "week")]
    pub session_expiry: Duration,
    /// Messages that the broker may send ahead of their acknowledgement (MQTT 5).
    #[serde(default = "thousand")]
    pub receive_maximum: u16,
    /// How often the connection is tried when nothing else is said.
    #[serde(with = "duration", default = "half_minute")]
    pub keep_alive: Duration,
}

fn week() -> Duration {
    Duration::from_secs(7 * 24 * 3600)
}

fn thousand() -> u16 {
    1_024
}

impl BrokerConfig {
    /// Checks the section and names the broker.
    ///
    /// # Errors
    /// When a value cannot be.
    pub fn server(&self) -> Result<Server, KeyError> {
        let wrong = |key, found: &dyn std::fmt::Display, remedy| {
            Err(KeyError { section: "broker", key, found: found.to_string(), remedy })
        };
        if let Some(group) = &self.share
            && (group.is_empty() || group.contains(['/', '+', '#']))
        {
            return wrong("share", group, "name a group without `/`, `+` and `#`");
        }
        if let Some(filter) = self.filters.iter().find(|filter| !topics::is_filter(filter)) {
            return wrong(
                "filters",
                filter,
                "write topics, with `+` for a level and `#` at the end",
            );
        }
        if let Some(filter) = self.filters.iter().find(|filter| filter.starts_with("$share/")) {
            return wrong("filters", filter, "name the group in `share`");
        }
        if self.receive_maximum == 0 {
            return wrong("receive_maximum", &0, "use 1 to 65535");
        }
        if self.session_expiry < Duration::from_secs(1) {
            let remedy = "use 1s or more; without a session the broker forgets what the hub has not acknowledged";
            return wrong("session_expiry", &format_args!("{:?}", self.session_expiry), remedy);
        }
        Server::new(ServerKeys {
            section: "broker",
            url: &self.url,
            client_id: &self.client_id,
            username: self.username.as_deref(),
            password_file: self.password_file.as_deref(),
            ca: self.ca.as_deref(),
            protocol: self.protocol,
            keep_alive: self.keep_alive,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(more: &str, expected: Result<(), &str>) {
        let text = format!("url = \"mqtt://broker.example\"\nclient_id = \"hub-1\"\n{more}");
        let outcome = toml::from_str::<BrokerConfig>(&text)
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
        check("share = \"townhub\"\nsession_expiry = \"24h\"\nprotocol = \"3.1.1\"", Ok(()));
        check("share = \"a/b\"", Err("broker.share is `a/b`"));
        check("filters = [\"a/#/b\"]", Err("broker.filters is `a/#/b`"));
        check("filters = [\"$share/g/a\"]", Err("name the group in `share`"));
        check("receive_maximum = 0", Err("broker.receive_maximum"));
        check("session_expiry = \"0s\"", Err("broker.session_expiry is `0ns`; use 1s"));
        check("keep_alive = \"1s\"", Err("broker.keep_alive is `1s`"));
        check("protocol = \"4\"", Err("expected `3.1.1` or `5`"));
        check("pasword_file = \"x\"", Err("unknown field `pasword_file`"));
    }
}
