// Manhole level and gas, port 2, 11 bytes, the high byte first:
//   0      layout, 1
//   1..2   water depth in mm; FFFF: sensor unplugged
//   3      methane in % LEL; FF: no head
//   4..5   hydrogen sulphide in 0.1 ppm; FFFF: no head
//   6..7   oxygen in 0.01 % by volume; FFFF: no head
//   8      bit 0: cover open, bit 1: housing immersed
//   9..10  battery in mV
function decodeUplink(input) {
  const b = input.bytes;
  if (b.length !== 11) return { errors: ["expected 11 bytes, found " + b.length] };
  if (b[0] !== 1) return { errors: ["unknown layout " + b[0]] };
  const u16 = (at) => (b[at] << 8) | b[at + 1];
  const value = (raw, none, scale) => (raw === none ? null : raw / scale);
  return {
    data: {
      level: value(u16(1), 0xffff, 1000),
      ch4: value(b[3], 0xff, 1),
      h2s: value(u16(4), 0xffff, 10),
      o2: value(u16(6), 0xffff, 100),
      cover: b[8] & 1,
      immersed: (b[8] >> 1) & 1,
      battery: u16(9) / 1000,
    },
  };
}

// Port 10: 01 and the reporting interval in minutes (1 to 1440), or 02 to begin a self-test of the gas heads.
function encodeDownlink(input) {
  const { cmd, minutes } = input.data;
  if (cmd === "self_test") return { fPort: 10, bytes: [0x02] };
  if (cmd !== "interval") return { errors: ["unknown command " + cmd] };
  if (!(minutes >= 1 && minutes <= 1440)) return { errors: ["minutes must be 1 to 1440, not " + minutes] };
  return { fPort: 10, bytes: [0x01, minutes >> 8, minutes & 0xff] };
}
