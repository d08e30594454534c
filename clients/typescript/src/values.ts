// Values as JavaScript has them, and as they cross the wire.

import { create } from "@bufbuild/protobuf";

import {
  type EntityReference,
  EntityReferenceSchema,
  ListValueSchema,
  RecordValueSchema,
  type Value as WireValue,
  ValueSchema,
} from "./gen/hallpass/v1/values_pb.js";

/** A reference to an entity: its type of the realm's schema, and its id. */
export class Entity {
  constructor(
    readonly type: string,
    readonly id: string,
  ) {}

  toString(): string {
    return `${this.type}:${this.id}`;
  }
}

/**
 * A value. `null` is "no value": the attribute is declared but empty. There are no decimals; whole numbers have 64 bits,
 * and come back as `bigint` only where a `number` is not exact.
 */
export type Value = null | boolean | number | bigint | string | Entity | readonly Value[] | Values;

/** Named values. */
export interface Values {
  readonly [name: string]: Value;
}

const LEAST = -(2n ** 63n);
const MOST = 2n ** 63n - 1n;

/** The value as it is sent. Throws a `TypeError` for what has no form on the wire. */
export function toWire(value: Value): WireValue {
  return create(ValueSchema, { kind: kindOf(value) });
}

function kindOf(value: Value): WireValue["kind"] {
  if (value === null) {
    return { case: undefined };
  }
  switch (typeof value) {
    case "boolean":
      return { case: "boolValue", value };
    case "string":
      return { case: "stringValue", value };
    case "number":
      if (!Number.isSafeInteger(value)) {
        throw new TypeError(`expected a whole number that is exact, or a bigint, found ${value}`);
      }
      return { case: "intValue", value: BigInt(value) };
    case "bigint":
      if (value < LEAST || value > MOST) {
        throw new TypeError("expected a whole number of 64 bits");
      }
      return { case: "intValue", value };
    case "object":
      return kindOfObject(value);
    default:
      throw new TypeError(
        `expected null, a boolean, a number, a text, an Entity, a list or a record, found ${typeof value}`,
      );
  }
}

function kindOfObject(value: Entity | readonly Value[] | Values): WireValue["kind"] {
  if (value instanceof Entity) {
    return { case: "entityValue", value: entityToWire(value) };
  }
  if (isList(value)) {
    return { case: "listValue", value: create(ListValueSchema, { values: value.map(toWire) }) };
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) {
    throw new TypeError("expected a plain object as a record");
  }
  return { case: "recordValue", value: create(RecordValueSchema, { fields: recordToWire(value) }) };
}

function isList(value: readonly Value[] | Values): value is readonly Value[] {
  return Array.isArray(value);
}

/** The value as JavaScript has it. */
export function fromWire(value: WireValue): Value {
  const { kind } = value;
  switch (kind.case) {
    case "boolValue":
    case "stringValue":
      return kind.value;
    case "intValue": {
      const number = Number(kind.value);
      return Number.isSafeInteger(number) ? number : kind.value;
    }
    case "entityValue":
      return entityFromWire(kind.value);
    case "listValue":
      return kind.value.values.map(fromWire);
    case "recordValue":
      return recordFromWire(kind.value.fields);
    default:
      return null;
  }
}

/** Named values as they are sent. */
export function recordToWire(record: Values): { [name: string]: WireValue } {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, toWire(value)]));
}

/** Named values as JavaScript has them. */
export function recordFromWire(record: { [name: string]: WireValue }): Values {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, fromWire(value)]));
}

/** A reference as it is sent. */
export function entityToWire(entity: Entity): EntityReference {
  return create(EntityReferenceSchema, { type: entity.type, id: entity.id });
}

/** A reference as JavaScript has it. */
export function entityFromWire(reference: EntityReference): Entity {
  return new Entity(reference.type, reference.id);
}
