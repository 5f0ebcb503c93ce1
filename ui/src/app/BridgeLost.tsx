import { Center, Loader, Stack, Text, Title } from "@mantine/core";
import icon from "../../../icons/postern.svg";
import type { Problem } from "../bindings/Problem";
import { InlineCode } from "../parts/InlineCode";
import { sentence } from "../parts/sentence";
import { t } from "../strings/t";

/** The page shown while no bridge was reached since the window opened. */
export function BridgeLost({ problem }: { problem: Problem }) {
  return (
    <Center component="main" mih="100vh" p="xl">
      <Stack align="center" gap="sm" maw={520} role="alert">
        <img src={icon} width={72} height={72} alt="" style={{ filter: "grayscale(1)", opacity: 0.75 }} />
        <Title order={2} mt="sm" ta="center">
          {t("lost-title")}
        </Title>
        <Text ta="center">
          <InlineCode>{problem.message}</InlineCode>
        </Text>
        {problem.hint !== null && (
          <Text ta="center">
            <InlineCode>{sentence(problem.hint)}</InlineCode>
          </Text>
        )}
        <Loader type="dots" size="sm" mt="sm" aria-hidden />
        <Text c="dimmed" size="sm" ta="center">
          {t("lost-again")}
        </Text>
      </Stack>
    </Center>
  );
}
