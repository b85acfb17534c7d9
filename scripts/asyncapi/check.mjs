// Reads an AsyncAPI document with the parser that AsyncAPI itself publishes; what it finds wrong is an error.
import { readFile } from "node:fs/promises";
import { Parser } from "@asyncapi/parser";

const file = process.argv[2];
const { document, diagnostics } = await new Parser().parse(await readFile(file, "utf8"));
for (const { severity, path, message } of diagnostics) {
  console.error(`${severity === 0 ? "error" : "note"}: /${path.join("/")}: ${message}`);
}
if (!document || diagnostics.some(({ severity }) => severity === 0)) process.exit(1);
const channels = document.channels().all().map((channel) => channel.address());
console.log(`${file}: AsyncAPI ${document.version()}, valid; channels: ${channels.join(", ")}`);
