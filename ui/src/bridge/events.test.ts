import { expect, test } from "vitest";
import { readEvents } from "./events";

function streamOf(...chunks: string[]): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  return new ReadableStream({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(encoder.encode(chunk));
      controller.close();
    },
  });
}

async function all(...chunks: string[]) {
  const events = [];
  for await (const event of readEvents(streamOf(...chunks))) events.push(event);
  return events;
}

test("events in any chunks are parsed", async () => {
  expect(await all("da", 'ta: {"a":', "1}\n", "\n: still here\n\ndata:x\ndata: y\r\n\r\n")).toEqual([
    { event: "message", data: '{"a":1}' },
    { event: "message", data: "x\ny" },
  ]);
});

test("incomplete event is dropped", async () => {
  expect(await all('event: lost\ndata: {}\n\ndata: {"cut":')).toEqual([{ event: "lost", data: "{}" }]);
});
