"""A server on the official Python SDK, over Streamable HTTP.

Usage: small_server.py PORT
"""

import sys

import anyio
from mcp.server.mcpserver import Context, MCPServer

server = MCPServer("small", instructions="Ask for what there is.")


@server.tool()
def add(a: int, b: float) -> float:
    """Adds two numbers."""
    return a + b


@server.tool()
async def count(to: int, context: Context) -> str:
    """Counts, which takes its time, and says how far it is."""
    for step in range(to):
        await context.report_progress(step + 1, to, f"at {step + 1}")
        await anyio.sleep(0.05)
    return f"counted to {to}"


@server.tool()
def fail() -> str:
    """Fails."""
    raise ValueError("as it has to")


@server.resource("small://about/{name}")
def about(name: str) -> str:
    """Says what it is asked about."""
    return f"about {name}"


@server.resource("small://fixed")
def fixed() -> str:
    """Says what never changes."""
    return "fixed: π"


@server.prompt()
def greet(name: str) -> str:
    """Greets someone."""
    return f"Greet {name}, please."


server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
