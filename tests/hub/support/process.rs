//! The real binary as a child process: started on free ports, killed by pid, asked over HTTP.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};

/// A running hub. Killed when dropped.
pub struct HubProcess {
    child: Child,
    pub mqtt: SocketAddr,
    pub http: SocketAddr,
    client: reqwest::Client,
}

/// A folder with everything that a hub keeps, and how to start one on it.
pub struct Home {
    pub folder: PathBuf,
    /// What its hubs find in their environment besides ours.
    pub environment: Vec<(String, String)>,
    /// Where its hubs' logs go; without it, to the test's own standard error.
    pub log: Option<PathBuf>,
    binary: PathBuf,
    token: String,
}

impl Home {
    /// A new home in `folder`; `config` is TOML that is added to the one with free ports. Makes a token.
    pub fn new(binary: &Path, folder: &Path, profiles: &Path, config: &str) -> Self {
        let toml = format!(
            "data = {:?}\nprofiles = {:?}\n[http]\nlisten = \"127.0.0.1:0\"\n[mqtt]\nlisten = \"127.0.0.1:0\"\n{config}",
            folder.join("data"),
            profiles,
        );
        std::fs::create_dir_all(folder).expect("a folder can be made");
        std::fs::write(folder.join("townhub.toml"), toml).expect("a file can be written");
        let mut home = Home {
            folder: folder.to_owned(),
            environment: Vec::new(),
            log: None,
            binary: binary.to_owned(),
            token: String::new(),
        };
        let output =
            home.command(&["token", "create", "--label", "test"]).output().expect("the hub runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        home.token = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        home
    }

    /// The binary with these arguments, on this home.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("--config").arg(self.folder.join("townhub.toml")).args(arguments);
        command
    }

    /// The token that its requests carry.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Starts the hub and waits until it says that it is ready.
    pub fn start(&self) -> HubProcess {
        self.start_with(|_| ()).0
    }

    /// The same, and hands `more` the way to the addresses that follow.
    pub fn start_with<T>(
        &self,
        more: impl FnOnce(&mut dyn FnMut(&str) -> SocketAddr) -> T,
    ) -> (HubProcess, T) {
        let mut command = self.command(&["run"]);
        command
            .env("RUST_LOG", std::env::var("RUST_LOG").unwrap_or_else(|_| "warn".to_owned()))
            .envs(self.environment.iter().cloned())
            .stdout(Stdio::piped());
        if let Some(log) = &self.log {
            let log = std::fs::File::options().create(true).append(true).open(log);
            command.stderr(log.expect("a log file"));
        }
        let mut child = command.spawn().expect("the hub starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut address = |label: &str| -> SocketAddr {
            loop {
                let line = lines.next().expect("the hub is ready").expect("text");
                if let Some(value) =
                    line.trim().strip_prefix(label).filter(|rest| rest.starts_with(' '))
                {
                    let value = value.trim().trim_start_matches("http://");
                    break value.parse().unwrap_or_else(|_| panic!("an address in {line}"));
                }
            }
        };
        let http = address("console");
        let mqtt = address("mqtt");
        let more = more(&mut address);
        // What else it prints must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let mut headers = HeaderMap::new();
        let bearer = HeaderValue::from_str(&format!("Bearer {}", self.token)).expect("a token");
        headers.insert("authorization", bearer);
        // The hub's reqwest speaks TLS, so this one must be told by what.
        let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
        let client =
            reqwest::Client::builder().default_headers(headers).build().expect("an HTTP client");
        (HubProcess { child, mqtt, http, client }, more)
    }
}

impl HubProcess {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, and wait for the end.
    pub fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    /// SIGTERM, and wait for the end; how long that took and whether it ended well.
    pub fn terminate(mut self) -> (std::time::Duration, bool) {
        let begin = std::time::Instant::now();
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs");
        assert!(sent.success());
        let status = self.child.wait().expect("it ends");
        (begin.elapsed(), status.success())
    }

    /// A request to a path, with the home's token.
    pub fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.http))
    }

    /// GET, expecting JSON.
    pub async fn get(&self, path: &str) -> serde_json::Value {
        let response = self.request(reqwest::Method::GET, path).send().await.expect("an answer");
        let status = response.status();
        let body = response.text().await.expect("a body");
        assert!(status.is_success(), "GET {path}: {status} {body}");
        serde_json::from_str(&body).expect("JSON")
    }

    /// POST of a document, expecting JSON; returns the status too.
    pub async fn post(
        &self,
        path: &str,
        kind: &'static str,
        body: String,
    ) -> (u16, serde_json::Value) {
        let request = self.request(reqwest::Method::POST, path).header(CONTENT_TYPE, kind);
        let response = request.body(body).send().await.expect("an answer");
        let status = response.status().as_u16();
        let text = response.text().await.expect("a body");
        (status, serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text)))
    }

    /// Imports devices `{prefix}0..n` of one profile, each with the secret `secret_of` gives it.
    pub async fn import_devices(&self, profile: &str, devices: &[String]) {
        let rows: String = devices
            .iter()
            .map(|id| format!("{id},{profile},,{id},{id},,,{}\n", secret_of(id)))
            .collect();
        let csv =
            format!("id,profile,asset,name_zh,name_en,modbus_endpoint,modbus_unit,secret\n{rows}");
        let (status, report) = self.post("/api/v1/devices/import", "text/csv", csv).await;
        assert_eq!(status, 200, "{report}");
    }
}

impl Drop for HubProcess {
    fn drop(&mut self) {
        // Already gone after `kill` and `terminate`.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The secret that tests and benches give a device.
pub fn secret_of(device: &str) -> String {
    format!("secret-of-{device}-0123456789")
}
