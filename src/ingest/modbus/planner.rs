//! From a profile to requests: which registers are read together, and how often.
//!
//! Pure. Points of one table and one poll rate are merged into blocks as long as the hole between two of
//! them is no wider than the profile allows, the read stays within what the device takes, and no
//! forbidden address is touched. A value of several registers is never cut: half of a float from one
//! answer and half from the next is a number that nobody measured.

use std::fmt;
use std::time::Duration;

use super::registers::Words as _;
use crate::model::PointIndex;
use crate::profile::{
    ModbusSource, Point, Profile, Read, RegisterKind, RegisterRead, Source, Table,
};

/// The longest read in registers, whatever the profile says. The protocol allows 125; some gateways count
/// their own framing into it, and tokio-modbus does not refuse a longer one.
pub const MAX_REGISTERS: u16 = 120;

/// The longest read in coils or discrete inputs. The protocol allows 2 000; many small controllers stop earlier.
pub const MAX_BITS: u16 = 1_000;

/// The fastest poll rate: below it a bus is a busy loop, and no field device keeps up.
pub const MIN_PERIOD: Duration = Duration::from_millis(10);

/// What is asked of one device, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// One entry for each poll rate that has points, in the order of the rates' names.
    pub polls: Vec<PollPlan>,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Quiet time between two requests.
    pub min_request_gap: Duration,
}

/// All that is read at one rate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollPlan {
    /// The rate's name in the profile.
    pub rate: String,
    /// Time from one poll to the next.
    pub period: Duration,
    /// The requests, by table and address.
    pub blocks: Vec<Block>,
    /// Points that lie on a forbidden address: never asked for, reported as comm faults.
    pub forbidden: Vec<PointIndex>,
}

/// One request: `count` registers (or bits) of `table` from `start` on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Which table.
    pub table: Table,
    /// The first address, from zero.
    pub start: u16,
    /// How many registers or bits.
    pub count: u16,
    /// Where the points stand in the answer, by offset.
    pub slots: Vec<Slot>,
}

/// A point's place in the answer to a [`Block`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// The point.
    pub point: PointIndex,
    /// Its first register or bit, counted from the block's start.
    pub offset: u16,
    /// How the registers make a number.
    pub kind: RegisterKind,
}

/// Addresses that must not be read: the device answers them with an exception, or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forbidden {
    /// Which table.
    pub table: Table,
    /// The first forbidden address.
    pub first: u16,
    /// The last forbidden address.
    pub last: u16,
}

/// Why a profile cannot be polled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The profile's devices publish.
    #[error("profile `{profile}` is not a Modbus profile")]
    NotModbus {
        /// The profile.
        profile: String,
    },
    /// No point stands in a register.
    #[error("no point of the profile stands in a register")]
    NothingToRead,
    /// A point names a poll rate that the profile does not have.
    #[error("point `{point}` is polled at `{rate}`; the profile has {known}")]
    UnknownRate {
        /// The point.
        point: String,
        /// The rate that it names.
        rate: String,
        /// The rates that there are.
        known: String,
    },
    /// A poll rate is faster than [`MIN_PERIOD`].
    #[error("poll rate `{rate}` is {period:?}; the fastest is {MIN_PERIOD:?}")]
    TooFast {
        /// The rate.
        rate: String,
        /// Its period.
        period: Duration,
    },
    /// A value ends beyond the last address, 65535.
    #[error("point `{point}` at address {address} ends beyond 65535")]
    BeyondEnd {
        /// The point.
        point: String,
        /// Its address.
        address: u16,
    },
    /// A value is longer than the longest read that the device takes.
    #[error("point `{point}` has {words} registers, but the longest read is {limit}")]
    TooWide {
        /// The point.
        point: String,
        /// Its length in registers.
        words: u16,
        /// The longest read in registers.
        limit: u16,
    },
}

/// Plans the requests for a device of this profile. `forbidden` is empty until a device has taught us
/// which addresses it refuses.
///
/// # Errors
/// When the profile is no Modbus profile or one of its points cannot be read; see [`PlanError`].
pub fn plan(profile: &Profile, forbidden: &[Forbidden]) -> Result<Plan, PlanError> {
    match &profile.source {
        Source::Modbus(source) => plan_points(source, &profile.points, forbidden),
        _ => Err(PlanError::NotModbus { profile: profile.id.to_string() }),
    }
}

