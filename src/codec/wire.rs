//! What parent and child say to each other: length-prefixed frames of many calls and as many answers.
//!
//! A frame is a `u32` length and that many bytes; numbers are little-endian, texts and bytes have their own `u32` length.
//! The parent believes nothing that a child writes: an answer that cannot be read is the end of that child.

use std::sync::Arc;

use super::limits::{FRAME_CALLS, MAX_FRAME_BYTES};
use super::{Answer, Codec, CodecError, CodecId, Function, Job, Outcome};
use crate::model::Timestamp;

/// What a child writes first: that it is one, and that its limits are set.
pub(super) const HELLO: [u8; 8] = *b"codec\0\0\x01";

/// A frame that is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of the codec's process cannot be read")]
pub(super) struct Malformed;

/// A call as the child sees it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call<'a> {
    pub(super) codec: CodecId,
    /// Name and text, when the parent thinks that the child does not have them.
    pub(super) source: Option<(&'a str, &'a str)>,
    pub(super) function: Function,
    pub(super) port: u8,
    pub(super) at: Timestamp,
    pub(super) input: &'a [u8],
}

/// What the child says to a call.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// It was made.
    Done(Outcome),
    /// The codec is not at hand; send its source.
    NeedSource,
    /// The frame's time was up before it.
    NotRun,
}

impl<'a> Call<'a> {
    /// The call that a job asks for.
    pub(super) fn of(job: &'a Job, with_source: bool) -> Self {
        let codec: &Codec = &job.codec;
        Call {
            codec: codec.id(),
            source: with_source.then(|| (codec.name(), codec.source())),
            function: job.function,
            port: job.port,
            at: job.at,
            input: &job.input,
        }
    }

    /// The codec, when the call brings it.
    pub(super) fn codec(&self) -> Option<Arc<Codec>> {
        self.source.map(|(name, source)| Arc::new(Codec::new(name, source)))
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.codec.0);
        out.push(u8::from(self.source.is_some()));
        if let Some((name, source)) = self.source {
            put(out, name.as_bytes());
            put(out, source.as_bytes());
        }
        out.push(self.function as u8);
        out.push(self.port);
        out.extend(self.at.as_micros().to_le_bytes());
        put(out, self.input);
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let codec = CodecId(reader.array()?);
        let source = match reader.byte()? {
            0 => None,
            _ => Some((reader.text()?, reader.text()?)),
        };
        let function = usize::from(reader.byte()?);
        Ok(Call {
            codec,
            source,
            function: *Function::ALL.get(function).ok_or(Malformed)?,
            port: reader.byte()?,
            at: Timestamp::from_micros(i64::from_le_bytes(reader.array()?)),
            input: reader.bytes()?,
        })
    }
}

/// Writes a whole frame of calls.
pub(super) fn write_calls<'a>(calls: impl Iterator<Item = Call<'a>>, out: &mut Vec<u8>) {
    frame(out, |out| calls.for_each(|call| call.write(out)));
}

/// Reads the body of a frame of calls.
pub(super) fn read_calls(body: &[u8]) -> Result<Vec<Call<'_>>, Malformed> {
    let mut reader = Reader(body);
    let mut calls = Vec::new();
    while !reader.0.is_empty() {
        calls.push(Call::read(&mut reader)?);
    }
    if calls.len() > FRAME_CALLS { Err(Malformed) } else { Ok(calls) }
}

/// Writes a whole frame of replies.
pub(super) fn write_replies(replies: &[Reply], out: &mut Vec<u8>) {
    frame(out, |out| replies.iter().for_each(|reply| reply.write(out)));
}

/// Reads the body of a frame of `count` replies.
pub(super) fn read_replies(body: &[u8], count: usize) -> Result<Vec<Reply>, Malformed> {
    let mut reader = Reader(body);
    let replies = (0..count).map(|_| Reply::read(&mut reader)).collect::<Result<Vec<_>, _>>()?;
    if reader.0.is_empty() { Ok(replies) } else { Err(Malformed) }
}

/// The length that a frame's first bytes name.
pub(super) fn frame_length(prefix: [u8; 4]) -> Result<usize, Malformed> {
    let length = u32::from_le_bytes(prefix) as usize;
    if length > MAX_FRAME_BYTES { Err(Malformed) } else { Ok(length) }
}

fn frame(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    out.clear();
    out.extend([0; 4]);
    body(out);
    let length = (out.len() - 4) as u32;
    out[..4].copy_from_slice(&length.to_le_bytes());
}

/// Numbers of the replies that are no outcome of a call.
const NEED_SOURCE: u8 = 0x80;
const NOT_RUN: u8 = 0x81;
const DATA: u8 = 0x40;
const FRAME: u8 = 0x41;

