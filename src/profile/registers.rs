//! Modbus registers: which table, how many, the number that they make, and the registers that a number makes.
//!
//! Pure: the bus poller, the commands and the fixtures of a profile decode and encode by the same functions.

use std::sync::Arc;

/// The longest text in registers.
pub const MAX_TEXT: u8 = 32;

/// How far a number may be from a whole one, relative to itself, and still be written as one: what scale and offset
/// leave behind in the last digits.
const WHOLE: f64 = 1e-9;

/// Where a point stands in a Modbus unit.
#[derive(Debug, Clone, PartialEq)]
pub struct RegisterRead {
    /// Which table.
    pub table: Table,
    /// Zero-based address.
    pub address: u16,
    /// How the registers make a number, word order included.
    pub kind: RegisterKind,
    /// What of the number is the value.
    pub part: Part,
    /// The name of a poll rate in [`ModbusSource::poll`](super::ModbusSource::poll).
    pub poll: String,
}

/// What of the registers' number is the value.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Part {
    /// All of it.
    #[default]
    Whole,
    /// Its bits `low` to `high`, both included; bit 0 is the lowest.
    Bits {
        /// The lowest bit.
        low: u8,
        /// The highest bit.
        high: u8,
    },
    /// The code of the state whose text it is. A text that is no state's is no number.
    Texts(Arc<[(String, f64)]>),
}

/// Registers (or bits, as 0 and 1) to be written in one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterWrite {
    /// [`Table::Holding`] or [`Table::Coil`].
    pub table: Table,
    /// The first address, from zero.
    pub address: u16,
    /// What is written from there on.
    pub values: Vec<u16>,
}

/// Some bits of a holding register, to be written without touching the others (function 22).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaskWrite {
    /// The address, from zero.
    pub address: u16,
    /// The bits that are written.
    pub mask: u16,
    /// What they become; other bits are 0 here.
    pub value: u16,
}

/// Modbus data tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Coils, function 1.
    Coil,
    /// Discrete inputs, function 2.
    Discrete,
    /// Holding registers, function 3.
    Holding,
    /// Input registers, function 4.
    Input,
}

/// How registers make a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegisterKind {
    /// The number's type.
    pub number: NumberType,
    /// The order of its words and bytes.
    pub order: WordOrder,
}

/// Number types in registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum NumberType {
    Bit,
    U16,
    I16,
    U32,
    I32,
    F32,
    U64,
    I64,
    F64,
    /// Four decimal digits, one in each half byte.
    Bcd16,
    /// Eight decimal digits, one in each half byte.
    Bcd32,
    /// ASCII, two characters in each register; so many registers.
    Text(u8),
}

/// Orders of the bytes A (most significant) to D in a 32-bit value. A 64-bit value follows the same rule: its words
/// high first (ABCD, BADC) or low first (CDAB, DCBA), the bytes in each word swapped in BADC and DCBA. A 16-bit value
/// always has its high byte first, as the Modbus specification says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, clippy::upper_case_acronyms)]
pub enum WordOrder {
    ABCD,
    CDAB,
    BADC,
    DCBA,
}

impl Table {
    /// Every table.
    pub const ALL: [Table; 4] = [Table::Coil, Table::Discrete, Table::Holding, Table::Input];

    /// The table's spelling in profiles.
    pub fn as_str(self) -> &'static str {
        match self {
            Table::Coil => "coil",
            Table::Discrete => "discrete",
            Table::Holding => "holding",
            Table::Input => "input",
        }
    }

    /// Whether it holds single bits, not registers of 16.
    pub fn is_bits(self) -> bool {
        matches!(self, Table::Coil | Table::Discrete)
    }
}

impl NumberType {
    /// Every type; a text as one of one register, however long it is.
    pub const ALL: [NumberType; 12] = [
        NumberType::Bit,
        NumberType::U16,
        NumberType::I16,
        NumberType::U32,
        NumberType::I32,
        NumberType::F32,
        NumberType::U64,
        NumberType::I64,
        NumberType::F64,
        NumberType::Bcd16,
        NumberType::Bcd32,
        NumberType::Text(1),
    ];

