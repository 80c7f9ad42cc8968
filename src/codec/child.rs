//! The child: `townhub codec-child`. Reads frames of calls from its standard input, makes them, writes the answers to its
//! standard output, and ends when its parent does. It shuts every door behind itself before it reads the first one.

use std::io::{self, Read, Write};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::engine::{Engine, processor_time};
use super::limits::{CHILD_CPU_S, CHILD_MEMORY, FRAME_CPU};
use super::wire::{self, Call, HELLO, Malformed, Reply};

/// How much nicer to others than the hub: codecs give way to the disk and the sockets.
const NICE: i32 = 5;

/// Serves calls until the parent closes the pipe.
///
/// # Errors
/// When the limits cannot be set or the parent cannot be understood.
pub fn main() -> io::Result<()> {
    shut_the_doors()?;
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    output.write_all(&HELLO)?;
    output.flush()?;
    let mut engine = Engine::default();
    let (mut body, mut answer) = (Vec::new(), Vec::new());
    while let Some(length) = read_length(&mut input)? {
        body.resize(length, 0);
        input.read_exact(&mut body)?;
        allow_processor_time()?;
        let calls = wire::read_calls(&body).map_err(refuse)?;
        wire::write_replies(&serve(&mut engine, &calls), &mut answer);
        output.write_all(&answer)?;
        output.flush()?;
    }
    Ok(())
}

/// Makes the calls of a frame while there is time.
fn serve(engine: &mut Engine, calls: &[Call<'_>]) -> Vec<Reply> {
    let until = processor_time() + FRAME_CPU;
    let mut replies = Vec::with_capacity(calls.len());
    for call in calls {
        if let Some(codec) = call.codec() {
            engine.add(codec);
        }
        replies.push(match processor_time() < until {
            true => match engine.call(call.codec, call.function, call.port, call.at, call.input) {
                Some(outcome) => Reply::Done(outcome),
                None => Reply::NeedSource,
            },
            false => Reply::NotRun,
        });
    }
    replies
}

/// The length of the next frame; `None` when the parent is gone.
fn read_length(input: &mut impl Read) -> io::Result<Option<usize>> {
    let mut prefix = [0; 4];
    match input.read_exact(&mut prefix) {
        Ok(()) => wire::frame_length(prefix).map(Some).map_err(refuse),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

fn refuse(error: Malformed) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Nothing can be opened, written, started or forked from here on, and no more memory taken than codecs may have. JavaScript
/// has no way to try any of it: these are the second wall, should the engine have a hole.
fn shut_the_doors() -> io::Result<()> {
    let to = |most: u64| Rlimit { current: Some(most), maximum: Some(most) };
    for (resource, most) in [
        (Resource::As, CHILD_MEMORY),
        (Resource::Nofile, 0),
        (Resource::Nproc, 0),
        (Resource::Fsize, 0),
        (Resource::Core, 0),
    ] {
        setrlimit(resource, to(most))?;
    }
    // A child that may not be nice is one that runs as it is.
    let _ = rustix::process::nice(NICE);
    Ok(())
}

/// Some seconds more than were used so far: a child lives for weeks, a frame for milliseconds.
fn allow_processor_time() -> io::Result<()> {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    let used = Duration::from_secs(u64::try_from(used.tv_sec).unwrap_or(0)).as_secs();
    let most = Rlimit { current: Some(used + 1 + CHILD_CPU_S), maximum: None };
    Ok(setrlimit(Resource::Cpu, most)?)
}
