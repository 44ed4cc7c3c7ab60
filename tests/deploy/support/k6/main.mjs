// Runs the functions of k6.js a few times each, and prints its options and what was seen, as JSON.
//   node main.mjs SCRIPT ITERATIONS
import { pathToFileURL } from "node:url";

globalThis.__ENV = { ...process.env };
const stand = await import("k6/stand-in");
const script = await import(pathToFileURL(process.argv[2]));
script.setup();
for (const [name, scenario] of Object.entries(script.options.scenarios)) {
  for (let iteration = 0; iteration < Number(process.argv[3]); iteration += 1) {
    stand.enter(name, iteration);
    script[scenario.exec]();
  }
}
console.log(JSON.stringify({ options: script.options, ...stand.seen }));
