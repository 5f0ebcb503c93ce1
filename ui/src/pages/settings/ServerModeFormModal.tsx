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
export function ServerModeFormModal({ onClose }: { onClose: () => void }) {
  const client = useClient();
  const form = useForm<ServerModeForm>({
    initialValues: EMPTY,
    validate: {
      port: (port) => (Number.isInteger(port) && port > 0 && port < 65536 ? null : t("serverMode.portWrong")),
      authority: checkUrl,
      clientId: isNotEmpty(t("serverMode.missing")),
      clientSecret: isNotEmpty(t("serverMode.missing")),
      server: checkName,
      serverUrl: checkUrl,
    },
  });
  const save = useAction(async (values: ServerModeForm) => {
    await client.configureServerMode(values);
    onClose();
  });
  const text = (name: "authority" | "clientId" | "server" | "serverUrl", placeholder: string) => ({
    label: t(`serverMode.${name}`),
    description: t(`serverMode.${name}About`),
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
      title={<Text fw={600}>{t("serverMode.formTitle")}</Text>}
      closeButtonProps={{ "aria-label": t("action.close") }}
    >
      <form onSubmit={form.onSubmit((values) => save.run(values))} noValidate>
        <Stack gap="sm">
          <Text size="sm" c="dimmed">
            {t("serverMode.formAbout")}
          </Text>
          <TextInput {...text("authority", "https://login.microsoftonline.com/TENANT/v2.0")} data-autofocus />
          <Group grow align="flex-start">
            <TextInput {...text("clientId", "00000000-0000-…")} />
            <PasswordInput
              label={t("serverMode.clientSecret")}
              description={t("serverMode.clientSecretAbout")}
              autoComplete="off"
              visibilityToggleButtonProps={{ "aria-label": t("serverMode.showSecret") }}
              {...form.getInputProps("clientSecret")}
            />
          </Group>
          <TextInput {...text("serverUrl", "https://functions.example.com/mcp")} />
          <Group grow align="flex-start">
            <TextInput {...text("server", "snippets")} />
            <NumberInput
              label={t("serverMode.port")}
              description={t("serverMode.portAbout")}
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
              {t("action.cancel")}
            </Button>
            <Button type="submit" loading={save.busy}>
              {t("serverMode.save")}
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
