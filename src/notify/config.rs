//! What the configuration says of channels and routes, read and checked: everything that is wrong names its key and a remedy.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use serde::Deserialize;

use super::EventKind;
use super::group::Pace;
use super::route::{Hours, Route};
use super::words::{Language, Template, TemplateError, Words};
use crate::config::duration;
use crate::model::{Severity, ZoneId};

/// The most messages that the robots' services take in a minute: at the next one they throttle for ten minutes.
const ROBOT_PER_MINUTE: u32 = 20;

/// The most characters of a channel's name.
const MAX_NAME: usize = 64;

/// The section `[notify]`. Without channels nothing is sent.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NotifyConfig {
    /// Where people reach the console, for links in messages.
    pub console_url: Option<String>,
    /// How long the first alert of a bundle waits for company.
    #[serde(with = "duration")]
    pub first_wait: Duration,
    /// How long a critical one waits.
    #[serde(with = "duration")]
    pub critical_wait: Duration,
    /// The time between two messages of one bundle.
    #[serde(with = "duration")]
    pub interval: Duration,
    /// After how long an unacknowledged alert is told again; doubles each time.
    #[serde(with = "duration")]
    pub repeat: Duration,
    /// The longest time between two repeats.
    #[serde(with = "duration")]
    pub repeat_max: Duration,
    /// How long a message is tried.
    #[serde(with = "duration")]
    pub give_up: Duration,
    /// How long messages are kept to look at.
    #[serde(with = "duration")]
    pub keep: Duration,
    /// The channels by name.
    pub channels: BTreeMap<String, ChannelConfig>,
    /// Who hears what; without any, every channel hears from major on.
    pub routes: Vec<RouteConfig>,
    /// Login names and their e-mail addresses: a dispatched unit's people are written to.
    pub people: BTreeMap<String, String>,
}

/// The kinds of channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Kind {
    Webhook,
    DingTalk,
    WeCom,
    Email,
    Mqtt,
}

/// How a mail server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MailTls {
    /// Plain first, then TLS (port 587).
    #[default]
    Starttls,
    /// TLS from the first byte (port 465).
    Implicit,
    /// No TLS: on the same machine only.
    None,
}

/// A channel as the configuration writes it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelConfig {
    /// webhook, dingtalk, wecom, email or mqtt.
    pub kind: Kind,
    /// webhook, dingtalk, wecom: where to post. It may hold a token, so it is never shown.
    pub url: Option<Secret>,
    /// A file with the url in it.
    pub url_file: Option<PathBuf>,
    /// webhook, dingtalk: the key of the signature. email, mqtt: the password.
    pub secret: Option<Secret>,
    /// A file with the secret in it.
    pub secret_file: Option<PathBuf>,
    /// email, mqtt: `host` or `host:port`. mqtt without one: the hub's own broker.
    pub host: Option<String>,
    /// email, mqtt: the login.
    pub user: Option<String>,
    /// email: how the server is spoken to.
    pub tls: Option<MailTls>,
    /// email: the sender.
    pub from: Option<String>,
    /// email: who is always written to.
    #[serde(default)]
    pub to: Vec<String>,
    /// mqtt: the topic.
    pub topic: Option<String>,
    /// webhook: the user in whose name an answer moves a case; without one answers move nothing.
    pub moves_as: Option<String>,
    /// The language of its texts: zh or en.
    #[serde(default)]
    pub language: Language,
    /// Messages a minute at most.
    pub per_minute: Option<u32>,
    /// The title's template.
    pub title: Option<String>,
    /// The template of an alert's line.
    pub line: Option<String>,
}

/// A route as the configuration writes it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteConfig {
    /// The channels that hear of it.
    pub channels: Vec<String>,
    /// Only in these zones; empty is the whole town.
    #[serde(default)]
    pub zones: Vec<ZoneId>,
    /// The mildest severity.
    #[serde(default = "from_major")]
    pub from: Severity,
    /// Which kinds of events.
    #[serde(default = "default_events")]
    pub events: Vec<EventKind>,
    /// Only at these hours: `08:00-20:00`; `20:00-08:00` goes over midnight.
    pub hours: Option<String>,
    /// Only on these days: `mon` to `sun`; empty is every day. A night belongs to the day that it began on.
    #[serde(default)]
    pub weekdays: Vec<String>,
    /// The level of escalation from which this route hears of overdue cases; absent: every level.
    pub level: Option<u8>,
}

