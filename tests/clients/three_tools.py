"""A host on the official Python SDK: lists the tools, calls the three, prints what came back.

Usage: three_tools.py legacy|auto COMMAND [ARGUMENT...]
       three_tools.py legacy|auto URL
`auto` tries the modern era first; `legacy` begins with the handshake.
"""

import asyncio
import json
import sys

from mcp import Client, StdioServerParameters
from mcp.client.sse import sse_client


async def main(era: str, command: str, arguments: list[str]) -> None:
    server = StdioServerParameters(command=command, args=arguments)
    if command.endswith("/sse"):
        server = sse_client(command)
    elif command.startswith("http:"):
        server = command
    async with Client(server, mode=era) as client:

        async def call(name: str, given: dict[str, str]) -> str:
            result = await client.call_tool(name, given)
            return "".join(part.text for part in result.content)

        name = f"from-python-{era}"
        report = {
            "tools": sorted(tool.name for tool in (await client.list_tools()).tools),
            "hello": await call("hello_mcp", {}),
            "saved": await call(
                "save_snippet", {"snippetname": name, "snippet": "const π = 3.14;"}
            ),
            "got": await call("get_snippet", {"snippetname": name}),
        }
    print(json.dumps(report))


asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
