import { setTimeout } from "node:timers/promises";

export const handler = async (event) => {
  console.log("called by", event.name);
  await setTimeout(1000 * (event.seconds ?? 0));
  return { greeting: `Hello, ${event.name}!`, from: `Node.js ${process.versions.node}` };
};
