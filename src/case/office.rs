//! The registrar at work: its thread, and the handle by which the rest of the hub speaks to it.
//!
//! Whoever asks hands in what is to be done with the registrar and waits for the answer: one owner, no locks, in the order
//! of asking. Between two questions the office follows the alerts' log and looks at deadlines.

use std::thread;

use tokio::sync::{mpsc, oneshot};
use tracing::error;

use super::{Case, CaseError, Evidence, Registrar};
use crate::alert::Alert;
use crate::clock::Clock;
use crate::model::{AssetKind, Timestamp, ZoneId};

/// Questions that wait: a crew's phones and every operator at once, and still short.
const QUEUE: usize = 64;

/// What the office knows of the town beside its own tables.
pub trait Surroundings: Evidence + 'static {
    /// Where an alert's asset stands, and what it is.
    fn place(&self, alert: &Alert) -> (Option<ZoneId>, Option<AssetKind>);

    /// A case changed, and it is on disk.
    fn changed(&self, case: &Case);
}

/// What is asked: runs on the office's thread.
type Question = Box<dyn FnOnce(&mut Desk) + Send>;

/// The handle. Cheap to clone; does not keep the office open.
#[derive(Debug, Clone)]
pub struct Office {
    questions: mpsc::WeakSender<Question>,
}

/// The office's thread, open until it is joined or dropped.
#[derive(Debug)]
pub struct OfficeThread {
    thread: thread::JoinHandle<()>,
    questions: mpsc::Sender<Question>,
}

/// The registrar with what it needs at hand.
pub struct Desk {
    /// The owner of the cases.
    pub registrar: Registrar,
    around: Box<dyn Surroundings>,
    clock: Clock,
    /// An error that was logged and has not gone away: said once.
    is_failing: bool,
}

impl Office {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(
        registrar: Registrar,
        around: Box<dyn Surroundings>,
        clock: Clock,
    ) -> std::io::Result<(Self, OfficeThread)> {
        let (questions, mut queue) = mpsc::channel::<Question>(QUEUE);
        let mut desk = Desk { registrar, around, clock, is_failing: false };
        let thread = thread::Builder::new().name("registrar".to_owned()).spawn(move || {
            while let Some(question) = queue.blocking_recv() {
                question(&mut desk);
            }
        })?;
        Ok((Office { questions: questions.downgrade() }, OfficeThread { thread, questions }))
    }

    /// Does something with the registrar and returns its answer.
    ///
    /// # Errors
    /// What the question returns; [`CaseError::ShuttingDown`] when the office is closed.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Desk) -> Result<T, CaseError> + Send + 'static,
    ) -> Result<T, CaseError> {
        let (reply, answer) = oneshot::channel();
        let question: Question = Box::new(move |desk| {
            // Whoever went away does not need the answer.
            let _ = reply.send(question(desk));
        });
        let questions = self.questions.upgrade().ok_or(CaseError::ShuttingDown)?;
        questions.send(question).await.map_err(|_| CaseError::ShuttingDown)?;
        drop(questions);
        answer.await.map_err(|_| CaseError::ShuttingDown)?
    }

    /// Follows the alerts and looks at the deadlines, if the office is not busy: then the next tick will.
    pub fn tick(&self) {
        // Full or closed: both will do without this one.
        if let Some(questions) = self.questions.upgrade() {
            let _ = questions.try_send(Box::new(Desk::tick));
        }
    }
}

impl OfficeThread {
    /// Closes the office when what was asked is done, and waits for the thread's end. Blocks.
    pub fn join(self) {
        drop(self.questions);
        if self.thread.join().is_err() {
            error!("the registrar's thread panicked");
        }
    }
}

impl Desk {
    /// Now, by the hub's clock.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// What the sensors say.
    pub fn evidence(&self) -> &dyn Evidence {
        // A trait object of the wider trait is one of the narrower, too.
        &*self.around
    }

    /// Does something that changes one case, with what the sensors say, and tells everybody.
    ///
    /// # Errors
    /// What it returns; nothing has changed then.
    pub fn change(
        &mut self,
        change: impl FnOnce(&mut Registrar, &dyn Evidence, Timestamp) -> Result<Case, CaseError>,
    ) -> Result<Case, CaseError> {
        let now = self.clock.now();
        // What the alerts said before must be known before somebody moves on it.
        self.follow(now)?;
        let case = change(&mut self.registrar, &*self.around, now)?;
        self.around.changed(&case);
        Ok(case)
    }

    fn follow(&mut self, now: Timestamp) -> Result<(), CaseError> {
        let Desk { registrar, around, .. } = self;
        for case in registrar.follow(now, &|alert| around.place(alert))? {
            around.changed(&case);
        }
        Ok(())
    }

    fn tick(&mut self) {
        let now = self.clock.now();
        let outcome = self.follow(now).and_then(|()| self.registrar.tick(now));
        match outcome {
            Ok(changed) => {
                self.is_failing = false;
                changed.iter().for_each(|case| self.around.changed(case));
            }
            Err(why) if !self.is_failing => {
                self.is_failing = true;
                error!(error = crate::error_chain(&why), "cannot keep the cases; tried again");
            }
            Err(_) => {}
        }
    }
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("registrar", &self.registrar).finish_non_exhaustive()
    }
}
