import { describe, expect, it } from "vitest";
import { address } from "../../src/api/hub";
import { readRoute, writeRoute } from "../../src/pages/route";

describe("the address of a page", () => {
  it("names the page and what it shows", () => {
    const route = readRoute("?page=device&id=mh%2F1&lang=en&theme=dark");
    expect(route).toEqual({ page: "device", query: { id: "mh/1" } });
    expect(readRoute(writeRoute(route).slice(1))).toEqual(route);
  });

  it("is the map without a page, and with one that nobody knows", () => {
    expect(readRoute("?lang=zh")).toBeNull();
    expect(readRoute("?page=constructor")).toBeNull();
    expect(writeRoute(null)).toBe("/");
  });
});

describe("the address of a route of the hub", () => {
  it("fills in and escapes what it is given, and leaves out what is not there", () => {
    const asked = { path: { id: "a/b?c" }, query: { from: "x y", to: undefined, zone: "" } };
    expect(address("/api/v1/devices/{id}", asked)).toBe("/api/v1/devices/a%2Fb%3Fc?from=x+y");
  });
});