    /// The type's spelling in profiles.
    pub fn as_str(self) -> &'static str {
        match self {
            NumberType::Bit => "bit",
            NumberType::U16 => "u16",
            NumberType::I16 => "i16",
            NumberType::U32 => "u32",
            NumberType::I32 => "i32",
            NumberType::F32 => "f32",
            NumberType::U64 => "u64",
            NumberType::I64 => "i64",
            NumberType::F64 => "f64",
            NumberType::Bcd16 => "bcd16",
            NumberType::Bcd32 => "bcd32",
            NumberType::Text(_) => "text",
        }
    }
}

impl WordOrder {
    /// Every order.
    pub const ALL: [WordOrder; 4] =
        [WordOrder::ABCD, WordOrder::CDAB, WordOrder::BADC, WordOrder::DCBA];

    /// The order's spelling in profiles.
    pub fn as_str(self) -> &'static str {
        match self {
            WordOrder::ABCD => "ABCD",
            WordOrder::CDAB => "CDAB",
            WordOrder::BADC => "BADC",
            WordOrder::DCBA => "DCBA",
        }
    }

    fn is_low_word_first(self) -> bool {
        matches!(self, WordOrder::CDAB | WordOrder::DCBA)
    }

    fn swaps_bytes(self) -> bool {
        matches!(self, WordOrder::BADC | WordOrder::DCBA)
    }
}

impl RegisterKind {
    /// How many registers the number takes, or bits in a table of bits: 1, 2 or 4, and up to [`MAX_TEXT`] for a text.
    pub fn words(self) -> u16 {
        match self.number {
            NumberType::Bit | NumberType::U16 | NumberType::I16 | NumberType::Bcd16 => 1,
            NumberType::U32 | NumberType::I32 | NumberType::F32 | NumberType::Bcd32 => 2,
            NumberType::U64 | NumberType::I64 | NumberType::F64 => 4,
            NumberType::Text(words) => u16::from(words),
        }
    }

    /// The least and the greatest whole number that it holds; `None` for kinds that hold fractions or texts.
    pub fn whole_range(self) -> Option<(f64, f64)> {
        Some(match self.number {
            NumberType::Bit => (0.0, 1.0),
            NumberType::U16 => (0.0, f64::from(u16::MAX)),
            NumberType::I16 => (f64::from(i16::MIN), f64::from(i16::MAX)),
            NumberType::U32 => (0.0, f64::from(u32::MAX)),
            NumberType::I32 => (f64::from(i32::MIN), f64::from(i32::MAX)),
            NumberType::U64 => (0.0, u64::MAX as f64),
            NumberType::I64 => (i64::MIN as f64, i64::MAX as f64),
            NumberType::Bcd16 => (0.0, 9_999.0),
            NumberType::Bcd32 => (0.0, 99_999_999.0),
            NumberType::F32 | NumberType::F64 | NumberType::Text(_) => return None,
        })
    }
}

impl RegisterRead {
    /// The raw value in the first registers of `words`; `None` when there are too few, or when they make none: digits
    /// beyond 9 in a BCD number, a text that is no state's.
    pub fn decode(&self, words: &[u16]) -> Option<f64> {
        decode_part(self.kind, &self.part, words)
    }

    /// The bits of a single register that the value takes, when it does not take all of it.
    pub fn mask(&self) -> Option<u16> {
        match self.part {
            Part::Bits { low, high } if self.kind.words() == 1 => Some(mask(low, high) as u16),
            _ => None,
        }
    }
}

/// As [`decode`], but only what `part` says.
pub fn decode_part(kind: RegisterKind, part: &Part, words: &[u16]) -> Option<f64> {
    match part {
        Part::Whole => decode(kind, words),
        Part::Bits { low, high } => {
            let words = words.get(..usize::from(kind.words()))?;
            let bits = assemble(words, kind.order) & mask(*low, *high);
            Some(bits.checked_shr(u32::from(*low))? as f64)
        }
        Part::Texts(texts) => {
            let text = text(kind, words.get(..usize::from(kind.words()))?);
            texts.iter().find(|(known, _)| *known == text).map(|&(_, code)| code)
        }
    }
}

