#!/usr/bin/env python3
"""A sluice gate controller (profile wz-sg200) served by pymodbus, a Modbus server that we did not write.

    pip install 'pymodbus>=3.16,<4'
    python3 pymodbus_gate.py [--port 0] [--unit 1]

Prints `PORT n` once it listens, and serves until SIGTERM or SIGINT. Every register that is not in the map
below is answered with exception 2 (illegal data address).

    holding  100      opening, 0.1 %      500 (50.0 %)
    holding  200      setpoint, 0.1 %     500 (50.0 %)
    input    10-11    level_up, f32 CDAB  3.5 m
    input    12-13    level_down, f32     1.5 m
    input    14-19    reserved            0 (a merged read of 10-20 spans them)
    input    20       motor               0 (stopped)
    discrete 3        remote              1 (remote)
"""

import argparse
import asyncio
import signal
import struct

from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice


def cdab(value: float) -> list[int]:
    """The two registers of a 32-bit float, low word first."""
    high, low = struct.unpack(">HH", struct.pack(">f", value))
    return [low, high]


def gate(unit: int) -> SimDevice:
    """The gate's four separate tables."""
    registers = DataType.REGISTERS
    coils = [SimData(0, values=[False], datatype=DataType.BITS)]
    discrete = [SimData(3, values=[True], datatype=DataType.BITS)]
    holding = [
        SimData(100, values=[500], datatype=registers),
        SimData(200, values=[500], datatype=registers),
    ]
    inputs = [SimData(10, values=[*cdab(3.5), *cdab(1.5), *[0] * 6, 0], datatype=registers)]
    return SimDevice(unit, simdata=(coils, discrete, holding, inputs))


async def serve(port: int, unit: int) -> None:
    """Serves the gate until a signal ends it."""
    server = ModbusTcpServer(gate(unit), address=("127.0.0.1", port))
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, ended.set)
    await server.serve_forever(background=True)
    print("PORT", server.transport.sockets[0].getsockname()[1], flush=True)
    await ended.wait()
    await server.shutdown()


def main() -> None:
    """Reads the arguments and serves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--unit", type=int, default=1, help="the gate's unit number")
    args = parser.parse_args()
    asyncio.run(serve(args.port, args.unit))


if __name__ == "__main__":
    main()
