import { ActionIcon, Button, CopyButton as Copying, Tooltip } from "@mantine/core";
import { Check, Copy } from "lucide-react";
import { t } from "../strings/t";

interface Props {
  value: string;
  /** The name of the copied value, for the accessible label. */
  what: string;
  /** Whether a label is shown beside the icon. */
  labelled?: boolean;
}

export function CopyButton({ value, what, labelled = false }: Props) {
  return (
    <Copying value={value} timeout={1500}>
      {({ copied, copy }) => {
        const name = copied ? t("action-copied") : t("action-copy", { what });
        const icon = copied ? <Check size={15} aria-hidden /> : <Copy size={15} aria-hidden />;
        const color = copied ? "teal" : "gray";
        return labelled ? (
          <Button variant="default" leftSection={icon} onClick={copy}>
            {name}
          </Button>
        ) : (
          <Tooltip label={name}>
            <ActionIcon variant="subtle" color={color} aria-label={name} onClick={copy}>
              {icon}
            </ActionIcon>
          </Tooltip>
        );
      }}
    </Copying>
  );
}
