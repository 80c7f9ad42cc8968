//! The post at work: its thread, a task for each channel, and the handle by which the rest of the hub speaks to it.
//!
//! One owner, no locks, in the order of asking, as the case room's office. A channel's task sends one message at a time and
//! reports; a slow or dead service harms only its own channel.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::thread;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tracing::error;
use utoipa::ToSchema;

use super::NotifyError;
use super::channel::{self, Answer, Channel, Failure, Publish, SEND_TIMEOUT, Unbuildable};
use super::post::{Counters, Job, Places, Post};
use crate::case::{Move, MoveKind, UnitId};
use crate::clock::Clock;
use crate::model::{Label, Timestamp};
use crate::trouble::Troubles;

/// Questions that wait: a report of each channel and some people.
const QUEUE: usize = 64;

/// What the room knows of the town beside its own tables.
pub trait Surroundings: Places + Send + 'static {}

impl<T: Places + Send + 'static> Surroundings for T {}

/// Moves cases for whoever answers.
pub trait Moves: Send + Sync {
    /// Makes a move in a user's name, guarded like his own; says what became of it.
    fn make(&self, user: String, request: MoveRequest) -> BoxFuture<'_, String>;
}

/// A move in a webhook's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MoveRequest {
    /// Which case.
    pub case: u64,
    /// The version that it was made on: when somebody was faster, or the answer comes twice, it is refused.
    pub version: u32,
    /// Which move: dispatch, accept, return, recall, handle, report, verify, reject, close.
    #[serde(rename = "move")]
    #[schema(value_type = String)]
    pub kind: MoveKind,
    /// A note for the others.
    pub note: Option<String>,
    /// dispatch: which unit.
    #[schema(value_type = Option<String>)]
    pub unit: Option<UnitId>,
    /// dispatch: who of the unit.
    pub person: Option<String>,
    /// return, recall, reject: why.
    pub reason: Option<String>,
    /// close: the reason of a site check.
    pub site_check: Option<String>,
}

impl MoveRequest {
    /// The case room's move; the case room guards it.
    ///
    /// # Errors
    /// When the move lacks its unit.
    pub fn into_move(self) -> Result<(Move, Option<String>), &'static str> {
        let reason = self.reason.unwrap_or_default();
        let wanted = match self.kind {
            MoveKind::Dispatch => {
                let unit = self.unit.ok_or("`dispatch` needs a `unit`")?;
                Move::Dispatch { unit, person: self.person }
            }
            MoveKind::Accept => Move::Accept,
            MoveKind::Return => Move::Return { reason },
            MoveKind::Recall => Move::Recall { reason },
            MoveKind::Handle => Move::Handle,
            MoveKind::Report => Move::Report,
            MoveKind::Verify => Move::Verify,
            MoveKind::Reject => Move::Reject { reason },
            MoveKind::Close => Move::Close { site_check: self.site_check },
        };
        Ok((wanted, self.note))
    }
}

type Question = Box<dyn FnOnce(&mut Desk) + Send>;

/// The handle. Cheap to clone; does not keep the room open.
#[derive(Debug, Clone)]
pub struct Notifier {
    questions: mpsc::WeakSender<Question>,
    counters: Arc<Counters>,
}

/// The room's thread, open until it is joined or dropped.
#[derive(Debug)]
pub struct NotifierThread {
    thread: thread::JoinHandle<()>,
    questions: mpsc::Sender<Question>,
}

/// The channels' tasks, not started yet.
pub struct Tasks {
    lanes: Vec<(mpsc::Receiver<Job>, Box<dyn Channel>)>,
    notifier: Notifier,
    moves: Arc<dyn Moves>,
    clock: Clock,
}

/// The post with what it needs at hand.
pub struct Desk {
    /// The owner of messages.
    pub post: Post,
    around: Box<dyn Surroundings>,
    clock: Clock,
    lanes: Vec<mpsc::Sender<Job>>,
    troubles: Troubles,
    /// An error that was logged and has not gone away: said once.
    is_failing: bool,
}

/// What the room needs to be built.
pub struct Parts {
    /// The owner.
    pub post: Post,
    /// Where things stand.
    pub around: Box<dyn Surroundings>,
    /// Moves cases.
    pub moves: Arc<dyn Moves>,
    /// The hub's own broker.
    pub broker: Arc<dyn Publish>,
    /// What is wrong with the hub, should the disk not take it.
    pub troubles: Troubles,
    /// What the town is called.
    pub town: Label,
    /// The time.
    pub clock: Clock,
}