fn plan_points(
    source: &ModbusSource,
    points: &[Point],
    forbidden: &[Forbidden],
) -> Result<Plan, PlanError> {
    let mut places = Vec::with_capacity(points.len());
    for (index, point) in points.iter().enumerate() {
        // A point without a register is computed from others, later on the data's way.
        if let Read::Register(read) = &point.read {
            places.push(Place::new(PointIndex(index as u16), point, read, source)?);
        }
    }
    if places.is_empty() {
        return Err(PlanError::NothingToRead);
    }
    places.sort_by_key(|place| (place.table, place.start, place.end));

    let mut polls = Vec::new();
    for (rate, &period) in &source.poll {
        let of_rate: Vec<&Place> = places.iter().filter(|place| place.rate == rate).collect();
        if of_rate.is_empty() {
            continue;
        }
        if period < MIN_PERIOD {
            return Err(PlanError::TooFast { rate: rate.clone(), period });
        }
        polls.push(plan_rate(rate, period, &of_rate, source, forbidden));
    }
    Ok(Plan { polls, timeout: source.timeout, min_request_gap: source.min_request_gap })
}

/// Merges the points of one rate, which come sorted by table and address.
fn plan_rate(
    rate: &str,
    period: Duration,
    places: &[&Place],
    source: &ModbusSource,
    forbidden: &[Forbidden],
) -> PollPlan {
    let is_forbidden = |table, start, end| forbidden.iter().any(|f| f.meets(table, start, end));
    let mut poll =
        PollPlan { rate: rate.to_owned(), period, blocks: Vec::new(), forbidden: Vec::new() };
    let mut open: Option<Span> = None;
    for place in places {
        if is_forbidden(place.table, place.start, place.end) {
            poll.forbidden.push(place.point);
            continue;
        }
        let widened = open
            .as_ref()
            .and_then(|span| span.widened_to(place, source))
            .filter(|&end| open.as_ref().is_some_and(|s| !is_forbidden(s.table, s.start, end)));
        match (&mut open, widened) {
            (Some(span), Some(end)) => span.take(place, end),
            _ => poll.blocks.extend(open.replace(Span::new(place)).map(Span::close)),
        }
    }
    poll.blocks.extend(open.map(Span::close));
    poll
}

/// A point's registers: `start..end` of `table`. 32-bit numbers, because 65536 is a good end.
struct Place<'a> {
    point: PointIndex,
    kind: RegisterKind,
    table: Table,
    start: u32,
    end: u32,
    rate: &'a str,
}

impl<'a> Place<'a> {
    fn new(
        index: PointIndex,
        point: &Point,
        read: &'a RegisterRead,
        source: &ModbusSource,
    ) -> Result<Self, PlanError> {
        let name = || point.name.to_string();
        if !source.poll.contains_key(&read.poll) {
            let known: Vec<&str> = source.poll.keys().map(String::as_str).collect();
            return Err(PlanError::UnknownRate {
                point: name(),
                rate: read.poll.clone(),
                known: known.join(", "),
            });
        }
        let words = width(read.table, read.kind);
        let limit = longest_read(read.table, source);
        if words > limit {
            return Err(PlanError::TooWide { point: name(), words, limit });
        }
        let start = u32::from(read.address);
        let end = start + u32::from(words);
        if end > 0x1_0000 {
            return Err(PlanError::BeyondEnd { point: name(), address: read.address });
        }
        Ok(Place { point: index, kind: read.kind, table: read.table, start, end, rate: &read.poll })
    }
}

/// How many addresses of `table` a value of this kind takes.
fn width(table: Table, kind: RegisterKind) -> u16 {
    if is_bits(table) { 1 } else { kind.words() as u16 }
}

fn longest_read(table: Table, source: &ModbusSource) -> u16 {
    if is_bits(table) { MAX_BITS } else { source.max_registers.min(MAX_REGISTERS) }
}

