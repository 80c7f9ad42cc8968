//! The rows of the table, and how one is run.
//!
//! A script is lines: `# group`, then rows. A row begins with `= v4:3.3.1-6 v5:3.3.1-5 | what it asks`; the versions that
//! it names are those that it is run for. After it come `for devices` or `for both` (services otherwise), `gap SIDE [v4|v5]: reason`,
//! and steps `[v4|v5] CLIENT VERB key=value ...`. `~` is a place of the row's own in which its clients may speak,
//! `%` the version; `^` is the place of a device of the row's own, for which the client `dev` speaks.
//!
//! A verb sends and reads the protocol's own answer, which must be a success; with `!` it only sends. `expect KIND ...`
//! reads the next packet, which must have these values (`a|b` allows either, `-` asks for none, `*` for any), and answers a
//! PUBLISH; `expect!` does not. `closed` and `refused` read the end of
//! a connection. `ping` proves that nothing else was sent: its answer is the next packet.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::wire::{self, Words};
use crate::support::device::{Device, Level};

/// How long an answer may take. A hub that is right answers in a millisecond.
const PATIENCE: Duration = Duration::from_secs(3);

/// Who runs a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    Services,
    Devices,
    Mosquitto,
}

#[derive(Clone, Debug)]
pub struct Row {
    pub group: String,
    /// The statements, by version.
    pub ids: Vec<(Level, Vec<String>)>,
    pub what: String,
    pub for_services: bool,
    pub for_devices: bool,
    /// Who does not pass it, and why.
    pub gaps: Vec<(Side, Option<Level>, String)>,
    steps: Vec<Step>,
}

#[derive(Clone, Debug)]
struct Step {
    line: usize,
    only: Option<Level>,
    client: String,
    verb: String,
    words: Words,
}

/// Where a row is run, and as whom.
#[derive(Clone)]
pub struct Stage {
    pub address: SocketAddr,
    pub level: Level,
    /// The row's own place.
    pub place: String,
    pub user: String,
    pub password: String,
    /// The row's own device, and its secret: who speaks for the client `dev`.
    pub device: (String, String),
    /// Whether the end of a connection must be explained, which the standard leaves open.
    pub is_strict: bool,
}

/// Reads a script.
pub fn rows(text: &str) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut group = String::new();
    for (line, text) in text.lines().enumerate() {
        let text = text.trim();
        if let Some(name) = text.strip_prefix("# ") {
            name.clone_into(&mut group);
        } else if let Some(head) = text.strip_prefix("= ") {
            rows.push(row(&group, head));
        } else if !text.is_empty() {
            rows.last_mut().expect("a row").add(line + 1, text);
        }
    }
    rows
}

fn row(group: &str, head: &str) -> Row {
    let (ids, what) = head.split_once(" | ").expect("ids | what");
    let mut by_version: Vec<(Level, Vec<String>)> = Vec::new();
    for id in ids.split_whitespace() {
        let (version, id) = id.split_once(':').expect("version:id");
        let level = level(version).expect("v4 or v5");
        match by_version.iter_mut().find(|(known, _)| *known == level) {
            Some((_, ids)) => ids.push(id.to_owned()),
            None => by_version.push((level, vec![id.to_owned()])),
        }
    }
    Row {
        group: group.to_owned(),
        ids: by_version,
        what: what.to_owned(),
        for_services: true,
        for_devices: false,
        gaps: Vec::new(),
        steps: Vec::new(),
    }
}

fn level(text: &str) -> Option<Level> {
    match text {
        "v4" => Some(Level::V4),
        "v5" => Some(Level::V5),
        _ => None,
    }
}

impl Row {
    fn add(&mut self, line: usize, text: &str) {
        if let Some(who) = text.strip_prefix("for ") {
            (self.for_services, self.for_devices) = (who == "both", true);
        } else if let Some(gap) = text.strip_prefix("gap ") {
            let (side, reason) = gap.split_once(": ").expect("side: reason");
            let (side, version) = side.split_once(' ').unwrap_or((side, ""));
            let side = match side {
                "services" => Side::Services,
                "devices" => Side::Devices,
                _ => Side::Mosquitto,
            };
            self.gaps.push((side, level(version), reason.to_owned()));
        } else {
            let mut words = text.split_whitespace().peekable();
            let only = words.peek().and_then(|word| level(word));
            if only.is_some() {
                words.next();
            }
            let [client, verb] = [(); 2].map(|()| words.next().expect("client verb").to_owned());
            let words = words
                .map(|word| word.split_once('=').unwrap_or((word, "1")))
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect();
            self.steps.push(Step { line, only, client, verb, words });
        }
    }