impl Reply {
    fn write(&self, out: &mut Vec<u8>) {
        let texts = |out: &mut Vec<u8>, texts: &[String]| {
            out.push(texts.len() as u8);
            texts.iter().for_each(|text| put(out, text.as_bytes()));
        };
        match self {
            Reply::NeedSource => out.push(NEED_SOURCE),
            Reply::NotRun => out.push(NOT_RUN),
            Reply::Done(Ok(Answer::Data { json, warnings })) => {
                out.push(DATA);
                put(out, json.as_bytes());
                texts(out, warnings);
            }
            Reply::Done(Ok(Answer::Frame { port, bytes, warnings })) => {
                out.push(FRAME);
                out.push(*port);
                put(out, bytes);
                texts(out, warnings);
            }
            Reply::Done(Err(error)) => {
                out.push(error.number() as u8);
                put(out, words(error).as_bytes());
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let kind = reader.byte()?;
        Ok(Reply::Done(match kind {
            NEED_SOURCE => return Ok(Reply::NeedSource),
            NOT_RUN => return Ok(Reply::NotRun),
            DATA => Ok(Answer::Data { json: reader.text()?.to_owned(), warnings: reader.texts()? }),
            FRAME => Ok(Answer::Frame {
                port: reader.byte()?,
                bytes: reader.bytes()?.to_vec(),
                warnings: reader.texts()?,
            }),
            _ => Err(error(kind, super::clip(reader.text()?)).ok_or(Malformed)?),
        }))
    }
}

/// What an error says beside its kind.
fn words(error: &CodecError) -> &str {
    match error {
        CodecError::Refused(text)
        | CodecError::Throws(text)
        | CodecError::Syntax(text)
        | CodecError::BadResult(text) => text,
        CodecError::NoFunction(name) => name,
        _ => "",
    }
}

/// The error of a kind that a child may report: the others are the parent's to say.
fn error(kind: u8, words: String) -> Option<CodecError> {
    Some(match kind {
        0 => CodecError::Refused(words),
        1 => CodecError::Throws(words),
        2 => CodecError::Timeout,
        3 => CodecError::Memory,
        4 => {
            let function = Function::ALL.into_iter().find(|f| f.as_str() == words)?;
            CodecError::NoFunction(function.as_str())
        }
        5 => CodecError::Syntax(words),
        6 => CodecError::BadResult(words),
        _ => return None,
    })
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = u32::from_le_bytes(self.array()?);
        self.take(length as usize)
    }

    fn text(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed)
    }

    fn texts(&mut self) -> Result<Vec<String>, Malformed> {
        let count = self.byte()?;
        (0..count).map(|_| self.text().map(str::to_owned)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round(reply: Reply) {
        let replies = [reply];
        let mut frame = Vec::new();
        write_replies(&replies, &mut frame);
        let length = frame_length(frame[..4].try_into().expect("4 bytes")).expect("a length");
        assert_eq!(length, frame.len() - 4);
        assert_eq!(read_replies(&frame[4..], 1).as_deref(), Ok(&replies[..]));
    }

    #[test]
    fn a_reply_reads_as_it_was_written() {
        let words = || "水位 low".to_owned();
        round(Reply::NeedSource);
        round(Reply::NotRun);
        round(Reply::Done(Ok(Answer::Data { json: "{}".to_owned(), warnings: vec![words()] })));
        let frame = Answer::Frame { port: 223, bytes: vec![0, 255], warnings: vec![] };
        round(Reply::Done(Ok(frame)));
        for error in [
            CodecError::Refused(words()),
            CodecError::Throws(words()),
            CodecError::Timeout,
            CodecError::Memory,
            CodecError::NoFunction("encodeDownlink"),
            CodecError::Syntax(words()),
            CodecError::BadResult(words()),
        ] {
            round(Reply::Done(Err(error)));
        }
    }

    #[test]
    fn a_call_reads_as_it_was_written() {
        let job = Job {
            codec: Arc::new(Codec::new("x.js", "function decodeUplink() {}")),
            function: Function::DecodeDownlink,
            port: 85,
            at: Timestamp::from_micros(-1),
            input: Arc::from(&b"\x01\x02"[..]),
            device: None,
            is_timed: false,
            radio: "".into(),
        };
        let mut frame = Vec::new();
        let calls = || [Call::of(&job, true), Call::of(&job, false)];
        write_calls(calls().into_iter(), &mut frame);
        let read = read_calls(&frame[4..]).expect("a frame");
        assert_eq!(read, calls());
        assert_eq!(read[0].codec().as_deref(), Some(&*job.codec));
    }

    proptest! {
        #[test]
        fn no_bytes_of_a_child_do_harm(bytes: Vec<u8>, count in 0usize..4) {
            let _ = read_replies(&bytes, count);
            let _ = read_calls(&bytes);
        }
    }
}
