import type { ToolView } from "../bindings/ToolView";

export const tools: ToolView[] = [
  {
    name: "hello_mcp",
    description: "Says hello.",
    inputSchema: '{"type":"object","properties":{}}',
  },
  {
    name: "get_snippet",
    description: "Fetches a snippet that was saved earlier, by its name.",
    inputSchema: JSON.stringify({
      type: "object",
      properties: { snippetname: { type: "string", description: "The snippet's name." } },
      required: ["snippetname"],
    }),
  },
  {
    name: "save_snippet",
    description: "Saves a snippet under a name. An earlier one of that name is replaced.",
    inputSchema: JSON.stringify({
      type: "object",
      properties: {
        snippetname: { type: "string", description: "The snippet's name." },
        snippet: { type: "string", description: "The text to keep." },
        language: { type: "string", enum: ["rust", "typescript", "text"], default: "text" },
      },
      required: ["snippetname", "snippet"],
    }),
  },
];
