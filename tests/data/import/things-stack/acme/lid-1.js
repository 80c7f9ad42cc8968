function decodeUplink(input) {
  var b = input.bytes;
  if (b.length < 5) return { errors: ["short frame"] };
  var tilt = (b[1] << 8) | b[2];
  return { data: { wet: b[0] === 1, tiltDeg: tilt, battery: { volts: ((b[3] << 8) | b[4]) / 1000 }, lid: tilt > 10 ? "ajar" : "shut" } };
}
