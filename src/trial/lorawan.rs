//! Fixtures of LoRaWAN devices: their frames go through the same codec's process as the hub's.

use std::cell::RefCell;

use super::RECEIVED_AT;
use crate::codec::{self, Answer, CodecError, Job, Outcome, Worker};
use crate::profile::{DecodeError, Decoded, LorawanSource};

thread_local! {
    /// One worker for all trials of a thread: its child is started once.
    static WORKER: RefCell<Worker> = RefCell::new(Worker::new(codec::program()));
}

/// What a frame or an envelope says.
pub(super) fn decode(
    source: &LorawanSource,
    job: Result<Job, DecodeError>,
    out: &mut Decoded,
) -> Result<(), DecodeError> {
    let job = job?;
    let outcome = call(&job);
    source.finish(&job, outcome, out)
}

/// What the codec makes of a command's values: port and bytes.
pub(super) fn encode(
    source: &LorawanSource,
    port: u8,
    data: &serde_json::Value,
) -> Result<(u8, Vec<u8>), CodecError> {
    match call(&source.downlink(port, data, RECEIVED_AT))? {
        Answer::Frame { port, bytes, .. } => Ok((port, bytes)),
        Answer::Data { .. } => Err(CodecError::BadResult("no frame".to_owned())),
    }
}

/// Why a codec cannot be used at all, whatever the frame.
pub(super) fn check(source: &LorawanSource) -> Option<CodecError> {
    // An empty frame is one that every codec may refuse; what matters is that it can be asked.
    match call(&source.empty(RECEIVED_AT)) {
        Err(error @ (CodecError::Syntax(_) | CodecError::NoFunction(_))) => Some(error),
        _ => None,
    }
}

fn call(job: &Job) -> Outcome {
    let outcomes = WORKER.with_borrow_mut(|worker| worker.run(std::slice::from_ref(job)));
    outcomes.into_iter().next().unwrap_or(Err(CodecError::Died))
}