fn from_major() -> Severity {
    Severity::Major
}

fn default_events() -> Vec<EventKind> {
    use EventKind::{
        CaseDispatched, CaseEscalated, CaseOverdue, Raised, Reminder, SystemRaised, SystemReturned,
    };
    // Who was told that the hub is in trouble must not wonder whether it still is.
    vec![Raised, Reminder, CaseDispatched, CaseOverdue, CaseEscalated, SystemRaised, SystemReturned]
}

/// A text that no log, no answer and no `Debug` shows.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl Secret {
    /// From a text.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The text itself: for the wire only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Default for NotifyConfig {
    fn default() -> Self {
        let minutes = |n: u64| Duration::from_secs(n * 60);
        NotifyConfig {
            console_url: None,
            first_wait: Duration::from_secs(10),
            critical_wait: Duration::from_secs(1),
            interval: minutes(5),
            repeat: minutes(30),
            repeat_max: minutes(4 * 60),
            give_up: minutes(24 * 60),
            keep: minutes(90 * 24 * 60),
            channels: BTreeMap::new(),
            routes: Vec::new(),
            people: BTreeMap::new(),
        }
    }
}

/// The room's settings: checked, secrets read.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The channels, by name.
    pub channels: Vec<ChannelSpec>,
    /// Who hears what; a route names channels by their place in `channels`.
    pub routes: Vec<Route>,
    /// Waits and repeats.
    pub pace: Pace,
    /// Where people reach the console.
    pub link: Option<String>,
}

/// A checked channel.
#[derive(Debug, Clone)]
pub struct ChannelSpec {
    /// Its name.
    pub name: String,
    /// How it speaks.
    pub way: Way,
    /// Messages a minute at most.
    pub per_minute: u32,
    /// How it puts things.
    pub words: Words,
}

/// How a channel speaks, with all that it needs.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the configuration's keys say it")]
pub enum Way {
    Webhook { url: Secret, secret: Option<Secret>, moves_as: Option<String> },
    DingTalk { url: Secret, secret: Option<Secret> },
    WeCom { url: Secret },
    Email(Mail),
    Mqtt { topic: String, broker: Option<Broker> },
}

/// A mail server and who is written to.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the configuration's keys say it")]
pub struct Mail {
    pub host: String,
    pub port: u16,
    pub tls: MailTls,
    pub login: Option<(String, Secret)>,
    pub from: String,
    pub to: Vec<String>,
    pub people: BTreeMap<String, String>,
}

/// A broker that is not the hub's own.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the configuration's keys say it")]
pub struct Broker {
    pub host: String,
    pub port: u16,
    pub login: Option<(String, Secret)>,
}

/// What is wrong in the section.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotifyConfigError {
    /// A value that cannot be.
    #[error("notify.{key} is `{found}`: {remedy}")]
    Value {
        /// Which key.
        key: String,
        /// What it is; never a secret.
        found: String,
        /// What would be right.
        remedy: String,
    },
    /// A key that the kind of channel needs, or has no use for.
    #[error("notify.channels.{channel}: {remedy}")]
    Channel {
        /// Which channel.
        channel: String,
        /// What would be right.
        remedy: String,
    },
    /// A template that is none.
    #[error("notify.channels.{channel}.{key}: {why}")]
    Template {
        /// Which channel.
        channel: String,
        /// title or line.
        key: &'static str,
        /// What is wrong.
        why: TemplateError,
    },
    /// A secret's file cannot be read.
    #[error("notify.channels.{channel}: cannot read {}: {why}", file.display())]
    File {
        /// Which channel.
        channel: String,
        /// Which file.
        file: PathBuf,
        /// What the system said.
        why: String,
    },
}

fn value(
    key: impl Into<String>,
    found: impl ToString,
    remedy: impl Into<String>,
) -> NotifyConfigError {
    NotifyConfigError::Value { key: key.into(), found: found.to_string(), remedy: remedy.into() }
}

