"""A device and a service on paho, both protocol versions: connects, publishes at every QoS, subscribes, is refused.

Usage: paho_device.py PORT DEVICE SECRET. Prints one line a step; exits 0 when every step went as expected.
"""

import sys
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

PORT, DEVICE, SECRET = int(sys.argv[1]), sys.argv[2], sys.argv[3]
PATIENCE = 10


def run(version):
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"paho-{version}", protocol=version)
    client.username_pw_set(DEVICE, SECRET)
    client.will_set(f"devices/{DEVICE}/status", "offline", qos=1, retain=True)
    connected, subscribed, granted = threading.Event(), threading.Event(), []

    def on_connect(_client, _userdata, _flags, reason, _properties):
        assert not reason.is_failure, reason
        connected.set()

    def on_subscribe(_client, _userdata, _mid, reasons, _properties):
        granted.extend(reasons)
        subscribed.set()

    client.on_connect, client.on_subscribe = on_connect, on_subscribe
    client.connect("127.0.0.1", PORT, keepalive=30)
    client.loop_start()
    assert connected.wait(PATIENCE), "no CONNACK"
    print(version, "connected")
    client.publish(f"devices/{DEVICE}/status", "online", qos=1, retain=True).wait_for_publish(PATIENCE)
    for qos in (0, 1, 2):
        info = client.publish(f"devices/{DEVICE}/telemetry", f'{{"level":{version}{qos}}}', qos=qos)
        info.wait_for_publish(PATIENCE)
        assert info.is_published(), f"QoS {qos} is not acknowledged"
    print(version, "published")
    client.subscribe([(f"devices/{DEVICE}/commands", 1), ("#", 0)])
    assert subscribed.wait(PATIENCE), "no SUBACK"
    assert not granted[0].is_failure and granted[1].is_failure, granted
    print(version, "subscribed")
    client.disconnect()
    client.loop_stop()


def refused(version):
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="paho-wrong", protocol=version)
    client.username_pw_set(DEVICE, "not the secret at all")
    done, reasons = threading.Event(), []

    def on_connect(_client, _userdata, _flags, reason, _properties):
        reasons.append(reason)
        done.set()

    client.on_connect = on_connect
    client.connect("127.0.0.1", PORT)
    client.loop_start()
    assert done.wait(PATIENCE), "no CONNACK"
    assert reasons[0].is_failure, reasons
    client.disconnect()
    client.loop_stop()
    print(version, "refused:", reasons[0])


for protocol in (MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5):
    run(protocol)
    refused(protocol)
