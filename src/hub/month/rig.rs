//! The hub's rooms without their doors, on a clock that the test holds: what a device says goes in by the same intake as
//! from the doors, and the judge and the office look at the time when they are told to.

use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;
use tokio::sync::mpsc;
use townsim::town::Town;
use townsim::world::GateView;

use super::super::Rooms;
use crate::alert::{Alert, AlertError, AlertId};
use crate::case::{CaseError, Desk, Office, OfficeThread};
use crate::clock::{Clock, ManualClock};
use crate::config::Config;
use crate::model::{PointIndex, ProfileId, Reading, Sample, Timestamp};
use crate::pipeline::{
    Bill, Committer, Counters, Draft, Intake, Judge, JudgeMessage, Present, Progress,
    ReadingCounts, Receipt, StoreHealth,
};
use crate::profile::{Read, Table};
use crate::registry::{ImportMode, ImportReport};

/// The rooms at work.
pub(super) struct Rig {
    pub(super) rooms: Rooms,
    pub(super) present: Present,
    intake: Intake,
    judge: mpsc::Sender<JudgeMessage>,
    pub(super) office: Office,
    threads: (Committer, Judge, OfficeThread),
    hand: ManualClock,
    clock: Clock,
    counters: Arc<Counters>,
    progress: Arc<Progress>,
    receipts: u64,
    draft: Draft,
    bills: Vec<Bill>,
    /// Payloads that no profile could read.
    pub(super) undecoded: usize,
    _folder: TempDir,
}

impl Rig {
    /// A hub that knows the town and its profiles, and has heard nothing yet.
    pub(super) fn new(town: &Town, start: Timestamp, mut config: Config) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        config.data = folder.path().join("data");
        config.profiles = folder.path().join("profiles");
        std::fs::create_dir(&config.data).expect("a folder");
        copy_profiles(&config.profiles);
        let (clock, hand) = Clock::manual(start);
        let rooms = Rooms::open(&config, clock.clone()).expect("the rooms open");
        import(&rooms, town);
        rooms.rebuild(&|_| None).expect("stations");
        let parts = rooms.judge_parts(&config).expect("the judge's parts");
        let (thread, judge, present) = Judge::start(parts, Vec::new()).expect("a judge");
        let counters = Arc::new(Counters::default());
        let (committer, intake) = Committer::start(
            Arc::clone(&rooms.store),
            Arc::clone(&rooms.stations),
            judge.clone(),
            Arc::clone(&counters),
            Arc::new(StoreHealth::default()),
        )
        .expect("a committer");
        let (office, office_thread) = rooms.office(&config, &present).expect("an office");
        Rig {
            rooms,
            present,
            intake,
            judge,
            office,
            threads: (committer, thread, office_thread),
            hand,
            clock,
            counters,
            progress: Arc::default(),
            receipts: 0,
            draft: Draft::default(),
            bills: Vec::new(),
            undecoded: 0,
            _folder: folder,
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn set_time(&self, now: Timestamp) {
        self.hand.set(now);
    }

    /// A device publishes.
    pub(super) fn hear(&mut self, device: &str, topic: &str, payload: &[u8]) {
        let stations = self.intake.stations();
        let station = stations.get(device).expect("a known device");
        let mut desk = self.intake.desk(station, self.clock.now(), &mut self.draft);
        self.undecoded += usize::from(desk.message(topic, payload).is_err());
        self.bills.push(desk.hand_in(None).expect("the hub is up"));
    }

    /// The poller reads a gate's controller, if it answers.
    pub(super) fn poll(&mut self, device: &str, gate: &GateView) {
        if !gate.online {
            return;
        }
        let stations = self.intake.stations();
        let station = stations.get(device).expect("a known device");
        let readings: Vec<Reading> = station
            .profile
            .points
            .iter()
            .enumerate()
            .filter_map(|(index, point)| {
                let Read::Register(read) = &point.read else { return None };
                let words: Vec<u16> = (0..read.kind.words())
                    .map(|word| word_of(gate, read.table, read.address + word))
                    .collect();
                let raw = read.decode(&words).unwrap_or(f64::NAN);
                Some(Reading { point: PointIndex(index as u16), raw, comm_fault: false })
            })
            .collect();
        let mut desk = self.intake.desk(station, self.clock.now(), &mut self.draft);
        desk.polled(&readings);
        self.bills.push(desk.hand_in(None).expect("the hub is up"));
    }

    /// Waits until everything that was handed in is on disk and judged, then lets the judge and the office look at the
    /// time, in this order.
    pub(super) async fn settle(&mut self) {
        for bill in std::mem::take(&mut self.bills) {
            bill.pay().await;
        }
        // A receipt is signed before its commit goes to the judge, and the next one after that.
        self.seal().await;
        self.seal().await;
        self.judge.send(JudgeMessage::Tick).await.expect("the judge works");
        self.judged().await;
        self.office.tick();
        self.ask(|_| Ok(())).await.expect("the office is open");
    }

    async fn seal(&mut self) {
        self.receipts += 1;
        let progress = Arc::clone(&self.progress);
        let receipt = Receipt { progress, number: self.receipts };
        self.intake.seal(receipt).expect("the hub is up").pay().await;
        while self.progress.durable() < self.receipts {
            self.progress.changed().await;
        }
    }

    /// The judge answers in the order of asking.
    async fn judged(&self) {
        let nobody = AlertId(u64::MAX);
        let answer = self.present.acknowledge(nobody, None, "nobody", None).await;
        assert!(matches!(answer, Err(AlertError::NotFound(_))), "{answer:?}");
    }

    /// Asks the office something.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Desk) -> Result<T, CaseError> + Send + 'static,
    ) -> Result<T, CaseError> {
        self.office.ask(question).await
    }

