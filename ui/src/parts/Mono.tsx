import { Text } from "@mantine/core";

/** A path, URL or identifier. It may break anywhere, or is truncated with an ellipsis. */
export function Mono({ children, truncate = false }: { children: string; truncate?: boolean }) {
  return (
    <Text
      component="span"
      size="xs"
      ff="monospace"
      truncate={truncate}
      {...(truncate ? { title: children } : {})}
      style={{ overflowWrap: "anywhere", minWidth: 0 }}
    >
      {children}
    </Text>
  );
}
