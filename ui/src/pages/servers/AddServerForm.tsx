import { Button, Group, Stack, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import type { ReactNode } from "react";
import { useAction } from "../../bridge/useAction";
import { useClient } from "../../bridge/useBridge";
import { ProblemAlert } from "../../parts/ProblemAlert";
import { t } from "../../strings/t";
import { checkName, checkUrl, suggestName } from "./naming";

interface Props {
  url: string;
  onAdded: (name: string) => void;
  /** A button beside the one that adds. */
  children?: ReactNode;
}

export function AddServerForm({ url, onAdded, children }: Props) {
  const client = useClient();
  const form = useForm({
    initialValues: { url, name: suggestName(url) },
    validate: { url: checkUrl, name: checkName },
  });
  const add = useAction(async (values: { url: string; name: string }) => {
    await client.addServer(values.name, values.url);
    onAdded(values.name);
  });
  const onUrl = (next: string) => {
    // The name follows the address until a person writes one.
    const follows = form.values.name === suggestName(form.values.url);
    form.setValues({ url: next, ...(follows ? { name: suggestName(next) } : {}) });
  };
  return (
    <form
      onSubmit={form.onSubmit((values) => add.run({ url: values.url.trim(), name: values.name }))}
      noValidate
    >
      <Stack gap="md">
        <TextInput
          label={t("add.url")}
          description={t("add.urlAbout")}
          placeholder="https://mcp.example.com/snippets/mcp"
          autoComplete="off"
          spellCheck={false}
          data-autofocus
          {...form.getInputProps("url")}
          onChange={(event) => onUrl(event.currentTarget.value)}
        />
        <TextInput
          label={t("add.name")}
          description={t("add.nameAbout")}
          placeholder="snippets"
          autoComplete="off"
          spellCheck={false}
          maxLength={63}
          {...form.getInputProps("name")}
        />
        <ProblemAlert problem={add.problem} />
        <Group justify="flex-end" gap="xs">
          {children}
          <Button type="submit" loading={add.busy}>
            {t("add.submit")}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
