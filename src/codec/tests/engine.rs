//! One engine: what codecs may write, and what they may not do.

use std::sync::Arc;

use crate::codec::engine::Engine;
use crate::codec::{Answer, Codec, CodecError, Function, Outcome};
use crate::model::Timestamp;

const AT: Timestamp = Timestamp::from_millis(1_790_000_000_123);

fn call_with(engine: &mut Engine, source: &str, function: Function, input: &[u8]) -> Outcome {
    let codec = Arc::new(Codec::new("x.js", source));
    if !engine.has(codec.id()) {
        engine.add(Arc::clone(&codec));
    }
    engine.call(codec.id(), function, 7, AT, input).expect("the codec is at hand")
}

fn uplink(source: &str) -> Outcome {
    call_with(&mut Engine::default(), source, Function::DecodeUplink, &[1, 0xff])
}

fn body(body: &str) -> String {
    format!("function decodeUplink(input) {{ {body} }}")
}

#[track_caller]
fn check(source: &str, json: &str) {
    match uplink(source) {
        Ok(Answer::Data { json: found, .. }) => assert_eq!(found, json, "{source}"),
        other => panic!("{source}: {other:?}"),
    }
}

#[track_caller]
fn check_error(source: &str, reason: &str, words: &str) {
    match uplink(source) {
        Err(error) => {
            assert_eq!(error.reason(), reason, "{source}: {error}");
            assert!(error.to_string().contains(words), "{source}: {error}");
        }
        Ok(answer) => panic!("{source}: {answer:?}"),
    }
}

#[test]
fn ts013_and_the_older_signatures_are_understood() {
    let expected = "{\"b\":[1,255],\"p\":7}";
    check(&body("return { data: { b: input.bytes, p: input.fPort } }"), expected);
    check("function Decoder(bytes, port) { return { b: bytes, p: port } }", expected);
    check("function Decode(fPort, bytes, variables) { return { b: bytes, p: fPort } }", expected);
    check("decodeUplink = (i) => ({ data: { b: i.bytes, p: i.fPort } })", expected);
    check("const decodeUplink = (i) => ({ data: { b: i.bytes, p: i.fPort } })", expected);
    check("this.decodeUplink = (i) => ({ data: { b: i.bytes, p: i.fPort } })", expected);
    check(
        "module.exports = { decodeUplink(i) { return { data: { b: i.bytes, p: i.fPort } } } }",
        expected,
    );
    check("exports.decodeUplink = (i) => ({ data: { b: i.bytes, p: i.fPort } })", expected);
    check(
        "\"use strict\";\nlet module = 1;\nfunction decodeUplink(i) { return { data: { b: i.bytes, p: i.fPort } } }\n// end",
        expected,
    );
    check(
        "async function decodeUplink(i) { await null; return { data: { b: i.bytes, p: i.fPort } } }",
        expected,
    );
    check(
        "function decodeUplink(i) { return Decoder(i.bytes, i.fPort) } function Decoder(b, p) { return { data: { b, p } } }",
        expected,
    );
}

