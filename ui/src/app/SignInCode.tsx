import { Group, Stack, Text } from "@mantine/core";
import type { UserCodeView } from "../bindings/UserCodeView";
import { CopyButton } from "../parts/CopyButton";
import { Mono } from "../parts/Mono";
import { InlineCode } from "../parts/InlineCode";
import { t, time } from "../strings/t";

/** A code, and the page to enter it on. */
export function SignInCode({ code }: { code: UserCodeView }) {
  return (
    <Stack gap={4}>
      <Text size="sm">
        <InlineCode>{t("signIn.aboutCode", { until: time(code.until) })}</InlineCode>
      </Text>
      <Mono>{code.page}</Mono>
      <Group gap="xs">
        <Text size="xl" fw={700} ff="monospace">
          {code.code}
        </Text>
        <CopyButton value={code.code} what={t("signIn.code")} />
      </Group>
    </Stack>
  );
}
