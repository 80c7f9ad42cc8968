// Magnetometer under a parking bay, the high byte first.
// Port 1, on change, and port 3, every 6 hours:
//   0     bit 0: occupied, bit 1: the field is disturbed and the state not sure
//   1..2  battery in mV
//   3..4  temperature in 0.1 degrees Celsius, two's complement
function decodeUplink(input) {
  var b = input.bytes;
  if (b.length < 5) return { errors: ["frame too short: " + b.length + " of 5 bytes"] };
  var temperature = (b[3] << 8) | b[4];
  if (temperature > 0x7fff) temperature -= 0x10000;
  return {
    data: {
      // A state that is not sure is no state: the lot reports a range then, not a guess.
      occupied: b[0] & 2 ? null : b[0] & 1,
      disturbed: (b[0] >> 1) & 1,
      battery: ((b[1] << 8) | b[2]) / 1000,
      temperature: temperature / 10,
    },
  };
}

// Port 10: A5 01 takes the field of now as that of an empty bay.
function encodeDownlink(input) {
  if (input.data.cmd === "recalibrate") return { fPort: 10, bytes: [0xa5, 0x01] };
  return { errors: ["unknown command " + input.data.cmd] };
}
