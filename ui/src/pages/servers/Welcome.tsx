import { Group, Stack, Text, Title } from "@mantine/core";
import icon from "../../../../icons/postern.svg";
import { Panel } from "../../parts/Panel";
import { t } from "../../strings/t";
import { AddServerForm } from "./AddServerForm";

/** The page of the first start: an introduction and the form for the first server. */
export function Welcome({ onAdded }: { onAdded: (name: string) => void }) {
  return (
    <Stack gap="lg" maw={560} mx="auto" pt={36}>
      <Group gap="md" wrap="nowrap" align="flex-start">
        <img src={icon} width={56} height={56} alt="" />
        <div>
          <Title order={2}>{t("welcome-title")}</Title>
          <Text c="dimmed" size="sm" mt={4}>
            {t("welcome-about")}
          </Text>
        </div>
      </Group>
      <Panel>
        <AddServerForm url="" onAdded={onAdded} />
      </Panel>
      <Text size="xs" c="dimmed">
        {t("welcome-next")}
      </Text>
    </Stack>
  );
}