/// The number in the first [`RegisterKind::words`] of `words`; `None` when there are too few, when a BCD number has a
/// digit beyond 9, or for a text. A bit is 1 for any word but 0. 64-bit whole numbers beyond 2^53 lose their last digits.
pub fn decode(kind: RegisterKind, words: &[u16]) -> Option<f64> {
    let words = words.get(..usize::from(kind.words()))?;
    if let NumberType::Text(_) = kind.number {
        return None;
    }
    let bits = assemble(words, kind.order);
    Some(match kind.number {
        NumberType::Bit => f64::from(u8::from(bits != 0)),
        NumberType::U16 | NumberType::U32 | NumberType::U64 => bits as f64,
        NumberType::I16 => f64::from(bits as u16 as i16),
        NumberType::I32 => f64::from(bits as u32 as i32),
        NumberType::I64 => bits as i64 as f64,
        NumberType::F32 => f64::from(f32::from_bits(bits as u32)),
        NumberType::F64 => f64::from_bits(bits),
        NumberType::Bcd16 | NumberType::Bcd32 => from_bcd(bits)?,
        NumberType::Text(_) => return None,
    })
}

/// The registers of a raw value, the inverse of [`decode`]: `None` when the kind cannot hold it, because it is out of
/// range, no number, or has a fraction that is more than the last digits of a calculation. Nothing is clamped or
/// rounded off: what is written is what was meant, or nothing.
pub fn encode(kind: RegisterKind, value: f64) -> Option<Vec<u16>> {
    if !value.is_finite() {
        return None;
    }
    let bits = match kind.number {
        NumberType::F64 => value.to_bits(),
        NumberType::F32 => {
            let single = value as f32;
            single.is_finite().then_some(u64::from(single.to_bits()))?
        }
        NumberType::Text(_) => return None,
        NumberType::Bcd16 | NumberType::Bcd32 => to_bcd(whole(kind, value)? as u64),
        NumberType::I16 | NumberType::I32 | NumberType::I64 => whole(kind, value)? as i64 as u64,
        _ => whole(kind, value)? as u64,
    };
    Some(spread(bits, kind))
}

/// The whole number that was meant, if the kind holds it.
fn whole(kind: RegisterKind, value: f64) -> Option<f64> {
    let (low, high) = kind.whole_range()?;
    let near = value.round();
    let is_whole = (value - near).abs() <= WHOLE * value.abs().max(1.0);
    // `u64::MAX as f64` is 2^64 itself, one too many; so is the upper end of an i64.
    let is_below_end = kind.words() < 4 || near < high;
    (is_whole && near >= low && near <= high && is_below_end).then_some(near)
}

fn mask(low: u8, high: u8) -> u64 {
    let width = u32::from(high.saturating_sub(low)) + 1;
    let ones = if width >= 64 { u64::MAX } else { (1 << width) - 1 };
    ones.checked_shl(u32::from(low)).unwrap_or(0)
}

fn from_bcd(bits: u64) -> Option<f64> {
    let digit = |i: u32| (bits >> (4 * i)) & 0xF;
    (0..8)
        .rev()
        .try_fold(0_u64, |sum, i| (digit(i) <= 9).then(|| sum * 10 + digit(i)))
        .map(|n| n as f64)
}

fn to_bcd(number: u64) -> u64 {
    (0..8).fold(0, |bits, i| bits | ((number / 10_u64.pow(i)) % 10) << (4 * i))
}

/// The characters of a text, without the spaces and zeros that fill it up. The orders that swap the bytes of a
/// word swap its characters.
fn text(kind: RegisterKind, words: &[u16]) -> String {
    let swap = |word: &u16| if kind.order.swaps_bytes() { word.swap_bytes() } else { *word };
    let bytes =
        words.iter().flat_map(|word| swap(word).to_be_bytes()).take_while(|&byte| byte != 0);
    let text: String = bytes.map(char::from).collect();
    text.trim().to_owned()
}

/// The inverse of [`assemble`].
fn spread(bits: u64, kind: RegisterKind) -> Vec<u16> {
    let count = kind.words();
    if count == 1 {
        return vec![bits as u16];
    }
    let word = |i: u16| {
        let word = (bits >> (16 * i)) as u16;
        if kind.order.swaps_bytes() { word.swap_bytes() } else { word }
    };
    if kind.order.is_low_word_first() {
        (0..count).map(word).collect()
    } else {
        (0..count).rev().map(word).collect()
    }
}

