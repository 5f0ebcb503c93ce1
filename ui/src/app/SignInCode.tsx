import { Group, Stack, Text } from "@mantine/core";
import type { UserCodeView } from "../bindings/UserCodeView";
import { CopyButton } from "../parts/CopyButton";
import { InlineCode } from "../parts/InlineCode";
import { Mono } from "../parts/Mono";
import { t, time } from "../strings/t";

/** A user code and its verification URI. */
export function SignInCode({ code }: { code: UserCodeView }) {
  return (
    <Stack gap={4}>
      <Text size="sm">
        <InlineCode>{t("sign-in-about-code", { until: time(code.until) })}</InlineCode>
      </Text>
      <Mono>{code.page}</Mono>
      <Group gap="xs">
        <Text size="xl" fw={700} ff="monospace">
          {code.code}
        </Text>
        <CopyButton value={code.code} what={t("sign-in-code")} />
      </Group>
    </Stack>
  );
}