/// Why the room does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A channel cannot be built.
    #[error(transparent)]
    Channel(#[from] Unbuildable),
    /// The system has no thread left.
    #[error("cannot start the notifier's thread")]
    Thread(#[from] std::io::Error),
}

impl Notifier {
    /// Builds the channels and starts the thread; the channels' tasks are the caller's to run.
    ///
    /// # Errors
    /// When a channel cannot be built, or the system has no thread left.
    pub fn start(parts: Parts) -> Result<(Self, NotifierThread, Tasks), StartError> {
        let Parts { post, around, moves, broker, troubles, town, clock } = parts;
        let mut senders = Vec::new();
        let mut lanes = Vec::new();
        for spec in &post.settings().channels {
            // One message is under way at most.
            let (sender, receiver) = mpsc::channel(1);
            senders.push(sender);
            lanes.push((receiver, channel::build(spec, &town, &broker)?));
        }
        let (questions, mut queue) = mpsc::channel::<Question>(QUEUE);
        let counters = post.counters();
        let mut desk = Desk {
            post,
            around,
            clock: clock.clone(),
            lanes: senders,
            troubles,
            is_failing: false,
        };
        let thread = thread::Builder::new().name("notifier".to_owned()).spawn(move || {
            while let Some(question) = queue.blocking_recv() {
                question(&mut desk);
            }
        })?;
        let notifier = Notifier { questions: questions.downgrade(), counters };
        let tasks = Tasks { lanes, notifier: notifier.clone(), moves, clock };
        Ok((notifier, NotifierThread { thread, questions }, tasks))
    }

    /// Does something with the post and returns its answer.
    ///
    /// # Errors
    /// What the question returns; [`NotifyError::ShuttingDown`] when the room is closed.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Desk) -> Result<T, NotifyError> + Send + 'static,
    ) -> Result<T, NotifyError> {
        let (reply, answer) = oneshot::channel();
        let question: Question = Box::new(move |desk| {
            // Whoever went away does not need the answer.
            let _ = reply.send(question(desk));
        });
        let questions = self.questions.upgrade().ok_or(NotifyError::ShuttingDown)?;
        questions.send(question).await.map_err(|_| NotifyError::ShuttingDown)?;
        drop(questions);
        answer.await.map_err(|_| NotifyError::ShuttingDown)?
    }

    /// Follows the logs and hands out what is due, if the room is not busy: then the next tick will.
    pub fn tick(&self) {
        // Full or closed: both will do without this one.
        if let Some(questions) = self.questions.upgrade() {
            let _ = questions.try_send(Box::new(Desk::tick));
        }
    }

    /// What the room did since the hub's start.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl NotifierThread {
    /// Closes the room when what was asked is done, and waits for the thread's end. Blocks.
    pub fn join(self) {
        drop(self.questions);
        if self.thread.join().is_err() {
            error!("the notifier's thread panicked");
        }
    }
}

impl Tasks {
    /// Runs every channel until the hub goes down. A message that is under way then is sent again by the next run.
    pub async fn run(self, down: watch::Receiver<bool>) -> &'static str {
        let Tasks { lanes, notifier, moves, clock } = self;
        let mut tasks = tokio::task::JoinSet::new();
        for (jobs, channel) in lanes {
            let sender = Sender {
                channel,
                notifier: notifier.clone(),
                moves: Arc::clone(&moves),
                clock: clock.clone(),
            };
            tasks.spawn(sender.run(jobs, down.clone()));
        }
        while let Some(ended) = tasks.join_next().await {
            if let Err(why) = ended {
                error!(error = %why, "a notification channel panicked");
            }
        }
        "notifications"
    }
}

/// One channel's task.
struct Sender {
    channel: Box<dyn Channel>,
    notifier: Notifier,
    moves: Arc<dyn Moves>,
    clock: Clock,
}

impl Sender {
    async fn run(self, mut jobs: mpsc::Receiver<Job>, mut down: watch::Receiver<bool>) {
        loop {
            let job = tokio::select! {
                // An error means that the hub itself is gone.
                _ = down.wait_for(|down| *down) => return,
                job = jobs.recv() => job,
            };
            let Some(job) = job else { return };
            let outcome = tokio::select! {
                _ = down.wait_for(|down| *down) => return,
                outcome = self.send_or_fail(&job) => outcome,
            };
            let reported = self.notifier.ask(move |desk| desk.done(&job, outcome)).await;
            if let Err(why) = reported {
                error!(
                    error = crate::error_chain(&why),
                    "a message's outcome is lost; it is sent again"
                );
            }
        }
    }

