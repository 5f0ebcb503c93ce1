// The part of JSON Schema that a simple form needs. Other schemas need arguments as JSON.

export type FieldKind = "text" | "number" | "integer" | "boolean" | "choice";

export interface Field {
  name: string;
  kind: FieldKind;
  required: boolean;
  description: string | null;
  choices: string[];
  initial: string;
}

/** Returns the fields of an object schema with only simple properties, or `null` for any other. */
export function fieldsOf(schemaText: string): Field[] | null {
  const schema = parseObject(schemaText);
  if (schema === null) return null;
  const properties = isObject(schema.properties) ? schema.properties : {};
  const required = Array.isArray(schema.required) ? schema.required : [];
  const fields: Field[] = [];
  for (const [name, property] of Object.entries(properties)) {
    const field = isObject(property) ? fieldOf(name, property, required.includes(name)) : null;
    if (field === null) return null;
    fields.push(field);
  }
  return fields;
}

/** Returns the arguments as JSON text. Empty fields are omitted unless they are required. */
export function argumentsOf(fields: Field[], values: Record<string, string>): string {
  const given = fields.flatMap((field): [string, unknown][] => {
    const value = values[field.name] ?? field.initial;
    if (value === "" && !(field.required && field.kind === "text")) return [];
    return [[field.name, parsed(field.kind, value)]];
  });
  return JSON.stringify(Object.fromEntries(given), null, 2);
}

/** Returns why the text is not a JSON object, or `null` if it is one. */
export function checkArguments(text: string): string | null {
  try {
    return isObject(JSON.parse(text)) ? null : "{}";
  } catch (thrown) {
    return thrown instanceof Error ? thrown.message : String(thrown);
  }
}

function fieldOf(name: string, property: Record<string, unknown>, required: boolean): Field | null {
  const choices = Array.isArray(property.enum) ? property.enum : [];
  const kind = kindOf(property.type, choices);
  if (kind === null) return null;
  const initial = property.default;
  return {
    name,
    kind,
    required,
    description: typeof property.description === "string" ? property.description : null,
    choices: choices.map(String),
    initial: initial === undefined || initial === null ? "" : String(initial),
  };
}

function kindOf(type: unknown, choices: unknown[]): FieldKind | null {
  // Many generators produce ["string", "null"] for optional properties.
  const named = Array.isArray(type) ? type.filter((one) => one !== "null") : [type];
  const [only] = named;
  if (named.length !== 1) return null;
  if (choices.length > 0) return choices.every((one) => typeof one === "string") ? "choice" : null;
  switch (only) {
    case "string":
      return "text";
    case "number":
    case "integer":
    case "boolean":
      return only;
    default:
      return null;
  }
}

function parsed(kind: FieldKind, value: string): unknown {
  switch (kind) {
    case "text":
    case "choice":
      return value;
    case "number":
    case "integer":
      return Number(value);
    case "boolean":
      return value === "true";
  }
}

function parseObject(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : null;
  } catch {
    return null;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
