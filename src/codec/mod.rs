//! Codecs: the JavaScript that LoRaWAN vendors publish for their frames, run where it can hurt nobody.
//!
//! Takes [`Job`]s (a codec's source, a function of it, a frame); hands on [`Outcome`]s. A codec is foreign code: it runs
//! in a child process of our own binary (`townhub codec-child`) that has no files, no network, no environment, no
//! clock and no more memory and time than a frame needs. The child is an empty pipe with an engine in it, so what a
//! codec can reach is its own result.
//!
//! - [`Codecs`] is the pool: a queue, two children, one frame of many calls at a time ([`wire`]).
//! - [`engine`] is the JavaScript: one runtime per codec, so that codecs share neither memory nor globals; in it a codec
//!   is a function that is instantiated anew for every call, so that calls share no variables. `driver.js` is the part
//!   of it that is JavaScript itself: time and chance from the call, TS013 and the older signatures, results as text.
//! - [`Breaker`](breaker) keeps what fails again and again from burning a core.
//!
//! Faults are kept apart in four rings: an exception ends the call, a spent budget (processor time, memory) ends the
//! call and its runtime, a child that dies or does not answer is replaced and the calls that it owed are repeated one by
//! one, and a device whose calls keep failing so is not called for a while.
//!
//! Never here: an envelope, a profile, a point.

mod breaker;
mod child;
mod engine;
mod limits;
mod pool;
mod process;
mod stats;
mod wire;
mod worker;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use sha2::{Digest, Sha256};

use crate::model::Timestamp;

pub use child::main as child_main;
pub use pool::Codecs;
pub use stats::Stats;
pub use worker::Worker;

/// The largest codec in bytes. The longest public ones have 200 KB.
pub const MAX_SOURCE_BYTES: usize = 512 << 10;

/// The longest frame in bytes: LoRaWAN's own limit is 242, a raw payload over MQTT may be longer.
pub const MAX_INPUT_BYTES: usize = 64 << 10;

/// The longest result in bytes of JSON.
pub const MAX_RESULT_BYTES: usize = 64 << 10;

/// How much of a codec's own words is kept, in characters.
const MAX_WORDS: usize = 300;

/// A codec's source.
#[derive(Debug, PartialEq, Eq)]
pub struct Codec {
    id: CodecId,
    name: Box<str>,
    source: Box<str>,
}

/// What a source is known by: the first half of its SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CodecId([u8; 16]);

/// A function of a codec, as LoRa Alliance TS013 names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Function {
    /// A frame from the device into values; also `Decoder(bytes, port)` and `Decode(fPort, bytes)` of older codecs.
    DecodeUplink,
    /// Values into a frame for the device; also `Encoder(object, port)` and `Encode(fPort, object)`.
    EncodeDownlink,
    /// A frame for the device back into values.
    DecodeDownlink,
}

/// One call of a codec. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Job {
    /// Whose code.
    pub codec: Arc<Codec>,
    /// Which function of it.
    pub function: Function,
    /// The frame's port; for a downlink the port that is used when the codec names none.
    pub port: u8,
    /// What the codec is told about the time: its `Date.now()` and `input.recvTime`.
    pub at: Timestamp,
    /// The frame's bytes; for [`Function::EncodeDownlink`] the values as JSON.
    pub input: Arc<[u8]>,
    /// The device that the frame is of, as its network names it; `None` for the one that it came from.
    pub device: Option<Arc<str>>,
    /// Whether `at` was said by the network: else it is the hub's own.
    pub is_timed: bool,
    /// What the network says of the frame's way, as a JSON object, or nothing. No business of this room's: it goes with
    /// the job, so that whoever made it finds it again.
    pub radio: Arc<str>,
}

/// What became of a call.
pub type Outcome = Result<Answer, CodecError>;

/// What a codec answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The values of a frame.
    Data {
        /// JSON text.
        json: String,
        /// The codec's own doubts.
        warnings: Vec<String>,
    },
    /// A frame for the device.
    Frame {
        /// Its port.
        port: u8,
        /// Its bytes.
        bytes: Vec<u8>,
        /// The codec's own doubts.
        warnings: Vec<String>,
    },
}

