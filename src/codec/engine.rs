//! The engine: JavaScript runtimes, one per codec, with a budget for each call.
//!
//! A codec's text is compiled once, as the body of a function; a call instantiates that function and so gets variables of
//! its own. That costs a few microseconds, where a fresh global object would cost 130, and it is why a device's frame
//! cannot be decoded into another device's values, which codecs that keep their result in a variable would do. What a call
//! changes beyond its own variables (globals by assignment, prototypes) is looked for after it: if there is anything, the
//! runtime is made anew before the next call.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rquickjs::context::{EvalOptions, intrinsic};
use rquickjs::{Array, Context, Ctx, Function as JsFunction, Persistent, Runtime, Value};
use rustix::time::{ClockId, clock_gettime};

use super::limits::{CALL_CPU, CODEC_KEEPS, CODEC_MEMORY, CODEC_STACK, LIVE_CODECS};
use super::{Answer, Codec, CodecError, CodecId, Function, MAX_INPUT_BYTES, Outcome, clip};
use crate::model::Timestamp;

const DRIVER: &str = include_str!("driver.js");

/// What stands before and behind a codec's text, on its own first and last lines so that line numbers stay true. The
/// inner function lets a codec declare `module` or `exports` itself.
const BEFORE: &str = "(function(module,exports,require){return(function(){";
const BEHIND: &str = "\n;return{decodeUplink:typeof decodeUplink==='function'?decodeUplink:0,\
    encodeDownlink:typeof encodeDownlink==='function'?encodeDownlink:0,\
    decodeDownlink:typeof decodeDownlink==='function'?decodeDownlink:0,\
    Decoder:typeof Decoder==='function'?Decoder:0,Decode:typeof Decode==='function'?Decode:0,\
    Encoder:typeof Encoder==='function'?Encoder:0,Encode:typeof Encode==='function'?Encode:0}\
    }).call(globalThis)})";

/// Words of codecs that may change more than their own variables: they are looked at closely after each call.
const CAREFUL: [&str; 8] = [
    "prototype",
    "__proto__",
    "defineProp",
    "setPrototypeOf",
    "Reflect",
    "eval(",
    "Function(",
    "globalThis",
];

/// A call that took longer may have hoarded memory; nobody allocates megabytes in less.
const LOOK_AT_MEMORY: Duration = Duration::from_millis(1);

/// And every so many calls anyway.
const LOOK_AT_MEMORY_EVERY: u32 = 1_024;

/// How the driver names what came of a call.
mod code {
    pub(super) const OK: i32 = 0;
    pub(super) const FRAME: i32 = 1;
    pub(super) const REFUSED: i32 = 2;
    pub(super) const THROWN: i32 = 3;
    pub(super) const NO_FUNCTION: i32 = 4;
    pub(super) const BAD: i32 = 5;
    pub(super) const PENDING: i32 = 6;
    pub(super) const NO_MEMORY: i32 = 7;
}

/// The driver's name for "what became of the promise?".
const SETTLE: i32 = 3;

/// The runtimes of a process, each with its codec.
#[derive(Default)]
pub(super) struct Engine {
    codecs: HashMap<CodecId, Entry>,
    uses: u64,
}

struct Entry {
    codec: Arc<Codec>,
    /// Made at the first call, and again after a call that left something behind.
    live: Option<Live>,
    last_use: u64,
}

/// A codec in its runtime. The order of the fields is the order in which they are freed.
struct Live {
    driver: Persistent<JsFunction<'static>>,
    context: Context,
    runtime: Runtime,
    budget: Rc<Budget>,
    is_careful: bool,
    calls: u32,
}

/// The processor time of the call that runs.
#[derive(Default)]
struct Budget {
    until: Cell<Duration>,
    is_spent: Cell<bool>,
}

/// What the driver made of a call.
struct Verdict {
    code: i32,
    text: String,
    warnings: Vec<String>,
    port: i32,
    is_dirty: bool,
}

impl Engine {
    /// Whether the codec is at hand.
    pub(super) fn has(&self, id: CodecId) -> bool {
        self.codecs.contains_key(&id)
    }

    /// Takes a codec; the one that was used longest ago makes room.
    pub(super) fn add(&mut self, codec: Arc<Codec>) {
        if self.codecs.len() >= LIVE_CODECS && !self.has(codec.id()) {
            let oldest = self.codecs.iter().min_by_key(|(_, entry)| entry.last_use);
            if let Some(id) = oldest.map(|(id, _)| *id) {
                self.codecs.remove(&id);
            }
        }
        let last_use = self.uses;
        self.codecs.entry(codec.id()).or_insert(Entry { codec, live: None, last_use });
    }

