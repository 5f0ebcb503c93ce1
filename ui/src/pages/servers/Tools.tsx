import { Button, Group, Text, Title } from "@mantine/core";
import { useState } from "react";
import type { ServerView } from "../../bindings/ServerView";
import type { ToolView } from "../../bindings/ToolView";
import { t } from "../../strings/t";
import { CallToolModal } from "./CallToolModal";
import classes from "./ServerItem.module.css";

/** The last known tools, with a button to try each. */
export function Tools({ server }: { server: ServerView }) {
  const [trying, setTrying] = useState<ToolView | null>(null);
  return (
    <section>
      <Group gap="xs" mb="xs">
        <Title order={3}>{t("tools-title")}</Title>
        {server.tools !== null && (
          <Text size="sm" c="dimmed">
            {server.tools.length}
          </Text>
        )}
      </Group>
      {server.tools === null || server.tools.length === 0 ? (
        <Text size="sm" c="dimmed">
          {t(server.tools === null ? "tools-unseen" : "tools-none")}
        </Text>
      ) : (
        <ul className={classes.tools}>
          {server.tools.map((tool) => (
            <li key={tool.name}>
              <div style={{ flex: 1, minWidth: 0 }}>
                <Text size="sm" fw={550} ff="monospace" truncate>
                  {tool.name}
                </Text>
                {tool.description !== null && (
                  <Text size="xs" c="dimmed" lineClamp={2}>
                    {tool.description}
                  </Text>
                )}
              </div>
              <Button
                variant="default"
                aria-label={t("tools-try-named", { tool: tool.name })}
                onClick={() => setTrying(tool)}
              >
                {t("tools-try")}
              </Button>
            </li>
          ))}
        </ul>
      )}
      {trying !== null && (
        <CallToolModal server={server.name} tool={trying} onClose={() => setTrying(null)} />
      )}
    </section>
  );
}
