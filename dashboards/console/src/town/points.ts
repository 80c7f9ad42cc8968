/** The points of an asset with what the feed said of them since they were read. */

import type { Alert, Device, Point } from "../api/types";
import type { ValueChange } from "../live/events";
import { pointKey } from "./town";

/** A point, its device, and when its value was observed (milliseconds since 1970). */
export interface LivePoint extends Point {
  device: string;
  observedAtMs: number | null;
}

/** All points of the devices, each with its newest value. */
export function withValues(devices: readonly Device[], values: ReadonlyMap<string, ValueChange>): LivePoint[] {
  return devices.flatMap((device) => device.points.map((point) => withValue(device.id, point, values)));
}

function withValue(device: string, point: Point, values: ReadonlyMap<string, ValueChange>): LivePoint {
  const observedAtMs = point.observed_at === null ? null : Date.parse(point.observed_at);
  const change = values.get(pointKey(device, point.metric));
  if (change === undefined || (observedAtMs !== null && change.observedAtMs < observedAtMs)) {
    return { ...point, device, observedAtMs };
  }
  return {
    ...point,
    device,
    observedAtMs: change.observedAtMs,
    value: change.value,
    state: point.states?.find(({ code }) => code === change.value)?.label ?? null,
    grade: change.grade,
    reason: change.reason,
  };
}

/** The point to draw first: the alert's own, else the first that is a quantity. */
export function chartPoint(points: readonly LivePoint[], alert: Alert | null): LivePoint | undefined {
  return (
    points.find(({ device, metric }) => device === alert?.device && metric === alert.metric) ??
    points.find(({ states }) => states === null) ??
    points[0]
  );
}
