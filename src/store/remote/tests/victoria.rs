//! VictoriaMetrics itself, from Debian, as a process of the test.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::super::config::VictoriaMetricsConfig;
use super::super::victoriametrics::VictoriaMetrics;

/// A server with a folder of its own; ends with the value.
#[derive(Debug)]
pub(in crate::store) struct Victoria {
    address: SocketAddr,
    folder: tempfile::TempDir,
    child: Option<Child>,
}

impl Victoria {
    /// A server that answers; `None`, loudly, where it is not installed.
    pub(in crate::store) fn start() -> Option<Self> {
        let mut server =
            Victoria { address: free_port(), folder: tempfile::tempdir().unwrap(), child: None };
        for _ in 0..3 {
            match server.launch() {
                Ok(true) => return Some(server),
                // Somebody else took the port meanwhile.
                Ok(false) => server.address = free_port(),
                Err(why) => {
                    eprintln!(
                        "SKIPPED: victoria-metrics cannot be run ({why}); `make deps` installs it"
                    );
                    return None;
                }
            }
        }
        panic!("victoria-metrics does not start");
    }

    /// Starts the process; `false` when it ended before it answered.
    pub(super) fn launch(&mut self) -> std::io::Result<bool> {
        let child = Command::new("victoria-metrics")
            .arg(format!("-httpListenAddr={}", self.address))
            .arg(format!("-storageDataPath={}", self.folder.path().display()))
            .args(["-retentionPeriod=100y", "-memory.allowedBytes=256MB", "-loggerLevel=ERROR"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let child = self.child.insert(child);
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            if child.try_wait()?.is_some() {
                return Ok(false);
            }
            if get(self.address, "/health").is_some_and(|answer| answer.ends_with("OK")) {
                return Ok(true);
            }
            // A process of others: there is nothing to wait for but its port.
            sleep(Duration::from_millis(20));
        }
        Ok(false)
    }

    /// Ends the process at once, as a power cut does.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn config(&self) -> VictoriaMetricsConfig {
        VictoriaMetricsConfig { url: Some(self.url()), ..VictoriaMetricsConfig::default() }
    }

    /// A client that trusts an acknowledgement so soon.
    pub(super) fn engine(&self, settles_in: Duration) -> VictoriaMetrics {
        let engine = VictoriaMetrics::new(&self.config(), Duration::from_secs(10)).unwrap();
        engine.settling_in(settles_in)
    }

    /// Everything that was acknowledged can be read from now on.
    pub(super) fn flush(&self) {
        assert!(get(self.address, "/internal/force_flush").is_some());
    }

    /// The same, once there are so many: it finds series that are new to it some seconds late.
    pub(super) fn stored_at_last(&self, name: &str, count: u64) -> u64 {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let stored = self.stored(name);
            if stored >= count || Instant::now() > deadline {
                return stored;
            }
            sleep(Duration::from_millis(50));
        }
    }

    /// Samples as they are stored, duplicates too.
    pub(super) fn stored(&self, name: &str) -> u64 {
        self.flush();
        let answer = get(
            self.address,
            &format!("/api/v1/export?match[]={{__name__=~%22{name}%22}}&start=0"),
        );
        answer
            .unwrap()
            .lines()
            .filter(|line| line.starts_with('{'))
            .map(|line| {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                line["values"].as_array().unwrap().len() as u64
            })
            .sum()
    }
}

impl Drop for Victoria {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The body of an answer that is a success.
fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: test\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8(answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.lines().next()?.contains(" 20").then(|| body.to_owned())
}
