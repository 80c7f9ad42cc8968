//! The one writer: takes every batch that waits, brings them to the disk in one commit, and tells who asked.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;
use tracing::{error, info};

use super::Counters;
use super::intake::{Batch, Budget, Intake};
use super::judge::JudgeMessage;
use super::station::StationTable;
use crate::model::Measurement;
use crate::store::{CommitSeq, Store};

/// The largest commit: 20 000 readings are written in a few milliseconds, so that the readings behind them do not
/// wait longer than that.
const COMMIT_READINGS: usize = 20_000;

/// Wait between two tries to write to a disk that refuses: nothing is acknowledged meanwhile, and the sockets stand.
const RETRY: Duration = Duration::from_millis(500);

/// Whether the store takes what it is given.
#[derive(Debug, Default)]
pub struct StoreHealth {
    failures: AtomicU32,
    last: Mutex<String>,
    /// Why nothing may be written now, whatever the store would say.
    refusal: Mutex<Option<String>>,
}

impl StoreHealth {
    /// Why the store refuses to write, if it does.
    pub fn failure(&self) -> Option<String> {
        let failed = || {
            (self.failures.load(Ordering::Relaxed) > 0)
                .then(|| self.last.lock().unwrap_or_else(PoisonError::into_inner).clone())
        };
        self.refusal().or_else(failed)
    }

    /// Has readings refused from now on, and says why; `None` has them taken again. Whoever asks for it tells people.
    pub fn refuse(&self, why: Option<String>) {
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    fn refusal(&self) -> Option<String> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn failed(&self, why: String) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = why;
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    fn recovered(&self) {
        self.failures.store(0, Ordering::Relaxed);
    }
}

/// What a commit brought to the disk, on its way to the judge.
#[derive(Debug)]
pub struct Commit {
    pub(super) seq: CommitSeq,
    pub(super) batches: Vec<Vec<Measurement>>,
}

/// The writer's thread and its queue.
#[derive(Debug)]
pub struct Committer {
    thread: thread::JoinHandle<()>,
}

struct Writer {
    store: Arc<dyn Store>,
    queue: mpsc::UnboundedReceiver<Batch>,
    budget: Arc<Budget>,
    judge: mpsc::Sender<JudgeMessage>,
    counters: Arc<Counters>,
    health: Arc<StoreHealth>,
}

impl Committer {
    /// Starts the writer's thread. It ends when every [`Intake`] is gone and the queue is written.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(
        store: Arc<dyn Store>,
        stations: Arc<ArcSwap<StationTable>>,
        judge: mpsc::Sender<JudgeMessage>,
        counters: Arc<Counters>,
        health: Arc<StoreHealth>,
    ) -> std::io::Result<(Self, Intake)> {
        // Bounded by the budget: every batch costs at least one reading of it.
        let (sender, queue) = mpsc::unbounded_channel();
        let budget = Arc::new(Budget::new());
        let intake = Intake::new(stations, sender, Arc::clone(&budget), Arc::clone(&counters));
        let writer = Writer { store, queue, budget, judge, counters, health };
        let thread = thread::Builder::new().name("committer".to_owned()).spawn(|| writer.run())?;
        Ok((Committer { thread }, intake))
    }

    /// Waits for the thread's end. Blocks.
    pub fn join(self) {
        if self.thread.join().is_err() {
            error!("the committer thread panicked");
        }
    }
}

impl Writer {
    fn run(mut self) {
        let mut waiting = Vec::new();
        while let Some(first) = self.queue.blocking_recv() {
            let mut readings = first.measurements.len();
            waiting.push(first);
            while readings < COMMIT_READINGS {
                let Ok(batch) = self.queue.try_recv() else { break };
                readings += batch.measurements.len();
                waiting.push(batch);
            }
            self.commit(&mut waiting, readings);
        }
        info!("every reading is on disk");
    }

    fn commit(&mut self, waiting: &mut Vec<Batch>, readings: usize) {
        let seq = (readings > 0).then(|| self.append(waiting));
        let cost = waiting.iter().map(|batch| batch.cost).sum();
        let mut batches = Vec::with_capacity(waiting.len());
        for batch in waiting.drain(..) {
            if let Some(receipt) = batch.receipt {
                receipt.sign();
            }
            if !batch.measurements.is_empty() {
                batches.push(batch.measurements);
            }
        }
        self.budget.give_back(cost);
        if let Some(seq) = seq {
            self.counters.committed(readings as u64);
            // The judge ends after this thread; a refusal can only mean that it panicked, which it has reported.
            let _ = self.judge.blocking_send(JudgeMessage::Commit(Commit { seq, batches }));
        }
    }

    /// Appends until the store takes it: a reading that a device may still be told of is never given up.
    fn append(&self, waiting: &[Batch]) -> CommitSeq {
        let slices: Vec<&[Measurement]> =
            waiting.iter().map(|batch| batch.measurements.as_slice()).collect();
        loop {
            if self.health.refusal().is_some() {
                thread::sleep(RETRY);
                continue;
            }
            match self.store.append(&slices) {
                Ok(seq) => {
                    self.health.recovered();
                    return seq;
                }
                Err(why) => {
                    let chain = crate::error_chain(&why);
                    error!(error = %chain, "cannot write readings; trying again, nothing is acknowledged");
                    self.health.failed(chain);
                    thread::sleep(RETRY);
                }
            }
        }
    }
}
