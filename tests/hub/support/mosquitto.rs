//! Mosquitto from Debian as a child process, on a port that stays its own over restarts.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};

/// A broker. Killed when dropped.
pub struct Mosquitto {
    pub address: SocketAddr,
    config: PathBuf,
    child: Option<Child>,
    _folder: tempfile::TempDir,
}

impl Mosquitto {
    /// One that lets everybody in, queues without limit, and keeps sessions on disk.
    pub async fn start() -> Self {
        Mosquitto::start_with("allow_anonymous true\n", |_| ()).await
    }

    /// One with this configuration besides; `prepare` puts files into its folder, which is where it runs.
    pub async fn start_with(more: &str, prepare: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("an address");
        drop(free);
        prepare(folder.path());
        // Otherwise it gives up root and cannot read its folder.
        let user = if is_root() { "user root\n" } else { "" };
        let text = format!(
            "listener {} 127.0.0.1\n{user}persistence true\npersistence_location {}/\nmax_queued_messages 0\n\
             max_inflight_messages 200\nlog_type error\nlog_type warning\n{more}",
            address.port(),
            folder.path().display()
        );
        let config = folder.path().join("mosquitto.conf");
        std::fs::write(&config, text).expect("a file");
        let mut broker = Mosquitto { address, config, child: None, _folder: folder };
        broker.up().await;
        broker
    }

    /// Starts it again, and waits until it takes connections.
    pub async fn up(&mut self) {
        let folder = self.config.parent().expect("a folder");
        // Debian puts it where only root's path leads.
        let path =
            format!("{}:/usr/sbin:/usr/local/sbin", std::env::var("PATH").unwrap_or_default());
        let child = Command::new("mosquitto")
            .arg("-c")
            .arg(&self.config)
            .env("PATH", path)
            .current_dir(folder)
            .stdout(Stdio::null())
            .spawn()
            .expect("mosquitto; `make deps` installs it");
        self.child = Some(child);
        for _ in 0..500 {
            if tokio::net::TcpStream::connect(self.address).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("mosquitto does not listen on {}", self.address);
    }

    /// Ends it in order: it writes its sessions down.
    pub fn down(&mut self) {
        let mut child = self.child.take().expect("it runs");
        let sent = Command::new("kill").arg(child.id().to_string()).status().expect("kill runs");
        assert!(sent.success());
        child.wait().expect("it ends");
    }

    /// The section that makes a hub its client.
    pub fn section(&self, client: &str, more: &str) -> String {
        format!("[broker]\nurl = \"mqtt://{}\"\nclient_id = \"{client}\"\n{more}\n", self.address)
    }

    /// Publishes all of these, and returns when the broker has acknowledged every one that it acknowledges.
    pub async fn publish(&self, messages: Vec<(String, Vec<u8>, QoS)>) {
        publish(self.client("publisher").await, messages).await;
    }

    /// A connected client with a clean session.
    pub async fn client(&self, id: &str) -> (AsyncClient, EventLoop) {
        connect(MqttOptions::new(id, self.address.ip().to_string(), self.address.port())).await
    }
}

/// Connects with a clean session.
pub async fn connect(mut options: MqttOptions) -> (AsyncClient, EventLoop) {
    options.set_inflight(100);
    let (client, mut events) = AsyncClient::new(options, 100);
    let first = events.poll().await.expect("the broker lets it in");
    assert!(matches!(first, Event::Incoming(Packet::ConnAck(_))), "{first:?}");
    (client, events)
}

/// Publishes all of these, and returns when the broker has acknowledged every one that it acknowledges.
pub async fn publish(
    (client, mut events): (AsyncClient, EventLoop),
    messages: Vec<(String, Vec<u8>, QoS)>,
) {
    let expected = messages.iter().filter(|(.., qos)| *qos != QoS::AtMostOnce).count();
    let last = messages.len();
    let handing_in = tokio::spawn(async move {
        for (topic, payload, qos) in messages {
            client.publish(topic, qos, false, payload).await.expect("it is connected");
        }
        client
    });
    let (mut acknowledged, mut sent) = (0, 0);
    while acknowledged < expected || sent < last {
        match events.poll().await.expect("the broker stays") {
            Event::Incoming(Packet::PubAck(_) | Packet::PubComp(_)) => acknowledged += 1,
            Event::Outgoing(rumqttc::Outgoing::Publish(_)) => sent += 1,
            _ => {}
        }
    }
    let client = handing_in.await.expect("handed in");
    client.disconnect().await.expect("still connected");
    while events.poll().await.is_ok() {}
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().expect("id runs");
    output.stdout.trim_ascii() == b"0"
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Already gone when it broke down.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