#[test]
fn downlinks_are_bytes_and_a_port() {
    let down = |source: &str| {
        call_with(&mut Engine::default(), source, Function::EncodeDownlink, b"{\"on\":1}")
    };
    let frame = |port, bytes: &[u8]| {
        Ok(Answer::Frame { port, bytes: bytes.to_vec(), warnings: Vec::new() })
    };
    assert_eq!(
        down("function encodeDownlink(i) { return { bytes: [i.data.on, 255], fPort: 10 } }"),
        frame(10, &[1, 255])
    );
    assert_eq!(
        down("function encodeDownlink(i) { return { bytes: new Uint8Array(2) } }"),
        frame(7, &[0, 0])
    );
    assert_eq!(down("function Encoder(o, port) { return [o.on, port] }"), frame(7, &[1, 7]));
    assert_eq!(down("function Encode(port, o) { return [o.on, port] }"), frame(7, &[1, 7]));
    for (result, words) in [
        ("{ bytes: [256], fPort: 1 }", "byte 0 is 256"),
        ("{ bytes: [-1], fPort: 1 }", "byte 0 is -1"),
        ("{ bytes: [1.5], fPort: 1 }", "byte 0 is 1.5"),
        ("{ bytes: ['1'], fPort: 1 }", "byte 0 is 1"),
        ("{ bytes: 'a0', fPort: 1 }", "a text for bytes"),
        ("{ bytes: [1], fPort: 0 }", "the port 0"),
        ("{ bytes: [1], fPort: 224 }", "the port 224"),
        ("{ fPort: 1 }", "undefined for bytes"),
        ("7", "returned number"),
    ] {
        let found = down(&format!("function encodeDownlink(i) {{ return {result} }}"));
        let error = found.expect_err("no frame");
        assert_eq!(error.reason(), "codec_bad_result");
        assert!(error.to_string().contains(words), "{error}");
    }
    let refused = down("function encodeDownlink(i) { return { errors: ['no', 2] } }");
    assert_eq!(refused, Err(CodecError::Refused("no; 2".to_owned())));
    let back = "function decodeDownlink(i) { return { data: { on: i.bytes[0] } } }";
    let found = call_with(&mut Engine::default(), back, Function::DecodeDownlink, &[1]);
    assert_eq!(found, Ok(Answer::Data { json: "{\"on\":1}".to_owned(), warnings: Vec::new() }));
    assert_eq!(down(back), Err(CodecError::NoFunction("encodeDownlink")));
}

#[test]
fn time_and_chance_come_from_the_call() {
    check(
        &body("return { data: { t: Date.now(), n: +new Date(), r: input.recvTime } }"),
        "{\"t\":1790000000123,\"n\":1790000000123,\"r\":\"2026-09-21T14:13:20.123Z\"}",
    );
    check(
        &body(
            "return { data: { t: new Date(0), u: Date.UTC(2026, 0), i: new Date() instanceof Date, l: new Date(0).getHours(), z: new Date(0).getTimezoneOffset() } }",
        ),
        "{\"t\":\"1970-01-01T00:00:00.000Z\",\"u\":1767225600000,\"i\":true,\"l\":0,\"z\":0}",
    );
    check(
        &body(
            "return { data: { c: new (new Date().constructor)().getTime() === Date.now(), d: typeof Date() } }",
        ),
        "{\"c\":true,\"d\":\"string\"}",
    );
    let mut engine = Engine::default();
    let source = body("return { data: { r: [Math.random(), Math.random()] } }");
    let first = call_with(&mut engine, &source, Function::DecodeUplink, &[]);
    assert_eq!(call_with(&mut engine, &source, Function::DecodeUplink, &[]), first);
}

#[test]
fn there_is_nothing_to_reach_for() {
    let globals = "typeof std + typeof os + typeof process + typeof fetch + typeof setTimeout + typeof performance + typeof WebAssembly";
    check(
        &body(&format!("return {{ data: {{ g: {globals} }} }}")),
        &format!("{{\"g\":\"{}\"}}", "undefined".repeat(7)),
    );
    check_error(
        "const fs = require('fs'); function decodeUplink() {}",
        "codec_throws",
        "nothing to require here, not fs",
    );
    check_error(
        "import('fs'); function decodeUplink() { return import('fs') }",
        "codec_throws",
        "",
    );
    check_error(
        &body("Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1e6)"),
        "codec_throws",
        "cannot block",
    );
    check(
        &body(
            "console.log('x'); return { data: { b: Buffer.from('0a0B', 'hex').readUInt16BE(0), c: eval('1+1') } }",
        ),
        "{\"b\":2571,\"c\":2}",
    );
    check(
        &body(
            "const b = Buffer.from(input.bytes); return { data: { i: b.readInt8(1), h: b.toString('hex'), s: b.toString('base64'), a: atob('QUI=') } }",
        ),
        "{\"i\":-1,\"h\":\"01ff\",\"s\":\"Af8=\",\"a\":\"AB\"}",
    );
}

