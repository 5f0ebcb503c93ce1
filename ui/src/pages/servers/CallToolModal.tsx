import { Button, Group, Modal, SegmentedControl, Stack, Text } from "@mantine/core";
import { Play } from "lucide-react";
import { useState } from "react";
import type { ToolView } from "../../bindings/ToolView";
import { useAction } from "../../bridge/useAction";
import { useClient } from "../../bridge/useBridge";
import { ProblemAlert } from "../../parts/ProblemAlert";
import { t } from "../../strings/t";
import { ArgumentsForm } from "./ArgumentsForm";
import { ArgumentsJson } from "./ArgumentsJson";
import { argumentsOf, checkArguments, fieldsOf } from "./schema";
import { ToolAnswer } from "./ToolAnswer";

interface Props {
  server: string;
  tool: ToolView;
  onClose: () => void;
}

/** A test call: arguments as a form or as JSON, and the result. */
export function CallToolModal({ server, tool, onClose }: Props) {
  const client = useClient();
  const fields = fieldsOf(tool.inputSchema);
  const [values, setValues] = useState<Record<string, string>>({});
  const [json, setJson] = useState<string | null>(fields === null ? "{}" : null);
  const call = useAction((args: string) => client.callTool(server, tool.name, args));
  const args = json ?? argumentsOf(fields ?? [], values);
  const wrong = checkArguments(args);
  return (
    <Modal
      opened
      size="lg"
      onClose={onClose}
      title={<Text fw={600}>{t("tools-call-title", { tool: tool.name, server })}</Text>}
      closeButtonProps={{ "aria-label": t("action-close") }}
    >
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void call.run(args);
        }}
      >
        <Stack gap="md">
          {tool.description !== null && (
            <Text size="sm" c="dimmed">
              {tool.description}
            </Text>
          )}
          {fields !== null && fields.length > 0 && (
            <SegmentedControl
              size="xs"
              aria-label={t("tools-arguments-as")}
              value={json === null ? "form" : "json"}
              onChange={(mode) => setJson(mode === "json" ? args : null)}
              data={[
                { value: "form", label: t("tools-form") },
                { value: "json", label: t("tools-json") },
              ]}
              style={{ alignSelf: "flex-start" }}
            />
          )}
          {json === null ? (
            <ArgumentsForm
              fields={fields ?? []}
              values={values}
              onChange={(name, value) => setValues({ ...values, [name]: value })}
            />
          ) : (
            <ArgumentsJson value={json} wrong={wrong} schema={tool.inputSchema} onChange={setJson} />
          )}
          <Group justify="flex-end">
            <Button
              type="submit"
              leftSection={<Play size={14} aria-hidden />}
              loading={call.busy}
              disabled={wrong !== null}
            >
              {t("tools-run")}
            </Button>
          </Group>
          <ProblemAlert problem={call.problem} />
          {call.result !== undefined && !call.busy && <ToolAnswer result={call.result} />}
        </Stack>
      </form>
    </Modal>
  );
}