    /// Runs the row.
    ///
    /// # Errors
    /// What went otherwise than the row says, with its line.
    pub async fn run(&self, stage: &Stage) -> Result<(), String> {
        let mut clients: HashMap<String, Client> = HashMap::new();
        let steps = self.steps.iter().filter(|step| step.only.is_none_or(|v| v == stage.level));
        for step in steps {
            let mut step = step.clone();
            for (key, value) in &mut step.words {
                let place = &stage.place;
                let place = if key == "id" { place.replace('/', "-") } else { place.clone() };
                let own = format!("devices/{}", stage.device.0);
                let version = (stage.level as u8).to_string();
                *value = value.replace('~', &place).replace('^', &own).replace('%', &version);
            }
            if step.verb == "wait" {
                // Seconds that the standard counts in: nothing says that they are over but the clock.
                let seconds = step.words[0].0.parse().expect("seconds");
                tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
                continue;
            }
            let name = step.client.clone();
            if step.verb.starts_with("connect") || !clients.contains_key(&name) {
                let stream = TcpStream::connect(stage.address).await.map_err(|e| e.to_string())?;
                let device = Device { stream, id: String::new() };
                clients.insert(
                    name.clone(),
                    Client { device, stage: stage.clone(), last_id: 0, early: VecDeque::new() },
                );
            }
            let client = clients.get_mut(&name).expect("it was just put there");
            let done = client.take(&step, stage).await;
            done.map_err(|why| format!("line {}, {} {}: {why}", step.line, name, step.verb))?;
        }
        Ok(())
    }
}

struct Client {
    device: Device,
    stage: Stage,
    /// Of the last PUBLISH that came.
    last_id: u16,
    /// What came while a PUBREL was awaited.
    early: VecDeque<Vec<u8>>,
}

impl Client {
    async fn take(&mut self, step: &Step, stage: &Stage) -> Result<(), String> {
        let mut words = step.words.clone();
        match step.verb.as_str() {
            "drop" => {
                use tokio::io::AsyncWriteExt;
                self.device.stream.shutdown().await.map_err(|e| e.to_string())?;
                self.until_closed().await;
                return Ok(());
            }
            "closed" => return self.closed(&words).await,
            "refused" => return self.refused(&words).await,
            "expect" | "expect!" => {
                let (kind, _) = words.remove(0);
                return self.expect(&kind, &words, step.verb == "expect").await;
            }
            _ => {}
        }
        let (verb, waits) = match step.verb.strip_suffix('!') {
            Some(verb) => (verb, false),
            None => (step.verb.as_str(), true),
        };
        if verb == "connect" && !words.iter().any(|(key, _)| key == "id") {
            words.push((
                "id".to_owned(),
                format!("{}-{}", stage.place.replace('/', "-"), step.client),
            ));
        }
        for (key, value) in &mut words {
            if key == "id" && value == "$" {
                *value = self.last_id.to_string();
            }
        }
        let (user, password) = match step.client.as_str() {
            "dev" => (&*stage.device.0, &*stage.device.1),
            _ => (&*stage.user, &*stage.password),
        };
        let bytes = wire::write(verb, self.stage.level, &words, user, password);
        // A server that has closed already is found out by the next reading.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut self.device.stream, &bytes).await;
        if waits { self.await_answer(verb, &words).await } else { Ok(()) }
    }

