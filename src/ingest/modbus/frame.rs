//! Questions and answers as bytes: what is sent, and exactly what a right answer looks like.
//!
//! Our own framing, because a question's answer is known to the byte: its unit, function, length, byte count, and for
//! a write its echo. tokio-modbus's client checks less, hides bytes that nobody read, and counts its transactions up,
//! so that an unasked answer can carry the next one's number. Its types say what is asked ([`Request`]) and refused
//! ([`ExceptionCode`]).

use tokio_modbus::{ExceptionCode, Request};

use crate::profile::Table;

use super::connection::Fault;
use super::planner::Block;

/// The longest application data unit: RTU 256 bytes, TCP 260.
pub(super) const LONGEST_FRAME: usize = 260;

/// The MBAP header: transaction, protocol, length, unit.
const HEADER: usize = 7;

/// A coil that is set, in functions 5 and 15's single form.
const COIL_ON: u16 = 0xFF00;

/// How a protocol data unit is wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// With the MBAP header.
    Tcp,
    /// Unit in front, checksum behind.
    Rtu,
}

/// A question and what a right answer to it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    unit: u8,
    pdu: Vec<u8>,
    expects: Expects,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expects {
    /// Function, byte count and so many registers.
    Words(u16),
    /// Function, byte count and so many bits, filled up to whole bytes.
    Bits(u16),
    /// The first bytes of the question again.
    Echo(usize),
}

/// All that an RTU answer says of its question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    unit: u8,
    function: u8,
    length: usize,
}

/// What a right answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Values {
    /// Registers, exactly as many as were asked for.
    Words(Vec<u16>),
    /// Coils or discrete inputs, exactly as many as were asked for.
    Bits(Vec<bool>),
    /// It is written.
    Written,
}

/// What the bytes that have come so far are.
pub(super) enum Parsed {
    /// The beginning of an answer.
    Part,
    /// An answer of this length, its frame included.
    Whole(usize, Result<Values, ExceptionCode>),
}

impl Question {
    /// Asks for a block of a unit.
    pub(super) fn read(unit: u8, block: &Block) -> Self {
        let Block { table, start, count, .. } = *block;
        Self::new(
            unit,
            &match table {
                Table::Coil => Request::ReadCoils(start, count),
                Table::Discrete => Request::ReadDiscreteInputs(start, count),
                Table::Holding => Request::ReadHoldingRegisters(start, count),
                Table::Input => Request::ReadInputRegisters(start, count),
            },
        )
    }

    /// Asks `request` of a unit. The caller keeps to the protocol's lengths.
    pub(super) fn new(unit: u8, request: &Request<'_>) -> Self {
        let mut pdu = vec![request.function_code().value()];
        let mut put = |words: &[u16]| pdu.extend(words.iter().flat_map(|word| word.to_be_bytes()));
        let expects = match request {
            Request::ReadCoils(at, count) | Request::ReadDiscreteInputs(at, count) => {
                put(&[*at, *count]);
                Expects::Bits(*count)
            }
            Request::ReadHoldingRegisters(at, count) | Request::ReadInputRegisters(at, count) => {
                put(&[*at, *count]);
                Expects::Words(*count)
            }
            Request::WriteSingleCoil(at, on) => {
                put(&[*at, if *on { COIL_ON } else { 0 }]);
                Expects::Echo(5)
            }
            Request::WriteSingleRegister(at, word) => {
                put(&[*at, *word]);
                Expects::Echo(5)
            }
            Request::WriteMultipleCoils(at, bits) => {
                put(&[*at, bits.len() as u16]);
                let mut bytes = vec![0_u8; bits.len().div_ceil(8)];
                bits.iter()
                    .enumerate()
                    .for_each(|(i, &bit)| bytes[i / 8] |= u8::from(bit) << (i % 8));
                pdu.push(bytes.len() as u8);
                pdu.extend(bytes);
                Expects::Echo(5)
            }
            Request::WriteMultipleRegisters(at, words) => {
                put(&[*at, words.len() as u16]);
                pdu.push((words.len() * 2) as u8);
                pdu.extend(words.iter().flat_map(|word| word.to_be_bytes()));
                Expects::Echo(5)
            }
            Request::MaskWriteRegister(at, and, or) => {
                put(&[*at, *and, *or]);
                Expects::Echo(7)
            }
            Request::ReadWriteMultipleRegisters(from, count, at, words) => {
                put(&[*from, *count, *at, words.len() as u16]);
                pdu.push((words.len() * 2) as u8);
                pdu.extend(words.iter().flat_map(|word| word.to_be_bytes()));
                Expects::Words(*count)
            }
            // The poller asks nothing else. With no right answer to expect, none is believed.
            _ => Expects::Echo(0),
        };
        Question { unit, pdu, expects }
    }

