// Canal level by radar from a bridge, port 5, 8 bytes, the high byte first:
//   0..1  distance from the sensor to the water in mm; 0: no echo
//   2..3  height of the sensor over the 1985 datum in mm, as it was set when it was put up
//   4     strength of the echo in dB
//   5..6  battery in mV
//   7     bit 0: the beam is blocked (a boat, a spider), bit 1: the height was never set
function decodeUplink(input) {
  const b = Buffer.from(input.bytes);
  if (b.length !== 8) return { errors: ["expected 8 bytes, found " + b.length] };
  const distance = b.readUInt16BE(0);
  const status = b.readUInt8(7);
  const isGood = distance > 0 && (status & 3) === 0;
  const warnings = [];
  if (distance === 0) warnings.push("no echo");
  if (status & 2) warnings.push("a level without its datum: set the sensor's height");
  return {
    data: {
      level: isGood ? (b.readUInt16BE(2) - distance) / 1000 : null,
      echo: b.readUInt8(4),
      blocked: status & 1,
      battery: b.readUInt16BE(5) / 1000,
    },
    warnings,
  };
}

// Port 15: 05 and the sensor's height over the datum in mm, the high byte first.
function encodeDownlink(input) {
  const mm = Math.round(input.data.height_m * 1000);
  if (!(mm >= 0 && mm <= 65535)) return { errors: ["a height of " + input.data.height_m + " m"] };
  return { fPort: 15, bytes: [0x05, mm >> 8, mm & 0xff] };
}

function decodeDownlink(input) {
  const b = input.bytes;
  if (b.length !== 3 || b[0] !== 0x05) return { errors: ["no height"] };
  return { data: { height_m: ((b[1] << 8) | b[2]) / 1000 } };
}
