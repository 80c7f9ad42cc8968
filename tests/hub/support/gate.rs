//! A gate of townsim on a real Modbus port, whose time runs as fast as a test wants, and two operators.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use townsim::gate::{Condition, Gate};
use townsim::modbus::{Controller, serve};
use townsim::world::GateView;

use super::live::Live;
use super::process::{Home, HubProcess};

/// The town's own gate profile, in a hurry: what takes minutes there takes seconds here.
const HURRY: [(&str, &str); 6] = [
    ("max_rate = 2.0 ", "# max_rate "),
    ("fast = \"1s\"", "fast = \"200ms\""),
    (
        "within = \"8min\", lost_after = \"30s\"",
        "within = \"4s\", every = \"50ms\", lost_after = \"2s\"",
    ),
    ("fresh    = \"60s\"", "fresh    = \"3s\""),
    ("timeout         = \"800ms\"", "timeout         = \"300ms\""),
    ("equals = \"stopped\", within", "equals = \"stopped\", every = \"50ms\", within"),
];

/// How often the gate's time moves.
const TICK: Duration = Duration::from_millis(10);

/// A hub with one gate, `sg-1`, thirty per cent open, and the operators li and wang.
pub struct GateTown {
    pub home: Home,
    pub gate: Arc<Mutex<Gate>>,
    pub controller: Controller,
    /// How many seconds pass for the gate in each of its ticks.
    pub pace: Arc<Mutex<f64>>,
    pub li: String,
    pub wang: String,
    address: SocketAddr,
    _stop: watch::Sender<bool>,
    _folder: tempfile::TempDir,
}

impl GateTown {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let profiles = folder.path().join("profiles");
        std::fs::create_dir(&profiles).expect("a folder");
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("device-profiles/wz-sg200.toml");
        let mut profile = std::fs::read_to_string(file).expect("the gate's profile");
        for (calm, hurried) in HURRY {
            assert!(profile.contains(calm), "the profile says {calm}");
            profile = profile.replace(calm, hurried);
        }
        std::fs::write(profiles.join("wz-sg200.toml"), profile).expect("a profile");
        let binary = Path::new(env!("CARGO_BIN_EXE_townhub"));
        let home = Home::new(binary, &folder.path().join("home"), &profiles, "");
        let [li, wang] = ["li", "wang"].map(|user| operator(&home, user));
        let gate = Arc::new(Mutex::new(Gate::new(2.0, 300)));
        let controller = Controller::new(view(&gate));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = watch::channel(false);
        let pace = Arc::new(Mutex::new(0.5));
        tokio::spawn(serve(listener, controller.clone(), stopped));
        tokio::spawn(run(Arc::clone(&gate), controller.clone(), Arc::clone(&pace)));
        GateTown { home, gate, controller, pace, li, wang, address, _stop: stop, _folder: folder }
    }

    /// Starts the hub, makes the gate known and waits until its opening is.
    pub async fn start(&self) -> HubProcess {
        let hub = self.home.start();
        let assets = "id,kind,name_zh,name_en,zone,parent,lon,lat\n\
            SG-1,sluice-gate,望津桥闸,Wangjin gate,,,120.4644,30.7487\n";
        let (status, report) =
            hub.post("/api/v1/assets/import", "text/csv", assets.to_owned()).await;
        assert_eq!(status, 200, "{report}");
        let devices = format!(
            "id,profile,asset,name_zh,name_en,modbus_endpoint,modbus_unit,secret\n\
             sg-1,wz-sg200,SG-1,闸,Gate,{},1,\n",
            self.address
        );
        let (status, report) = hub.post("/api/v1/devices/import", "text/csv", devices).await;
        assert_eq!(status, 200, "{report}");
        self.until_known(&hub).await;
        hub
    }

    /// Waits until every switch of the gate is known.
    pub async fn until_known(&self, hub: &HubProcess) {
        let mut live = Live::open(hub, "?assets=1").await;
        live.next("value", |rows| {
            let rows = rows.as_array().expect("rows");
            rows.iter().any(|row| row[2] == "water_intake" && row[4] == 0)
        })
        .await;
        // One answer of the controller brings the levels, another the switches: both have come once more.
        live.next("value", |rows| {
            let rows = rows.as_array().expect("rows");
            rows.iter().any(|row| row[2] == "opening" && row[4] == 0)
        })
        .await;
    }

    pub fn set(&self, condition: Condition, is: bool) {
        self.gate.lock().expect("a gate").set(condition, is);
    }

    pub fn opening(&self) -> u16 {
        self.gate.lock().expect("a gate").opening()
    }

    pub fn set_pace(&self, seconds: f64) {
        *self.pace.lock().expect("a pace") = seconds;
    }
}

/// Makes an operator; returns a token.
fn operator(home: &Home, user: &str) -> String {
    let run = |arguments: &[&str]| {
        let output = home.command(arguments).output().expect("the hub runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    run(&["user", "add", user, "--role", "operator"]);
    run(&["token", "create", "--label", "test", "--user", user])
}

fn view(gate: &Mutex<Gate>) -> GateView {
    GateView::new(&gate.lock().expect("a gate"), 1.2, 1.2)
}

/// The gate's life: hears what was written, moves, shows itself.
async fn run(gate: Arc<Mutex<Gate>>, controller: Controller, pace: Arc<Mutex<f64>>) {
    let mut tick = tokio::time::interval(TICK);
    loop {
        tick.tick().await;
        let seconds = *pace.lock().expect("a pace");
        {
            let mut gate = gate.lock().expect("a gate");
            if let Some(setpoint) = controller.take_setpoint() {
                gate.set_setpoint(setpoint);
            }
            if controller.take_stop() {
                gate.stop();
            }
            gate.step(seconds);
        }
        controller.show(view(&gate));
    }
}

/// A request of an operator with a JSON body; its status and its answer.
pub async fn ask(hub: &HubProcess, token: &str, path: &str, body: Value) -> (u16, Value) {
    let request = hub.request(Method::POST, path).bearer_auth(token).json(&body);
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    (status, response.json().await.expect("JSON"))
}

/// Selects an opening; panics when it is refused. Returns the id and the challenge.
pub async fn select(hub: &HubProcess, token: &str, opening: f64) -> (u64, String) {
    let body = json!({ "device": "sg-1", "command": "set_opening", "target": opening });
    let (status, answer) = ask(hub, token, "/api/v1/commands", body).await;
    assert_eq!(status, 201, "{answer}");
    let challenge = answer["challenge"].as_str().unwrap_or_default().to_owned();
    (answer["command"]["id"].as_u64().expect("an id"), challenge)
}

/// Confirms a command.
pub async fn confirm(hub: &HubProcess, token: &str, id: u64, challenge: &str) -> (u16, Value) {
    let path = format!("/api/v1/commands/{id}/confirm");
    ask(hub, token, &path, json!({ "challenge": challenge })).await
}

/// Waits for a command's end on the live feed.
pub async fn end_of(live: &mut Live, id: u64) -> Value {
    let is_end = |command: &Value| {
        command["id"] == id
            && !["selected", "confirmed", "executing"].map(Value::from).contains(&command["state"])
    };
    live.within(Duration::from_secs(20), "command", is_end).await.data
}

/// Waits until a command moves.
pub async fn until_moving(live: &mut Live, id: u64) {
    live.next("command", |command| command["id"] == id && command["step"] == "moving").await;
}
