//! `[store]`: which engine keeps the far past, and the queue before it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Url;
use serde::{Deserialize, Deserializer, de};

use crate::model::size;

/// Where readings are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// In the hub's own file, all of them.
    #[default]
    Embedded,
    /// InfluxDB 2.
    InfluxDb2,
    /// VictoriaMetrics, single or cluster.
    VictoriaMetrics,
}

/// InfluxDB 2.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InfluxDb2Config {
    /// Its address, such as `http://influx.example:8086`.
    pub url: String,
    /// The organization.
    pub org: String,
    /// The bucket; it must be there, with the retention that the town wants.
    pub bucket: String,
    /// A file that holds the token and nothing else: it may read and write the bucket.
    pub token_file: Option<PathBuf>,
}

/// VictoriaMetrics. Either `url`, or `write` and `read`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VictoriaMetricsConfig {
    /// A single server, such as `http://vm.example:8428`.
    pub url: Option<String>,
    /// A cluster's way in, such as `http://vminsert.example:8480/insert/0/influx/write`.
    pub write: Option<String>,
    /// A cluster's way out, such as `http://vmselect.example:8481/select/0/prometheus`.
    pub read: Option<String>,
    /// A file that holds a bearer token and nothing else, for a proxy that asks for one.
    pub token_file: Option<PathBuf>,
}

/// What waits for the engine, and what is kept beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueueConfig {
    /// Bytes on disk at most; over it the oldest readings are given up and sent as rollups later.
    #[serde(deserialize_with = "bytes")]
    pub max: u64,
    /// How long raw readings stay here as well, after the engine has them: the near past is read without it.
    #[serde(with = "crate::config::duration")]
    pub near: Duration,
    /// How long the engine may take for one answer.
    #[serde(with = "crate::config::duration")]
    pub timeout: Duration,
}

/// The shortest [`QueueConfig::near`]: rollups are made of whole days, and of the day into which a reading may hold.
const SHORTEST_NEAR: Duration = Duration::from_secs(5 * 24 * 3_600);

impl QueueConfig {
    /// Checks what a type alone cannot.
    ///
    /// # Errors
    /// A value is too small.
    pub fn check(&self) -> Result<(), RemoteConfigError> {
        let wrong = |key, found, remedy| Err(RemoteConfigError::Value { key, found, remedy });
        if self.near < SHORTEST_NEAR {
            let days = format!("{} h", self.near.as_secs() / 3_600);
            return wrong("queue.near", days, "at least 5d: rollups are made of whole days");
        }
        if self.max < 10_000_000 {
            return wrong("queue.max", self.max.to_string(), "at least 10 MB");
        }
        if self.timeout.is_zero() {
            return wrong("queue.timeout", "0s".to_owned(), "at least 1s");
        }
        Ok(())
    }
}

impl Default for QueueConfig {
    fn default() -> Self {
        QueueConfig {
            max: 4_000_000_000,
            near: Duration::from_secs(7 * 24 * 3_600),
            timeout: Duration::from_secs(30),
        }
    }
}

/// Why an engine cannot be used as configured.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum RemoteConfigError {
    #[error("store.{key} is `{found}`; write {remedy}")]
    Value { key: &'static str, found: String, remedy: &'static str },
    #[error("cannot read the token in store.{key} = {}", file.display())]
    Token { key: &'static str, file: PathBuf, source: std::io::Error },
    #[error("cannot make a client for the engine: {0}")]
    Client(String),
}

const ADDRESS: &str = "an address such as http://127.0.0.1:8428";

impl InfluxDb2Config {
    /// Checks what a type alone cannot.
    ///
    /// # Errors
    /// A value is missing or none.
    pub fn check(&self) -> Result<(), RemoteConfigError> {
        self.address()?;
        let named = [("influxdb2.org", &self.org), ("influxdb2.bucket", &self.bucket)];
        match named.into_iter().find(|(_, value)| value.is_empty()) {
            Some((key, value)) => {
                let remedy = "its name, as InfluxDB shows it";
                Err(RemoteConfigError::Value { key, found: value.clone(), remedy })
            }
            None => Ok(()),
        }
    }

    pub(super) fn address(&self) -> Result<Url, RemoteConfigError> {
        let key = "influxdb2.url";
        let url = address(key, Some(&self.url))?;
        // The client library puts its own path in its place.
        if url.path() != "/" {
            let remedy = "an address without a path, such as http://127.0.0.1:8086";
            return Err(RemoteConfigError::Value { key, found: self.url.clone(), remedy });
        }
        Ok(url)
    }

