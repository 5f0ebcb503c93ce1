import { Code } from "@mantine/core";

/** Text from the bridge. Parts between backticks are shown as code. */
export function InlineCode({ children }: { children: string }) {
  return children.split("`").map((part, index) =>
    index % 2 === 1 ? (
      // biome-ignore lint/suspicious/noArrayIndexKey: parts of one text never move
      <Code key={index} fz="inherit" px={4} bg="color-mix(in srgb, currentColor 9%, transparent)" c="inherit">
        {part}
      </Code>
    ) : (
      part
    ),
  );
}
