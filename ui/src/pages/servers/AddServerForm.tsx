import { Button, Group, Stack, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { type ReactNode, useEffect, useRef } from "react";
import { useAction } from "../../bridge/useAction";
import { useClient } from "../../bridge/useBridge";
import { ProblemAlert } from "../../parts/ProblemAlert";
import { t } from "../../strings/t";
import { checkName, checkUrl, suggestName } from "./naming";

interface Props {
  url: string;
  onAdded: (name: string) => void;
  /** Buttons beside the one that adds the server. */
  children?: ReactNode;
}

export function AddServerForm({ url, onAdded, children }: Props) {
  const client = useClient();
  const form = useForm({
    initialValues: { url, name: suggestName(url) },
    validate: { url: checkUrl, name: checkName },
  });
  // The latest run: nothing is added if the form was closed or changed meanwhile.
  const latestRun = useRef(0);
  useEffect(
    () => () => {
      latestRun.current += 1;
    },
    [],
  );
  // Returns the inspection if there is no server at the URL and nothing was added.
  const add = useAction(async (values: { url: string; name: string }, check: boolean) => {
    latestRun.current += 1;
    const thisRun = latestRun.current;
    if (check) {
      const found = await client.inspectServer(values.name, values.url);
      if (thisRun !== latestRun.current) return null;
      if (found.is === "elsewhere" || found.is === "no-server") return found;
    }
    await client.addServer(values.name, values.url);
    onAdded(values.name);
    return null;
  });
  const addUnchecked = (url: string) => add.run({ url: url.trim(), name: form.values.name }, false);
  const missed = add.result ?? null;
  const onUrl = (next: string) => {
    // The name follows the URL until the user enters one.
    const follows = form.values.name === suggestName(form.values.url);
    latestRun.current += 1;
    add.reset();
    form.setValues({ url: next, ...(follows ? { name: suggestName(next) } : {}) });
  };
  return (
    <form
      onSubmit={form.onSubmit((values) => add.run({ url: values.url.trim(), name: values.name }, true))}
      noValidate
    >
      <Stack gap="md">
        <TextInput
          label={t("add-url")}
          description={t("add-url-about")}
          placeholder="https://mcp.example.com/snippets/mcp"
          autoComplete="off"
          spellCheck={false}
          data-autofocus
          {...form.getInputProps("url")}
          onChange={(event) => onUrl(event.currentTarget.value)}
        />
        <TextInput
          label={t("add-name")}
          description={t("add-name-about")}
          placeholder="snippets"
          autoComplete="off"
          spellCheck={false}
          maxLength={63}
          {...form.getInputProps("name")}
        />
        <ProblemAlert problem={add.problem} />
        <ProblemAlert problem={missed?.problem ?? null}>
          {missed?.is === "elsewhere" && (
            <Button onClick={() => addUnchecked(missed.url)}>
              {t("add-use-found", { url: missed.url })}
            </Button>
          )}
          <Button variant="default" onClick={() => addUnchecked(form.values.url)}>
            {t("add-anyway")}
          </Button>
        </ProblemAlert>
        <Group justify="flex-end" gap="xs">
          {children}
          <Button type="submit" loading={add.busy}>
            {t("add-submit")}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
