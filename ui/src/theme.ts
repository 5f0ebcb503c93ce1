// The appearance of the window, except for its layout.

import {
  createTheme,
  defaultVariantColorsResolver,
  type MantineColorsTuple,
  type VariantColorsResolver,
} from "@mantine/core";

// The primary colour, a blue-grey. `yellow` marks what needs attention.
const ink: MantineColorsTuple = [
  "#eef1fb",
  "#dce1f3",
  "#b5bfe6",
  "#8c9bd9",
  "#6a7dce",
  "#546ac7",
  "#4860c5",
  "#3950ae",
  "#31479c",
  "#263c8a",
];

const dark: MantineColorsTuple = [
  "#d5d8e2",
  "#b4b9c9",
  "#9097ac",
  "#626a82",
  "#3c4357",
  "#2c3244",
  "#232838",
  "#1b1f2d",
  "#161a26",
  "#0f121b",
];

// Light and subtle variants are a transparent tint of the colour in both schemes.
const variantColorResolver: VariantColorsResolver = (input) => {
  const usual = defaultVariantColorsResolver(input);
  if (input.variant !== "light" && input.variant !== "subtle") return usual;
  const name = input.color ?? input.theme.primaryColor;
  const shade = (number: number) => `var(--mantine-color-${name}-${number})`;
  const tint = (percent: number) => `color-mix(in srgb, ${shade(6)} ${percent}%, transparent)`;
  return {
    ...usual,
    background: input.variant === "light" ? tint(11) : "transparent",
    hover: tint(17),
    color: `light-dark(color-mix(in srgb, ${shade(9)} ${name === "yellow" ? 65 : 90}%, black), ${shade(name === "ink" ? 2 : 3)})`,
  };
};

export const theme = createTheme({
  variantColorResolver,
  primaryColor: "ink",
  primaryShade: { light: 6, dark: 5 },
  colors: { ink, dark },
  autoContrast: true,
  respectReducedMotion: true,
  defaultRadius: "md",
  cursorType: "pointer",
  fontFamily:
    '-apple-system, "Segoe UI Variable Text", "Segoe UI", Inter, Cantarell, "Noto Sans", Ubuntu, system-ui, sans-serif',
  fontFamilyMonospace:
    'ui-monospace, "SF Mono", "Cascadia Mono", Consolas, "Noto Sans Mono", "DejaVu Sans Mono", monospace',
  fontSizes: { xs: "12px", sm: "13.5px", md: "15px", lg: "17px", xl: "20px" },
  headings: {
    fontWeight: "650",
    sizes: { h2: { fontSize: "21px" }, h3: { fontSize: "15px" } },
  },
  components: {
    Button: { defaultProps: { size: "xs" } },
    TextInput: { defaultProps: { size: "sm" } },
    Alert: {
      styles: {
        root: { borderColor: "color-mix(in srgb, var(--alert-color) 25%, transparent)" },
        message: { color: "var(--mantine-color-text)" },
      },
    },
    Modal: { defaultProps: { centered: true, overlayProps: { backgroundOpacity: 0.45, blur: 2 } } },
    Tooltip: { defaultProps: { openDelay: 400, withArrow: true } },
  },
});
