function decodeUplink(input) {
  var b = input.bytes;
  return { data: { occupied: b[0] === 1, battery: ((b[1] << 8) | b[2]) / 1000 } };
}