impl NotifyConfig {
    /// The room's settings. `zone` is the town's time zone, for hours of routes and times in texts.
    ///
    /// # Errors
    /// When anything is missing, contradicts itself, or a secret's file cannot be read.
    pub fn settings(&self, zone: &str) -> Result<Settings, NotifyConfigError> {
        let remedy = "use an IANA name such as Asia/Shanghai";
        let zone = TimeZone::get(zone).map_err(|_| value("(case.duty.zone)", zone, remedy))?;
        let least = Duration::from_secs(1);
        for (key, duration) in
            [("repeat", self.repeat), ("give_up", self.give_up), ("interval", self.interval)]
        {
            if duration < least {
                return Err(value(key, format!("{duration:?}"), "use at least 1s"));
            }
        }
        if self.repeat_max < self.repeat {
            let found = format!("{:?}", self.repeat_max);
            return Err(value("repeat_max", found, "it cannot be shorter than notify.repeat"));
        }
        if let Some(url) = &self.console_url
            && !(url.starts_with("http://") || url.starts_with("https://"))
        {
            return Err(value("console_url", url, "write http:// or https:// and the host"));
        }
        for (name, address) in &self.people {
            check_address(&format!("people.{name}"), address)?;
        }
        let specs = self.channels.iter().map(|(name, channel)| channel.spec(name, self, &zone));
        let channels = specs.collect::<Result<Vec<_>, _>>()?;
        let mut routes = Vec::new();
        for (index, route) in self.routes.iter().enumerate() {
            routes.push(route.checked(index, &channels, &zone)?);
        }
        if routes.is_empty() {
            routes.push(Route {
                channels: (0..channels.len()).collect(),
                zones: BTreeSet::new(),
                from: from_major(),
                events: default_events().into_iter().collect(),
                hours: None,
                level: None,
            });
        }
        let pace = Pace {
            first_wait: self.first_wait,
            critical_wait: self.critical_wait,
            interval: self.interval,
            repeat: self.repeat,
            repeat_max: self.repeat_max,
            give_up: self.give_up,
            keep: self.keep,
        };
        let link = self.console_url.as_ref().map(|url| url.trim_end_matches('/').to_owned());
        Ok(Settings { channels, routes, pace, link })
    }
}

impl RouteConfig {
    fn checked(
        &self,
        index: usize,
        channels: &[ChannelSpec],
        zone: &TimeZone,
    ) -> Result<Route, NotifyConfigError> {
        let key = |key: &str| format!("routes[{index}].{key}");
        if self.channels.is_empty() {
            return Err(value(key("channels"), "[]", "name at least one channel"));
        }
        let place = |name: &String| {
            channels.iter().position(|channel| channel.name == *name).ok_or_else(|| {
                let known: Vec<_> = channels.iter().map(|channel| channel.name.as_str()).collect();
                value(key("channels"), name, format!("the channels are {}", known.join(", ")))
            })
        };
        let remedy = "write from-to, for example 08:00-20:00 or 20:00-08:00";
        let hours = match &self.hours {
            None if self.weekdays.is_empty() => None,
            text => {
                let text = text.as_deref().unwrap_or("00:00-24:00");
                let days = self.weekdays.iter().map(|day| weekday(day, &key("weekdays")));
                let days = days.collect::<Result<Vec<_>, _>>()?;
                let hours = Hours::parse(text, &days, zone.clone());
                Some(hours.ok_or_else(|| value(key("hours"), text, remedy))?)
            }
        };
        Ok(Route {
            channels: self.channels.iter().map(place).collect::<Result<_, _>>()?,
            zones: self.zones.iter().cloned().collect(),
            from: self.from,
            events: self.events.iter().copied().collect(),
            hours,
            level: self.level,
        })
    }
}

fn weekday(text: &str, key: &str) -> Result<Weekday, NotifyConfigError> {
    use Weekday::{Friday, Monday, Saturday, Sunday, Thursday, Tuesday, Wednesday};
    let days = [Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday];
    let names = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let found = names.iter().position(|name| *name == text).map(|at| days[at]);
    found.ok_or_else(|| value(key, text, format!("days are {}", names.join(", "))))
}

fn check_address(key: &str, address: &str) -> Result<(), NotifyConfigError> {
    match address.parse::<lettre::message::Mailbox>() {
        Ok(_) => Ok(()),
        Err(_) => {
            Err(value(key, address, "write an e-mail address, for example zhang@town.example"))
        }
    }
}

