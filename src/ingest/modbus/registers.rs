//! Stand-in for `crate::profile::registers` until that branch is merged.

use crate::profile::{NumberType, RegisterKind, WordOrder};

pub(super) trait Words {
    fn words(self) -> usize;
}

impl Words for RegisterKind {
    fn words(self) -> usize {
        match self.number {
            NumberType::Bit | NumberType::U16 | NumberType::I16 => 1,
            NumberType::U32 | NumberType::I32 | NumberType::F32 => 2,
            NumberType::U64 | NumberType::I64 | NumberType::F64 => 4,
        }
    }
}

pub(super) fn decode(kind: RegisterKind, words: &[u16]) -> Option<f64> {
    let mut words = words.to_vec();
    if matches!(kind.order, WordOrder::CDAB | WordOrder::DCBA) {
        words.reverse();
    }
    if matches!(kind.order, WordOrder::BADC | WordOrder::DCBA) {
        words.iter_mut().for_each(|w| *w = w.swap_bytes());
    }
    let bits = words.iter().fold(0_u64, |n, &w| n << 16 | u64::from(w));
    let value = match kind.number {
        NumberType::Bit => f64::from(u8::from(bits != 0)),
        NumberType::U16 | NumberType::U32 | NumberType::U64 => bits as f64,
        NumberType::I16 => f64::from(bits as u16 as i16),
        NumberType::I32 => f64::from(bits as u32 as i32),
        NumberType::I64 => bits as i64 as f64,
        NumberType::F32 => f64::from(f32::from_bits(bits as u32)),
        NumberType::F64 => f64::from_bits(bits),
    };
    value.is_finite().then_some(value)
}
