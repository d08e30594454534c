// Values there and back again.

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { Entity, type Value } from "hallpass-client";

import { fromWire, toWire } from "#dist/values";

describe("values", () => {
  it("every value comes back as it was", () => {
    const values: Value[] = [
      null,
      true,
      false,
      0,
      -7,
      Number.MAX_SAFE_INTEGER,
      2n ** 63n - 1n,
      -(2n ** 63n),
      "",
      "Käthe",
      new Entity("School", "101"),
      [],
      {},
      [1, "a", null, [true]],
      { a: { b: [new Entity("Student", "ada")] }, c: null },
    ];
    for (const value of values) {
      assert.deepStrictEqual(fromWire(toWire(value)), value);
    }
    assert.equal(fromWire(toWire(5n)), 5);
  });

  it("what has no form on the wire is refused", () => {
    for (const value of [
      1.5,
      NaN,
      2 ** 60,
      2n ** 63n,
      undefined,
      () => 1,
      Symbol("a"),
      new Date(),
      { a: 1.5 },
      [undefined],
    ]) {
      assert.throws(() => toWire(value as Value), TypeError);
    }
  });

  it("a name from the wire changes no prototype", () => {
    const wire = toWire(JSON.parse('{"__proto__": {"isAdmin": true}}') as Value);
    const back = fromWire(wire) as Record<string, unknown>;
    assert.equal(back["isAdmin"], undefined);
    assert.deepEqual(Object.keys(back), ["__proto__"]);
  });
});
