//! From a profile to requests: which registers are read together, and how often.
//!
//! Pure. Points of one table and one poll rate are merged into blocks as long as the hole between two of
//! them is no wider than the profile allows, the read stays within what the device takes, and no
//! forbidden address is touched. A value of several registers is never cut: half of a float from one
//! answer and half from the next is a number that nobody measured.

use std::fmt;
use std::time::Duration;

use crate::model::PointIndex;
use crate::profile::{
    ModbusSource, Part, Point, Profile, Read, RegisterKind, RegisterRead, Source, Table,
};

/// The longest read in registers, whatever the profile says. The protocol allows 125; some gateways count
/// their own framing into it, and tokio-modbus does not refuse a longer one.
pub const MAX_REGISTERS: u16 = 120;

/// The longest read in coils or discrete inputs. The protocol allows 2 000; many small controllers stop earlier.
pub const MAX_BITS: u16 = 1_000;

/// The fastest poll rate: below it a bus is a busy loop, and no field device keeps up.
pub const MIN_PERIOD: Duration = Duration::from_millis(10);

/// What is asked of one device, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// One entry for each poll rate that has points, in the order of the rates' names.
    pub polls: Vec<PollPlan>,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Quiet time between two requests.
    pub min_request_gap: Duration,
    /// Addresses that the device has taught us to leave alone; empty in a plan of a profile.
    pub learned: Vec<Forbidden>,
}

/// All that is read at one rate.
#[derive(Debug, Clone, PartialEq)]
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
#[derive(Debug, Clone, PartialEq)]
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
#[derive(Debug, Clone, PartialEq)]
pub struct Slot {
    /// The point.
    pub point: PointIndex,
    /// Its first register or bit, counted from the block's start.
    pub offset: u16,
    /// How the registers make a number.
    pub kind: RegisterKind,
    /// What of the number is the value.
    pub part: Part,
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
    let (timeout, min_request_gap) = (source.timeout, source.min_request_gap);
    Ok(Plan { polls, timeout, min_request_gap, learned: forbidden.to_vec() })
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
    part: &'a Part,
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
        let RegisterRead { table, kind, ref part, ref poll, .. } = *read;
        Ok(Place { point: index, kind, part, table, start, end, rate: poll })
    }
}

/// How many addresses of `table` a value of this kind takes.
pub(super) fn width(table: Table, kind: RegisterKind) -> u16 {
    if table.is_bits() { 1 } else { kind.words() }
}

fn longest_read(table: Table, source: &ModbusSource) -> u16 {
    if table.is_bits() { MAX_BITS } else { source.max_registers.min(MAX_REGISTERS) }
}

/// A block that still grows.
struct Span {
    table: Table,
    start: u32,
    end: u32,
    slots: Vec<Slot>,
}