impl ChannelConfig {
    fn spec(
        &self,
        name: &str,
        all: &NotifyConfig,
        zone: &TimeZone,
    ) -> Result<ChannelSpec, NotifyConfigError> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(is_name) {
            let remedy =
                format!("a channel's name has 1 to {MAX_NAME} ASCII letters, digits and - _ .");
            return Err(value("channels", name, remedy));
        }
        self.refuse_strangers(name)?;
        let is_robot = matches!(self.kind, Kind::DingTalk | Kind::WeCom);
        let per_minute = self.per_minute.unwrap_or(ROBOT_PER_MINUTE);
        if per_minute < 2 || (is_robot && per_minute > ROBOT_PER_MINUTE) || per_minute > 6_000 {
            let most = if is_robot { ROBOT_PER_MINUTE } else { 6_000 };
            let key = format!("channels.{name}.per_minute");
            return Err(value(key, per_minute, format!("use 2 to {most}")));
        }
        let template = |key, text: &Option<String>| {
            let parsed = text.as_deref().map(Template::parse).transpose();
            parsed.map_err(|why| NotifyConfigError::Template { channel: name.to_owned(), key, why })
        };
        let words = Words {
            language: self.language,
            zone: zone.clone(),
            title: template("title", &self.title)?,
            line: template("line", &self.line)?,
            link: all.console_url.as_ref().map(|url| url.trim_end_matches('/').to_owned()),
        };
        Ok(ChannelSpec { name: name.to_owned(), way: self.way(name, all)?, per_minute, words })
    }

    fn way(&self, name: &str, all: &NotifyConfig) -> Result<Way, NotifyConfigError> {
        let secret = read_secret(name, &self.secret, self.secret_file.as_deref(), "secret")?;
        let url = || {
            let url = read_secret(name, &self.url, self.url_file.as_deref(), "url")?;
            let url = url.ok_or_else(|| lacks(name, "it needs `url` or `url_file`"))?;
            let is_url =
                ["http://", "https://"].iter().any(|scheme| url.expose().starts_with(scheme))
                    && reqwest::Url::parse(url.expose()).is_ok();
            if is_url { Ok(url) } else { Err(lacks(name, "`url` must be a URL of http or https")) }
        };
        let login = || match (&self.user, &secret) {
            (Some(user), Some(secret)) => Ok(Some((user.clone(), secret.clone()))),
            (None, None) => Ok(None),
            _ => Err(lacks(name, "`user` and `secret` (or `secret_file`) belong together")),
        };
        Ok(match self.kind {
            Kind::Webhook => Way::Webhook { url: url()?, secret, moves_as: self.moves_as.clone() },
            Kind::DingTalk => Way::DingTalk { url: url()?, secret },
            Kind::WeCom => Way::WeCom { url: url()? },
            Kind::Email => Way::Email(self.mail(name, all, login()?)?),
            Kind::Mqtt => {
                let topic = self.topic.clone().unwrap_or_default();
                if topic.is_empty()
                    || topic.contains(['+', '#', '\0'])
                    || topic.starts_with('$')
                    || !topic.is_ascii()
                {
                    return Err(lacks(
                        name,
                        "it needs a `topic` of ASCII without + # and a leading $",
                    ));
                }
                let login = login()?;
                let broker = match &self.host {
                    Some(host) => {
                        let (host, port) = host_port(name, host, 1883)?;
                        Some(Broker { host, port, login })
                    }
                    None if login.is_some() => {
                        return Err(lacks(
                            name,
                            "the hub's own broker needs no `user`; or name its `host`",
                        ));
                    }
                    None => None,
                };
                Way::Mqtt { topic, broker }
            }
        })
    }

    fn mail(
        &self,
        name: &str,
        all: &NotifyConfig,
        login: Option<(String, Secret)>,
    ) -> Result<Mail, NotifyConfigError> {
        let tls = self.tls.unwrap_or_default();
        let usual = match tls {
            MailTls::Starttls => 587,
            MailTls::Implicit => 465,
            MailTls::None => 25,
        };
        let host =
            self.host.as_deref().ok_or_else(|| lacks(name, "it needs the mail server's `host`"))?;
        let (host, port) = host_port(name, host, usual)?;
        let from = self
            .from
            .clone()
            .ok_or_else(|| lacks(name, "it needs the sender's address in `from`"))?;
        check_address(&format!("channels.{name}.from"), &from)?;
        for to in &self.to {
            check_address(&format!("channels.{name}.to"), to)?;
        }
        if self.to.is_empty() && all.people.is_empty() {
            return Err(lacks(name, "it needs addresses in `to`, or people in [notify.people]"));
        }
        Ok(Mail { host, port, tls, login, from, to: self.to.clone(), people: all.people.clone() })
    }

    /// A key that the kind has no use for is a mistake, not a decoration.
    fn refuse_strangers(&self, name: &str) -> Result<(), NotifyConfigError> {
        use Kind::{DingTalk, Email, Mqtt, WeCom, Webhook};
        let web = [Webhook, DingTalk, WeCom].as_slice();
        let keys: [(&str, bool, &[Kind]); 11] = [
            ("url", self.url.is_some(), web),
            ("url_file", self.url_file.is_some(), web),
            ("secret", self.secret.is_some(), &[Webhook, DingTalk, Email, Mqtt]),
            ("secret_file", self.secret_file.is_some(), &[Webhook, DingTalk, Email, Mqtt]),
            ("host", self.host.is_some(), &[Email, Mqtt]),
            ("user", self.user.is_some(), &[Email, Mqtt]),
            ("tls", self.tls.is_some(), &[Email]),
            ("from", self.from.is_some(), &[Email]),
            ("to", !self.to.is_empty(), &[Email]),
            ("topic", self.topic.is_some(), &[Mqtt]),
            ("moves_as", self.moves_as.is_some(), &[Webhook]),
        ];
        match keys.iter().find(|(_, is_there, kinds)| *is_there && !kinds.contains(&self.kind)) {
            Some((key, ..)) => {
                Err(lacks(name, format!("`{key}` does not belong to kind {}", self.kind.as_str())))
            }
            None => Ok(()),
        }
    }
}

