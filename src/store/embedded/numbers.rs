//! Numbers as few bytes: what hot rows and sealed blocks have in common. Every read is checked, so that a damaged
//! block ends as a [`Defect`], never as a panic or a huge allocation.

use crate::store::StoreError;

/// The most decimals that a value is scaled by.
pub(super) const MAX_DECIMALS: u8 = 6;

const POWERS: [f64; MAX_DECIMALS as usize + 1] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6];

/// 1.5 * 2^52. Its neighbours among the f64 are whole numbers, so adding it rounds, and the sum's bits minus its own
/// bits are the rounded number. Two cheap instructions that vectorize, where `round() as i64` calls a function.
const ROUNDER: f64 = 6_755_399_441_055_744.0;

/// 2^51: the greatest magnitude for which [`ROUNDER`] works.
const SCALED_LIMIT: f64 = 2_251_799_813_685_248.0;

/// What is wrong with a stored block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Defect(pub(super) &'static str);

impl Defect {
    /// The store's error for it.
    pub(super) fn of(self, what: impl Into<String>) -> StoreError {
        StoreError::Damaged { what: what.into(), why: self.0.to_owned() }
    }
}

/// `value * 10^decimals` and whether that gives back every bit of `value`. Never for NaN, infinities and -0.0.
#[inline]
pub(super) fn scale(value: f64, decimals: u8) -> (i64, bool) {
    let power = POWERS[usize::from(decimals)];
    let shifted = value * power + ROUNDER;
    let whole = shifted - ROUNDER;
    let exact = whole.abs() <= SCALED_LIMIT && (whole / power).to_bits() == value.to_bits();
    ((shifted.to_bits() as i64).wrapping_sub(ROUNDER.to_bits() as i64), exact)
}

/// What [`scale`] was given.
#[inline]
pub(super) fn unscale(scaled: i64, decimals: u8) -> f64 {
    scaled as f64 / POWERS[usize::from(decimals)]
}

/// The fewest decimals that keep every bit of the value.
pub(super) fn decimals_of(value: f64) -> Option<u8> {
    (0..=MAX_DECIMALS).find(|&decimals| scale(value, decimals).1)
}

/// Appends the checksum over everything from `start` on.
pub(super) fn append_checksum(out: &mut Vec<u8>, start: usize) {
    let sum = crc32fast::hash(&out[start..]);
    out.extend_from_slice(&sum.to_le_bytes());
}

/// The content of a checksummed block.
pub(super) fn verified(block: &[u8]) -> Result<Bytes<'_>, Defect> {
    let (content, sum) = block.split_last_chunk().ok_or(Defect("it is cut short"))?;
    if crc32fast::hash(content) != u32::from_le_bytes(*sum) {
        return Err(Defect("its checksum does not match"));
    }
    Ok(Bytes(content))
}

/// Small numbers in few bytes (LEB128).
pub(super) fn write_varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Numbers near zero in few bytes.
pub(super) fn write_signed(out: &mut Vec<u8>, n: i64) {
    write_varint(out, ((n << 1) ^ (n >> 63)) as u64);
}

/// The unread rest of a block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    /// The next `n` bytes.
    pub(super) fn take(&mut self, n: usize) -> Result<&'a [u8], Defect> {
        let (head, rest) = self.0.split_at_checked(n).ok_or(Defect("it is cut short"))?;
        self.0 = rest;
        Ok(head)
    }

    /// The next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Defect> {
        let (head, rest) = self.0.split_first_chunk().ok_or(Defect("it is cut short"))?;
        self.0 = rest;
        Ok(*head)
    }

    /// The next byte.
    pub(super) fn byte(&mut self) -> Result<u8, Defect> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// What [`write_varint`] wrote.
    pub(super) fn varint(&mut self) -> Result<u64, Defect> {
        let mut n = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            n |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(n);
            }
        }
        Err(Defect("a number does not end"))
    }

    /// What [`write_signed`] wrote.
    pub(super) fn signed(&mut self) -> Result<i64, Defect> {
        let n = self.varint()?;
        Ok((n >> 1) as i64 ^ -((n & 1) as i64))
    }

    /// A count that is at most `limit`.
    pub(super) fn count(&mut self, limit: usize) -> Result<usize, Defect> {
        let n = self.varint()?;
        usize::try_from(n).ok().filter(|&n| n <= limit).ok_or(Defect("a count is out of bounds"))
    }

    /// Nothing is left.
    pub(super) fn end(self) -> Result<(), Defect> {
        if self.0.is_empty() { Ok(()) } else { Err(Defect("it goes on after its end")) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_value_is_scaled_only_when_nothing_is_lost() {
        assert_eq!(decimals_of(0.0), Some(0));
        assert_eq!(decimals_of(1.234), Some(3));
        assert_eq!(decimals_of(-0.1), Some(1));
        assert_eq!(decimals_of(1e-6), Some(6));
        for plain in [f64::NAN, -0.0, f64::INFINITY, f64::NEG_INFINITY, 1e-7, 1e300, 0.1 + 0.2] {
            assert_eq!(decimals_of(plain), None, "{plain}");
        }
        assert_eq!(scale(-2.5, 1), (-25, true));
    }

    proptest! {
        #[test]
        fn a_decimal_survives_its_scaling(n in -1_000_000_000_i64..1_000_000_000, decimals in 0..=MAX_DECIMALS) {
            let value = unscale(n, decimals);
            prop_assert_eq!(scale(value, decimals), (n, true));
        }

        #[test]
        fn any_value_that_is_scaled_comes_back(bits: u64) {
            let value = f64::from_bits(bits);
            if let Some(decimals) = decimals_of(value) {
                let (scaled, _) = scale(value, decimals);
                prop_assert_eq!(unscale(scaled, decimals).to_bits(), bits);
            }
        }

        #[test]
        fn numbers_survive_their_bytes(n: i64, m: u64) {
            let mut out = Vec::new();
            write_signed(&mut out, n);
            write_varint(&mut out, m);
            append_checksum(&mut out, 0);
            let mut bytes = verified(&out).unwrap();
            prop_assert_eq!(bytes.signed(), Ok(n));
            prop_assert_eq!(bytes.varint(), Ok(m));
            prop_assert_eq!(bytes.end(), Ok(()));
        }
    }
}
