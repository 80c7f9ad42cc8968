// Tipping bucket rain gauge, port 1: a list of fields, each a number and its value, the high byte first.
//   01  tips since the last report, 2 bytes; a tip is 0.2 mm
//   02  tips since it was put up, 4 bytes
//   03  battery in mV, 2 bytes
//   04  status, 1 byte; bit 0: bucket blocked
// Written in the signature of ChirpStack 3, as many codecs in the field are.
var SIZES = { 1: 2, 2: 4, 3: 2, 4: 1 };

function Decode(fPort, bytes, variables) {
  var data = {};
  for (var i = 0; i < bytes.length; ) {
    var field = bytes[i++];
    var size = SIZES[field];
    if (size === undefined) throw new Error("unknown field " + field);
    if (i + size > bytes.length) throw new Error("field " + field + " is cut off");
    var value = 0;
    for (var end = i + size; i < end; i++) value = value * 256 + bytes[i];
    if (field === 1) data.rain = value / 5;
    if (field === 2) data.total = value / 5;
    if (field === 3) data.battery = value / 1000;
    if (field === 4) data.blocked = value & 1;
  }
  return data;
}
