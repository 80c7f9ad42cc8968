// Cover tilt, port 1, 4 bytes:
//   0  bit 0: moved since the last report, bit 1: immersed, bit 7: sign of life (nothing happened)
//   1  tilt from the installed angle in degrees, 0 to 180
//   2  temperature in degrees Celsius, two's complement
//   3  battery in %
function decodeUplink(input) {
  var b = input.bytes;
  if (b.length !== 4) return { errors: ["expected 4 bytes, found " + b.length] };
  if (b[1] > 180) return { errors: ["a tilt of " + b[1] + " degrees"] };
  return {
    data: {
      moved: b[0] & 1,
      immersed: (b[0] >> 1) & 1,
      tilt: b[1],
      temperature: b[2] > 127 ? b[2] - 256 : b[2],
      battery: b[3],
    },
  };
}
