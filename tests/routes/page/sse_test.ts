import { assertEquals } from "@std/assert";
import { EventParser } from "../../../routes/page/sse.js";

const STREAM = ": ping\n\ndata: one\n\nevent: cot.votes\ndata: {\ndata:  }\nid: 7\n\ndata\n\n" +
  "event: lost\n\ndata: last\n\n";
const EVENTS = [
  { event: "message", data: "one" },
  { event: "cot.votes", data: "{\n }" },
  { event: "message", data: "" },
  { event: "message", data: "last" },
];

Deno.test("EventParser reads events, wherever the stream is cut", () => {
  for (let size = 1; size <= STREAM.length; size++) {
    const parser = new EventParser();
    const events = [];
    for (let at = 0; at < STREAM.length; at += size) {
      events.push(...parser.push(STREAM.slice(at, at + size)));
    }
    assertEquals(events, EVENTS, `pieces of ${size}`);
  }
});

Deno.test("EventParser takes the three line ends, one cut in the middle too", () => {
  for (const end of ["\r\n", "\r"]) {
    const text = STREAM.replaceAll("\n", end) + "x";
    for (const size of [1, 2, 3, 1000]) {
      const parser = new EventParser();
      const events = [];
      for (let at = 0; at < text.length; at += size) {
        events.push(...parser.push(text.slice(at, at + size)));
      }
      assertEquals(events, EVENTS, `${JSON.stringify(end)}, pieces of ${size}`);
    }
  }
});

Deno.test("EventParser holds back an event that has not ended, and drops a byte-order mark", () => {
  const parser = new EventParser();
  assertEquals(parser.push("\uFEFFdata: a\n"), []);
  assertEquals(parser.push("\n"), [{ event: "message", data: "a" }]);
});
