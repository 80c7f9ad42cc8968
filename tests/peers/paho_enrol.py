"""A cheap 3.1.1 device on paho that registers itself: it has one user name and one password for life, and tries again.

Usage: paho_enrol.py PORT DEVICE PASSWORD. Publishes one reading at QoS 1 and ends when it is acknowledged, however often its
connection is ended meanwhile. Prints one line a step.
"""

import sys
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

PORT, DEVICE, PASSWORD = int(sys.argv[1]), sys.argv[2], sys.argv[3]
PATIENCE = 20

client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=DEVICE, protocol=mqtt.MQTTv311)
client.username_pw_set("enroll", PASSWORD)
client.reconnect_delay_set(min_delay=1, max_delay=1)
published = threading.Event()


def on_connect(_client, _userdata, _flags, reason, _properties):
    assert not reason.is_failure, reason
    print("connected", flush=True)


client.on_connect = on_connect
client.on_publish = lambda *_: published.set()
client.connect("127.0.0.1", PORT, keepalive=30)
client.publish(f"devices/{DEVICE}/telemetry", '{"level": 7.5}', qos=1)
client.loop_start()
assert published.wait(PATIENCE), "not acknowledged"
print("acknowledged", flush=True)
client.disconnect()
client.loop_stop()
