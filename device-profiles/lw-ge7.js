// Position of a sluice gate by an encoder on its hoist, port 7, 8 bytes, the high byte first:
//   0..1  opening in mm
//   2..3  hoist load in 0.1 kN
//   4     bit 0: upper limit switch, bit 1: lower limit switch, bit 2: over-torque, bit 3: key on local, bit 4: encoder lost
//   5..6  supply in 0.01 V
//   7     frame number
function decodeUplink(input) {
  const bytes = input.bytes;
  if (bytes.length !== 8) return { errors: ["expected 8 bytes, found " + bytes.length] };
  const u16 = (at) => (bytes[at] << 8) | bytes[at + 1];
  const bit = (n) => (bytes[4] >> n) & 1;
  if (bit(0) && bit(1)) return { errors: ["both limit switches at once: a broken cable"] };
  return {
    data: {
      opening: bit(4) ? null : u16(0) / 1000,
      load: u16(2) / 10,
      limit: bit(0) ? "upper" : bit(1) ? "lower" : "between",
      over_torque: bit(2),
      key: bit(3) ? "local" : "remote",
      supply: u16(5) / 100,
    },
  };
}
