// The part of the engine that is JavaScript itself. Evaluated once per runtime, before the codec: what it takes hold of
// here is the engine's own, whatever the codec does to its globals later.
//
// Its value is a function of the codec's factory; that returns `call(kind, input, port, millis, careful)`, whose value is a
// list [code, ...]: see `code` in engine.rs.
(function () {
  "use strict";
  const { parse, stringify } = JSON;
  const { keys, freeze, defineProperty, getOwnPropertyNames, getOwnPropertyDescriptor } = Object;
  const { isArray } = Array;
  const { isInteger } = Number;
  const text = String;
  const Real = Date;
  const World = globalThis;
  const P = Promise;
  const then = P.prototype.then;
  const apply = Reflect.apply;
  const construct = Reflect.construct;
  const deleteProperty = Reflect.deleteProperty;

  const OK = 0, FRAME = 1, REFUSED = 2, THROWN = 3, NO_FUNCTION = 4, BAD = 5, PENDING = 6, NO_MEMORY = 7;
  const DECODE_UPLINK = 0, ENCODE_DOWNLINK = 1, DECODE_DOWNLINK = 2, SETTLE = 3;
  const MAX_RESULT = 65536, MAX_WARNINGS = 16, MAX_FRAME = 65536;

  const hide = (object, name, value) =>
    defineProperty(object, name, { value, writable: true, enumerable: false, configurable: true });

  // Time stands still: a codec sees the moment at which its frame was received, and the same frame gives the same values
  // whenever it is decoded.
  let now = 0;
  function Moment(...args) {
    if (new.target === undefined) return apply(Real.prototype.toString, new Real(now), []);
    return construct(Real, args.length === 0 ? [now] : args, new.target);
  }
  defineProperty(Moment, "name", { value: "Date" });
  defineProperty(Moment, "prototype", { value: Real.prototype, writable: false });
  hide(Moment, "now", () => now);
  hide(Moment, "parse", Real.parse);
  hide(Moment, "UTC", Real.UTC);
  hide(Real.prototype, "constructor", Moment);
  hide(World, "Date", Moment);

  // Chance repeats itself from call to call.
  let seed = 0;
  hide(Math, "random", function random() {
    seed ^= seed << 13;
    seed ^= seed >>> 17;
    seed ^= seed << 5;
    return (seed >>> 0) / 4294967296;
  });

  // What codecs written for other engines expect to be there. Nothing of it does anything outside the call.
  const nothing = () => undefined;
  hide(World, "console", freeze({ log: nothing, info: nothing, warn: nothing, error: nothing, debug: nothing, trace: nothing }));
  hide(World, "global", World);

  const HEX = [];
  for (let i = 0; i < 256; i++) HEX[i] = (i < 16 ? "0" : "") + i.toString(16);

  // The part of Node's Buffer that codecs use.
  class Buffer extends Uint8Array {
    static from(source, encoding) {
      if (typeof source !== "string") return super.from(source);
      if (encoding === "hex") return super.from((source.match(/[0-9a-f]{2}/gi) || []).map((pair) => parseInt(pair, 16)));
      if (encoding === "base64") return super.from(fromBase64(source));
      return super.from(encoding === "ascii" || encoding === "latin1" || encoding === "binary" ? latin1(source) : utf8(source));
    }
    static alloc(size, fill = 0) { return new Buffer(size).fill(fill); }
    static isBuffer(other) { return other instanceof Buffer; }
    static concat(list) { return Buffer.from([].concat(...list.map((part) => Array.from(part)))); }
    slice(start, end) { return this.subarray(start, end); }
    toString(encoding, start = 0, end = this.length) {
      const bytes = this.subarray(start, end);
      if (encoding === "hex") return Array.from(bytes, (byte) => HEX[byte]).join("");
      if (encoding === "base64") return toBase64(bytes);
      const chars = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
      if (encoding === "ascii" || encoding === "latin1" || encoding === "binary") return chars;
      try { return decodeURIComponent(escape(chars)); } catch { return chars; }
    }
    toJSON() { return { type: "Buffer", data: Array.from(this) }; }
    equals(other) { return this.length === other.length && this.every((byte, i) => byte === other[i]); }
    readUInt8(at = 0) { return view(this).getUint8(at); }
    readInt8(at = 0) { return view(this).getInt8(at); }
    readUIntBE(at, length) { return this.subarray(at, at + length).reduce((sum, byte) => sum * 256 + byte, 0); }
    readUIntLE(at, length) { return this.subarray(at, at + length).reduceRight((sum, byte) => sum * 256 + byte, 0); }
    readIntBE(at, length) { return signed(this.readUIntBE(at, length), length); }
    readIntLE(at, length) { return signed(this.readUIntLE(at, length), length); }
    writeUInt8(value, at = 0) { view(this).setUint8(at, value); return at + 1; }
    writeInt8(value, at = 0) { view(this).setInt8(at, value); return at + 1; }
  }
  const view = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const signed = (value, length) => (value >= 2 ** (8 * length - 1) ? value - 2 ** (8 * length) : value);
  const latin1 = (source) => Array.from(source, (char) => char.charCodeAt(0) & 255);
  const utf8 = (source) => latin1(unescape(encodeURIComponent(source)));
  const kinds = { UInt16: ["Uint16", 2], Int16: ["Int16", 2], UInt32: ["Uint32", 4], Int32: ["Int32", 4], Float: ["Float32", 4], Double: ["Float64", 8] };
  for (const kind of keys(kinds)) {
    const [name, size] = kinds[kind];
    for (const order of ["LE", "BE"]) {
      hide(Buffer.prototype, "read" + kind + order, function (at = 0) { return view(this)["get" + name](at, order === "LE"); });
      hide(Buffer.prototype, "write" + kind + order, function (value, at = 0) { view(this)["set" + name](at, value, order === "LE"); return at + size; });
    }
  }
  for (const name of ["readUInt8", "readUIntBE", "readUIntLE", "readUInt16LE", "readUInt16BE", "readUInt32LE", "readUInt32BE"]) {
    hide(Buffer.prototype, name.replace("UInt", "Uint"), Buffer.prototype[name]);
  }
  hide(World, "Buffer", Buffer);

  const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  function toBase64(bytes) {
    let out = "";
    for (let i = 0; i < bytes.length; i += 3) {
      const three = (bytes[i] << 16) | ((bytes[i + 1] ?? 0) << 8) | (bytes[i + 2] ?? 0);
      out += DIGITS[three >> 18] + DIGITS[(three >> 12) & 63];
      out += i + 1 < bytes.length ? DIGITS[(three >> 6) & 63] : "=";
      out += i + 2 < bytes.length ? DIGITS[three & 63] : "=";
    }
    return out;
  }
  function fromBase64(source) {
    const bytes = [];
    let bits = 0, held = 0;
    for (const char of source) {
      const digit = DIGITS.indexOf(char === "-" ? "+" : char === "_" ? "/" : char);
      if (digit < 0) continue;
      held = ((held << 6) | digit) & 0xffffff;
      bits += 6;
      if (bits >= 8) { bits -= 8; bytes.push((held >> bits) & 255); }
    }
    return bytes;
  }
  hide(World, "atob", (source) => fromBase64(text(source)).map((byte) => String.fromCharCode(byte)).join(""));
  hide(World, "btoa", (source) => toBase64(latin1(text(source))));

  const require = freeze(function require(name) {
    if (name === "buffer" || name === "node:buffer") return { Buffer };
    throw new Error("there is nothing to require here, not " + text(name));
  });

  // A codec's own words for what it threw, whatever it is.
  function describe(thrown) {
    try {
      if (typeof thrown !== "object" || thrown === null || !("message" in thrown)) return text(thrown);
      const stack = text(thrown.stack ?? "");
      const from = stack.indexOf("("), to = stack.indexOf(")", from);
      const place = from >= 0 && to > from && !stack.startsWith("native", from + 1) ? " at " + stack.slice(from + 1, to) : "";
      return text(thrown.name) + ": " + text(thrown.message) + place;
    } catch {
      return "something that cannot be shown";
    }
  }

  function list(value) {
    if (value === undefined || value === null) return [];
    const all = isArray(value) ? value : [value];
    const out = [];
    for (let i = 0; i < all.length && i < MAX_WARNINGS; i++) {
      const one = all[i];
      hide(out, i, typeof one === "object" ? text(stringify(one)) : text(one));
    }
    return out;
  }

  const joined = (texts) => {
    let out = "";
    for (let i = 0; i < texts.length; i++) out += (i > 0 ? "; " : "") + texts[i];
    return out;
  };

  const shown = (value) => {
    if (value === null) return "null";
    if (isArray(value)) return "a list";
    return typeof value === "object" ? "an object" : typeof value === "string" ? "a text" : typeof value;
  };

  function values(data, warnings, name) {
    if (typeof data !== "object" || data === null) return [BAD, name + " gave " + shown(data) + " for data; expected an object"];
    const json = stringify(data);
    if (typeof json !== "string") return [BAD, name + " gave data that has no JSON"];
    if (json.length > MAX_RESULT) return [BAD, name + " gave " + json.length + " characters of data; the most is " + MAX_RESULT];
    return [OK, json, warnings];
  }

  function frame(bytes, port, warnings, name) {
    const isBytes = typeof bytes === "object" && bytes !== null && isInteger(bytes.length);
    if (!isBytes) return [BAD, name + " gave " + shown(bytes) + " for bytes; expected a list of numbers from 0 to 255"];
    if (bytes.length > MAX_FRAME) return [BAD, name + " gave " + bytes.length + " bytes"];
    let hex = "";
    for (let i = 0; i < bytes.length; i++) {
      const byte = bytes[i];
      if (!isInteger(byte) || byte < 0 || byte > 255) return [BAD, name + ": byte " + i + " is " + describe(byte) + "; expected 0 to 255"];
      hex += HEX[byte];
    }
    if (!isInteger(port) || port < 1 || port > 223) return [BAD, name + " gave the port " + describe(port) + "; expected 1 to 223"];
    return [FRAME, hex, warnings, port];
  }

  // What TS013 says of an answer; the older signatures answer with the values themselves.
  function judge(kind, isOld, name, port, answer) {
    if (isOld) {
      return kind === ENCODE_DOWNLINK ? frame(answer, port, [], name) : values(answer, [], name);
    }
    if (typeof answer !== "object" || answer === null) {
      const expected = kind === ENCODE_DOWNLINK ? "{ bytes, fPort }" : "{ data }";
      return [BAD, name + " returned " + shown(answer) + "; expected " + expected];
    }
    const errors = list(answer.errors);
    if (errors.length > 0) return [REFUSED, joined(errors)];
    const warnings = list(answer.warnings);
    if (kind === ENCODE_DOWNLINK) return frame(answer.bytes, answer.fPort ?? port, warnings, name);
    // A frame that says nothing is answered without data, or with nothing at all in it.
    return values(answer.data ?? {}, warnings, name);
  }

  // What must not be different after a call. The light look finds what was added by assignment, which is how honest codecs
  // do it; the full one, for codecs that speak of prototypes at all, finds what was replaced.
  const roots = [Math, JSON, Reflect, Promise, Buffer, Buffer.prototype, Moment];
  for (const name of ["Object", "Function", "Array", "String", "Number", "Boolean", "Symbol", "BigInt", "RegExp", "Map", "Set", "Date",
    "Error", "ArrayBuffer", "DataView", "Uint8Array", "Promise"]) {
    const constructor = World[name];
    if (constructor !== Moment) roots.push(constructor);
    roots.push(constructor.prototype);
  }
  const original = [];
  const counts = [];
  for (const root of [World, ...roots]) {
    const names = getOwnPropertyNames(root);
    counts.push([root, names.length]);
    for (const name of names) {
      const property = getOwnPropertyDescriptor(root, name);
      if ("value" in property && name !== "lastMatch") original.push([root, name, property.value]);
    }
  }

  function isDirty(careful) {
    const added = keys(World);
    for (let i = 0; i < added.length; i++) if (!deleteProperty(World, added[i])) return true;
    for (let i = 0; i < roots.length; i++) if (keys(roots[i]).length > 0) return true;
    if (!careful) return false;
    for (let i = 0; i < counts.length; i++) if (getOwnPropertyNames(counts[i][0]).length !== counts[i][1]) return true;
    for (let i = 0; i < original.length; i++) {
      const [root, name, value] = original[i];
      const found = root[name];
      if (found !== value && found === found) return true;
    }
    return false;
  }

  return function (factory) {
    const names = [["decodeUplink", "Decoder", "Decode"], ["encodeDownlink", "Encoder", "Encode"], ["decodeDownlink"]];
    let settled;
    let waiting;

    function find(kind) {
      const module = { exports: {} };
      const found = factory(module, module.exports, require);
      const exported = module.exports ?? {};
      for (const name of names[kind]) {
        for (const home of [found, exported, exported.default ?? {}]) {
          if (typeof home[name] === "function") return [name, home[name], home === found ? undefined : home];
        }
      }
      return undefined;
    }

    function run(kind, input, port, millis) {
      now = millis;
      seed = 0x2545f491;
      if (kind === SETTLE) {
        const { kind, isOld, name, port } = waiting;
        if (settled === undefined) return [BAD, name + " returned a promise that nothing fulfils"];
        if (settled.error !== undefined) return [THROWN, describe(settled.error.value)];
        return judge(kind, isOld, name, port, settled.value);
      }
      const found = find(kind);
      if (found === undefined) return [NO_FUNCTION];
      const [name, code, home] = found;
      const given = parse(input);
      let args, isOld = true;
      switch (name) {
        case "Decoder": args = [given, port]; break;
        case "Decode": args = [port, given, {}]; break;
        case "Encoder": args = [given, port]; break;
        case "Encode": args = [port, given, {}]; break;
        case "encodeDownlink": args = [{ data: given, fPort: port, variables: {} }]; isOld = false; break;
        default: args = [{ bytes: given, fPort: port, recvTime: new Moment(), variables: {} }]; isOld = false;
      }
      const answer = apply(code, home, args);
      if (answer instanceof P) {
        waiting = { kind, isOld, name, port };
        settled = undefined;
        apply(then, answer, [(value) => { settled = { value }; }, (value) => { settled = { error: { value } }; }]);
        return [PENDING];
      }
      return judge(kind, isOld, name, port, answer);
    }

    return function (kind, input, port, millis, careful) {
      let answer;
      try {
        answer = run(kind, input, port, millis);
      } catch (thrown) {
        // When there is no memory for an exception either, the engine throws null.
        answer = thrown === null ? [NO_MEMORY] : [THROWN, describe(thrown)];
      }
      return [answer[0], answer[1] ?? "", answer[2] ?? [], answer[3] ?? 0, answer[0] !== PENDING && isDirty(careful)];
    };
  };
})()
