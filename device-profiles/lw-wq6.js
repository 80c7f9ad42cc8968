// Water quality, port 6: which probes are fitted, then their values in this order, the high byte first.
//   0     bit 0: COD, bit 1: ammonia nitrogen, bit 2: conductivity, bit 3: pH, bit 7: probes are being cleaned
//   COD   2 bytes, 0.1 mg/L
//   NH3N  2 bytes, 0.01 mg/L
//   conductivity  2 bytes, uS/cm
//   pH    1 byte, 0.1
//   then  battery in %, 1 byte
// FF or FFFF stands for a probe that is fitted and gives no value.
var PROBES = [
  { name: "cod", size: 2, scale: 10 },
  { name: "nh3n", size: 2, scale: 100 },
  { name: "conductivity", size: 2, scale: 1 },
  { name: "ph", size: 1, scale: 10 },
];

function decodeUplink(input) {
  var bytes = input.bytes;
  if (bytes.length === 0) return { errors: ["an empty frame"] };
  var fitted = bytes[0];
  var isCleaning = (fitted & 0x80) !== 0;
  var data = { cleaning: isCleaning ? 1 : 0 };
  var at = 1;
  PROBES.forEach(function (probe, bit) {
    if (!(fitted & (1 << bit))) return;
    var raw = probe.size === 2 ? (bytes[at] << 8) | bytes[at + 1] : bytes[at];
    var none = probe.size === 2 ? 0xffff : 0xff;
    // What a probe says in the brush is no water quality.
    data[probe.name] = raw === none || isCleaning ? null : raw / probe.scale;
    at += probe.size;
  });
  if (bytes.length !== at + 1) return { errors: ["expected " + (at + 1) + " bytes for these probes, found " + bytes.length] };
  data.battery = bytes[at];
  return { data: data };
}

// Port 6: 11 begins a cleaning.
function encodeDownlink(input) {
  if (input.data.cmd !== "clean") return { errors: ["unknown command " + input.data.cmd] };
  return { fPort: 6, bytes: [0x11] };
}
