//! Where a point stands in a register map.

use std::ops::Range;

use toml::Spanned;

use super::point::Placed;
use crate::profile::error::Problems;
use crate::profile::command::RegisterOrder;
use crate::profile::raw::{RawRead, RawWrite};
use crate::profile::{
    ModbusSource, NumberType, Read, RegisterKind, RegisterRead, Table, WordOrder,
};

/// What a register is read by.
pub(super) struct Bus<'a> {
    pub(super) source: &'a ModbusSource,
    pub(super) order: WordOrder,
    /// Addresses that look like 40101 are meant.
    pub(super) zero_based: bool,
}

pub(super) fn compile(
    raw: &RawRead,
    at: &Range<usize>,
    bus: &Bus<'_>,
    problems: &mut Problems<'_>,
) -> Option<RegisterRead> {
    if let Some(path) = &raw.path {
        let help = vec![
            "allowed: table, address, type, word_order, poll, scale, offset, invalid".to_owned(),
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
    let read = RegisterRead { table: table?, address: address?, kind, poll: poll? };
    check_size(&read, at, bus.source, problems);
    check_sentinels(kind.number, &raw.invalid, problems);
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
    if table.is_bits() && raw.number.is_none() {
        return Some(NumberType::Bit);
    }
    let word = problems.require(raw.number.as_ref(), at, "type", "\"u16\"")?;
    let number = problems.choose(word, "type", &NumberType::ALL, NumberType::as_str)?;
    let is_bit = number == NumberType::Bit;
    match (table.is_bits(), is_bit) {
        (true, false) => {
            let message = format!("the {} table holds bits; leave `type` out", table.as_str());
            problems.report(&word.span(), message);
            None
        }
        (false, true) => {
            problems.report(&word.span(), "single bits of a register are not supported yet");
            None
        }
        _ => Some(number),
    }
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
fn check_sentinels(number: NumberType, invalid: &[Spanned<f64>], problems: &mut Problems<'_>) {
    let (low, high) = match number {
        NumberType::Bit => (0.0, 1.0),
        NumberType::U16 => (0.0, f64::from(u16::MAX)),
        NumberType::I16 => (f64::from(i16::MIN), f64::from(i16::MAX)),
        NumberType::U32 => (0.0, f64::from(u32::MAX)),
        NumberType::I32 => (f64::from(i32::MIN), f64::from(i32::MAX)),
        NumberType::U64 => (0.0, u64::MAX as f64),
        NumberType::I64 => (i64::MIN as f64, i64::MAX as f64),
        NumberType::F32 | NumberType::F64 => return,
    };
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
    let is_same = a.address == b.address && a.kind == b.kind;
    a.table == b.table && x.start < y.end && y.start < x.end && !is_same
}

fn describe(read: &RegisterRead) -> String {
    let RegisterRead { table, address, kind, .. } = read;
    format!("{} {address} {} {}", table.as_str(), kind.number.as_str(), kind.order.as_str())
}
