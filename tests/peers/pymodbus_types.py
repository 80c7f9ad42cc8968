#!/usr/bin/env python3
"""Values of every type and word order, encoded and served by pymodbus, which we did not write.

    pip install 'pymodbus>=3.16,<4' pyserial
    python3 pymodbus_types.py --values '[["a", "f32", "CDAB", 3.5]]' [--serial /dev/pts/7 | --port 0] [--unit 1]

The values stand one behind the other in the holding registers, from 0 on; 20 registers for writing follow at 500, and
16 coils at 0. Prints `READY n` (the TCP port, or 0) once it serves, and serves until SIGTERM or SIGINT.
"""

import argparse
import asyncio
import json
import signal

from pymodbus import FramerType
from pymodbus.client.mixin import ModbusClientMixin
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

TYPES = {
    "u16": "UINT16", "i16": "INT16", "u32": "UINT32", "i32": "INT32",
    "u64": "UINT64", "i64": "INT64", "f32": "FLOAT32", "f64": "FLOAT64", "text": "STRING",
}


def registers(kind: str, order: str, value) -> list[int]:
    """The registers of a value: pymodbus knows both word orders; the bytes of each word are swapped here."""
    datatype = ModbusClientMixin.DATATYPE[TYPES[kind]]
    little = "little" if order in ("CDAB", "DCBA") and kind != "text" else "big"
    words = ModbusClientMixin.convert_to_registers(value, datatype, word_order=little)
    if order in ("BADC", "DCBA") and len(words) > 1:
        words = [(word >> 8) | (word & 0xFF) << 8 for word in words]
    return words


def device(unit: int, values: list) -> SimDevice:
    """The device's four separate tables."""
    words = [word for _, kind, order, value in values for word in registers(kind, order, value)]
    bits = [SimData(0, values=[False] * 16, datatype=DataType.BITS)]
    holding = [
        SimData(0, values=words, datatype=DataType.REGISTERS),
        SimData(500, values=[0] * 20, datatype=DataType.REGISTERS),
    ]
    inputs = [SimData(0, values=[0], datatype=DataType.REGISTERS)]
    return SimDevice(unit, simdata=(bits, bits, holding, inputs))


async def serve(args: argparse.Namespace) -> None:
    """Serves the device until a signal ends it."""
    served = device(args.unit, json.loads(args.values))
    if args.serial:
        server = ModbusSerialServer(
            served, framer=FramerType.RTU, port=args.serial, baudrate=19200, parity="N"
        )
    else:
        server = ModbusTcpServer(served, address=("127.0.0.1", args.port))
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, ended.set)
    await server.serve_forever(background=True)
    port = 0 if args.serial else server.transport.sockets[0].getsockname()[1]
    print("READY", port, flush=True)
    await ended.wait()
    await server.shutdown()


def main() -> None:
    """Reads the arguments and serves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--values", required=True, help="a JSON array of [name, type, order, value]")
    parser.add_argument("--serial", help="a serial port, 19200 bit/s, 8N1")
    parser.add_argument("--port", type=int, default=0, help="a TCP port; 0 takes a free one")
    parser.add_argument("--unit", type=int, default=1)
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
