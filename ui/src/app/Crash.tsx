import { Button, Center, Code, Stack, Text, Title } from "@mantine/core";
import { Component, type ReactNode } from "react";
import { t } from "../strings/t";

/** Shows an error instead of an empty window if a page cannot be rendered. */
export class Crash extends Component<{ children: ReactNode }, { error: Error | null }> {
  override state: { error: Error | null } = { error: null };

  static getDerivedStateFromError(thrown: unknown) {
    return { error: thrown instanceof Error ? thrown : new Error(String(thrown)) };
  }

  override render() {
    const { error } = this.state;
    if (error === null) return this.props.children;
    return (
      <Center component="main" mih="100vh" p="xl">
        <Stack align="center" gap="sm" maw={520} role="alert">
          <Title order={2}>{t("crash-title")}</Title>
          <Text ta="center">{t("crash-about")}</Text>
          <Code block>{error.message}</Code>
          <Button onClick={() => location.reload()}>{t("crash-reload")}</Button>
        </Stack>
      </Center>
    );
  }
}
