//! Where a broker is and how one signs in there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

/// The protocol that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum Protocol {
    /// MQTT 3.1.1, for brokers that know no other.
    #[serde(rename = "3.1.1")]
    V4,
    /// MQTT 5.
    #[default]
    #[serde(rename = "5")]
    V5,
}

/// The configuration's keys of a broker, as they were written.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "the configuration's keys say it")]
pub struct ServerKeys<'a> {
    pub section: &'static str,
    pub url: &'a str,
    pub client_id: &'a str,
    pub username: Option<&'a str>,
    pub password_file: Option<&'a Path>,
    pub ca: Option<&'a Path>,
    pub protocol: Protocol,
    pub keep_alive: Duration,
}

/// How often a connection is tried when the configuration does not say.
pub(crate) fn half_minute() -> Duration {
    Duration::from_secs(30)
}

/// A broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) client_id: String,
    pub(super) username: Option<String>,
    /// Read at every connect, so that a changed password needs no restart.
    pub(super) password_file: Option<PathBuf>,
    pub(super) tls: Option<Tls>,
    pub(super) protocol: Protocol,
    /// How often the connection is tried when nothing else is said.
    pub(super) keep_alive: Duration,
}

/// How its certificate is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tls {
    /// The authority's certificate, PEM; the system's authorities when there is none.
    pub(super) ca: Option<PathBuf>,
}

/// A value in a section about a link that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{section}.{key} is `{found}`; {remedy}")]
pub struct KeyError {
    /// The section.
    pub section: &'static str,
    /// Which key.
    pub key: &'static str,
    /// What it is.
    pub found: String,
    /// What would be right.
    pub remedy: &'static str,
}

/// The longest client identifier: brokers may refuse more, EMQX does at 65 535 and others far below.
const CLIENT_ID_BYTES: usize = 256;

impl Server {
    /// From the configuration.
    ///
    /// # Errors
    /// When the address is none, or a key is missing or has no use.
    pub fn new(keys: ServerKeys<'_>) -> Result<Self, KeyError> {
        let section = keys.section;
        let wrong =
            |key, found: &str, remedy| KeyError { section, key, found: found.to_owned(), remedy };
        let (is_tls, rest) = match keys.url.split_once("://") {
            Some(("mqtt" | "tcp", rest)) => (false, rest),
            Some(("mqtts" | "ssl", rest)) => (true, rest),
            _ => return Err(wrong("url", keys.url, "write mqtt://host:1883 or mqtts://host:8883")),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.rsplit_once(':') {
            // A colon inside brackets belongs to an IPv6 address.
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
            _ => (rest, Some(if is_tls { 8883 } else { 1883 })),
        };
        let Some(port) = port.filter(|port| *port > 0) else {
            return Err(wrong("url", keys.url, "its port must be 1 to 65535"));
        };
        if host.is_empty() || host.contains(['/', '@', ' ']) {
            let remedy = "write the host alone; name and password have keys of their own";
            return Err(wrong("url", keys.url, remedy));
        }
        let is_printable = |c: char| !c.is_whitespace() && !c.is_control();
        if !(1..=CLIENT_ID_BYTES).contains(&keys.client_id.len())
            || !keys.client_id.chars().all(is_printable)
        {
            let remedy = "name this hub, for example townhub-wuzhen; the broker keeps a session by this \
                          name, so every hub needs another";
            return Err(wrong("client_id", keys.client_id, remedy));
        }
        if let (Some(file), None) = (keys.password_file, keys.username) {
            let remedy = "it needs username beside it";
            return Err(wrong("password_file", &file.display().to_string(), remedy));
        }
        if let (Some(ca), false) = (keys.ca, is_tls) {
            let remedy = "use it with an address that begins with mqtts://";
            return Err(wrong("ca", &ca.display().to_string(), remedy));
        }
        let seconds = keys.keep_alive.as_secs();
        if !(5..=3600).contains(&seconds) {
            return Err(wrong("keep_alive", &format!("{seconds}s"), "use 5s to 1h"));
        }
        Ok(Server {
            host: host.to_owned(),
            port,
            client_id: keys.client_id.to_owned(),
            username: keys.username.map(str::to_owned),
            password_file: keys.password_file.map(Path::to_owned),
            tls: is_tls.then(|| Tls { ca: keys.ca.map(Path::to_owned) }),
            protocol: keys.protocol,
            keep_alive: keys.keep_alive,
        })
    }

    /// `host:port`, for people.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys<'a>(url: &'a str, client_id: &'a str) -> ServerKeys<'a> {
        ServerKeys {
            section: "broker",
            url,
            client_id,
            username: None,
            password_file: None,
            ca: None,
            protocol: Protocol::V5,
            keep_alive: half_minute(),
        }
    }

    fn check(keys: ServerKeys<'_>, expected: Result<(&str, bool), &str>) {
        let outcome = Server::new(keys).map(|s| (s.address(), s.tls.is_some()));
        match expected {
            Ok((address, tls)) => assert_eq!(outcome, Ok((address.to_owned(), tls))),
            Err(part) => {
                let message = outcome.expect_err(part).to_string();
                assert!(message.contains(part), "{message} should say {part}");
            }
        }
    }

    #[test]
    fn an_address_is_read_and_what_is_wrong_is_named() {
        check(keys("mqtt://a.example", "h"), Ok(("a.example:1883", false)));
        check(keys("mqtts://a.example/", "h"), Ok(("a.example:8883", true)));
        check(keys("tcp://[::1]:1884", "h"), Ok(("[::1]:1884", false)));
        check(keys("mqtt://[::1]", "h"), Ok(("[::1]:1883", false)));
        check(keys("http://a", "h"), Err("broker.url is `http://a`; write mqtt://host:1883"));
        check(keys("mqtt://a:0", "h"), Err("1 to 65535"));
        check(keys("mqtt://user@a", "h"), Err("keys of their own"));
        check(keys("mqtt://a", ""), Err("broker.client_id"));
        check(keys("mqtt://a", " h"), Err("broker.client_id"));
        let file = Some(Path::new("f"));
        check(ServerKeys { password_file: file, ..keys("mqtt://a", "h") }, Err("needs username"));
        let keep_alive = Duration::from_secs(1);
        check(ServerKeys { keep_alive, ..keys("mqtt://a", "h") }, Err("keep_alive is `1s`"));
        check(ServerKeys { ca: file, ..keys("mqtt://a", "h") }, Err("mqtts://"));
    }
}