    /// What tells its answer from another's on a serial line.
    pub(super) fn shape(&self) -> Shape {
        Shape { unit: self.unit, function: self.pdu[0], length: self.answer_len() }
    }

    /// The unit that is asked.
    pub(super) fn unit(&self) -> u8 {
        self.unit
    }

    /// The length of the question and its answer on a serial line, in characters.
    pub(super) fn characters(&self) -> u32 {
        (self.pdu.len() + self.answer_len() + 6) as u32
    }

    /// The length of the right answer's protocol data unit.
    fn answer_len(&self) -> usize {
        match self.expects {
            Expects::Words(count) => 2 + 2 * usize::from(count),
            Expects::Bits(count) => 2 + usize::from(count).div_ceil(8),
            Expects::Echo(length) => length,
        }
    }

    /// The bytes to send.
    pub(super) fn frame(&self, framing: Framing, transaction: u16) -> Vec<u8> {
        let mut frame = Vec::with_capacity(self.pdu.len() + HEADER + 2);
        match framing {
            Framing::Tcp => {
                frame.extend(transaction.to_be_bytes());
                frame.extend([0, 0]);
                frame.extend((self.pdu.len() as u16 + 1).to_be_bytes());
                frame.push(self.unit);
                frame.extend(&self.pdu);
            }
            Framing::Rtu => {
                frame.push(self.unit);
                frame.extend(&self.pdu);
                frame.extend(checksum(&frame).to_le_bytes());
            }
        }
        frame
    }

    /// Looks at what has come so far. The first byte that is not the right answer's ends the wait.
    pub(super) fn parse(
        &self,
        framing: Framing,
        transaction: u16,
        bytes: &[u8],
    ) -> Result<Parsed, Fault> {
        match framing {
            Framing::Tcp => self.parse_tcp(transaction, bytes),
            Framing::Rtu => self.parse_rtu(bytes),
        }
    }

    fn parse_tcp(&self, transaction: u16, bytes: &[u8]) -> Result<Parsed, Fault> {
        let Some(header) = bytes.first_chunk::<HEADER>() else { return Ok(Parsed::Part) };
        let u16_at = |i: usize| u16::from_be_bytes([header[i], header[i + 1]]);
        let length = usize::from(u16_at(4));
        if u16_at(2) != 0 || !(3..=LONGEST_FRAME - HEADER + 1).contains(&length) {
            return Err(Fault::Malformed("its header is not Modbus TCP's"));
        }
        foreign("transaction", transaction, u16_at(0))?;
        foreign("unit", self.unit.into(), header[6].into())?;
        let Some(pdu) = bytes.get(HEADER..HEADER + length - 1) else { return Ok(Parsed::Part) };
        Ok(Parsed::Whole(HEADER + pdu.len(), self.read_pdu(pdu)?))
    }

