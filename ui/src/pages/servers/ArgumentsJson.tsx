import { Spoiler, Stack, Text, Textarea } from "@mantine/core";
import { CodeBlock } from "../../parts/CodeBlock";
import { pretty } from "../../parts/pretty";
import { t } from "../../strings/t";

interface Props {
  value: string;
  wrong: string | null;
  schema: string;
  onChange: (value: string) => void;
}

export function ArgumentsJson({ value, wrong, schema, onChange }: Props) {
  return (
    <Stack gap="xs">
      <Textarea
        label={t("tools-arguments")}
        autosize
        minRows={4}
        maxRows={14}
        spellCheck={false}
        value={value}
        error={wrong === null ? null : t("tools-arguments-wrong", { detail: wrong })}
        onChange={(event) => onChange(event.currentTarget.value)}
        styles={{ input: { fontFamily: "var(--mantine-font-family-monospace)", fontSize: 12.5 } }}
      />
      <Spoiler maxHeight={0} showLabel={t("tools-show-schema")} hideLabel={t("tools-hide-schema")}>
        <CodeBlock label={t("tools-schema")}>{pretty(schema)}</CodeBlock>
      </Spoiler>
      <Text size="xs" c="dimmed">
        {t("tools-arguments-about")}
      </Text>
    </Stack>
  );
}