fn assemble(words: &[u16], order: WordOrder) -> u64 {
    if let [word] = words {
        return u64::from(*word);
    }
    let append = |bits: u64, word: &u16| {
        let word = if order.swaps_bytes() { word.swap_bytes() } else { *word };
        bits << 16 | u64::from(word)
    };
    if order.is_low_word_first() {
        words.iter().rev().fold(0, append)
    } else {
        words.iter().fold(0, append)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(number: NumberType, order: WordOrder, words: &[u16], expected: f64) {
        let kind = RegisterKind { number, order };
        assert_eq!(decode(kind, words), Some(expected), "{number:?} {order:?} {words:04x?}");
        assert_eq!(decode(kind, &words[1..]), None, "a word short");
    }

    #[test]
    fn sixteen_bits_have_no_word_order() {
        for order in WordOrder::ALL {
            check(NumberType::U16, order, &[0xFF38], 65_336.0);
            check(NumberType::I16, order, &[0xFF38], -200.0);
            check(NumberType::Bit, order, &[1], 1.0);
            check(NumberType::Bit, order, &[0], 0.0);
        }
    }

    #[test]
    fn thirty_two_bits_in_every_order() {
        check(NumberType::F32, WordOrder::ABCD, &[0x4060, 0x0000], 3.5);
        check(NumberType::F32, WordOrder::CDAB, &[0x0000, 0x4060], 3.5);
        check(NumberType::F32, WordOrder::BADC, &[0x6040, 0x0000], 3.5);
        check(NumberType::F32, WordOrder::DCBA, &[0x0000, 0x6040], 3.5);
        check(NumberType::U32, WordOrder::ABCD, &[0x0102, 0x0304], f64::from(0x0102_0304));
        check(NumberType::U32, WordOrder::DCBA, &[0x0403, 0x0201], f64::from(0x0102_0304));
        check(NumberType::I32, WordOrder::CDAB, &[0xFFFE, 0xFFFF], -2.0);
    }

    #[test]
    fn sixty_four_bits_in_every_order() {
        let value = 1_234.567_8_f64;
        let [a, b, c, d]: [u16; 4] =
            std::array::from_fn(|i| (value.to_bits() >> (48 - 16 * i)) as u16);
        let swap = u16::swap_bytes;
        check(NumberType::F64, WordOrder::ABCD, &[a, b, c, d], value);
        check(NumberType::F64, WordOrder::CDAB, &[d, c, b, a], value);
        check(NumberType::F64, WordOrder::BADC, &[a, b, c, d].map(swap), value);
        check(NumberType::F64, WordOrder::DCBA, &[d, c, b, a].map(swap), value);
        check(NumberType::I64, WordOrder::ABCD, &[0xFFFF, 0xFFFF, 0xFFFF, 0xFFF6], -10.0);
        check(NumberType::U64, WordOrder::CDAB, &[7, 0, 0, 0], 7.0);
    }

    #[test]
    fn words_after_the_number_do_not_matter() {
        let kind = RegisterKind { number: NumberType::U16, order: WordOrder::ABCD };
        assert_eq!(decode(kind, &[7, 8, 9]), Some(7.0));
    }

    #[test]
    fn bcd_has_decimal_digits_only() {
        check(NumberType::Bcd16, WordOrder::ABCD, &[0x1234], 1_234.0);
        check(NumberType::Bcd32, WordOrder::ABCD, &[0x1234, 0x5678], 12_345_678.0);
        check(NumberType::Bcd32, WordOrder::CDAB, &[0x5678, 0x1234], 12_345_678.0);
        let kind = RegisterKind { number: NumberType::Bcd16, order: WordOrder::ABCD };
        assert_eq!(decode(kind, &[0x12A4]), None);
    }

    #[test]
    fn bits_are_counted_from_the_lowest() {
        let check = |number, order, part: (u8, u8), words: &[u16], expected| {
            let part = Part::Bits { low: part.0, high: part.1 };
            assert_eq!(decode_part(RegisterKind { number, order }, &part, words), Some(expected));
        };
        check(NumberType::U16, WordOrder::ABCD, (3, 3), &[0b0000_1000], 1.0);
        check(NumberType::U16, WordOrder::ABCD, (3, 3), &[0b1111_0111], 0.0);
        check(NumberType::U16, WordOrder::ABCD, (4, 7), &[0x00A5], 10.0);
        check(NumberType::U16, WordOrder::ABCD, (0, 15), &[0xFFFF], 65_535.0);
        check(NumberType::U32, WordOrder::ABCD, (16, 16), &[1, 0], 1.0);
        check(NumberType::U32, WordOrder::CDAB, (16, 16), &[0, 1], 1.0);
    }

    #[test]
    fn a_text_is_the_code_of_its_state() {
        let texts: Arc<[(String, f64)]> = [("RUN".to_owned(), 1.0), ("E7".to_owned(), 9.0)].into();
        let check = |order, words: &[u16], expected| {
            let kind = RegisterKind { number: NumberType::Text(2), order };
            assert_eq!(decode_part(kind, &Part::Texts(Arc::clone(&texts)), words), expected);
        };
        check(WordOrder::ABCD, &[0x5255, 0x4E20], Some(1.0));
        check(WordOrder::ABCD, &[0x5255, 0x4E00], Some(1.0));
        check(WordOrder::BADC, &[0x5552, 0x204E], Some(1.0));
        check(WordOrder::ABCD, &[0x4537, 0], Some(9.0));
        check(WordOrder::ABCD, &[0xFFFF, 0xFFFF], None);
        check(WordOrder::ABCD, &[0x5255], None);
    }

    fn refuse(number: NumberType, value: f64) {
        for order in WordOrder::ALL {
            assert_eq!(encode(RegisterKind { number, order }, value), None, "{number:?} {value}");
        }
    }

    #[test]
    fn what_a_kind_cannot_hold_is_not_written() {
        refuse(NumberType::U16, -1.0);
        refuse(NumberType::U16, 65_536.0);
        refuse(NumberType::U16, 0.5);
        refuse(NumberType::I16, 32_768.0);
        refuse(NumberType::Bit, 2.0);
        refuse(NumberType::Bcd16, 10_000.0);
        refuse(NumberType::U64, u64::MAX as f64);
        refuse(NumberType::I64, i64::MAX as f64);
        refuse(NumberType::F32, 1e39);
        refuse(NumberType::F64, f64::NAN);
        refuse(NumberType::F64, f64::INFINITY);
        refuse(NumberType::Text(3), 1.0);
    }

    #[test]
    fn the_last_digits_of_a_calculation_are_no_fraction() {
        let kind = RegisterKind { number: NumberType::U16, order: WordOrder::ABCD };
        assert_eq!(encode(kind, 0.57 / 0.01), Some(vec![57]));
    }

    fn any_kind() -> impl Strategy<Value = RegisterKind> {
        let numbers = NumberType::ALL.into_iter().filter(|n| !matches!(n, NumberType::Text(_)));
        let numbers = prop::sample::select(numbers.collect::<Vec<_>>());
        (numbers, prop::sample::select(WordOrder::ALL.to_vec()))
            .prop_map(|(number, order)| RegisterKind { number, order })
    }

    proptest! {
        #[test]
        fn what_was_encoded_decodes_to_itself(kind in any_kind(), share in 0.0..1.0_f64) {
            let (low, high) = kind.whole_range().unwrap_or((-1e6, 1e6));
            // Beyond 2^53 not every whole number is a float.
            let (low, high) = (low.max(-9e15), high.min(9e15));
            let value = (low + share * (high - low)).round();
            let value = if kind.number == NumberType::F32 { f64::from(value as f32) } else { value };
            let words = encode(kind, value).expect("it is within");
            prop_assert_eq!(words.len(), usize::from(kind.words()));
            prop_assert_eq!(decode(kind, &words), Some(value));
        }

        #[test]
        fn no_words_and_no_number_are_too_odd(
            kind in any_kind(),
            words in prop::collection::vec(any::<u16>(), 0..6),
            value in any::<f64>(),
            (low, high) in (0_u8..255, 0_u8..255),
        ) {
            if let Some(written) = encode(kind, value) {
                prop_assert_eq!(written.len(), usize::from(kind.words()));
            }
            decode_part(kind, &Part::Bits { low, high }, &words);
            if let Some(number) = decode(kind, &words) {
                // A bit is 1 for any word; a float may be none; a long number loses digits.
                let is_exact = kind.words() < 4 && kind.number != NumberType::Bit && number.is_finite();
                if is_exact {
                    let same = encode(kind, number);
                    prop_assert_eq!(same.as_deref(), words.get(..usize::from(kind.words())));
                }
            }
        }
    }
}