impl Span {
    fn new(place: &Place<'_>) -> Self {
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
        let (point, kind, part) = (place.point, place.kind, place.part.clone());
        self.slots.push(Slot { point, offset, kind, part });
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

impl Plan {
    /// Every point of the plan, forbidden ones too.
    pub fn points(&self) -> impl Iterator<Item = PointIndex> {
        self.polls.iter().flat_map(PollPlan::points)
    }

    /// A question whose right answer is longer or shorter than that of any block, so that a late answer to one of
    /// those cannot be taken for its: after a question without an answer it finds out whether a serial line is in
    /// step again.
    pub(super) fn probe(&self) -> Option<Block> {
        let blocks = || self.polls.iter().flat_map(|poll| &poll.blocks);
        let first = blocks().max_by_key(|block| block.count)?;
        let length = |count: u16| if first.table.is_bits() { count.div_ceil(8) } else { count };
        let is_taken = |count: u16| {
            let same = |block: &&Block| block.table == first.table;
            blocks().filter(same).any(|block| length(block.count) == length(count))
        };
        // Within the longest block every address can be read; a count beyond it may be refused, which is an answer.
        let count = (1..=MAX_REGISTERS).find(|&count| !is_taken(count))?;
        let start = first.start.min((0x1_0000 - u32::from(count)) as u16);
        Some(Block { table: first.table, start, count, slots: Vec::new() })
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
        for hole in &self.plan.learned {
            writeln!(f, "left alone: {hole}")?;
        }
        let Plan { timeout, min_request_gap, .. } = self.plan;
        writeln!(f, "{per_second:.2} requests/s; timeout {timeout:?}, gap {min_request_gap:?}")
    }
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Forbidden { table, first, last } = self;
        if first == last {
            write!(f, "{} {first}", table.as_str())
        } else {
            write!(f, "{} {first}-{last}", table.as_str())
        }
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.table.as_str();
        let last = u32::from(self.start) + u32::from(self.count).saturating_sub(1);
        let range = match self.count {
            1 => self.start.to_string(),
            _ => format!("{}-{last}", self.start),
        };
        let unit = if self.table.is_bits() { "bits" } else { "registers" };
        write!(f, "{table:<8} {range:<11} {:>4} {unit:<9}", self.count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::profile::{point, profile, source};
    use super::*;
    use crate::profile::{NumberType, WordOrder};

    fn summary(plan: &Plan) -> Vec<(String, Table, u16, u16, usize)> {
        let of_poll = |poll: &PollPlan| {
            let of_block =
                |b: &Block| (poll.rate.clone(), b.table, b.start, b.count, b.slots.len());
            poll.blocks.iter().map(of_block).collect::<Vec<_>>()
        };
        plan.polls.iter().flat_map(of_poll).collect()
    }

    /// The gate of the example profile, in the order of its file.
    fn gate() -> Profile {
        profile(
            source(60, 8),
            vec![
                point("opening", Table::Holding, 100, NumberType::U16, "fast"),
                point("level_up", Table::Input, 10, NumberType::F32, "fast"),
                point("level_down", Table::Input, 12, NumberType::F32, "fast"),
                point("motor", Table::Input, 20, NumberType::U16, "fast"),
                point("remote", Table::Discrete, 3, NumberType::Bit, "fast"),
                point("setpoint", Table::Holding, 200, NumberType::U16, "slow"),
            ],
        )
    }

    #[test]
    fn a_gate_is_read_in_four_requests() {
        let gate = gate();
        let plan = plan(&gate, &[]).unwrap();
        let expected = [
            ("fast".to_owned(), Table::Discrete, 3, 1, 1),
            ("fast".to_owned(), Table::Holding, 100, 1, 1),
            ("fast".to_owned(), Table::Input, 10, 11, 3),
            ("slow".to_owned(), Table::Holding, 200, 1, 1),
        ];
        assert_eq!(summary(&plan), expected);
        insta::assert_snapshot!(plan.describe(&gate), @r"
        fast, every 100ms: 3 requests
          discrete 3              1 bits       remote
          holding  100            1 registers  opening
          input    10-20         11 registers  level_up, level_down, motor
        slow, every 1s: 1 request
          holding  200            1 registers  setpoint
        31.00 requests/s; timeout 50ms, gap 0ns
        ");
    }

    #[test]
    fn a_forbidden_address_is_never_read() {
        let forbidden = [
            Forbidden { table: Table::Input, first: 15, last: 16 },
            Forbidden { table: Table::Input, first: 11, last: 11 },
            Forbidden { table: Table::Holding, first: 0, last: 99 },
        ];
        let plan = plan(&gate(), &forbidden).unwrap();
        assert!(plan.describe(&gate()).to_string().contains("left alone: input 15-16"));
        let fast = &plan.polls[0];
        assert_eq!(fast.forbidden, [PointIndex(1)], "level_up lies on 11");
        let input: Vec<_> = fast.blocks.iter().filter(|b| b.table == Table::Input).collect();
        assert_eq!((input[0].start, input[0].count), (12, 2));
        assert_eq!((input[1].start, input[1].count), (20, 1));
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        let refuse = |max_registers, p: Point| {
            plan(&profile(source(max_registers, 8), vec![p]), &[]).unwrap_err().to_string()
        };
        let wide = point("energy", Table::Holding, 0, NumberType::U64, "fast");
        assert_eq!(refuse(3, wide), "point `energy` has 4 registers, but the longest read is 3");
        let last = point("level", Table::Input, 65_535, NumberType::F32, "fast");
        assert_eq!(refuse(60, last), "point `level` at address 65535 ends beyond 65535");
        let rate = point("level", Table::Input, 0, NumberType::F32, "often");
        assert_eq!(
            refuse(60, rate),
            "point `level` is polled at `often`; the profile has fast, slow"
        );
        let nothing = plan(&profile(source(60, 8), vec![]), &[]);
        assert_eq!(nothing, Err(PlanError::NothingToRead));
        let mut busy = source(60, 8);
        busy.poll.insert("fast".to_owned(), Duration::from_micros(1));
        let p = point("level", Table::Input, 0, NumberType::F32, "fast");
        assert!(matches!(plan(&profile(busy, vec![p]), &[]), Err(PlanError::TooFast { .. })));
    }

    #[test]
    fn a_probes_answer_is_like_no_blocks() {
        let plan = plan(&gate(), &[]).unwrap();
        let Block { table, start, count, .. } = plan.probe().unwrap();
        assert_eq!((table, start, count), (Table::Input, 10, 1));
        let lone = vec![point("a", Table::Holding, 65_535, NumberType::U16, "fast")];
        let plan = super::plan(&profile(source(60, 8), lone), &[]).unwrap();
        let Block { start, count, .. } = plan.probe().unwrap();
        assert_eq!((start, count), (65_534, 2));
        let bits = vec![point("a", Table::Coil, 7, NumberType::Bit, "fast")];
        let plan = super::plan(&profile(source(60, 8), bits), &[]).unwrap();
        assert_eq!(plan.probe().unwrap().count, 9, "two bytes, not one");
    }

    #[test]
    fn the_last_register_can_be_read() {
        let p = point("level", Table::Input, 65_534, NumberType::F32, "fast");
        let plan = plan(&profile(source(60, 8), vec![p]), &[]).unwrap();
        assert_eq!(summary(&plan), [("fast".to_owned(), Table::Input, 65_534, 2, 1)]);
    }

    fn any_table() -> impl Strategy<Value = Table> {
        prop::sample::select(vec![Table::Coil, Table::Discrete, Table::Holding, Table::Input])
    }

    fn any_point() -> impl Strategy<Value = Point> {
        let numbers = vec![NumberType::U16, NumberType::I32, NumberType::F32, NumberType::F64];
        let rate = prop::sample::select(vec!["fast", "slow"]);
        // Few addresses, so that holes, neighbours and overlaps are common; and the end of the map.
        let address = prop_oneof![0_u16..300, 65_500_u16..65_532];
        (any_table(), address, prop::sample::select(numbers), rate).prop_map(
            |(table, a, n, rate)| {
                let number = if table.is_bits() { NumberType::Bit } else { n };
                point("p", table, a, number, rate)
            },
        )
    }

    fn any_forbidden() -> impl Strategy<Value = Forbidden> {
        (any_table(), 0_u16..300, 0_u16..20).prop_map(|(table, first, length)| Forbidden {
            table,
            first,
            last: first + length,
        })
    }

    proptest! {
        #[test]
        fn every_point_is_read_once_and_whole_and_every_bound_is_kept(
            points in prop::collection::vec(any_point(), 1..120),
            forbidden in prop::collection::vec(any_forbidden(), 0..6),
            max_registers in 4_u16..200,
            max_gap in 0_u16..20,
        ) {
            let profile = profile(source(max_registers, max_gap), points);
            let plan = plan(&profile, &forbidden).unwrap();

            let mut seen: Vec<PointIndex> = plan.points().collect();
            seen.sort();
            let all: Vec<_> = (0..profile.points.len()).map(|i| PointIndex(i as u16)).collect();
            prop_assert_eq!(seen, all, "each point stands in exactly one place");

            for poll in &plan.polls {
                for point in &poll.forbidden {
                    let (read, width) = place(&profile, *point);
                    let (start, end) = (u32::from(read.address), u32::from(read.address + width));
                    prop_assert!(forbidden.iter().any(|f| f.meets(read.table, start, end)));
                }
                for block in &poll.blocks {
                    check_block(&profile, poll, block, &forbidden)?;
                }
            }
        }
    }

    fn place(profile: &Profile, index: PointIndex) -> (&RegisterRead, u16) {
        let Read::Register(read) = &profile.points[usize::from(index.0)].read else {
            panic!("only registers here")
        };
        assert_eq!(read.kind.order, WordOrder::ABCD);
        (read, width(read.table, read.kind))
    }

    fn check_block(
        profile: &Profile,
        poll: &PollPlan,
        block: &Block,
        forbidden: &[Forbidden],
    ) -> Result<(), TestCaseError> {
        let Source::Modbus(source) = &profile.source else { panic!("made as Modbus") };
        let (start, end) =
            (u32::from(block.start), u32::from(block.start) + u32::from(block.count));
        let limit = match block.table {
            Table::Coil | Table::Discrete => 1_000,
            Table::Holding | Table::Input => source.max_registers.min(120),
        };
        prop_assert!((1..=limit).contains(&block.count), "{block}");
        prop_assert!(end <= 0x1_0000, "{block}");
        prop_assert!(!forbidden.iter().any(|f| f.meets(block.table, start, end)), "{block}");

        let mut covered = vec![false; usize::from(block.count)];
        for slot in &block.slots {
            let (read, width) = place(profile, slot.point);
            prop_assert_eq!(&read.poll, &poll.rate);
            prop_assert_eq!(read.table, block.table);
            prop_assert_eq!(u32::from(read.address), start + u32::from(slot.offset));
            let whole = usize::from(slot.offset)..usize::from(slot.offset + width);
            prop_assert!(whole.end <= covered.len(), "a value is cut: {block}");
            covered[whole].fill(true);
        }
        prop_assert!(covered[0] && covered[covered.len() - 1], "reads too much: {block}");
        let widest_hole = covered.split(|&c| c).map(<[bool]>::len).max().unwrap_or(0);
        prop_assert!(widest_hole <= usize::from(source.max_gap), "hole in {block}");
        Ok(())
    }
}