/// Why a call has no answer. An expected outcome: counted by [`CodecError::reason`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// It answered with `errors`: the frame is not one that it can read.
    #[error("the codec says: {0}")]
    Refused(String),
    /// It threw.
    #[error("the codec threw {0}")]
    Throws(String),
    /// It took more processor time than a call may.
    #[error("the codec did not end within {} ms of processor time", limits::CALL_CPU.as_millis())]
    Timeout,
    /// It took more memory than a codec may.
    #[error("the codec needs more than {} MiB of memory", limits::CODEC_MEMORY >> 20)]
    Memory,
    /// It does not have the function.
    #[error("the codec has no function {0}")]
    NoFunction(&'static str),
    /// It is no JavaScript.
    #[error("the codec is no JavaScript: {0}")]
    Syntax(String),
    /// What it answered is not what TS013 says.
    #[error("{0}")]
    BadResult(String),
    /// Its process ended or hung with it.
    #[error("the codec's process died")]
    Died,
    /// Its last calls failed so badly that it is not called for a while.
    #[error("the codec is not called for another {} s, because {}", .for_s, .why)]
    Suspended {
        /// How long, in seconds.
        for_s: u64,
        /// What was wrong with its last calls.
        why: &'static str,
    },
    /// There is no process to run it in: a fault of this machine, not of the codec.
    #[error("no process to run the codec in: {0}")]
    Unavailable(String),
}

impl Codec {
    /// A codec of this source. `name` is how its errors name it.
    pub fn new(name: &str, source: &str) -> Self {
        let digest = Sha256::digest(source.as_bytes());
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        Codec { id: CodecId(id), name: name.into(), source: source.into() }
    }

    /// What it is known by.
    pub fn id(&self) -> CodecId {
        self.id
    }

    /// How its errors name it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its text.
    pub fn source(&self) -> &str {
        &self.source
    }
}

impl fmt::Display for CodecId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Function {
    /// Every function, in the order of their numbers on the wire.
    pub const ALL: [Function; 3] =
        [Function::DecodeUplink, Function::EncodeDownlink, Function::DecodeDownlink];

    /// The function's name in a codec.
    pub fn as_str(self) -> &'static str {
        match self {
            Function::DecodeUplink => "decodeUplink",
            Function::EncodeDownlink => "encodeDownlink",
            Function::DecodeDownlink => "decodeDownlink",
        }
    }
}

impl CodecError {
    /// Every reason, in the order of the counters.
    pub const REASONS: [&'static str; 10] = [
        "codec_error",
        "codec_throws",
        "codec_timeout",
        "codec_memory",
        "codec_no_function",
        "codec_syntax",
        "codec_bad_result",
        "codec_died",
        "codec_suspended",
        "codec_unavailable",
    ];

    fn number(&self) -> usize {
        match self {
            CodecError::Refused(_) => 0,
            CodecError::Throws(_) => 1,
            CodecError::Timeout => 2,
            CodecError::Memory => 3,
            CodecError::NoFunction(_) => 4,
            CodecError::Syntax(_) => 5,
            CodecError::BadResult(_) => 6,
            CodecError::Died => 7,
            CodecError::Suspended { .. } => 8,
            CodecError::Unavailable(_) => 9,
        }
    }

    /// The reason's spelling in counters and in the API.
    pub fn reason(&self) -> &'static str {
        Self::REASONS[self.number()]
    }
}

static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Says that this binary can be started as `codec-child`. Whoever does not say so (a test, another program that uses
/// this library) gets the same engine inside its own process, with its limits but without the walls.
pub fn set_program(path: PathBuf) {
    // A second call says the same.
    let _ = PROGRAM.set(path);
}

/// The binary whose `codec-child` runs codecs.
pub fn program() -> Option<PathBuf> {
    PROGRAM.get().cloned()
}

/// The first [`MAX_WORDS`] characters.
fn clip(text: &str) -> String {
    match text.char_indices().nth(MAX_WORDS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