    fn parse_rtu(&self, bytes: &[u8]) -> Result<Parsed, Fault> {
        let Some(&[unit, function]) = bytes.first_chunk::<2>() else { return Ok(Parsed::Part) };
        foreign("unit", self.unit.into(), unit.into())?;
        let length = if function == self.pdu[0] | 0x80 { 2 } else { self.answer_len() };
        if function & 0x7F != self.pdu[0] {
            return Err(Fault::foreign("function", self.pdu[0].into(), function.into()));
        }
        if let Some(&count) = bytes.get(2).filter(|_| length > 2) {
            self.check_count(count)?;
        }
        let end = 1 + length;
        let Some(&[low, high]) = bytes.get(end..end + 2).and_then(|rest| rest.first_chunk()) else {
            return Ok(Parsed::Part);
        };
        if checksum(&bytes[..end]) != u16::from_le_bytes([low, high]) {
            return Err(Fault::Checksum);
        }
        Ok(Parsed::Whole(end + 2, self.read_pdu(&bytes[1..end])?))
    }

    /// Whether an answer's byte count is the right one; a write's answer has none.
    fn check_count(&self, count: u8) -> Result<(), Fault> {
        let (asked, found) = match self.expects {
            Expects::Echo(_) => return Ok(()),
            Expects::Words(asked) => (asked, usize::from(count) / 2),
            Expects::Bits(asked) => (asked, usize::from(count) * 8),
        };
        let is_right = usize::from(count) == self.answer_len() - 2;
        if is_right { Ok(()) } else { Err(Fault::Length { asked, found }) }
    }

    fn read_pdu(&self, pdu: &[u8]) -> Result<Result<Values, ExceptionCode>, Fault> {
        let function = self.pdu[0];
        if let [found, code] = pdu
            && *found == function | 0x80
        {
            return Ok(Err(ExceptionCode::new(*code)));
        }
        let found = pdu.first().copied().unwrap_or_default();
        foreign("function", function.into(), found.into())?;
        if let Some(&count) = pdu.get(1) {
            self.check_count(count)?;
        }
        if pdu.len() != self.answer_len() {
            return Err(Fault::Malformed("its length is not what its function has"));
        }
        let data = pdu.get(2..).unwrap_or_default();
        Ok(Ok(match self.expects {
            Expects::Words(_) => {
                let words = data.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
                Values::Words(words.collect())
            }
            Expects::Bits(count) => {
                let bit = |i: usize| data[i / 8] >> (i % 8) & 1 == 1;
                Values::Bits((0..usize::from(count)).map(bit).collect())
            }
            Expects::Echo(length) => {
                if pdu != &self.pdu[..length] {
                    return Err(Fault::Malformed("it repeats another write"));
                }
                Values::Written
            }
        }))
    }
}

fn foreign(what: &'static str, asked: u16, found: u16) -> Result<(), Fault> {
    if asked == found { Ok(()) } else { Err(Fault::foreign(what, asked, found)) }
}

