//! The queue between the sockets and the disk: what a slow disk and a failing disk do to it.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc as std_mpsc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::intake::{Batch, Budget, IN_FLIGHT_READINGS};
use super::*;
use crate::model::{Measurement, Quality, Sample, SeriesId, Timestamp};
use crate::store::{CommitSeq, Nature, SeriesKey, Steps, Store, StoreError, StoreStats};

/// A disk whose every commit waits for a word of the test, and fails when told to.
struct Disk {
    allow: Mutex<std_mpsc::Receiver<()>>,
    is_broken: AtomicBool,
    commits: AtomicU64,
}

impl Store for Disk {
    fn series(&self, _: &[SeriesKey]) -> Result<Vec<SeriesId>, StoreError> {
        Ok(Vec::new())
    }

    fn describe(&self, _: &[(SeriesId, Nature)]) -> Result<(), StoreError> {
        Ok(())
    }

    fn all_series(&self) -> Vec<SeriesKey> {
        Vec::new()
    }

    fn append(&self, _: &[&[Measurement]]) -> Result<CommitSeq, StoreError> {
        // The test's end is an end of waiting, too.
        let _ = self.allow.lock().unwrap().recv();
        if self.is_broken.swap(false, Ordering::SeqCst) {
            return Err(StoreError::BadQuery("the disk is full".to_owned()));
        }
        Ok(CommitSeq(self.commits.fetch_add(1, Ordering::SeqCst) + 1))
    }

    fn range(
        &self,
        _: SeriesId,
        _: Timestamp,
        _: Timestamp,
        _: usize,
    ) -> Result<Vec<Sample>, StoreError> {
        Ok(Vec::new())
    }

    fn aggregate(
        &self,
        _: SeriesId,
        _: Timestamp,
        _: Timestamp,
        _: Duration,
    ) -> Result<Steps, StoreError> {
        Ok(Steps { tier: None, buckets: Vec::new() })
    }

    fn latest(&self) -> Result<Vec<(SeriesId, Sample)>, StoreError> {
        Ok(Vec::new())
    }

