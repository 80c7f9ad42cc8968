//! One worker: a child, and what to do when it dies. Blocking; the pool's threads and the trials use it.

use std::path::PathBuf;
use std::sync::Arc;

use tracing::warn;

use super::engine::Engine;
use super::limits::FRAME_CALLS;
use super::process::{Lost, Process};
use super::stats::Counters;
use super::wire::Reply;
use super::{CodecError, Job, Outcome};

/// How often a frame is sent again for what the child had not at hand or had no time for, before something is wrong.
const ROUNDS: usize = FRAME_CALLS + 2;

/// Runs jobs in a child that is started when it is first needed and replaced when it dies; without a program, in this
/// very process.
pub struct Worker {
    home: Home,
    counters: Arc<Counters>,
}

enum Home {
    Child { program: PathBuf, process: Option<Process> },
    Inside(Engine),
}

impl Worker {
    /// A worker whose children are this program's `codec-child`. `None`: the engine runs in this process, with its limits
    /// but without the walls: for tests, and for programs that are not the hub.
    pub fn new(program: Option<PathBuf>) -> Self {
        Worker::counted(program, Arc::default())
    }

    pub(super) fn counted(program: Option<PathBuf>, counters: Arc<Counters>) -> Self {
        let home = match program {
            Some(program) => Home::Child { program, process: None },
            None => Home::Inside(Engine::default()),
        };
        Worker { home, counters }
    }

    /// Makes the calls, in their order.
    pub fn run(&mut self, jobs: &[Job]) -> Vec<Outcome> {
        jobs.chunks(FRAME_CALLS).flat_map(|jobs| self.run_frame(jobs)).collect()
    }

    /// The id of the process that runs the calls, while there is one.
    pub fn child_id(&self) -> Option<u32> {
        match &self.home {
            Home::Child { process, .. } => process.as_ref().map(Process::id),
            Home::Inside(_) => None,
        }
    }

    fn run_frame(&mut self, jobs: &[Job]) -> Vec<Outcome> {
        if let Home::Inside(engine) = &mut self.home {
            return jobs.iter().map(|job| run_inside(engine, job)).collect();
        }
        let mut outcomes: Vec<Option<Outcome>> = vec![None; jobs.len()];
        let mut is_lost = false;
        for _ in 0..ROUNDS {
            let mut open = (0..jobs.len()).filter(|&i| outcomes[i].is_none());
            // After a death nobody knows whose call it was, so each goes alone: the next death has one suspect.
            let asked: Vec<usize> =
                if is_lost { open.next().into_iter().collect() } else { open.collect() };
            if asked.is_empty() {
                break;
            }
            let frame: Vec<&Job> = asked.iter().map(|&i| &jobs[i]).collect();
            match self.ask(&frame) {
                Ok(replies) => {
                    for (i, reply) in asked.into_iter().zip(replies) {
                        if let Reply::Done(outcome) = reply {
                            outcomes[i] = Some(outcome);
                        }
                    }
                }
                Err(Lost::Start(error)) => {
                    let error = CodecError::Unavailable(error.to_string());
                    asked.into_iter().for_each(|i| outcomes[i] = Some(Err(error.clone())));
                }
                Err(_) if asked.len() == 1 => outcomes[asked[0]] = Some(Err(CodecError::Died)),
                Err(_) => is_lost = true,
            }
        }
        outcomes.into_iter().map(|outcome| outcome.unwrap_or(Err(CodecError::Died))).collect()
    }

    /// Asks the child, a new one if there is none.
    fn ask(&mut self, frame: &[&Job]) -> Result<Vec<Reply>, Lost> {
        let Home::Child { program, process } = &mut self.home else { return Err(Lost::Ended) };
        let child = match process {
            Some(child) => child,
            None => {
                let child = Process::start(program).inspect_err(|error| {
                    warn!(error = crate::error_chain(error), "a codec's process cannot be started");
                })?;
                self.counters.started();
                process.insert(child)
            }
        };
        child.ask(frame).inspect_err(|error| {
            let codecs: Vec<&str> = frame.iter().map(|job| job.codec.name()).collect();
            let (codec, calls) = (codecs.first().copied().unwrap_or_default(), codecs.len());
            let error = crate::error_chain(error);
            warn!(error, calls, codec, "a codec's process is replaced");
            self.counters.lost();
            *process = None;
        })
    }
}

fn run_inside(engine: &mut Engine, job: &Job) -> Outcome {
    if !engine.has(job.codec.id()) {
        engine.add(Arc::clone(&job.codec));
    }
    let outcome = engine.call(job.codec.id(), job.function, job.port, job.at, &job.input);
    outcome.unwrap_or(Err(CodecError::Died))
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("child", &self.child_id()).finish_non_exhaustive()
    }
}
