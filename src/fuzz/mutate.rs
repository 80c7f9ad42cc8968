//! Breeds inputs: bits, bytes, runs of bytes, words that break parsers, and pieces of other inputs.

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

/// What breaks parsers: numbers at the edges, brackets, quotes, bytes that are no text.
const WORDS: &[&[u8]] = &[
    b"0",
    b"-1",
    b"-0",
    b"1e999",
    b"-1e-999",
    b"NaN",
    b"Infinity",
    b"null",
    b"true",
    b"{}",
    b"[]",
    b"\"\"",
    b"255",
    b"256",
    b"65535",
    b"65536",
    b"2147483648",
    b"4294967295",
    b"4294967296",
    b"9223372036854775807",
    b"9223372036854775808",
    b"-9223372036854775808",
    b"18446744073709551615",
    b"18446744073709551616",
    b"0.1",
    b"1e308",
    b"253402300800",
    b"1970-01-01T00:00:00Z",
    b"9999-12-31T23:59:59Z",
    b"-009999-01-01T00:00:00Z",
    b"\\u0000",
    b"\\ud800",
    b"%00",
    b"%ff",
    b"%2e%2e%2f",
    b"../",
    b"\0",
    b"\r\n",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"\xf0\x9f\x98\x80",
    b"\xcc\x81",
    b"'",
    b"\"",
    b"\"\"\"",
    b";--",
    b"#",
    b"+",
    b"/",
    b"$",
    b",",
    b"\t",
    b" ",
    b"=",
    b"[[",
    b"]]",
    b"\xff\xff\xff\x7f",
    b"\x80\x80\x80\x80\x80",
];
const BYTES: [u8; 10] = [0, 1, 0x7F, 0x80, 0xFF, 0x20, b'0', b'9', b'"', b'\n'];

/// A child of the pool, of at most `most` bytes.
pub(super) fn bred(pool: &[Vec<u8>], most: usize, chance: &mut StdRng) -> Vec<u8> {
    let mut input = pool.choose(chance).cloned().unwrap_or_default();
    // Mostly small changes: most of a valid input stays valid.
    let changes = 1 << chance.random_range(0..4_u32);
    for _ in 0..changes {
        change(&mut input, pool, chance);
    }
    input.truncate(most);
    input
}

fn change(input: &mut Vec<u8>, pool: &[Vec<u8>], chance: &mut StdRng) {
    let at = chance.random_range(0..=input.len());
    let run = chance.random_range(1..=16_usize);
    match chance.random_range(0..11) {
        0 => with_byte(input, at, |byte| *byte ^= 1 << (run % 8)),
        1 => with_byte(input, at, |byte| *byte = BYTES[run % BYTES.len()]),
        2 => {
            let new = chance.random();
            with_byte(input, at, |byte| *byte = new);
        }
        3 => with_byte(input, at, |byte| *byte = byte.wrapping_add(run as u8).wrapping_sub(8)),
        4 => {
            input.drain(at..(at + run).min(input.len()));
        }
        5 => input.truncate(at),
        6 => insert(input, at, WORDS.choose(chance).copied().unwrap_or_default()),
        7 => {
            // A word in the place of what stands there.
            let word = WORDS.choose(chance).copied().unwrap_or_default();
            let end = (at + run).min(input.len());
            input.splice(at..end, word.iter().copied());
        }
        8 => {
            let piece = input[at..(at + run * 4).min(input.len())].to_vec();
            // Sometimes so often that depth and length count.
            let times = if run == 1 { 1_000 } else { 1 };
            insert(input, at, &piece.repeat(times));
        }
        9 => {
            let other = pool.choose(chance).map(Vec::as_slice).unwrap_or_default();
            let from = chance.random_range(0..=other.len());
            insert(input, at, &other[from..(from + run * 8).min(other.len())]);
        }
        _ => {
            let other = pool.choose(chance).map(Vec::as_slice).unwrap_or_default();
            let from = chance.random_range(0..=other.len());
            input.truncate(at);
            input.extend(&other[from..]);
        }
    }
}

fn with_byte(input: &mut [u8], at: usize, change: impl FnOnce(&mut u8)) {
    if let Some(byte) = input.get_mut(at) {
        change(byte);
    }
}

fn insert(input: &mut Vec<u8>, at: usize, piece: &[u8]) {
    input.splice(at..at, piece.iter().copied());
}
