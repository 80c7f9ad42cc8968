// Sewer flow by area and velocity, port 3, 12 bytes, the low byte first:
//   0..1   depth in mm
//   2..3   mean velocity in mm/s, two's complement: negative is backwater
//   4..7   flow in 0.1 L/s, two's complement
//   8..9   water temperature in 0.1 degrees Celsius, two's complement
//   10     bit 0: no Doppler signal (velocity and flow say nothing), bit 1: depth sensor covered by sediment
//   11     battery in %
function decodeUplink(input) {
  const view = new DataView(new Uint8Array(input.bytes).buffer);
  if (view.byteLength !== 12) return { errors: [`expected 12 bytes, found ${view.byteLength}`] };
  const status = view.getUint8(10);
  const noSignal = (status & 1) !== 0;
  const covered = (status & 2) !== 0;
  return {
    data: {
      depth: covered ? null : view.getUint16(0, true) / 1000,
      velocity: noSignal ? null : view.getInt16(2, true) / 1000,
      flow: noSignal ? null : view.getInt32(4, true) / 10000,
      temperature: view.getInt16(8, true) / 10,
      sediment: covered ? 1 : 0,
      battery: view.getUint8(11),
    },
    warnings: noSignal ? ["no Doppler signal"] : [],
  };
}