#[test]
fn a_codec_that_fails_says_how() {
    check_error(
        &body("return { errors: ['too short', { code: 3 }] }"),
        "codec_error",
        "says: too short; {\"code\":3}",
    );
    check_error(
        &body("\nreturn nowhere.x"),
        "codec_throws",
        "ReferenceError: nowhere is not defined at x.js:2:",
    );
    check_error(&body("throw 'a text'"), "codec_throws", "threw a text");
    check_error(&body("throw undefined"), "codec_throws", "threw undefined");
    check_error(
        &body("throw new Proxy({}, { get() { throw 1 }, has() { throw 2 } })"),
        "codec_throws",
        "something that cannot be shown",
    );
    check_error(
        &body("throw { message: 'm', get name() { throw 1 } }"),
        "codec_throws",
        "something that cannot be shown",
    );
    check_error(&body("throw { toString() { while (1); } }"), "codec_timeout", "50 ms");
    check_error("function decodeUplink( {", "codec_syntax", "x.js:");
    check_error("var x = 1\nexport function decodeUplink() {}", "codec_syntax", "x.js:2:");
    check_error("var x = 1", "codec_no_function", "decodeUplink");
    check_error("throw new Error('at load')", "codec_throws", "at load");
    check_error("", "codec_no_function", "decodeUplink");
    for result in [
        "undefined",
        "null",
        "7",
        "'x'",
        "{ data: 7 }",
        "{ data: () => 1 }",
        "{ data: { toJSON() { return undefined } } }",
    ] {
        check_error(&body(&format!("return {result}")), "codec_bad_result", "decodeUplink");
    }
    check(&body("return {}"), "{}");
    check(&body("return { data: null }"), "{}");
    check_error(
        &body("return { data: { s: 'x'.repeat(70000) } }"),
        "codec_bad_result",
        "70008 characters",
    );
    check_error(&body("const o = {}; o.o = o; return { data: o }"), "codec_throws", "circular");
    check_error(&body("return { data: { b: 1n } }"), "codec_throws", "BigInt");
    check_error(&body("return new Promise(() => {})"), "codec_bad_result", "nothing fulfils");
    check_error(
        "async function decodeUplink() { throw new Error('late') }",
        "codec_throws",
        "late",
    );
}

#[test]
fn what_has_no_end_is_ended() {
    for source in [
        "while (1);",
        "for (;;) try { while (1); } catch (e) {}",
        "try { while (1); } finally { while (1); }",
        "/^(a+)+$/.test('a'.repeat(40) + 'b')",
        "[].indexOf.call({ length: 2 ** 53 - 1 }, 1)",
        "return (async () => { for (;;) await null })()",
        "return { data: { get x() { while (1); } } }",
        "return { data: new Proxy({}, { ownKeys() { while (1); } }) }",
        "return { data: { toJSON() { while (1); } } }",
        "return { get errors() { while (1); } }",
        "eval('while (1);')",
        "new Function('while (1);')()",
        "return { then(f) { f({}) }, get data() { while (1); } }",
    ] {
        check_error(&body(source), "codec_timeout", "processor time");
    }
    check_error("while (1); function decodeUplink() {}", "codec_timeout", "");
}

#[test]
fn what_takes_all_memory_gets_none() {
    for source in [
        "const a = []; while (1) a.push(new Array(100).fill(a.length))",
        "const a = []; while (1) a.push(new Uint8Array(1e6))",
        "return { data: { s: 'x'.repeat(1e9) } }",
        "let o = {}; for (;;) o = { o }",
        "let s = 'x'; const a = []; for (;;) { s += s.slice(0, 1e6); a.push(s + a.length) }",
    ] {
        let error = uplink(&body(source)).expect_err(source);
        assert!(matches!(error, CodecError::Memory | CodecError::Timeout), "{source}: {error}");
    }
    check_error(
        &body("return (function f() { return f() + 1 })()"),
        "codec_throws",
        "Maximum call stack size exceeded",
    );
    check_error(
        &body("let o = {}; for (let i = 0; i < 1e5; i++) o = { o }; return { data: o }"),
        "codec_throws",
        "stack",
    );
}

/// Two calls of one codec: nothing of the first may be seen by the second.
#[track_caller]
fn check_forgets(source: &str) {
    let mut engine = Engine::default();
    let first = call_with(&mut engine, source, Function::DecodeUplink, &[1]);
    assert!(first.is_ok(), "{source}: {first:?}");
    for _ in 0..3 {
        assert_eq!(call_with(&mut engine, source, Function::DecodeUplink, &[1]), first, "{source}");
    }
}

