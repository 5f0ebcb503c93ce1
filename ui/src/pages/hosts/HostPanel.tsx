import { Badge, Button, Group, Text, ThemeIcon } from "@mantine/core";
import { AppWindow, Plus } from "lucide-react";
import type { HostView } from "../../bindings/HostView";
import { CopyButton } from "../../parts/CopyButton";
import { Mono } from "../../parts/Mono";
import { Panel } from "../../parts/Panel";
import { ProblemAlert } from "../../parts/ProblemAlert";
import { Row } from "../../parts/Row";
import { t } from "../../strings/t";
import type { Change } from "./HostChangeModal";

interface Props {
  host: HostView;
  /** The names of all servers. */
  servers: string[];
  onChange: (change: Change) => void;
}

/** A host: its file, and the servers in it. */
export function HostPanel({ host, servers, onChange }: Props) {
  // A server that was removed in Postern may still be in the host's file.
  const named = [...new Set([...servers, ...host.servers])].sort();
  return (
    <section aria-label={host.name}>
      <Panel flush>
        <Row
          label={
            <Group gap="sm" wrap="nowrap">
              <ThemeIcon variant="light" size={34} radius="md">
                <AppWindow size={18} aria-hidden />
              </ThemeIcon>
              <div style={{ minWidth: 0 }}>
                <Text fw={600}>{host.name}</Text>
                <Text size="xs" c="dimmed" component="div">
                  <Mono>{host.path}</Mono>
                  {!host.exists && ` · ${t("hosts-no-file")}`}
                </Text>
              </div>
            </Group>
          }
          below={host.problem !== null && <ProblemAlert problem={host.problem} />}
        >
          <CopyButton value={host.path} what={t("hosts-path")} />
        </Row>
        {named.length === 0 && <Row label={t("hosts-no-servers")} about={t("hosts-no-servers-about")} />}
        {named.map((server) => (
          <HostServer key={server} host={host} server={server} onChange={onChange} />
        ))}
      </Panel>
    </section>
  );
}

function HostServer({ host, server, onChange }: Omit<Props, "servers"> & { server: string }) {
  const added = host.servers.includes(server);
  const names = { host: host.name, server };
  const disabled = host.problem !== null;
  return (
    <Row label={server}>
      {added ? (
        <>
          <Badge variant="dot" color="teal" tt="none" fw={550}>
            {t("hosts-added")}
          </Badge>
          <Button
            variant="subtle"
            color="gray"
            disabled={disabled}
            aria-label={t("hosts-remove-named", names)}
            onClick={() => onChange({ is: "remove", host, server })}
          >
            {t("hosts-remove")}
          </Button>
        </>
      ) : (
        <Button
          leftSection={<Plus size={15} aria-hidden />}
          disabled={disabled}
          aria-label={t("hosts-add-named", names)}
          onClick={() => onChange({ is: "add", host, server })}
        >
          {t("hosts-add", names)}
        </Button>
      )}
    </Row>
  );
}
