//! Where a point stands in a register map.

use std::ops::Range;

use crate::profile::spanned::Spanned;

use super::point::Placed;
use crate::profile::command::RegisterOrder;
use crate::profile::error::Problems;
use crate::profile::raw::{RawRead, RawWrite};
use crate::profile::registers::MAX_TEXT;
use crate::profile::{
    ModbusSource, NumberType, Part, Read, RegisterKind, RegisterRead, Table, WordOrder,
};

/// What a register is read by.
pub(super) struct Bus<'a> {
    pub(super) source: &'a ModbusSource,
    pub(super) order: WordOrder,
    /// Addresses that look like 40101 are meant.
    pub(super) zero_based: bool,
    /// What the device writes in each of the point's states, when it has states.
    pub(super) texts: Option<&'a [(String, f64)]>,
}

pub(super) fn compile(
    raw: &RawRead,
    at: &Range<usize>,
    bus: &Bus<'_>,
    problems: &mut Problems<'_>,
) -> Option<RegisterRead> {
    if let Some(path) = &raw.path {
        let help = vec![
            "allowed: table, address, type, word_order, bit, bits, length, poll, scale, offset, invalid"
                .to_owned(),
        ];
        problems.report_with(
            &path.span(),
            "`path` is for JSON; this profile's source is modbus",
            help,
        );
    }
    let table = problems.require(raw.table.as_ref(), at, "table", "\"holding\"");
    let table = table.and_then(|t| problems.choose(t, "table", &Table::ALL, Table::as_str));
    let address = problems.require(raw.address.as_ref(), at, "address", "100");
    let address = address.and_then(|a| compile_address(a, table, bus.zero_based, problems));
    let number = table.and_then(|table| compile_number(raw, table, at, problems));
    let order = raw.word_order.as_ref();
    let order = order.map(|o| problems.choose(o, "word order", &WordOrder::ALL, WordOrder::as_str));
    let poll = compile_poll(raw, at, bus.source, problems);
    let kind = RegisterKind { number: number?, order: order.unwrap_or(Some(bus.order))? };
    if let Some(order) = raw.word_order.as_ref().filter(|_| kind.words() == 1) {
        problems.report(
            &order.span(),
            format_args!("a {} has one word and no order", kind.number.as_str()),
        );
    }
    let part = compile_part(raw, at, kind, bus.texts, problems);
    let read = RegisterRead { table: table?, address: address?, kind, part: part?, poll: poll? };
    check_size(&read, at, bus.source, problems);
    check_sentinels(&read, &raw.invalid, problems);
    Some(read)
}

/// Where a command writes its target.
pub(super) fn compile_target(
    raw: &RawWrite,
    at: &Range<usize>,
    bus: &Bus<'_>,
    problems: &mut Problems<'_>,
) -> Option<RegisterOrder> {
    let table = problems.require(raw.table.as_ref(), at, "table", "\"holding\"")?;
    let writable = [Table::Holding, Table::Coil];
    let table = problems.choose(table, "table that can be written", &writable, Table::as_str)?;
    let address = problems.require(raw.address.as_ref(), at, "address", "200");
    let address = address.and_then(|a| compile_address(a, Some(table), bus.zero_based, problems));
    let number = match (&raw.number, table.is_bits()) {
        (None, true) => NumberType::Bit,
        (Some(word), true) => {
            let message = format!("the {} table holds bits; leave `type` out", table.as_str());
            problems.report(&word.span(), message);
            return None;
        }
        (word, false) => {
            let word = problems.require(word.as_ref(), at, "type", "\"u16\"")?;
            problems.choose(word, "type", &NumberType::ALL, NumberType::as_str)?
        }
    };
    let order = raw.word_order.as_ref();
    let order = order.map(|o| problems.choose(o, "word order", &WordOrder::ALL, WordOrder::as_str));
    let kind = RegisterKind { number, order: order.unwrap_or(Some(bus.order))? };
    Some(RegisterOrder {
        table,
        address: address?,
        kind,
        scale: super::point::factor(raw.scale.clone(), problems),
        offset: raw.offset.as_ref().map_or(0.0, |offset| *offset.get_ref()),
        value: raw.value.as_ref().map(|value| *value.get_ref()),
    })
}

