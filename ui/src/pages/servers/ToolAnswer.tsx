import { Badge, Group, SegmentedControl, Stack, Text } from "@mantine/core";
import { useState } from "react";
import type { ToolResult } from "../../bindings/ToolResult";
import { CodeBlock } from "../../parts/CodeBlock";
import { CopyButton } from "../../parts/CopyButton";
import { pretty } from "../../parts/pretty";
import { t } from "../../strings/t";

/** The result of a tool: its text, or the whole result as JSON. */
export function ToolAnswer({ result }: { result: ToolResult }) {
  const [whole, setWhole] = useState(result.text === "");
  const shown = whole ? pretty(result.json) : result.text;
  return (
    <Stack gap="xs" role="status">
      <Group justify="space-between">
        <Group gap="xs">
          <Text size="sm" fw={600}>
            {t("tools-answer")}
          </Text>
          <Badge size="sm" variant="light" tt="none" color={result.isError ? "red" : "teal"}>
            {t(result.isError ? "tools-answered-error" : "tools-answered-well")}
          </Badge>
        </Group>
        <Group gap={4}>
          <SegmentedControl
            size="xs"
            aria-label={t("tools-answer-as")}
            value={whole ? "json" : "text"}
            onChange={(mode) => setWhole(mode === "json")}
            data={[
              { value: "text", label: t("tools-text") },
              { value: "json", label: t("tools-json") },
            ]}
          />
          <CopyButton value={shown} what={t("tools-answer")} />
        </Group>
      </Group>
      <CodeBlock label={t("tools-answer")}>{shown}</CodeBlock>
    </Stack>
  );
}