    /// Calls a codec; `None` when it is not at hand.
    pub(super) fn call(
        &mut self,
        id: CodecId,
        function: Function,
        port: u8,
        at: Timestamp,
        input: &[u8],
    ) -> Option<Outcome> {
        self.uses += 1;
        let entry = self.codecs.get_mut(&id)?;
        entry.last_use = self.uses;
        Some(entry.call(function, port, at, input))
    }
}

impl Entry {
    fn call(&mut self, function: Function, port: u8, at: Timestamp, input: &[u8]) -> Outcome {
        if input.len() > MAX_INPUT_BYTES {
            let message =
                format!("the frame has {} bytes; the most is {MAX_INPUT_BYTES}", input.len());
            return Err(CodecError::BadResult(message));
        }
        let mut live = match self.live.take() {
            Some(live) => live,
            None => Live::new(&self.codec)?,
        };
        let (outcome, is_clean) = live.call(function, port, at, &input_text(function, input));
        if is_clean {
            self.live = Some(live);
        }
        outcome
    }
}

/// The input as JSON: the driver's own parser makes a list of it faster than it can be handed over number by number.
fn input_text(function: Function, input: &[u8]) -> String {
    use std::fmt::Write as _;
    if function == Function::EncodeDownlink {
        return String::from_utf8_lossy(input).into_owned();
    }
    let mut text = String::with_capacity(input.len() * 4 + 2);
    text.push('[');
    for (i, byte) in input.iter().enumerate() {
        // Writing into a String cannot fail.
        let _ = write!(text, "{}{byte}", if i > 0 { "," } else { "" });
    }
    text.push(']');
    text
}

impl Live {
    fn new(codec: &Codec) -> Result<Self, CodecError> {
        let runtime = Runtime::new().map_err(|_| CodecError::Memory)?;
        runtime.set_memory_limit(CODEC_MEMORY);
        runtime.set_max_stack_size(CODEC_STACK);
        let budget = Rc::new(Budget::default());
        let watched = Rc::clone(&budget);
        runtime.set_interrupt_handler(Some(Box::new(move || watched.is_over())));
        type Language = (
            intrinsic::Eval,
            intrinsic::Date,
            intrinsic::RegExpCompiler,
            intrinsic::RegExp,
            intrinsic::Json,
            intrinsic::Proxy,
            intrinsic::MapSet,
            intrinsic::TypedArrays,
            intrinsic::Promise,
        );
        let context = Context::custom::<Language>(&runtime).map_err(|_| CodecError::Memory)?;
        budget.start();
        let driver = context.with(|ctx| compile(&ctx, codec, &budget))?;
        let is_careful = CAREFUL.iter().any(|word| codec.source().contains(word));
        Ok(Live { driver, context, runtime, budget, is_careful, calls: 0 })
    }

    /// Makes one call; says whether it left nothing behind.
    fn call(
        &mut self,
        function: Function,
        port: u8,
        at: Timestamp,
        input: &str,
    ) -> (Outcome, bool) {
        self.calls = self.calls.wrapping_add(1);
        let start = self.budget.start();
        let mut verdict = self.drive(function as i32, input, port, at);
        if matches!(&verdict, Ok(verdict) if verdict.code == code::PENDING) {
            while !self.budget.is_over() && matches!(self.runtime.execute_pending_job(), Ok(true)) {
            }
            verdict = self.drive(SETTLE, "", port, at);
        }
        if self.budget.is_spent.get() {
            return (Err(CodecError::Timeout), false);
        }
        let verdict = match verdict {
            Ok(verdict) => verdict,
            Err(error) => return (Err(error), false),
        };
        let is_clean = !verdict.is_dirty && !self.runtime.is_job_pending() && !self.hoards(start);
        let outcome = verdict.outcome(function);
        let is_clean = is_clean && !matches!(outcome, Err(CodecError::Memory));
        (outcome, is_clean)
    }

