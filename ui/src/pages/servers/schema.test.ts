import { expect, test } from "vitest";
import { argumentsOf, checkArguments, fieldsOf } from "./schema";

const schema = (properties: unknown, required: string[] = []) =>
  JSON.stringify({ type: "object", properties, required });

test("simple properties become fields and arguments", () => {
  const fields = fieldsOf(
    schema(
      {
        name: { type: "string", description: "Whose." },
        count: { type: ["integer", "null"] },
        loud: { type: "boolean", default: false },
        kind: { type: "string", enum: ["a", "b"] },
      },
      ["name"],
    ),
  );
  expect(fields?.map((field) => [field.name, field.kind, field.required])).toEqual([
    ["name", "text", true],
    ["count", "integer", false],
    ["loud", "boolean", false],
    ["kind", "choice", false],
  ]);
  const args = argumentsOf(fields ?? [], { count: "3", loud: "true" });
  expect(JSON.parse(args)).toEqual({ name: "", count: 3, loud: true });
});

test("complex schema has no fields", () => {
  expect(fieldsOf(schema({ list: { type: "array" } }))).toBeNull();
  expect(fieldsOf(schema({ either: { anyOf: [] } }))).toBeNull();
  expect(fieldsOf("nonsense")).toBeNull();
  expect(fieldsOf('{"type":"object"}')).toEqual([]);
});

test("arguments are JSON object", () => {
  expect(checkArguments('{"a":1}')).toBeNull();
  expect(checkArguments("[1]")).not.toBeNull();
  expect(checkArguments("{")).not.toBeNull();
});