fn compile_address(
    address: &Spanned<i64>,
    table: Option<Table>,
    zero_based: bool,
    problems: &mut Problems<'_>,
) -> Option<u16> {
    let found = *address.get_ref();
    if let Some(zero) = conventional_offset(found, table).filter(|_| !zero_based || found > 0xFFFF)
    {
        let message = format!("{found} looks like a number of the 4xxxx convention");
        let mut help = vec![format!("addresses are zero-based: write {zero}")];
        if found <= 0xFFFF {
            help.push(
                "if the device really answers there, say zero_based = true in [source.modbus]"
                    .to_owned(),
            );
        }
        problems.report_with(&address.span(), message, help);
        return None;
    }
    let small = u16::try_from(found);
    if small.is_err() {
        problems
            .report(&address.span(), format_args!("address {found} is not between 0 and 65535"));
    }
    small.ok()
}

/// The zero-based address that a number such as 40101 or 400101 stands for, when its first digit fits the table.
fn conventional_offset(found: i64, table: Option<Table>) -> Option<i64> {
    let digit = match table? {
        Table::Coil => return None,
        Table::Discrete => 1,
        Table::Input => 3,
        Table::Holding => 4,
    };
    let short = found - digit * 10_000;
    let long = found - digit * 100_000;
    [(short, 9_999), (long, 65_536)]
        .into_iter()
        .find(|(number, last)| (1..=*last).contains(number))
        .map(|(number, _)| number - 1)
}

fn compile_number(
    raw: &RawRead,
    table: Table,
    at: &Range<usize>,
    problems: &mut Problems<'_>,
) -> Option<NumberType> {
    let is_slice = raw.bit.is_some() || raw.bits.is_some();
    if table.is_bits() {
        let word = raw.number.as_ref().filter(|word| word.get_ref() != NumberType::Bit.as_str());
        if let Some(word) = word {
            let message = format!("the {} table holds bits; leave `type` out", table.as_str());
            problems.report(&word.span(), message);
            return None;
        }
        return Some(NumberType::Bit);
    }
    // A bit is one of a u16 unless the profile says otherwise.
    if raw.number.is_none() && is_slice {
        return Some(NumberType::U16);
    }
    let word = problems.require(raw.number.as_ref(), at, "type", "\"u16\"")?;
    match problems.choose(word, "type", &NumberType::ALL, NumberType::as_str)? {
        NumberType::Bit if is_slice => Some(NumberType::U16),
        NumberType::Bit => {
            let help = vec!["write bit = 0 for the lowest to bit = 15 for the highest".to_owned()];
            problems.report_with(&word.span(), "which bit of the register?", help);
            None
        }
        NumberType::Text(_) => compile_length(raw, at, problems).map(NumberType::Text),
        number => Some(number),
    }
}

fn compile_length(raw: &RawRead, at: &Range<usize>, problems: &mut Problems<'_>) -> Option<u8> {
    let length = problems.require(raw.length.as_ref(), at, "length", "8")?;
    let found = *length.get_ref();
    let words = u8::try_from(found).ok().filter(|words| (1..=MAX_TEXT).contains(words));
    if words.is_none() {
        let message = format!("a text has 1 to {MAX_TEXT} registers, not {found}");
        problems.report(&length.span(), message);
    }
    words
}

/// What of the number is the value: bits, the state of a text, or all of it.
fn compile_part(
    raw: &RawRead,
    at: &Range<usize>,
    kind: RegisterKind,
    texts: Option<&[(String, f64)]>,
    problems: &mut Problems<'_>,
) -> Option<Part> {
    let is_text = matches!(kind.number, NumberType::Text(_));
    if let Some(length) = raw.length.as_ref().filter(|_| !is_text) {
        problems.report(&length.span(), "only a text has a `length`");
    }
    if is_text {
        for (key, at) in [
            ("scale", raw.scale.as_ref().map(Spanned::span)),
            ("offset", raw.offset.as_ref().map(Spanned::span)),
            ("bit", raw.bit.as_ref().map(Spanned::span)),
            ("bits", raw.bits.as_ref().map(Spanned::span)),
        ] {
            if let Some(at) = at {
                problems.report(&at, format_args!("a text has no `{key}`"));
            }
        }
        let texts = problems.require(
            texts,
            at,
            "states",
            "{ 1 = { name = \"running\", text = \"RUN\" } }",
        )?;
        return Some(Part::Texts(texts.into()));
    }
    let (low, high, at) = match (&raw.bit, &raw.bits) {
        (None, None) => return Some(Part::Whole),
        (Some(bit), None) => (*bit.get_ref(), *bit.get_ref(), bit.span()),
        (None, Some(bits)) => match bits.get_ref()[..] {
            [low, high] => (low, high, bits.span()),
            _ => {
                problems.report(
                    &bits.span(),
                    "`bits` are the lowest and the highest, for example [4, 7]",
                );
                return None;
            }
        },
        (Some(_), Some(bits)) => {
            problems.report(&bits.span(), "`bit` or `bits`, not both");
            return None;
        }
    };
    let width = match kind.number {
        NumberType::U16 => 16,
        NumberType::U32 => 32,
        other => {
            let message = format!("bits are of a u16 or a u32, not of a {}", other.as_str());
            problems.report(&at, message);
            return None;
        }
    };
    let bits = u8::try_from(low).ok().zip(u8::try_from(high).ok());
    let bits = bits.filter(|(low, high)| low <= high && *high < width);
    if bits.is_none() {
        let last = width - 1;
        let message = format!("a {} has bits 0 to {last}, lowest first", kind.number.as_str());
        problems.report(&at, message);
    }
    bits.map(|(low, high)| Part::Bits { low, high })
}

