import { Group, Title } from "@mantine/core";
import type { ReactNode } from "react";
import { Panel } from "../../parts/Panel";

interface Props {
  title: string;
  actions?: ReactNode;
  children: ReactNode;
}

export function Section({ title, actions, children }: Props) {
  return (
    <section aria-label={title}>
      <Group justify="space-between" mb="xs" mih={30}>
        <Title order={3}>{title}</Title>
        {actions}
      </Group>
      <Panel flush>{children}</Panel>
    </section>
  );
}
