//! A server that somebody else wrote, as a child process.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

/// It is up within this time.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running server; killed when dropped.
pub struct Server {
    child: Child,
    pub at: SocketAddr,
}

/// A port that was free a moment ago: these servers cannot choose one themselves.
pub fn free_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address")
}

impl Server {
    /// Starts it and waits until it listens; `None` when it is not installed.
    pub async fn start(command: &mut Command, at: SocketAddr) -> Option<Self> {
        let command = command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => return None,
            Err(why) => panic!("{}: {why}", command.get_program().display()),
        };
        let begin = Instant::now();
        while TcpStream::connect(at).await.is_err() {
            if let Some(status) = child.try_wait().expect("a child") {
                panic!("{} ended: {status}", command.get_program().display());
            }
            assert!(begin.elapsed() < PATIENCE, "{} listens", command.get_program().display());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Some(Server { child, at })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// mosquitto, with persistence.
    pub async fn mosquitto(folder: &Path) -> Option<Self> {
        let at = free_port();
        let config = folder.join("mosquitto.conf");
        let text = format!(
            "listener {} 127.0.0.1\nallow_anonymous true\nuser root\npersistence true\n\
             persistence_location {}/\nautosave_interval 1\nmax_queued_messages 0\n\
             max_inflight_messages 0\nset_tcp_nodelay true\n",
            at.port(),
            folder.display()
        );
        std::fs::write(&config, text).expect("a file");
        // Debian puts it where only root's path looks.
        let found =
            ["/usr/sbin/mosquitto", "mosquitto"].into_iter().find(|p| Path::new(p).exists());
        Server::start(Command::new(found.unwrap_or("mosquitto")).arg("-c").arg(config), at).await
    }

    /// VictoriaMetrics, single node, that keeps ten years.
    pub async fn victoria_metrics(folder: &Path) -> Option<Self> {
        let at = free_port();
        let mut command = Command::new("victoria-metrics");
        command
            .arg(format!("-storageDataPath={}", folder.join("data").display()))
            .arg(format!("-httpListenAddr={at}"))
            .args(["-retentionPeriod=10y", "-search.latencyOffset=0s", "-search.disableCache"]);
        Server::start(&mut command, at).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
