//! The pool: a bounded queue of calls, and a thread for each child that takes from it as much as fits into a frame.
//!
//! Calls of many sessions meet in the queue, so the busier the hub is, the fuller the frames are; a call that comes alone
//! goes alone, at once.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::{Semaphore, oneshot};

use super::breaker::Breaker;
use super::limits::{CHILDREN, FRAME_CALLS, QUEUED_CALLS};
use super::stats::{Counters, Stats};
use super::worker::Worker;
use super::{CodecError, Job, Outcome};

/// Runs codecs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Codecs(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    news: Condvar,
    room: Semaphore,
    breaker: Mutex<Breaker>,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Ticket>,
    is_closed: bool,
}

/// A call that waits, and where its outcome goes.
#[derive(Debug)]
struct Ticket {
    job: Job,
    reply: oneshot::Sender<Outcome>,
}

/// A poisoned lock holds what it held: each of them is changed in one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Codecs {
    /// A pool whose children are `program`'s `codec-child`, started when they are needed; without a program the calls are
    /// made in the pool's own threads (see [`Worker::new`]).
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(program: Option<PathBuf>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            news: Condvar::new(),
            room: Semaphore::new(QUEUED_CALLS),
            breaker: Mutex::default(),
            counters: Arc::default(),
        });
        let pool = Pool { shared: Arc::clone(&shared), threads: Mutex::default() };
        for n in 0..CHILDREN {
            let (shared, program) = (Arc::clone(&shared), program.clone());
            let serve = move || {
                let counters = Arc::clone(&shared.counters);
                shared.serve(&mut Worker::counted(program, counters));
            };
            let thread = std::thread::Builder::new().name(format!("codec-{n}")).spawn(serve)?;
            lock(&pool.threads).push(thread);
        }
        Ok(Codecs(Arc::new(pool)))
    }

    /// Makes the calls; the outcomes come in the order of the jobs. Waits for its turn when the queue is full, never longer
    /// than the calls before it may take.
    pub async fn call(&self, jobs: Vec<Job>) -> Vec<Outcome> {
        let shared = &self.0.shared;
        let mut replies = Vec::with_capacity(jobs.len());
        for job in jobs {
            let admitted = lock(&shared.breaker).admit(&job, Instant::now());
            replies.push(match admitted {
                Ok(()) => Ok(shared.enqueue(job).await),
                Err(suspended) => Err(suspended),
            });
        }
        shared.news.notify_one();
        let mut outcomes = Vec::with_capacity(replies.len());
        for reply in replies {
            let outcome = match reply {
                Ok(reply) => reply.await.unwrap_or_else(|_| Err(closed())),
                Err(suspended) => {
                    let outcome = Err(suspended);
                    shared.counters.outcome(&outcome);
                    outcome
                }
            };
            outcomes.push(outcome);
        }
        outcomes
    }

    /// The figures so far.
    pub fn stats(&self) -> Stats {
        self.0.shared.counters.read()
    }

    /// Ends the children after the frames that they have; whoever waits is told so.
    pub async fn stop(&self) {
        self.0.shared.close();
        let threads = std::mem::take(&mut *lock(&self.0.threads));
        let ended = tokio::task::spawn_blocking(move || {
            // A thread that panicked has ended too.
            threads.into_iter().for_each(|thread| drop(thread.join()));
        });
        // The runtime is going down: then nobody waits.
        let _ = ended.await;
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.close();
    }
}

fn closed() -> CodecError {
    CodecError::Unavailable("the hub is shutting down".to_owned())
}

impl Shared {
    async fn enqueue(&self, job: Job) -> oneshot::Receiver<Outcome> {
        let (reply, outcome) = oneshot::channel();
        if self.room.available_permits() == 0 {
            // What was put in by this very caller must be seen before it waits.
            self.news.notify_all();
        }
        // The semaphore is never closed. A permit is given back when the job is taken out.
        if let Ok(permit) = self.room.acquire().await {
            permit.forget();
        }
        let mut queue = lock(&self.queue);
        if !queue.is_closed {
            queue.waiting.push_back(Ticket { job, reply });
            if queue.waiting.len() > FRAME_CALLS {
                self.news.notify_one();
            }
        }
        outcome
    }

    fn close(&self) {
        let mut queue = lock(&self.queue);
        queue.is_closed = true;
        queue.waiting.clear();
        self.news.notify_all();
    }

    /// A thread's life.
    fn serve(&self, worker: &mut Worker) {
        while let Some(tickets) = self.next_frame() {
            let (jobs, replies): (Vec<Job>, Vec<_>) =
                tickets.into_iter().map(|ticket| (ticket.job, ticket.reply)).unzip();
            let start = Instant::now();
            let outcomes = worker.run(&jobs);
            let now = Instant::now();
            self.counters.frame(now - start);
            let mut breaker = lock(&self.breaker);
            for (job, outcome) in jobs.iter().zip(&outcomes) {
                self.counters.outcome(outcome);
                breaker.note(job, outcome, now);
            }
            drop(breaker);
            for (reply, outcome) in replies.into_iter().zip(outcomes) {
                // Whoever asked may be gone.
                let _ = reply.send(outcome);
            }
        }
    }

    /// Waits for calls and takes a frame of them; `None` when the pool is closed.
    fn next_frame(&self) -> Option<Vec<Ticket>> {
        let mut queue = lock(&self.queue);
        while queue.waiting.is_empty() {
            if queue.is_closed {
                return None;
            }
            queue = self.news.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        let count = queue.waiting.len().min(FRAME_CALLS);
        let tickets: Vec<Ticket> = queue.waiting.drain(..count).collect();
        if !queue.waiting.is_empty() {
            self.news.notify_one();
        }
        self.room.add_permits(count);
        Some(tickets)
    }
}