fn compile_poll(
    raw: &RawRead,
    at: &Range<usize>,
    source: &ModbusSource,
    problems: &mut Problems<'_>,
) -> Option<String> {
    let names: Vec<&str> = source.poll.keys().map(String::as_str).collect();
    let Some(poll) = &raw.poll else {
        return match names[..] {
            // With a single rate there is nothing to choose.
            [only] => Some(only.to_owned()),
            _ => problems.require(
                None,
                at,
                "poll",
                &format!("\"{}\"", names.first().unwrap_or(&"fast")),
            ),
        };
    };
    if names.contains(&poll.get_ref().as_str()) {
        return Some(poll.get_ref().clone());
    }
    if !names.is_empty() {
        let message = format!("no poll rate is named `{}`", poll.get_ref());
        problems.report_choice(&poll.span(), message, poll.get_ref(), &names);
    }
    None
}

fn check_size(
    read: &RegisterRead,
    at: &Range<usize>,
    source: &ModbusSource,
    problems: &mut Problems<'_>,
) {
    let words = read.kind.words();
    if read.address.checked_add(words - 1).is_none() {
        problems
            .report(at, format_args!("{words} registers from {} go beyond 65535", read.address));
    }
    if words > source.max_registers {
        let message = format!(
            "a {} takes {words} registers, but max_registers is {}",
            read.kind.number.as_str(),
            source.max_registers
        );
        problems.report(at, message);
    }
}

/// A sentinel that the type cannot hold would never be seen, for example 0xFFFF in an i16, where it reads -1.
fn check_sentinels(read: &RegisterRead, invalid: &[Spanned<f64>], problems: &mut Problems<'_>) {
    let number = read.kind.number;
    let range = match read.part {
        Part::Bits { low, high } => Some((0.0, 2_f64.powi(i32::from(high - low) + 1) - 1.0)),
        _ => read.kind.whole_range(),
    };
    let Some((low, high)) = range else { return };
    for sentinel in invalid {
        let value = *sentinel.get_ref();
        if !(low..=high).contains(&value) || value.fract() != 0.0 {
            let message = format!(
                "a {} is never {value}; it is whole, from {low} to {high}",
                number.as_str()
            );
            problems.report(&sentinel.span(), message);
        }
    }
}

/// Two points may read the same number, but not the same register as parts of different ones.
pub(super) fn check_overlaps(points: &[Placed], problems: &mut Problems<'_>) {
    for (i, later) in points.iter().enumerate() {
        let Read::Register(read) = &later.point.read else { continue };
        let clash = points[..i].iter().find_map(|earlier| match &earlier.point.read {
            Read::Register(other) if is_clash(read, other) => Some((&earlier.point.name, other)),
            _ => None,
        });
        if let Some((name, other)) = clash {
            let message =
                format!("{} overlaps `{name}`, which is {}", describe(read), describe(other));
            problems.report(&later.read_at, message);
        }
    }
}

fn is_clash(a: &RegisterRead, b: &RegisterRead) -> bool {
    let span = |read: &RegisterRead| {
        let first = u32::from(read.address);
        first..first + u32::from(read.kind.words())
    };
    let (x, y) = (span(a), span(b));
    // Of one word many points may take their own bits, and one all of them.
    let is_same = a.address == b.address && a.kind == b.kind;
    a.table == b.table && x.start < y.end && y.start < x.end && !is_same
}

fn describe(read: &RegisterRead) -> String {
    let RegisterRead { table, address, kind, .. } = read;
    format!("{} {address} {} {}", table.as_str(), kind.number.as_str(), kind.order.as_str())
}