    /// The token; empty without a file.
    pub(super) fn token(&self) -> Result<String, RemoteConfigError> {
        let file = self.token_file.as_deref();
        Ok(file.map(|file| token("influxdb2.token_file", file)).transpose()?.unwrap_or_default())
    }
}

impl VictoriaMetricsConfig {
    /// Checks what a type alone cannot.
    ///
    /// # Errors
    /// An address is missing or none.
    pub fn check(&self) -> Result<(), RemoteConfigError> {
        self.addresses().map(drop)
    }

    /// Where lines go, and where questions go.
    pub(super) fn addresses(&self) -> Result<(Url, Url), RemoteConfigError> {
        match (&self.url, &self.write, &self.read) {
            (Some(url), None, None) => {
                let read = address("victoriametrics.url", Some(url))?;
                let mut write = read.clone();
                write.set_path(&format!("{}/write", read.path().trim_end_matches('/')));
                Ok((write, read))
            }
            (None, write, read) => Ok((
                address("victoriametrics.write", write.as_deref())?,
                address("victoriametrics.read", read.as_deref())?,
            )),
            (Some(url), ..) => Err(RemoteConfigError::Value {
                key: "victoriametrics.url",
                found: url.clone(),
                remedy: "either url for a single server, or write and read for a cluster",
            }),
        }
    }

    pub(super) fn login(&self) -> Result<Option<String>, RemoteConfigError> {
        let file = self.token_file.as_deref();
        file.map(|file| token("victoriametrics.token_file", file)).transpose()
    }
}

fn address(key: &'static str, text: Option<&str>) -> Result<Url, RemoteConfigError> {
    let found = text.unwrap_or_default();
    let url = Url::parse(found).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https") && url.host().is_some() && url.query().is_none()
    });
    url.ok_or_else(|| RemoteConfigError::Value { key, found: found.to_owned(), remedy: ADDRESS })
}

fn token(key: &'static str, file: &Path) -> Result<String, RemoteConfigError> {
    let text = std::fs::read_to_string(file);
    let token =
        text.map_err(|source| RemoteConfigError::Token { key, file: file.to_owned(), source })?;
    Ok(token.trim().to_owned())
}

/// `4 GB`, `500MB`, or a number of bytes.
fn bytes<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().ok().or_else(|| size::bytes(&text)).ok_or_else(|| {
        de::Error::custom(format!("`{text}` is no size; write for example 500 MB or 4 GB"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_a_unit() {
        let size = |text: &str| {
            toml::from_str::<QueueConfig>(&format!("max = \"{text}\"")).map(|queue| queue.max)
        };
        assert_eq!(size("4 GB").unwrap(), 4_000_000_000);
        assert_eq!(size("500MB").unwrap(), 500_000_000);
        assert_eq!(size("12").unwrap(), 12);
        let refused = size("4 Gig").unwrap_err().to_string();
        assert!(refused.contains("write for example 500 MB or 4 GB"), "{refused}");
        assert!(size("99999999999 TB").is_err() && size("-1 GB").is_err() && size("").is_err());
    }

    #[test]
    fn an_engine_has_addresses() {
        let victoria = |text: &str| {
            let config: VictoriaMetricsConfig = toml::from_str(text).unwrap();
            config.addresses().map(|(write, read)| (write.to_string(), read.to_string()))
        };
        let both = ("http://vm:8428/write".to_owned(), "http://vm:8428/".to_owned());
        assert_eq!(victoria("url = \"http://vm:8428\"").unwrap(), both);
        let cluster = "write = \"http://i:8480/insert/0/influx/write\"\nread = \"http://s:8481/select/0/prometheus\"";
        assert_eq!(victoria(cluster).unwrap().0, "http://i:8480/insert/0/influx/write");
        let refused = |text: &str| victoria(text).unwrap_err().to_string();
        assert!(refused("").contains("store.victoriametrics.write is ``"));
        assert!(refused("url = \"vm:8428\"").contains("such as http://"));
        assert!(refused("url = \"http://a\"\nread = \"http://b\"").contains("either url"));
        let influx = InfluxDb2Config { url: "http://i:8086".into(), ..InfluxDb2Config::default() };
        assert!(influx.check().unwrap_err().to_string().contains("store.influxdb2.org"));
    }
}
