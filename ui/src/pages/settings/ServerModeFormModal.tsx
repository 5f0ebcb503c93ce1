import { Button, Group, Modal, NumberInput, PasswordInput, Stack, Text, TextInput } from "@mantine/core";
import { isNotEmpty, useForm } from "@mantine/form";
import type { ServerModeForm } from "../../bindings/ServerModeForm";
import { useAction } from "../../bridge/useAction";
import { useClient } from "../../bridge/useBridge";
import { ProblemAlert } from "../../parts/ProblemAlert";
import { t } from "../../strings/t";
import { checkName, checkUrl } from "../servers/naming";

const EMPTY: ServerModeForm = {
  port: 4180,
  authority: "",
  clientId: "",
  clientSecret: "",
  server: "",
  serverUrl: "",
};

/** The form that creates the first `gateway.toml`. */
const LABELS = {
  authority: "server-mode-authority",
  clientId: "server-mode-client-id",
  server: "server-mode-server",
  serverUrl: "server-mode-server-url",
} as const;

export function ServerModeFormModal({ onClose }: { onClose: () => void }) {
  const client = useClient();
  const form = useForm<ServerModeForm>({
    initialValues: EMPTY,
    validate: {
      port: (port) =>
        Number.isInteger(port) && port > 0 && port < 65536 ? null : t("server-mode-port-wrong"),
      authority: checkUrl,
      clientId: isNotEmpty(t("server-mode-missing")),
      clientSecret: isNotEmpty(t("server-mode-missing")),
      server: checkName,
      serverUrl: checkUrl,
    },
  });
  const save = useAction(async (values: ServerModeForm) => {
    await client.configureServerMode(values);
    onClose();
  });
  const text = (name: keyof typeof LABELS, placeholder: string) => ({
    label: t(LABELS[name]),
    description: t(`${LABELS[name]}-about`),
    placeholder,
    autoComplete: "off",
    spellCheck: false,
    ...form.getInputProps(name),
  });
  return (
    <Modal
      opened
      size="lg"
      onClose={onClose}
      title={<Text fw={600}>{t("server-mode-form-title")}</Text>}
      closeButtonProps={{ "aria-label": t("action-close") }}
    >
      <form onSubmit={form.onSubmit((values) => save.run(values))} noValidate>
        <Stack gap="sm">
          <Text size="sm" c="dimmed">
            {t("server-mode-form-about")}
          </Text>
          <TextInput {...text("authority", "https://login.microsoftonline.com/TENANT/v2.0")} data-autofocus />
          <Group grow align="flex-start">
            <TextInput {...text("clientId", "00000000-0000-…")} />
            <PasswordInput
              label={t("server-mode-client-secret")}
              description={t("server-mode-client-secret-about")}
              autoComplete="off"
              visibilityToggleButtonProps={{ "aria-label": t("server-mode-show-secret") }}
              {...form.getInputProps("clientSecret")}
            />
          </Group>
          <TextInput {...text("serverUrl", "https://functions.example.com/mcp")} />
          <Group grow align="flex-start">
            <TextInput {...text("server", "snippets")} />
            <NumberInput
              label={t("server-mode-port")}
              description={t("server-mode-port-about")}
              min={1}
              max={65535}
              allowDecimal={false}
              hideControls
              {...form.getInputProps("port")}
            />
          </Group>
          <ProblemAlert problem={save.problem} />
          <Group justify="flex-end" gap="xs">
            <Button variant="default" onClick={onClose}>
              {t("action-cancel")}
            </Button>
            <Button type="submit" loading={save.busy}>
              {t("server-mode-save")}
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
