//! What a device teaches by refusing: which of its addresses cannot be read, and which cannot be read together.
//!
//! Pure. A block that is refused twice in a row is split, and the halves are asked at once, until what can be read is
//! told from what cannot. The lesson is kept in memory, for the device, as long as its profile's plan is the same: a
//! changed profile, another unit number and a restart of the hub forget it.

use super::planner::{Block, Forbidden, Plan, Slot, width};

/// A block is split after so many refusals in a row. One may be an accident.
const REFUSALS: u32 = 2;

/// A block of which nothing could be read is split again after so many more refusals: the whole device refused, and
/// may have been starting.
const SECOND_LOOK: u32 = 256;

/// Refusals in a row, by block.
#[derive(Debug, Default)]
pub(super) struct Refusals(Vec<(Block, u32)>);

impl Refusals {
    /// One more refusal of a block; returns whether it is to be split now.
    pub(super) fn count(&mut self, block: &Block) -> bool {
        let at = self.0.iter().position(|(known, _)| known == block);
        let at = at.unwrap_or_else(|| {
            self.0.push((block.clone(), 0));
            self.0.len() - 1
        });
        let count = &mut self.0[at].1;
        *count = count.saturating_add(1);
        *count == REFUSALS || count.is_multiple_of(SECOND_LOOK)
    }

    /// The block was answered, or is gone.
    pub(super) fn forget(&mut self, block: &Block) {
        self.0.retain(|(known, _)| known != block);
    }
}

/// What the split of one block found.
#[derive(Debug, Default)]
pub(super) struct Lesson {
    /// What can be read, in parts.
    pub(super) good: Vec<Block>,
    /// What cannot: each a value, or values that share registers.
    pub(super) dead: Vec<Block>,
}

/// The halves of a block, parted where the widest hole is, else in the middle; never within a value. `None` when
/// there is only one value, or all share registers.
pub(super) fn halves(block: &Block) -> Option<(Block, Block)> {
    let end = |slot: &Slot| slot.offset + width(block.table, slot.kind);
    let middle = block.slots.len() / 2;
    let mut reached = 0;
    let mut best: Option<(u16, usize)> = None;
    for (i, pair) in block.slots.windows(2).enumerate() {
        reached = reached.max(end(&pair[0]));
        let Some(hole) = pair[1].offset.checked_sub(reached) else { continue };
        let is_better = best.is_none_or(|(widest, at)| {
            hole > widest || (hole == widest && (i + 1).abs_diff(middle) < at.abs_diff(middle))
        });
        if is_better {
            best = Some((hole, i + 1));
        }
    }
    let (left, right) = block.slots.split_at(best?.1);
    Some((part(block, left), part(block, right)))
}

/// The block of some slots of another.
fn part(block: &Block, slots: &[Slot]) -> Block {
    let first = slots.first().map_or(0, |slot| slot.offset);
    let end = slots.iter().map(|slot| slot.offset + width(block.table, slot.kind)).max();
    let slots = slots.iter().cloned().map(|slot| Slot { offset: slot.offset - first, ..slot });
    Block {
        table: block.table,
        start: block.start + first,
        count: end.unwrap_or(first) - first,
        slots: slots.collect(),
    }
}

impl Lesson {
    /// The plan as it is after this lesson about `block` of the poll `poll`.
    pub(super) fn apply(mut self, plan: &Plan, poll: usize, block: &Block) -> Plan {
        let mut plan = plan.clone();
        self.good.sort_by_key(|block| block.start);
        let poll = &mut plan.polls[poll];
        let dead = self.dead.iter().flat_map(|block| block.slots.iter().map(|slot| slot.point));
        poll.forbidden.extend(dead);
        if let Some(at) = poll.blocks.iter().position(|known| known == block) {
            poll.blocks.splice(at..=at, self.good.iter().cloned());
        }
        plan.learned.extend(self.holes(block));
        plan.learned.sort_by_key(|hole| (hole.table, hole.first));
        plan.learned.dedup();
        plan
    }

