//! ejabberd's MQTT 5 broker from Debian as a child process: another hand's reading of the standard, without `$share`.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A broker that lets everybody in who calls himself a user of `localhost`. Killed when dropped.
pub struct Ejabberd {
    pub address: SocketAddr,
    child: Child,
    _folder: tempfile::TempDir,
}

impl Ejabberd {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("an address");
        drop(free);
        let text = format!(
            "hosts: [localhost]\nloglevel: error\nauth_method: [anonymous]\nanonymous_protocol: login_anon\n\
             allow_multiple_connections: true\nlisten:\n  - {{port: {}, ip: \"127.0.0.1\", module: mod_mqtt}}\n\
             modules:\n  mod_mqtt: {{access_publish: {{}}, access_subscribe: {{}}, max_queue: 100000, \
             session_expiry: 24h}}\n",
            address.port()
        );
        let config = folder.path().join("ejabberd.yml");
        std::fs::write(&config, text).expect("a file");
        // Not by `ejabberdctl`: that one changes the user and needs a name service of Erlang's own.
        let child = Command::new("erl")
            .args(["-noinput", "-mnesia", "dir"])
            .arg(format!("{:?}", folder.path().join("mnesia")))
            .args(["-pa", &code(), "-s", "ejabberd"])
            .env("EJABBERD_CONFIG_PATH", &config)
            .env("EJABBERD_LOG_PATH", folder.path().join("log"))
            .env("HOME", folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("erl; `make deps` installs it with ejabberd");
        let mut broker = Ejabberd { address, child, _folder: folder };
        for _ in 0..3_000 {
            if tokio::net::TcpStream::connect(address).await.is_ok() {
                return broker;
            }
            let ended = broker.child.try_wait().expect("a child");
            assert!(ended.is_none(), "ejabberd ended: {ended:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("ejabberd does not listen on {address}");
    }
}

/// Where Debian keeps its compiled code; the folder carries the version.
fn code() -> String {
    let libraries = std::fs::read_dir("/usr/lib").expect("a folder").flatten();
    let mut found = libraries
        .filter_map(|entry| std::fs::read_dir(entry.path()).ok())
        .flat_map(|entries| entries.flatten())
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("ejabberd-"))
        .map(|entry| entry.path().join("ebin"))
        .filter(|ebin| ebin.join("mod_mqtt.beam").exists());
    let ebin = found.next().expect("ejabberd; `make deps` installs it");
    ebin.to_str().expect("text").to_owned()
}

impl Drop for Ejabberd {
    fn drop(&mut self) {
        // Already gone when it broke down.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