    fn drive(
        &self,
        kind: i32,
        input: &str,
        port: u8,
        at: Timestamp,
    ) -> Result<Verdict, CodecError> {
        self.context.with(|ctx| {
            let driver = self.driver.clone().restore(&ctx);
            let arguments = (kind, input, i32::from(port), at.as_millis() as f64, self.is_careful);
            let answer = driver.and_then(|driver| driver.call::<_, Array<'_>>(arguments));
            let verdict = answer.and_then(|answer| {
                Ok(Verdict {
                    code: answer.get(0)?,
                    text: answer.get(1)?,
                    warnings: answer.get(2)?,
                    port: answer.get(3)?,
                    is_dirty: answer.get(4)?,
                })
            });
            verdict.map_err(|error| what_was_thrown(&ctx, &error))
        })
    }

    /// Whether the codec keeps too much. Counting takes a while, so only when there is a reason.
    fn hoards(&self, start: Duration) -> bool {
        let is_due = self.calls.is_multiple_of(LOOK_AT_MEMORY_EVERY)
            || processor_time().saturating_sub(start) > LOOK_AT_MEMORY;
        is_due && {
            self.runtime.run_gc();
            self.runtime.memory_usage().malloc_size > CODEC_KEEPS
        }
    }
}

/// Evaluates the driver and compiles the codec for it.
fn compile(
    ctx: &Ctx<'_>,
    codec: &Codec,
    budget: &Budget,
) -> Result<Persistent<JsFunction<'static>>, CodecError> {
    let options = |name: &str| {
        let mut options = EvalOptions::default();
        options.strict = false;
        options.filename = Some(name.to_owned());
        options
    };
    let source = format!("{BEFORE}{}{BEHIND}", codec.source());
    let boot = ctx.eval_with_options::<JsFunction<'_>, _>(DRIVER, options("driver.js"));
    let boot = boot.map_err(|error| what_was_thrown(ctx, &error))?;
    let factory = ctx.eval_with_options::<JsFunction<'_>, _>(source, options(codec.name()));
    let factory = factory.map_err(|error| match what_was_thrown(ctx, &error) {
        CodecError::Throws(words) => CodecError::Syntax(words),
        _ if budget.is_spent.get() => CodecError::Timeout,
        other => other,
    })?;
    let driver = boot.call::<_, JsFunction<'_>>((factory,));
    let driver = driver.map_err(|error| what_was_thrown(ctx, &error))?;
    Ok(Persistent::save(ctx, driver))
}

/// What the engine itself threw, past the driver: out of memory, or something that the driver could not even show.
fn what_was_thrown(ctx: &Ctx<'_>, error: &rquickjs::Error) -> CodecError {
    let thrown: Value<'_> = match error {
        rquickjs::Error::Exception => ctx.catch(),
        rquickjs::Error::Allocation => return CodecError::Memory,
        other => return CodecError::BadResult(format!("the codec broke its engine: {other}")),
    };
    // When there is no memory for an exception either, there is none.
    if thrown.is_null() {
        return CodecError::Memory;
    }
    let Some(exception) = thrown.as_exception() else {
        return CodecError::Throws("something that is no Error".to_owned());
    };
    let message = exception.message().unwrap_or_default();
    let line =
        exception.stack().and_then(|stack| stack.lines().next().map(place)).unwrap_or_default();
    of_words(format!("{message}{line}"))
}

/// `    at x.js:3:7` as ` at x.js:3:7`.
fn place(line: &str) -> String {
    format!(" {}", line.trim())
}

/// Lack of memory is an exception like any other to the codec, but not to us.
fn of_words(words: String) -> CodecError {
    if words.contains("out of memory") {
        CodecError::Memory
    } else {
        CodecError::Throws(clip(&words))
    }
}

impl Verdict {
    fn outcome(self, function: Function) -> Outcome {
        let Verdict { code, text, warnings, port, .. } = self;
        let warnings = warnings.iter().map(|warning| clip(warning)).collect();
        match code {
            code::OK if text.len() <= super::MAX_RESULT_BYTES * 4 => {
                Ok(Answer::Data { json: text, warnings })
            }
            code::FRAME => {
                let bytes = (0..text.len() / 2)
                    .map_while(|i| u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok())
                    .collect();
                Ok(Answer::Frame { port: u8::try_from(port).unwrap_or(0), bytes, warnings })
            }
            code::REFUSED => Err(CodecError::Refused(clip(&text))),
            code::THROWN => Err(of_words(text)),
            code::NO_MEMORY => Err(CodecError::Memory),
            code::NO_FUNCTION => Err(CodecError::NoFunction(function.as_str())),
            code::BAD => Err(CodecError::BadResult(clip(&text))),
            _ => Err(CodecError::BadResult("the codec broke its engine".to_owned())),
        }
    }
}

impl Budget {
    /// Begins a call's time; returns when that is.
    fn start(&self) -> Duration {
        let now = processor_time();
        self.until.set(now + CALL_CPU);
        self.is_spent.set(false);
        now
    }

    fn is_over(&self) -> bool {
        if processor_time() >= self.until.get() {
            self.is_spent.set(true);
        }
        self.is_spent.get()
    }
}

/// The processor time of this thread so far: unlike the wall's, it does not run on while others run.
pub(super) fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}
