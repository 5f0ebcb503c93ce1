import { Button, Group, Modal, Stack, Text } from "@mantine/core";
import type { ReactNode } from "react";
import { useAction } from "../bridge/useAction";
import { t } from "../strings/t";
import { ProblemAlert } from "./ProblemAlert";

interface Props {
  opened: boolean;
  title: string;
  about: string;
  /** The label of the confirm button. */
  action: string;
  onConfirm: () => Promise<unknown>;
  onClose: () => void;
  /** Further options. */
  children?: ReactNode;
}

/** Asks before something is removed, and shows the problem if that fails. */
export function ConfirmModal({ opened, title, about, action, onConfirm, onClose, children }: Props) {
  const confirm = useAction(async () => {
    await onConfirm();
    onClose();
  });
  const close = () => {
    confirm.reset();
    onClose();
  };
  return (
    <Modal
      opened={opened}
      onClose={close}
      title={<Text fw={600}>{title}</Text>}
      closeButtonProps={{ "aria-label": t("action-close") }}
    >
      <Stack gap="md">
        <Text size="sm">{about}</Text>
        {children}
        <ProblemAlert problem={confirm.problem} />
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={close}>
            {t("action-cancel")}
          </Button>
          <Button color="red" loading={confirm.busy} onClick={confirm.run}>
            {action}
          </Button>
        </Group>
      </Stack>
    </Modal>
  );
}
