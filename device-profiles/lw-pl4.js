// Supply pressure logger, port 4: one frame carries several samples, so that the radio is used once an hour.
//   0     minutes between two samples
//   1     how many samples, n
//   2..   n samples of 2 bytes, 0.1 kPa, the high byte first, the oldest first; the last one is of now; FFFF: none
//   then  battery in mV, 2 bytes
// Port 14: one sample of now, sent at once when the pressure changes by more than 50 kPa in a minute; the battery behind it.
function decodeUplink(input) {
  const { bytes, fPort } = input;
  const u16 = (at) => (bytes[at] << 8) | bytes[at + 1];
  const pressure = (at) => (u16(at) === 0xffff ? null : u16(at) / 10);
  if (fPort === 14) {
    if (bytes.length !== 4) return { errors: ["expected 4 bytes, found " + bytes.length] };
    return { data: { pressure: pressure(0), battery: u16(2) / 1000, event: 1 } };
  }
  const [minutes, count] = bytes;
  const expected = 2 + 2 * count + 2;
  if (!(count >= 1) || bytes.length !== expected) {
    return { errors: ["expected " + expected + " bytes for " + count + " samples, found " + bytes.length] };
  }
  const history = [];
  for (let i = 0; i < count - 1; i++) {
    const age = (count - 1 - i) * minutes * 60000;
    history.push({ time: new Date(input.recvTime.getTime() - age), pressure: pressure(2 + 2 * i) });
  }
  return { data: { history, pressure: pressure(2 * count), battery: u16(2 + 2 * count) / 1000, event: 0 } };
}
