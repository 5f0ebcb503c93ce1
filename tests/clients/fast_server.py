"""A server on FastMCP, over Streamable HTTP.

Usage: fast_server.py PORT
"""

import sys
from dataclasses import dataclass

import anyio
from fastmcp import Context, FastMCP

server = FastMCP("fast", version="1.0.0", instructions="Ask for what there is.")


@dataclass
class Person:
    name: str
    check: bool


@server.tool
def describe(name: str, ages: dict[str, int]) -> dict[str, list[str]]:
    """Describes someone."""
    return {name: [f"{who}: {age}" for who, age in ages.items()]}


@server.tool
async def count(to: int, context: Context) -> str:
    """Counts, which takes its time, and says how far it is."""
    for step in range(to):
        await context.info(f"at {step + 1}")
        await context.report_progress(step + 1, to, f"at {step + 1}")
        await anyio.sleep(0.05)
    return f"counted to {to}"


@server.tool
async def meet(context: Context) -> str:
    """Asks who is there."""
    answer = await context.elicit("Who is there? π", Person)
    return f"{answer.action}: {answer.data.name}, {answer.data.check}"


@server.tool
def fail() -> str:
    """Fails."""
    raise ValueError("as it has to")


@server.resource("fast://about/{name}")
def about(name: str) -> str:
    """Says what it is asked about."""
    return f"about {name}"


@server.resource("fast://bytes", mime_type="application/octet-stream")
def some_bytes() -> bytes:
    """Is no text."""
    return bytes(range(256))


@server.prompt
def greet(name: str) -> str:
    """Greets someone."""
    return f"Greet {name}, please."


server.run("http", host="127.0.0.1", port=int(sys.argv[1]), show_banner=False)