    /// Sends. A panic is a failure like others: the message is tried again, and the channel goes on.
    async fn send_or_fail(&self, job: &Job) -> Result<Option<String>, Failure> {
        let sent = AssertUnwindSafe(self.send(job)).catch_unwind().await;
        sent.unwrap_or_else(|_| {
            error!(message = job.id.0, "a notification channel panicked");
            Err(Failure::Temporary("the channel panicked; see the hub's log".to_owned()))
        })
    }

    /// Sends, and makes the move that the answer wants, before the message counts as sent: when the hub is killed in
    /// between, it is sent again, answered again, and the move is made then, or refused because it was made already.
    async fn send(&self, job: &Job) -> Result<Option<String>, Failure> {
        let sent = timeout(SEND_TIMEOUT, self.channel.send(job, self.clock.now())).await;
        let late = || Failure::Temporary(format!("no answer within {} s", SEND_TIMEOUT.as_secs()));
        let Answer { moves, remark } = sent.map_err(|_| late())??;
        let Some((user, request)) = moves else { return Ok(remark) };
        Ok(Some(self.moves.make(user, request).await))
    }
}

impl Desk {
    /// Now, by the hub's clock.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn done(
        &mut self,
        job: &Job,
        outcome: Result<Option<String>, Failure>,
    ) -> Result<(), NotifyError> {
        let now = self.clock.now();
        self.post.done(job, outcome, now)
    }

    /// The disk takes nothing: what is critical is told all the same.
    fn alarm(&mut self, now: Timestamp) {
        for job in self.post.alarm(&self.troubles.open(), now) {
            let Some(lane) = self.lanes.get(job.channel) else { continue };
            if let Err(
                mpsc::error::TrySendError::Full(job) | mpsc::error::TrySendError::Closed(job),
            ) = lane.try_send(job)
            {
                self.post.alarm_missed(&job, now);
            }
        }
    }

    fn tick(&mut self) {
        let now = self.clock.now();
        // Before the step, which then follows all that was written.
        let is_unwritten = self.troubles.is_unwritten();
        let stepped = self.post.step(now, &*self.around);
        if stepped.is_err() || is_unwritten {
            self.alarm(now);
        } else {
            self.post.calm();
        }
        match stepped {
            Ok(jobs) => {
                self.is_failing = false;
                for job in jobs {
                    if let Some(lane) = self.lanes.get(job.channel) {
                        // A channel has one message at a time, so there is room; when it has ended the hub is going down,
                        // and the next run sends what is marked.
                        let _ = lane.try_send(job);
                    }
                }
            }
            Err(why) if !self.is_failing => {
                self.is_failing = true;
                error!(
                    error = crate::error_chain(&why),
                    "cannot keep the notifications; tried again"
                );
            }
            Err(_) => {}
        }
    }
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("post", &self.post).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Tasks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tasks").field("channels", &self.lanes.len()).finish_non_exhaustive()
    }
}

/// A room without channels: nothing is sent. For tests of other rooms.
#[cfg(test)]
pub(crate) fn silent(post: Post, clock: Clock) -> (Notifier, NotifierThread) {
    #[derive(Debug)]
    struct Nobody;
    impl Places for Nobody {
        fn alert(&self, _: &crate::alert::Alert) -> super::Place {
            super::Place::default()
        }
        fn case(&self, _: &crate::case::Subject) -> super::Place {
            super::Place::default()
        }
    }
    impl Moves for Nobody {
        fn make(&self, _: String, _: MoveRequest) -> BoxFuture<'_, String> {
            Box::pin(std::future::ready("nobody moves anything".to_owned()))
        }
    }
    impl Publish for Nobody {
        fn publish(&self, _: &str, _: &[u8]) -> Result<(), String> {
            Err("there is no broker".to_owned())
        }
    }
    let parts = Parts {
        post,
        around: Box::new(Nobody),
        moves: Arc::new(Nobody),
        broker: Arc::new(Nobody),
        troubles: Troubles::default(),
        town: Label::new("乌镇", "Wuzhen"),
        clock,
    };
    let (notifier, thread, _) = Notifier::start(parts).expect("a thread");
    (notifier, thread)
}
