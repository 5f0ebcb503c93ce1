import { Button, Group, Modal, Skeleton, Stack, Text } from "@mantine/core";
import type { HostChange } from "../../bindings/HostChange";
import type { HostView } from "../../bindings/HostView";
import { useAction } from "../../bridge/useAction";
import { useClient } from "../../bridge/useBridge";
import { useLoad } from "../../bridge/useLoad";
import { Mono } from "../../parts/Mono";
import { ProblemAlert } from "../../parts/ProblemAlert";
import { t } from "../../strings/t";
import { Diff } from "./Diff";

export interface Change {
  is: "add" | "remove";
  host: HostView;
  server: string;
}

interface Props {
  change: Change;
  onMade: (change: HostChange) => void;
  onClose: () => void;
}

/** Previews the exact change to the host's file and applies it on request. */
export function HostChangeModal({ change: { is, host, server }, onMade, onClose }: Props) {
  const client = useClient();
  const adding = is === "add";
  const preview = useLoad(
    () => (adding ? client.previewHostAdd(host.id, server) : client.previewHostRemove(host.id, server)),
    `${is} ${host.id} ${server}`,
  );
  const apply = useAction(async () => {
    const approved = preview.result?.diff ?? "";
    onMade(
      await (adding
        ? client.addToHost(host.id, server, approved)
        : client.removeFromHost(host.id, server, approved)),
    );
  });
  const previewAgain = () => {
    apply.reset();
    preview.run();
  };
  const nothing = preview.result?.diff === "";
  return (
    <Modal
      opened
      size="xl"
      onClose={onClose}
      title={
        <Text fw={600}>
          {t(adding ? "hosts-add-title" : "hosts-remove-title", { host: host.name, server })}
        </Text>
      }
      closeButtonProps={{ "aria-label": t("action-close") }}
    >
      <Stack gap="md">
        <div>
          <Text size="sm">{t("hosts-change-about")}</Text>
          <Mono>{preview.result?.path ?? host.path}</Mono>
        </div>
        <ProblemAlert problem={preview.problem} onRetry={preview.run} />
        {preview.result === undefined && preview.busy && <Skeleton height={160} />}
        {preview.result !== undefined &&
          (nothing ? <Text size="sm">{t("hosts-nothing")}</Text> : <Diff text={preview.result.diff} />)}
        <ProblemAlert problem={apply.problem} onRetry={previewAgain} />
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={onClose}>
            {t("action-cancel")}
          </Button>
          <Button disabled={preview.result === undefined || nothing} loading={apply.busy} onClick={apply.run}>
            {t("hosts-apply")}
          </Button>
        </Group>
      </Stack>
    </Modal>
  );
}
