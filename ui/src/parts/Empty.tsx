import { Center, Stack, Text, ThemeIcon } from "@mantine/core";
import type { LucideIcon } from "lucide-react";
import type { ReactNode } from "react";

interface Props {
  icon: LucideIcon;
  title: string;
  about: string;
  children?: ReactNode;
}

/** The placeholder of an empty page or list. */
export function Empty({ icon: Icon, title, about, children }: Props) {
  return (
    <Center py={44} px="md">
      <Stack align="center" gap="xs" maw={460}>
        <ThemeIcon variant="light" size={52} radius="xl" mb={4}>
          <Icon size={26} strokeWidth={1.7} aria-hidden />
        </ThemeIcon>
        <Text fw={600} ta="center">
          {title}
        </Text>
        <Text c="dimmed" size="sm" ta="center">
          {about}
        </Text>
        {children}
      </Stack>
    </Center>
  );
}
