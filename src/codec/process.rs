//! A child as its parent sees it: started, asked, given up on.

use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionbio};

use super::limits::{FRAME_CALLS, FRAME_WALL, START_WALL};
use super::wire::{self, Call, HELLO, Reply};
use super::{CodecId, Job};

/// A running child with an empty pipe on either side.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    /// The codecs that it was sent. It may have dropped some since, and says so then.
    known: HashSet<CodecId>,
    frame: Vec<u8>,
}

/// Why a child is of no use any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    #[error("cannot be started")]
    Start(#[source] io::Error),
    #[error("ended")]
    Ended,
    #[error("did not answer in time")]
    Silent,
    #[error("cannot be understood")]
    Malformed(#[from] wire::Malformed),
    #[error("cannot be asked")]
    Pipe(#[source] io::Error),
}

impl Process {
    /// Starts a child and waits until it says that its limits are set.
    pub(super) fn start(program: &Path) -> Result<Self, Lost> {
        let mut child = Command::new(program)
            .arg("codec-child")
            .env_clear()
            // The only variable that the engine would look at: local time is UTC.
            .env("TZ", "UTC0")
            .current_dir("/")
            // Ctrl-C at a terminal is for the hub, which ends its children itself.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(Lost::Start)?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (input, output) = pipes.ok_or(Lost::Ended)?;
        let mut process =
            Process { child, input, output, known: HashSet::new(), frame: Vec::new() };
        for pipe in [process.input.as_fd(), process.output.as_fd()] {
            ioctl_fionbio(pipe, true).map_err(|error| Lost::Pipe(error.into()))?;
        }
        let mut hello = [0; HELLO.len()];
        process.read(&mut hello, Instant::now() + START_WALL)?;
        if hello == HELLO { Ok(process) } else { Err(wire::Malformed.into()) }
    }

    /// The child's process id.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks for at most [`FRAME_CALLS`] calls and waits for all the answers. After an error the child must not be used again.
    pub(super) fn ask(&mut self, jobs: &[&Job]) -> Result<Vec<Reply>, Lost> {
        debug_assert!(jobs.len() <= FRAME_CALLS);
        let until = Instant::now() + FRAME_WALL;
        let known = &mut self.known;
        let calls = jobs.iter().map(|job| Call::of(job, known.insert(job.codec.id())));
        let mut frame = std::mem::take(&mut self.frame);
        wire::write_calls(calls, &mut frame);
        self.write(&frame, until)?;
        let mut prefix = [0; 4];
        self.read(&mut prefix, until)?;
        frame.resize(wire::frame_length(prefix)?, 0);
        self.read(&mut frame, until)?;
        let replies = wire::read_replies(&frame, jobs.len())?;
        for (job, reply) in jobs.iter().zip(&replies) {
            if *reply == Reply::NeedSource {
                self.known.remove(&job.codec.id());
            }
        }
        self.frame = frame;
        Ok(replies)
    }

    fn write(&mut self, mut bytes: &[u8], until: Instant) -> Result<(), Lost> {
        while !bytes.is_empty() {
            match self.input.write(bytes) {
                Ok(0) => return Err(Lost::Ended),
                Ok(written) => bytes = &bytes[written..],
                Err(error) => wait(&self.input, PollFlags::OUT, error, until)?,
            }
        }
        Ok(())
    }

    fn read(&mut self, mut bytes: &mut [u8], until: Instant) -> Result<(), Lost> {
        while !bytes.is_empty() {
            match self.output.read(bytes) {
                Ok(0) => return Err(Lost::Ended),
                Ok(read) => bytes = &mut bytes[read..],
                Err(error) => wait(&self.output, PollFlags::IN, error, until)?,
            }
        }
        Ok(())
    }
}

/// Waits until the pipe is ready, when that is all that is wrong with it.
fn wait(pipe: &impl AsFd, ready: PollFlags, error: io::Error, until: Instant) -> Result<(), Lost> {
    match error.kind() {
        io::ErrorKind::WouldBlock => {}
        io::ErrorKind::Interrupted => return Ok(()),
        io::ErrorKind::BrokenPipe => return Err(Lost::Ended),
        _ => return Err(Lost::Pipe(error)),
    }
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(Lost::Silent);
    }
    match poll(&mut [PollFd::new(pipe, ready)], Some(&timespec(left))) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(Lost::Pipe(error.into())),
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be dead already; and what is killed is waited for, so that it leaves no zombie.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