impl Kind {
    /// Its spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Webhook => "webhook",
            Kind::DingTalk => "dingtalk",
            Kind::WeCom => "wecom",
            Kind::Email => "email",
            Kind::Mqtt => "mqtt",
        }
    }
}

impl Way {
    /// The channel's kind.
    pub fn kind(&self) -> Kind {
        match self {
            Way::Webhook { .. } => Kind::Webhook,
            Way::DingTalk { .. } => Kind::DingTalk,
            Way::WeCom { .. } => Kind::WeCom,
            Way::Email(_) => Kind::Email,
            Way::Mqtt { .. } => Kind::Mqtt,
        }
    }

    /// Where it speaks to, without anything secret: the host.
    pub fn target(&self) -> String {
        match self {
            Way::Webhook { url, .. } | Way::DingTalk { url, .. } | Way::WeCom { url } => {
                let url = reqwest::Url::parse(url.expose()).ok();
                url.and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default()
            }
            Way::Email(mail) => mail.host.clone(),
            Way::Mqtt { topic, broker: None } => topic.clone(),
            Way::Mqtt { topic, broker: Some(broker) } => format!("{} {topic}", broker.host),
        }
    }
}

fn lacks(channel: &str, remedy: impl Into<String>) -> NotifyConfigError {
    NotifyConfigError::Channel { channel: channel.to_owned(), remedy: remedy.into() }
}

fn host_port(channel: &str, text: &str, usual: u16) -> Result<(String, u16), NotifyConfigError> {
    let split =
        text.rsplit_once(':').filter(|(host, _)| !host.contains(':') || host.ends_with(']'));
    let (host, port) = match split {
        Some((host, port)) => (host, port.parse().ok()),
        None => (text, Some(usual)),
    };
    match port.filter(|port| *port > 0 && !host.is_empty()) {
        Some(port) => Ok((host.to_owned(), port)),
        None => Err(lacks(channel, format!("`host` is `{text}`; write host or host:port"))),
    }
}