    pub(super) fn open_alerts(&self) -> Vec<Arc<Alert>> {
        self.present.open_alerts().to_vec()
    }

    /// The newest sample of a device's point.
    pub(super) fn latest(&self, device: &str, point: &str) -> Option<Sample> {
        let station = self.present.station(&device.parse().expect("an id"))?;
        let (index, _) = station.profile.point(point)?;
        self.present.latest(station.series[usize::from(index.0)])
    }

    pub(super) fn counts(&self) -> ReadingCounts {
        self.counters.read()
    }

    /// Ends every thread, in the hub's order.
    pub(super) async fn stop(self) {
        let Rig { intake, judge, threads: (committer, thread, office), .. } = self;
        drop((intake, judge));
        let joined = tokio::task::spawn_blocking(move || {
            committer.join();
            thread.join();
            office.join();
        });
        joined.await.expect("the threads end");
    }
}

/// The town's own models only: the codecs of the others would be started for nothing.
fn copy_profiles(to: &Path) {
    std::fs::create_dir(to).expect("a folder");
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("device-profiles");
    for entry in std::fs::read_dir(shipped).expect("the profiles") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        if name.starts_with("wz-") {
            std::fs::copy(&path, to.join(name)).expect("copied");
        }
    }
}

fn import(rooms: &Rooms, town: &Town) {
    let taken = |report: ImportReport| assert_eq!(report.rejected, 0, "{report:?}");
    let registry = &rooms.registry;
    taken(registry.import_zones(&town.zones.to_string(), ImportMode::Apply).expect("zones"));
    let assets = town.assets_geojson().to_string();
    taken(registry.import_assets(&assets, ImportMode::Apply).expect("assets"));
    let endpoint = |gate| format!("127.0.0.1:{}", 15_020 + gate);
    let devices = town.devices_csv(endpoint, |id| format!("secret of {id}, long enough"));
    let profiles: Vec<ProfileId> = rooms.profiles.load().profiles.keys().cloned().collect();
    let devices = devices.expect("a table");
    taken(registry.import_devices_csv(&devices, &profiles, ImportMode::Apply).expect("devices"));
}

/// What a controller answers.
fn word_of(gate: &GateView, table: Table, address: u16) -> u16 {
    match table {
        Table::Holding => townsim::modbus::holding(gate, address),
        Table::Input => townsim::modbus::input(gate, address),
        Table::Discrete => {
            u16::from(gate.switches.get(usize::from(address)).copied().unwrap_or(false))
        }
        Table::Coil => 0,
    }
}
