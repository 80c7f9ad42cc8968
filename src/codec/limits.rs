//! What a codec may take, in one place.

use std::time::Duration;

/// Processor time of one call, instantiating included. Public codecs need 10 to 500 microseconds; the clock stands still
/// while the machine runs something else.
pub(super) const CALL_CPU: Duration = Duration::from_millis(50);

/// Processor time of one frame, after which the child answers that it has not come to the rest: so a frame of slow
/// calls comes back in time to be known as alive.
pub(super) const FRAME_CPU: Duration = Duration::from_millis(200);

/// How long the parent waits for a frame's answer before it kills the child: the frame, its last call, and half a second
/// in which the machine may do something else.
pub(super) const FRAME_WALL: Duration = Duration::from_millis(750);

/// How long a child may take to start and to say so.
pub(super) const START_WALL: Duration = Duration::from_secs(10);

/// Memory of one codec: its engine takes 0.2 MiB, the largest public codec 2 MiB.
pub(super) const CODEC_MEMORY: usize = 16 << 20;

/// What a codec may keep between its calls; more means that it hoards, and its runtime is made anew.
pub(super) const CODEC_KEEPS: i64 = 4 << 20;

/// JavaScript's stack: some thousand calls deep, and far less than the process has.
pub(super) const CODEC_STACK: usize = 512 << 10;

/// Codecs that a child holds ready; the one that was used longest ago goes.
pub(super) const LIVE_CODECS: usize = 64;

/// Address space of a child: its binary and all the codecs that it holds ready.
pub(super) const CHILD_MEMORY: u64 = 1 << 30;

/// Processor seconds of a child beyond those that it has used when a frame begins: the kernel's own guard.
pub(super) const CHILD_CPU_S: u64 = 3;

/// Calls in one frame. More would not be faster, and the last answer would wait for the first.
pub(super) const FRAME_CALLS: usize = 64;

/// Children of one pool: one may be busy with a slow codec while the other serves the rest.
pub(super) const CHILDREN: usize = 2;

/// Calls that wait for a child, all callers together; beyond it a caller waits.
pub(super) const QUEUED_CALLS: usize = 4_096;

/// The longest frame that either side takes: a frame's calls with their longest inputs or results, and some sources.
pub(super) const MAX_FRAME_BYTES: usize = 16 << 20;
