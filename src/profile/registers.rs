//! Modbus registers: which table, how many, and the number that they make.
//!
//! Pure: the bus poller and the fixtures of a profile decode by the same function.

/// Where a point stands in a Modbus unit.
#[derive(Debug, Clone, PartialEq)]
pub struct RegisterRead {
    /// Which table.
    pub table: Table,
    /// Zero-based address.
    pub address: u16,
    /// How the registers make a number, word order included.
    pub kind: RegisterKind,
    /// The name of a poll rate in [`ModbusSource::poll`](super::ModbusSource::poll).
    pub poll: String,
}

/// Registers or coils to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterWrite {
    /// Holding registers or coils.
    pub table: Table,
    /// Zero-based address of the first.
    pub address: u16,
    /// The words, or 0 and 1 for coils.
    pub values: Vec<u16>,
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
    /// Every type.
    pub const ALL: [NumberType; 9] = [
        NumberType::Bit,
        NumberType::U16,
        NumberType::I16,
        NumberType::U32,
        NumberType::I32,
        NumberType::F32,
        NumberType::U64,
        NumberType::I64,
        NumberType::F64,
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
    /// How many registers the number takes, or bits in a table of bits: 1, 2 or 4.
    pub fn words(self) -> u16 {
        match self.number {
            NumberType::Bit | NumberType::U16 | NumberType::I16 => 1,
            NumberType::U32 | NumberType::I32 | NumberType::F32 => 2,
            NumberType::U64 | NumberType::I64 | NumberType::F64 => 4,
        }
    }
}

/// The number in the first [`RegisterKind::words`] of `words`; `None` when there are too few. A bit is 1 for any word
/// but 0. 64-bit whole numbers beyond 2^53 lose their last digits.
pub fn decode(kind: RegisterKind, words: &[u16]) -> Option<f64> {
    let words = words.get(..usize::from(kind.words()))?;
    let bits = assemble(words, kind.order);
    Some(match kind.number {
        NumberType::Bit => f64::from(u8::from(bits != 0)),
        NumberType::U16 | NumberType::U32 | NumberType::U64 => bits as f64,
        NumberType::I16 => f64::from(bits as u16 as i16),
        NumberType::I32 => f64::from(bits as u32 as i32),
        NumberType::I64 => bits as i64 as f64,
        NumberType::F32 => f64::from(f32::from_bits(bits as u32)),
        NumberType::F64 => f64::from_bits(bits),
    })
}

/// The words of a number; `None` when the type cannot hold it.
pub fn encode(kind: RegisterKind, value: f64) -> Option<Vec<u16>> {
    let whole = |low: f64, high: f64| {
        (value.fract() == 0.0 && (low..=high).contains(&value)).then_some(value)
    };
    let bits = match kind.number {
        NumberType::Bit => whole(0.0, 1.0)? as u64,
        NumberType::U16 => whole(0.0, f64::from(u16::MAX))? as u64,
        NumberType::I16 => u64::from(whole(f64::from(i16::MIN), f64::from(i16::MAX))? as i16 as u16),
        NumberType::U32 => whole(0.0, f64::from(u32::MAX))? as u64,
        NumberType::I32 => u64::from(whole(f64::from(i32::MIN), f64::from(i32::MAX))? as i32 as u32),
        NumberType::F32 => u64::from((value as f32).to_bits()),
        NumberType::U64 => whole(0.0, u64::MAX as f64)? as u64,
        NumberType::I64 => whole(i64::MIN as f64, i64::MAX as f64)? as i64 as u64,
        NumberType::F64 => value.to_bits(),
    };
    let n = kind.words();
    let mut words: Vec<u16> = (0..n).rev().map(|i| (bits >> (16 * i)) as u16).collect();
    if n > 1 && kind.order.is_low_word_first() {
        words.reverse();
    }
    if n > 1 && kind.order.swaps_bytes() {
        words.iter_mut().for_each(|word| *word = word.swap_bytes());
    }
    Some(words)
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
}
