//! What is true now, for whoever asks: the newest sample of every series, every asset's state, every open alert.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use super::judge::{JudgeMessage, Order};
use super::station::{Station, StationTable};
use crate::alert::{Alert, AlertError, AlertId, Engine};
use crate::live::AssetState;
use crate::model::{AssetNumber, DeviceId, Measurement, Sample, SeriesId, Timestamp};

/// How long an import's answer waits for the pipeline: building stations for 100 000 devices takes less.
const CATCH_UP: Duration = Duration::from_secs(10);

/// What the API may ask of the running pipeline. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Present {
    pub(super) stations: Arc<ArcSwap<StationTable>>,
    pub(super) now: Arc<Now>,
    pub(super) judge: mpsc::WeakSender<JudgeMessage>,
    pub(super) taken_up: watch::Receiver<u64>,
}

/// The judge writes it, once per commit; everybody reads it.
#[derive(Debug, Default)]
pub(super) struct Now {
    latest: RwLock<Vec<Option<Sample>>>,
    states: RwLock<HashMap<AssetNumber, AssetState>>,
    alerts: ArcSwap<Vec<Arc<Alert>>>,
}

impl Now {
    pub(super) fn latest(&self) -> RwLockReadGuard<'_, Vec<Option<Sample>>> {
        self.latest.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn latest_mut(&self) -> RwLockWriteGuard<'_, Vec<Option<Sample>>> {
        self.latest.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn states_mut(&self) -> RwLockWriteGuard<'_, HashMap<AssetNumber, AssetState>> {
        self.states.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_alerts(&self, open: Vec<Arc<Alert>>) {
        self.alerts.store(Arc::new(open));
    }
}

/// Makes `measurement` the newest of its series, if it is.
pub(super) fn take(latest: &mut Vec<Option<Sample>>, measurement: Measurement) -> bool {
    let index = measurement.series.index();
    if latest.len() <= index {
        latest.resize(index + 1, None);
    }
    let is_newest = latest[index].is_none_or(|old| measurement.observed_at > old.observed_at);
    if is_newest {
        latest[index] = Some(measurement.into());
    }
    is_newest
}

impl Present {
    /// The stations now.
    pub fn stations(&self) -> Arc<StationTable> {
        self.stations.load_full()
    }

    /// Waits until the pipeline works with this version of the town, or a newer one: whoever imported a device may then
    /// connect it. Gives up after [`CATCH_UP`].
    pub async fn caught_up(&self, town_version: u64) {
        let mut taken_up = self.taken_up.clone();
        let caught_up = taken_up.wait_for(|version| *version >= town_version);
        // Late is better than an error for a change that is on disk.
        let _ = timeout(CATCH_UP, caught_up).await;
    }

    /// A device's station.
    pub fn station(&self, device: &DeviceId) -> Option<Arc<Station>> {
        self.stations.load().get(device.as_str()).cloned()
    }

    /// The newest sample of a series.
    pub fn latest(&self, series: SeriesId) -> Option<Sample> {
        self.now.latest().get(series.index()).copied().flatten()
    }

    /// What the map shows of an asset; `None` for an asset that no device observes.
    pub fn state(&self, asset: AssetNumber) -> Option<AssetState> {
        self.now.states.read().unwrap_or_else(PoisonError::into_inner).get(&asset).copied()
    }

    /// Every open alert, worst first, then newest first.
    pub fn open_alerts(&self) -> Arc<Vec<Arc<Alert>>> {
        self.now.alerts.load_full()
    }

    /// Acknowledges an alert for `who`; returns when that is on disk.
    ///
    /// # Errors
    /// When there is no such alert, somebody was faster, or the disk refuses.
    pub async fn acknowledge(
        &self,
        id: AlertId,
        version: Option<u32>,
        who: &str,
        note: Option<&str>,
    ) -> Result<Alert, AlertError> {
        let (who, note) = (who.to_owned(), note.map(str::to_owned));
        self.order(move |engine, now| engine.acknowledge(id, version, &who, note.as_deref(), now))
            .await
    }

    /// Changes the alerts for a person; returns when what was made is on disk.
    ///
    /// # Errors
    /// What `make` says, or that the disk refuses or the hub goes down.
    pub async fn order<T: Send + 'static>(
        &self,
        make: impl FnOnce(&mut Engine, Timestamp) -> Result<T, AlertError> + Send + 'static,
    ) -> Result<T, AlertError> {
        let (reply, answer) = oneshot::channel();
        let order = Order::new(make, move |outcome| {
            // A page that has gone away does not need its answer.
            let _ = reply.send(outcome);
        });
        self.tell(JudgeMessage::Order(order)).await?;
        answer.await.map_err(|_| AlertError::ShuttingDown)?
    }

    /// Tells the judge that the rule book changed; returns when it judges by it.
    ///
    /// # Errors
    /// When the hub goes down.
    pub async fn rules_changed(&self) -> Result<(), AlertError> {
        self.tell(JudgeMessage::Stations).await?;
        self.order(|_, _| Ok(())).await
    }

    async fn tell(&self, message: JudgeMessage) -> Result<(), AlertError> {
        let judge = self.judge.upgrade().ok_or(AlertError::ShuttingDown)?;
        judge.send(message).await.map_err(|_| AlertError::ShuttingDown)
    }
}