    /// The addresses of the block that are not asked for any more.
    fn holes(&self, block: &Block) -> Vec<Forbidden> {
        let (table, first) = (block.table, u32::from(block.start));
        let end = first + u32::from(block.count);
        let mut holes = Vec::new();
        let mut reached = first;
        let hole =
            |first: u32, end: u32| Forbidden { table, first: first as u16, last: (end - 1) as u16 };
        for good in &self.good {
            let start = u32::from(good.start);
            if start > reached {
                holes.push(hole(reached, start));
            }
            reached = reached.max(start + u32::from(good.count));
        }
        if end > reached {
            holes.push(hole(reached, end));
        }
        holes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::PointIndex;
    use crate::profile::{NumberType, Part, RegisterKind, Table, WordOrder};

    fn block(start: u16, offsets: &[u16]) -> Block {
        let kind = RegisterKind { number: NumberType::U16, order: WordOrder::ABCD };
        let slot = |(i, &offset): (usize, &u16)| Slot {
            point: PointIndex(i as u16),
            offset,
            kind,
            part: Part::Whole,
        };
        let slots: Vec<Slot> = offsets.iter().enumerate().map(slot).collect();
        let count = offsets.iter().max().unwrap() + 1;
        Block { table: Table::Holding, start, count, slots }
    }

    fn spans(blocks: &[Block]) -> Vec<(u16, u16)> {
        blocks.iter().map(|block| (block.start, block.count)).collect()
    }

    /// Splits as the bus does, for a device that refuses whatever touches `refused`.
    fn learn(whole: &Block, refused: impl Fn(u16) -> bool) -> (Lesson, usize) {
        let (mut lesson, mut asked) = (Lesson::default(), 0);
        let mut open: Vec<Block> =
            halves(whole).map_or(vec![whole.clone()], |(left, right)| vec![right, left]);
        while let Some(block) = open.pop() {
            asked += 1;
            if !(block.start..block.start + block.count).any(&refused) {
                lesson.good.push(block);
            } else if let Some((left, right)) = halves(&block) {
                open.extend([right, left]);
            } else {
                lesson.dead.push(block);
            }
        }
        (lesson, asked)
    }

    #[test]
    fn the_widest_hole_is_tried_first() {
        let (left, right) = halves(&block(100, &[0, 1, 2, 9])).unwrap();
        assert_eq!(spans(&[left, right]), [(100, 3), (109, 1)]);
        let (left, right) = halves(&block(100, &[0, 1, 2, 3])).unwrap();
        assert_eq!(spans(&[left, right]), [(100, 2), (102, 2)]);
        assert!(halves(&block(100, &[0])).is_none());
        assert!(halves(&block(100, &[0, 0])).is_none(), "two values of one register");
    }

    #[test]
    fn a_refused_hole_costs_one_split_and_no_value() {
        let whole = block(100, &[0, 1, 2, 9]);
        let (lesson, asked) = learn(&whole, |address| address == 105);
        assert_eq!(
            (spans(&lesson.good), lesson.dead.len(), asked),
            (vec![(100, 3), (109, 1)], 0, 2)
        );
        let hole = Forbidden { table: Table::Holding, first: 103, last: 108 };
        assert_eq!(lesson.holes(&whole), [hole]);
    }

    #[test]
    fn a_refused_value_is_found_in_a_few_questions() {
        let offsets: Vec<u16> = (0..100).collect();
        let (lesson, asked) = learn(&block(0, &offsets), |address| address == 57);
        assert_eq!(spans(&lesson.dead), [(57, 1)]);
        assert!(asked <= 14, "{asked} questions");
    }

    #[test]
    fn a_block_is_split_at_the_second_refusal_in_a_row() {
        let mut refusals = Refusals::default();
        let (a, b) = (block(1, &[0, 1]), block(9, &[0]));
        assert!(!refusals.count(&a) && !refusals.count(&b));
        refusals.forget(&a);
        assert!(!refusals.count(&a) && refusals.count(&a) && !refusals.count(&a));
        assert!(refusals.count(&b));
    }

    proptest! {
        #[test]
        fn nothing_that_can_be_read_is_given_up(
            gaps in prop::collection::vec(0_u16..4, 1..60),
            refused in prop::collection::btree_set(0_u16..240, 0..8),
        ) {
            let mut at = 0;
            let offsets: Vec<u16> = gaps.iter().map(|gap| { at += 1 + gap; at - 1 - gaps[0] }).collect();
            let whole = block(0, &offsets);
            let (lesson, _) = learn(&whole, |address| refused.contains(&address));
            let mut points: Vec<u16> = lesson.good.iter().flat_map(|b| &b.slots).map(|s| s.point.0).collect();
            points.sort_unstable();
            let readable: Vec<u16> = (0..offsets.len() as u16)
                .filter(|i| !refused.contains(&offsets[usize::from(*i)])).collect();
            let is_whole_good = !(0..whole.count).any(|address| refused.contains(&address));
            prop_assert!(is_whole_good || points == readable, "{points:?} {readable:?}");
        }
    }
}
