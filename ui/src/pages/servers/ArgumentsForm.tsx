import { Checkbox, NumberInput, Select, Stack, Text, Textarea } from "@mantine/core";
import { t } from "../../strings/t";
import type { Field } from "./schema";

interface Props {
  fields: Field[];
  values: Record<string, string>;
  onChange: (name: string, value: string) => void;
}

export function ArgumentsForm({ fields, values, onChange }: Props) {
  if (fields.length === 0) {
    return (
      <Text size="sm" c="dimmed">
        {t("tools-no-arguments")}
      </Text>
    );
  }
  return (
    <Stack gap="sm">
      {fields.map((field) => (
        <FieldInput
          key={field.name}
          field={field}
          value={values[field.name] ?? field.initial}
          onChange={(value) => onChange(field.name, value)}
        />
      ))}
    </Stack>
  );
}

interface FieldProps {
  field: Field;
  value: string;
  onChange: (value: string) => void;
}

function FieldInput({ field, value, onChange }: FieldProps) {
  const common = { label: field.name, description: field.description, withAsterisk: field.required };
  switch (field.kind) {
    case "boolean":
      return (
        <Checkbox
          label={field.name}
          description={field.description}
          checked={value === "true"}
          onChange={(event) => onChange(String(event.currentTarget.checked))}
        />
      );
    case "choice":
      return (
        <Select
          {...common}
          data={field.choices}
          value={value === "" ? null : value}
          onChange={(next) => onChange(next ?? "")}
          clearable={!field.required}
        />
      );
    case "number":
    case "integer":
      return (
        <NumberInput
          {...common}
          allowDecimal={field.kind === "number"}
          value={value}
          onChange={(next) => onChange(String(next))}
        />
      );
    case "text":
      return (
        <Textarea
          {...common}
          autosize
          minRows={1}
          maxRows={8}
          value={value}
          onChange={(event) => onChange(event.currentTarget.value)}
        />
      );
  }
}