fn read_secret(
    channel: &str,
    given: &Option<Secret>,
    file: Option<&Path>,
    key: &str,
) -> Result<Option<Secret>, NotifyConfigError> {
    match (given, file) {
        (Some(_), Some(_)) => {
            Err(lacks(channel, format!("give `{key}` or `{key}_file`, not both")))
        }
        (Some(secret), None) => Ok(Some(secret.clone())),
        (None, None) => Ok(None),
        (None, Some(file)) => match std::fs::read_to_string(file) {
            Ok(text) if text.trim().is_empty() => {
                Err(lacks(channel, format!("the file of `{key}` is empty")))
            }
            Ok(text) => Ok(Some(Secret(text.trim().to_owned()))),
            Err(why) => Err(NotifyConfigError::File {
                channel: channel.to_owned(),
                file: file.to_owned(),
                why: why.to_string(),
            }),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<(), &str>) {
        let config: NotifyConfig = match toml::from_str(text) {
            Ok(config) => config,
            Err(why) => {
                let part = expected.expect_err("a part of the message");
                return assert!(why.to_string().contains(part), "{why} should say {part}");
            }
        };
        match (config.settings("Asia/Shanghai"), expected) {
            (Ok(_), Ok(())) => {}
            (Err(why), Err(part)) => {
                assert!(why.to_string().contains(part), "{why} should say {part}")
            }
            (outcome, _) => panic!("{text}: {outcome:?}, not {expected:?}"),
        }
    }

    #[test]
    fn a_whole_section_is_read() {
        let text = "console_url = 'https://town.example/'\n\
            [channels.room]\nkind = 'dingtalk'\nurl = 'https://oapi.dingtalk.com/robot/send?access_token=x'\nsecret = 's'\n\
            [channels.tickets]\nkind = 'webhook'\nurl = 'http://127.0.0.1:1/hook'\nmoves_as = 'robot'\nlanguage = 'en'\n\
            [channels.mail]\nkind = 'email'\nhost = 'mail.example'\nfrom = 'hub@town.example'\nto = ['a@town.example']\n\
            [channels.bus]\nkind = 'mqtt'\ntopic = 'town/alerts'\n\
            [[routes]]\nchannels = ['room', 'mail']\nfrom = 'minor'\nhours = '20:00-08:00'\nweekdays = ['fri']\nlevel = 2\n\
            [people]\nzhang = 'zhang@town.example'\n";
        check(text, Ok(()));
        let config: NotifyConfig = toml::from_str(text).expect("valid");
        let settings = config.settings("Asia/Shanghai").expect("checked");
        let named: Vec<_> = settings.channels.iter().map(|channel| channel.name.as_str()).collect();
        assert_eq!(named, ["bus", "mail", "room", "tickets"]);
        assert_eq!(settings.routes[0].channels, BTreeSet::from([1, 2]));
        assert_eq!(settings.link.as_deref(), Some("https://town.example"));
        assert_eq!(settings.channels[2].way.target(), "oapi.dingtalk.com");
        assert!(!format!("{config:?}{settings:?}").contains("access_token"), "a secret is shown");
    }

    #[test]
    fn what_is_wrong_is_named_with_a_remedy_and_without_secrets() {
        let hook = "[channels.a]\nkind = 'webhook'\n";
        check(hook, Err("notify.channels.a: it needs `url` or `url_file`"));
        check(&format!("{hook}url = 'ftp://x'"), Err("must be a URL of http or https"));
        check(
            &format!("{hook}url = 'http://x'\ntopic = 't'"),
            Err("`topic` does not belong to kind webhook"),
        );
        check(&format!("{hook}url = 'http://x'\nurl_file = '/x'"), Err("not both"));
        check(&format!("{hook}url_file = '/nowhere/x'"), Err("cannot read /nowhere/x"));
        check(
            &format!("{hook}url = 'http://x'\nline = '{{nonsense}}'"),
            Err("notify.channels.a.line"),
        );
        check("[channels.a]\nkind = 'pager'", Err("unknown variant `pager`"));
        check(
            "[channels.a]\nkind = 'wecom'\nurl = 'https://x'\nper_minute = 21",
            Err("use 2 to 20"),
        );
        check("[channels.a]\nkind = 'mqtt'\ntopic = 'a/#'", Err("it needs a `topic`"));
        check("[channels.a]\nkind = 'email'\nhost = 'h'\nfrom = 'nobody'", Err("channels.a.from"));
        check(
            "[channels.a]\nkind = 'email'\nhost = 'h'\nfrom = 'a@b.example'",
            Err("addresses in `to`"),
        );
        check(
            "[channels.a]\nkind = 'email'\nhost = 'h'\nuser = 'u'\nfrom = 'a@b.example'",
            Err("belong together"),
        );
        check(
            &format!("{hook}url = 'http://x'\n[[routes]]\nchannels = ['b']"),
            Err("the channels are a"),
        );
        check(
            &format!("{hook}url = 'http://x'\n[[routes]]\nchannels = ['a']\nhours = '8-20'"),
            Err("write from-to"),
        );
        check(
            &format!("{hook}url = 'http://x'\n[[routes]]\nchannels = ['a']\nweekdays = ['monday']"),
            Err("days are mon"),
        );
        check(
            &format!(
                "{hook}url = 'http://x'\n[[routes]]\nchannels = ['a']\nevents = ['alert.seen']"
            ),
            Err("unknown variant"),
        );
        check("repeat = '0s'", Err("use at least 1s"));
        check("repeat_max = '1min'", Err("cannot be shorter"));
        check("[people]\nzhang = 'zhang'", Err("write an e-mail address"));
    }
}
