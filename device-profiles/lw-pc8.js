// Counter at the entrance of a car park, port 8, 8 bytes, the high byte first:
//   0..1  cars that came in since midnight
//   2..3  cars that left since midnight
//   4..5  cars inside, by its own sum
//   6     bit 0: entrance loop broken, bit 1: exit loop broken
//   7     battery in %
exports.decodeUplink = function (input) {
  const view = new DataView(Uint8Array.from(input.bytes).buffer);
  if (view.byteLength !== 8) return { errors: [`expected 8 bytes, found ${view.byteLength}`] };
  const loops = view.getUint8(6) & 3;
  return {
    data: {
      entered: view.getUint16(0),
      left: view.getUint16(2),
      // With a broken loop the sum is a guess.
      occupied: loops === 0 ? view.getUint16(4) : null,
      loops,
      battery: view.getUint8(7),
    },
  };
};

// Port 8: 21 and the number of cars that somebody counted.
exports.encodeDownlink = function (input) {
  const cars = input.data.cars;
  if (!Number.isInteger(cars) || cars < 0 || cars > 65535) return { errors: ["no number of cars: " + cars] };
  return { fPort: 8, bytes: [0x21, cars >> 8, cars & 0xff] };
};