/// A block that still grows.
struct Span {
    table: Table,
    start: u32,
    end: u32,
    slots: Vec<Slot>,
}

impl Span {
    fn new(place: &Place) -> Self {
        let mut span =
            Span { table: place.table, start: place.start, end: place.end, slots: Vec::new() };
        span.take(place, place.end);
        span
    }

    /// Where this block would end if it took `place` too; `None` when it must not. Places come by
    /// ascending start, so a block only ever grows at its end.
    fn widened_to(&self, place: &Place, source: &ModbusSource) -> Option<u32> {
        let end = self.end.max(place.end);
        let fits = self.table == place.table
            && place.start.saturating_sub(self.end) <= u32::from(source.max_gap)
            && end - self.start <= u32::from(longest_read(self.table, source));
        fits.then_some(end)
    }

    fn take(&mut self, place: &Place, end: u32) {
        self.end = end;
        let offset = (place.start - self.start) as u16;
        self.slots.push(Slot { point: place.point, offset, kind: place.kind });
    }

    fn close(self) -> Block {
        Block {
            table: self.table,
            start: self.start as u16,
            count: (self.end - self.start) as u16,
            slots: self.slots,
        }
    }
}

impl Forbidden {
    fn meets(&self, table: Table, start: u32, end: u32) -> bool {
        self.table == table && u32::from(self.first) < end && start <= u32::from(self.last)
    }
}

/// Whether the table holds single bits; the others hold registers of 16.
fn is_bits(table: Table) -> bool {
    matches!(table, Table::Coil | Table::Discrete)
}

impl Plan {
    /// Every point of the plan, forbidden ones too.
    pub fn points(&self) -> impl Iterator<Item = PointIndex> {
        self.polls.iter().flat_map(PollPlan::points)
    }

    /// The plan for people, with the points' names from `profile`, which must be the one it was made from.
    pub fn describe<'a>(&'a self, profile: &'a Profile) -> impl fmt::Display + 'a {
        Description { plan: self, points: &profile.points }
    }
}

impl PollPlan {
    /// Every point of this rate, forbidden ones too.
    pub fn points(&self) -> impl Iterator<Item = PointIndex> {
        let read = self.blocks.iter().flat_map(|block| block.slots.iter().map(|slot| slot.point));
        read.chain(self.forbidden.iter().copied())
    }
}

struct Description<'a> {
    plan: &'a Plan,
    points: &'a [Point],
}

impl Description<'_> {
    fn names(&self, points: impl Iterator<Item = PointIndex>) -> String {
        let name = |index: PointIndex| match self.points.get(usize::from(index.0)) {
            Some(point) => point.name.to_string(),
            None => format!("#{}", index.0),
        };
        points.map(name).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Description<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut per_second = 0.0;
        for poll in &self.plan.polls {
            per_second += poll.blocks.len() as f64 / poll.period.as_secs_f64();
            let n = poll.blocks.len();
            let plural = if n == 1 { "" } else { "s" };
            writeln!(f, "{}, every {:?}: {n} request{plural}", poll.rate, poll.period)?;
            for block in &poll.blocks {
                let names = self.names(block.slots.iter().map(|slot| slot.point));
                writeln!(f, "  {block}  {names}")?;
            }
            if !poll.forbidden.is_empty() {
                let names = self.names(poll.forbidden.iter().copied());
                writeln!(f, "  never read (forbidden address): {names}")?;
            }
        }
        let Plan { timeout, min_request_gap, .. } = self.plan;
        writeln!(f, "{per_second:.2} requests/s; timeout {timeout:?}, gap {min_request_gap:?}")
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = match self.table {
            Table::Coil => "coil",
            Table::Discrete => "discrete",
            Table::Holding => "holding",
            Table::Input => "input",
        };
        let last = u32::from(self.start) + u32::from(self.count).saturating_sub(1);
        let range = match self.count {
            1 => self.start.to_string(),
            _ => format!("{}-{last}", self.start),
        };
        let unit = if is_bits(self.table) { "bits" } else { "registers" };
        write!(f, "{table:<8} {range:<11} {:>4} {unit:<9}", self.count)
    }
}