    fn replay(
        &self,
        _: CommitSeq,
        _: &mut dyn FnMut(CommitSeq, &[Measurement]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        Ok(())
    }

    fn release(&self, _: CommitSeq) {}

    fn delete_before(&self, _: Timestamp) -> Result<u64, StoreError> {
        Ok(0)
    }

    fn stats(&self) -> Result<StoreStats, StoreError> {
        Ok(StoreStats::default())
    }
}

struct Rig {
    intake: Intake,
    allow: std_mpsc::Sender<()>,
    disk: Arc<Disk>,
    health: Arc<StoreHealth>,
    judged: mpsc::Receiver<JudgeMessage>,
}

fn rig() -> Rig {
    let (allow, allowed) = std_mpsc::channel();
    let disk = Arc::new(Disk {
        allow: Mutex::new(allowed),
        is_broken: AtomicBool::new(false),
        commits: AtomicU64::new(0),
    });
    let health = Arc::new(StoreHealth::default());
    let (judge, judged) = mpsc::channel(1_024);
    let store: Arc<dyn Store> = disk.clone();
    let (_committer, intake) =
        Committer::start(store, Arc::default(), judge, Arc::default(), Arc::clone(&health))
            .unwrap();
    Rig { intake, allow, disk, health, judged }
}

fn readings(n: usize) -> Vec<Measurement> {
    let reading = Measurement {
        series: SeriesId(0),
        quality: Quality::GOOD,
        observed_at: Timestamp::EPOCH,
        received_at: Timestamp::EPOCH,
        value: 1.0,
    };
    vec![reading; n]
}

async fn submit(intake: &Intake, n: usize, receipt: Receipt) {
    let bill = intake.post(readings(n), Some(receipt)).unwrap();
    bill.pay().await;
}

const PATIENCE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_standing_disk_stops_the_sockets_and_nothing_is_acknowledged() {
    let rig = rig();
    let progress = Arc::new(Progress::default());
    let receipt = |number| Receipt { progress: Arc::clone(&progress), number };
    let batches = 4;
    for number in 1..=batches {
        submit(&rig.intake, IN_FLIGHT_READINGS / 4, receipt(number)).await;
    }
    let over = submit(&rig.intake, 1, receipt(5));
    let waits = timeout(Duration::from_millis(50), over).await;
    assert!(waits.is_err(), "the budget is spent: whoever hands in more waits");
    assert_eq!(progress.durable(), 0);
    for number in 1..=batches {
        rig.allow.send(()).unwrap();
        while progress.durable() < number {
            timeout(PATIENCE, progress.changed()).await.expect("a receipt is signed");
        }
    }
    timeout(PATIENCE, submit(&rig.intake, 1, receipt(6))).await.expect("room again");
    rig.allow.send(()).unwrap();
    rig.allow.send(()).unwrap();
    timeout(PATIENCE, async {
        while progress.durable() < 6 {
            progress.changed().await;
        }
    })
    .await
    .expect("the last receipt is signed");
}

#[tokio::test]
async fn a_failing_disk_is_tried_again_and_loses_nothing() {
    let mut rig = rig();
    let progress = Arc::new(Progress::default());
    rig.disk.is_broken.store(true, Ordering::SeqCst);
    let receipt = Receipt { progress: Arc::clone(&progress), number: 1 };
    submit(&rig.intake, 3, receipt).await;
    rig.allow.send(()).unwrap();
    let broken = async {
        while rig.health.failure().is_none() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, broken).await.expect("the failure is told");
    assert_eq!(progress.durable(), 0, "nothing is acknowledged");
    rig.allow.send(()).unwrap();
    timeout(PATIENCE, progress.changed()).await.expect("written at the second try");
    assert_eq!((progress.durable(), rig.health.failure()), (1, None));
    let judged = timeout(PATIENCE, rig.judged.recv()).await.expect("handed on").expect("open");
    let JudgeMessage::Commit(commit) = judged else { panic!("a commit: {judged:?}") };
    assert_eq!((commit.seq, commit.batches), (CommitSeq(1), vec![readings(3)]));
}

#[tokio::test]
async fn a_seal_is_signed_after_everything_that_was_handed_in_before_it() {
    let rig = rig();
    let progress = Arc::new(Progress::default());
    // Each fills a commit of its own; a gateway hands its stations' shares in without a receipt.
    for _ in 0..2 {
        rig.intake.post(readings(20_000), None).unwrap().pay().await;
    }
    let receipt = Receipt { progress: Arc::clone(&progress), number: 1 };
    rig.intake.seal(receipt).unwrap().pay().await;
    rig.allow.send(()).unwrap();
    let first = async {
        while rig.disk.commits.load(Ordering::SeqCst) < 1 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, first).await.expect("the first share is on disk");
    assert_eq!(progress.durable(), 0, "the second is not");
    rig.allow.send(()).unwrap();
    timeout(PATIENCE, progress.changed()).await.expect("the seal is signed");
    assert_eq!((progress.durable(), rig.disk.commits.load(Ordering::SeqCst)), (1, 2));
}

#[tokio::test]
async fn who_leaves_without_paying_does_not_widen_the_budget() {
    let budget = Arc::new(Budget::new());
    let first = budget.charge(IN_FLIGHT_READINGS);
    let left = budget.charge(1_000);
    drop(left);
    let cancelled = timeout(Duration::from_millis(1), budget.charge(500).pay()).await;
    assert!(cancelled.is_err(), "there is no room");
    first.pay().await;
    budget.give_back(IN_FLIGHT_READINGS);
    budget.give_back(1_000 + 500);
    assert_eq!(budget.free(), IN_FLIGHT_READINGS);
}

#[test]
fn a_batch_is_small() {
    // Between socket and disk there are at most IN_FLIGHT_READINGS of them, mostly one per read buffer.
    assert!(size_of::<Batch>() <= 64, "{}", size_of::<Batch>());
    assert!(size_of::<Measurement>() <= 40, "{}", size_of::<Measurement>());
}