#[test]
fn a_call_sees_nothing_of_the_one_before() {
    for source in [
        "var n = 0; function decodeUplink() { return { data: { n: n++ } } }",
        "var data = {}; function decodeUplink(i) { data[Object.keys(data).length] = 1; return { data } }",
        "function decodeUplink() { n = typeof n === 'undefined' ? 1 : n + 1; return { data: { n } } }",
        "function decodeUplink() { globalThis.n = (globalThis.n || 0) + 1; return { data: { n } } }",
        "function decodeUplink() { Object.prototype.n = (Object.prototype.n || 0) + 1; return { data: { n: {}.n } } }",
        "function decodeUplink() { Array.prototype.n = ([].n || 0) + 1; return { data: { n: [].n } } }",
        "function decodeUplink() { Math.n = (Math.n || 0) + 1; return { data: { n: Math.n } } }",
        "function decodeUplink() { const f = String.prototype.trim; String.prototype.trim = function () { return f.call(this) + '!' }; return { data: { s: 'a'.trim() } } }",
        "function decodeUplink() { Object.defineProperty(globalThis, 'n', { value: (globalThis.n || 0) + 1 }); return { data: { n } } }",
        "function decodeUplink() { Object.defineProperty(globalThis, 'n', { value: (globalThis.n || 0) + 1, enumerable: true }); return { data: { n } } }",
        "function decodeUplink() { const f = JSON.stringify; globalThis.JSON = { stringify: (x) => f(x) + 1 }; return { data: { s: JSON.stringify(1) } } }",
        "function decodeUplink() { decodeUplink.n = (decodeUplink.n || 0) + 1; return { data: { n: decodeUplink.n } } }",
        "function decodeUplink(i) { i.bytes.push(1); try { console.log = 1 } catch (e) {} return { data: { n: i.bytes.length, c: typeof console.log } } }",
        "let p = 0; function decodeUplink() { Promise.resolve().then(() => { globalThis.later = (globalThis.later || 0) + 1 }); return { data: { n: globalThis.later || 0 } } }",
    ] {
        check_forgets(source);
    }
}

#[test]
fn a_codec_that_breaks_its_engine_breaks_nobody_elses() {
    let mut engine = Engine::default();
    let good = body("return { data: { n: [3, 1].sort()[0], t: Date.now() } }");
    let fine = call_with(&mut engine, &good, Function::DecodeUplink, &[]);
    for hostile in [
        "Object.prototype.data = 7; Array.prototype.sort = null; JSON.parse = null; Date.now = () => 1",
        "Object.freeze(Array.prototype); Object.defineProperty(Array.prototype, '0', { set() { throw 1 }, get() { return 9 } })",
        "for (const k of Object.getOwnPropertyNames(globalThis)) try { delete globalThis[k] } catch (e) {}",
        "Object.setPrototypeOf(Object.prototype.__proto__ || Array.prototype, null)",
        "Array.prototype[Symbol.iterator] = null; Object.defineProperty(Object.prototype, 'then', { get() { return 1 } })",
        "while (1);",
        "const a = []; while (1) a.push({})",
        "globalThis.hoard = new Uint8Array(8e6)",
    ] {
        for _ in 0..3 {
            let _ = call_with(
                &mut engine,
                &body(&format!("{hostile}; return {{ data: {{}} }}")),
                Function::DecodeUplink,
                &[],
            );
            assert_eq!(
                call_with(&mut engine, &good, Function::DecodeUplink, &[]),
                fine,
                "{hostile}"
            );
        }
    }
}

#[test]
fn only_so_many_codecs_are_held_ready() {
    let mut engine = Engine::default();
    let source = |n: usize| body(&format!("return {{ data: {{ n: {n} }} }}"));
    for n in 0..100 {
        assert!(call_with(&mut engine, &source(n), Function::DecodeUplink, &[]).is_ok());
    }
    let has = |n| engine.has(Codec::new("", &source(n)).id());
    assert!(!has(0) && !has(35) && has(36) && has(99));
}