    async fn await_answer(&mut self, verb: &str, words: &Words) -> Result<(), String> {
        let word = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let find = |key: &str| words.iter().find(|(known, _)| known == key).map(|(_, v)| v.clone());
        let id = find("id").unwrap_or_else(|| "1".to_owned());
        match verb {
            "connect" => self.expect("connack", &vec![word("code", "00")], true).await,
            "ping" => self.expect("pingresp", &Words::new(), true).await,
            "subscribe" => {
                let asked = words.iter().filter(|(key, _)| key == "f").map(|(_, value)| {
                    let options = value.rsplit_once(':').map_or("0", |(_, options)| options);
                    format!("0{}", options.split(',').next().unwrap_or("0"))
                });
                let codes = asked.collect::<Vec<_>>().join(",");
                self.expect("suback", &vec![word("id", &id), word("codes", &codes)], true).await
            }
            "unsubscribe" => self.expect("unsuback", &vec![word("id", &id)], true).await,
            "publish" => match find("q").as_deref() {
                Some("1") => {
                    let words = vec![word("id", &id), word("code", "00|10")];
                    self.expect("puback", &words, true).await
                }
                Some("2") => {
                    let words = vec![word("id", &id), word("code", "00|10")];
                    self.expect("pubrec", &words, true).await?;
                    let words = vec![word("id", &id)];
                    self.device
                        .send(&wire::write("pubrel", self.stage.level, &words, "", ""))
                        .await;
                    let words = vec![word("id", &id), word("code", "00")];
                    self.expect("pubcomp", &words, true).await
                }
                _ => Ok(()),
            },
            // A client that comes back before would be another matter: it takes over.
            "disconnect" => {
                self.until_closed().await;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Until the server has seen the end, and has closed its side.
    async fn until_closed(&mut self) {
        while let Ok(Some(_)) = timeout(PATIENCE, self.device.read_packet()).await {}
    }

    async fn next(&mut self) -> Result<Option<Vec<u8>>, String> {
        if let Some(bytes) = self.early.pop_front() {
            return Ok(Some(bytes));
        }
        let read = timeout(PATIENCE, self.device.read_packet()).await;
        read.map_err(|_| "nothing came".to_owned())
    }

    async fn expect(&mut self, kind: &str, wanted: &Words, answers: bool) -> Result<(), String> {
        let bytes = self.next().await?.ok_or_else(|| format!("closed, not {kind}"))?;
        let (got, words) = wire::read(&bytes, self.stage.level);
        let told = || format!("wanted {kind} {wanted:?}, got {got} {words:?}");
        if got != kind {
            return Err(told());
        }
        for (key, value) in wanted {
            let found = words.iter().filter(|(known, _)| known == key).map(|(_, v)| v.as_str());
            let mut found: Vec<_> = found.collect();
            found.sort_unstable();
            let found = found.join(",");
            let fits = match value.as_str() {
                "-" => found.is_empty(),
                "*" => !found.is_empty(),
                // A payload may hold the sign that stands between alternatives.
                value => found == value || value.split('|').any(|one| one == found),
            };
            if !fits {
                return Err(told());
            }
        }
        if got == "publish" {
            self.answer(&words, answers).await?;
        }
        Ok(())
    }

    async fn answer(&mut self, words: &Words, answers: bool) -> Result<(), String> {
        let find = |key: &str| words.iter().find(|(known, _)| known == key).map(|(_, v)| v.clone());
        let Some(id) = find("id") else { return Ok(()) };
        self.last_id = id.parse().map_err(|_| "an identifier that is none".to_owned())?;
        if !answers {
            return Ok(());
        }
        let words = vec![("id".to_owned(), id)];
        if find("q").as_deref() == Some("1") {
            self.device.send(&wire::write("puback", self.stage.level, &words, "", "")).await;
            return Ok(());
        }
        self.device.send(&wire::write("pubrec", self.stage.level, &words, "", "")).await;
        let mut others = VecDeque::new();
        while let Some(bytes) = self.next().await? {
            if bytes[0] >> 4 == 6 {
                break;
            }
            others.push_back(bytes);
        }
        self.early.append(&mut others);
        self.device.send(&wire::write("pubcomp", self.stage.level, &words, "", "")).await;
        Ok(())
    }

    /// Reads the end; at version 5 with the reason that `code` names, before it.
    async fn closed(&mut self, words: &Words) -> Result<(), String> {
        let code = words.iter().find(|(key, _)| key == "code").map(|(_, code)| code.as_str());
        if let (Some(code), Level::V5, true) = (code, self.stage.level, self.stage.is_strict) {
            let words = vec![("code".to_owned(), code.to_owned())];
            self.expect("disconnect", &words, true).await?;
        }
        match self.next().await? {
            None => Ok(()),
            Some(bytes) => {
                let (kind, words) = wire::read(&bytes, self.stage.level);
                if kind == "disconnect" && (code.is_none() || !self.stage.is_strict) {
                    return Ok(());
                }
                Err(format!("not closed, but {kind} {words:?}"))
            }
        }
    }

    /// Reads the end of a connection that never was: at version 5 after a CONNACK with the reason that `code` names.
    async fn refused(&mut self, words: &Words) -> Result<(), String> {
        let Some(bytes) = self.next().await? else {
            let may_be_silent = !self.stage.is_strict || self.stage.level == Level::V4;
            return if may_be_silent { Ok(()) } else { Err("closed without a CONNACK".to_owned()) };
        };
        let (kind, got) = wire::read(&bytes, self.stage.level);
        let is_named = |code: &str| words.iter().any(|(_, v)| v.split('|').any(|one| one == code));
        let may_be_other = !self.stage.is_strict || self.stage.level == Level::V4;
        let fits = got
            .iter()
            .any(|(key, code)| key == "code" && (is_named(code) || may_be_other && code != "00"));
        if kind != "connack" || !fits {
            return Err(format!("wanted a CONNACK with {words:?}, got {kind} {got:?}"));
        }
        self.closed(&Words::new()).await
    }
}