/// The checksum of an RTU frame (CRC-16/MODBUS), sent low byte first.
pub(super) fn checksum(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, &byte| {
        (0..8)
            .fold(crc ^ u16::from(byte), |crc, _| crc >> 1 ^ if crc & 1 == 1 { 0xA001 } else { 0 })
    })
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use proptest::prelude::*;

    use super::*;

    fn requests() -> Vec<Request<'static>> {
        vec![
            Request::ReadCoils(19, 19),
            Request::ReadDiscreteInputs(196, 22),
            Request::ReadHoldingRegisters(107, 3),
            Request::ReadInputRegisters(8, 1),
            Request::WriteSingleCoil(172, true),
            Request::WriteSingleRegister(1, 3),
            Request::WriteMultipleCoils(19, Cow::Owned(vec![true, false, true])),
            Request::WriteMultipleRegisters(1, Cow::Owned(vec![10, 258])),
            Request::MaskWriteRegister(4, 0x00F2, 0x0025),
            Request::ReadWriteMultipleRegisters(3, 6, 14, Cow::Owned(vec![255, 255, 255])),
        ]
    }

    /// tokio-modbus reads what we write.
    #[test]
    fn questions_are_what_another_implementation_reads() {
        for request in requests() {
            let frame = Question::new(17, &request).frame(Framing::Tcp, 7);
            let pdu = tokio_modbus::bytes::Bytes::copy_from_slice(&frame[HEADER..]);
            assert_eq!(Request::try_from(pdu).unwrap(), request);
            assert_eq!(frame[..HEADER], [0, 7, 0, 0, 0, frame.len() as u8 - 6, 17]);
        }
    }

    /// The example of the specification's appendix.
    #[test]
    fn a_frame_of_the_serial_line_ends_with_its_checksum() {
        let question = Question::new(0x11, &Request::ReadHoldingRegisters(0x6B, 3));
        assert_eq!(
            question.frame(Framing::Rtu, 0),
            [0x11, 0x03, 0x00, 0x6B, 0x00, 0x03, 0x76, 0x87]
        );
    }

    fn answer(question: &Question, bytes: &[u8]) -> Result<Option<Values>, Fault> {
        Ok(match question.parse(Framing::Rtu, 0, bytes)? {
            Parsed::Part => None,
            Parsed::Whole(length, result) => {
                assert_eq!(length, bytes.len());
                Some(result.map_err(Fault::of_code)?)
            }
        })
    }

    fn signed(bytes: &[u8]) -> Vec<u8> {
        [bytes, &checksum(bytes).to_le_bytes()].concat()
    }

    #[test]
    fn an_answer_is_right_to_the_byte_or_none() {
        let question = Question::new(0x11, &Request::ReadHoldingRegisters(0x6B, 2));
        let right = signed(&[0x11, 3, 4, 1, 2, 3, 4]);
        let values = Values::Words(vec![0x0102, 0x0304]);
        assert_eq!(answer(&question, &right).unwrap(), Some(values));
        for cut in 0..right.len() {
            assert_eq!(answer(&question, &right[..cut]).unwrap(), None, "{cut} bytes");
        }
        let refuse = |bytes: &[u8], expected: &str| {
            let message = answer(&question, bytes).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        };
        refuse(&signed(&[0x12, 3, 4, 1, 2, 3, 4]), "unit 18, not 17");
        refuse(&signed(&[0x11, 4, 4, 1, 2, 3, 4]), "function 4, not 3");
        refuse(&signed(&[0x11, 3, 2, 1, 2]), "asked for 2 values, the answer has 1");
        refuse(&[0x11, 3, 4, 1, 2, 3, 4, 0, 0], "checksum");
        refuse(&signed(&[0x11, 0x83, 2]), "exception 2");
    }

    #[test]
    fn a_write_is_done_only_if_its_echo_says_so() {
        let question = Question::new(1, &Request::WriteSingleRegister(100, 7));
        let right = signed(&[1, 6, 0, 100, 0, 7]);
        assert_eq!(answer(&question, &right).unwrap(), Some(Values::Written));
        let other = signed(&[1, 6, 0, 100, 0, 8]);
        assert!(matches!(answer(&question, &other), Err(Fault::Malformed(_))));
        let many = Question::new(1, &Request::WriteMultipleRegisters(100, Cow::Owned(vec![7, 8])));
        assert_eq!(answer(&many, &signed(&[1, 16, 0, 100, 0, 2])).unwrap(), Some(Values::Written));
        assert!(answer(&many, &signed(&[1, 16, 0, 100, 0, 1])).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            which in 0_usize..10,
            lead in 0_usize..8,
        ) {
            let question = Question::new(17, &requests()[which]);
            for framing in [Framing::Tcp, Framing::Rtu] {
                let _ = question.parse(framing, 7, &bytes);
                // With a right beginning, so that the rest is looked at, too.
                let begin = question.frame(framing, 7);
                let bytes = [&begin[..lead.min(begin.len())], &bytes].concat();
                let _ = question.parse(framing, 7, &bytes);
            }
        }
    }
}
